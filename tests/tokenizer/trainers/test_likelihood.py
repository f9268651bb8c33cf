"""Merging by likelihood: by hand, and against the corpus's own log-likelihood."""
import random
from collections import Counter
from math import log

import pytest

from tokenizer import reference
from tokenizer.trainers.likelihood import gain, merge_counts, piece_counts, train_by_likelihood


def random_words(rng, letters, longest):
    words = Counter()
    for _ in range(rng.randint(1, 7)):
        word = tuple(rng.choice(letters) for _ in range(rng.randint(1, longest)))
        words[word] += rng.randint(1, 4)
    return words


def log_likelihood(words):
    counts = piece_counts(words)
    return sum(count * log(count / counts.total()) for count in counts.values())


def test_the_gain_by_hand():
    # N = 40, and f(c) = c ln c:
    f = {3: 3.296, 4: 5.545, 8: 16.636, 36: 129.007, 37: 133.604, 40: 147.555}
    assert gain(4, 8, 8, 40) == pytest.approx(3 * f[4] - 2 * f[8] - f[36] + f[40], abs=0.005)
    assert gain(3, 3, 3, 40) == pytest.approx(-f[3] - f[37] + f[40], abs=0.005)


def test_the_likelihood_prefers_letters_that_always_occur_together():
    words = {tuple(word): 4 for word in ("ax", "ay", "bx", "by")} | {("c", "z"): 3, ("q", "v"): 1}
    alphabet = list("abcqvxyz")
    # gains: c z 10.66, q v 4.68, and four pairs with 1.91, of which a x has the smallest ids
    learned = train_by_likelihood(words, alphabet, 11, min_frequency=1)
    assert learned[1] == [("c", "z"), ("q", "v"), ("a", "x")]
    assert reference.train(words, alphabet, 9)[1] == [("a", "x")]  # by frequency


def test_each_merge_has_the_highest_rise_of_the_log_likelihood():
    """Try every merge instead of computing its gain."""
    rng = random.Random(1)
    num_merges = num_doubles = 0
    for _ in range(100):
        words = random_words(rng, "abc", 6)
        _, merges = train_by_likelihood(words, ["a", "b", "c"], 9, min_frequency=1)
        for best in merges:
            rises = {}
            for pair in merge_counts(words):
                merged = reference.merge_all(words, pair, "".join(pair))
                rises[pair] = log_likelihood(merged) - log_likelihood(words)
            assert rises[best] == pytest.approx(max(rises.values()), abs=2e-6)
            assert rises[best] > 0
            words = reference.merge_all(words, best, "".join(best))
            num_merges += 1
            num_doubles += best[0] == best[1]
    assert num_merges > 150 and num_doubles > 15


def test_a_run_of_one_letter_counts_the_merges_that_it_allows():
    # a a a allows one merge of a and a, and a a a a two; the adjacent pairs are two and three
    assert merge_counts({("a",) * 3: 5, ("a",) * 4: 1}) == {("a", "a"): 7}
    assert train_by_likelihood({("a",) * 3: 1}, ["a"], 9)[1] == []
    assert train_by_likelihood({("a",) * 4: 1, ("b",): 8}, ["a", "b"], 3)[1] == [("a", "a")]


def test_training_stops_when_no_merge_raises_the_likelihood():
    # two letters in all four orders, equally often: k = 1, c = 4, N = 8,
    # so the gain is 2 (f(3) - f(4)) + f(8) - f(7) = -1.48
    independent = {("a", "a"): 1, ("a", "b"): 1, ("b", "a"): 1, ("b", "b"): 1}
    assert gain(1, 4, 4, 8) == pytest.approx(-1.48, abs=0.005)
    assert train_by_likelihood(independent, ["a", "b"], 9, min_frequency=1)[1] == []


def test_ties_go_to_the_parts_that_came_earlier():
    # x y: k = 50 of 50 and 150. p q: k = 50 of 75 and 75. The gains are equal, but not as floats:
    # -f(50) + f(100) - f(150) = 2 (f(25) - f(75)).
    words = {("x", "y"): 50, ("y",): 100, ("p", "q"): 50, ("p",): 25, ("q",): 25}
    assert gain(50, 50, 150, 350) == pytest.approx(gain(50, 75, 75, 350))
    assert gain(50, 50, 150, 350) != gain(50, 75, 75, 350)
    for alphabet, first in (("xypq", ("x", "y")), ("pqxy", ("p", "q"))):
        assert train_by_likelihood(words, list(alphabet), 5, min_frequency=1)[1] == [first]
