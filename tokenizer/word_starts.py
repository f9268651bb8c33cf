"""Find where words begin from token ids, for whole-word and span masking.

A WordPiece token that continues a word starts with '##'. Byte-level BPE has no such mark, but
its words are an optional space followed by letters, or digits, or other characters (see
``pretokenize.py``). So a word begins at a token that starts with white space, and wherever the
class of character changes from one token to the next: 'Ġdon', "'t" and '.' are three words.
"""
import numpy as np

# Character classes. A stretch of one class is one word.
LETTER, NUMBER, OTHER, SPACE, ANY, NONE = range(6)


class WordStarts:
    """Map ids (..., T) to a bool array (..., T) that is True where a word begins.

    Special tokens are words of their own.

    WordStarts(tokenizer)([[12, 40, 41]]) of 'em', '##bed', '##ding' -> [[True, False, False]]
    """

    def __init__(self, tokenizer):
        tokens = list(tokenizer.get_vocab())
        if tokenizer.kind == "wordpiece":
            self.begins = np.array([not token.startswith("##") for token in tokens])  # (V,)
            # All tokens have one class, so no change of class ever begins a word.
            self.first = np.zeros(len(tokens), np.int8)
            self.last = np.zeros(len(tokens), np.int8)
        elif tokenizer.kind == "bpe":
            texts = [tokenizer.token_text(token, errors="replace") for token in tokens]
            self.first = np.array([character_class(text[0]) for text in texts], np.int8)  # (V,)
            self.last = np.array([character_class(text[-1]) for text in texts], np.int8)  # (V,)
            self.begins = self.first == SPACE
            # A token that is one space belongs to the word after it, whatever its class.
            self.last[[text == " " for text in texts]] = ANY
        else:
            raise ValueError(f"unknown tokenizer kind {tokenizer.kind!r}")
        special_ids = list(tokenizer.special_ids)
        self.begins[special_ids] = True
        # NONE differs from every class: whatever follows a special token begins a word, even the
        # second half of a word that the start of a packed sequence cut in two.
        self.last[special_ids] = NONE

    def __call__(self, ids):
        ids = np.asarray(ids)
        starts = self.begins[ids]  # (..., T)
        before = self.last[ids[..., :-1]]  # (..., T - 1)
        after = self.first[ids[..., 1:]]  # (..., T - 1)
        starts[..., 1:] |= (before != after) & (before != ANY)
        return starts


def character_class(char):
    """Return the class that GPT-2's pattern puts a character in.

    'é' -> LETTER; '7' -> NUMBER; '+' -> OTHER; ' ' -> SPACE
    """
    # U+FFFD is a byte of a longer character, and most of those are letters.
    if char.isalpha() or char == "\ufffd":
        return LETTER
    if char.isspace():
        return SPACE
    return NUMBER if char.isnumeric() else OTHER
