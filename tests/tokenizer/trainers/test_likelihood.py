"""Learning pieces by likelihood: by hand, runs of one letter, and fast against slow trainer."""
import random
from collections import Counter
from decimal import Decimal
from functools import partial

import numpy as np
import pytest
from tokenizer_samples import train_on_words

from tokenizer import WordPiece, reference
from tokenizer.trainers.likelihood import Candidates, Corpus, gain, learn_by_likelihood
from tokenizer.wordpiece import INSIDE, join_pieces

train_fast = partial(train_on_words, learn_by_likelihood)


def random_words(rng, letters, longest):
    words = Counter()
    for _ in range(rng.randint(1, 7)):
        word = tuple(rng.choice(letters) for _ in range(rng.randint(1, longest)))
        words[word] += rng.randint(1, 4)
    return words


def as_pieces(words):
    """a b a -> a ##b ##a"""
    return {(word[0], *(INSIDE + letter for letter in word[1:])): n for word, n in words.items()}


def test_the_gain_by_hand():
    # N = 40, and f(c) = c ln c:
    f = {3: 3.296, 4: 5.545, 8: 16.636, 36: 129.007, 37: 133.604, 40: 147.555}
    assert gain(4, 8, 8, 40) == pytest.approx(3 * f[4] - 2 * f[8] - f[36] + f[40], abs=0.005)
    assert gain(3, 3, 3, 40) == pytest.approx(-f[3] - f[37] + f[40], abs=0.005)


def test_the_likelihood_prefers_letters_that_always_occur_together():
    words = {tuple(word): 4 for word in ("ax", "ay", "bx", "by")} | {("c", "z"): 3, ("q", "v"): 1}
    alphabet = list("abcqvxyz")
    # gains: c z 10.66, q v 4.68, and four pairs with 1.91, of which a x has the smallest ids
    assert train_fast(words, alphabet, 11, 1)[1] == [("c", "z"), ("q", "v"), ("a", "x")]
    assert reference.train(words, alphabet, 9)[1] == [("a", "x")]  # by frequency


def test_the_gain_is_the_rise_of_the_log_likelihood():
    rng = random.Random(1)
    for _ in range(500):
        words = random_words(rng, "abc", 6)
        counts, total = reference.piece_counts(words), sum(reference.piece_counts(words).values())
        for left, right in {pair for word in words for pair in zip(word, word[1:])}:
            merged = reference.merge_all(words, (left, right), left + right)
            k = total - sum(reference.piece_counts(merged).values())
            rest = counts[right] - k * (left == right)
            rise = reference.log_likelihood(merged) - reference.log_likelihood(words)
            assert gain(k, counts[left], rest, total) == pytest.approx(rise, abs=1e-9)


def test_the_gain_keeps_its_digits_in_large_corpora():
    def f(count):
        return Decimal(count) * Decimal(count).ln() if count else Decimal(0)
    for k, left, right, total in [(2, 2, 3, 10**9), (3, 10**6, 7, 10**9), (5, 10**7, 10**7, 10**8)]:
        exact = f(k) + f(left - k) - f(left) + f(right - k) - f(right) - f(total - k) + f(total)
        assert abs(gain(k, left, right, total) - float(exact)) < 1e-7


def test_a_run_of_one_letter_counts_the_merges_that_it_allows():
    # a a a allows one merge of a and a, and a a a a two; the adjacent pairs are two and three
    assert dict(Corpus([([97] * 3, 5), ([97] * 4, 1)]).counts) == {"aa": 7}
    assert learn_by_likelihood([([0, 0, 0], 1)], ["a"], 9).stopped == "no pair occurs 2 times"
    learned = learn_by_likelihood([([0] * 4, 1), ([1], 8)], ["a", "b"], 3, min_frequency=2)
    assert learned.tokens[2] == "aa" and learned.counts == [2]


def test_reasons_to_stop():
    words = [([0, 1], 2), ([2, 2], 1), ([2], 9)]
    assert learn_by_likelihood(words, ["a", "b", "c"], 4).stopped == "vocabulary is full"
    assert learn_by_likelihood(words, ["a", "b", "c"], 9).stopped == "no pair occurs 2 times"
    assert learn_by_likelihood(words[:1], ["a", "b"], 9).stopped == "no pair occurs 2 times"
    assert learn_by_likelihood([], ["a"], 9).stopped == "no pair occurs 2 times"
    # two letters in all four orders, equally often: k = 1, c = 4, N = 8,
    # so the gain is 2 (f(3) - f(4)) + f(8) - f(7) = -1.49
    independent = [([0, 0], 1), ([0, 1], 1), ([1, 0], 1), ([1, 1], 1)]
    learned = learn_by_likelihood(independent, ["a", "b"], 9, min_frequency=1)
    assert learned.stopped == "no merge raises the likelihood" and learned.merges == []


@pytest.mark.parametrize("scale", [10**power for power in range(10)])
def test_ties_go_to_the_smaller_ids_though_floats_are_rounded(scale):
    # x y: k = 10 of 10 and 30. p q: k = 10 of 15 and 15. The gains are equal, but not as floats:
    # -f(10) + f(20) - f(30) = 2 (f(5) - f(15)). The same holds for all multiples of these counts.
    words = {("x", "y"): 10, ("y",): 20, ("p", "q"): 10, ("p",): 5, ("q",): 5}
    words = {word: count * scale for word, count in words.items()}
    gain_of_xy = gain(10 * scale, 10 * scale, 30 * scale, 70 * scale)
    gain_of_pq = gain(10 * scale, 15 * scale, 15 * scale, 70 * scale)
    assert gain_of_xy == pytest.approx(gain_of_pq, rel=1e-14)
    for train in (train_fast, reference.train_by_likelihood):
        assert train(words, list("xypq"), 5, 1)[1] == [("x", "y")]
        assert train(words, list("pqxy"), 5, 1)[1] == [("p", "q")]


def test_the_arrays_grow_with_the_number_of_pairs():
    words = [([left, right], 1) for left in range(60) for right in range(60)]
    words += [([60, 61], 9), ([62, 63], 7), ([63, 64], 5)]
    tokens = [chr(0x4E00 + i) for i in range(65)]
    learned = learn_by_likelihood(words, tokens, 68, 1)
    assert learned.merges[:2] == [(60, 61), (62, 63)]
    assert learned.counts[:2] == [9, 7]


def test_forbidden_strings_do_not_become_tokens():
    words = [([0, 1, 0], 5), ([2], 30)]
    learned = learn_by_likelihood(words, ["a", "b", "c"], 9, 1, forbidden={"ab"})
    assert learned.tokens == ["a", "b", "c", "ba", "aba"]


@pytest.mark.parametrize("letters, longest, rounds", [
    ("a", 12, 300), ("ab", 7, 1500), ("abc", 5, 1500), ("abcde", 4, 700)])
def test_fast_and_slow_trainers_agree(letters, longest, rounds):
    rng = random.Random(len(letters))
    doubles = 0
    for round_ in range(rounds):
        words = random_words(rng, letters, longest)
        alphabet = list(letters)
        join = str.__add__
        if round_ % 2:
            words = as_pieces(words)
            alphabet += [INSIDE + letter for letter in letters]
            join = join_pieces
        size = rng.randint(2, 20)
        min_frequency = rng.choice([1, 1, 2, 3])
        slow = reference.train_by_likelihood(words, alphabet, size, min_frequency, join)
        assert train_fast(words, alphabet, size, min_frequency, join) == slow
        doubles += any(left == right for left, right in slow[1])
        # no two merges make the same string
        assert len(slow[0]) == len(set(slow[0])) == len(alphabet) + len(slow[1])
    assert doubles > rounds / 20  # such merges were among them


def test_counts_and_bounds_stay_true_after_every_merge():
    rng = random.Random(2)
    for _ in range(60):
        words = [(rng.choices(range(3), k=rng.randint(1, 12)), rng.randint(1, 5))
                 for _ in range(20)]
        candidates = Candidates(words, ["a", "b", "c"], 40, 1, str.__add__, set())
        while (best := candidates.best()) is not None:
            candidates.merge(best)
            corpus = candidates.corpus
            pieces = Counter()
            for word, count in zip(corpus.words, corpus.word_counts):
                for piece in word:
                    pieces[ord(piece)] += count
            assert {i: count for i, count in enumerate(candidates.pieces) if count} == pieces
            slots = np.arange(len(candidates.slots))
            assert (candidates.bound[slots] >= candidates._gains(slots)).all()


def test_the_rounding_stays_when_the_corpus_falls_below_ten_million_pieces():
    """Otherwise a gain with one more decimal could exceed its bound, which was rounded down."""
    pairs = [([2 * i, 2 * i + 1], 2) for i in range(1, 40)] + [([2 * i], i) for i in range(1, 40)]
    total = sum(len(ids) * count for ids, count in pairs) + 20
    words = [([0, 1], 10), *pairs, ([80], 10_000_003 - total)]
    tokens = [chr(0x4E00 + i) for i in range(81)]
    candidates = Candidates(words, tokens, 99, 1, str.__add__, set())
    candidates.merge(candidates.best())
    slots = np.arange(40)
    assert candidates.total == 9_999_993
    assert (candidates.bound[slots] >= candidates._gains(slots)).all()


def test_a_very_long_word_is_fast():
    """The time for a word grows with the pairs that change, not with all its pairs."""
    rng = random.Random(5)
    letters = "abcdefghijklmnopqrst"
    syllables = ["".join(rng.choices(letters, k=rng.randint(2, 7))) for _ in range(1000)]
    weights = [1 / rank for rank in range(1, 1001)]
    word = "".join(rng.choices(syllables, weights, k=10_000))
    learned = learn_by_likelihood([(list(map(letters.index, word)), 1)], list(letters), 1000)
    assert learned.stopped == "vocabulary is full"


def test_the_order_of_the_words_does_not_matter():
    rng = random.Random(4)
    for _ in range(300):
        words = list(random_words(rng, "abc", 8).items())
        expected = train_fast(dict(words), ["a", "b", "c"], 15, 1)
        rng.shuffle(words)
        assert train_fast(dict(words), ["a", "b", "c"], 15, 1) == expected


def train(text, vocab_size, **options):
    return WordPiece.train_from_iterator([text], vocab_size, show_progress=False, **options)


def test_the_criterion_of_wordpiece():
    text = "ax ay bx by " * 4 + "cz " * 3
    alphabet = train(text, 14).get_vocab().keys()
    assert train(text, 15, criterion="likelihood").get_vocab().keys() - alphabet == {"cz"}
    assert train(text, 15).get_vocab().keys() - alphabet == {"ax"}
    assert train(text, 15).fingerprint == train(text, 15, criterion="frequency").fingerprint
    # every letter before every letter, once: N = 32, and each gain is
    # 2 (f(3) - f(4)) - f(31) + f(32) = -0.05
    square = " ".join(left + right for left in "abcd" for right in "abcd")
    stopped = train(square, 99, min_frequency=1, criterion="likelihood").training_summary
    assert stopped == "vocabulary: asked for 99, reached 13: no merge raises the likelihood"
