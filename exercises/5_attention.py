"""Attention in four lines (chapter 7; Vaswani et al. 2017, section 3.2.1).

q, k, v: tensors (B, nh, T, hs) of torch. ``mask``: None, or a tensor that is added to the scores, broadcast to (B, nh, T, T): 0 where a query may
look and a huge negative number where it may not. Return (B, nh, T, hs).

    scores     how much each query wants each key: their products, divided by the square root of hs
    weights    the softmax of each query's scores: they sum to 1
    result     for each query the mean of the values, by its weights
"""


def attention(q, k, v, mask=None):
    raise NotImplementedError
