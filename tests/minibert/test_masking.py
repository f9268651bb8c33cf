"""80/10/10, and masks that depend on (seed, epoch, example, position) and nothing else.

Whole words and spans are tested in tests/tokenizer/test_word_starts.py.
"""
import numpy as np
import pytest

from minibert.masking import ACTION, IGNORE_INDEX, REPLACEMENT, SELECT, Masker, uniform

V = 1000
MASK = 4
SPECIAL = (0, 1, 2, 3, 4)


@pytest.fixture(scope="module")
def million():
    """A million ordinary tokens, masked: (ids, corrupted, labels)."""
    ids = np.random.default_rng(0).integers(5, V, size=(2000, 500))
    return ids, *Masker(V, MASK, SPECIAL)(ids, seed=0, epoch=0, examples=np.arange(2000))


def test_15_percent_are_selected(million):
    _, _, labels = million
    # five standard deviations of a million coin tosses
    assert np.mean(labels != IGNORE_INDEX) == pytest.approx(0.15, abs=0.002)


def test_selected_tokens_are_80_percent_mask_10_random_10_unchanged(million):
    ids, corrupted, labels = million
    selected = labels != IGNORE_INDEX
    masked = np.mean(corrupted[selected] == MASK)
    same = np.mean(corrupted[selected] == ids[selected])
    assert masked == pytest.approx(0.8, abs=0.005)
    assert same == pytest.approx(0.1 + 0.1 / (V - 5), abs=0.005)  # random, but true
    assert 1 - masked - same == pytest.approx(0.1, abs=0.005)


def test_every_ordinary_token_and_no_special_one_is_used_as_a_replacement(million):
    ids, corrupted, _ = million
    replacements = corrupted[(corrupted != ids) & (corrupted != MASK)]
    assert set(replacements.tolist()) == set(range(5, V))


@pytest.mark.parametrize("lengths", [[1], [3, 9], [16, 16], [2, 7, 16]])
def test_padding_and_special_tokens_are_never_predicted(lengths):
    pad, cls, sep = 1, 0, 2
    ids = np.full((len(lengths), 16), pad)
    for row, length in zip(ids, lengths):
        row[:length] = np.arange(10, 10 + length)
        row[0], row[length - 1] = cls, sep
    masker = Masker(V, MASK, SPECIAL, mlm_probability=0.999)
    corrupted, labels = masker(ids, seed=3, epoch=1, examples=range(len(ids)))
    special = np.isin(ids, SPECIAL)
    assert (labels[special] == IGNORE_INDEX).all()
    assert (corrupted[special] == ids[special]).all()
    assert (labels[~special] != IGNORE_INDEX).any() or special.all()


def test_a_mask_does_not_depend_on_padding_or_on_the_rest_of_the_batch():
    masker = Masker(V, MASK, SPECIAL)
    ids = np.random.default_rng(1).integers(5, V, size=(3, 40))
    batch, _ = masker(ids, seed=0, epoch=2, examples=[10, 11, 12])
    padded = np.pad(ids[1:2], ((0, 0), (0, 24)), constant_values=1)
    single, _ = masker(padded, seed=0, epoch=2, examples=[11])
    assert (batch[1] == single[0, :40]).all()


@pytest.mark.parametrize("change", [{"seed": 1}, {"epoch": 1}, {"examples": [8]}])
def test_masks_differ_between_seeds_epochs_and_examples(change):
    masker = Masker(V, MASK, SPECIAL)
    ids = np.random.default_rng(2).integers(5, V, size=(1, 2000))
    draw = {"seed": 0, "epoch": 0, "examples": [7]}
    _, one = masker(ids, **draw)
    _, two = masker(ids, **(draw | change))
    in_both = np.mean((one != IGNORE_INDEX) & (two != IGNORE_INDEX))
    assert in_both == pytest.approx(0.15**2, abs=0.02)  # independent draws


def test_the_vectorized_masker_agrees_with_a_loop_over_tokens():
    """The slow twin: what the masker does, one token at a time."""
    masker = Masker(50, MASK, SPECIAL, mlm_probability=0.4)
    ids = np.random.default_rng(3).integers(0, 50, size=(8, 30))
    corrupted, labels = masker(ids, seed=5, epoch=6, examples=np.arange(8) + 100)
    for b in range(8):
        select = uniform(5, 6, [b + 100], 30, SELECT)[0]
        action = uniform(5, 6, [b + 100], 30, ACTION)[0]
        replacement = uniform(5, 6, [b + 100], 30, REPLACEMENT)[0]
        for t in range(30):
            token, label = ids[b, t], IGNORE_INDEX
            if token not in SPECIAL and select[t] < 0.4:
                label = token
                if action[t] < 0.8:
                    token = MASK
                elif action[t] < 0.9:
                    token = range(5, 50)[int(replacement[t] * 45)]
            assert (corrupted[b, t], labels[b, t]) == (token, label)


def test_the_hashed_numbers_are_uniform_and_uncorrelated():
    numbers = np.concatenate([uniform(seed, epoch, np.arange(50), 200, SELECT)
                              for seed in range(3) for epoch in range(3)])  # (450, 200)
    assert numbers.min() >= 0 and numbers.max() < 1
    counts, _ = np.histogram(numbers, bins=100, range=(0, 1))
    expected = numbers.size / 100
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < 150  # 99 degrees of freedom: P(more than 150) < 0.001
    for axis in (0, 1):
        neighbors = np.roll(numbers, 1, axis=axis)
        assert abs(np.corrcoef(numbers.ravel(), neighbors.ravel())[0, 1]) < 0.02


def test_a_vocabulary_with_only_special_tokens_is_refused():
    with pytest.raises(ValueError, match="nothing to predict"):
        Masker(5, MASK, SPECIAL)
