"""The optimisers, their parameter groups, and the learning-rate schedules.

AdamW (Loshchilov & Hutter 2019) with weight decay on matrices and embeddings only: a bias or a norm's scale has no
reason to be near zero (BERT's optimization.py leaves out the same ones). Or Muon (Jordan 2024) for the matrices inside the
blocks and the head, with AdamW for the rest.
"""
from collections import defaultdict

import torch

from minibert.device import DTYPES


def parameter_groups(model, weight_decay):
    """Two groups, decayed and not; every parameter is in exactly one of them.

    >>> [len(g["params"]) for g in parameter_groups(torch.nn.Linear(2, 2), 0.01)]    # weight | bias
    [1, 1]
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in parameters if p.ndim >= 2]
    vectors = [p for p in parameters if p.ndim < 2]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]


def make_optimizer(model, config):
    """The optimiser of a TrainConfig. Its groups hold their peak rate as "peak_lr"; the loop sets "lr" from it at every step.

    AdamW is fused: one kernel updates all tensors, in place of a dozen small ones for each.
    """
    groups = parameter_groups(model, config.weight_decay)
    options = {"lr": config.learning_rate, "betas": (config.adam_beta1, config.adam_beta2), "eps": config.adam_epsilon, "fused": True}
    if config.optimizer == "adamw":
        optimizer = torch.optim.AdamW(groups, **options)
    else:
        inside = {name: m for name, m in model.named_modules() if ".blocks." in name or name.endswith("head.dense")}
        parts = {m.weight: num_stacked(name, model.config) for name, m in inside.items() if isinstance(m, torch.nn.Linear) and m.weight.requires_grad}
        groups[0]["params"] = [p for p in groups[0]["params"] if p not in parts]
        groups.append({"params": list(parts), "parts": list(parts.values()), "lr": config.muon_learning_rate,
                       "momentum": config.muon_momentum, "weight_decay": config.weight_decay})
        optimizer = Muon(groups, DTYPES[config.precision], **options)
    for group in optimizer.param_groups:
        group["peak_lr"] = group["lr"]
    return optimizer


def num_stacked(name, model_config):
    """Return how many matrices are stacked in the weight of the linear layer ``name``."""
    if name.endswith("attention.qkv"):
        return 3  # queries, keys and values
    if name.endswith("mlp.up_proj") and model_config.gated:
        return 2  # the values and their gates
    return 1


class Muon(torch.optim.AdamW):
    """Muon for the groups that have "parts", AdamW for the others (Jordan et al. 2024, "Muon: an optimizer for hidden layers").

    A gradient of a matrix has a few large directions and many small ones that matter as much. Muon keeps a running mean of
    the gradients (``momentum``) and moves by that mean with all its directions made equally long: U V^T in place of U S V^T,
    times the rate and, for matrices taller than wide, sqrt(rows / columns).

    parts: for each parameter, how many matrices are stacked in it (queries, keys and values are one parameter, but three maps).
    dtype: in which the products are made; bf16 or fp16 is enough where the hardware has it. After ``step`` these parameters have no ``grad``.
    found_inf: as for AdamW's fused kernel a tensor (), set from outside: where it is 1, a step changes nothing, and no GPU has been asked.
    """

    def __init__(self, groups, dtype, **adamw):
        super().__init__(groups, **adamw)
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure=None):
        """One update of everything. ``closure`` as for every optimiser of PyTorch."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        broken = getattr(self, "found_inf", None)
        asked = broken is None or broken.device.type == "cpu"
        if asked and broken:
            return loss
        for group in self.param_groups:
            if "parts" in group:
                self._step_matrices(group, None if asked else 1 - broken)
        super().step()  # passes over parameters without a gradient
        return loss

    def _step_matrices(self, group, taken):
        """Muon proper: the mean of the gradients, orthogonalized, all matrices of one shape in one product.

        taken (): 1, or 0 to change nothing, where that may not be asked; None: 1.
        """
        weight = 1 if taken is None else taken
        alike = defaultdict(list)  # shape -> [(parameter, its matrices of this shape (parts, r, c)), ...]
        for p, parts in zip(group["params"], group["parts"]):
            if p.grad is None:
                continue
            state, momentum = self.state[p], group["momentum"]
            if not state:
                state["step"], state["mean"] = torch.zeros(()), torch.zeros_like(p)
            if taken is not None:
                p.grad.masked_fill_(taken == 0, 0.0)  # 0 x NaN would be NaN
            state["step"] += 1
            state["mean"].lerp_(p.grad, (1 - momentum) * weight)
            update = p.grad.lerp(state["mean"], momentum)  # Nesterov's: a step ahead of the mean
            p.grad = None
            update = update.view(parts, -1, p.shape[1])  # (parts, r, c)
            alike[update.shape[1:]].append((p, update))
        for (r, c), updates in alike.items():
            stacked = orthogonalize(torch.cat([update for _, update in updates]), dtype=self.dtype).to(torch.float32)  # (n, r, c)
            for (p, _), update in zip(updates, stacked.split([len(update) for _, update in updates])):
                p.mul_(1 - group["lr"] * group["weight_decay"] * weight)
                p.sub_(update.reshape(p.shape).mul_(group["lr"] * max(1, r / c) ** 0.5 * weight))


def orthogonalize(matrices, steps=5, dtype=torch.float32):
    """(n, r, c) -> (n, r, c) in ``dtype``: each U S V^T becomes nearly U V^T, all singular values near 1, by matrix products alone.

    A polynomial x -> 3.4445 x - 4.7750 x^3 + 2.0315 x^5 is applied to the singular values: it lifts small ones fast and
    leaves those near 1 within about 0.7 to 1.2, and near is enough (Jordan et al. 2024; a Newton-Schulz iteration).
    X X^T X has the singular values x^3 and the directions of X, so no decomposition is needed.

    >>> orthogonalize(torch.tensor([[[0.0, 3.0], [0.5, 0.0]]])).round(decimals=1)
    tensor([[[0.0000, 0.7000],
             [1.0000, 0.0000]]])
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices  # wide: X X^T is the smaller square
    x = (x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)).to(dtype)  # no singular value above 1; cast after that: fp16 has no 1e-9
    for _ in range(steps):
        square = x @ x.mT  # (n, r, r)
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


def grad_accum_steps_at(progress, config):
    """How many batches a step takes at ``progress``: with a ramp, from one of ``ramp_from`` examples to batch_size, in equal parts of ``batch_ramp``.

    Small batches learn more from each example while the gradient is large, large ones less noisily later (Geiping & Goldstein 2022, section 4.3).

    >>> from minibert.config import TrainConfig
    >>> [grad_accum_steps_at(p, TrainConfig(batch_size=32, ramp_from=8, batch_ramp=0.5)) for p in (0, 0.12, 0.13, 0.3, 0.49, 0.5, 1)]
    [1, 1, 2, 3, 4, 4, 4]
    """
    if not config.batch_ramp:
        return 1
    most = config.batch_size // config.ramp_from
    return min(most, 1 + int(most * progress / config.batch_ramp))


def lr_multiplier(progress, schedule, warmup, decay):
    """What the peak rate is multiplied with at ``progress`` (0: start of the run, 1: its end).

    linear   rises from 0 to 1 over ``warmup``, then falls to 0 in a straight line (Devlin et al. 2018, appendix A.2)
    stable   rises, stays at 1, and falls to 0 over the last ``decay`` of the run (warm-up, stable, decay: Hu et al. 2024,
             section 4; the decay is where most of the loss is gained)

    >>> [round(lr_multiplier(p, "linear", 0.1, 0), 3) for p in (0.05, 0.1, 0.55, 1.0)]
    [0.5, 1.0, 0.5, 0.0]
    >>> [round(lr_multiplier(p, "stable", 0.1, 0.2), 3) for p in (0.05, 0.5, 0.8, 0.9, 1.0)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    progress = min(max(progress, 0.0), 1.0)
    if progress < warmup:
        return progress / warmup
    fall = decay if schedule == "stable" else 1 - warmup
    return min(1.0, (1 - progress) / fall) if fall else 1.0
