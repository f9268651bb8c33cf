"""80/10/10, and masks that depend on (seed, epoch, example, position) and nothing else."""
import numpy as np
import pytest

from minibert.masking import ACTION, IGNORE_INDEX, REPLACEMENT, SELECT, Masker, uniform

V, MASK, SPECIAL = 1000, 4, (0, 1, 2, 3, 4)


@pytest.fixture(scope="module")
def million():
    """A million ordinary tokens, corrupted: (ids, corrupted, labels)."""
    ids = np.random.default_rng(0).integers(5, V, size=(2000, 500))
    return ids, *Masker(V, MASK, SPECIAL)(ids, seed=0, epoch=0, examples=np.arange(2000))


def test_fifteen_percent_are_selected(million):
    _, _, labels = million
    assert np.mean(labels != IGNORE_INDEX) == pytest.approx(0.15, abs=0.002)  # five standard deviations of a million coin tosses


def test_selected_tokens_become_80_mask_10_random_10_unchanged(million):
    ids, corrupted, labels = million
    selected = labels != IGNORE_INDEX
    masked = np.mean(corrupted[selected] == MASK)
    same = np.mean(corrupted[selected] == ids[selected])
    assert masked == pytest.approx(0.8, abs=0.005)
    assert same == pytest.approx(0.1 + 0.1 / (V - 5), abs=0.005)  # a random token is the true one now and then
    assert 1 - masked - same == pytest.approx(0.1, abs=0.005)


def test_labels_are_the_true_ids_and_the_rest_is_left_alone(million):
    ids, corrupted, labels = million
    selected = labels != IGNORE_INDEX
    assert (labels[selected] == ids[selected]).all()
    assert (corrupted[~selected] == ids[~selected]).all()


def test_random_replacements_are_ordinary_tokens_and_reach_all_of_them(million):
    ids, corrupted, labels = million
    replaced = corrupted[(corrupted != ids) & (corrupted != MASK)]
    assert not np.isin(replaced, SPECIAL).any()
    assert len(np.unique(replaced)) == V - len(SPECIAL)


@pytest.mark.parametrize("lengths", [[1], [3, 9], [16, 16], [2, 7, 16]])
def test_padding_and_special_tokens_are_never_predicted(lengths):
    pad, cls, sep = 1, 0, 2
    ids = np.full((len(lengths), 16), pad)
    for row, length in zip(ids, lengths):
        row[:length] = np.arange(10, 10 + length)
        row[0], row[length - 1] = cls, sep
    corrupted, labels = Masker(V, MASK, SPECIAL, probability=0.999)(ids, seed=3, epoch=1, examples=range(len(ids)))
    special = np.isin(ids, SPECIAL)
    assert (labels[special] == IGNORE_INDEX).all() and (corrupted[special] == ids[special]).all()
    assert (labels[~special] != IGNORE_INDEX).any() or special.all()


def test_a_mask_does_not_depend_on_padding_or_on_the_rest_of_the_batch():
    masker = Masker(V, MASK, SPECIAL)
    ids = np.random.default_rng(1).integers(5, V, size=(3, 40))
    together, _ = masker(ids, seed=0, epoch=2, examples=[10, 11, 12])
    alone, _ = masker(np.pad(ids[1:2], ((0, 0), (0, 24)), constant_values=1), seed=0, epoch=2, examples=[11])
    assert (together[1] == alone[0, :40]).all()


@pytest.mark.parametrize("change", [{"seed": 1}, {"epoch": 1}, {"examples": [8]}])
def test_masks_differ_between_seeds_epochs_and_examples(change):
    masker = Masker(V, MASK, SPECIAL)
    ids = np.random.default_rng(2).integers(5, V, size=(1, 2000))
    draw = {"seed": 0, "epoch": 0, "examples": [7]}
    _, one = masker(ids, **draw)
    _, two = masker(ids, **{**draw, **change})
    both = np.mean((one != IGNORE_INDEX) & (two != IGNORE_INDEX))
    assert both == pytest.approx(0.15**2, abs=0.02)  # independent: a token is in both as often as chance has it


def test_the_vectorised_masker_agrees_with_a_loop_over_tokens():
    """The slow twin: what the masker does, one token after another."""
    masker = Masker(50, MASK, SPECIAL, probability=0.4)
    ids = np.random.default_rng(3).integers(0, 50, size=(8, 30))
    corrupted, labels = masker(ids, seed=5, epoch=6, examples=np.arange(8) + 100)
    for b in range(8):
        select, action, replacement = (uniform(5, 6, [b + 100], 30, stream)[0] for stream in (SELECT, ACTION, REPLACEMENT))
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
    numbers = np.concatenate([uniform(s, e, np.arange(50), 200, 0) for s in range(3) for e in range(3)])  # (450, 200)
    assert numbers.min() >= 0 and numbers.max() < 1
    counts, _ = np.histogram(numbers, bins=100, range=(0, 1))
    chi_square = ((counts - numbers.size / 100) ** 2 / (numbers.size / 100)).sum()
    assert chi_square < 150  # 99 degrees of freedom: more than 150 has a probability under 0.001
    for other in (np.roll(numbers, 1, axis=0), np.roll(numbers, 1, axis=1)):
        assert abs(np.corrcoef(numbers.ravel(), other.ravel())[0, 1]) < 0.02


def test_a_vocabulary_of_special_tokens_alone_is_refused():
    with pytest.raises(ValueError, match="nothing to predict"):
        Masker(5, MASK, SPECIAL)
