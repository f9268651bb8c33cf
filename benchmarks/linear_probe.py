"""A linear probe: how well does a logistic regression read a label from a frozen encoder?

The vectors of each layer are fixed, so that the score shows what they hold already (Alain and
Bengio 2016). Layer 0 is the output of the embeddings.
"""
import torch
from torch.nn import functional as F

from minibert.analysis.activations import layer_outputs
from minibert.evaluate import eval_mode
from minibert.heads import mean_of_tokens

POOLINGS = ("mean", "first token")
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # of the l2 penalty
BATCH = 64


def layer_features(encoder, encoded):
    """Return the vectors of all texts, {pooling: (L + 1, N, H)} float32 on the CPU."""
    shape = (encoder.config.num_hidden_layers + 1, len(encoded), encoder.config.hidden_size)
    features = {pooling: torch.empty(shape) for pooling in POOLINGS}
    device = next(encoder.parameters()).device
    with eval_mode(encoder), layer_outputs(encoder) as outputs:
        for indices, batch in encoded.batches(BATCH, device):
            batch.pop("labels")
            encoder(**batch)
            for layer, hidden in enumerate(outputs):  # (B, T, H)
                mean = mean_of_tokens(hidden, batch["attention_mask"])
                features["mean"][layer, indices] = mean.float().cpu()
                features["first token"][layer, indices] = hidden[:, 0].float().cpu()
            outputs.clear()
    return features


def standardized(train, *others):
    """Return features (N, H) with mean 0 and standard deviation 1 over the training examples."""
    mean = train.mean(dim=0)
    std = train.std(dim=0).clamp(min=1e-6)
    return [(part - mean) / std for part in (train, *others)]


def fit_logistic(x, y, num_classes, strength):
    """Return (weights (H, C), biases (C,)) of the smallest mean loss + strength / 2 * |weights|^2.

    x: (N, H) features; y: (N,) classes
    """
    weights = torch.zeros(x.shape[1], num_classes, requires_grad=True)
    biases = torch.zeros(num_classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, biases], max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(x @ weights + biases, y)
        loss = loss + strength / 2 * weights.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weights.detach(), biases.detach()


def probe(features, labels, num_classes):
    """Return {"dev": accuracy, "held_out": accuracy, "strength": the one with the best held_out}.

    features, labels: {"train", "held_out", "dev"} -> (N, H) and (N,). The dev part selects nothing.
    """
    x = dict(zip(features, standardized(*features.values())))
    best = {"held_out": -1.0}
    for strength in STRENGTHS:
        weights, biases = fit_logistic(x["train"], labels["train"], num_classes, strength)

        def accuracy(part, weights=weights, biases=biases):
            predicted = (x[part] @ weights + biases).argmax(dim=1)
            return (predicted == labels[part]).float().mean().item()

        held_out = accuracy("held_out")
        if held_out > best["held_out"]:
            best = {"dev": accuracy("dev"), "held_out": held_out, "strength": strength}
    return best
