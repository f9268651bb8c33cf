"""Sentence pairs: by hand, against the loop that Google published, and by what must hold of every draw."""
import contextlib
import random
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import Letters, Tokens

from minibert.batches import Batches, StreamBatches, collate
from minibert.examples import make_examples
from minibert.masking import Masker
from minibert.sentence_pairs import Draws, Pairs, kept

MASKER = Masker(32, 4, (0, 1, 2, 3, 4), probability=0.3)


def corpus(documents=40, segments=8, longest=9, seed=0):
    rng = random.Random(seed)
    return Tokens(*[["".join(rng.choices("abcdefgh", k=rng.randint(1, longest))) for _ in range(rng.randint(1, segments))] for _ in range(documents)])


def sentences(pair, second):
    """[CLS] A [SEP] B [SEP] -> (ids of A, ids of B)"""
    pair = pair.tolist()
    assert pair[0] == 0 and pair[second - 1] == 2 and pair[-1] == 2
    return pair[1:second - 1], pair[second:-1]


def test_two_documents_by_hand():
    """Each document is one chunk of two segments, 'ab' 'cd' and 'ef' 'gh': A is the first segment; B the second, or from the other document."""
    pairs = make_examples("pairs", Tokens(["ab", "cd"], ["ef", "gh"]), Letters(), max_length=7)  # room for four ids
    seen = set()
    for epoch in range(60):
        drawn = pairs.at(0, epoch)
        seen |= {("".join(chr(i + 92) for i in (*a, *b)), int(label))
                 for n, label in enumerate(drawn.nsp_labels) for a, b in [sentences(drawn[n], drawn.segment_b_starts[n])]}
    full = {text for text, label in seen if len(text) == 4 and not label}
    assert full == {"abcd", "efgh"}
    assert {text for text, label in seen if label and len(text) == 4} == {a + b for a, others in (("ab", ("ef", "gh")), ("cd", ("ef", "gh")),
                                                                                                  ("ef", ("ab", "cd")), ("gh", ("ab", "cd")))
                                                                          for b in others}


def test_every_token_is_seen_in_its_place_once_an_epoch():
    """A, and B where it follows: together the whole corpus, in order. No pair here is too long, so nothing is cut."""
    tokens = corpus(longest=5)
    pairs = make_examples("pairs", tokens, Letters(), max_length=64)
    for epoch in range(5):
        drawn, read = pairs.at(3, epoch), []
        for n, label in enumerate(drawn.nsp_labels):
            a, b = sentences(drawn[n], drawn.segment_b_starts[n])
            read += a if label else a + b
        if (drawn.lengths < 64).all():
            assert read == tokens.ids.tolist()
            return
    raise AssertionError("every epoch had a pair that may have been cut")


def test_random_sentences_come_from_another_document():
    tokens = Tokens(*[[letter * size for size in (3, 4, 2, 5)] for letter in "abcdefgh"])  # each document has a letter of its own
    pairs, partners = make_examples("pairs", tokens, Letters(), max_length=16), Counter()
    for epoch in range(50):
        drawn = pairs.at(0, epoch)
        for n, label in enumerate(drawn.nsp_labels):
            a, b = sentences(drawn[n], drawn.segment_b_starts[n])
            assert len(set(a)) == len(set(b)) == 1 and (a[0] != b[0]) == label
            partners[b[0]] += int(label)
    assert len(partners) == 8 and all(30 < count < 75 for count in partners.values())  # 51 each in the mean, three standard deviations


def test_half_of_the_chunks_that_can_continue_do():
    """With two equal segments a chunk, and none alone, the coin alone decides. What a random B left over makes a chunk with the next segment."""
    tokens = Tokens(*[["abcd"] * 41 for _ in range(100)])
    labels = np.concatenate([make_examples("pairs", tokens, Letters(), max_length=11).at(0, epoch).nsp_labels for epoch in range(5)])
    assert len(labels) > 10_000
    # Of the chunks of 41 segments the last may be alone; of documents in short chunks (10 %) all are. Both make random ones: a few more than half.
    assert 0.5 < labels.mean() < 0.62


def test_no_pair_is_too_long_and_the_longer_sentence_gives_way():
    pairs = make_examples("pairs", corpus(longest=60), Letters(), max_length=20)
    drawn = pairs.at(0, 0)
    assert drawn.lengths.max() == 20 and drawn.lengths.min() >= 5
    assert [len(drawn[n]) for n in range(len(drawn))] == drawn.lengths.tolist()


@pytest.mark.parametrize("seed", range(3))
def test_cutting_ends_where_taking_one_at_a_time_ends(seed):
    rng = random.Random(seed)
    for _ in range(2000):
        a, b, room = rng.randint(1, 30), rng.randint(1, 30), rng.randint(2, 40)
        slow_a, slow_b = a, b
        while slow_a + slow_b > room:
            slow_a, slow_b = (slow_a - 1, slow_b) if slow_a > slow_b else (slow_a, slow_b - 1)
        assert kept(a, b, room) == (slow_a, slow_b)


def test_cut_sentences_are_pieces_from_the_front_the_back_and_between():
    text = "".join(map(chr, range(97, 123)))
    drawn = [make_examples("pairs", Tokens([text], [text]), Letters(), max_length=13).at(0, epoch) for epoch in range(200)]
    begins = Counter()
    for pairs in drawn:
        for n, second in enumerate(pairs.segment_b_starts):
            a, b = ("".join(chr(i + 92) for i in part) for part in sentences(pairs[n], second))
            assert a in text and b in text and (len(a), len(b)) == (5, 5)
            begins[text.index(a)] += 1
    assert 8 < sum(place * count for place, count in begins.items()) / begins.total() < 13  # of 21 that go, half from the front: 10.5
    assert len(begins) > 5


def test_the_draw_is_a_function_of_seed_and_epoch():
    def drawn(seed, epoch):
        return make_examples("pairs", corpus(), Letters(), max_length=20).at(seed, epoch).drawn.tolist()
    assert drawn(0, 1) == drawn(0, 1)
    assert drawn(0, 1) != drawn(0, 2) and drawn(0, 1) != drawn(1, 1)


def test_a_tenth_of_the_documents_is_cut_into_shorter_chunks(monkeypatch):
    tokens = Tokens(*[["abcd"] * 64 for _ in range(300)])
    pairs = make_examples("pairs", tokens, Letters(), max_length=67)  # 16 segments are a chunk
    usual = pairs.at(0, 0).lengths
    monkeypatch.setattr("minibert.sentence_pairs.SHORT", 0)
    never = pairs.at(0, 0).lengths
    monkeypatch.setattr("minibert.sentence_pairs.SHORT", 1)
    always = pairs.at(0, 0).lengths
    assert (never < 60).mean() < (usual < 60).mean() < (always < 60).mean()
    assert len(never) < len(usual) < len(always)


def test_the_draw_is_what_a_walk_from_segment_to_segment_gives():
    """The slow twin: the procedure with lists, one segment after another, and the same random numbers."""
    tokens = corpus(documents=30, longest=7)
    pairs = make_examples("pairs", tokens, Letters(), max_length=17)
    documents = [[list(range(*tokens.segments[s:s + 2])) for s in range(*tokens.documents[d:d + 2])] for d in range(30)]
    draws, expected = Draws(5, 2), []
    short, sizes = draws.documents.random(30, np.float32), draws.documents.integers(2, 14, 30, np.int32, endpoint=True)
    where, coin = draws.segments.random((tokens.num_segments, 2)).T  # of a chunk that starts at this segment
    for number, document in enumerate(documents):
        target = int(sizes[number]) if short[number] < 0.1 else 14
        place = 0
        while place < len(document):
            start, chunk = tokens.documents[number] + place, []
            while place < len(document) and sum(map(len, chunk)) < target:
                chunk.append(document[place])
                place += 1
            size = 1 + int(where[start] * (len(chunk) - 1))
            a, rest = sum(chunk[:size], []), chunk[size:]
            if not rest or coin[start] < 0.5:
                others = documents[:number] + documents[number + 1:]
                other, b, label = others[int(draws.elsewhere.random() * 29)], [], 1
                for segment in other[int(draws.elsewhere.random() * len(other)):]:
                    b += segment
                    if len(b) >= target - len(a):
                        break
                place -= len(rest)
            else:
                b, label = sum(rest, []), 0
            cut = []
            for part, keep in zip((a, b), kept(len(a), len(b), 14)):
                front = draws.cuts.binomial(len(part) - keep, 0.5)
                cut.append(part[front:front + keep])
            expected.append((*cut, label))
    drawn = [(list(range(a, a + second - 2)), list(range(b, b + length - second - 1)), label)
             for a, b, second, length, label in pairs.at(5, 2).drawn.tolist()]
    assert drawn == expected


def test_batches_know_sentence_b_and_its_label():
    drawn = make_examples("pairs", corpus(), Letters(), max_length=20).at(0, 0)
    batch = collate(drawn, [0, 1, 2], MASKER, pad_token_id=1, seed=0, epoch=0)
    for row, n in enumerate([0, 1, 2]):
        length, second = drawn.lengths[n], drawn.segment_b_starts[n]
        assert batch.token_type_ids[row].tolist() == [0] * second + [1] * (length - second) + [0] * (batch.input_ids.shape[1] - length)
    assert batch.next_sentence_label.tolist() == drawn.nsp_labels[:3].tolist()


class Counted(Pairs):
    """Pairs that note which epochs are drawn."""

    def __init__(self, *how):
        super().__init__(*how)
        self.drawn = []

    def at(self, seed, epoch):
        self.drawn.append(epoch)
        return super().at(seed, epoch)


def test_a_resumed_run_draws_only_the_epoch_that_it_is_in():
    pairs = Counted(corpus(), Letters(), 20)
    batches = Batches(pairs, MASKER, 8, pad_token_id=1, seed=0)
    for _ in range(10 * batches.batches_per_epoch):
        next(batches)
    assert pairs.drawn == [*range(batches.state_dict()["epoch"] + 1)]
    resumed, pairs.drawn = Batches(pairs, MASKER, 8, pad_token_id=1, seed=0), []
    resumed.load_state_dict(batches.state_dict())
    assert resumed.batches_per_epoch == batches.batches_per_epoch
    next(resumed)
    assert pairs.drawn == [batches.state_dict()["epoch"]]


def test_the_pairs_of_each_window_of_a_stream_are_drawn_once():
    drawn = []

    def windows(*args):
        for seed in range(1, 4):
            window = corpus(seed=seed)
            window.pass_index, window.skip, window.text_digest, window.progress = 0, 0, None, None
            yield window

    def make(window):
        drawn.append(Counted(window, Letters(), 20))
        return drawn[-1]

    stream = SimpleNamespace(windows=windows)
    batches = StreamBatches(stream, make, MASKER, 8, pad_token_id=1, seed=0)
    with contextlib.closing(batches):
        while batches.state_dict()["window"] < 2:
            next(batches)
    assert [pairs.drawn for pairs in drawn] == [[0], [1], [2]]


def test_a_pair_is_kept_in_thirteen_bytes():
    """Where A and B begin, 4 each; where B begins in the example and how long that is, 2 each; the label."""
    assert make_examples("pairs", corpus(), Letters(), max_length=20).at(0, 0).drawn.itemsize == 13
    assert make_examples("pairs", corpus(), Letters(), max_length=70_000).at(0, 0).drawn.itemsize == 17


def test_how_many_segments_are_drawn_at_once_does_not_matter(monkeypatch):
    pairs = make_examples("pairs", corpus(), Letters(), max_length=20)
    whole = pairs.at(0, 0).drawn.tolist()
    for some in (1, 7, 100):
        monkeypatch.setattr("minibert.sentence_pairs.AT_ONCE", some)
        assert pairs.at(0, 0).drawn.tolist() == whole


@pytest.mark.parametrize("documents", [[["ab", "cd"]], [["ab", "cd"], ["", ""]]])
@pytest.mark.parametrize("folder, part", [("run/data/train", "the training part"), ("run/data/eval", "the held-out part"), ("letters", "letters")])
def test_one_document_is_refused_and_it_is_said_which_part_has_no_more(documents, folder, part):
    tokens = Tokens(*documents)
    tokens.folder = folder
    with pytest.raises(ValueError, match=f"two documents at least, {part} has 1"):
        make_examples("pairs", tokens, Letters(), max_length=16)


def test_no_room_for_two_sentences_is_refused():
    with pytest.raises(ValueError, match="no room for two sentences"):
        make_examples("pairs", corpus(), Letters(), max_length=4)
