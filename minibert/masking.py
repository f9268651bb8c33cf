"""Masking: which tokens the model must predict (Devlin et al. 2018, section 3.1 and appendix A.1).

Each ordinary token is selected with a probability (--mlm-probability) of 15% in BERT and 40% in
the quickstart. (Google's code picks a fixed 15% of them.) The true id of a selected token becomes
its label. All other labels are -100, which cross entropy ignores. In the input, a selected token is

    replaced by [MASK]              80%
    replaced by a random token      10%
    left unchanged                  10%

Why 10% + 10%? [MASK] never appears in fine-tuning. Because any visible token may be wrong or may
be a target, the model must build a good vector for every token.

--masking decides which tokens are selected together and treated the same way:

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

from tokenizer.word_starts import number_runs

IGNORE_INDEX = -100  # the label that torch.nn.functional.cross_entropy ignores
MASKINGS = ("tokens", "words", "spans")

# Shares of the selected tokens; the rest is left unchanged. These also apply to evaluation, so
# changing one changes the validation losses and the copying loss.
MASK_SHARE = 0.8  # replaced by [MASK]
RANDOM_SHARE = 0.1  # replaced by a random token

MAX_SPAN_WORDS = 10
SPAN_DECAY = 0.8  # P(length = k) is proportional to 0.8^k, so a span has 3.8 words on average

# The purposes of a token's random numbers, one number for each: see ``uniform``.
SELECT, ACTION, REPLACEMENT, SPAN_LENGTH = range(4)

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: multiples of it spread evenly


def _mix(x):
    """Scramble 64-bit integers: SplitMix64's finalizer (Steele et al. 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def uniform(seed, epoch, examples, length, purpose, before=0):
    """Return random numbers in [0, 1), shape (B, before + length).

    Column before + t belongs to position t. Its number in row b depends only on seed, epoch,
    examples[b], t and purpose.

    seed, epoch    integers >= 0
    examples       (B,) integers: the index of each row's example
    purpose        SELECT (is the token selected?), ACTION (masked, replaced or unchanged?),
                   REPLACEMENT (by which token?) or SPAN_LENGTH (of a span that starts here)
    before         also return numbers for this many positions before the row, -before to -1

    >>> alone, in_batch = uniform(0, 0, [7], 4, SELECT), uniform(0, 0, [3, 7], 9, SELECT)
    >>> bool(alone[0, 2] == in_batch[1, 2])
    True
    """
    state = np.zeros(1, dtype=np.uint64)
    for value in (seed, epoch, purpose, np.asarray(examples)):
        state = _mix(state + _GOLDEN + np.asarray(value, dtype=np.uint64))  # (1,), then (B,)
    # Position t uses counter t + 1. Counters below zero wrap around to huge ones, which is fine.
    counters = np.arange(1 - before, length + 1).astype(np.uint64)
    bits = _mix(state[:, None] + _GOLDEN * counters)  # (B, before + T)
    return (bits >> np.uint64(11)) * 2.0**-53  # the top 53 bits fill a float64 exactly


class Masker:
    """Selects and corrupts tokens of one vocabulary.

    vocab_size       entries of the vocabulary
    mask_token_id    id of [MASK]
    special_ids      ids that are never selected and never used as a replacement
    mlm_probability  share of the ordinary tokens that is selected
    masking          "tokens", "words" or "spans"
    word_starts      for words and spans, a ``tokenizer.word_starts.WordStarts``:
                     ids (B, T) -> bool (B, T), where a word starts. A special token is a word

    >>> masker = Masker(10, mask_token_id=4, special_ids=(0, 1, 2, 3, 4), mlm_probability=0.5)
    >>> corrupted, labels = masker(np.array([[0, 7, 8, 9, 2]]), seed=0, epoch=0, examples=[0])
    >>> corrupted.tolist(), labels.tolist()  # 8 -> random 6, 9 -> [MASK], 7 not selected
    ([[0, 7, 6, 4, 2]], [[-100, -100, 8, 9, -100]])
    """

    def __init__(self, vocab_size, mask_token_id, special_ids, mlm_probability=0.15,
                 masking="tokens", word_starts=None):
        self.mask_token_id = mask_token_id
        self.mlm_probability = mlm_probability
        self.span_start_probability = span_start_probability(mlm_probability)
        self.masking = masking
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

        # (B, T) each: is the token selected, and which of the three things happens to it then?
        if self.masking == "tokens":
            selected, action = draw(SELECT) < self.mlm_probability, draw(ACTION)
        elif self.masking == "words":
            selected, action = self._select_words(input_ids, draw)
        else:
            selected, action = self._select_spans(input_ids, draw)
        selected &= ~is_special
        labels = np.where(selected, input_ids, IGNORE_INDEX)

        is_masked = selected & (action < MASK_SHARE)
        is_random = selected & (action >= MASK_SHARE) & (action < MASK_SHARE + RANDOM_SHARE)
        index = (draw(REPLACEMENT) * len(self.ordinary_ids)).astype(np.int64)  # rounds down
        random_ids = self.ordinary_ids[index]  # (B, T)
        corrupted = np.where(is_random, random_ids, input_ids)
        corrupted[is_masked] = self.mask_token_id
        return corrupted, labels

    def _select_words(self, input_ids, draw):
        """Select whole words: input_ids (B, T) -> (selected, action), both (B, T).

        The random numbers of a word's first token decide for the whole word.
        """
        starts = self.word_starts(input_ids, cut_long=True)  # (B, T)
        word_index = number_runs(starts)  # (B, T): words are numbered across the batch
        selected = draw(SELECT)[starts] < self.mlm_probability  # (words,)
        action = draw(ACTION)[starts]  # (words,)
        return selected[word_index], action[word_index]

    def _select_spans(self, input_ids, draw):
        """Select spans of words: input_ids (B, T) -> (selected, action), both (B, T).

        With a small probability a span starts at a word and covers up to ten words. Where spans
        overlap, the later one decides what happens to a word:

            word                  0   1   2   3   4   5
            a span starts             x       x             SELECT
            its length in words       3       2             SPAN_LENGTH
            covered by           -1   1   1   3   3  -1     index of the word where the span starts

        Each row is padded in front with nine dummy words, so that spans can also start before the
        row. Without them its first words would be covered less often than the others. The dummies
        also absorb spans that run over the end of the previous row. A span continues across
        special tokens, which are not selected themselves.
        """
        before = MAX_SPAN_WORDS - 1
        starts = self.word_starts(input_ids, cut_long=True)  # (B, T)
        starts = np.pad(starts, ((0, 0), (before, 0)), constant_values=True)  # (B, 9 + T)
        word_index = number_runs(starts)  # (B, 9 + T): numbered across the batch, with dummies
        # Random numbers of each word's first token, (words,)
        u_select = draw(SELECT, before)[starts]
        u_length = draw(SPAN_LENGTH, before)[starts]
        action = draw(ACTION, before)[starts]

        is_span_start = u_select < self.span_start_probability  # (words,)
        survival = span_length_survival()[1:]  # P(length > 1), ..., P(length > 9)
        # Inverse transform: the length is 1 + the number of k with u < P(length > k).
        span_words = 1 + (u_length[:, None] < survival).sum(1)  # (words,): if a span starts here

        covered_by = np.full(len(u_select), -1)  # (words,)
        # Distances are written from far to near, so the nearest start wins.
        for distance in range(before, -1, -1):
            start = np.flatnonzero(is_span_start & (span_words > distance))
            start = start[start + distance < len(covered_by)]  # not past the end of the batch
            covered_by[start + distance] = start

        selected = covered_by >= 0
        action = action[covered_by]  # where nothing is covered (-1), this value is not used
        return selected[word_index][:, before:], action[word_index][:, before:]


def span_start_probability(mlm_probability):
    """Return the probability, per word, of a span start with which this share of words is covered.

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
        if covered < mlm_probability:
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
