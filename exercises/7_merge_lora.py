"""Merge LoRA's matrices into the weight that they were trained beside (chapter 11; Hu et al. 2021, section 4.1).

A layer computes W x. With LoRA, W stands still and two thin matrices learn: W x + B (A x) * alpha / rank. After training the three are one matrix of
the shape of W, and nothing is slower than before. Return it.

    weight   W (out, in)        a   A (rank, in)        b   B (out, rank)        alpha   a number; the rank is to be seen from A

All are tensors of torch; ``weight`` itself must stay as it is.
"""


def merge_lora(weight, a, b, alpha):
    raise NotImplementedError
