"""Show an induction head: a causal model of two layers learns to copy what it has read before.

    python benchmarks/induction.py --out benchmarks/results/induction.json --picture induction.png

The text is made up: a sequence of random tokens, twice. The first copy cannot be predicted (ln V
nats a token). The second can, by a rule that needs two layers (Olsson et al. 2022, "In-context
Learning and Induction Heads"): a head of the first layer copies to each token which token came
before it; a head of the second layer looks for the place whose predecessor is the current token,
and predicts the token there. The length of the sequence differs from row to row: "look back by
30" is no solution.

With one layer the rule cannot be written down; that row is the control.
"""
import math
import time
from pathlib import Path

import torch
from common import add_result_flags, markdown, print_table, write_json

from minibert.config import BertConfig, TrainConfig
from minibert.generation.causal import BertForCausalLM
from minibert.masking import IGNORE_INDEX
from minibert.optim import lr_multiplier, make_optimizer
from tokenizer.utils.cli import Parser, run

VOCAB_SIZE = 64
LENGTHS = range(12, 32)  # tokens of a sequence, before it is repeated
BATCH = 64
TRAIN = TrainConfig(optimizer="muon", learning_rate=3e-3, muon_learning_rate=0.02, warmup=0.1,
                    precision="fp32")


def main(args=None):
    parser = Parser(description="Train causal models on repeated random sequences.")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--layers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--picture", type=Path, metavar="FILE",
                        help="draw losses and attention of the last model (needs matplotlib)")
    add_result_flags(parser)
    args = parser.parse_args(args)
    if args.table:
        return print_table(args.table, table)
    result = {"vocab_size": VOCAB_SIZE, "steps": args.steps, "torch": torch.__version__, "rows": {}}
    for layers in args.layers:
        start = time.perf_counter()
        model = train(layers, args.steps)
        by_copy = losses_by_copy(model)
        result["rows"][str(layers)] = by_copy | {
            "seconds": round(time.perf_counter() - start), "head": strongest_head(model)}
    write_json(args.out, result)
    print(table(result), end="")
    if args.picture:
        draw(model, args.picture)


def repeated(batch_size, generator):
    """Return ids (B, T), in each row a random sequence twice, then padding, and lengths (B,)."""
    lengths = torch.tensor(LENGTHS)[torch.randint(len(LENGTHS), (batch_size,), generator=generator)]
    T = 2 * max(LENGTHS)
    source = torch.randint(1, VOCAB_SIZE, (batch_size, T), generator=generator)  # 0 is padding
    position = torch.arange(T)
    ids = source.gather(1, position % lengths[:, None])
    return ids.masked_fill(position >= 2 * lengths[:, None], 0), lengths


def train(layers, steps, seed=0):
    """Train a causal model of some layers on repeated sequences."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = BertForCausalLM(BertConfig(
        "modernbert", vocab_size=VOCAB_SIZE, hidden_size=64, num_hidden_layers=layers,
        num_attention_heads=4, intermediate_size=128, max_position_embeddings=2 * max(LENGTHS),
        global_attn_every_n_layers=1, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        causal=True))
    optimizer = make_optimizer(model, TRAIN)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * lr_multiplier((step + 0.5) / steps, "linear",
                                                           TRAIN.warmup, TRAIN.decay)
        ids, _ = repeated(BATCH, generator)
        loss = model(ids, labels=ids.masked_fill(ids == 0, IGNORE_INDEX)).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


@torch.no_grad()
def losses_by_copy(model, seed=1):
    """Return the mean loss in nats on the tokens of the first copy and of the second.

    The first token of the second copy is in neither: nothing says that a copy begins.
    """
    ids, lengths = repeated(512, torch.Generator().manual_seed(seed))
    losses = token_losses(model, ids)
    position = torch.arange(1, ids.shape[1])
    in_first = position < lengths[:, None]
    in_second = (position > lengths[:, None]) & (position < 2 * lengths[:, None])
    return {"first": losses[in_first].mean().item(), "second": losses[in_second].mean().item()}


def token_losses(model, ids):
    """Return the loss of each token but the first, (B, T - 1)."""
    log_probs = model(ids).logits[:, :-1].log_softmax(dim=-1)
    return -log_probs.gather(2, ids[:, 1:, None]).squeeze(2)


@torch.no_grad()
def head_weights(model, ids):
    """Return the attention weights of the last layer, (B, nh, T, T)."""
    weights = []
    attention = model.bert.blocks[-1].attention
    hook = attention.register_forward_hook(
        lambda module, inputs, output: weights.append(module.attention_weights(*inputs)))
    model(ids)
    hook.remove()
    return weights[0]


def strongest_head(model, length=24):
    """Return which head of the last layer looks most at the token after the earlier copy."""
    torch.manual_seed(2)
    ids = torch.randint(1, VOCAB_SIZE, (64, length)).repeat(1, 2)  # (B, 2 length)
    weights = head_weights(model, ids)  # (B, nh, T, T)
    query = torch.arange(length, 2 * length - 1)
    # The token at ``query`` was at query - length before; the token after it is one later.
    to_answer = weights[:, :, query, query - length + 1].mean(dim=(0, 2))  # (nh,)
    return {"index": int(to_answer.argmax()), "weight": to_answer.max().item()}


def table(result):
    rows = [[layers, f"{row['first']:.3f}", f"{row['second']:.3f}",
             f"head {row['head']['index']}: {row['head']['weight']:.0%}", f"{row['seconds']} s"]
            for layers, row in result["rows"].items()]
    heading = ["layers", "loss, first copy", "loss, second copy",
               "attention to the answer, strongest head of the last layer", "time"]
    return markdown(heading, rows) + f"\nln V = {math.log(result['vocab_size'] - 1):.3f}\n"


def draw(model, path, length=24):
    """Draw the loss at each position and the attention of the strongest head."""
    from matplotlib.figure import Figure
    torch.manual_seed(2)
    ids = torch.randint(1, VOCAB_SIZE, (256, length)).repeat(1, 2)
    with torch.no_grad():
        losses = token_losses(model, ids).mean(dim=0)
    weights = head_weights(model, ids[:1])[0, strongest_head(model)["index"]]
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(range(1, 2 * length), losses)
    left.axvline(length, color="gray", linewidth=0.8, linestyle="--")
    left.annotate("the sequence begins again", (length, losses.max()), xytext=(4, 0),
                  textcoords="offset points")
    left.set(xlabel="position", ylabel="loss (nats)", ylim=0)
    right.imshow(weights, cmap="Greys", vmin=0, vmax=1)
    right.set(xlabel="key", ylabel="query", title="attention of the induction head")
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    run(main)
