"""Learning merges: cases worked by hand, and the fast trainer against the slow reference."""
import random
from collections import Counter
from functools import partial
from itertools import pairwise

import pytest
from tokenizer_samples import train_on_words

from tokenizer import reference
from tokenizer.trainers import merges
from tokenizer.trainers.merges import TokenizedWords, learn_merges
from tokenizer.wordpiece import join_pieces

train_fast = partial(train_on_words, learn_merges)


def test_hug_and_pug_by_hand():
    # u g occurs 20 times, then h ug 15, then p ug 5 and hug s 5: p has the smaller id
    words = {("h", "u", "g"): 10, ("p", "u", "g"): 5, ("h", "u", "g", "s"): 5}
    tokens, merges = train_fast(words, ["g", "h", "p", "s", "u"], 9, 1)
    assert merges == [("u", "g"), ("h", "ug"), ("p", "ug"), ("hug", "s")]
    assert tokens == ["g", "h", "p", "s", "u", "ug", "hug", "pug", "hugs"]


def test_ties_go_to_the_smaller_left_id_then_the_smaller_right_id():
    words = {("b", "a"): 3, ("a", "c"): 3, ("a", "b"): 3}
    _, merges = train_fast(words, ["a", "b", "c"], 6, 1)
    assert merges == [("a", "b"), ("a", "c"), ("b", "a")]
    _, merges = train_fast(words, ["c", "b", "a"], 6, 1)
    assert merges == [("b", "a"), ("a", "c"), ("a", "b")]


def test_overlapping_pairs_are_merged_from_the_left():
    # a a a a a becomes aa aa a; then aa aa and aa a tie, and a has the smaller id than aa
    _, merges = train_fast({("a",) * 5: 1}, ["a"], 10, 1)
    assert merges == [("a", "a"), ("aa", "a"), ("aa", "aaa")]


def test_reasons_to_stop():
    words = [([0, 1], 2), ([1, 1], 1)]
    assert learn_merges(words, ["a", "b"], 3).stopped == "vocabulary is full"
    assert learn_merges(words, ["a", "b"], 9).stopped == "no pair occurs 2 times"


def test_forbidden_strings_do_not_become_tokens():
    learned = learn_merges([([0, 1, 0], 5)], ["a", "b"], 9, 1, forbidden={"ab"})
    assert learned.tokens == ["a", "b", "ba", "aba"]


def test_a_forbidden_pair_is_never_merged_but_its_tokens_are():
    # x a is forbidden. After a b, the new pair x ab is more frequent than c d.
    words = [([0, 1, 2], 10), ([3, 4], 9)]
    learned = learn_merges(words, ["x", "a", "b", "c", "d"], 8, forbidden={"xa"})
    assert learned.tokens[5:] == ["ab", "xab", "cd"]


@pytest.mark.parametrize("letters", ["ab", "abcde"])
@pytest.mark.parametrize("join", [str.__add__, join_pieces])
def test_fast_and_slow_trainers_agree(letters, join):
    rng = random.Random(1)
    alphabet = [*letters, *("##" + letter for letter in letters)]
    for _ in range(40):
        words = Counter()
        for _ in range(rng.randint(1, 25)):
            word = rng.choices(letters, k=rng.randint(1, 12))
            if join is join_pieces:
                word[1:] = ["##" + letter for letter in word[1:]]
            words[tuple(word)] += rng.randint(1, 6)
        arguments = words, alphabet, rng.randint(10, 50), rng.randint(1, 4), join
        assert train_fast(*arguments) == reference.train(*arguments)


def test_the_result_does_not_depend_on_how_many_pairs_are_counted_together(monkeypatch):
    rng = random.Random(2)
    words = {tuple(rng.choices("abcdefgh", k=rng.randint(1, 20))): rng.randint(1, 9)
             for _ in range(100)}
    expected = reference.train(words, list("abcdefgh"), 60)
    for candidates, positions in [(1, 1), (3, 10**6), (10**6, 50), (10**6, 10**6)]:
        monkeypatch.setattr(merges, "MAX_CANDIDATES", candidates)
        monkeypatch.setattr(merges, "MAX_POSITIONS", positions)
        assert train_fast(words, list("abcdefgh"), 60, 2) == expected


def test_counts_are_those_at_the_time_of_the_merge():
    rng = random.Random(3)
    words = Counter({tuple(rng.choices(range(3), k=rng.randint(1, 15))): rng.randint(1, 5)
                     for _ in range(30)})
    learned = learn_merges(words.items(), ["a", "b", "c"], 40)
    for new, (pair, count) in enumerate(zip(learned.merges, learned.counts), start=3):
        assert count == sum(n * list(pairwise(word)).count(pair) for word, n in words.items())
        words = reference.merge_all(words, pair, new)


@pytest.mark.parametrize(("words", "num_disjoint"), [
    (["ab", "cd", "ef"], 3),
    (["ab", "cde"], 2),   # a b, c d and d e: the last two share d
    (["abde", "bd"], 1),  # b d twice, then a b and d e, which do not touch each other
    (["aa", "bc"], 2),
    (["aaa", "bc"], 1),   # a a overlaps itself
])
def test_pairs_are_merged_together_until_one_shares_a_token(words, num_disjoint):
    tokenized = TokenizedWords([(word, 1) for word in words], vocab_size=200, min_frequency=1)
    pairs = sorted(tokenized.all_pairs())
    assert tokenized.num_disjoint(pairs) == num_disjoint


def test_a_run_of_equal_tokens_is_halved_by_each_merge():
    learned = learn_merges([("\0" * 2**17, 1)], ["-"], 100)
    assert learned.merges == [(i, i) for i in range(16)]
