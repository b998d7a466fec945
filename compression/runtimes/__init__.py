"""Other runtimes that an artifact can be taken to. Each executes in a process of its own."""
