"""The order of examples is a pure function of (seed, epoch); padding and counts are right."""
import contextlib
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import Letters, Tokens

from minibert.batches import Batches, StreamBatches, collate, masked_positions, prefetch
from minibert.examples import Examples, make_examples
from minibert.masking import IGNORE_INDEX, Masker


class Rows(Examples):
    def __init__(self, *rows, max_length=32):
        self.rows, self.max_length = [np.array(row) for row in rows], max_length

    def __getitem__(self, i):
        return self.rows[i]


MASKER = Masker(32, 4, (0, 1, 2, 3, 4), probability=0.3)


def corpus(count=100, seed=0, longest=30):
    rng = np.random.default_rng(seed)
    return Tokens(*[["".join(rng.choice(list("abcdefgh"), rng.integers(1, longest)))] for _ in range(count)])


def make(kind="lines", batch_size=8, seed=0, **how):
    return Batches(make_examples(kind, corpus(**how), Letters(), max_length=32), MASKER, batch_size, pad_token_id=1, seed=seed)


@pytest.mark.parametrize("kind", ["lines", "blocks"])
def test_an_epoch_holds_each_example_once(kind):
    batches = make(kind)
    for epoch in (0, 1):
        order = batches.order(epoch)
        assert sorted(np.concatenate(order)) == list(range(len(batches.examples)))
        assert len(order) == batches.per_epoch and sum(len(batch) < 8 for batch in order) <= 1


def test_the_order_is_a_function_of_seed_and_epoch():
    def order(seed, epoch):
        return np.concatenate(make(seed=seed).order(epoch)).tolist()

    assert order(0, 3) == order(0, 3)
    assert order(0, 3) != order(0, 4) and order(0, 3) != order(1, 3)


def test_batch_i_is_the_same_whether_or_not_the_ones_before_were_read():
    one, two = make(), make()
    read = [one[i] for i in range(2 * one.per_epoch + 3)]  # over two ends of an epoch
    jumped = two[len(read) - 1]
    assert torch.equal(read[-1].input_ids, jumped.input_ids) and torch.equal(read[-1].labels, jumped.labels)


def test_going_back_to_an_earlier_batch_gives_the_same_one():
    batches = make()
    first, last = batches[0], batches[5 * batches.per_epoch]
    assert torch.equal(batches[0].input_ids, first.input_ids) and torch.equal(batches[5 * batches.per_epoch].input_ids, last.input_ids)


def test_masks_differ_between_epochs():
    batches = make(kind="blocks", batch_size=1000)  # one batch an epoch: the same examples, in another order
    first, second = batches[0], batches[1]
    order_first, order_second = batches.order(0)[0], batches.order(1)[0]
    a, b = first.labels[np.argsort(order_first)], second.labels[np.argsort(order_second)]
    assert a.shape == b.shape and not torch.equal(a, b)


def test_examples_of_similar_length_share_a_batch():
    batches = make(count=800, batch_size=8)
    padded = sum(batches[i].input_ids.numel() for i in range(batches.per_epoch))
    tokens = sum(batches[i].num_tokens for i in range(batches.per_epoch))
    assert tokens == batches.examples.lengths.sum()
    assert padded / tokens < 1.35  # rounding up to multiples of 8 alone; without sorting it is about 1.8


def test_padding_is_marked_and_left_out_of_all_counts():
    batch = collate(Rows([0, 7, 8, 2], [0, 9, 2]), [0, 1], MASKER, pad_token_id=1, seed=0, epoch=0)
    assert batch.input_ids.shape == (2, 8)
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0, 0, 0]]
    assert (batch.input_ids[batch.attention_mask == 0] == 1).all() and (batch.labels[batch.attention_mask == 0] == -100).all()
    assert batch.num_tokens == 7 and batch.num_masked == (batch.labels != -100).sum()


@pytest.mark.parametrize("longest, limit, width", [(9, 32, 16), (30, 32, 32), (30, 30, 30), (12, 13, 13)])
def test_padding_to_a_multiple_of_8_never_goes_past_the_models_positions(longest, limit, width):
    batch = collate(Rows([7] * longest, [7] * 3, max_length=limit), [0, 1], MASKER, pad_token_id=1, seed=0, epoch=0)
    assert batch.input_ids.shape == (2, width)


def test_on_a_cpu_nothing_is_rounded():
    batch = collate(Rows([7] * 9, [7] * 3), [0, 1], MASKER, pad_token_id=1, seed=0, epoch=0, pad_to_multiple_of=1)
    assert batch.input_ids.shape == (2, 9)


def test_rows_of_one_length_need_no_mask():
    batch = collate(Rows(range(5, 16), range(5, 16)), [0, 1], MASKER, pad_token_id=1, seed=0, epoch=0)
    assert batch.attention_mask is None and batch.input_ids.shape == (2, 11)


@pytest.mark.parametrize("kind", ["lines", "blocks", "pairs"])
def test_micro_batches_are_the_batch_in_pieces(kind):
    batch = make(kind, count=200, batch_size=8)[0]
    for name, tensor in batch.tensors.items():
        if name == "masked_positions":  # of each piece for itself
            continue
        assert torch.equal(torch.cat([piece.tensors[name] for piece in batch.split(3)]), tensor)
    pieces = batch.split(3)
    assert [len(piece.input_ids) for piece in pieces] == [3, 3, 2]
    assert torch.equal(torch.cat([piece.input_ids for piece in pieces]), batch.input_ids)
    assert sum(piece.num_masked for piece in pieces) == batch.num_masked
    assert sum(piece.num_tokens for piece in pieces) == batch.num_tokens
    assert batch.split(8) == [batch]


def test_masked_positions_are_those_with_a_label_and_the_rest_of_eight_has_none():
    for part in (batch := make(kind="pairs", count=200)[0], *batch.split(3)):
        labels, found = part.labels.flatten(), part.masked_positions
        assert found[: part.num_masked].tolist() == (labels != -100).nonzero().squeeze(1).tolist()
        assert len(found) % 8 == 0 and len(found) - part.num_masked < 8 and (labels[found[part.num_masked:]] == -100).all()


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_where_every_token_has_a_label_all_are_masked_positions(share):
    assert masked_positions(torch.tensor([[7, 8, 9]]), share).tolist() == [0, 1, 2]


def test_shares_of_a_batch_are_the_batch():
    """Two ranks: each example is in one share, masked as it is alone; one that has none takes an example without weight."""
    whole = make()
    parts = [make() for _ in range(2)]
    for rank, part in enumerate(parts):
        part.share = lambda numbers, rank=rank: (numbers[rank::2], True)
    a, b, both = parts[0][3], parts[1][3], whole[3]
    assert len(a) + len(b) == len(both) and a.num_masked + b.num_masked == both.num_masked
    for part, rows in ((a, both.input_ids[::2]), (b, both.input_ids[1::2])):
        assert torch.equal(part.input_ids, rows[:, : part.input_ids.shape[1]])  # padded to the longest of their own
    parts[0].share = lambda numbers: (numbers[:1], False)
    spare = parts[0][3]
    assert (len(spare), spare.num_examples, spare.num_tokens, spare.num_masked) == (1, 0, 0, 0) and (spare.labels == -100).all()


def test_batches_prepared_ahead_are_the_same_ones():
    one, ahead = make(), prefetch(make(), 2, torch.device("cpu"), 100)
    with contextlib.closing(ahead):
        for i in range(2, 30):
            (batch,), position = next(ahead)
            assert position["first"] <= i < position["first"] + one.per_epoch
            assert all(torch.equal(batch.tensors[name], tensor) for name, tensor in one[i].tensors.items())


def test_for_a_gpu_micro_batches_are_pinned(monkeypatch):
    """Without a GPU: which tensors would be. All that is copied must be pinned, the masked positions of a part too: else the copy is waited for."""
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: (pinned.append(tensor.shape), tensor)[1])
    for device in ("cpu", "cuda"):
        with contextlib.closing(prefetch(make(), 0, torch.device(device), 3)) as ahead:
            micros, _ = next(ahead)
            copied = [tensor.shape for micro in micros for tensor in micro.tensors.values()]
            assert len(micros) > 1 and (copied == pinned[: len(copied)] if device == "cuda" else not pinned)


def test_with_a_fixed_share_all_batches_have_one_shape():
    """A model that is compiled for it need not be compiled again; what fills it up has no label. Without, the number of masked tokens varies."""
    examples = make_examples("blocks", corpus(400), Letters(), max_length=32)
    for share, same in ((0.3, True), (0.0, False)):
        batches = Batches(examples, MASKER, 16, pad_token_id=1, seed=0, fixed_share=share)
        made = [batch for i in range(30) if len(batch := batches[i]) == 16]
        for parts in (made, [part for batch in made for part in batch.split(8)]):
            assert (len({part.masked_positions.shape for part in parts}) == 1) == same
            for part in parts:
                labels = part.labels.flatten()[part.masked_positions]
                assert (labels != IGNORE_INDEX).sum() == part.num_masked == (part.labels != IGNORE_INDEX).sum()


def test_ctrl_c_while_the_first_window_of_a_stream_is_read_leaves_no_thread(monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt
    monkeypatch.setattr(StreamBatches, "_next_window", interrupted)
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        StreamBatches(SimpleNamespace(windows=lambda *place: (n for n in range(10 ** 9))), None, MASKER, 8, pad_token_id=1, seed=0)
    assert threading.active_count() == before


def test_an_empty_corpus_is_refused():
    with pytest.raises(ValueError, match="empty"):
        make(count=0)
