"""Where the time of a training step goes: python train.py --profile.

Each part is run by itself on a batch of the run, forward and backward, and timed with a clock; then the whole step. What the parts do not
explain is "rest". Beside the times stand the operations that the part needs (``flops.py``): operations a second are what a part
makes of the machine, and the parts with none (norms, softmax, copies, the optimiser) wait for memory rather than for arithmetic.
"""
import contextlib
import statistics
import time

import torch
from torch.nn import functional as F

from minibert.attention import attention_masks, is_local
from minibert.masking import IGNORE_INDEX
from minibert.model import autocast_dtype, gather_positions
from minibert.training.flops import forward_flops

REPEATS = 10


def show(trainer):
    """Print the table and draw RUN/profile.png -> exit code 0."""
    with contextlib.closing(trainer.batches):
        rows = measure(trainer, REPEATS)
    if not trainer.ranks.first:  # each measures, as a step needs all of them; one draws
        return 0
    print("\n" + table(rows))
    try:
        picture(rows, trainer.folder / "profile.png")
        print(f"picture     {trainer.folder / 'profile.png'}")
    except ImportError:
        print('picture     none: pip install -e ".[plots]" brings matplotlib')
    return 0


def measure(trainer, repeats):
    """The parts of a step -> list of {"part", "seconds", "operations"}, the step itself last."""
    trainer.model.train()
    config = trainer.config
    count = config.batch_size // config.batch_unit  # batches of a full step, even if a ramp begins with fewer
    micros = [micro for _ in range(count) for micro in next(trainer.batches).split(config.micro_batch)]
    first = micros[0]
    micro, times = first.to(trainer.device), sum(map(len, micros)) / len(first)
    lengths = (first.attention_mask.sum(1) if first.attention_mask is not None else torch.full((len(first),), first.input_ids.shape[1])).tolist()
    operations = {part: 3 * times * count for part, count in forward_flops(trainer.model.config, lengths, first.num_masked).items()}
    timed = Clock(trainer.device, repeats)
    rows = [("data", count * timed(lambda: next(trainer.batches)))]
    with trainer.autocast():
        rows += [(part, times * timed(work)) for part, work in parts_of(trainer.model, micro).items()]
    trainer.optimiser_step(micros)  # the moments are made in the first step
    step = timed(lambda: trainer.optimiser_step(micros))
    rows.append(("optimiser", timed(lambda: trainer.optimizer.step(), before=lambda: gradients(trainer.model))))
    rows.append(("rest", max(0.0, step - sum(seconds for _, seconds in rows[1:]))))  # data is prepared while a step is computed
    rows.append(("step", step))
    operations["step"] = sum(operations.values())
    return [{"part": part, "seconds": seconds, "operations": operations.get(part, 0)} for part, seconds in rows]


def parts_of(model, batch):
    """{part: a function that runs it, forward and backward} for the parts of a model, on a batch."""
    encoder, config = model.bert, model.config
    x = encoder.embeddings(batch.input_ids, batch.token_type_ids).detach()  # (B, T, H): what enters a block, near enough for all of them
    T, dtype = x.shape[1], autocast_dtype(x)
    masks = attention_masks(config, batch.attention_mask, T, dtype, x.device)
    rope_cos_sin = encoder.rope_cos_sin(T, dtype)
    vectors, labels = encoder.embeddings.token.weight, batch.labels.flatten()[batch.masked_positions]
    hidden = gather_positions(x, batch.masked_positions)  # (M, H)
    rows = [None] * (len(encoder.blocks) - 1) + [batch.masked_positions]  # which tokens' vectors a block is asked for
    logits = model.head(hidden, vectors).detach()  # (M, V)

    def there_and_back(forward, *inputs):
        def work():
            out = forward(*(value.detach().requires_grad_() for value in inputs))
            out.backward(torch.ones_like(out))
        return work

    def attention(x):
        for layer, block in enumerate(encoder.blocks):
            local = is_local(config, layer)
            x = gather_positions(x, rows[layer]) + block.attention(block.attention_norm(x), masks[local], rope_cos_sin[local], rows[layer])
        return x

    def mlp(x):
        for layer, block in enumerate(encoder.blocks):
            x = gather_positions(x, rows[layer])
            x = x + block.mlp(block.mlp_norm(x))
        return x

    return {"embedding": there_and_back(lambda: encoder.embeddings(batch.input_ids, batch.token_type_ids)),
            "attention": there_and_back(attention, x), "mlp": there_and_back(mlp, x),
            "head": there_and_back(lambda hidden: model.head(hidden, vectors), hidden),
            "loss": there_and_back(lambda logits: F.cross_entropy(logits.float(), labels, reduction="sum", ignore_index=IGNORE_INDEX), logits)}


def gradients(model):
    """A gradient for each parameter, of a size that changes nothing much."""
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 1e-8)


class Clock:
    """Seconds of a function: the median of some calls after one that warms up; on a GPU from when it is idle to when it is again."""

    def __init__(self, device, repeats):
        self.device, self.repeats = device, repeats

    def __call__(self, work, before=lambda: None):
        """-> seconds of ``work()``; ``before()`` is called before each and not timed."""
        return statistics.median([self.once(work, before) for _ in range(1 + self.repeats)][1:])

    def once(self, work, before):
        """-> seconds of one call."""
        before()
        self.wait()
        start = time.perf_counter()
        work()
        self.wait()
        return time.perf_counter() - start

    def wait(self):
        """Until a GPU has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def table(rows):
    """The rows as text: milliseconds, share of the step, operations, operations a second."""
    step = rows[-1]["seconds"]
    lines = [f"{'part':12}{'ms':>10}{'of step':>10}{'GFLOP':>10}{'GFLOP/s':>10}"]
    for row in rows:
        share = "(ahead)" if row["part"] == "data" else f"{row['seconds'] / step:.0%}"
        count, rate = (f"{row['operations'] / 1e9:,.1f}", f"{row['operations'] / row['seconds'] / 1e9:,.0f}") if row["operations"] else ("", "")
        lines.append(f"{row['part']:12}{1000 * row['seconds']:10,.1f}{share:>10}{count:>10}{rate:>10}")
    return "\n".join(lines)


def picture(rows, path):
    """Two bars for each part: its share of the time and of the operations."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    from minibert.analysis.plots import COLORS
    *parts, step = [row for row in rows if row["part"] != "data"]
    figure, axes = plt.subplots(figsize=(7.5, 3.6))
    for shift, colour, what in ((-0.2, COLORS[0], "seconds"), (0.2, COLORS[1], "operations")):
        axes.barh([n + shift for n in range(len(parts))], [100 * row[what] / step[what] for row in parts], height=0.38, color=colour,
                  label=f"share of the {what}")
    axes.set_yticks(range(len(parts)), [row["part"] for row in parts])
    axes.invert_yaxis()
    axes.set_xlabel(f"% of a step ({1000 * step['seconds']:,.0f} ms, {step['operations'] / 1e9:,.1f} GFLOP)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=140, facecolor="white")
    plt.close(figure)
