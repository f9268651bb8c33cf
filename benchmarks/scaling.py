"""Predict the loss of a larger model from five smaller ones, before it is trained.

    python benchmarks/scaling.py --corpus books --runs FOLDER --out benchmarks/results/scaling.json
    python benchmarks/scaling.py --table benchmarks/results/scaling.json

Five causal models read the same text in the same order; only their size differs. Their validation
losses are fitted by the law of Hoffmann et al. 2022 ("Chinchilla", section 3.3) at a fixed amount
of data,

    L(N) = E + A / N^a         N: parameters outside of the embeddings

and the loss of the sixth model is written to the results before that model is trained. The results
are saved after each model; the same command continues after an interruption. One thread takes about
an hour and a half.
"""
import os
import platform
from datetime import date
from pathlib import Path

import numpy as np
import torch
from common import add_result_flags, markdown, print_table, read_json, write_json
from shared_runs import pretrain

from minibert.formats.run_folder import load_run, read_metrics_lines
from tokenizer.utils.cli import Parser, run

SIZES = ((2, 32), (2, 64), (3, 96), (4, 128), (5, 160))  # (blocks, hidden size)
PREDICTED = (6, 224)
HEAD_SIZE = 32
# Otherwise the preset quickstart. The steps are fixed, and so is the text that they read.
RECIPE = "--objective causal --eval-every 0 --eval-examples 256 --save-every 200"


def main(args=None):
    args = parse(args)
    if args.table:
        return print_table(args.table, table)
    result = load_results(args)
    for layers, hidden in SIZES:
        measure(layers, hidden, result, args)
    if "prediction" not in result:
        rows = list(result["rows"].values())
        E, A, a = fit([row["parameters"] for row in rows], [row["loss"] for row in rows])
        parameters = block_parameters(*PREDICTED)
        result["fit"] = {"E": E, "A": A, "a": a}
        result["prediction"] = E + A / parameters**a
        write_json(args.out, result)
        print(f"predicted for {parameters:,} parameters: {result['prediction']:.3f} nats")
    measure(*PREDICTED, result, args)
    print(table(result), end="")


def parse(args):
    corpora = Path(os.environ.get("MINIBERT_CORPORA", "../shared/corpora"))
    parser = Parser(description="Fit L(N) = E + A / N^a to five models and predict a sixth.")
    parser.add_argument("--corpus", default=str(corpora / "books"),
                        help="a corpus that train.py accepts")
    parser.add_argument("--runs", type=Path, default=Path("runs/scaling"),
                        help="folder of the runs")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--vocab-size", type=int, default=4096)
    parser.add_argument("--extra", default="", help="more flags for train.py")
    add_result_flags(parser, out=Path("benchmarks/results/scaling.json"))
    return parser.parse_args(args)


def load_results(args):
    """Return the results in --out if they have the same settings, else empty ones."""
    settings = {"corpus": Path(args.corpus).name, "recipe": RECIPE, "steps": args.steps,
                "vocab_size": args.vocab_size, "extra": args.extra,
                "sizes": [list(size) for size in SIZES],
                "predicted": list(PREDICTED), "python": platform.python_version(),
                "torch": torch.__version__}
    if args.out.is_file():
        stored = read_json(args.out)
        if all(stored.get(name) == value for name, value in settings.items()):
            return stored
    return {"date": str(date.today()), **settings, "rows": {}}


def measure(layers, hidden, result, args):
    """Train a model of this size, unless its row exists, and add its row."""
    name = f"{layers}x{hidden}"
    if name in result["rows"]:
        return
    folder, first = args.runs / name, args.runs / f"{SIZES[0][0]}x{SIZES[0][1]}"
    flags = (f"{RECIPE} --max-steps {args.steps} --num-hidden-layers {layers} "
             f"--hidden-size {hidden} --num-attention-heads {hidden // HEAD_SIZE} "
             f"--intermediate-size {2 * hidden} {args.extra}")
    pretrain(folder, first, flags.split(),
             ["--corpus", args.corpus, "--reflow", "no", "--vocab-size", str(args.vocab_size)])
    last = read_metrics_lines(folder / "metrics.jsonl")[-1]
    model, _ = load_run(folder)
    embeddings = model.bert.embeddings.token.weight.numel() + model.config.vocab_size
    result["rows"][name] = {"parameters": model.num_parameters() - embeddings,
                            "loss": last["eval_loss"], "bits_per_byte": last["eval_bits_per_byte"],
                            "minutes": last["elapsed"] / 60}
    write_json(args.out, result)


def block_parameters(layers, hidden):
    """Return the parameters outside of the embeddings of a causal ModernBERT of this size.

    A block has 4 H^2 (attention), 3 H x 2H (gated MLP) and two norms; the first block has one. The
    head has H^2, and there are three norms outside of the blocks.

    >>> block_parameters(2, 32)
    21696
    """
    return layers * (10 * hidden**2 + 2 * hidden) - hidden + hidden**2 + 3 * hidden


def fit(sizes, losses):
    """Return (E, A, a) of L(N) = E + A / N^a with the least squared error.

    For each exponent a, E and A are a linear regression; the best a of a fine grid is taken.

    >>> E, A, a = fit([1e4, 1e5, 1e6, 1e7], [2 + 30 / n**0.4 for n in (1e4, 1e5, 1e6, 1e7)])
    >>> round(E, 3), round(A, 2), round(a, 3)
    (2.0, 30.0, 0.4)
    """
    best = None
    for a in np.linspace(0.05, 1.5, 1451):
        columns = np.stack([np.ones(len(sizes)), np.asarray(sizes, dtype=float)**-a], axis=1)
        (E, A), *_ = np.linalg.lstsq(columns, np.asarray(losses), rcond=None)
        error = np.square(columns @ (E, A) - losses).sum()
        if best is None or error < best[0]:
            best = error, float(E), float(A), float(a)
    return best[1:]


def table(result):
    """Return the rows as Markdown, and the prediction below."""
    if len(result["rows"]) <= len(result["sizes"]):  # the predicted one is not among them
        raise ValueError("these results are not finished: run the same command without --table")
    rows = []
    E, A, a = result["fit"].values()
    for name, row in result["rows"].items():
        fitted = E + A / row["parameters"]**a
        rows.append([name, f"{row['parameters']:,}", f"{row['loss']:.3f}", f"{fitted:.3f}",
                     f"{row['bits_per_byte']:.3f}", f"{row['minutes']:.1f}"])
    text = markdown(["blocks x hidden size", "parameters", "validation loss", "fitted",
                     "bits per byte", "minutes"], rows)
    text += f"\nL(N) = {E:.3f} + {A:.1f} / N^{a:.3f}, fitted to all rows but the last\n"
    last = list(result["rows"].values())[-1]
    predicted, measured = result["prediction"], last["loss"]
    return text + (f"predicted {predicted:.3f}, measured {measured:.3f}: "
                   f"{measured - predicted:+.3f}\n")


if __name__ == "__main__":
    run(main)
