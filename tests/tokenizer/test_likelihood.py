"""Learning pieces by likelihood: an example by hand, runs of one letter, and the fast trainer against its slow twin."""
import json
import os
import random
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from tokenizer_samples import STORY

from tokenizer import WordPiece, reference
from tokenizer.likelihood import Candidates, Corpus, gain, halves, learn_by_likelihood
from tokenizer.wordpiece import INSIDE, join_pieces, split_piece

ROOT = Path(__file__).parents[2]


def fast(words, alphabet, vocab_size, min_frequency, join=str.__add__, splits=halves):
    number = {token: i for i, token in enumerate(alphabet)}
    learned = learn_by_likelihood([([number[letter] for letter in word], count) for word, count in words.items()], alphabet,
                                  vocab_size, min_frequency, join, splits)
    return learned.tokens, [(learned.tokens[left], learned.tokens[right]) for left, right in learned.merges]


def random_words(rng, letters, longest):
    words = Counter()
    for _ in range(rng.randint(1, 7)):
        words[tuple(rng.choice(letters) for _ in range(rng.randint(1, longest)))] += rng.randint(1, 4)
    return words


def as_pieces(words):
    """a b a -> a ##b ##a"""
    return {(word[0], *(INSIDE + letter for letter in word[1:])): count for word, count in words.items()}


def test_by_hand():
    # N = 40. f(c) = c ln c: f(3) = 3.296, f(4) = 5.545, f(8) = 16.636, f(36) = 129.007, f(37) = 133.604, f(40) = 147.555
    assert gain(4, 8, 8, 0, 40) == pytest.approx(3 * 5.545 - 2 * 16.636 - 129.007 + 147.555, abs=0.005)  # a x
    assert gain(3, 3, 3, 0, 40) == pytest.approx(-3.296 - 133.604 + 147.555, abs=0.005)                  # c z, always together
    words = {tuple(word): 4 for word in ("ax", "ay", "bx", "by")} | {("c", "z"): 3, ("q", "v"): 1}
    alphabet = list("abcqvxyz")
    # 10.66 for c z, 4.68 for q v; of the four pairs with 1.91 the one with the smaller ids
    assert fast(words, alphabet, 11, 1)[1] == [("c", "z"), ("q", "v"), ("a", "x")]
    assert reference.train(words, alphabet, 9)[1] == [("a", "x")]  # by frequency


def test_the_gain_is_the_rise_of_the_log_likelihood():
    rng = random.Random(1)
    for _ in range(500):
        words = random_words(rng, "abc", 6)
        counts, total = reference.pieces(words), sum(reference.pieces(words).values())
        for left, right in {pair for word in words for pair in zip(word, word[1:])}:
            merged = reference.merge_all(words, (left, right), left + right)
            k = total - sum(reference.pieces(merged).values())
            rest = counts[right] - k * (left == right)
            rise = reference.log_likelihood(merged) - reference.log_likelihood(words)
            assert gain(k, counts[left], rest, 0, total) == pytest.approx(rise, abs=1e-9)


def test_the_gain_keeps_its_digits_in_large_corpora():
    def f(count):
        return Decimal(count) * Decimal(count).ln() if count else Decimal(0)
    for k, left, right, made, total in [(2, 2, 3, 0, 10**9), (3, 10**6, 7, 0, 10**9), (5, 10**7, 10**7, 10**6, 10**8)]:
        exact = (f(made + k) - f(made) + f(left - k) - f(left) + f(right - k) - f(right) - f(total - k) + f(total))
        assert abs(gain(k, left, right, made, total) - float(exact)) < 1e-7


def test_runs_of_one_letter_count_the_merges_that_they_allow():
    # a a a allows one merge of a and a, a a a a two: not the two and three that stand side by side
    assert dict(Corpus([([97] * 3, 5), ([97] * 4, 1)]).counts) == {"aa": 7}
    assert learn_by_likelihood([([0, 0, 0], 1)], ["a"], 9, min_frequency=2).stopped == "no pair occurs 2 times"
    learned = learn_by_likelihood([([0] * 4, 1), ([1], 8)], ["a", "b"], 3, min_frequency=2)
    assert learned.tokens[2] == "aa" and learned.counts == [2]


def test_why_it_stopped():
    words = [([0, 1], 2), ([2, 2], 1), ([2], 9)]
    assert learn_by_likelihood(words, ["a", "b", "c"], 4).stopped == "vocabulary is full"
    assert learn_by_likelihood(words, ["a", "b", "c"], 9).stopped == "no pair occurs 2 times"
    assert learn_by_likelihood(words[:1], ["a", "b"], 9).stopped == "no pair is left"
    assert learn_by_likelihood([], ["a"], 9).stopped == "no pair is left"
    # two letters in all four orders, equally often: k = 1, c = 4, N = 8, so 2 (f(3) - f(4)) + f(8) - f(7) = -1.49
    independent = [([0, 0], 1), ([0, 1], 1), ([1, 0], 1), ([1, 1], 1)]
    learned = learn_by_likelihood(independent, ["a", "b"], 9, min_frequency=1)
    assert learned.stopped == "no merge raises the likelihood" and learned.merges == []


def test_two_ways_to_one_string_share_an_id_and_a_count():
    # joined without regard to order, a b and b a make one piece: the second merge adds its 2 to the 3 that are there
    def join(left, right):
        return "".join(sorted(left + right))

    def splits(token):
        return [("a", "b"), ("b", "a")] if token == "ab" else []
    words = [([0, 1], 3), ([1, 0], 2), ([2], 20)]
    candidates = Candidates(words, ["a", "b", "c"], 5, 1, join, splits, set())
    candidates.merge(candidates.best())
    assert candidates.bound[candidates.slots["\1\0"]] == pytest.approx(gain(2, 2, 2, 3, 27), abs=1e-6)
    learned = learn_by_likelihood(words, ["a", "b", "c"], 5, 1, join, splits)
    assert learned.tokens == ["a", "b", "c", "ab"] and learned.merges == [(0, 1), (1, 0)]


def test_forbidden_strings_do_not_become_tokens():
    learned = learn_by_likelihood([([0, 1, 0], 5), ([2], 30)], ["a", "b", "c"], 9, 1, forbidden={"ab"})
    assert learned.tokens == ["a", "b", "c", "ba", "aba"]


@pytest.mark.parametrize("letters, longest, rounds", [("a", 12, 300), ("ab", 7, 1500), ("abc", 5, 1500), ("abcde", 4, 700)])
def test_fast_and_slow_trainers_agree(letters, longest, rounds):
    rng = random.Random(len(letters))
    doubles = 0
    for round_ in range(rounds):
        words, size, min_frequency = random_words(rng, letters, longest), rng.randint(2, 20), rng.choice([1, 1, 2, 3])
        if round_ % 2:
            words, alphabet = as_pieces(words), [*letters, *(INSIDE + letter for letter in letters)]
            slow = reference.train_by_likelihood(words, alphabet, size, min_frequency, join_pieces)
            assert fast(words, alphabet, size, min_frequency, join_pieces, split_piece) == slow
        else:
            slow = reference.train_by_likelihood(words, list(letters), size, min_frequency)
            assert fast(words, list(letters), size, min_frequency) == slow
        doubles += any(left == right for left, right in slow[1])
    assert doubles > rounds / 20  # such merges were among them


def test_a_string_that_is_made_in_two_ways_agrees_too():
    """Rare when left to chance: words whose pieces spell the same string, cut apart differently."""
    rng = random.Random(3)
    twice = 0
    for _ in range(800):
        words, alphabet = Counter(), ["a", "b", "ab", "ba", "aba"]
        for _ in range(rng.randint(2, 6)):
            words[tuple(rng.choices(alphabet, k=rng.randint(1, 5)))] += rng.randint(1, 4)
        slow = reference.train_by_likelihood(words, alphabet, 12, 1)
        assert fast(words, alphabet, 12, 1) == slow
        twice += len(slow[1]) > len(slow[0]) - len(alphabet)
    assert twice > 150


def test_counts_and_bounds_stay_true_after_every_merge():
    rng = random.Random(2)
    for _ in range(60):
        words = [([rng.randint(0, 2) for _ in range(rng.randint(1, 12))], rng.randint(1, 5)) for _ in range(20)]
        candidates = Candidates(words, ["a", "b", "c"], 40, 1, str.__add__, halves, set())
        while (best := candidates.best()) is not None:
            candidates.merge(best)
            spelled = {}
            for word, frequency in zip(candidates.corpus.words, candidates.corpus.frequencies):
                spelled[tuple(map(ord, word))] = spelled.get(tuple(map(ord, word)), 0) + frequency
            assert {i: count for i, count in enumerate(candidates.pieces) if count} == reference.pieces(spelled)
            slots = np.arange(len(candidates.slots))
            assert (candidates.bound[slots] >= candidates._gains(slots)).all()


def test_the_order_of_the_words_does_not_matter():
    rng = random.Random(4)
    for _ in range(300):
        words = list(random_words(rng, "abc", 8).items())
        expected = fast(dict(words), ["a", "b", "c"], 15, 1)
        rng.shuffle(words)
        assert fast(dict(words), ["a", "b", "c"], 15, 1) == expected


def train(text, vocab_size, **options):
    return WordPiece.train_from_iterator([text], vocab_size, show_progress=False, **options)


def test_the_criterion_of_wordpiece():
    text = "ax ay bx by " * 4 + "cz " * 3
    assert train(text, 15, criterion="likelihood").get_vocab().keys() - train(text, 14).get_vocab().keys() == {"cz"}
    assert train(text, 15).get_vocab().keys() - train(text, 14).get_vocab().keys() == {"ax"}
    assert train(text, 15).fingerprint == train(text, 15, criterion="frequency").fingerprint
    # every letter before every letter, once: N = 32, and any merge changes it by 2 (f(3) - f(4)) - f(31) + f(32) = -0.05
    square = " ".join(left + right for left in "abcd" for right in "abcd")
    stopped = train(square, 99, min_frequency=1, criterion="likelihood").training_summary
    assert stopped == "vocabulary: asked for 99, reached 13: no merge raises the likelihood"


def test_pieces_inside_words_can_be_made_in_two_ways():
    assert split_piece("##abc")[-2:] == [("##a", "##bc"), ("##ab", "##c")]
    for piece in ("abc", "##abc"):
        assert all(join_pieces(left, right) == piece for left, right in split_piece(piece))


def test_neither_hash_seed_nor_order_of_files_matters(tmp_path):
    lines = STORY.splitlines(keepends=True)
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text("".join(lines[number::3]), encoding="utf-8")
    script = ("import json, sys; from tokenizer import WordPiece; print(json.dumps([WordPiece.train(sys.argv[1:], 400, "
              "criterion=criterion, show_progress=False).get_vocab() for criterion in ('frequency', 'likelihood')]))")
    results = []
    for seed, order in [("0", (0, 1, 2)), ("1", (2, 1, 0)), ("2", (1, 0, 2)), ("3", (0, 1, 2))]:
        done = subprocess.run([sys.executable, "-c", script, *(str(tmp_path / f"{number}.txt") for number in order)], cwd=ROOT,
                              capture_output=True, check=True, env={**os.environ, "PYTHONHASHSEED": seed})
        results.append(json.loads(done.stdout))
    assert all(result == results[0] for result in results)
    assert results[0][0] != results[0][1]  # the two criteria differ
