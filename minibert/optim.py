"""Optimizers, their parameter groups, and schedules of the learning rate and the batch size.

AdamW (Loshchilov and Hutter 2019) for everything, or Muon (Jordan et al. 2024) for the matrices of
blocks and head, with AdamW for the rest.
"""
import math
import statistics
from collections import defaultdict

import torch

from minibert.device import DTYPES

FRESH_RMS = 0.02  # of fresh weights: BertConfig's default initializer_range


def parameter_groups(model, weight_decay):
    """Return two groups of all trainable parameters: decayed and not decayed.

    >>> [len(group["params"]) for group in parameter_groups(torch.nn.Linear(2, 2), 0.01)]
    [1, 1]
    """
    # As in BERT's optimization.py, only matrices and embeddings are decayed: there is no reason why
    # a bias or the scale of a norm should be near zero.
    parameters = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in parameters if p.ndim >= 2]
    vectors = [p for p in parameters if p.ndim < 2]
    return [{"params": matrices, "weight_decay": weight_decay},
            {"params": vectors, "weight_decay": 0.0}]


def make_optimizer(model, config):
    """Return the optimizer of a TrainConfig."""
    groups = parameter_groups(model, config.weight_decay)
    # fused: one kernel updates all tensors, instead of a dozen small kernels for each
    adamw = {"lr": config.learning_rate, "betas": (config.adam_beta1, config.adam_beta2),
             "eps": config.adam_epsilon, "fused": True}
    if config.optimizer == "adamw":
        optimizer = torch.optim.AdamW(groups, **adamw)
    else:
        matrices = muon_matrices(model)
        groups[0]["params"] = [p for p in groups[0]["params"] if p not in matrices]
        groups.append({"params": list(matrices), "num_stacked": list(matrices.values()),
                       "lr": config.muon_learning_rate, "momentum": config.muon_momentum,
                       "weight_decay": config.weight_decay})
        optimizer = Muon(groups, DTYPES[config.precision], **adamw)
    for group in optimizer.param_groups:
        group["peak_lr"] = group["lr"]  # the training loop sets "lr" to a fraction of it
    return optimizer


def default_rate(model_config, factor=1):
    """Return a learning rate for trained weights: factor x 0.1 / (width x sqrt(layers)).

    It is for weights with a root mean square of 0.02, see ``relative_rates``.

    >>> from minibert.config import BertConfig
    >>> default_rate(BertConfig())
    3.8e-05
    """
    # The wider and deeper a model is, the less each weight may change for the same change of the
    # output (Yang et al. 2022 for the width, 2023 for the depth). 0.1 was measured with models of
    # 4 x 128 and 4 x 256 (docs/log.md). BERT-base's 3.8e-5 is inside the range that its authors
    # searched for fine-tuning.
    size = model_config.hidden_size * math.sqrt(model_config.num_hidden_layers)
    return float(f"{factor * 0.1 / size:.2g}")


def weight_scales(model):
    """Return {parameter: scale}, for ``relative_rates``.

    The scale of a matrix is the root mean square of its weights. The median of all matrices is the
    scale of vectors, whose own size means nothing, and of matrices of zeros.

    An embedding of 0.2, a matrix of 0.1 and one of 0.04 -> {embedding: 0.2, matrix: 0.1, other
    matrix: 0.04, each bias: 0.1}
    """
    scales = {p: p.detach().float().square().mean().sqrt().item() for p in model.parameters()
              if p.ndim > 1}
    matrices = [scale for p, scale in scales.items() if p.ndim == 2 and scale]
    typical = statistics.median(matrices or [FRESH_RMS])
    return {p: scales.get(p) or typical for p in model.parameters()}


def relative_rates(optimizer, scales):
    """Multiply the rate of each parameter by scales[parameter] / 0.02.

    AdamW moves a weight by about the rate per step, however large it is. Fresh weights have a root
    mean square (RMS) of 0.02. Pre-training with Muon and high rates leaves 0.1 to 0.3, which a rate
    for fresh weights hardly changes. With the RMS of each matrix as its scale, a step changes the
    same fraction of every matrix. (So do the relative step of Adafactor, Shazeer and Stern 2018,
    section 8, and the trust ratio of LAMB, You et al. 2019, which measure again in each step.)
    Weight decay stays the same fraction too.

    >>> layer = torch.nn.Linear(1, 1, bias=False)
    >>> optimizer = torch.optim.AdamW([{"params": [layer.weight], "peak_lr": 1e-3}])
    >>> relative_rates(optimizer, {layer.weight: 0.06})
    >>> [(round(group["peak_lr"], 6), group["scale"]) for group in optimizer.param_groups]
    [(0.003, 0.06)]
    """
    groups = []
    for group in optimizer.param_groups:
        for p in group["params"]:
            factor = scales[p] / group.get("scale", FRESH_RMS)  # a second call replaces the first
            groups.append(group | {"params": [p], "scale": scales[p],
                                   "peak_lr": group["peak_lr"] * factor,
                                   "weight_decay": group["weight_decay"] / factor})
    optimizer.param_groups[:] = groups


def muon_matrices(model):
    """Return {weight: number of matrices stacked in it} for the linear layers that Muon trains."""
    matrices = {}
    for name, module in model.named_modules():
        in_block_or_head = ".blocks." in name or name.endswith("head.dense")
        if in_block_or_head and isinstance(module, torch.nn.Linear) and module.weight.requires_grad:
            matrices[module.weight] = num_stacked(name, model.config)
    return matrices


def num_stacked(name, model_config):
    """Return how many matrices are stacked in the weight of the linear layer ``name``."""
    if name.endswith("attention.qkv"):
        return 3  # queries, keys and values
    if name.endswith("cross_attention.kv_proj"):
        return 2
    if name.endswith("mlp.up_proj") and model_config.gated:
        return 2  # the values and their gates
    return 1


class Muon(torch.optim.AdamW):
    """Muon for the groups that have "num_stacked", AdamW for the others (Jordan et al. 2024).

    The gradient of a matrix has a few large directions and many small ones that matter as much.
    Muon keeps a running mean of the gradients and moves by that mean with all directions made
    equally long: by U V^T instead of U S V^T.
    """

    def __init__(self, groups, dtype, **adamw):
        super().__init__(groups, **adamw)
        self.dtype = dtype  # of the matrix products

    @torch.no_grad()
    def step(self):
        """Update all parameters; change nothing if ``found_inf`` is 1."""
        # The training loop or the GradScaler sets this scalar tensor, as for AdamW's fused kernel:
        # 1 = a gradient is inf or NaN, change nothing.
        found_inf = getattr(self, "found_inf", None)
        keep = None  # a tensor on a GPU: 1 = take the step, 0 = change nothing
        if found_inf is not None and found_inf.device.type != "cpu":
            keep = 1 - found_inf  # reading the value would make the CPU wait for the GPU
        elif found_inf:
            return
        for group in self.param_groups:
            if "num_stacked" in group:
                self._step_matrices(group, keep)
        super().step()  # AdamW, for the parameters that still have a gradient

    def _step_matrices(self, group, keep=None):
        """Update Muon's matrices. All matrices of one shape are orthogonalized in one product."""
        scale = 1 if keep is None else keep
        momentum = group["momentum"]
        by_shape = defaultdict(list)  # (r, c) -> [(parameter, update (num_stacked, r, c)), ...]
        for p, num_matrices in zip(group["params"], group["num_stacked"]):
            if p.grad is None:
                continue
            state = self.state[p]
            if not state:
                state["step"] = torch.zeros(())
                state["mean"] = torch.zeros_like(p)
            if keep is not None:
                p.grad.masked_fill_(keep == 0, 0.0)  # a product would not do: 0 * NaN is NaN
            state["step"] += 1
            state["mean"].lerp_(p.grad, (1 - momentum) * scale)
            update = p.grad.lerp(state["mean"], momentum)  # Nesterov momentum
            p.grad = None  # so that AdamW skips this parameter
            update = update.view(num_matrices, -1, p.shape[1])  # (num_stacked, r, c)
            by_shape[update.shape[1:]].append((p, update))

        for (r, c), pairs in by_shape.items():
            counts = [len(update) for _, update in pairs]
            stacked = torch.cat([update for _, update in pairs])  # (n, r, c)
            stacked = orthogonalize(stacked, dtype=self.dtype).to(torch.float32)  # (n, r, c)
            lr = group["lr"] * max(1, r / c) ** 0.5  # tall matrices move further
            for (p, _), update in zip(pairs, stacked.split(counts)):
                p.mul_(1 - group["lr"] * group["weight_decay"] * scale)
                p.sub_(update.reshape(p.shape).mul_(lr * scale))


def orthogonalize(matrices, steps=5, dtype=torch.float32):
    """Return each U S V^T of (n, r, c) as nearly U V^T: all singular values close to 1.

    >>> orthogonalize(torch.tensor([[[0.0, 3.0], [0.5, 0.0]]])).round(decimals=1)
    tensor([[[0.0000, 0.7000],
             [1.0000, 0.0000]]])
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices  # wide: X X^T is the smaller square
    # Now no singular value is above 1. Cast afterwards: fp16 cannot hold 1e-9.
    x = (x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)).to(dtype)
    # A Newton-Schulz iteration (Jordan et al. 2024): each step applies a x + b x^3 + c x^5 to the
    # singular values. It lifts small ones fast and leaves those near 1 between about 0.7 and 1.2,
    # which is close enough. X X^T X has the singular values x^3 and the directions of X, so matrix
    # products are sufficient: no decomposition is computed.
    for _ in range(steps):
        square = x @ x.mT  # (n, r, r)
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


@torch.no_grad()
def update_average(average, model, n, step, is_finite):
    """Move the averaged weights towards those of the model, so that they forget the first ones.

    average += n / (step + n) (weights - average): a mean of all steps in which step k counts about
    k^(n - 1) times, so the last 1/n of the steps have about two thirds of the weight
    (polynomial-decay averaging, Shamir and Zhang 2013). step: the number of steps before this one,
    so the first step replaces the initial weights; is_finite: whether this step was taken, a tensor
    (reading it would make the CPU wait).
    """
    amount = n / (step + n) * is_finite
    for mean, weight in zip(average.parameters(), model.parameters()):
        mean.lerp_(weight, amount)


def batches_per_step(progress, config):
    """Return how many batches a step accumulates at ``progress`` (0 to 1); 1 without a batch ramp.

    The batch grows from ramp_from to batch_size in equal steps over the fraction ``batch_ramp`` of
    the run (Geiping and Goldstein 2022, section 4.3).

    >>> from minibert.config import TrainConfig
    >>> config = TrainConfig(batch_size=32, ramp_from=8, batch_ramp=0.5)
    >>> [batches_per_step(progress, config) for progress in (0, 0.12, 0.13, 0.3, 0.5, 1)]
    [1, 1, 2, 3, 4, 4]
    """
    if not config.batch_ramp:
        return 1
    # Small batches learn more from each example while the gradient is large; large ones are less
    # noisy later.
    largest = config.batch_size // config.ramp_from
    return min(largest, 1 + int(largest * progress / config.batch_ramp))


def lr_multiplier(progress, schedule, warmup, decay):
    """Return the factor of the peak learning rate at ``progress`` (0: start of the run, 1: end).

    linear   rises from 0 to 1 during ``warmup``, then decays linearly to 0 (Devlin et al. 2018,
             appendix A.2)
    stable   rises, stays at 1, and decays to 0 in the last ``decay`` of the run (warm-up, stable,
             decay: Hu et al. 2024, section 4)

    >>> [round(lr_multiplier(p, "linear", 0.1, 0), 3) for p in (0.05, 0.1, 0.55, 1.0)]
    [0.5, 1.0, 0.5, 0.0]
    >>> [round(lr_multiplier(p, "stable", 0.1, 0.2), 3) for p in (0.05, 0.5, 0.8, 0.9, 1.0)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    if schedule == "linear":
        decay_length = 1 - warmup
    elif schedule == "stable":
        decay_length = decay
    else:
        raise ValueError(f"unknown schedule {schedule!r}")
    progress = min(max(progress, 0.0), 1.0)
    if progress < warmup:
        return progress / warmup
    if not decay_length:
        return 1.0
    return min(1.0, (1 - progress) / decay_length)
