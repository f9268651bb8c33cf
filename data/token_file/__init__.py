"""The token file: ids on disk, memory-mapped."""
