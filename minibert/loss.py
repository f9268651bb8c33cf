"""The loss of masked language modelling, and the same computed in cache.

The logits are the largest tensor of a step: as many rows as masked tokens, as many columns as the vocabulary. Written out step by step
(``cross_entropy`` below, the twin) they go through memory eight times: in bf16, in float, as log-probabilities, and back. But the gradient with
respect to the logits is known as soon as they are: softmax minus one at the right answer (Bridle 1990). So ``CrossEntropyInCache`` takes a few rows
at a time, which a processor's cache holds, and keeps nothing but that gradient, once, in the precision of the products.
"""
import torch
from torch.nn import functional as F

from minibert.masking import IGNORED

ROWS = 1 << 19  # numbers of the logits at once: 2 MiB in float, the cache of one core


def cross_entropy(hidden, vectors, bias, labels):
    """hidden (M, H), vectors (V, H), bias (V,), labels (M,) -> (sum over the labels that are not -100 of -log p(label), logits (M, V))"""
    logits = F.linear(hidden, vectors, bias)
    # float: a sum of V exponentials in bf16 would keep two digits
    return F.cross_entropy(logits.float(), labels, reduction="sum", ignore_index=IGNORED), logits


class CrossEntropyInCache(torch.autograd.Function):
    """The first value of ``cross_entropy``, with its gradients. ``CrossEntropyInCache.apply(hidden, vectors, bias, labels)``

    Under autocast products are made in its type, sums in float. Not for fp16: its loss is scaled up afterwards, and by then the small
    probabilities would be gone.
    """

    @staticmethod
    def forward(ctx, hidden, vectors, bias, labels):
        kind = hidden.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
        ctx.dtypes = hidden.dtype, vectors.dtype, bias.dtype
        hidden, vectors, bias = hidden.to(dtype), vectors.to(dtype), bias.to(dtype)
        gradient = torch.empty(len(hidden), len(vectors), dtype=dtype, device=hidden.device)  # (M, V), with respect to the logits
        total = torch.zeros((), dtype=torch.float64 if dtype == torch.float64 else torch.float32, device=hidden.device)
        size = max(1, ROWS // len(vectors))
        for rows, answers, out in zip(hidden.split(size), labels.split(size), gradient.split(size)):
            logits = F.linear(rows, vectors, bias).to(total.dtype)  # (m, V), m rows of M
            asked = (answers != IGNORED)[:, None]
            answers = answers.clamp(min=0)[:, None]
            log_sum = logits.logsumexp(dim=1, keepdim=True)  # (m, 1)
            total += ((log_sum - logits.gather(1, answers)) * asked).sum()
            probabilities = logits.sub_(log_sum).exp_()
            probabilities.scatter_add_(1, answers, torch.full_like(log_sum, -1.0))
            out.copy_(probabilities.mul_(asked))
        ctx.save_for_backward(hidden, vectors, gradient)
        return total

    @staticmethod
    def backward(ctx, upstream):
        hidden, vectors, gradient = ctx.saved_tensors
        # upstream scales what is small: (M, H), (V,), and hidden in place of the (V, H) that it makes
        found = (gradient @ vectors) * upstream, gradient.T @ (hidden * upstream.to(hidden.dtype)), gradient.sum(0) * upstream
        return *(value.to(dtype) for value, dtype in zip(found, ctx.dtypes)), None
