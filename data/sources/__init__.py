"""Where text comes from: downloads, and the documentation on this machine."""
