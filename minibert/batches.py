"""Examples -> batches: order, padding, masking, prefetching.

    batches = Batches(examples, masker, batch_size=64, pad_token_id=1, seed=0)
    batch = next(batches)                       # endless: epoch after epoch
    out = model(**batch.model_inputs())
    state = batches.state_dict()                # {"epoch": 0, "batch": 1, ...}, for the checkpoint

For a given corpus and batch size, the order is a pure function of (seed, epoch), and the masks
of (seed, epoch, example, position). So (epoch, batch) locates the next batch, and a run that is
resumed at step one million computes it directly, replaying nothing. (The state of a stream also
says where it is in the text.)
"""
import contextlib
import math
import threading
from dataclasses import dataclass, replace

import numpy as np
import torch

from data.stream import Prefetcher
from minibert.masking import IGNORE_INDEX
from minibert.sentence_pairs import TooFewDocuments

SORTED_BATCHES = 50  # sorted by length together: saves padding, and stays random


MODEL_INPUTS = ("input_ids", "labels", "masked_positions", "attention_mask", "token_type_ids",
                "next_sentence_label")


@dataclass
class Batch:
    """B examples, padded to T tokens. The MLM head computes M positions of them.

    These are the masked tokens and a few fillers, see ``find_masked_positions``. If not
    given, masked_positions and the counts are computed from the other tensors.
    """

    input_ids: torch.Tensor  # (B, T) int64: 80 % of the selected tokens are [MASK]
    labels: torch.Tensor  # (B, T) int64: the true ids of the selected tokens, -100 elsewhere
    masked_positions: torch.Tensor | None = None  # (M,) int64: where the head computes logits
    num_tokens: int | None = None  # special tokens included, padding not
    num_masked: int | None = None  # labels that are not -100
    num_examples: int | None = None  # B, or 0 for a dummy
    attention_mask: torch.Tensor | None = None  # (B, T) int64, 0 for padding; None: no padding
    token_type_ids: torch.Tensor | None = None  # (B, T) int64, 1 for sentence B; None: no pairs
    next_sentence_label: torch.Tensor | None = None  # (B,) int64, 1 if B is random; None: no pairs
    static_mask_rate: float = 0.0  # see ``find_masked_positions``

    def __post_init__(self):
        if self.masked_positions is None:
            self.masked_positions = find_masked_positions(self.labels, self.static_mask_rate)
        if self.num_tokens is None:
            mask = self.attention_mask
            self.num_tokens = self.input_ids.numel() if mask is None else int(mask.sum())
        if self.num_masked is None:
            self.num_masked = int((self.labels != IGNORE_INDEX).sum())
        if self.num_examples is None:
            self.num_examples = len(self)

    def __len__(self):
        return len(self.input_ids)

    def model_inputs(self):
        """Return the tensors that the batch has, by name: ``model(**batch.model_inputs())``."""
        tensors = {name: getattr(self, name) for name in MODEL_INPUTS}
        return {name: tensor for name, tensor in tensors.items() if tensor is not None}

    def to(self, device):
        """Return a copy on another device."""
        tensors = self.model_inputs().items()
        return replace(self, **{name: x.to(device, non_blocking=True) for name, x in tensors})

    def pin_memory(self):
        """Return a copy in pinned memory: a GPU copies from it while the CPU continues."""
        tensors = self.model_inputs().items()
        return replace(self, **{name: x.pin_memory() for name, x in tensors})

    def split(self, micro_batch_size):
        """Return the batch as micro-batches of at most ``micro_batch_size`` examples, in order."""
        if len(self) <= micro_batch_size:
            return [self]
        tensors = self.model_inputs()
        del tensors["masked_positions"]  # computed again for each micro-batch
        micro_batches = []
        for start in range(0, len(self), micro_batch_size):
            rows = slice(start, start + micro_batch_size)
            part = {name: tensor[rows] for name, tensor in tensors.items()}
            micro_batches.append(Batch(**part, static_mask_rate=self.static_mask_rate))
        return micro_batches

    def as_dummy(self):
        """Return the batch with nothing to predict and all counts 0.

        A process that has no example in a step computes a dummy, since all processes must compute
        a gradient.
        """
        return replace(self, labels=torch.full_like(self.labels, IGNORE_INDEX),
                       masked_positions=None, num_tokens=0, num_masked=0, num_examples=0)


def find_masked_positions(labels, static_mask_rate=0.0):
    """Return where tokens are to be predicted: labels (B, T) -> (M,) int64, indices into B*T.

    They are found here, on the CPU: on a GPU, finding their count would wait for all queued work.
    M is rounded up to a multiple of 8, which GPUs multiply fastest, by repeating one position
    without a label (a filler).

    static_mask_rate: the share of the tokens that is masked, if M must be the same for all batches
    of a shape (torch.compile compiles once for each M). M is then the mean of the binomial plus
    four standard deviations, which one batch in 30,000 exceeds (a few more with whole words and
    spans). With 0, M is as small as the labels allow.

    >>> find_masked_positions(torch.tensor([[-100, 7, -100], [-100, 9, 8]])).tolist()
    [1, 4, 5, 0, 0, 0, 0, 0]
    """
    has_label = labels.flatten() != IGNORE_INDEX  # (B*T,)
    positions = has_label.nonzero().squeeze(1)  # (num_masked,)
    unlabeled = (~has_label).nonzero().squeeze(1)
    if not len(unlabeled):
        return positions  # nothing to fill up with
    mean = static_mask_rate * len(has_label)
    deviation = math.sqrt(mean * (1 - static_mask_rate))
    count = max(len(positions), round(mean + 4 * deviation))
    filling = unlabeled[:1].expand(round_up(count, 8) - len(positions))
    return torch.cat((positions, filling))


def round_up(size, multiple):
    """Return the smallest multiple that is not below size: (9, 8) -> 16."""
    return math.ceil(size / multiple) * multiple


def collate(examples, indices, masker, pad_token_id, seed, epoch,
            pad_to_multiple_of=8, static_mask_rate=0.0):
    """Return the examples with these indices (B,) as a Batch, padded and masked.

    T is the length of the longest example, rounded up to a multiple of 8 (GPUs prefer such
    shapes, and few different ones), at most max_length. On a CPU, use 1: batches of short lines
    then cost a fifth less. Examples of 3 and 5 ids -> input_ids (2, 8).
    """
    indices = np.asarray(indices)
    rows = [examples[i] for i in indices]
    lengths = np.array([len(row) for row in rows])  # (B,)

    T = int(lengths.max())
    if lengths.min() < T:  # packed sequences all have one length and need no padding
        T = min(round_up(T, pad_to_multiple_of), examples.max_length)
    input_ids = np.full((len(rows), T), pad_token_id, dtype=np.int64)  # (B, T)
    for b, row in enumerate(rows):
        input_ids[b, : len(row)] = row

    # The masks depend on (seed, epoch, index, position), not on the rest of the batch.
    corrupted, labels = masker(input_ids, seed, epoch, indices)  # (B, T), (B, T)
    arrays = {"input_ids": corrupted, "labels": labels}
    in_text = np.arange(T) < lengths[:, None]  # (B, T): not padding
    if not in_text.all():
        arrays["attention_mask"] = in_text
    if examples.segment_b_starts is not None:
        in_b = np.arange(T) >= examples.segment_b_starts[indices][:, None]  # (B, T)
        arrays["token_type_ids"] = in_b & in_text  # 1 for sentence B and the [SEP] after it
        arrays["next_sentence_label"] = examples.nsp_labels[indices]  # (B,)
    tensors = {name: torch.from_numpy(array.astype(np.int64)) for name, array in arrays.items()}
    return Batch(**tensors, static_mask_rate=static_mask_rate)


def epoch_order(lengths, batch_size, seed, epoch):
    """Return which examples are in which batch of an epoch: order[i] -> indices of batch i.

    lengths (n,): tokens of each example. The order has ceil(n / batch_size) batches, one of which
    may be smaller, and depends on nothing but the arguments.

    Examples of similar length share a batch, so that there is less padding to compute: all examples
    are shuffled; then each window of 50 batches is sorted by length and cut into batches, and these
    batches are shuffled.
    """
    rng = np.random.default_rng([seed, epoch])
    n = len(lengths)
    indices = np.arange(n, dtype=np.uint32 if n < 1 << 32 else np.int64)
    rng.shuffle(indices)
    # bounds (batches + 1,): batch i is indices[bounds[i] : bounds[i + 1]].
    bounds = np.append(np.arange(0, n, batch_size), n)
    if lengths.min() == lengths.max():
        return BatchOrder(indices, bounds)

    for first_batch in range(0, len(bounds) - 1, SORTED_BATCHES):
        start = first_batch * batch_size
        window = indices[start : start + SORTED_BATCHES * batch_size]
        by_length = window[np.argsort(lengths[window], kind="stable")]
        batches = np.split(by_length, range(batch_size, len(window), batch_size))
        batches = [batches[i] for i in rng.permutation(len(batches))]
        indices[start : start + len(window)] = np.concatenate(batches)
        # The smaller batch of the last window may now be anywhere in it, so the bounds move.
        sizes = [len(batch) for batch in batches]
        bounds[first_batch + 1 : first_batch + 1 + len(batches)] = start + np.cumsum(sizes)
    return BatchOrder(indices, bounds)


class BatchOrder:
    """A sequence of arrays, stored as one array: a large corpus has millions of batches."""

    def __init__(self, indices, bounds):
        self.indices = indices
        self.bounds = bounds

    def __len__(self):
        return len(self.bounds) - 1

    def __getitem__(self, i):
        i = range(len(self))[i]  # IndexError after the last batch, which ends a for loop
        return self.indices[self.bounds[i] : self.bounds[i + 1]]


class NoExample(ValueError):
    """The corpus is empty, or all of its lines are."""


class EpochBatches:
    """The batches of one epoch as a sequence: epoch_batches[i] depends on (seed, epoch, i) only."""

    def __init__(self, examples, masker, batch_size, pad_token_id, seed, epoch,
                 shard=None, **padding):
        self.examples = examples.at(seed, epoch)  # sentence pairs are drawn again for each epoch
        if not len(self.examples):
            raise NoExample("the corpus has no example: it is empty, or all of its lines are")
        self.order = epoch_order(self.examples.lengths, batch_size, seed, epoch)
        self.collate_args = (masker, pad_token_id, seed, epoch)
        self.shard = shard
        self.padding = padding

    def __len__(self):
        return len(self.order)

    def __getitem__(self, i):
        indices = self.order[i]
        is_real = True
        if self.shard:
            indices, is_real = self.shard(indices)
        batch = collate(self.examples, indices, *self.collate_args, **self.padding)
        return batch if is_real else batch.as_dummy()


class Batches:
    """An endless iterator over the training batches of one process, epoch after epoch.

    masker, pad_token_id, padding (pad_to_multiple_of, static_mask_rate): see ``collate``.
    shard: a function from the indices of a batch to (the indices of this process, whether they
    count), like ``Distributed.shard``; None: this process takes the complete batch.
    """

    def __init__(self, examples, masker, batch_size, pad_token_id, seed, shard=None, **padding):
        self._args = (examples, masker, batch_size, pad_token_id, seed)
        self._options = {"shard": shard, **padding}
        self._epoch = 0
        self._batch = 0  # index of the next batch within its epoch
        self._epoch_batches = None  # made when the first batch is asked for
        self._batches_per_epoch = None

    @property
    def batches_per_epoch(self):
        """The number of batches in the first epoch. (With pairs, epochs differ a little.)"""
        if self._batches_per_epoch is None:
            self._enter_epoch()
        return self._batches_per_epoch

    def _enter_epoch(self):
        if self._epoch_batches is None:
            self._epoch_batches = EpochBatches(*self._args, self._epoch, **self._options)
        if self._batches_per_epoch is None:
            self._batches_per_epoch = len(self._epoch_batches)
        return self._epoch_batches

    def peek(self):
        """Return the next batch without advancing. Raises NoExample for an empty corpus."""
        epoch_batches = self._enter_epoch()
        if self._batch >= len(epoch_batches):
            raise ValueError(f"batch {self._batch:,} of an epoch of {len(epoch_batches):,}: the "
                             "training data has changed since the checkpoint")
        return epoch_batches[self._batch]

    def __iter__(self):
        return self

    def __next__(self):
        batch = self.peek()
        self._batch += 1
        if self._batch == len(self._epoch_batches):
            self._epoch += 1
            self._batch = 0
            self._epoch_batches = None
        return batch

    def state_dict(self):
        """Return what ``load_state_dict`` needs to continue with the next batch, as JSON values."""
        return {"epoch": self._epoch, "batch": self._batch,
                "batches_per_epoch": self.batches_per_epoch}

    def load_state_dict(self, state):
        """Continue where another ``Batches`` was: only the epoch of the next batch is drawn."""
        self._epoch = state["epoch"]
        self._batch = state["batch"]
        self._batches_per_epoch = state["batches_per_epoch"]
        self._epoch_batches = None

    def close(self):
        """Do nothing: only ``StreamBatches`` has a thread to end."""


class StreamBatches:
    """The same iterator over a stream (``data.stream``): each window of text is one small epoch.

    make_examples: a function from a Window to its examples. The other arguments are those of
    ``Batches``. A resumed run raises ValueError if the text before its window has changed.
    """

    batches_per_epoch = None  # unknown before the end of the first pass

    def __init__(self, stream, make_examples, masker, batch_size, pad_token_id, seed, **options):
        self._stream = stream
        self._make_examples = make_examples
        self._args = (masker, batch_size, pad_token_id, seed)
        self._options = options
        self._closed = threading.Event()
        self.load_state_dict({
            "pass": 0, "skip": 0, "text_digest": None,  # of the window: see ``Stream.windows``
            "read": None,  # how much of the corpus has been read
            "window": 0,  # index of the window, which counts as an epoch
            "batch": 0,  # index of the next batch in the window
        })

    def peek(self):
        """Return the next batch without advancing; wait for its window if necessary."""
        if self._window_batches is None:
            self._window_batches = self._next_window()
        if self._state["batch"] == len(self._window_batches):  # a resumed run may begin like this
            self._state["window"] += 1
            self._state["batch"] = 0
            self._window_batches = self._next_window()
        return self._window_batches[self._state["batch"]]

    def __iter__(self):
        return self

    def __next__(self):
        batch = self.peek()
        self._state["batch"] += 1
        return batch

    def _next_window(self):
        """Return the batches of the next window that has an example.

        The last window of a pass may be too small for one. Two passes without one are an error.
        """
        try:
            if self._windows is None:
                state = self._state
                windows = self._stream.windows(state["pass"], state["skip"],
                                               state["text_digest"], self._closed.is_set)
                self._windows = Prefetcher(windows, self._closed.set)
            last_pass = self._state["pass"] + 1
            while self._state["pass"] <= last_pass:
                window = next(self._windows)
                self._state |= {"pass": window.pass_index, "skip": window.skip,
                                "text_digest": window.text_digest, "read": window.progress}
                with contextlib.suppress(TooFewDocuments, NoExample):
                    examples = self._make_examples(window)
                    return EpochBatches(examples, *self._args, self._state["window"],
                                        **self._options)
            raise ValueError("the corpus has no example: its documents are too few or too short")
        except BaseException:  # on an error or Ctrl-C, leave no thread behind
            self.close()
            raise

    def state_dict(self):
        """Return what ``load_state_dict`` needs to continue with the next batch, as JSON values."""
        return dict(self._state)

    def load_state_dict(self, state):
        """Continue where another ``StreamBatches`` was. To be called before the first batch."""
        self._state = dict(state)
        self._windows = None  # a Prefetcher, started when the first batch is asked for
        self._window_batches = None

    def close(self):
        """Stop the background thread that reads and tokenizes."""
        self._closed.set()
        if self._windows:
            self._windows.close()


def prefetch(batches, device, micro_batch_size):
    """Return an iterator over (micro_batches, state), each made in a background thread.

    state is ``batches.state_dict()`` after that batch, which is what a checkpoint saved after
    training on it must contain. Close the iterator at the end; that closes ``batches``, too.
    """
    def generate():
        for batch in batches:
            micro_batches = batch.split(micro_batch_size)
            if device.type == "cuda":
                micro_batches = [micro_batch.pin_memory() for micro_batch in micro_batches]
            yield micro_batches, batches.state_dict()

    return Prefetcher(generate(), batches.close)
