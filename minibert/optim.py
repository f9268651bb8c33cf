"""The optimiser, its parameter groups, and the learning-rate schedules.

AdamW (Loshchilov & Hutter 2019) with weight decay on matrices and embeddings only: a bias or a norm's scale has no
reason to be near zero (BERT's optimization.py leaves out the same ones).
"""
import torch


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
    """AdamW from a TrainConfig; fused: one kernel updates all tensors, in place of a dozen small ones for each."""
    return torch.optim.AdamW(parameter_groups(model, config.weight_decay), lr=config.learning_rate,
                             betas=(config.adam_beta1, config.adam_beta2), eps=config.adam_epsilon, fused=True)


def rate_factor(progress, schedule, warmup, decay):
    """What the peak rate is multiplied with at ``progress`` (0: start of the run, 1: its end).

    linear   rises from 0 to 1 over ``warmup``, then falls to 0 in a straight line (Devlin et al. 2018, appendix A.2)
    stable   rises, stays at 1, and falls to 0 over the last ``decay`` of the run (warm-up, stable, decay: Hu et al. 2024,
             section 4; the decay is where most of the loss is gained)

    >>> [round(rate_factor(p, "linear", 0.1, 0), 3) for p in (0.05, 0.1, 0.55, 1.0)]
    [0.5, 1.0, 0.5, 0.0]
    >>> [round(rate_factor(p, "stable", 0.1, 0.2), 3) for p in (0.05, 0.5, 0.8, 0.9, 1.0)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    progress = min(max(progress, 0.0), 1.0)
    if progress < warmup:
        return progress / warmup
    fall = decay if schedule == "stable" else 1 - warmup
    return min(1.0, (1 - progress) / fall) if fall else 1.0
