"""The metrics of GLUE's tasks (Wang et al. 2018, table 1), each computed from two lists.

    accuracy             SST-2, MNLI, QNLI, RTE
    f1                   MRPC, QQP, together with accuracy; GLUE's is of the label 1, which is the
                         more frequent one in MRPC, ours of the rarer label
    matthews             CoLA
    pearson, spearman    STS-B, a regression

Higher is better for all of them. A metric that would be 0/0 is 0: a model that always gives the
same answer has shown no skill. Pearson's and Spearman's correlations are None, undefined.
"""
import math
from collections import Counter

import numpy as np


def accuracy(labels, predictions):
    """Return the share of correct predictions.

    >>> accuracy([1, 1, 0, 0], [1, 0, 0, 0])    # three of four
    0.75
    """
    return float(np.mean(np.asarray(labels) == np.asarray(predictions)))


def f1(labels, predictions, positive=1, num_classes=None):
    """Return 2 TP / (2 TP + FP + FN) for one class of two, or the mean over more than two classes.

    num_classes: of the model; by default as many as the labels and predictions need, at least two.
    A class that is neither a label nor a prediction is not in the mean.

    >>> f1([1, 1, 1, 0, 0], [1, 1, 0, 1, 0])    # TP 2, FP 1, FN 1
    0.6666666666666666
    >>> f1([1, 1, 1, 0, 0], [1, 1, 0, 1, 0], positive=0)    # TP 1, FP 1, FN 1
    0.5
    >>> round(f1([0, 1, 2, 2], [0, 2, 2, 2]), 4)    # 1, 0 and 2 x 2 / (2 x 2 + 1) = 0.8
    0.6
    >>> f1([0, 0, 1, 1], [0, 0, 1, 1], num_classes=3)    # class 2 does not occur
    1.0
    """
    labels = np.asarray(labels)
    predictions = np.asarray(predictions)
    present = np.union1d(labels, predictions).tolist()
    num_classes = num_classes or max(2, present[-1] + 1)
    scores = []
    for c in [positive] if num_classes == 2 else present:
        true_positives = np.sum((labels == c) & (predictions == c))
        scores.append(_divide(2 * true_positives, np.sum(labels == c) + np.sum(predictions == c)))
    return float(np.mean(scores))


def matthews(labels, predictions):
    """Return Matthews' correlation, from -1 to 1; 0 is chance.

    For any number of classes (Gorodkin 2004, equation 8). With N examples, C correct predictions,
    and class k being the label t_k times and the prediction p_k times, it is
    (C N - sum t_k p_k) / sqrt((N^2 - sum t_k^2) (N^2 - sum p_k^2)).

    >>> # (3 x 4 - 3 x 2 - 1 x 2) / sqrt((16 - 10) (16 - 8)) = 4 / sqrt(48)
    >>> round(matthews([1, 1, 1, 0], [1, 1, 0, 0]), 4)
    0.5774
    >>> matthews([1, 1, 0], [1, 1, 1])
    0.0
    """
    n = len(labels)
    num_correct = sum(a == b for a, b in zip(labels, predictions))
    t = Counter(labels)
    p = Counter(predictions)
    covariance = num_correct * n - sum(t[k] * p[k] for k in t)
    label_variance = n * n - sum(count**2 for count in t.values())
    prediction_variance = n * n - sum(count**2 for count in p.values())
    return _divide(covariance, math.sqrt(label_variance * prediction_variance))


def pearson(labels, predictions):
    """Return Pearson's correlation, from -1 to 1; None if all labels or predictions are equal.

    >>> # minus their means: -1 0 1 and -2 -1 3; 5 / sqrt(2 x 14)
    >>> round(pearson([1, 2, 3], [1, 2, 6]), 4)
    0.9449
    """
    x = np.asarray(labels, dtype=np.float64)
    y = np.asarray(predictions, dtype=np.float64)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    x = x - x.mean()
    y = y - y.mean()
    return float(x @ y / math.sqrt((x @ x) * (y @ y)))


def spearman(labels, predictions):
    """Return Spearman's correlation: Pearson's of the ranks, so that only the order counts.

    >>> spearman([1, 2, 3], [1, 2, 6])
    1.0
    >>> # ranks 1 2.5 2.5 4 and 1 2 3 4: 4.5 / sqrt(4.5 x 5)
    >>> round(spearman([1, 2, 2, 3], [1, 2, 3, 4]), 4)
    0.9487
    """
    return pearson(ranks(labels), ranks(predictions))


def ranks(values):
    """Return the rank of each value, from 1; equal values share the mean of their ranks.

    >>> ranks([30, 10, 20, 20]).tolist()
    [4.0, 1.0, 2.5, 2.5]
    """
    _, index, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    last_rank = np.cumsum(counts)  # the rank of the last of each group of equal values
    return (last_rank - (counts - 1) / 2)[index]


def multilabel_scores(labels, predictions):
    """Return the F1 over all decisions together, and the mean of each label's F1.

    labels, predictions: arrays (N, labels) of 0 and 1.

    >>> # of the first label TP 2, FP 0, FN 0; of the second TP 0, FP 1, FN 1
    >>> multilabel_scores(np.array([[1, 1], [1, 0]]), np.array([[1, 0], [1, 1]]))
    {'micro_f1': 0.6666666666666666, 'macro_f1': 0.5}
    """
    true_positives = (labels * predictions).sum(0)
    counts = labels.sum(0) + predictions.sum(0)  # 2 TP + FP + FN
    of_labels = [_divide(2 * tp, count) for tp, count in zip(true_positives, counts)]
    return {"micro_f1": _divide(2 * true_positives.sum(), counts.sum()),
            "macro_f1": float(np.mean(of_labels))}


def is_entity_tag(tag):
    """Return whether a tag is one of the scheme IOB2: O, or B- or I- and a type."""
    return tag == "O" or tag[:2] in ("B-", "I-")


def entities(tags):
    """Return the set of (type, start, end) of the entities in a sentence's tags.

    An entity begins at B-, and also at an I- that does not continue one of the same type, as in
    CoNLL's evaluation script and in seqeval.

    >>> sorted(entities(["B-PER", "I-PER", "O", "I-LOC", "B-LOC", "I-PER"]))
    [('LOC', 3, 4), ('LOC', 4, 5), ('PER', 0, 2), ('PER', 5, 6)]
    """
    found = []
    previous = "O"
    for i, tag in enumerate(tags):
        if tag.startswith("I-") and previous != "O" and previous[2:] == tag[2:]:
            found[-1] = (*found[-1][:2], i + 1)
        elif tag != "O":
            found.append((tag[2:], i, i + 1))
        previous = tag
    return set(found)


def entity_scores(labels, predictions):
    """Return {"f1", "precision", "recall"} of the entities in sentences of tags.

    An entity is correct if its type and both of its ends are.

    >>> entity_scores([["B-A", "I-A", "O", "B-B"]], [["B-A", "O", "O", "B-B"]])
    {'f1': 0.5, 'precision': 0.5, 'recall': 0.5}
    """
    num_correct = num_labels = num_predicted = 0
    for truth, predicted in zip(map(entities, labels), map(entities, predictions)):
        num_correct += len(truth & predicted)
        num_labels += len(truth)
        num_predicted += len(predicted)
    return {"f1": _divide(2 * num_correct, num_labels + num_predicted),
            "precision": _divide(num_correct, num_predicted),
            "recall": _divide(num_correct, num_labels)}


def _divide(numerator, denominator):
    return float(numerator / denominator) if denominator else 0.0


CLASSIFICATION = {"accuracy": accuracy, "f1": f1, "matthews": matthews}
REGRESSION = {"pearson": pearson, "spearman": spearman}


def score_to_compare(score):
    """Return a score as a number: an undefined one counts as 0, no skill."""
    return 0.0 if score is None else score


def listed(scores):
    """Return {name: score} as text for the screen.

    >>> listed({"accuracy": 0.9, "f1": 0.5}), listed({"pearson": None})
    ('accuracy 0.9000, f1 0.5000', 'pearson undefined (all scores are equal)')
    """
    texts = {name: "undefined" if score is None else f"{score:.4f}"
             for name, score in scores.items()}
    reason = " (all scores are equal)" if None in scores.values() else ""
    return ", ".join(f"{name} {text}" for name, text in texts.items()) + reason


def mean_and_std(values):
    """Return the mean and the sample standard deviation (divided by n - 1; 0 for one value).

    Both are None if one of the values is.

    >>> mean_and_std([0.7, 0.8, 0.9])
    (0.8, 0.1)
    """
    if None in values:
        return None, None
    std = np.std(values, ddof=1) if len(values) > 1 else 0.0
    return round(float(np.mean(values)), 6), round(float(std), 6)
