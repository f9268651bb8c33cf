"""Measure where the time of a training step goes: python train.py --profile.

Each part of the model runs by itself on a batch, forward and backward, then the complete step runs.
What the parts do not explain is "rest". The table also has the floating-point operations of each
part (flops.py): parts without any (norms, softmax, the optimizer) wait for memory, not arithmetic.
"""
import contextlib
import statistics
import time
from functools import partial

import torch
from torch.nn import functional as F

from minibert.attention import attention_biases, for_layer
from minibert.device import autocast
from minibert.masking import IGNORE_INDEX
from minibert.model import autocast_dtype, gather_positions
from minibert.training.flops import forward_flops

REPEATS = 10


def show(trainer):
    """Measure a step and print the table. Return the exit code 0."""
    with contextlib.closing(trainer.batches):
        rows = measure(trainer, REPEATS)
    print("\n" + table(rows))
    return 0


def measure(trainer, repeats):
    """Return [{"part", "seconds", "operations"}, ...]; the last row is the complete step."""
    trainer.model.train()
    config = trainer.config
    clock = partial(median_seconds, trainer.device, repeats)
    # A full step, after any batch ramp
    num_batches = config.batch_size // config.loader_batch_size
    micro_batches = []
    for _ in range(num_batches):
        batch = next(trainer.batches)
        micro_batches += batch.split(config.micro_batch_size_of(len(batch)))
    batch = micro_batches[0].to(trainer.device)
    # The parts are measured on one micro-batch and counted for all of the step.
    scale = sum(len(micro) for micro in micro_batches) / len(batch)

    seconds = {"data": num_batches * clock(lambda: next(trainer.batches))}
    with autocast(trainer.device, config.precision):
        for part, run in model_parts(trainer.model, batch).items():
            seconds[part] = scale * clock(run)
    trainer.step(micro_batches)  # creates the moments
    step = clock(lambda: trainer.step(micro_batches))
    seconds["optimizer"] = clock(trainer.optimizer.step, lambda: set_gradients(trainer.model))
    # Data is not a part of the step: it is prefetched in a thread.
    explained = sum(value for part, value in seconds.items() if part != "data")
    seconds["rest"] = step - explained  # negative if the machine was busier during the parts
    seconds["step"] = step

    lengths = [batch.input_ids.shape[1]] * len(batch)
    if batch.attention_mask is not None:
        lengths = batch.attention_mask.sum(1).tolist()
    flops = forward_flops(trainer.model.config, lengths, batch.num_masked)
    operations = {part: 3 * scale * count for part, count in flops.items()}
    operations["step"] = sum(operations.values())
    return [{"part": part, "seconds": value, "operations": operations.get(part, 0)}
            for part, value in seconds.items()]


def model_parts(model, batch):
    """Return {part: a function that runs it forward and backward on the batch}."""
    encoder = model.bert
    config = model.config
    # Every block gets the embeddings as its input: its speed does not depend on the values.
    x = encoder.embeddings(batch.input_ids, batch.token_type_ids).detach()  # (B, T, H)
    T = x.shape[1]
    dtype = autocast_dtype(x)
    biases = attention_biases(config, batch.attention_mask, T, dtype, x.device)
    ropes = encoder.rope_cos_sin(T, dtype)
    token_embeddings = encoder.embeddings.token.weight  # (V, H)
    labels = batch.labels.flatten()[batch.masked_positions]  # (M,)
    hidden = gather_positions(x, batch.masked_positions)  # (M, H)
    logits = model.head(hidden, token_embeddings).detach()  # (M, V)

    def embedding():
        return encoder.embeddings(batch.input_ids, batch.token_type_ids)

    def attention(x):
        for layer, block in enumerate(encoder.blocks):
            bias = for_layer(biases, config, layer)
            x = x + block.attention(block.attention_norm(x), bias, for_layer(ropes, config, layer))
        return x

    def mlp(x):
        for block in encoder.blocks[:-1]:
            x = x + block.mlp(block.mlp_norm(x))
        x = gather_positions(x, batch.masked_positions)
        last = encoder.blocks[-1]
        return x + last.mlp(last.mlp_norm(x))

    def head(hidden):
        return model.head(hidden, token_embeddings)

    def loss(logits):
        return F.cross_entropy(logits.float(), labels, reduction="sum", ignore_index=IGNORE_INDEX)

    return {"embedding": forward_backward(embedding), "attention": forward_backward(attention, x),
            "mlp": forward_backward(mlp, x), "head": forward_backward(head, hidden),
            "loss": forward_backward(loss, logits)}


def forward_backward(forward, *inputs):
    def run():
        out = forward(*(tensor.detach().requires_grad_() for tensor in inputs))
        out.backward(torch.ones_like(out))
    return run


def set_gradients(model):
    """Give each parameter a gradient that is too small to change much."""
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 1e-8)


def median_seconds(device, repeats, run, before=lambda: None):
    """Return the median seconds of ``run()``; ``before()`` is called before each and not timed."""
    synchronize = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    seconds = []
    for _ in range(1 + repeats):
        before()
        synchronize()
        start = time.perf_counter()
        run()
        synchronize()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])  # the first call warms up


def table(rows):
    """Return the rows as text: milliseconds, share of the step, operations per second."""
    step = rows[-1]["seconds"]
    lines = [f"{'part':10}{'ms':>10}{'of step':>12}{'GFLOP':>10}{'GFLOP/s':>10}"]
    for row in rows:
        seconds, operations = row["seconds"], row["operations"]
        share = "(prefetch)" if row["part"] == "data" else f"{seconds / step:.0%}"
        line = f"{row['part']:10}{1000 * seconds:10,.1f}{share:>12}"
        if operations:
            line += f"{operations / 1e9:10,.1f}{operations / seconds / 1e9:10,.0f}"
        lines.append(line)
    return "\n".join(lines)
