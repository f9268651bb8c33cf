"""Sentence pairs: by hand, against the loop that Google published, and by what must hold of every draw."""
import random
from collections import Counter

import numpy as np
import pytest
import torch
from helpers import Letters, Tokens

from minibert.batches import Batches, collate
from minibert.examples import make_examples
from minibert.masking import Masker
from minibert.pairs import heads, kept

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
                 for n, label in enumerate(drawn.labels) for a, b in [sentences(drawn[n], drawn.second[n])]}
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
        for n, label in enumerate(drawn.labels):
            a, b = sentences(drawn[n], drawn.second[n])
            read += a if label else a + b
        if (drawn.lengths < 64).all():
            assert read == tokens.ids.tolist()
            return
    raise AssertionError("every epoch had a pair that may have been cut")


def test_random_sentences_come_from_another_document():
    tokens = Tokens(*[[letter * size for size in (3, 4, 2, 5)] for letter in "abcdefgh"])  # each document has a letter of its own
    drawn = make_examples("pairs", tokens, Letters(), max_length=16).at(0, 0)
    partners = Counter()
    for n, label in enumerate(drawn.labels):
        a, b = sentences(drawn[n], drawn.second[n])
        assert len(set(a)) == len(set(b)) == 1 and (a[0] != b[0]) == label
        partners[b[0]] += label
    assert len(partners) == 8


def test_half_of_the_chunks_that_can_continue_do():
    """With two equal segments a chunk, and none alone, the coin alone decides. What a random B left over makes a chunk with the next segment."""
    tokens = Tokens(*[["abcd"] * 41 for _ in range(100)])
    labels = np.concatenate([make_examples("pairs", tokens, Letters(), max_length=11).at(0, epoch).labels for epoch in range(5)])
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
        for n, second in enumerate(pairs.second):
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
    monkeypatch.setattr("minibert.pairs.SHORT", 0)
    never = pairs.at(0, 0).lengths
    monkeypatch.setattr("minibert.pairs.SHORT", 1)
    always = pairs.at(0, 0).lengths
    assert (never < 60).mean() < (usual < 60).mean() < (always < 60).mean()
    assert len(never) < len(usual) < len(always)


def test_the_draw_is_what_a_walk_from_segment_to_segment_gives():
    """The slow twin: the procedure with lists, one segment after another, and the same random numbers."""
    tokens = corpus(documents=30, longest=7)
    pairs = make_examples("pairs", tokens, Letters(), max_length=17)
    documents = [[list(range(*tokens.segments[s:s + 2])) for s in range(*tokens.documents[d:d + 2])] for d in range(30)]
    rng, expected = random.Random("5 2"), []
    for number, document in enumerate(documents):
        target = rng.randint(2, 14) if rng.random() < 0.1 else 14
        place = 0
        while place < len(document):
            chunk = []
            while place < len(document) and sum(map(len, chunk)) < target:
                chunk.append(document[place])
                place += 1
            size = rng.randint(1, len(chunk) - 1) if len(chunk) > 1 else 1
            a, rest = sum(chunk[:size], []), chunk[size:]
            if not rest or rng.random() < 0.5:
                others = documents[:number] + documents[number + 1:]
                other, b, label = others[rng.randrange(29)], [], 1
                for segment in other[rng.randrange(len(other)):]:
                    b += segment
                    if len(b) >= target - len(a):
                        break
                place -= len(rest)
            else:
                b, label = sum(rest, []), 0
            cut = []
            for part, keep in zip((a, b), kept(len(a), len(b), 14)):
                front = heads(len(part) - keep, rng)
                cut.append(part[front:front + keep])
            expected.append((*cut, label))
    drawn = [(list(range(a, b)), list(range(c, d)), label) for a, b, c, d, label in pairs.at(5, 2).drawn.tolist()]
    assert drawn == expected


def test_batches_know_sentence_b_and_its_label():
    drawn = make_examples("pairs", corpus(), Letters(), max_length=20).at(0, 0)
    batch = collate(drawn, [0, 1, 2], MASKER, pad_token_id=1, seed=0, epoch=0)
    for row, n in enumerate([0, 1, 2]):
        length, second = drawn.lengths[n], drawn.second[n]
        assert batch.token_type_ids[row].tolist() == [0] * second + [1] * (length - second) + [0] * (batch.input_ids.shape[1] - length)
    assert batch.next_sentence_label.tolist() == drawn.labels[:3].tolist()


def test_batch_i_of_pairs_is_the_same_whether_or_not_the_ones_before_were_read():
    def make():
        return Batches(make_examples("pairs", corpus(), Letters(), max_length=20), MASKER, 8, pad_token_id=1, seed=0)
    one, two = make(), make()
    read = [one[i] for i in range(4 * one.per_epoch)]
    jumped = two[len(read) - 1]
    assert all(torch.equal(tensor, jumped.tensors[name]) for name, tensor in read[-1].tensors.items())
    assert sum(len(batch) for batch in read[:one.per_epoch]) == len(one.examples.at(0, 0))


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
