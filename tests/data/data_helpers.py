"""A tokenizer for these tests: one id for each character. It has the members that ``data.prepare`` uses and no more."""


class Characters:
    fingerprint = "characters"
    special_ids = (0,)

    def __init__(self, vocab_size=256):
        self.vocab_size = vocab_size

    def encode_ids(self, text):
        return [ord(character) for character in text]
