"""The metrics of tasks: what holds for all inputs; the numbers worked by hand stand in the docstrings."""
import numpy as np
import pytest

from minibert.finetuning.metrics import CLASSIFICATION, METRICS, REGRESSION, f1, matthews, pearson, ranks, spearman


@pytest.mark.parametrize("metric", METRICS)
def test_a_perfect_answer_scores_one(metric):
    assert METRICS[metric]([0, 1, 2, 1], [0, 1, 2, 1]) == pytest.approx(1.0)


@pytest.mark.parametrize("metric", ["matthews", *REGRESSION])
def test_always_the_same_answer_is_worth_nothing(metric):
    assert METRICS[metric]([0, 1, 1, 0], [1, 1, 1, 1]) == 0.0


def test_matthews_of_two_classes_is_the_correlation_of_zeros_and_ones():
    """Both are the phi coefficient; one is computed from counts, the other from means."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        right, given = rng.integers(0, 2, (2, 30))
        assert matthews(right.tolist(), given.tolist()) == pytest.approx(pearson(right, given))


def test_f1_of_two_classes_asks_for_the_second_one():
    assert f1([0, 0, 0, 1], [0, 0, 0, 0]) == 0.0  # three of four right, and the one that was looked for not found
    assert f1([1, 1, 1, 0], [1, 1, 1, 1]) == pytest.approx(6 / 7)


def test_spearman_sees_the_order_alone():
    numbers = np.random.default_rng(1).normal(size=50)
    assert spearman(numbers, np.exp(numbers)) == pytest.approx(1.0) and spearman(numbers, -numbers**3) == pytest.approx(-1.0)
    assert pearson(numbers, np.exp(numbers)) < 0.95


def test_ranks_add_up_whatever_is_equal():
    values = np.random.default_rng(2).integers(0, 5, 40)
    assert ranks(values).sum() == 40 * 41 / 2


def test_labels_and_numbers_have_metrics_of_their_own():
    assert not set(CLASSIFICATION) & set(REGRESSION)
