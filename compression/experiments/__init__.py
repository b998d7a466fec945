"""The application service: what pages, the command line and scripts use."""
