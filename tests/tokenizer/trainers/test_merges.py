"""Learning merges: cases worked by hand, and the fast trainer against its slow twin."""
import random
from collections import Counter, defaultdict

import pytest

from tokenizer import reference
from tokenizer.trainers import merges
from tokenizer.trainers.merges import PairCounts, changed_neighbours, learn_merges
from tokenizer.wordpiece import join_pieces


def fast(words, alphabet, vocab_size, min_frequency, join=str.__add__):
    number = {token: i for i, token in enumerate(alphabet)}
    learned = learn_merges([([number[letter] for letter in word], count) for word, count in words.items()], alphabet,
                           vocab_size, min_frequency, join)
    return learned.tokens, [(learned.tokens[left], learned.tokens[right]) for left, right in learned.merges]


def test_the_example_of_hugs_and_pugs():
    # hug 10, pug 5, hugs 5: u g occurs 20 times, then h ug 15, then p ug 5 and hug s 5: the smaller left id is p
    words = {("h", "u", "g"): 10, ("p", "u", "g"): 5, ("h", "u", "g", "s"): 5}
    tokens, merges = fast(words, ["g", "h", "p", "s", "u"], 9, 1)
    assert merges == [("u", "g"), ("h", "ug"), ("p", "ug"), ("hug", "s")]
    assert tokens == ["g", "h", "p", "s", "u", "ug", "hug", "pug", "hugs"]


def test_ties_go_to_the_smaller_left_id_then_the_smaller_right_id():
    words = {("b", "a"): 3, ("a", "c"): 3, ("a", "b"): 3}
    assert fast(words, ["a", "b", "c"], 6, 1)[1] == [("a", "b"), ("a", "c"), ("b", "a")]
    assert fast(words, ["c", "b", "a"], 6, 1)[1] == [("b", "a"), ("a", "c"), ("a", "b")]


def test_overlapping_pairs_are_merged_from_the_left():
    # a a a a a holds the pair four times by count, two after merging: aa aa a, then aaaa a
    assert fast({("a",) * 5: 1}, ["a"], 10, 1)[1] == [("a", "a"), ("aa", "a"), ("aa", "aaa")]


def test_why_it_stopped():
    words = [([0, 1], 2), ([1, 1], 1)]
    assert learn_merges(words, ["a", "b"], 3).stopped == "vocabulary is full"
    assert learn_merges(words, ["a", "b"], 9).stopped == "no pair occurs 2 times"
    assert learn_merges(words, ["a", "b"], 9, min_frequency=1).stopped == "no pair is left"


def test_two_ways_to_one_string_share_an_id():
    # x a b and x b are merged apart; joined without regard to order, 'a'+'b' and 'b'+'a' are one token here
    words = [([0, 1], 3), ([1, 0], 2)]
    learned = learn_merges(words, ["a", "b"], 4, 1, join=lambda left, right: "".join(sorted(left + right)))
    assert learned.tokens == ["a", "b", "ab"] and learned.merges == [(0, 1), (1, 0)]


def test_a_merge_into_a_token_that_is_there_counts_the_rare_pairs_with_it_anew():
    """c ab stands once, c a b four times: with min_frequency 2 the pair of c and 'ab' was too rare, until a b became 'ab'."""
    learned = learn_merges([([3, 2], 1), ([3, 0, 1], 4), ([0, 1], 3)], ["a", "b", "ab", "c"], 9, min_frequency=2)
    assert learned.tokens == ["a", "b", "ab", "c", "cab"] and learned.merges == [(0, 1), (3, 2)] and learned.counts == [7, 5]


def test_forbidden_strings_do_not_become_tokens():
    learned = learn_merges([([0, 1, 0], 5)], ["a", "b"], 9, 1, forbidden={"ab"})
    assert learned.tokens == ["a", "b", "ba", "aba"]


def test_fast_and_slow_trainers_agree():
    rng = random.Random(1)
    for round_ in range(400):
        letters = "ab" if round_ % 2 else "abcde"
        inside = ["##" + letter for letter in letters]
        pieces = round_ % 3 == 0
        words = Counter()
        for _ in range(rng.randint(1, 25)):
            word = [rng.choice(letters) for _ in range(rng.randint(1, 12))]
            if pieces:
                word[1:] = ["##" + letter for letter in word[1:]]
            words[tuple(word)] += rng.randint(1, 6)
        arguments = [*letters, *inside], 10 + rng.randint(0, 40), rng.randint(1, 4)
        join = join_pieces if pieces else str.__add__
        assert fast(words, *arguments, join) == reference.train(words, *arguments, join)


@pytest.mark.parametrize("min_frequency", [1, 2, 6])
def test_counts_stay_true_after_every_merge(min_frequency):
    """Of all pairs that are frequent enough; the others are forgotten, with their places."""
    rng = random.Random(2)
    words = [([rng.randint(0, 2) for _ in range(rng.randint(1, 15))], rng.randint(1, 5)) for _ in range(30)]
    pairs = PairCounts(words, min_frequency)
    for new in range(3, 30):
        recounted, places = Counter(), defaultdict(set)
        for number, (word, count) in enumerate(zip(pairs.words, pairs.frequencies)):
            for pair in map("".join, zip(word, word[1:])):
                recounted[pair] += count
                places[pair].add(number)
        assert pairs.counts == {pair: count for pair, count in recounted.items() if count >= min_frequency}
        assert pairs.where.keys() == pairs.counts.keys() and all(places[pair] <= set(where) for pair, where in pairs.where.items())
        if not pairs.counts:
            break
        pairs.merge(min(pairs.counts, key=lambda pair: (-pairs.counts[pair], pair)), chr(new))
    assert new > 8


def test_a_word_is_visited_once_a_merge_however_often_it_holds_the_pair(monkeypatch):
    """Else a run of a million dashes would take hours: so many visits, each as long as the run."""
    visits = []
    monkeypatch.setattr(merges, "changed_neighbours", lambda *arguments: visits.append(arguments) or changed_neighbours(*arguments))
    pairs = PairCounts([([0] * 1000, 1), ([0, 1], 1), ([0] * 500, 1)], 1)
    assert pairs.merge("\0\0", "X") == ["XX"] and len(visits) == 2
    assert pairs.merge("XX", "Y") == ["YY"] and len(visits) == 4
