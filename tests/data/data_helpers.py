import numpy as np

from data import TokenFile, TokenFileWriter
from data.prepare import encode_batch


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


def write_token_file(folder, documents, **options):
    """Write documents into a token file of characters in one process; return it."""
    with TokenFileWriter(folder, 256, "characters", **options) as writer:
        writer.add(*encode_batch(Characters(), documents))
    return TokenFile(folder)
