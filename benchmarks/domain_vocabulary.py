"""Extend the vocabulary of small models for the text of a domain, and continue to train them.

    python benchmarks/domain_vocabulary.py --corpus books --domain science.txt --runs FOLDER
    python benchmarks/domain_vocabulary.py --table benchmarks/results/domain-vocabulary.json

Each model is first pre-trained on the corpus; --base names a run that is trained already. Then it
is continued on the text of the domain in three ways, with the same steps, seed and learning rate:
with its own vocabulary; with more entries whose rows start as the mean of the rows of their pieces,
as ``train.py --init --tokenizer`` does; and with the same entries whose rows are random, as in a
new model. Losses are in bits per byte of validation text, because a loss per token depends on how
long the tokens are.
"""
import argparse
import os
import platform
import sys
from datetime import date
from pathlib import Path
from unittest import mock

import torch
from common import add_result_flags, markdown, print_table, read_json, write_json
from shared_runs import pretrain

import train
from minibert.formats.run_folder import read_metrics_lines
from minibert.training import init_from
from tokenizer import load_tokenizer
from tokenizer.__main__ import main as tokenizer_main
from tokenizer.utils.cli import Parser, run

MODELS = {  # name -> flags of train.py
    "BERT, WordPiece": "--family bert --tokenizer-kind wordpiece",
    "RoBERTa, byte-level BPE": "--family roberta",
}
SIZES = ("--hidden-size 128 --num-hidden-layers 2 --num-attention-heads 2 --intermediate-size 512 "
         "--vocab-size 4096")
EXAMPLES = "--examples documents --max-length 32 --batch-size 32 --save-every 0"
STARTS = ("own vocabulary", "extended, mean of pieces", "extended, random rows")


def main(args=None):
    args = parse(args)
    if args.table:
        return print_table(args.table, table)
    result = {"date": str(date.today()), "python": platform.python_version(),
              "torch": torch.__version__, "corpus": Path(args.corpus).name,
              "domain": Path(args.domain).name, "pretraining_steps": args.steps,
              "steps": args.domain_steps, "added": args.add, "recipe": f"{SIZES} {EXAMPLES}",
              "rows": read_json(args.out)["rows"] if args.out.is_file() else {}}
    for name in [args.base.name] if args.base else MODELS:
        result["rows"][name] = measure(name, args)
        write_json(args.out, result)
    print(table(result), end="")
    return None


def parse(args):
    corpora = Path(os.environ.get("MINIBERT_CORPORA", "../shared/corpora"))
    parser = Parser(description="Extend the vocabulary of small models for a domain.",
                    formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--corpus", default=str(corpora / "books"), help="for pre-training")
    parser.add_argument("--domain", default=str(corpora / "news" / "science.txt"),
                        help="text of the domain; bytes that are not UTF-8 are replaced")
    parser.add_argument("--base", type=Path, metavar="RUN",
                        help="measure this run instead of new models; its row is added to --out")
    parser.add_argument("--runs", type=Path, default=Path("runs/domain"), help="folder of the runs")
    parser.add_argument("--steps", type=int, default=2000, help="steps of pre-training")
    parser.add_argument("--add", type=int, default=1000, help="new entries")
    parser.add_argument("--domain-steps", type=int, default=300, help="steps on the domain's text")
    parser.add_argument("--extra", default="", help="more flags for train.py")
    add_result_flags(parser, out=Path("benchmarks/results/domain-vocabulary.json"))
    return parser.parse_args(args)


def measure(name, args):
    """Return the tokens per word, and the curves of all starts: [[step, bits per byte], ...]"""
    folder = args.runs / name.split(",")[0].lower()
    base = args.base
    if not base:
        flags = (f"{MODELS[name]} {SIZES} {EXAMPLES} --eval-every 0 --max-steps {args.steps} "
                 f"{args.extra}")
        base = pretrain(folder / "base", folder / "base", flags.split(),
                        ["--corpus", args.corpus, "--reflow", "no"])
    domain = ["--files", args.domain, "--encoding-errors", "replace"]
    extended = folder / "tokenizer"
    if not extended.is_dir():
        tokenizer_main(["extend", str(base), *domain, "--add", str(args.add),
                        "--out", str(extended), "--no-progress"])
    curves = {start: curve(folder, base, extended, start, args) for start in STARTS}
    return {"vocabulary": [load_tokenizer(path).vocab_size for path in (base, extended)],
            "curves": curves}


def curve(folder, base, extended, start, args):
    """Continue a model on the domain's text; return [[step, bits per byte], ...]"""
    out = folder / start.replace(",", "").replace(" ", "-")
    if not (out / "model").is_dir():
        flags = (f"{EXAMPLES} --max-steps {args.domain_steps} --eval-every "
                 f"{max(1, args.domain_steps // 6)} --learning-rate 5e-4 --eval-examples 2048 "
                 f"{args.extra}").split()
        if start != STARTS[0]:
            flags += ["--tokenizer", str(extended)]
        rows = random_rows if start == STARTS[2] else init_from.with_mean_rows
        with mock.patch.object(init_from, "with_mean_rows", rows):
            if code := train.main(["--init", str(base), "--corpus", args.domain,
                                   "--encoding-errors", "replace", "--out", str(out), *flags]):
                sys.exit(code)
    lines = read_metrics_lines(out / "metrics.jsonl")
    return [[line["step"], line["eval_bits_per_byte"]] for line in lines
            if "eval_bits_per_byte" in line and "final" not in line]


def random_rows(values, pieces):
    """Return the values with rows for new tokens as in a new model."""
    scale = 0.02 if values.dim() == 2 else 0.0  # a bias starts at 0
    rows = scale * torch.randn(len(pieces), *values.shape[1:])
    return torch.cat((values[:min(pieces)], rows, values[max(pieces) + 1:]))


def table(result):
    """Return the curves as Markdown: a row for each model and start, a column for each step."""
    rows = []
    for name, row in result["rows"].items():
        for start, points in row["curves"].items():
            rows.append([name, start, *(f"{bits:.3f}" for _, bits in points)])
            steps = [f"step {step}" for step, _ in points]
    return markdown(["model", "vocabulary", *steps], rows)


if __name__ == "__main__":
    run(main)
