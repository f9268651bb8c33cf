"""Find where words begin from token ids, for whole-word and span masking.

A WordPiece token that continues a word starts with '##'. Byte-level BPE has no such mark, but
its words are an optional space followed by letters, or digits, or other characters (see
``pretokenize.py``). So a word begins at a token that starts with white space, and wherever the
class of character changes from one token to the next: 'Ġdon', "'t" and '.' are three words.
"""
import numpy as np

# Character classes. A stretch of one class is one word.
LETTER, NUMBER, OTHER, SPACE, ANY, NONE = range(6)
# Limits for masking. In a language without spaces a "word" is a sentence, and many packed
# sequences would have no masked token. English words are shorter.
MAX_WORD_TOKENS = 8
# From one space to the next. Chinese text, where a comma ends a "word", exceeds this limit, and so
# do base64 and DNA. Of the tokens of English prose, 0.3 % are in such a stretch.
MAX_STRETCH_TOKENS = 12


class WordStarts:
    """Map ids (..., T) to a bool array (..., T) that is True where a word begins.

    Special tokens are words of their own.

    cut_long: for masking. A row begins with a word. In words of more than MAX_WORD_TOKENS, and in
    stretches without spaces of more than MAX_STRETCH_TOKENS, each token begins a word, except one
    that has only the last bytes of a character.

    WordStarts(tokenizer)([[12, 40, 41]]) of 'em', '##bed', '##ding' -> [[True, False, False]]
    """

    def __init__(self, tokenizer):
        tokens = list(tokenizer.get_vocab())
        if tokenizer.kind == "wordpiece":
            self.begins = np.array([not token.startswith("##") for token in tokens])  # (V,)
            # All tokens have one class, so no change of class ever begins a word.
            self.first = np.zeros(len(tokens), np.int8)
            self.last = np.zeros(len(tokens), np.int8)
        else:
            texts = [tokenizer.token_text(token, errors="replace") for token in tokens]
            self.first = np.array([character_class(text[0]) for text in texts], np.int8)  # (V,)
            self.last = np.array([character_class(text[-1]) for text in texts], np.int8)  # (V,)
            self.begins = self.first == SPACE
            # A token that is one space belongs to the word after it, whatever its class.
            self.last[[text == " " for text in texts]] = ANY
        texts = [tokenizer.token_text(token, errors="surrogateescape") for token in tokens]
        # UTF-8: the bytes 0x80 to 0xBF continue a character.
        self.begins_character = np.array(
            [any(not "\udc80" <= char <= "\udcbf" for char in text) for text in texts])  # (V,)
        special_ids = list(tokenizer.special_ids)
        self.begins[special_ids] = True
        # NONE differs from every class: whatever follows a special token begins a word, even the
        # second half of a word that the start of a packed sequence cut in two.
        self.last[special_ids] = NONE

    def __call__(self, ids, cut_long=False):
        ids = np.asarray(ids)
        begins = self.begins[ids]  # (..., T): begins a word whatever is before it
        before = self.last[ids[..., :-1]]  # (..., T - 1)
        after = self.first[ids[..., 1:]]  # (..., T - 1)
        starts = begins.copy()  # (..., T)
        starts[..., 1:] |= (before != after) & (before != ANY)
        if cut_long:
            begins[..., :1] = True
            starts[..., :1] = True
            is_long = run_lengths(starts) > MAX_WORD_TOKENS
            is_long |= run_lengths(begins) > MAX_STRETCH_TOKENS
            starts |= is_long & self.begins_character[ids]
        return starts


def number_runs(starts):
    """Return for each element the number of the run that it is in, counted across all rows.

    starts: where a run begins; True at the start of each row

    [[True, False], [True, True]] -> [[0, 0], [1, 2]]
    """
    return np.cumsum(starts).reshape(starts.shape) - 1


def run_lengths(starts):
    """Return for each element the length of the run that it is in.

    [True, False, True, False, False] -> [2, 2, 3, 3, 3]
    """
    index = number_runs(starts)
    return np.bincount(index.ravel())[index]


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
