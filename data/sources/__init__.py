"""Where texts come from: downloads and documentation on this machine."""
