"""WordPiece by likelihood, for chapter 4 of the book: clear, slow, and used by no tokenizer here.

Schuster and Nakajima (2012, "Japanese and Korean Voice Search") repeatedly add the word unit "that
increases the likelihood on the training data the most". The language model is not named. Here it
is the simplest one, a unigram model. If c(x) of the N pieces of the corpus are x, then x has the
probability c(x) / N. With f(c) = c ln c, the log-likelihood is, in nats,

    sum over x of c(x) ln(c(x) / N)  =  sum over x of f(c(x))  -  f(N)

On large texts, the vocabularies were no better than those by frequency (docs/log.md, 2026-11-22).
"""
from collections import Counter
from math import log

from tokenizer.reference import merge, merge_all


def train_by_likelihood(words, alphabet, vocab_size, min_frequency=2, join=str.__add__):
    """Learn merges as ``reference.train`` does, but make those that raise the likelihood most.

    Stop when no merge raises it. Below, a and b occur before x and y equally often, so a says
    nothing about the next letter, although the pair a x is frequent. But c is always followed by z.

    >>> from tokenizer.reference import train
    >>> words = {("a", "x"): 4, ("a", "y"): 4, ("b", "x"): 4, ("b", "y"): 4, ("c", "z"): 3}
    >>> train(words, list("abcxyz"), 7)
    (['a', 'b', 'c', 'x', 'y', 'z', 'ax'], [('a', 'x')])
    >>> train_by_likelihood(words, list("abcxyz"), 7)
    (['a', 'b', 'c', 'x', 'y', 'z', 'cz'], [('c', 'z')])
    """
    tokens = list(alphabet)
    merges = []
    while len(tokens) < vocab_size:
        pieces = piece_counts(words)
        gains = {}
        for (left, right), k in merge_counts(words).items():
            if k >= min_frequency:
                # Merging a with a takes 2 k from its count: first k, then k of the rest.
                right_count = pieces[right] - (k if left == right else 0)
                value = gain(k, pieces[left], right_count, pieces.total())
                gains[left, right] = round(value, 6)  # so that a tie stays a tie
        best = min(gains, key=lambda pair: (-gains[pair], *map(tokens.index, pair)), default=None)
        if best is None or gains[best] <= 0:
            break
        merged = join(*best)
        tokens.append(merged)
        merges.append(best)
        words = merge_all(words, best, merged)
    return tokens, merges


def gain(k, left, right, total):
    """Return by how many nats merging the pair a b raises the log-likelihood.

    k: how often it is merged; left, right: counts of a and of b; total: number of all pieces, N.
    Merging subtracts k from c(a), c(b) and N; the new piece has the count k; all else stays.

    >>> round(gain(3, 3, 3, 40), 2)  # -f(3) - f(37) + f(40)
    10.66
    """
    def f(count):
        return count * log(count) if count else 0.0

    return f(k) + f(left - k) - f(left) + f(right - k) - f(right) - f(total - k) + f(total)


def merge_counts(words):
    """Count how often each pair can be merged.

    >>> merge_counts({("a", "a", "a", "b"): 5})  # of three a's, one pair
    Counter({('a', 'a'): 5, ('a', 'b'): 5})
    """
    counts = Counter()
    for word, count in words.items():
        for pair in dict.fromkeys(zip(word, word[1:])):
            counts[pair] += count * (len(word) - len(merge(word, pair, "")))
    return counts


def piece_counts(words):
    """Count each piece: {('a', 'b', 'a'): 5} -> {'a': 10, 'b': 5}."""
    counts = Counter()
    for word, count in words.items():
        for piece in word:
            counts[piece] += count
    return counts
