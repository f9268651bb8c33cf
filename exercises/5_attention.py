"""Attention in four lines (chapter 7; Vaswani et al. 2017, section 3.2.1).

q, k, v: torch tensors (B, nh, T, hs); mask: None, or a tensor that is added to the scores,
broadcast to (B, nh, T, T): 0 where a query may look, a huge negative number where it may not

    scores     the dot product of each query with each key, divided by the square root of hs
    weights    the softmax of each query's scores: they sum to 1
    result     for each query, the sum of the values, each multiplied by its weight

Return the result (B, nh, T, hs).
"""


def attention(q, k, v, mask=None):
    raise NotImplementedError
