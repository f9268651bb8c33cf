"""Which tokens the model has to guess: BERT's 80/10/10 masking (Devlin et al. 2018, section 3.1 and appendix A.1).

Each ordinary token is selected with probability 0.15. A selected token is replaced by [MASK] (80 %), by a random
token (10 %) or stays as it is (10 %), and its true id becomes the label; every other label is -100, the value
that PyTorch's cross entropy leaves out. The 10 % + 10 % are there because [MASK] never occurs in later use: the
model cannot tell which visible tokens are true, so it must keep a good idea of every one of them.

What is selected together, and treated alike, is a matter of the objective:

    tokens    each token for itself (BERT)
    words     all tokens of a word (BERT's "whole word masking" of 2019), so that hardly a word is guessed from the rest of itself. Google draws
              mask, random or unchanged for each token of the word, here one draw holds for all of them
    spans     runs of words, their number drawn from a geometric distribution (SpanBERT, Joshi et al. 2019, section 3.1). SpanBERT's second
              half, to guess a token of a span from the two beside the span (section 3.2), is not here

The draw is new in every epoch (RoBERTa's dynamic masking, Liu et al. 2019, section 4.1), and yet it is a pure function
of (seed, epoch, example, position): a resumed run, another number of workers, another padding or another
micro-batch see the same masks. That is why the random numbers below are hashed from those four and not drawn in turn.

Random replacements come from the ordinary tokens; the reference draws from the whole vocabulary, special tokens included.
"""
from functools import partial

import numpy as np

IGNORE_INDEX = -100  # torch.nn.functional.cross_entropy's ignore_index
OBJECTIVES = ("tokens", "words", "spans")

SPAN_WORDS = 10  # at most; lengths are geometric (0.8), those above ten left out and the others raised: 3.8 in the mean (SpanBERT, section 3.1)

SELECT, ACTION, REPLACEMENT, SPAN_LENGTH = range(4)  # what the random numbers of a token decide: see ``uniform``

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: steps by it spread evenly over all 64-bit numbers


def _mix(x):
    """Scramble 64-bit numbers so that neighbours have nothing in common (the finaliser of SplitMix64, Steele et al. 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def uniform(seed, epoch, examples, length, stream, before=0):
    """Random numbers in [0, 1) of shape (B, before + length): that of place t depends on seed, epoch, examples[b], t and stream only.

    seed, epoch, stream: ints >= 0; examples: (B,) ints, which examples of the epoch the rows are; stream: which of a token's numbers, SELECT (is it
    selected?), ACTION (masked, replaced or left alone?), REPLACEMENT (by which token?) or SPAN_LENGTH (how long is a span that begins here?);
    before: how many places in front of the first, -before to -1, have numbers as well.

    >>> uniform(0, 0, [7], 4, stream=0)[0, 2] == uniform(0, 0, [3, 7], 9, stream=0)[1, 2]
    np.True_
    """
    state = np.zeros(1, dtype=np.uint64)
    for number in (seed, epoch, stream, np.asarray(examples)):
        state = _mix(state + _GOLDEN + np.asarray(number, dtype=np.uint64))  # (1,) then (B,)
    state = state[:, None] + _GOLDEN * np.arange(1 - before, length + 1).astype(np.uint64)  # (B, before + T)
    return (_mix(state) >> np.uint64(11)) * 2.0**-53  # the top 53 bits fill a float64 exactly


class Masker:
    """80/10/10 masking for one vocabulary.

    vocab_size: entries; mask_token_id: id of [MASK]; special_ids: ids never selected and never drawn as replacement;
    probability: share of the ordinary tokens that is selected; objective: "tokens", "words" or "spans"; word_starts: for the
    last two, ids (B, T) -> where a word begins (B, T) bool, as ``words.WordStarts``.

    >>> masker = Masker(vocab_size=10, mask_token_id=4, special_ids=(0, 1, 2, 3, 4), probability=0.5)
    >>> corrupted, labels = masker(np.array([[0, 7, 8, 9, 2]]), seed=0, epoch=0, examples=[0])
    >>> corrupted.tolist(), labels.tolist()  # 8 was replaced by a random 6, 9 by [MASK]; 7 was not selected
    ([[0, 7, 6, 4, 2]], [[-100, -100, 8, 9, -100]])
    """

    def __init__(self, vocab_size, mask_token_id, special_ids, probability=0.15, objective="tokens", word_starts=None):
        self.mask_token_id = mask_token_id
        self.probability = probability
        self.objective, self.word_starts = objective, word_starts
        self.is_special = np.zeros(vocab_size, dtype=bool)
        self.is_special[list(special_ids)] = True
        self.ordinary_ids = np.flatnonzero(~self.is_special)  # those that a random replacement may be
        if not len(self.ordinary_ids):
            raise ValueError(f"all {vocab_size} entries of the vocabulary are special tokens: there is nothing to predict")

    def __call__(self, input_ids, seed, epoch, examples):
        """Corrupt a batch.

        input_ids (B, T) ints, padding and special tokens included; seed, epoch, examples (B,): what the draw depends on.
        Returns (corrupted (B, T), labels (B, T)), both int64; labels are -100 where nothing is to be predicted.
        """
        input_ids = np.asarray(input_ids, dtype=np.int64)  # (B, T)
        special = self.is_special[input_ids]  # (B, T)
        before = SPAN_WORDS - 1 if self.objective == "spans" else 0
        numbers = partial(uniform, seed, epoch, examples, input_ids.shape[1])
        select, action = numbers(SELECT, before), numbers(ACTION, before)  # (B, before + T)
        if self.objective == "tokens":
            selected = select < self.probability
        else:
            begins = self.word_starts(input_ids) | special  # (B, T): where a word begins
            begins[:, 0] = True
            if self.objective == "words":
                selected, action = self._words(begins, select, action)
            else:
                selected, action = self._spans(begins, select, action, numbers(SPAN_LENGTH, before))
        selected &= ~special
        labels = np.where(selected, input_ids, IGNORE_INDEX)
        masked, replaced = selected & (action < 0.8), selected & (action >= 0.8) & (action < 0.9)  # the others that are selected stay
        random_ids = self.ordinary_ids[(numbers(REPLACEMENT) * len(self.ordinary_ids)).astype(np.int64)]  # (B, T)
        return np.where(masked, self.mask_token_id, np.where(replaced, random_ids, input_ids)), labels

    def _words(self, begins, select, action):
        """The numbers of a word's first token hold for the whole word. begins (B, T): where words begin -> (selected, action), both (B, T)"""
        word_of = np.cumsum(begins) - 1  # (B*T,): the word of each token, words being numbered through the batch
        selected = select[begins] < self.probability  # (words,)
        return selected[word_of].reshape(begins.shape), action[begins][word_of].reshape(begins.shape)

    def _spans(self, begins, select, action, length):
        """At each word a span may begin. Where two overlap, the later one's action holds. -> (selected, action), both (B, T)

        begins (B, T): where words begin; select, action, length (B, 9 + T): also of nine words that are thought of in front of each row. From there
        spans reach into it as they do from word to word, so that the first word is covered as often as any other; and no span reaches from one
        row into the next. A span goes on over a special token, which is not selected itself: the words after [SEP] have nine in front of them, too.
        """
        before = SPAN_WORDS - 1
        begins = np.pad(begins, ((0, 0), (before, 0)), constant_values=True)  # (B, 9 + T)
        first = np.flatnonzero(begins)  # (words,): the first token of each, tokens and words being numbered through the batch
        span_begins = select.flat[first] < span_start_probability(self.probability)  # (words,)
        span_words = 1 + (length.flat[first][:, None] < span_length_survival()[1:]).sum(1)  # (words,): how many the span has, if one begins here
        covered_by = np.full(len(first), -1)  # (words,): the word at which the span begins that covers this one; -1: none does
        for step in range(SPAN_WORDS - 1, -1, -1):  # the nearest is written last
            reaches = np.flatnonzero(span_begins[:len(first) - step] & (span_words[:len(first) - step] > step))
            covered_by[reaches + step] = reaches
        word_of = np.cumsum(begins) - 1  # (B*(9 + T),)
        selected, action = (covered_by >= 0)[word_of], action.flat[first[covered_by]][word_of]
        return selected.reshape(begins.shape)[:, before:], action.reshape(begins.shape)[:, before:]


def span_start_probability(probability):
    """How often a span must begin at a word for the share ``probability`` of all words to be covered.

    A word is left out if no span begins at it, and none of more than k words at the k-th word before it: with the rate r and
    s(k), the chance that a span has more than k words, its probability is the product over k < 10 of 1 - r s(k).

    >>> round(span_start_probability(0.15), 4)
    0.0422
    """
    longer = span_length_survival()
    low, high = 0.0, 1.0
    for _ in range(60):  # bisection, to the last digit
        rate = (low + high) / 2
        low, high = (rate, high) if 1 - np.prod(1 - rate * longer) < probability else (low, rate)
    return rate


def span_length_survival():
    """The chance that a span has more than k words, for k = 0 to 9: geometric, cut off after ten words. -> (10,)

    >>> round(float(span_length_survival().sum()), 1), span_length_survival()[:2].round(3).tolist()
    (3.8, [1.0, 0.776])
    """
    beyond = 0.8 ** np.arange(SPAN_WORDS + 1)
    return (beyond[:-1] - beyond[-1]) / (1 - beyond[-1])
