"""The word vectors are used twice: words are looked up in them, and hidden vectors are scored with them (tied, Press and Wolf 2017).

    rows, vectors = look_up(ids, word)          in place of  word(ids), word.weight
    logits = score(hidden, vectors, bias)       in place of  F.linear(hidden, vectors, bias)

The two give the same numbers as what stands beside them, their twins. What differs is the memory of the backward pass on a CPU. With 52,000
words of 768 numbers the gradient of the vectors takes 160 MB, and autograd makes four tensors of that kind: the bf16 copy of the vectors that
autocast keeps, a bf16 gradient, its float32 copy, and the gradient of the looked-up words, zero in all but a few hundred rows, to be added to
that. Here the product is made for a part of the vocabulary at a time, each part cast when it is needed, and the rows are added to the one
gradient that there is.

On a GPU the copies take no time that counts, and a compiled model must see through to the products: there the twins are used.
"""
import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

PART = 4096  # words of a product: with 768 numbers each 6 MB in bf16, which stay in a processor's cache


def sparing(tensor):
    """Whether the ways of this module are taken."""
    return tensor.device.type == "cpu" and torch.is_grad_enabled() and not torch.compiler.is_compiling()


def look_up(ids, word):
    """ids (B, T), word: an nn.Embedding (V, H) -> rows (B, T, H), and the vectors (V, H) that ``score`` shall use: one gradient for both uses."""
    if not sparing(word.weight) or not word.weight.requires_grad:
        return word(ids), word.weight
    return _LookUp.apply(ids, word.weight, word.padding_idx)


def score(hidden, vectors, bias):
    """hidden (M, H), vectors (V, H), bias (V,) -> logits (M, V), in the type of autocast."""
    if hidden.dim() != 2 or not sparing(vectors) or not torch.is_autocast_enabled("cpu"):
        return F.linear(hidden, vectors, bias)  # without autocast nothing is copied
    return _Score.apply(hidden.to(torch.get_autocast_dtype("cpu")), vectors, bias)


class _LookUp(torch.autograd.Function):
    """The backward pass has the gradient of the scores, (V, H), when it comes to the words, and adds their rows to it, in place."""

    @staticmethod
    def forward(ctx, ids, vectors, padding):
        ctx.save_for_backward(ids)
        ctx.padding, ctx.shape = padding, vectors.shape
        ctx.set_materialize_grads(False)
        return F.embedding(ids, vectors), vectors.view_as(vectors)

    @staticmethod
    @once_differentiable
    def backward(ctx, rows, gradient):
        if gradient is None:  # nothing was scored
            gradient = torch.zeros(ctx.shape)
        if rows is not None:
            ids, = ctx.saved_tensors
            ids, rows = ids.flatten(), rows.flatten(0, -2)
            seen = ids != ctx.padding  # the vector of padding gets no gradient from its use as an input
            gradient.index_add_(0, ids[seen], rows[seen].to(gradient.dtype))
        return None, gradient, None


class _Score(torch.autograd.Function):
    """hidden (M, H) in bf16 or fp16, vectors (V, H) and bias (V,) in float32 -> (M, V) in the type of hidden, part by part of V."""

    @staticmethod
    def forward(ctx, hidden, vectors, bias):
        ctx.save_for_backward(hidden, vectors)
        logits = hidden.new_empty(len(hidden), len(vectors))
        for part in parts(len(vectors)):
            torch.addmm(bias[part].to(hidden.dtype), hidden, vectors[part].to(hidden.dtype).T, out=logits[:, part])
        return logits

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        hidden, vectors = ctx.saved_tensors
        for_hidden = torch.zeros(hidden.shape)  # float32: a sum over the parts
        for_vectors = torch.empty_like(vectors)
        for part in parts(len(vectors)):
            some = gradient[:, part]  # (M, part)
            for_hidden += some @ vectors[part].to(hidden.dtype)
            for_vectors[part] = some.T @ hidden
        return for_hidden.to(hidden.dtype), for_vectors, gradient.sum(0, dtype=torch.float32)


def parts(count):
    """Slices of PART each, the last one smaller. 10,000 -> 0:4096, 4096:8192, 8192:10000"""
    return [slice(start, min(start + PART, count)) for start in range(0, count, PART)]
