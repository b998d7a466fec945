"""What everything below and above may use: errors, paths, cores, progress on a terminal."""
