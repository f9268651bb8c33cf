"""Span corruption: T5's pre-training task (Raffel et al. 2020, section 3.1.4).

Runs of tokens, 15% of a text and three tokens long on average, are replaced by one sentinel each.
The target says what they were:

    text      <s> Thank you for inviting me to your party last week </s>
    input     <s> Thank you <extra_id_0> me to your party <extra_id_1> </s>
    target    <extra_id_0> for inviting <extra_id_1> last week </s>

As in T5's code, a text begins with a run that is kept and ends with one that is replaced.
"""
import numpy as np

from minibert.batches import pad
from minibert.masking import IGNORE_INDEX, uniform

NOISE = 0.15  # share of the tokens that is replaced
MEAN_SPAN = 3.0  # tokens
SENTINELS = tuple(f"<extra_id_{i}>" for i in range(100))  # T5's names
KEPT_CUTS, NOISE_CUTS = range(2)  # purposes of random numbers, see masking.uniform


class SpanCorruption:
    """Makes inputs and targets; the encoder-decoder's counterpart of ``masking.Masker``.

    vocab_size      entries of the vocabulary
    special_ids     its special tokens
    sentinel_ids    ids of ``SENTINELS``
    pad_token_id    fills the inputs; their real tokens are what comes before it

    >>> corrupt = SpanCorruption(100, (0, 1, 2), sentinel_ids=(90, 91), pad_token_id=0)
    >>> ids = np.array([[1, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 2]])
    >>> inputs, labels = corrupt(ids, seed=0, epoch=0, examples=[0])
    >>> inputs.tolist(), labels.tolist()
    ([[1, 10, 11, 12, 13, 14, 15, 16, 17, 90, 2]], [[90, 18, 19, 2]])
    """

    def __init__(self, vocab_size, special_ids, sentinel_ids, pad_token_id):
        self.is_special = np.zeros(vocab_size, dtype=bool)
        self.is_special[list(special_ids)] = True
        self.sentinel_ids = np.array(sentinel_ids)
        self.pad_token_id = pad_token_id

    def __call__(self, input_ids, seed, epoch, examples):
        """Corrupt texts (B, T): return inputs (B, S), padded, and labels (B, U), padded by -100."""
        B, T = input_ids.shape
        kept_draw = uniform(seed, epoch, examples, T, KEPT_CUTS)  # (B, T)
        noise_draw = uniform(seed, epoch, examples, T, NOISE_CUTS)
        inputs, labels = [], []
        for row, kept, noise in zip(input_ids, kept_draw, noise_draw):
            first, *ids, last = row[row != self.pad_token_id].tolist()
            corrupted, target = self.corrupt(ids, kept, noise)
            inputs.append([first, *corrupted, last])
            labels.append([*target, last])
        return pad(inputs, self.pad_token_id), pad(labels, IGNORE_INDEX)

    def corrupt(self, ids, kept_draw, noise_draw):
        """Return (input, target) of a text without special tokens, as lists of ids."""
        num_noise, num_spans = noise_sizes(len(ids))
        if num_spans > len(self.sentinel_ids):
            raise ValueError(f"a text of {len(ids)} tokens has {num_spans} spans, but there are "
                             f"{len(self.sentinel_ids)} sentinels: lower --max-length")
        kept_lengths = random_lengths(len(ids) - num_noise, num_spans, kept_draw)
        noise_lengths = random_lengths(num_noise, num_spans, noise_draw)
        ends = np.cumsum(kept_lengths + noise_lengths)
        return replace_spans(ids, zip(ends - noise_lengths, ends), self.sentinel_ids.tolist())


def replace_spans(ids, spans, sentinel_ids):
    """Return (input, target) of a text: each span (start, end) is replaced by the next sentinel.

    >>> replace_spans([10, 11, 12, 13, 14], [(1, 3), (4, 5)], sentinel_ids=[90, 91])
    ([10, 90, 13, 91], [90, 11, 12, 91, 14])
    """
    corrupted, target, position = [], [], 0
    for sentinel, (start, end) in zip(sentinel_ids, spans):
        corrupted += [*ids[position:start], sentinel]
        target += [sentinel, *ids[start:end]]
        position = end
    return corrupted + ids[position:], target


def noise_sizes(length):
    """Return (tokens to replace, spans to put them in) for a text of ``length`` tokens.

    >>> noise_sizes(100), noise_sizes(10), noise_sizes(2), noise_sizes(1)
    ((15, 5), (2, 1), (1, 1), (0, 0))
    """
    if length < 2:
        return 0, 0  # something must be kept
    num_noise = min(max(round(length * NOISE), 1), length - 1)
    num_spans = max(round(num_noise / MEAN_SPAN), 1)
    return num_noise, min(num_spans, length - num_noise)


def random_lengths(total, parts, draw):
    """Cut ``total`` tokens into parts of at least one token, all ways equally likely.

    draw: at least total - 1 random numbers. The smallest ones are where the cuts are.

    >>> random_lengths(6, 3, np.array([0.9, 0.1, 0.8, 0.3, 0.7])).tolist()  # after 2 and after 4
    [2, 2, 2]
    """
    if parts == 0:
        return np.zeros(0, dtype=np.int64)
    cuts = np.sort(np.argsort(draw[:total - 1], kind="stable")[:parts - 1]) + 1
    return np.diff([0, *cuts, total])
