"""Work of worker processes: the engine, its workers and the functions they run."""
