"""Masking: which tokens the model must predict (Devlin et al. 2018, section 3.1 and appendix A.1).

Each ordinary token is selected with probability 15 % in BERT (--mlm-probability; the quickstart
takes 40 %). Its true id becomes the label, and all other labels are -100, which cross entropy
ignores. In the input, a selected token is

    replaced by [MASK]              80 %
    replaced by a random token      10 %
    left unchanged                  10 %

Why 10 % + 10 %? [MASK] never occurs when the model is fine-tuned on another task. Since any
visible token may be wrong, the model must learn a good vector for every token, not only [MASK].

The objective decides which tokens are selected together and treated the same way:

    tokens    each token by itself (BERT)
    words     all tokens of a word (BERT's "whole word masking", 2019), so that a token can hardly
              be guessed from the rest of its word. Google draws mask, random or unchanged for each
              token of the word; here one draw decides for all of them.
    spans     runs of words with a geometric length (SpanBERT, Joshi et al. 2019, section 3.1).
              SpanBERT's second loss, the span-boundary objective, is not implemented.

Masks are drawn again in every epoch (dynamic masking: RoBERTa, Liu et al. 2019, section 4.1), and
yet they are a pure function of (seed, epoch, example, position). A resumed run, more processes,
different padding or micro-batches all see the same masks. That is why random numbers are
hashed from these four here, and not taken from a generator one after another.

Random replacements are ordinary tokens; Google's code may also draw special tokens.
"""
from functools import partial

import numpy as np

IGNORE_INDEX = -100  # the label that torch.nn.functional.cross_entropy ignores
OBJECTIVES = ("tokens", "words", "spans")

# Shares of the selected tokens; the other 10 % are unchanged. evaluate.py masks in the same way, so
# changing a share also changes validation losses and the copying loss.
MASK_SHARE = 0.8  # replaced by [MASK]
RANDOM_SHARE = 0.1  # replaced by a random token

MAX_SPAN_WORDS = 10  # the mean length is then 3.8 (SpanBERT, section 3.1)
SPAN_DECAY = 0.8  # P(length = k) is proportional to 0.8^k

# Each token has several random numbers, one stream for each decision: see ``uniform``.
SELECT, ACTION, REPLACEMENT, SPAN_LENGTH = range(4)

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: multiples of it spread evenly


def _mix(x):
    """Scramble 64-bit integers: SplitMix64's finalizer (Steele et al. 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def uniform(seed, epoch, examples, length, stream, before=0):
    """Return random numbers in [0, 1), shape (B, before + length).

    Column before + t belongs to position t. Its number in row b depends only on seed, epoch,
    examples[b], t and stream.

    seed, epoch    integers >= 0
    examples       (B,) integers: the index of each row's example
    stream         SELECT (is the token selected?), ACTION (masked, replaced or unchanged?),
                   REPLACEMENT (by which token?) or SPAN_LENGTH (of a span that starts here)
    before         also return numbers for this many positions before the row, -before to -1

    >>> uniform(0, 0, [7], 4, stream=0)[0, 2] == uniform(0, 0, [3, 7], 9, stream=0)[1, 2]
    np.True_
    """
    state = np.zeros(1, dtype=np.uint64)
    for value in (seed, epoch, stream, np.asarray(examples)):
        state = _mix(state + _GOLDEN + np.asarray(value, dtype=np.uint64))  # (1,), then (B,)
    # Position t uses counter t + 1. Counters below zero wrap around to huge ones, which is fine.
    counters = np.arange(1 - before, length + 1).astype(np.uint64)
    bits = _mix(state[:, None] + _GOLDEN * counters)  # (B, before + T)
    return (bits >> np.uint64(11)) * 2.0**-53  # the top 53 bits fill a float64 exactly


class Masker:
    """80/10/10 masking for one vocabulary.

    vocab_size       entries of the vocabulary
    mask_token_id    id of [MASK]
    special_ids      ids that are never selected and never used as a replacement
    probability      share of the ordinary tokens that is selected
    objective        "tokens", "words" or "spans"
    word_starts      for words and spans: ids (B, T) -> bool (B, T), where a word starts; see
                     ``tokenizer.word_starts.WordStarts``

    >>> masker = Masker(10, mask_token_id=4, special_ids=(0, 1, 2, 3, 4), probability=0.5)
    >>> corrupted, labels = masker(np.array([[0, 7, 8, 9, 2]]), seed=0, epoch=0, examples=[0])
    >>> corrupted.tolist(), labels.tolist()  # 8 -> random 6, 9 -> [MASK], 7 not selected
    ([[0, 7, 6, 4, 2]], [[-100, -100, 8, 9, -100]])
    """

    def __init__(self, vocab_size, mask_token_id, special_ids, probability=0.15,
                 objective="tokens", word_starts=None):
        self.mask_token_id = mask_token_id
        self.probability = probability
        self.objective = objective
        self.word_starts = word_starts
        self.is_special = np.zeros(vocab_size, dtype=bool)
        self.is_special[list(special_ids)] = True
        self.ordinary_ids = np.flatnonzero(~self.is_special)
        if not len(self.ordinary_ids):
            raise ValueError(f"all {vocab_size} entries of the vocabulary are special tokens: "
                             "there is nothing to predict")

    def __call__(self, input_ids, seed, epoch, examples):
        """Mask a batch: input_ids (B, T) -> (corrupted (B, T), labels (B, T)), both int64.

        input_ids include padding and special tokens; the draw depends on seed, epoch and
        examples (B,). Labels are -100 where nothing is to be predicted.
        """
        input_ids = np.asarray(input_ids, dtype=np.int64)
        is_special = self.is_special[input_ids]  # (B, T)
        draw = partial(uniform, seed, epoch, examples, input_ids.shape[1])

        if self.objective == "tokens":
            selected = draw(SELECT) < self.probability  # (B, T)
            action = draw(ACTION)  # (B, T)
        else:
            starts = self.word_starts(input_ids) | is_special  # (B, T): where a word starts
            starts[:, 0] = True
            select = self._select_words if self.objective == "words" else self._select_spans
            selected, action = select(starts, draw)
        selected &= ~is_special
        labels = np.where(selected, input_ids, IGNORE_INDEX)

        is_masked = selected & (action < MASK_SHARE)  # 80 %
        is_random = selected & (action >= MASK_SHARE) & (action < MASK_SHARE + RANDOM_SHARE)  # 10 %
        # The other selected tokens, 10 %, stay as they are.
        pick = (draw(REPLACEMENT) * len(self.ordinary_ids)).astype(np.int64)  # 0 to n - 1
        corrupted = np.where(is_random, self.ordinary_ids[pick], input_ids)
        corrupted[is_masked] = self.mask_token_id
        return corrupted, labels

    def _select_words(self, starts, draw):
        """Select whole words: starts (B, T) -> (selected, action), both (B, T).

        The random numbers of a word's first token decide for the complete word.
        """
        # Words are numbered consecutively across the batch; each row starts with a new word.
        word_of = np.cumsum(starts).reshape(starts.shape) - 1  # (B, T): index of a token's word
        selected = draw(SELECT)[starts] < self.probability  # (words,)
        action = draw(ACTION)[starts]  # (words,)
        return selected[word_of], action[word_of]

    def _select_spans(self, starts, draw):
        """Select spans of words: starts (B, T) -> (selected, action), both (B, T).

        With a small probability a span starts at a word and covers up to ten words. Where spans
        overlap, the later one decides what happens to a word:

            word                  0   1   2   3   4   5
            a span starts             x       x             SELECT
            its length in words       3       2             SPAN_LENGTH
            covered by           -1   1   1   3   3  -1     index of the word where the span starts

        Each row gets nine imaginary one-token words in front, where spans may start, too.
        Without them its first words would be covered less often than the others. They also
        absorb spans that run over the end of the previous row. A span continues across special
        tokens, which are not selected themselves.
        """
        before = MAX_SPAN_WORDS - 1
        starts = np.pad(starts, ((0, 0), (before, 0)), constant_values=True)  # (B, 9 + T)
        # Words are numbered consecutively across the batch, imaginary ones included.
        word_of = np.cumsum(starts).reshape(starts.shape) - 1  # (B, 9 + T)
        # Random numbers of each word's first token, (words,)
        u_select = draw(SELECT, before)[starts]
        u_length = draw(SPAN_LENGTH, before)[starts]
        action = draw(ACTION, before)[starts]

        span_starts = u_select < span_start_probability(self.probability)  # (words,)
        survival = span_length_survival()[1:]  # P(length > 1), ..., P(length > 9)
        # Inverse transform: the length is 1 + the number of k with u < P(length > k).
        span_words = 1 + (u_length[:, None] < survival).sum(1)  # (words,): if a span starts here

        covered_by = np.full(len(u_select), -1)  # (words,)
        for step in range(before, -1, -1):  # the nearest start is written last, so it wins
            reaches = np.flatnonzero(span_starts & (span_words > step))
            reaches = reaches[reaches + step < len(covered_by)]  # not past the end of the batch
            covered_by[reaches + step] = reaches

        selected = covered_by >= 0
        action = action[covered_by]  # where nothing is covered (-1), this value is not used
        return selected[word_of][:, before:], action[word_of][:, before:]


def span_start_probability(probability):
    """Return the probability of a span start at a word that covers this share of all words.

    A word is uncovered if for every k = 0 to 9, no span of more than k words starts k words before
    it. If spans start with probability p, that happens with probability

        product over k of (1 - p * P(length > k))

    >>> round(span_start_probability(0.15), 4)
    0.0422
    """
    survival = span_length_survival()
    low, high = 0.0, 1.0
    for _ in range(60):  # bisection, down to the last bit
        middle = (low + high) / 2
        covered = 1 - np.prod(1 - middle * survival)
        if covered < probability:
            low = middle
        else:
            high = middle
    return middle


def span_length_survival():
    """Return P(length > k) for k = 0 to 9: a geometric distribution, cut off after ten words.

    >>> round(float(span_length_survival().sum()), 1)  # the mean length
    3.8
    >>> span_length_survival()[:2].round(3).tolist()
    [1.0, 0.776]
    """
    tail = SPAN_DECAY ** np.arange(MAX_SPAN_WORDS + 1)  # P(length > k) without the cut, (11,)
    return (tail[:-1] - tail[-1]) / (1 - tail[-1])
