"""Documents that are nearly the same: MinHash with banding, one document after the other, in bounded memory.

Two texts resemble each other as much as their sets of shingles overlap, a shingle being five words in a row (Broder 1997, "On
the resemblance and containment of documents"): the Jaccard similarity, |A and B| / |A or B|. ``jaccard`` is that, and slow: it
needs both texts. MinHash needs 128 small numbers of each. Give every shingle a random number: the smallest of A and the
smallest of B are the same one with a probability of just |A and B| / |A or B|. Do so 128 times, and the share of the
numbers in which two texts agree estimates their similarity, with a standard error of sqrt(J (1 - J) / 128): 0.035 at J = 0.8.

Which earlier texts to compare with? The 128 numbers are cut into 32 bands of 4. Two texts that share a whole band are
compared: at J = 0.8 all but one pair in twenty million, at J = 0.2 one pair in twenty (Leskovec et al., Mining of Massive Datasets, 3.4).

Nothing here draws random numbers: the constants are computed, so the same texts give the same answer on every machine.
"""
import re
import unicodedata
import zlib
from functools import cache

import numpy as np

SHINGLE = 5  # words (Lee et al. 2022, "Deduplicating Training Data Makes Language Models Better", section 4.2)
HASHES, BANDS = 128, 32
SIMILARITY = 0.8  # from here on a text is a near duplicate: the threshold of Rae et al. 2021, appendix A, there with 13 words a shingle
REMEMBERED = 1 << 20  # documents to compare with, at most: 256 bytes for the numbers of each, 256 for the bands, so 540 MB
AT_ONCE = 4096  # shingles whose numbers are computed at once: 4 MB
GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 divided by the golden ratio, odd: Knuth's multiplier (TAOCP 3, 6.4)


def mixed(numbers):
    """Scramble 64-bit numbers so that each bit depends on all: the end of splitmix64 (Steele et al. 2014). (N,) uint64 -> (N,)"""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


FACTORS = mixed(GOLDEN * np.arange(1, HASHES + 1, dtype=np.uint64)) | np.uint64(1)  # (128,), odd
TERMS = mixed(GOLDEN * np.arange(HASHES + 1, 2 * HASHES + 1, dtype=np.uint64))  # (128,)


def folded(text):
    """A text without what readers do not tell apart: case, the form in which Unicode writes a character (NFKC), and characters that
    are not seen (category Cf: soft hyphens, joiners, marks of direction).

    >>> folded("Cafe\u0301, na\u00adïve; ﬁne") == folded("café, naïve; fine") == "café, naïve; fine"
    True
    """
    return text.casefold() if text.isascii() else unicodedata.normalize("NFKC", unseen().sub("", text)).casefold()


@cache
def unseen():
    """A pattern for the characters that are not seen, some 160; made at first use, in less than half a second."""
    found = (character for character in map(chr, range(0x110000)) if unicodedata.category(character) == "Cf")
    return re.compile(f"[{''.join(map(re.escape, found))}]+")


def words_of(text):
    """The words of a text, without case and punctuation. ``"The cat, THE dog!" -> ["the", "cat", "the", "dog"]``"""
    return re.findall(r"\w+", folded(text))


def shingles(text):
    """The set of all runs of five words; of a shorter text, the one run that it is; of none, the empty set.

    >>> sorted(shingles("One two, three four five six."))
    [('one', 'two', 'three', 'four', 'five'), ('two', 'three', 'four', 'five', 'six')]
    """
    words = words_of(text)
    return {tuple(words[start:start + SHINGLE]) for start in range(max(len(words) - SHINGLE + 1, min(len(words), 1)))}


def jaccard(one, other):
    """The true similarity of two texts, 0 to 1: the slow twin of ``similarity``. Texts without a word resemble nothing: 0.

    >>> jaccard("a b c d e f", "a b c d e g")  # abcde in both, bcdef and bcdeg in one
    0.3333333333333333
    """
    one, other = shingles(one), shingles(other)
    return len(one & other) / max(len(one | other), 1)


def signature(text):
    """The 128 numbers of a text, (128,) uint16; None where it has no word.

    Of each smallest number only 16 bits are kept (b-bit minwise hashing, Li and König 2010): two different ones look the same once in 65,536.
    """
    words = words_of(text)
    if not words:
        return None
    codes = np.array([zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in words], np.uint64)
    number = max(len(codes) - SHINGLE + 1, 1)
    hashes = np.zeros(number, np.uint64)  # one for each shingle
    for start in range(min(SHINGLE, len(codes))):
        hashes = hashes * GOLDEN + codes[start:start + number]  # a polynomial of the five codes, modulo 2^64
    hashes = mixed(hashes)
    smallest = np.full(HASHES, np.iinfo(np.uint64).max)
    for start in range(0, number, AT_ONCE):
        numbers = hashes[start:start + AT_ONCE, None] * FACTORS + TERMS  # (shingles, 128), modulo 2^64
        smallest = np.minimum(smallest, numbers.min(axis=0))
    return mixed(smallest).astype(np.uint16)  # mixed: the low bits of a product know only the low bits of its factors


def similarity(one, other):
    """The estimate of ``jaccard`` from two signatures: the share of numbers that agree. (..., 128), (128,) -> (...)"""
    return (one == other).mean(axis=-1)


class NearDuplicates:
    """Called with one text after the other: is this one a near duplicate of an earlier one? If not, it is remembered.

    threshold: the estimated similarity from which on a text counts as a near duplicate.
    limit: the first so many texts are remembered; later ones are still compared with these.
    ``not_remembered`` counts the others. A slot of a band holds the last text that fell into it, so memory does not grow with
    chance; what is lost so is one band of 32.

    >>> seen = NearDuplicates()
    >>> seen("One, two, three, four, five!"), seen("one two three four five"), seen("Six seven eight nine ten.")
    (False, True, False)
    """

    def __init__(self, threshold=SIMILARITY, limit=REMEMBERED):
        self.threshold, self.limit = threshold, limit
        self.count = self.not_remembered = 0
        self.signatures = np.zeros((min(1024, limit), HASHES), np.uint16)
        self._empty_slots()

    def __call__(self, text):
        new = signature(text)
        if new is None:
            return False
        slots = self._slots(new)
        near = np.unique(self.slots[np.arange(BANDS), slots])
        near = near[near >= 0]
        if len(near) and similarity(self.signatures[near], new).max() >= self.threshold:
            return True
        self._remember(new)
        return False

    def _remember(self, new):
        if self.count == self.limit:
            self.not_remembered += 1
            return
        if self.count == len(self.signatures):
            self.signatures = np.concatenate([self.signatures, np.zeros_like(self.signatures)])[:self.limit]
            self._empty_slots()
            for number in range(self.count):
                self.slots[np.arange(BANDS), self._slots(self.signatures[number])] = number
        self.signatures[self.count] = new
        self.slots[np.arange(BANDS), self._slots(new)] = self.count
        self.count += 1

    def _empty_slots(self):
        self.bits = max(len(self.signatures) - 1, 1).bit_length() + 1  # from two to four slots for each text
        self.slots = np.full((BANDS, 1 << self.bits), -1, np.int32)

    def _slots(self, numbers):
        """The slot of each band, (32,): the 4 numbers of a band are one of 64 bits, hashed by multiplication."""
        return ((numbers.view(np.uint64) * GOLDEN) >> np.uint64(64 - self.bits)).astype(np.int64)
