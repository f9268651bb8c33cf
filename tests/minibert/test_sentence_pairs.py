"""Sentence pairs: by hand, against a slow walk over lists, and properties of every draw."""
import random
from collections import Counter

import numpy as np
import pytest
from helpers import Letters, Tokens

from minibert.batches import Batches, collate
from minibert.examples import make_examples
from minibert.masking import Masker
from minibert.sentence_pairs import Draws, Pairs, kept_lengths

MASKER = Masker(32, 4, (0, 1, 2, 3, 4), mlm_probability=0.3)


def make_pairs(tokens, max_length):
    return make_examples("pairs", tokens, Letters(), max_length)


def corpus(documents=40, longest=9, seed=0):
    """Documents of one to eight segments of random letters."""
    rng = random.Random(seed)

    def segment():
        return "".join(rng.choices("abcdefgh", k=rng.randint(1, longest)))

    return Tokens(*[[segment() for _ in range(rng.randint(1, 8))] for _ in range(documents)])


def sentences(drawn):
    """Yield (A, B, label) of each pair, A and B as text."""
    for pair, b_start, label in zip(drawn, drawn.segment_b_starts, drawn.nsp_labels):
        assert (pair[0], pair[b_start - 1], pair[-1]) == (0, 2, 2)  # [CLS] A [SEP] B [SEP]
        text = "".join(chr(i + 92) for i in pair)
        yield text[1 : b_start - 1], text[b_start:-1], int(label)


def test_two_documents_by_hand():
    """Each document is one chunk. A is its first segment, B the other or a random one."""
    pairs = make_pairs(Tokens(["ab", "cd"], ["ef", "gh"]), max_length=7)  # four ids
    seen = {pair for epoch in range(60) for pair in sentences(pairs.at(0, epoch))}
    assert {(a, b) for a, b, label in seen if label == 0 and len(a + b) == 4} == {
        ("ab", "cd"), ("ef", "gh")}
    assert {(a, b) for a, b, label in seen if label == 1 and len(a + b) == 4} == {
        ("ab", "ef"), ("ab", "gh"), ("cd", "ef"), ("cd", "gh"),
        ("ef", "ab"), ("ef", "cd"), ("gh", "ab"), ("gh", "cd")}


def test_an_epoch_contains_every_token_once_in_order():
    """A, and B where it follows, together are the corpus. (No pair is too long here.)"""
    tokens = corpus(longest=5)
    drawn = make_pairs(tokens, max_length=90).at(3, 0)
    assert drawn.lengths.max() < 90
    text = "".join(a if label else a + b for a, b, label in sentences(drawn))
    assert text == "".join(chr(i + 92) for i in tokens.ids)


def test_random_sentences_come_from_any_other_document():
    tokens = Tokens(*[[letter * size for size in (3, 4, 2, 5)] for letter in "abcdefgh"])
    pairs = make_pairs(tokens, max_length=16)  # each document has its own letter
    partners = Counter()
    for epoch in range(50):
        for a, b, label in sentences(pairs.at(0, epoch)):
            assert len(set(a)) == len(set(b)) == 1
            assert (a[0] != b[0]) == label
            partners[b[0]] += label
    assert len(partners) == 8
    assert all(30 < count < 75 for count in partners.values())  # mean 51, three deviations


@pytest.mark.parametrize("seed", range(3))
def test_kept_lengths_are_those_of_removing_one_id_at_a_time(seed):
    rng = random.Random(seed)
    for _ in range(2000):
        a, b, max_ids = rng.randint(1, 30), rng.randint(1, 30), rng.randint(2, 40)
        slow_a, slow_b = a, b
        while slow_a + slow_b > max_ids:
            if slow_a > slow_b:
                slow_a -= 1
            else:
                slow_b -= 1
        assert kept_lengths(a, b, max_ids) == (slow_a, slow_b)


def test_the_draw_is_a_function_of_seed_and_epoch():
    def drawn(seed, epoch):
        return make_pairs(corpus(), max_length=20).at(seed, epoch).records.tolist()

    assert drawn(0, 1) == drawn(0, 1)
    assert drawn(0, 1) != drawn(0, 2)
    assert drawn(0, 1) != drawn(1, 1)


def slow_pairs(documents, seed, epoch, max_ids):
    """Yield (A, B, label) from documents of segments of ids, one segment at a time."""
    draws = Draws(seed, epoch)
    n = len(documents)
    short = draws.documents.random(n, np.float32)
    sizes = draws.documents.integers(2, max_ids, n, np.int32, endpoint=True)
    for d, document in enumerate(documents):
        target = int(sizes[d]) if short[d] < 0.1 else max_ids
        coins = draws.segments.random((len(document), 2))
        start = 0
        while start < len(document):
            chunk = []
            for segment in document[start:]:
                chunk.append(segment)
                if sum(map(len, chunk)) >= target:
                    break
            split, coin = coins[start]
            a_size = 1 + int(split * (len(chunk) - 1))
            a = sum(chunk[:a_size], [])
            b = sum(chunk[a_size:], [])
            label = int(not b or coin < 0.5)
            start += a_size if label else len(chunk)
            if label:
                others = documents[:d] + documents[d + 1 :]
                other = others[int(draws.elsewhere.random() * (n - 1))]
                b = []
                for segment in other[int(draws.elsewhere.random() * len(other)) :]:
                    b += segment
                    if len(b) >= target - len(a):
                        break
            keep_a, keep_b = kept_lengths(len(a), len(b), max_ids)
            front_a = draws.cuts.binomial(len(a) - keep_a, 0.5)
            front_b = draws.cuts.binomial(len(b) - keep_b, 0.5)
            yield a[front_a : front_a + keep_a], b[front_b : front_b + keep_b], label


@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_the_draw_is_that_of_a_walk_over_lists(at_once, monkeypatch):
    monkeypatch.setattr("minibert.sentence_pairs.PAIRS_AT_ONCE", at_once)
    tokens = corpus(documents=30, longest=7)
    offsets = [range(*tokens.segments[s : s + 2]) for s in range(tokens.num_segments)]
    documents = [[list(segment) for segment in offsets[slice(*tokens.documents[d : d + 2])]]
                 for d in range(30)]
    drawn = []
    for a, b, b_start, length, label in make_pairs(tokens, 17).at(5, 2).records.tolist():
        drawn.append((list(range(a, a + b_start - 2)), list(range(b, b + length - b_start - 1)),
                      label))
    assert drawn == list(slow_pairs(documents, 5, 2, max_ids=14))


def test_batches_contain_the_segments_and_the_labels():
    drawn = make_pairs(corpus(), max_length=20).at(0, 0)
    batch = collate(drawn, [0, 1, 2], MASKER, pad_token_id=1, seed=0, epoch=0)
    T = batch.input_ids.shape[1]
    for i in range(3):
        length, b_start = drawn.lengths[i], drawn.segment_b_starts[i]
        expected = [0] * b_start + [1] * (length - b_start) + [0] * (T - length)
        assert batch.token_type_ids[i].tolist() == expected
    assert batch.next_sentence_label.tolist() == drawn.nsp_labels[:3].tolist()


class RecordingPairs(Pairs):
    """Pairs that note which epochs are drawn."""

    def __init__(self, *args):
        super().__init__(*args)
        self.drawn = []

    def at(self, seed, epoch):
        self.drawn.append(epoch)
        return super().at(seed, epoch)


def test_a_resumed_run_draws_only_the_epoch_that_it_is_in():
    pairs = RecordingPairs(corpus(), Letters(), 20)
    batches = Batches(pairs, MASKER, 8, pad_token_id=1, seed=0)
    for _ in range(10 * batches.batches_per_epoch):
        next(batches)
    state = batches.state_dict()
    pairs.drawn = []
    resumed = Batches(pairs, MASKER, 8, pad_token_id=1, seed=0)
    resumed.load_state_dict(state)
    assert resumed.batches_per_epoch == batches.batches_per_epoch
    next(resumed)
    assert pairs.drawn == [state["epoch"]]


@pytest.mark.parametrize("documents", [[["ab", "cd"]], [["ab", "cd"], ["", ""]]])
def test_a_corpus_with_one_document_is_refused(documents):
    with pytest.raises(ValueError, match="two documents, memory has 1"):
        make_pairs(Tokens(*documents), max_length=16)


def test_a_length_without_room_for_two_sentences_is_refused():
    with pytest.raises(ValueError, match="no room for two sentences"):
        make_pairs(corpus(), max_length=4)
