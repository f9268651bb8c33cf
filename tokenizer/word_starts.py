"""Find where words begin from token ids, for whole-word and span masking.

A WordPiece token that continues a word starts with '##'. Byte-level BPE has no such mark, but
its words are an optional space followed by letters, or digits, or other characters (see
``pretokenize.py``). So a word begins at a token that starts with white space, and wherever the
class of character changes from one token to the next: 'Ġdon', "'t" and '.' are three words.
"""
import numpy as np

# Character classes. A stretch of one class is one word.
LETTER, NUMBER, OTHER, SPACE, ANY, NONE = range(6)
PIECE_TOKENS = 3  # of a word that is cut; most characters have at most three bytes


class WordStarts:
    """Map ids (..., T) to a bool array (..., T) that is True where a word begins.

    Special tokens are words of their own.

    max_tokens: cut longer words, such as sentences of a language without spaces, into pieces of
    about three tokens, if possible between two characters. None: cut nothing.

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
        texts = [tokenizer.token_text(token, errors="surrogateescape") for token in tokens]
        # UTF-8: the bytes 0x80 to 0xBF continue a character.
        self.begins_character = np.array([not "\udc80" <= text[0] <= "\udcbf" for text in texts])
        special_ids = list(tokenizer.special_ids)
        self.begins[special_ids] = True
        # NONE differs from every class: whatever follows a special token begins a word, even the
        # second half of a word that the start of a packed sequence cut in two.
        self.last[special_ids] = NONE

    def __call__(self, ids, max_tokens=None):
        ids = np.asarray(ids)
        starts = self.begins[ids]  # (..., T)
        before = self.last[ids[..., :-1]]  # (..., T - 1)
        after = self.first[ids[..., 1:]]  # (..., T - 1)
        starts[..., 1:] |= (before != after) & (before != ANY)
        if max_tokens:
            self._cut_long_words(ids, starts, max_tokens)
        return starts

    def _cut_long_words(self, ids, starts, max_tokens):
        """Set ``starts`` (..., T) also where a piece of a long word begins."""
        starts[..., :1] = True
        words = np.flatnonzero(starts)  # (words,): index of the first token
        lengths = np.diff(np.append(words, starts.size))  # (words,)
        if not len(words) or lengths.max() <= max_tokens:
            return
        is_long = np.repeat(lengths > max_tokens, lengths)  # (N,): all tokens, in one row
        offset = np.arange(starts.size) - np.repeat(words, lengths)  # (N,): within the word
        # Of each three tokens, the first that begins a character begins a piece; if all of them
        # are parts of characters, the first one does.
        triples = np.flatnonzero(offset % PIECE_TOKENS == 0)
        rank = offset % PIECE_TOKENS + PIECE_TOKENS * ~self.begins_character[ids].ravel()
        chosen = triples + np.minimum.reduceat(rank, triples) % PIECE_TOKENS
        is_cut = is_long[triples] & (offset[triples] > 0)
        starts.flat[chosen[is_cut]] = True


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
