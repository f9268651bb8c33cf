"""Command line, files, terminal, worker processes: shared by all packages."""
