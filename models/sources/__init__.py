"""Where weights and data come from: downloads, archives, releases and folders on this machine."""
