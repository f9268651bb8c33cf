"""Where text comes from: downloads, and Python's documentation."""
