"""The word vectors are used twice: words are looked up in them, and hidden vectors are scored with them (tied, Press and Wolf 2017).

    rows, vectors = look_up(ids, word)          in place of  word(ids), word.weight
    logits = score(hidden, vectors, bias)       in place of  F.linear(hidden, vectors, bias)

The two give the same numbers as what stands beside them, their twins. What differs is the memory of the backward pass on a CPU. With 52,000
words of 768 numbers the gradient of the vectors takes 160 MB, and autograd makes four tensors of that kind: the bf16 copy of the vectors that
autocast keeps, a bf16 gradient, its float32 copy, and the gradient of the looked-up words, zero in all but a few hundred rows, to be added to
that. Here the product is made for a part of the vocabulary at a time, each part cast when it is needed, and the rows are added to the one
gradient that there is.

The system finds and clears those 160 MB anew in every step, which takes a twentieth of it, unless a loop says that it is done with them: then the
next gradient is made in the same memory.

    keep_memory(word)                           in place of  word.weight.grad = None

The rows are added in place to a gradient that ``score`` has made for this graph and handed over; to a copy of any other, which somebody may
hold. Not supported: ``vectors`` or hooks on them as what a gradient is asked for (autograd.grad beside word.weight's: the rows may be in it),
gradients of gradients, torch.func, vmap. For these take the twins: tied.sparing = lambda tensor: False.

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
    handed = []  # the gradient that ``score`` has made, from its backward pass to that of the words
    rows, vectors = _LookUp.apply(ids, word.weight, word.padding_idx, handed)
    vectors.handed, vectors.spare = handed, word.__dict__.setdefault("spare", Spare())
    return rows, vectors


def score(hidden, vectors, bias):
    """hidden (M, H), vectors (V, H), bias (V,) -> logits (M, V), in the type of autocast."""
    handed = getattr(vectors, "handed", None)
    if hidden.dim() != 2 or not sparing(vectors) or not torch.is_autocast_enabled("cpu"):  # without autocast nothing is copied
        return F.linear(hidden, vectors if handed is None else _HandOver.apply(vectors, handed), bias)
    return _Score.apply(hidden.to(torch.get_autocast_dtype("cpu")), vectors, bias, handed, getattr(vectors, "spare", None))


def keep_memory(word):
    """After a step: word.weight.grad is None, and its memory is there for the next gradient. Nobody may hold that gradient any more."""
    if "spare" in word.__dict__:
        word.spare.keep(word.weight.grad)
    word.weight.grad = None


class Spare:
    """The memory of a gradient (V, H) between two steps. Nothing is kept where ``_Score`` makes none, as in float32."""

    def __init__(self):
        self.memory, self.asked = None, False

    def take(self, like):
        """A tensor like ``like``, of any content; the memory is no longer here, so that autograd may make it the gradient without a copy."""
        memory, self.memory, self.asked = self.memory, None, True
        fits = memory is not None and (memory.shape, memory.dtype) == (like.shape, like.dtype)
        return memory if fits else torch.empty_like(like)

    def keep(self, gradient):
        """gradient: None is not kept, nor is a part of something larger (of a bucket of DDP's, which keeps it itself)."""
        if self.asked and gradient is not None and not gradient._is_view():
            self.memory = gradient


class _LookUp(torch.autograd.Function):
    """The backward pass has the gradient of the scores, (V, H), when it comes to the words, and adds their rows to it."""

    @staticmethod
    def forward(ctx, ids, vectors, padding, handed):
        ctx.save_for_backward(ids)
        ctx.padding, ctx.handed, ctx.like = padding, handed, (vectors.shape, vectors.dtype)
        ctx.set_materialize_grads(False)
        return F.embedding(ids, vectors), vectors.view_as(vectors)

    @staticmethod
    @once_differentiable
    def backward(ctx, rows, gradient):
        """Gradients of the rows (B, T, H) and of the vectors as ``score`` used them (V, H), None where there is none -> of all uses, (V, H)."""
        own = any(gradient is one for one in ctx.handed)  # not where autograd has added another use's gradient to it
        ctx.handed.clear()
        if gradient is None:  # nothing was scored
            gradient, own = torch.zeros(ctx.like[0], dtype=ctx.like[1]), True
        if rows is not None:
            ids, = ctx.saved_tensors
            ids, rows = ids.flatten(), rows.flatten(0, -2)
            if ctx.padding is not None:  # the vector of padding gets no gradient from its use as an input
                seen = ids != ctx.padding
                ids, rows = ids[seen], rows[seen]
            gradient = gradient if own else gradient.clone(memory_format=torch.contiguous_format)  # one that was expanded: each number by itself
            gradient.index_add_(0, ids, rows.to(gradient.dtype))
        return None, gradient, None, None


class _HandOver(torch.autograd.Function):
    """vectors -> vectors for the one product of ``F.linear``, which makes their gradient for nobody else."""

    @staticmethod
    def forward(ctx, vectors, handed):
        ctx.handed = handed
        return vectors.view_as(vectors)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        """The product's gradient of the vectors (V, H), passed on; ``_LookUp`` is told that it may write into it."""
        ctx.handed.append(gradient)
        return gradient, None


class _Score(torch.autograd.Function):
    """hidden (M, H) in bf16 or fp16, vectors (V, H) and bias (V,) in float32 -> (M, V) in the type of hidden, part by part of V."""

    @staticmethod
    def forward(ctx, hidden, vectors, bias, handed=None, spare=None):
        ctx.save_for_backward(hidden, vectors)
        ctx.handed, ctx.spare = handed, spare or Spare()
        logits = hidden.new_empty(len(hidden), len(vectors))
        for part in parts(len(vectors)):
            torch.addmm(bias[part].to(hidden.dtype), hidden, vectors[part].to(hidden.dtype).T, out=logits[:, part])
        return logits

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        """Gradient of the logits (M, V) -> those of hidden (M, H) in its type, of the vectors (V, H) and of the bias (V,) in float32."""
        hidden, vectors = ctx.saved_tensors
        for_hidden = torch.zeros(hidden.shape)  # float32: a sum over the parts
        for_vectors = ctx.spare.take(vectors)
        for part in parts(len(vectors)):
            some = gradient[:, part]  # (M, part)
            for_hidden += some @ vectors[part].to(hidden.dtype)
            for_vectors[part] = some.T @ hidden
        if ctx.handed is not None:
            ctx.handed.append(for_vectors)
        return for_hidden.to(hidden.dtype), for_vectors, gradient.sum(0, dtype=torch.float32), None, None


def parts(count):
    """Slices of PART each, the last one smaller. 10,000 -> 0:4096, 4096:8192, 8192:10000"""
    return [slice(start, min(start + PART, count)) for start in range(0, count, PART)]
