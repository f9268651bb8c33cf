"""Learning merges: cases worked by hand, and the fast trainer against the slow reference."""
import random
from collections import Counter, defaultdict
from functools import partial

import pytest
from tokenizer_samples import train_on_words

from tokenizer import reference
from tokenizer.trainers import merges
from tokenizer.trainers.merges import PairCounts, changed_pairs, learn_merges
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


@pytest.mark.parametrize("letters", ["ab", "abcde"])
@pytest.mark.parametrize("join", [str.__add__, join_pieces])
def test_fast_and_slow_trainers_agree(letters, join):
    rng = random.Random(1)
    alphabet = [*letters, *("##" + letter for letter in letters)]
    for _ in range(100):
        words = Counter()
        for _ in range(rng.randint(1, 25)):
            word = rng.choices(letters, k=rng.randint(1, 12))
            if join is join_pieces:
                word[1:] = ["##" + letter for letter in word[1:]]
            words[tuple(word)] += rng.randint(1, 6)
        arguments = words, alphabet, rng.randint(10, 50), rng.randint(1, 4), join
        assert train_fast(*arguments) == reference.train(*arguments)


@pytest.mark.parametrize("min_frequency", [1, 2, 6])
def test_counts_stay_exact_after_every_merge(min_frequency):
    rng = random.Random(2)
    words = [(rng.choices(range(3), k=rng.randint(1, 15)), rng.randint(1, 5)) for _ in range(30)]
    pairs = PairCounts(words, min_frequency)
    for new in range(3, 30):
        recounted = Counter()
        containing = defaultdict(set)
        for i, (word, count) in enumerate(zip(pairs.words, pairs.word_counts)):
            for pair in map("".join, zip(word, word[1:])):
                recounted[pair] += count
                containing[pair].add(i)
        frequent = {pair: count for pair, count in recounted.items() if count >= min_frequency}
        assert pairs.counts == frequent
        assert pairs.word_indices.keys() == frequent.keys()
        assert all(containing[pair] <= set(pairs.word_indices[pair]) for pair in frequent)
        if not frequent:
            break
        pairs.merge(min(frequent, key=lambda pair: (-frequent[pair], pair)), chr(new))
    assert new > 8


def test_a_word_is_visited_once_per_merge_however_often_it_contains_the_pair(monkeypatch):
    """Otherwise a run of a million dashes would take hours."""
    visits = []

    def counted(*arguments):
        visits.append(arguments)
        return changed_pairs(*arguments)
    monkeypatch.setattr(merges, "changed_pairs", counted)
    pairs = PairCounts([([0] * 1000, 1), ([0, 1], 1), ([0] * 500, 1)], 1)
    assert pairs.merge("\0\0", "X") == ["XX"]
    assert len(visits) == 2
    assert pairs.merge("XX", "Y") == ["YY"]
    assert len(visits) == 4
