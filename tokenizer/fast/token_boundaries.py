"""Not needed to understand BERT. The same as: the positions in a word that no token lies across.

A Chinese "word" is a clause, and nearly every clause is new. But where no token of the vocabulary
lies across a position of the text, no merge does: both sides can be encoded independently. These
*fragments* are short, and the same ones occur again and again, as words do in other languages.

With the tokens a, b, c, d, ab and bc, the word "abcd" has the fragments abc and d:

    position                                0 a 1 b 2 c 3 d 4
    end of the longest token that starts      2   3   3   4
    the largest end so far                    2   3   3   4    3 is reached, not passed: a boundary

To find the longest token at every byte at once, the bytes that follow are read one by one, at all
positions together. A table of flags tells from a hash whether the bytes read so far are a token, or
the start of one. Two texts may share a hash. At worst, that hides a boundary and makes a fragment
longer. It never makes a wrong one.
"""
import numpy as np

HASH_BITS = 22  # the table has 2^22 entries, 4 MB
FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no bit is lost
TOKEN, PREFIX = 1, 2  # flags: the bytes are a token, a longer token starts with them
MAX_PREFIX = 32  # bytes; longer tokens are not read to their end
TEXT_START = 256  # added to the first byte of a text, which no token has inside


class TokenBoundaries:
    """Return where fragments begin, as ``word_boundaries.gpt2_boundaries`` does for words.

    tokens: all tokens that encoding can give, as bytes

    >>> boundaries = TokenBoundaries([b"a", b"b", b"c", b"d", b"ab", b"bc"])
    >>> data = np.frombuffer(b"abcdab", np.uint8)
    >>> text_starts = np.array([1, 0, 0, 0, 0, 1], bool)      # the texts abcda and b
    >>> np.flatnonzero(boundaries(data, text_starts))
    array([0, 3, 4, 5])
    """

    def __init__(self, tokens):
        self.longest = max(map(len, tokens))
        self.flags = np.zeros(1 << HASH_BITS, np.uint8)
        data = np.frombuffer(b"".join(tokens), np.uint8)
        lengths = np.array([len(token) for token in tokens])  # (V,)
        starts = np.cumsum(lengths) - lengths                 # (V,)
        hashes = np.zeros(len(tokens), np.uint64)             # (V,)
        for length in range(1, MAX_PREFIX + 1):
            hashes = extend_hashes(hashes, data[starts + length - 1])
            slots = table_slots(hashes)
            is_longer = lengths > length
            self.flags[slots[~is_longer]] |= TOKEN
            self.flags[slots[is_longer]] |= PREFIX
            lengths = lengths[is_longer]
            starts = starts[is_longer]
            hashes = hashes[is_longer]

    def __call__(self, data, text_starts):
        """Return where fragments begin. -> (N,) bool

        data          UTF-8 of all texts, (N,) uint8
        text_starts   where texts begin, (N,) bool
        """
        symbols = data + text_starts * np.uint16(TEXT_START)
        symbols = np.append(symbols, np.full(MAX_PREFIX, TEXT_START, np.uint16))
        ends = np.arange(1, len(data) + 1)  # where the longest token ends; a byte is a token
        starts = np.arange(len(data))       # tokens of ``length`` bytes may start here
        hashes = extend_hashes(np.zeros(len(data), np.uint64), data)
        for length in range(2, MAX_PREFIX + 1):
            hashes = extend_hashes(hashes, symbols[starts + length - 1])
            flags = self.flags[table_slots(hashes)]
            token_starts = starts[(flags & TOKEN) != 0]
            ends[token_starts] = token_starts + length
            is_prefix = (flags & PREFIX) != 0
            starts = starts[is_prefix]
            hashes = hashes[is_prefix]
            if not len(starts):
                break
        # Tokens that were not read to their end: assume the longest.
        ends[starts] = starts + self.longest

        largest_end = np.maximum.accumulate(ends)
        fragment_starts = text_starts.copy()
        fragment_starts[1:] |= largest_end[:-1] <= np.arange(1, len(data))
        return fragment_starts


def extend_hashes(hashes, symbols):
    """Return the hashes of texts that are one symbol longer. -> (N,) uint64"""
    return (hashes + symbols + np.uint64(1)) * FACTOR


def table_slots(hashes):
    """Return the indices of hashes in the table: their upper bits, which mix all others."""
    return hashes >> np.uint64(64 - HASH_BITS)
