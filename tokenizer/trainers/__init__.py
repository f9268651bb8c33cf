"""Learn a vocabulary from word counts."""
