"""Token files: a corpus as token ids on disk, memory-mapped for training."""
