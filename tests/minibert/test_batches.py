"""The order of examples is a pure function of (seed, epoch); padding and counts are right."""
import contextlib
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import Letters, Tokens

from minibert.batches import (
    Batches,
    collate,
    epoch_order,
    find_masked_positions,
    prefetch,
)
from minibert.config import TrainConfig
from minibert.examples import Examples, make_examples
from minibert.masking import Masker

MASKER = Masker(32, 4, (0, 1, 2, 3, 4), mlm_probability=0.3)
CPU = torch.device("cpu")


class Rows(Examples):
    def __init__(self, *rows, max_length=32):
        self.rows = [np.array(row) for row in rows]
        self.max_length = max_length

    def __getitem__(self, i):
        return self.rows[i]


def letters(count=100, seed=0, longest=30):
    """A token file of one-line documents of random letters."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, longest, count)
    return Tokens(*[["".join(rng.choice(list("abcdefgh"), length))] for length in lengths])


def make(kind="lines", batch_size=8, count=100, **options):
    examples = make_examples(kind, letters(count), Letters(), max_length=32)
    return Batches(examples, MASKER, batch_size, pad_token_id=1, seed=0, **options)


def take(batches, count):
    return [next(batches) for _ in range(count)]


def equal(one, two):
    one, two = one.model_inputs(), two.model_inputs()
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def collate_rows(*rows, max_length=32, **options):
    examples = Rows(*rows, max_length=max_length)
    return collate(examples, range(len(rows)), MASKER, pad_token_id=1, seed=0, epoch=0, **options)


# ------------------------------------------------------------------------------ the order


@pytest.mark.parametrize("lengths", [np.arange(1, 1004) % 37, np.full(1003, 9)])
def test_an_epoch_contains_each_example_once(lengths):
    order = epoch_order(lengths, batch_size=8, seed=0, epoch=1)
    assert sorted(np.concatenate(list(order))) == list(range(1003))
    assert sorted(len(batch) for batch in order) == [3] + 125 * [8]


def test_the_order_is_a_function_of_seed_and_epoch():
    def order(seed, epoch):
        return np.concatenate(list(epoch_order(np.arange(1, 101), 8, seed, epoch))).tolist()

    assert order(0, 3) == order(0, 3)
    assert order(0, 3) != order(0, 4)
    assert order(0, 3) != order(1, 3)


def test_the_order_of_a_seed_is_the_same_in_every_version():
    """Otherwise a run could not be resumed after an update."""
    order = epoch_order(np.array([3, 9, 4, 8, 5]), batch_size=2, seed=0, epoch=0)
    assert [batch.tolist() for batch in order] == [[1], [0, 2], [4, 3]]


def test_batches_of_equal_tokens():
    lengths = np.random.default_rng(0).integers(1, 100, 4000)
    order = epoch_order(lengths, batch_size=32, seed=0, epoch=0, equal_tokens=True)
    assert sorted(np.concatenate(list(order))) == list(range(4000))
    padded = np.array([len(batch) * lengths[batch].max() for batch in order])
    limit = 32 * lengths.mean()
    assert (padded <= limit).all()
    # Another example would be too many, but in the last batch of a window of 50 x 32 examples.
    assert (padded < limit - 100).sum() <= math.ceil(4000 / (50 * 32))
    sizes = [len(batch) for batch in order]
    assert min(sizes) < 32 * 0.6 and max(sizes) > 32 * 4  # long examples, short examples
    mean_lengths = np.array([lengths[batch].mean() for batch in order])
    assert (np.diff(mean_lengths) < 0).sum() > len(order) / 4  # shuffled


def test_the_padding_to_a_multiple_counts_in_batches_of_equal_tokens():
    batches = make(count=1000, batch_size=32, equal_tokens=True, pad_to_multiple_of=8)
    sizes = [batch.input_ids.numel() for batch in take(batches, batches.batches_per_epoch)]
    lengths = make_examples("lines", letters(1000), Letters(), max_length=32).lengths
    limit = 32 * np.mean([min(math.ceil(length / 8) * 8, 32) for length in lengths])
    assert 0.9 * limit < max(sizes) <= limit


def test_a_few_long_examples_among_short_ones_make_no_large_batch():
    lengths = np.array([128] * 300 + [5] * 3000)
    order = epoch_order(lengths, batch_size=64, seed=0, epoch=0, equal_tokens=True)
    assert max(len(batch) * lengths[batch].max() for batch in order) <= 64 * lengths.mean()
    longer_than_limit = epoch_order(np.array([3, 40, 2]), 1, seed=0, epoch=0, equal_tokens=True)
    assert sorted(map(len, longer_than_limit)) == [1, 2]  # a mean of 15: 2 x 3, and the 40 alone


def test_the_order_of_equal_tokens_of_a_seed_is_the_same_in_every_version():
    order = epoch_order(np.array([3, 9, 4, 8, 5]), batch_size=2, seed=0, epoch=0, equal_tokens=True)
    assert [batch.tolist() for batch in order] == [[0, 2], [1], [3], [4]]


def test_micro_batches_are_the_same_fraction_of_batches_of_equal_tokens():
    config = TrainConfig(max_steps=1, examples="lines", batch_size=32, micro_batch_size=8,
                         equal_tokens=True)
    assert [config.micro_batch_size_of(size) for size in (1, 4, 32, 100)] == [1, 1, 8, 25]
    complete = replace(config, micro_batch_size=0)
    assert [complete.micro_batch_size_of(size) for size in (1, 100)] == [1, 100]
    odd = replace(config, batch_size=25, micro_batch_size=7)  # 25 * (7 / 25) is above 7 in floats
    assert odd.micro_batch_size_of(25) == 7
    by_examples = replace(config, equal_tokens=False)
    assert [by_examples.micro_batch_size_of(size) for size in (1, 32)] == [8, 8]


def test_equal_tokens_of_packed_sequences_are_refused():
    with pytest.raises(ValueError, match="equal_tokens has no effect with examples blocks"):
        TrainConfig(max_steps=1, examples="blocks", equal_tokens=True)


def test_examples_of_similar_length_share_a_batch():
    batches = make(count=800)
    epoch = take(batches, batches.batches_per_epoch)
    padded = sum(batch.input_ids.numel() for batch in epoch)
    tokens = sum(batch.num_tokens for batch in epoch)
    assert padded / tokens < 1.35  # only rounding to multiples of 8; without sorting about 1.8


# ------------------------------------------------------------------------------ the iterator


@pytest.mark.parametrize("kind", ["lines", "blocks", "pairs"])
def test_a_loaded_state_continues_with_the_next_batch(kind):
    one, two = make(kind), make(kind)
    for _ in range(2 * one.batches_per_epoch + 3):  # past the end of two epochs
        state = json.loads(json.dumps(one.state_dict()))
        batch = next(one)
        two.load_state_dict(state)
        assert equal(batch, next(two))
        assert one.state_dict() == two.state_dict()


def test_masks_differ_between_epochs():
    batches = make(batch_size=1000)  # one batch an epoch
    lengths = make_examples("lines", letters(), Letters(), max_length=32).lengths
    labels = []
    for epoch in (0, 1):
        (order,) = epoch_order(lengths, 1000, seed=0, epoch=epoch)
        labels.append(next(batches).labels[np.argsort(order)])  # back in the order of the file
    assert labels[0].shape == labels[1].shape
    assert not torch.equal(*labels)


def test_the_shards_of_a_batch_are_the_batch():
    """Two processes: each example is in one of the shards, with the same mask as in the batch."""
    complete = next(make())
    shards = [next(make(shard=lambda indices, r=r: (indices[r::2], True))) for r in range(2)]
    assert sum(map(len, shards)) == len(complete)
    assert sum(shard.num_masked for shard in shards) == complete.num_masked
    for r, shard in enumerate(shards):
        width = shard.input_ids.shape[1]  # padded to the longest of its own rows
        assert torch.equal(shard.input_ids, complete.input_ids[r::2, :width])


def test_a_process_without_an_example_computes_a_dummy():
    dummy = next(make(shard=lambda indices: (indices[:1], False)))
    counts = (len(dummy), dummy.num_examples, dummy.num_tokens, dummy.num_masked)
    assert counts == (1, 0, 0, 0)
    assert (dummy.labels == -100).all()


def test_an_empty_corpus_is_refused():
    with pytest.raises(ValueError, match="empty"):
        next(make(count=0))


# ------------------------------------------------------------------------------ one batch


def test_padding_is_marked_and_left_out_of_all_counts():
    batch = collate_rows([0, 7, 8, 2], [0, 9, 2])
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0, 0, 0]]
    padding = batch.attention_mask == 0
    assert (batch.input_ids[padding] == 1).all() and (batch.labels[padding] == -100).all()
    assert batch.num_tokens == 7
    assert batch.num_masked == (batch.labels != -100).sum()


@pytest.mark.parametrize("longest, max_length, multiple, width", [
    (9, 32, 8, 16), (30, 32, 8, 32), (30, 30, 8, 30), (12, 13, 8, 13), (9, 32, 1, 9),
])
def test_rows_are_padded_to_a_multiple_but_never_past_max_length(longest, max_length, multiple,
                                                                 width):
    batch = collate_rows([7] * longest, [7] * 3, max_length=max_length,
                         pad_to_multiple_of=multiple)
    assert batch.input_ids.shape == (2, width)


def test_rows_of_one_length_need_no_mask():
    batch = collate_rows(range(5, 16), range(5, 16))
    assert batch.attention_mask is None
    assert "attention_mask" not in batch.model_inputs()
    assert batch.input_ids.shape == (2, 11)


@pytest.mark.parametrize("kind", ["lines", "blocks", "pairs"])
def test_micro_batches_are_the_batch_in_pieces(kind):
    batch = next(make(kind, count=200))
    micro_batches = batch.split(3)
    assert [len(micro_batch) for micro_batch in micro_batches] == [3, 3, 2]
    for name, tensor in batch.model_inputs().items():
        if name != "masked_positions":  # these count within each micro-batch
            pieces = [micro_batch.model_inputs()[name] for micro_batch in micro_batches]
            assert torch.equal(torch.cat(pieces), tensor)
    for count in ("num_masked", "num_tokens", "num_examples"):
        assert sum(getattr(piece, count) for piece in micro_batches) == getattr(batch, count)
    assert batch.split(8) == [batch]


def test_masked_positions_have_a_label_and_fillers_up_to_eight_have_none():
    batch = next(make(kind="pairs", count=200))
    for part in (batch, *batch.split(3)):
        labels = part.labels.flatten()
        positions, fillers = part.masked_positions.split(
            [part.num_masked, len(part.masked_positions) - part.num_masked])
        assert positions.tolist() == (labels != -100).nonzero().squeeze(1).tolist()
        assert len(part.masked_positions) % 8 == 0 and len(fillers) < 8
        assert (labels[fillers] == -100).all()


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_if_every_token_has_a_label_nothing_is_filled_up(rate):
    assert find_masked_positions(torch.tensor([[7, 8, 9]]), rate).tolist() == [0, 1, 2]


@pytest.mark.parametrize("rate, is_static", [(0.3, True), (0.0, False)])
def test_with_an_expected_mask_rate_all_batches_have_one_shape(rate, is_static):
    """So a compiled model is compiled once."""
    batches = make("blocks", count=400, batch_size=16, expected_mask_rate=rate)
    full = [batch for batch in take(batches, 30) if len(batch) == 16]
    halves = [half for batch in full for half in batch.split(8)]
    for group in (full, halves):
        assert (len({batch.masked_positions.shape for batch in group}) == 1) == is_static
        for batch in group:
            labels = batch.labels.flatten()[batch.masked_positions]
            assert (labels != -100).sum() == batch.num_masked


# ------------------------------------------------------------------------------ prefetching


def test_prefetched_batches_come_with_the_state_after_them():
    batches, expected, resumed = make(), make(), make()
    with contextlib.closing(prefetch(batches, CPU, lambda size: 100)) as prefetched:
        for _ in range(30):
            (batch,), state = next(prefetched)
            assert equal(batch, next(expected))
            resumed.load_state_dict(state)
            assert equal(expected.peek(), next(resumed))


@pytest.mark.parametrize("device, is_pinned", [("cpu", False), ("cuda", True)])
def test_all_tensors_of_micro_batches_for_a_gpu_are_pinned(device, is_pinned, monkeypatch):
    """No GPU is needed: we record which tensors would be pinned."""
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda x: pinned.append(x) or x)
    with contextlib.closing(prefetch(make(), torch.device(device), lambda size: 3)) as prefetched:
        micro_batches, _ = next(prefetched)
    assert len(micro_batches) == 3
    pinned_addresses = {x.data_ptr() for x in pinned}
    for micro_batch in micro_batches:
        for tensor in micro_batch.model_inputs().values():
            assert (tensor.data_ptr() in pinned_addresses) == is_pinned
