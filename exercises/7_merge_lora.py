"""Merge LoRA's matrices into the weight that they update (chapter 11; Hu et al. 2021, section 4.1).

A layer computes W x. With LoRA, W is frozen and two low-rank matrices are trained:
W x + B (A x) * alpha / rank. After training, the three can be merged into one matrix with the shape
of W, so that inference is as fast as before.

    weight   W (out, in)
    a        A (rank, in)
    b        B (out, rank)
    alpha    a number

All matrices are torch tensors. Return the merged matrix, and do not change ``weight``.
"""


def merge_lora(weight, a, b, alpha):
    raise NotImplementedError
