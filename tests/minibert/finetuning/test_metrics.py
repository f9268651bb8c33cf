"""Properties of the metrics; numbers worked by hand are in the docstrings."""
import numpy as np
import pytest

from minibert.finetuning.metrics import (
    CLASSIFICATION,
    REGRESSION,
    matthews,
    pearson,
    ranks,
    spearman,
)

METRICS = CLASSIFICATION | REGRESSION


@pytest.mark.parametrize("metric", METRICS)
def test_perfect_predictions_score_one(metric):
    assert METRICS[metric]([0, 1, 2, 1], [0, 1, 2, 1]) == pytest.approx(1.0)


@pytest.mark.parametrize("metric", ["matthews", *REGRESSION])
def test_a_constant_answer_scores_zero(metric):
    assert METRICS[metric]([0, 1, 1, 0], [1, 1, 1, 1]) == 0.0


def test_matthews_of_two_classes_is_pearson_of_zeros_and_ones():
    """Both are the phi coefficient; one is computed from counts, the other from means."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        labels, predictions = rng.integers(0, 2, (2, 30))
        expected = pearson(labels, predictions)
        assert matthews(labels.tolist(), predictions.tolist()) == pytest.approx(expected)


def test_spearman_depends_only_on_the_order():
    values = np.random.default_rng(1).normal(size=50)
    assert spearman(values, np.exp(values)) == pytest.approx(1.0)
    assert spearman(values, -values**3) == pytest.approx(-1.0)
    assert pearson(values, np.exp(values)) < 0.95


def test_ranks_have_the_same_sum_with_ties():
    values = np.random.default_rng(2).integers(0, 5, 40)
    assert ranks(values).sum() == 40 * 41 / 2
