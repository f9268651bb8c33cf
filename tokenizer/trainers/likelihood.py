"""Learning word pieces by likelihood: each merge is the one that raises the probability of the training text most.

Schuster and Nakajima (2012, "Japanese and Korean Voice Search", on the word inventory) add, again and again, the unit "that
increases the likelihood on the training data the most". BERT's vocabulary is said to come from such a trainer (Devlin et al. 2018,
section 3, call it WordPiece), but that was never published, and the paper does not say which language model it means. Here it
is the simplest, a unigram model: of N pieces in the corpus c(x) are x, so x has the probability c(x) / N, and with
f(c) = c ln c the log-likelihood of the corpus, in nats, is

    sum over x of c(x) ln(c(x) / N)  =  sum over x of f(c(x))  -  f(N)

Merging a and b in k places takes k from c(a), c(b) and N, and gives k to the new piece. All else stays, so

    gain = f(k) + f(c(a) - k) - f(c(a)) + f(c(b) - k) - f(c(b)) - f(N - k) + f(N)        exactly
         = k (ln(k N / (c(a) c(b))) - 1)                                                 nearly, where k is small beside c(a), c(b)

The ratio inside the logarithm, k N / (c(a) c(b)), says how much oftener a and b stand together than chance would have it. But for
the factor N, the same for all pairs, it is the score that courses give for WordPiece, count(ab) / (count(a) count(b)). The gain
weighs it with k: how often one profits from it.

By hand: the words ax, ay, bx, by stand 4 times each, cz 3 times, qv once: 20 words of two letters, N = 40.

    pair   k  c(a) c(b)  k / (c(a) c(b))  gain
    a x    4   8    8         1/16        f(4) + f(4) - f(8) + f(4) - f(8) - f(36) + f(40)  =  3 * 5.545 - 2 * 16.636 - 129.007 + 147.555  =   1.91
    c z    3   3    3         1/3         f(3) - f(3) - f(3) - f(37) + f(40)                =  -3.296 - 133.604 + 147.555                  =  10.66
    q v    1   1    1         1           f(1) - f(1) - f(1) - f(39) + f(40)                =  -142.879 + 147.555                          =   4.68

The most frequent pair is a x, though a says nothing of x. The score prefers q v, which was seen once. The likelihood takes c z.

>>> [round(float(gain(k, left, right, 40)), 2) for k, left, right in [(4, 8, 8), (3, 3, 3), (1, 1, 1)]]
[1.91, 10.66, 4.68]

``merges.py`` is the twin of this file for the criterion of frequency; ``reference.py`` has the slow version of both.
"""
from array import array
from collections import Counter, defaultdict
from itertools import groupby

import numpy as np

from tokenizer.trainers.merges import LearnedMerges, changed_pairs


def learn_by_likelihood(words, tokens, vocab_size, min_frequency=2, join=str.__add__, forbidden=(), progress=None):
    """Merge the pair with the highest gain until the vocabulary has ``vocab_size`` tokens, or no gain is above 0.

    Arguments and result as of ``merges.learn_merges``; the words are spelled in single characters. k, which must reach
    ``min_frequency``, is the number of merges that a pair allows, and so how often the new piece will occur: a a a allows one
    merge of a and a, not two. Of pairs with equal gains the one with the smaller left id, then the smaller right id, is
    taken: the result depends on nothing but the counts.

    >>> learn_by_likelihood([([0, 3], 4), ([0, 4], 4), ([1, 3], 4), ([1, 4], 4), ([2, 5], 3)], list("abcxyz"), vocab_size=8)
    LearnedMerges(tokens=['a', 'b', 'c', 'x', 'y', 'z', 'cz', 'ax'], merges=[(2, 5), (0, 3)], counts=[3, 4], stopped='vocabulary is full')
    """
    candidates = Candidates(words, tokens, vocab_size, min_frequency, join, set(forbidden))
    merges, counts = [], []
    while len(candidates.tokens) < vocab_size:
        best = candidates.best()
        if best is None:
            return LearnedMerges(candidates.tokens, merges, counts, candidates.why_none())
        left, right, count = candidates.merge(best)
        merges.append((left, right))
        counts.append(count)
        if progress:
            progress(len(candidates.tokens))
    return LearnedMerges(candidates.tokens, merges, counts, "vocabulary is full")


def gain(k, left, right, total):
    """How much the log-likelihood of the corpus rises, in nats, when a pair is merged. Numbers, or arrays of them.

    k: how often the pair is merged.  left, right: how often its parts occur.  total: N, all pieces. Where both parts are one piece,
    merging a and a in k places takes 2 k from c(a), first k, then k of the rest: left = c(a), right = c(a) - k.
    """
    return k * np.log(np.maximum(k, 1)) + rise(total - k, k) - (rise(left - k, k) + rise(right - k, k))


def rise(x, d):
    """f(x + d) - f(x) with f(x) = x ln x, written so that the difference of two large numbers keeps its digits."""
    return x * np.log1p(d / np.maximum(x, 1)) + d * np.log(np.maximum(x + d, 1))


def comparable_decimals(total):
    """To how many decimals gains are compared in a corpus of N pieces: millionths of a nat, or coarser where N is large.

    Rounding errors, which grow with N, must not choose between equals: they are far smaller than this.

    >>> comparable_decimals(40), comparable_decimals(9_999_999), comparable_decimals(7 * 10**8)
    (6, 6, 4)
    """
    return min(6, 13 - len(str(total)))


class Candidates:
    """The pairs that can be merged, each with a bound that its gain does not exceed.

    A bound is the gain when it was last computed. Gains only fall, unless ``merge`` computes them anew. So compute the gain of the
    pair with the highest bound: only pairs whose bounds reach it can be better. That leaves a few gains to compute for each merge.

    A pair has a slot, its place in the arrays: ``left`` and ``right``, the ids of its parts; ``count``, its k; ``bound``.
    """

    def __init__(self, words, tokens, vocab_size, min_frequency, join, forbidden):
        self.tokens, self.min_frequency, self.join, self.forbidden = list(tokens), min_frequency, join, forbidden
        self.corpus = Corpus(words)
        self.pieces = np.zeros(max(vocab_size, len(tokens)), np.int64)  # how often each occurs
        for word, frequency in zip(self.corpus.words, self.corpus.frequencies):
            for piece in map(ord, word):
                self.pieces[piece] += frequency
        self.total = int(self.pieces.sum())
        self.decimals = comparable_decimals(self.total)  # once: bounds of one rounding and gains of another would not compare
        self.slots = {}
        self.left, self.right, self.count = np.zeros((3, 1024), np.int64)
        self.bound = np.zeros(1024)
        self.touching = defaultdict(lambda: array("q"))  # id of a piece -> the slots of the pairs that it is a part of
        slots = np.array(self._recount(self.corpus.counts))
        self.bound[slots] = self._gains(slots)

    def best(self):
        """The slot of the pair with the highest gain; None where no gain is above 0."""
        if not self.slots:
            return None
        bound = self.bound[:len(self.slots)]
        certain = self._gains(bound.argmax())
        rivals = np.flatnonzero(bound >= certain)
        gains = bound[rivals] = self._gains(rivals)
        if gains.max() <= 0:
            return None
        first = rivals[gains == gains.max()]
        return first[np.lexsort((self.right[first], self.left[first]))[0]]

    def merge(self, slot):
        """Merge a pair everywhere; return the ids of its parts, and how many merges that were.

        After it a gain is higher than before only where the pair itself occurs more often, or one of its parts less often: these are
        computed anew. The rest fall, because N does.

        The new piece is new indeed, no other pair ever makes the same string. For wherever that string stands between two
        borders, no merge has crossed these; so within them all merges went as they go wherever the string stands, and it is
        made of the same two parts.
        """
        left, right, count, new = int(self.left[slot]), int(self.right[slot]), int(self.count[slot]), len(self.tokens)
        self.tokens.append(self.join(self.tokens[left], self.tokens[right]))
        self.pieces[left] -= count
        self.pieces[right] -= count
        self.pieces[new] = count
        self.total -= count
        changed = self._recount(self.corpus.merge(chr(left) + chr(right), chr(new)))
        risen = np.array(changed + self.touching[left] + self.touching[right])
        self.bound[risen] = self._gains(risen)
        return left, right, count

    def why_none(self):
        """Why ``best`` found none."""
        if (self.count >= self.min_frequency).any():
            return "no merge raises the likelihood"
        return f"no pair occurs {self.min_frequency} times" if any(self.corpus.counts.values()) else "no pair is left"

    def _gains(self, slots):
        """The gains of today, 0 for pairs that are too rare."""
        k, left, right = self.count[slots], self.left[slots], self.right[slots]
        rest = self.pieces[right] - k * (left == right)
        gains = gain(k, self.pieces[left], rest, self.total)
        return np.where(k >= self.min_frequency, np.round(gains, self.decimals), 0.0)

    def _recount(self, pairs):
        """Take over the counts of some pairs; return their slots. A pair gets its slot when it is first frequent enough."""
        slots = array("q")
        for pair in pairs:
            count = self.corpus.counts[pair]
            if pair not in self.slots and (count < self.min_frequency or not self._add(pair)):
                continue
            slots.append(self.slots[pair])
            self.count[slots[-1]] = count
        return slots

    def _add(self, pair):
        """Give a pair a slot, unless it makes a forbidden token."""
        left, right = map(ord, pair)
        if self.join(self.tokens[left], self.tokens[right]) in self.forbidden:
            return False
        slot = self.slots[pair] = len(self.slots)
        if slot == len(self.bound):
            for name in ("left", "right", "count", "bound"):
                setattr(self, name, np.concatenate([getattr(self, name), np.zeros_like(getattr(self, name))]))
        self.left[slot], self.right[slot] = left, right
        self.touching[left].append(slot)
        self.touching[right].append(slot)
        return True


class Corpus:
    """The words, and how many merges each pair of neighbours allows (``counts``), kept true under merges.

    As in ``merges.PairCounts``, a word is a string in which the character with code point i stands for piece i, and a pair is a
    string of two. ``str.count`` and ``str.split`` go from the left and use no character twice, as a merge does.

    >>> corpus = Corpus([([97, 97, 97, 98], 2)])        # aaab, twice
    >>> dict(corpus.counts), sorted(corpus.merge("aa", "X")), corpus.words
    ({'aa': 2, 'ab': 2}, ['Xa', 'aa'], ['Xab'])
    """

    def __init__(self, words):
        self.words = ["".join(map(chr, ids)) for ids, _ in words]
        self.frequencies = [frequency for _, frequency in words]
        self.counts = defaultdict(int)
        self.where = defaultdict(list)  # numbers of words; may name a word twice, or one that has lost the pair
        for number, (word, frequency) in enumerate(zip(self.words, self.frequencies)):
            for pair, times in Counter(map(str.__add__, word, word[1:])).items():
                self.counts[pair] += frequency * (word.count(pair) if pair[0] == pair[1] else times)
                self.where[pair].append(number)

    def merge(self, pair, new):
        """Put ``new`` in the place of ``pair`` in all words; return the pairs whose count may have changed."""
        counts, changed = self.counts, set()
        recounted = {pair, pair[0] * 2, pair[1] * 2, new * 2}  # doubles may overlap: what was one more neighbour may be no merge more
        for number, _ in groupby(self.where.pop(pair)):
            before, frequency = self.words[number], self.frequencies[number]
            parts = before.split(pair)
            after = self.words[number] = new.join(parts)
            for gone, made in changed_pairs(parts, pair, new):
                if gone not in recounted:
                    counts[gone] -= frequency
                    changed.add(gone)
                if made not in recounted:
                    counts[made] += frequency
                    changed.add(made)
                self.where[made].append(number)
            for double in recounted:
                difference = after.count(double) - before.count(double)
                if difference:
                    counts[double] += difference * frequency
                    changed.add(double)
        return changed
