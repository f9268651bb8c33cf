"""Where words begin, seen from their ids: what masking whole words needs to know.

In WordPiece a token that continues a word says so ('##ing'). In byte-level BPE it does not, but a word is a space and then letters, or
digits, or other characters (``tokenizer/pretokenize.py``). So a word begins at a token that begins with white space, and where the
kind of character changes from one token to the next: 'Ġdon', "'t", '.' are three. A single byte of a longer character counts as a letter.
"""
import numpy as np

from tokenizer.pretokenize import byte_characters

LETTER, NUMBER, OTHER, SPACE, ANY, NONE = range(6)


class WordStarts:
    """For one tokenizer: ids (..., T) -> whether a word begins at each (..., T) bool. Special tokens are words.

    WordStarts(tokenizer)([[12, 40, 41]]) of 'em', '##bed', '##ding' -> [[True, False, False]]
    """

    def __init__(self, tokenizer):
        tokens = list(tokenizer.get_vocab())
        if tokenizer.kind == "wordpiece":
            self.begins = np.array([not token.startswith("##") for token in tokens])  # (V,)
            self.first, self.last = np.zeros((2, len(tokens)), np.int8)
        else:
            texts = [text_of(token) for token in tokens]
            self.first = np.array([kind_of(text[0]) for text in texts], np.int8)  # (V,): of the first character
            self.last = np.array([kind_of(text[-1]) for text in texts], np.int8)
            self.begins = self.first == SPACE
            self.last[[text == " " for text in texts]] = ANY  # a space that stands alone belongs to what follows
        self.begins[list(tokenizer.special_ids)] = True
        self.last[list(tokenizer.special_ids)] = NONE  # what follows begins anew, be it half of a word that a block's border cut

    def __call__(self, ids):
        ids = np.asarray(ids)
        starts = self.begins[ids]
        before, after = self.last[ids[..., :-1]], self.first[ids[..., 1:]]
        starts[..., 1:] |= (before != after) & (before != ANY)
        return starts


def text_of(token):
    """The characters of a byte-level token; U+FFFD, one for each, for bytes that are none alone. 'Ġthe' -> ' the'"""
    number = {char: byte for byte, char in enumerate(byte_characters())}
    if not set(token) <= set(number):
        return token  # a special token, which is written as it is
    return bytes(number[char] for char in token).decode("utf-8", errors="replace")


def kind_of(char):
    """What GPT-2's pattern takes a character for. 'é' -> LETTER; '7' -> NUMBER; '+' -> OTHER; ' ' -> SPACE"""
    if char.isalpha() or char == "\ufffd":
        return LETTER
    return SPACE if char.isspace() else NUMBER if char.isnumeric() else OTHER
