"""Properties of the metrics; numbers worked by hand are in the docstrings."""
import random

import numpy as np
import pytest

from minibert.finetuning.metrics import (
    CLASSIFICATION,
    REGRESSION,
    entities,
    entity_scores,
    f1,
    listed,
    matthews,
    mean_and_std,
    multilabel_scores,
    pearson,
    ranks,
    score_to_compare,
    spearman,
)

METRICS = CLASSIFICATION | REGRESSION


@pytest.mark.parametrize("metric", METRICS)
def test_perfect_predictions_score_one(metric):
    assert METRICS[metric]([0, 1, 2, 1], [0, 1, 2, 1]) == pytest.approx(1.0)


def test_a_constant_answer_has_no_skill():
    assert matthews([0, 1, 1, 0], [1, 1, 1, 1]) == 0.0


@pytest.mark.parametrize("metric", [pearson, spearman])
def test_correlations_with_equal_numbers_are_undefined(metric):
    """The mean of three times 0.1 is not 0.1 in binary, but the variance is 0 all the same."""
    assert metric([1, 2, 4], [0.1] * 3) is metric([0.1] * 3, [1, 2, 4]) is None


def test_matthews_of_two_classes_is_pearson_of_zeros_and_ones():
    """Both are the phi coefficient; one is computed from counts, the other from means."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        labels, predictions = rng.integers(0, 2, (2, 30))
        expected = pearson(labels, predictions)
        assert matthews(labels.tolist(), predictions.tolist()) == pytest.approx(expected)


def test_an_undefined_score_is_worse_than_any_skill_and_better_than_less_than_none():
    assert max([-0.1, None, 0.1], key=score_to_compare) == 0.1
    assert max([-0.1, None], key=score_to_compare) is None


def test_the_reason_for_undefined_scores_is_given_once():
    shown = listed({"pearson": None, "spearman": None})
    assert shown == "pearson undefined, spearman undefined (all scores are equal)"


def test_a_mean_over_seeds_needs_every_score():
    assert mean_and_std([0.5, None]) == (None, None)


def test_spearman_depends_only_on_the_order():
    values = np.random.default_rng(1).normal(size=50)
    assert spearman(values, np.exp(values)) == pytest.approx(1.0)
    assert spearman(values, -values**3) == pytest.approx(-1.0)
    assert pearson(values, np.exp(values)) < 0.95


def test_ranks_have_the_same_sum_with_ties():
    values = np.random.default_rng(2).integers(0, 5, 40)
    assert ranks(values).sum() == 40 * 41 / 2


def random_tags(seed, num_sentences=60):
    """Return (labels, predictions) of short sentences; many are ill-formed, such as O I-A."""
    rng = random.Random(seed)
    tags = ["O", "B-A", "I-A", "B-B", "I-B", "I-"]
    lengths = [rng.randrange(1, 8) for _ in range(num_sentences)]
    return [[rng.choices(tags, k=length) for length in lengths] for _ in range(2)]


def entities_by_trying_all_spans(tags):
    n = len(tags)
    spans = [(i, j) for i in range(n) for j in range(i + 1, n + 1) if tags[i] != "O"]
    found = set()
    for i, j in spans:
        kind = tags[i][2:]
        inside = "I-" + kind
        continues_another = i > 0 and tags[i] == inside and tags[i - 1] in (inside, "B-" + kind)
        is_closed = j == n or tags[j] != inside
        if not continues_another and is_closed and all(tag == inside for tag in tags[i + 1 : j]):
            found.add((kind, i, j))
    return found


def test_entities_are_the_spans_that_a_slow_search_finds():
    for seed in range(20):
        for tags in random_tags(seed)[0]:
            assert entities(tags) == entities_by_trying_all_spans(tags), tags


@pytest.mark.parity
def test_entity_scores_are_those_of_seqeval():
    seqeval = pytest.importorskip("seqeval.metrics")
    for seed in range(50):
        labels, predictions = random_tags(seed, num_sentences=12)
        expected = {"f1": seqeval.f1_score(labels, predictions),
                    "precision": seqeval.precision_score(labels, predictions),
                    "recall": seqeval.recall_score(labels, predictions)}
        assert entity_scores(labels, predictions) == pytest.approx(expected)


def test_no_entities_score_zero():
    nothing = {"f1": 0.0, "precision": 0.0, "recall": 0.0}
    assert entity_scores([["O", "O"]], [["O", "O"]]) == nothing
    assert entity_scores([["B-A"]], [["O"]]) == entity_scores([["O"]], [["B-A"]]) == nothing


def test_macro_f1_of_labels_that_exclude_each_other_is_that_of_classes():
    labels, predictions = np.random.default_rng(3).integers(0, 3, (2, 40))
    scores = multilabel_scores(np.eye(3)[labels], np.eye(3)[predictions])
    assert scores["macro_f1"] == pytest.approx(f1(labels, predictions))
    assert scores["micro_f1"] == pytest.approx((labels == predictions).mean())
