"""Learn a vocabulary from word counts, or more entries of one."""
