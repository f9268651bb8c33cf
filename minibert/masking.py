"""Which tokens the model has to guess: BERT's 80/10/10 masking (Devlin et al. 2018, section 3.1 and appendix A.1).

Each ordinary token is selected with probability 0.15. A selected token is replaced by [MASK] (80 %), by a random
token (10 %) or stays as it is (10 %), and its true id becomes the label; every other label is -100, the value
that PyTorch's cross entropy leaves out. The 10 % + 10 % are there because [MASK] never occurs in later use: the
model cannot tell which visible tokens are true, so it must keep a good idea of every one of them.

The draw is new in every epoch (RoBERTa's dynamic masking, Liu et al. 2019, section 4.1), and yet it is a pure function
of (seed, epoch, example, position): a resumed run, another number of workers, another padding or another
micro-batch see the same masks. That is why the random numbers below are hashed from those four and not drawn in turn.

Random replacements come from the ordinary tokens; the reference draws from the whole vocabulary, special tokens included.
"""
import numpy as np

IGNORED = -100  # torch.nn.functional.cross_entropy's ignore_index

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: steps by it spread evenly over all 64-bit numbers


def _mix(x):
    """Scramble 64-bit numbers so that neighbours have nothing in common (the finaliser of SplitMix64, Steele et al. 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def uniform(seed, epoch, examples, length, stream):
    """Random numbers in [0, 1) of shape (B, length): entry (b, t) depends on seed, epoch, examples[b], t and stream only.

    seed, epoch, stream: ints >= 0; examples: (B,) ints, the numbers of the examples; stream: tells several draws
    for the same token apart.

    >>> uniform(0, 0, [7], 4, stream=0)[0, 2] == uniform(0, 0, [3, 7], 9, stream=0)[1, 2]
    np.True_
    """
    state = np.zeros(1, dtype=np.uint64)
    for number in (seed, epoch, stream, np.asarray(examples)):
        state = _mix(state + _GOLDEN + np.asarray(number, dtype=np.uint64))  # (1,) then (B,)
    state = state[:, None] + _GOLDEN * np.arange(1, length + 1, dtype=np.uint64)  # (B, T)
    return (_mix(state) >> np.uint64(11)) * 2.0**-53  # the top 53 bits fill a float64 exactly


class Masker:
    """80/10/10 masking for one vocabulary.

    vocab_size: entries; mask_token_id: id of [MASK]; special_ids: ids never selected and never drawn as replacement;
    probability: share of the ordinary tokens that is selected.

    >>> masker = Masker(vocab_size=10, mask_token_id=4, special_ids=(0, 1, 2, 3, 4), probability=0.5)
    >>> corrupted, labels = masker(np.array([[0, 7, 8, 9, 2]]), seed=0, epoch=0, examples=[0])
    >>> bool(labels[0, 0] == -100)
    True
    """

    def __init__(self, vocab_size, mask_token_id, special_ids, probability=0.15):
        self.mask_token_id = mask_token_id
        self.probability = probability
        self.is_special = np.zeros(vocab_size, dtype=bool)
        self.is_special[list(special_ids)] = True
        self.ordinary = np.flatnonzero(~self.is_special)  # the ids that a random replacement may be
        if not len(self.ordinary):
            raise ValueError(f"all {vocab_size} entries of the vocabulary are special tokens: there is nothing to predict")

    def __call__(self, input_ids, seed, epoch, examples):
        """Corrupt a batch.

        input_ids (B, T) ints, padding and special tokens included; seed, epoch, examples (B,): what the draw depends on.
        Returns (corrupted (B, T), labels (B, T)), both int64; labels are -100 where nothing is to be predicted.
        """
        input_ids = np.asarray(input_ids, dtype=np.int64)  # (B, T)
        length = input_ids.shape[1]
        selected = uniform(seed, epoch, examples, length, stream=0) < self.probability  # (B, T)
        selected &= ~self.is_special[input_ids]
        labels = np.where(selected, input_ids, IGNORED)

        action = uniform(seed, epoch, examples, length, stream=1)  # (B, T)
        draw = uniform(seed, epoch, examples, length, stream=2)
        replacement = self.ordinary[(draw * len(self.ordinary)).astype(np.int64)]
        corrupted = np.where(selected & (action < 0.8), self.mask_token_id, input_ids)
        corrupted = np.where(selected & (action >= 0.8) & (action < 0.9), replacement, corrupted)
        return corrupted, labels
