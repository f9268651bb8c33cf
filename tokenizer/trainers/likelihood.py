"""Learn WordPiece by likelihood: each merge raises the probability of the corpus most.

Schuster and Nakajima (2012, "Japanese and Korean Voice Search") repeatedly add the word unit "that
increases the likelihood on the training data the most". According to Devlin et al. (2018, section
3), BERT's vocabulary comes from such a trainer, but it was never published, and the paper does not
name its language model. Here it is the simplest one, a unigram model. If c(x) of the N pieces of
the corpus are x, then x has the probability c(x) / N. With f(c) = c ln c, the log-likelihood is, in
nats,

    sum over x of c(x) ln(c(x) / N)  =  sum over x of f(c(x))  -  f(N)

Merging a and b at k positions subtracts k from c(a), c(b) and N; the new piece gets the count k.
Nothing else changes, so

    gain = f(k) + f(c(a) - k) - f(c(a)) + f(c(b) - k) - f(c(b)) - f(N - k) + f(N)      exactly
         = k (ln(k N / (c(a) c(b))) - 1)                   approximately, if k is small

The ratio k N / (c(a) c(b)) says how much more often a and b are adjacent than by chance. Without N,
which is the same for all pairs, it is the score that many courses give for WordPiece,
count(ab) / (count(a) count(b)). The gain multiplies its logarithm by k: how often it pays off.

By hand: the words ax, ay, bx, by occur 4 times each, cz 3 times, qv once: 20 words, N = 40 letters.

    pair   k  c(a) c(b)  k / (c(a) c(b))  gain
    a x    4   8    8    1/16              1.91  = 3 f(4) - 2 f(8) - f(36) + f(40)
    c z    3   3    3    1/3              10.66  = -f(3) - f(37) + f(40)
    q v    1   1    1    1                 4.68  = -f(39) + f(40)

The most frequent pair is a x, though a says nothing about x. The score prefers q v, which occurs
once. The likelihood chooses c z.

>>> gains = [gain(4, 8, 8, 40), gain(3, 3, 3, 40), gain(1, 1, 1, 40)]
>>> [round(float(value), 2) for value in gains]
[1.91, 10.66, 4.68]

``merges.py`` is the trainer by frequency; ``reference.py`` has the slow version of both.
"""
from array import array
from collections import Counter, defaultdict
from itertools import groupby, pairwise

import numpy as np

from tokenizer.trainers.merges import LearnedMerges, changed_pairs
from tokenizer.utils.progress import progress_bar
from tokenizer.utils.terminal import plural


def learn_by_likelihood(words, tokens, vocab_size, min_frequency=2, join=str.__add__, forbidden=(),
                        show_progress=False):
    """Merge the pair with the highest gain until the vocabulary is full or no gain is above 0.

    Arguments and result as ``merges.learn_merges``; words are spelled in single characters.
    ``min_frequency`` applies to k, the number of merges that a pair allows: a a a allows one merge
    of a and a, not two. Ties go to the smaller left id, then the smaller right id.

    >>> words = [([0, 3], 4), ([0, 4], 4), ([1, 3], 4), ([1, 4], 4), ([2, 5], 3)]
    >>> learned = learn_by_likelihood(words, list("abcxyz"), vocab_size=8)
    >>> learned.tokens[6:], learned.merges, learned.counts
    (['cz', 'ax'], [(2, 5), (0, 3)], [3, 4])
    """
    candidates = Candidates(words, tokens, vocab_size, max(1, min_frequency), join, forbidden)
    merges = []
    counts = []
    num_new = vocab_size - len(tokens)
    with progress_bar(num_new, "learning tokens", "tokens", show_progress) as bar:
        while len(candidates.tokens) < vocab_size:
            best = candidates.best()
            if best is None:
                return LearnedMerges(candidates.tokens, merges, counts, candidates.why_none())
            left, right, count = candidates.merge(best)
            merges.append((left, right))
            counts.append(count)
            bar.update()
    return LearnedMerges(candidates.tokens, merges, counts, "vocabulary is full")


def gain(k, left, right, total):
    """Return how much merging a pair raises the log-likelihood, in nats. Scalars or arrays.

    k       how often the pair is merged
    left    count of its left part
    right   count of its right part; if both are the same piece, its count minus k, because the
            merges take 2 k from it: first k, then k of the rest
    total   N, the number of all pieces
    """
    loss_of_parts = rise(left - k, k) + rise(right - k, k)
    return k * np.log(np.maximum(k, 1)) + rise(total - k, k) - loss_of_parts


def rise(x, d):
    """Return f(x + d) - f(x) for f(x) = x ln x, without the cancellation of large numbers."""
    return x * np.log1p(d / np.maximum(x, 1)) + d * np.log(np.maximum(x + d, 1))


def comparable_decimals(total):
    """Return to how many decimals gains are compared in a corpus of ``total`` pieces.

    Rounding errors, which grow with the corpus, must not decide between equal gains.

    >>> comparable_decimals(40), comparable_decimals(9_999_999), comparable_decimals(7 * 10**8)
    (6, 6, 4)
    """
    return min(6, 13 - len(str(total)))


class Candidates:
    """The pairs that can be merged, each with an upper bound of its gain.

    The bound of a pair is its gain when it was last computed. Gains only fall, except for the pairs
    whose gains ``merge`` computes again. So compute the gain of the pair with the highest bound:
    only pairs whose bounds reach that gain can be better. That leaves a few gains per merge.

    Each pair has a slot, its index in the arrays ``left``, ``right``, ``count`` and ``bound``.
    """

    def __init__(self, words, tokens, vocab_size, min_frequency, join, forbidden):
        self.tokens = list(tokens)
        self.min_frequency = min_frequency
        self.join = join
        self.forbidden = forbidden
        self.corpus = Corpus(words)
        self.pieces = np.zeros(max(vocab_size, len(tokens)), np.int64)  # id -> count
        for word, count in zip(self.corpus.words, self.corpus.word_counts):
            for piece in word:
                self.pieces[ord(piece)] += count
        self.total = int(self.pieces.sum())
        # Fixed: bounds and gains that are rounded differently could not be compared.
        self.decimals = comparable_decimals(self.total)

        self.slots = {}                            # pair -> its slot
        self.left = np.zeros(1024, np.int64)       # slot -> id of the left part
        self.right = np.zeros(1024, np.int64)      # slot -> id of the right part
        self.count = np.zeros(1024, np.int64)      # slot -> k
        self.bound = np.zeros(1024)                # slot -> upper bound of the gain
        self.slots_with = defaultdict(lambda: array("q"))  # piece id -> slots of pairs that use it
        slots = np.array(self._recount(self.corpus.counts))
        self.bound[slots] = self._gains(slots)

    def best(self):
        """Return the slot of the pair with the highest gain; None if no gain is above 0."""
        if not self.slots:
            return None
        bound = self.bound[:len(self.slots)]
        lower_limit = self._gains(bound.argmax())
        rivals = np.flatnonzero(bound >= lower_limit)
        gains = self._gains(rivals)
        bound[rivals] = gains
        if gains.max() <= 0:
            return None
        tied = rivals[gains == gains.max()]
        return tied[np.lexsort((self.right[tied], self.left[tied]))[0]]

    def merge(self, slot):
        """Merge a pair everywhere; return (left id, right id, number of merges).

        A gain rises only if its pair became more frequent or one of its parts less frequent; these
        gains are computed again. All other gains fall, because N does.

        No other pair ever makes the same string as the new piece: wherever that string occurs
        between two boundaries that no merge has crossed, the same merges were applied inside it,
        so it consists of the same two parts.
        """
        left = int(self.left[slot])
        right = int(self.right[slot])
        count = int(self.count[slot])
        new = len(self.tokens)
        self.tokens.append(self.join(self.tokens[left], self.tokens[right]))
        self.pieces[left] -= count
        self.pieces[right] -= count
        self.pieces[new] = count
        self.total -= count
        changed = self._recount(self.corpus.merge(chr(left) + chr(right), chr(new)))
        risen = np.array(changed + self.slots_with[left] + self.slots_with[right])
        self.bound[risen] = self._gains(risen)
        return left, right, count

    def why_none(self):
        """Return the reason why ``best`` found no pair."""
        if (self.count >= self.min_frequency).any():
            return "no merge raises the likelihood"
        return f"no pair occurs {plural(self.min_frequency, 'time')}"

    def _gains(self, slots):
        """Return the current gains; 0 for pairs that are too rare."""
        k = self.count[slots]
        left = self.left[slots]
        right = self.right[slots]
        right_count = self.pieces[right] - k * (left == right)
        gains = gain(k, self.pieces[left], right_count, self.total)
        return np.where(k >= self.min_frequency, np.round(gains, self.decimals), 0.0)

    def _recount(self, pairs):
        """Copy the counts of pairs from the corpus; return their slots.

        A pair gets its slot when it is frequent enough for the first time.
        """
        slots = array("q")
        for pair in pairs:
            count = self.corpus.counts[pair]
            if pair not in self.slots and (count < self.min_frequency or not self._add(pair)):
                continue
            slot = self.slots[pair]
            slots.append(slot)
            self.count[slot] = count
        return slots

    def _add(self, pair):
        """Give a pair a slot; return False if it would make a forbidden token."""
        left, right = map(ord, pair)
        if self.join(self.tokens[left], self.tokens[right]) in self.forbidden:
            return False
        slot = len(self.slots)
        self.slots[pair] = slot
        if slot == len(self.bound):  # the arrays are full: double them
            for name in ("left", "right", "count", "bound"):
                values = getattr(self, name)
                setattr(self, name, np.concatenate([values, np.zeros_like(values)]))
        self.left[slot] = left
        self.right[slot] = right
        self.slots_with[left].append(slot)
        self.slots_with[right].append(slot)
        return True


class Corpus:
    """The words, and how many merges each pair allows, kept up to date under merges.

    As in ``merges.PairCounts``, a word is a string in which the character with code point i is
    piece i. ``str.count`` and ``str.split`` search from the left and use no character twice, as a
    merge does.

    >>> corpus = Corpus([([97, 97, 97, 98], 2)])        # aaab, twice
    >>> dict(corpus.counts), sorted(corpus.merge("aa", "X")), corpus.words
    ({'aa': 2, 'ab': 2}, ['Xa', 'aa'], ['Xab'])
    """

    def __init__(self, words):
        self.words = ["".join(map(chr, ids)) for ids, _ in words]
        self.word_counts = [count for _, count in words]
        self.counts = defaultdict(int)
        self.word_indices = defaultdict(list)  # may list a word twice, or one that lost the pair
        for i, (word, count) in enumerate(zip(self.words, self.word_counts)):
            occurrences = Counter(left + right for left, right in pairwise(word))
            for pair, times in occurrences.items():
                if pair[0] == pair[1]:  # overlapping occurrences allow fewer merges
                    times = word.count(pair)
                self.counts[pair] += count * times
                self.word_indices[pair].append(i)

    def merge(self, pair, new):
        """Replace ``pair`` with ``new`` in all words; return the pairs whose counts may change."""
        counts = self.counts
        changed = set()
        # Doubles can overlap: one neighbor more may not be one merge more, so count them again.
        doubles = {pair, pair[0] * 2, pair[1] * 2, new * 2}
        for i, _ in groupby(self.word_indices.pop(pair)):
            before = self.words[i]
            parts = before.split(pair)
            after = new.join(parts)
            self.words[i] = after
            word_count = self.word_counts[i]
            for removed, added in changed_pairs(parts, pair, new):
                if removed not in doubles:
                    counts[removed] -= word_count
                    changed.add(removed)
                if added not in doubles:
                    counts[added] += word_count
                    changed.add(added)
                self.word_indices[added].append(i)
            for double in doubles:
                difference = after.count(double) - before.count(double)
                if difference:
                    counts[double] += difference * word_count
                    changed.add(double)
        return changed
