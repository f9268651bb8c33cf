import numpy as np


class Characters:
    """A tokenizer with one id per character, and only the members that ``data.prepare`` uses."""

    fingerprint = "characters"
    special_ids = (0,)

    def __init__(self, vocab_size=256):
        self.vocab_size = vocab_size

    def encode_texts(self, texts):
        ids = np.array([ord(character) for text in texts for character in text], np.int64)
        lengths = np.array([len(text) for text in texts], np.int64)
        return ids, lengths
