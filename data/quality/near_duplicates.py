"""Find near duplicates with MinHash and banding, one document after another, in bounded memory.

**Similarity.** A shingle is five words in a row. The similarity of two texts is the Jaccard
similarity of their sets of shingles, J = |A and B| / |A or B| (Broder 1997, "On the resemblance
and containment of documents"). ``jaccard`` computes it, but needs both texts.

**MinHash.** Give every shingle a random number. The smallest number of A and the smallest of B
come from the same shingle with probability J. Repeat this with 128 hash functions: the share of
the 128 minima in which two texts agree estimates J, with a standard error of
sqrt(J (1 - J) / 128), which is 0.035 at J = 0.8.

**Banding.** Which of the earlier texts should be compared? The 128 minima are cut into 32 bands of
4, and two texts are compared if they share a band. At J = 0.8 this misses one pair in twenty
million; at J = 0.2 it compares one pair in twenty (Leskovec et al., Mining of Massive Datasets,
section 3.4).

The hash functions have fixed constants, so the result is the same on every machine.
"""
import re
import unicodedata
import zlib
from functools import cache

import numpy as np

SHINGLE = 5  # words, as in Lee et al. 2022, "Deduplicating Training Data ...", section 4.2
NUM_HASHES = 128
NUM_BANDS = 32
SIMILARITY = 0.8  # the threshold of Rae et al. 2021, appendix A (there with 13 words a shingle)
MAX_REMEMBERED = 1 << 20  # texts; 512 bytes each, half of them for the bands: 540 MB
SHINGLES_PER_CHUNK = 4096  # shingles that are hashed at once; 4 MB
GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd (Knuth, TAOCP 3, section 6.4)


def mix_bits(x):
    """Scramble 64-bit integers so that every bit depends on all others: (N,) uint64 -> (N,).

    This is the finalizer of splitmix64 (Steele et al. 2014).
    """
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


# Hash function i is h -> h * FACTORS[i] + TERMS[i] modulo 2^64.
FACTORS = mix_bits(GOLDEN * np.arange(1, NUM_HASHES + 1, dtype=np.uint64)) | np.uint64(1)  # odd
TERMS = mix_bits(GOLDEN * np.arange(NUM_HASHES + 1, 2 * NUM_HASHES + 1, dtype=np.uint64))


def fold(text):
    """Remove differences that a reader does not see.

    These are upper and lower case, the way Unicode writes a character (NFKC), and invisible
    characters (category Cf: soft hyphens, joiners, direction marks).

    >>> fold("Cafe\u0301, na\u00adïve; ﬁne") == fold("café, naïve; fine") == "café, naïve; fine"
    True
    """
    if text.isascii():
        return text.casefold()
    visible = invisible_pattern().sub("", text)
    return unicodedata.normalize("NFKC", visible).casefold()


@cache
def invisible_pattern():
    """Return a pattern for the 160 or so invisible characters (takes half a second)."""
    characters = map(chr, range(0x110000))
    invisible = [char for char in characters if unicodedata.category(char) == "Cf"]
    return re.compile(f"[{''.join(map(re.escape, invisible))}]+")


def split_words(text):
    """``"The cat, THE dog!" -> ["the", "cat", "the", "dog"]``"""
    return re.findall(r"\w+", fold(text))


def shingles(text):
    """Return the set of all runs of five words. A shorter text is one shingle.

    >>> sorted(shingles("One two, three four five six."))
    [('one', 'two', 'three', 'four', 'five'), ('two', 'three', 'four', 'five', 'six')]
    """
    words = split_words(text)
    if not words:
        return set()
    num_shingles = max(len(words) - SHINGLE + 1, 1)
    return {tuple(words[start:start + SHINGLE]) for start in range(num_shingles)}


def jaccard(text_a, text_b):
    """Return the true similarity of two texts, 0 to 1: the slow twin of ``similarity``.

    >>> jaccard("a b c d e f", "a b c d e g")  # abcde is in both, bcdef and bcdeg in one
    0.3333333333333333
    """
    a = shingles(text_a)
    b = shingles(text_b)
    return len(a & b) / max(len(a | b), 1)


def signature(text):
    """Return the 128 minima of a text, (128,) uint16; None if it has no words.

    Only 16 bits of each minimum are kept (b-bit minwise hashing, Li and König 2010). Two different
    minima look the same with probability 1/65,536.
    """
    words = split_words(text)
    if not words:
        return None
    word_codes = [zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in words]
    codes = np.array(word_codes, np.uint64)  # (num_words,)

    # The hash of a shingle is a polynomial of the codes of its words, modulo 2^64.
    num_shingles = max(len(codes) - SHINGLE + 1, 1)
    hashes = np.zeros(num_shingles, np.uint64)
    for start in range(min(SHINGLE, len(codes))):
        hashes = hashes * GOLDEN + codes[start:start + num_shingles]
    hashes = mix_bits(hashes)

    minima = np.full(NUM_HASHES, np.iinfo(np.uint64).max)
    for start in range(0, num_shingles, SHINGLES_PER_CHUNK):
        chunk = hashes[start:start + SHINGLES_PER_CHUNK, None]  # (S, 1)
        values = chunk * FACTORS + TERMS  # (S, 128), modulo 2^64
        minima = np.minimum(minima, values.min(axis=0))
    # The low bits of a product depend only on the low bits of its factors, so mix before cutting.
    return mix_bits(minima).astype(np.uint16)


def similarity(signatures, other):
    """Estimate ``jaccard`` as the share of equal minima: (..., 128), (128,) -> (...)."""
    return (signatures == other).mean(axis=-1)


class NearDuplicates:
    """Called with one text after another: is this a near duplicate of an earlier one?

    threshold   the similarity from which on a text is a near duplicate
    limit       the number of texts to remember; later ones are compared, but not remembered

    ``not_remembered`` counts the texts past the limit. Each band is a hash table whose slots hold
    the last text that fell into them, so memory is fixed. A collision costs one of 32 bands.

    >>> seen = NearDuplicates()
    >>> seen("One, two, three, four, five!"), seen("one two three four five"), seen("Six seven.")
    (False, True, False)
    """

    def __init__(self, threshold=SIMILARITY, limit=MAX_REMEMBERED):
        self.threshold = threshold
        self.limit = limit
        self.count = 0
        self.not_remembered = 0
        self.signatures = np.zeros((min(1024, limit), NUM_HASHES), np.uint16)
        self._clear_slots()

    def __call__(self, text):
        new = signature(text)
        if new is None:
            return False
        candidates = np.unique(self.slots[np.arange(NUM_BANDS), self._slots_of(new)])
        candidates = candidates[candidates >= 0]
        if len(candidates):
            if similarity(self.signatures[candidates], new).max() >= self.threshold:
                return True
        self._remember(new)
        return False

    def _remember(self, new):
        if self.count == self.limit:
            self.not_remembered += 1
            return
        if self.count == len(self.signatures):
            self._grow()
        self.signatures[self.count] = new
        self.slots[np.arange(NUM_BANDS), self._slots_of(new)] = self.count
        self.count += 1

    def _grow(self):
        """Double the arrays, up to the limit."""
        signatures = np.concatenate([self.signatures, np.zeros_like(self.signatures)])
        self.signatures = signatures[:self.limit]
        self._clear_slots()
        for i in range(self.count):
            self.slots[np.arange(NUM_BANDS), self._slots_of(self.signatures[i])] = i

    def _clear_slots(self):
        # Two to four slots for each text.
        self.slot_bits = max(len(self.signatures) - 1, 1).bit_length() + 1
        self.slots = np.full((NUM_BANDS, 1 << self.slot_bits), -1, np.int32)

    def _slots_of(self, minima):
        """Return the slot in each band, (32,)."""
        bands = minima.view(np.uint64)  # the 4 x 16 bits of a band are one integer
        shift = np.uint64(64 - self.slot_bits)
        return ((bands * GOLDEN) >> shift).astype(np.int64)
