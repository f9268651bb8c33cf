"""How good the answers are: the metrics that GLUE's tasks use (Wang et al. 2018, table 1), each from two equally long lists.

    accuracy             SST-2, MNLI, QNLI, RTE
    f1                   MRPC, QQP, beside accuracy
    matthews             CoLA
    pearson, spearman    STS-B, which is a regression

All are better when higher. Where a metric is 0/0 it is 0 here: who always gives the same answer has shown no skill.
"""
import math
from collections import Counter

import numpy as np


def accuracy(right, given):
    """Share of the answers that are right.

    >>> accuracy([1, 1, 0, 0], [1, 0, 0, 0])    # three of four
    0.75
    """
    return float(np.mean(np.asarray(right) == np.asarray(given)))


def f1(right, given):
    """2 TP / (2 TP + FP + FN) of the classes numbered from 0: of class 1 where there are two, else the mean over all classes.

    >>> f1([1, 1, 1, 0, 0], [1, 1, 0, 1, 0])    # TP 2, FP 1, FN 1
    0.6666666666666666
    >>> round(f1([0, 1, 2, 2], [0, 2, 2, 2]), 4)    # 1, 0 and 2 x 2 / (2 x 2 + 1) = 0.8
    0.6
    """
    right, given = np.asarray(right), np.asarray(given)
    classes = range(int(max(right.max(), given.max())) + 1)
    scores = [_over(2 * np.sum((right == c) & (given == c)), np.sum(right == c) + np.sum(given == c)) for c in classes]
    return scores[1] if len(scores) == 2 else float(np.mean(scores))


def matthews(right, given):
    """Matthews' correlation of two labellings, -1 to 1; 0 is chance. For any number of classes (Gorodkin 2004, equation 8).

    With N answers, C right ones, and a class k that is right t_k times and given p_k times:
    (C N - sum t_k p_k) / sqrt((N^2 - sum t_k^2) (N^2 - sum p_k^2)).

    >>> round(matthews([1, 1, 1, 0], [1, 1, 0, 0]), 4)    # (3 x 4 - 3 x 2 - 1 x 2) / sqrt((16 - 10) (16 - 8)) = 4 / sqrt(48)
    0.5774
    >>> matthews([1, 1, 0], [1, 1, 1])
    0.0
    """
    n, correct = len(right), sum(a == b for a, b in zip(right, given))
    t, p = Counter(right), Counter(given)
    spread = (n * n - sum(count**2 for count in t.values())) * (n * n - sum(count**2 for count in p.values()))
    return _over(correct * n - sum(t[k] * p[k] for k in t), math.sqrt(spread))


def pearson(right, given):
    """Pearson's correlation of two lists of numbers, -1 to 1.

    >>> round(pearson([1, 2, 3], [1, 2, 6]), 4)    # about their means -1 0 1 and -2 -1 3: 5 / sqrt(2 x 14)
    0.9449
    """
    x, y = (np.asarray(values, dtype=np.float64) for values in (right, given))
    x, y = x - x.mean(), y - y.mean()
    return _over(x @ y, math.sqrt((x @ x) * (y @ y)))


def spearman(right, given):
    """Spearman's correlation: Pearson's of the ranks, so that only the order counts.

    >>> spearman([1, 2, 3], [1, 2, 6]), round(spearman([1, 2, 2, 3], [1, 2, 3, 4]), 4)    # ranks 1 2.5 2.5 4 and 1 2 3 4: 4.5 / sqrt(4.5 x 5)
    (1.0, 0.9487)
    """
    return pearson(ranks(right), ranks(given))


def ranks(values):
    """The rank of each value from 1 on; equal values share the mean of their ranks.

    >>> ranks([30, 10, 20, 20]).tolist()
    [4.0, 1.0, 2.5, 2.5]
    """
    _, place, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def _over(above, below):
    return float(above / below) if below else 0.0


CLASSIFICATION = {"accuracy": accuracy, "f1": f1, "matthews": matthews}
REGRESSION = {"pearson": pearson, "spearman": spearman}
METRICS = CLASSIFICATION | REGRESSION


def mean_and_std(values):
    """Mean and standard deviation (of a sample: divided by n - 1) of the scores of some seeds; the deviation of one is 0.

    >>> mean_and_std([0.7, 0.8, 0.9])
    (0.8, 0.1)
    """
    deviation = np.std(values, ddof=1) if len(values) > 1 else 0.0
    return round(float(np.mean(values)), 6), round(float(deviation), 6)
