"""The best model that five minutes of training buy, on three books by Kant.

    python benchmarks/speedrun.py --seeds 0 1 2 3 --out FILE         (make speedrun)
    python benchmarks/speedrun.py --seeds 0 1 2 3 --steps 2400       the track of equal steps
    python benchmarks/speedrun.py --ablation --out FILE              each choice changed separately
    python benchmarks/speedrun.py --table FILE

The recipe is the preset ``quickstart`` of train.py, with --convolutions in the blocks of
speedrun_model.py. Only the split is made here, so that all records use the same one.
Training the tokenizer and preparing the text (seconds) do not count, nor does the evaluation at the
end; everything else does. Each run is written when it is finished, and the same command continues
after an interruption.

The last 5 % of the text are the validation set. It is read seven times, and each time another
seventh of the tokens is masked, so each token is predicted exactly once. The loss per token favors
small vocabularies: a model that predicts one piece of a word sees its other pieces. So whole words
are masked as well, in seven more passes, and the loss is given per word. This favors large
vocabularies: each piece of a word is predicted without the pieces before it.

A recipe is better than the record if the difference, paired by seed, is significant in a one-sided
t-test at 5 %, with at least four seeds. The t-value is in the table, and its critical value.
"""
import math
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from common import add_result_flags, markdown, print_table, read_json, write_json
from speedrun_model import instead_of_bert
from trainers import device_name

import train
from data import TokenFile, open_corpus, prepare
from data.sources.named import CACHE
from minibert.evaluate import EVAL_SEED, evaluate, expected_losses
from minibert.examples import make_examples
from minibert.formats.run_folder import load_run, read_metrics_lines
from minibert.masking import IGNORE_INDEX, SELECT, Masker, uniform
from minibert.presets import PRESETS
from tokenizer import ByteLevelBPE
from tokenizer.utils.cli import Parser, run
from tokenizer.word_starts import WordStarts, number_runs

EVAL_SHARE = 0.05
NUM_PASSES = 7  # each masks a seventh of the validation set, nearly the usual 15 %
# Student's t, one-sided, 5 %: number of seeds -> critical value (n - 1 degrees of freedom)
CRITICAL_T = {2: 6.31, 3: 2.92, 4: 2.35, 5: 2.13, 6: 2.02, 7: 1.94, 8: 1.89}
SET_HERE = ("--preset", "--corpus", "--data", "--tokenizer", "--init", "--out", "--resume",
            "--max-steps", "--minutes", "--epochs", "--seed")
# Its MLP is not gated: four times as wide as the hidden size, as in the papers.
POST_NORM = ("--family roberta --type-vocab-size 1 --pad-token-id 1 --max-position-embeddings 130 "
             "--intermediate-size 512")
CHOICES = {  # of the ablation: name -> what differs from the preset
    "the recipe": "",
    "15 % masked in training": "--mlm-probability 0.15",
    "30 % masked": "--mlm-probability 0.3",
    "every layer sees the whole block": "--local-attention 256",
    "learned positions, post-norm, no gate (RoBERTa)": POST_NORM,
    "AdamW 3e-3, betas 0.9 and 0.98": "--optimizer adamw --learning-rate 3e-3 --adam-beta2 0.98",
    "linear schedule": "--schedule linear",
    "no warm-up": "--warmup 0",
    "dropout 0.1": "--hidden-dropout-prob 0.1 --attention-probs-dropout-prob 0.1",
    "batches of 8 blocks": "--batch-size 8",
    "batches of 32 blocks": "--batch-size 32",
    "wider: 4 x 192": "--hidden-size 192 --intermediate-size 384 --num-attention-heads 3",
    "narrower: 4 x 64": "--hidden-size 64 --intermediate-size 128 --num-attention-heads 1",
    "deeper: 6 x 128": "--num-hidden-layers 6",
    "shallower: 2 x 128": "--num-hidden-layers 2",
    "a vocabulary of 4,096": "--vocab-size 4096",
    "float32": "--precision fp32",
}


def main(args=None):
    args = parse(args)
    if args.table:
        return print_table(args.table, table)
    rows = []
    if args.out and args.out.is_file():
        rows = read_json(args.out)["rows"]
    length = f"{args.steps} steps" if args.steps else f"{args.minutes:g} minutes"
    commit = git_commit()
    for name in args.only or (CHOICES if args.ablation else ["the recipe"]):
        for seed in args.seeds:
            labels = {"name": name + " with convolutions" * args.convolutions, "length": length,
                      "seed": seed, "extra": args.extra}
            if not args.ablation:
                labels["commit"] = commit  # a record: one for each version of the code
            if any(labels.items() <= row.items() for row in rows):
                continue
            blocks = instead_of_bert() if args.convolutions else nullcontext()
            with tempfile.TemporaryDirectory() as folder, blocks:
                rows.append(labels | {"commit": commit} | train_row(name, seed, args, Path(folder)))
            print(table({"rows": rows[-1:]}), flush=True)
            write_json(args.out, {"rows": rows})


def parse(args):
    parser = Parser(
        description="The best model of Kant in five minutes, and what each choice is worth.")
    parser.add_argument("--corpus", default="kant",
                        help="a corpus that train.py accepts")
    parser.add_argument("--minutes", type=float, default=5, help="minutes of training")
    parser.add_argument("--steps", type=int, help="steps of training, instead of minutes")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="N")
    parser.add_argument("--ablation", action="store_true",
                        help="change each choice of the recipe separately")
    parser.add_argument("--only", nargs="+", choices=CHOICES, metavar="NAME",
                        help="only these rows of the ablation: "
                             + "; ".join(CHOICES).replace("%", "%%"))
    parser.add_argument("--convolutions", action="store_true",
                        help="use the blocks of speedrun_model.py")
    parser.add_argument("--extra", default="", help="more flags for train.py")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the run here")
    add_result_flags(parser)
    args = parser.parse_args(args)
    if args.minutes <= 0 or (args.steps is not None and args.steps < 1):
        raise ValueError("--minutes and --steps must be above 0")
    for word in args.extra.split():
        if word.partition("=")[0] in SET_HERE:
            raise ValueError(f"--extra {word}: the benchmark sets this itself")
    return args


def train_row(name, seed, args, folder):
    """Train with one choice changed. Return the results."""
    flags = (CHOICES[name] + " " + args.extra).split()
    all_flags = " ".join(flags)
    vocab_size = PRESETS["quickstart"][0].vocab_size
    while "--vocab-size" in flags:  # a flag of the tokenizer, which is trained here
        i = flags.index("--vocab-size")
        vocab_size = int(flags.pop(i + 1))  # the last one counts
        flags.pop(i)
    length = ["--max-steps", str(args.steps)] if args.steps else ["--minutes", str(args.minutes)]
    make_data(args.corpus, vocab_size, folder)
    run = args.keep or folder / "run"
    code = train.main(["--preset", "quickstart", "--data", str(folder / "data"),
                       "--tokenizer", str(folder / "tokenizer"), "--out", str(run),
                       *length, "--seed", str(seed), *flags])
    if code:
        sys.exit(code)  # Ctrl-C
    last = read_metrics_lines(run / "metrics.jsonl")[-1]
    return {"flags": all_flags, "date": time.strftime("%Y-%m-%d"), "steps": last["step"],
            "elapsed": last["elapsed"], **validate(run, folder), "torch": torch.__version__,
            "python": platform.python_version(), "device": device_name()}


def git_commit():
    """Return the commit of the code: "d72e63b", or "d72e63b-changed" with uncommitted changes."""
    def git(*words):
        return subprocess.run(["git", *words], cwd=Path(__file__).parents[1], capture_output=True,
                              text=True).stdout.strip()
    return git("rev-parse", "--short", "HEAD") + "-changed" * bool(
        git("status", "--porcelain", "--", "*.py"))


def make_data(corpus, vocab_size, folder):
    """Write tokenizer/, data/train and data/eval, the last 5 % of the text."""
    documents = list(open_corpus(corpus, cache=CACHE).documents("all"))
    num_characters = sum(map(len, documents))
    num_eval = 0
    split = len(documents)
    while num_eval < EVAL_SHARE * num_characters:
        split -= 1
        num_eval += len(documents[split])
    tokenizer = ByteLevelBPE.train_from_iterator(documents[:split], vocab_size=vocab_size)
    tokenizer.save(folder / "tokenizer")
    prepare(documents[:split], tokenizer, folder / "data" / "train")
    prepare(documents[split:], tokenizer, folder / "data" / "eval")


class OnePass(Masker):
    """Masks the tokens, or the words, of one of NUM_PASSES groups; each is in exactly one."""

    def __init__(self, group, tokenizer, masking):
        # Mask everything, then undo it outside of the group.
        super().__init__(tokenizer.vocab_size, tokenizer.mask_token_id, tokenizer.special_ids, 1.0,
                         masking, WordStarts(tokenizer))
        self.group = group

    def __call__(self, input_ids, seed, epoch, examples):
        corrupted, labels = super().__call__(input_ids, seed, epoch, examples)  # (B, T) each
        numbers = uniform(seed, epoch, examples, input_ids.shape[1], SELECT)  # (B, T), in [0, 1)
        groups = (NUM_PASSES * numbers).astype(int)
        if self.masking == "words":
            starts = self.word_starts(input_ids, cut_long=True)
            groups = groups[starts][number_runs(starts)]  # a word has the group of its first token
        is_asked = groups == self.group
        return (np.where(is_asked, corrupted, input_ids), np.where(is_asked, labels, IGNORE_INDEX))


def validate(run, folder):
    """Evaluate a run on all of the validation set, in float32."""
    model, tokenizer = load_run(run)
    file = TokenFile(folder / "data" / "eval")
    examples = make_examples("blocks", file, tokenizer, 128).at(EVAL_SEED, 0)
    all_ids = [examples[i] for i in range(len(examples))]
    is_special = OnePass(0, tokenizer, "tokens").is_special
    starts = WordStarts(tokenizer)
    num_words = sum((starts(ids, cut_long=True) & ~is_special[ids]).sum() for ids in all_ids)
    totals = {"tokens": Counter(), "words": Counter()}  # sums over the passes
    for masking, total in totals.items():
        for group in range(NUM_PASSES):
            scores = evaluate(model, examples, OnePass(group, tokenizer, masking),
                              tokenizer.pad_token_id, limit=len(examples))
            for name in ("loss", "accuracy"):
                total[name] += scores[name] * scores["masked"]
            total["masked"] += scores["masked"]
    tokens = totals["tokens"]["masked"]
    expected = expected_losses(examples, is_special, limit=len(examples))
    return {"loss": totals["tokens"]["loss"] / tokens,
            "accuracy": totals["tokens"]["accuracy"] / tokens, "masked": tokens,
            "loss_per_word": totals["words"]["loss"] / num_words, "words": int(num_words),
            "unigram_entropy": expected["unigram_entropy"],
            "parameters": model.num_parameters()}


def table(results):
    """Return one line for each recipe: means over seeds, and a t-test.

    The test compares with the record so far: of the lines before with the same length and several
    seeds, the one with the lowest loss.
    """
    groups = {}  # (name, length, extra flags, commit) -> {seed: row}
    for row in results["rows"]:
        key = (row["name"], row["length"], row["extra"], row["commit"])
        groups.setdefault(key, {})[row["seed"]] = row
    records = {}  # length -> {seed: row}
    lines = []
    for (name, length, extra, commit), rows in groups.items():
        record = records.get(length, rows)
        if len(rows) > 1 and mean_loss(rows) <= mean_loss(record):
            records[length] = rows
        lines.append([f"{name} {extra}".strip(), length, str(len(rows)), mean_of(rows, "steps", 0),
                      mean_of(rows, "masked", 0), mean_of(rows, "loss", 3),
                      mean_of(rows, "loss_per_word", 3), paired_t(rows, record),
                      f"{max(row['date'] for row in rows.values())}, {commit}"])
    return markdown(["recipe", "length", "seeds", "steps", "tokens predicted", "nats per token",
                     "nats per word", "difference to the record so far (t)", "date, commit"],
                    lines)


def mean_loss(rows):
    return statistics.mean(row["loss"] for row in rows.values())


def mean_of(rows, name, digits):
    """Return "mean ± deviation" of a result; nothing if older rows do not have it."""
    values = [row[name] for row in rows.values() if name in row]
    if not values:
        return ""
    text = f"{statistics.mean(values):,.{digits}f}"
    return text if len(values) < 2 else f"{text} ± {statistics.stdev(values):,.{digits}f}"


def paired_t(rows, baseline):
    """Return the mean difference of the losses over common seeds, its t, and the critical t.

    >>> a, b = ({s: {"loss": x} for s, x in enumerate(losses)} for losses in ((1, 2), (2, 4)))
    >>> paired_t(a, b)  # differences of -1 and -2: mean -1.5, standard error 0.5
    '-1.500 (t = -3.00, critical: -6.31)'
    """
    seeds = [seed for seed in rows if seed in baseline]
    if rows is baseline or len(seeds) < 2:
        return ""
    differences = [rows[seed]["loss"] - baseline[seed]["loss"] for seed in seeds]
    mean, n = statistics.mean(differences), len(seeds)
    error = statistics.stdev(differences) / math.sqrt(n)
    if not error:  # the same program, for example
        return f"{mean:.3f}"
    critical = CRITICAL_T[min(n, max(CRITICAL_T))]  # with more seeds it would be a little lower
    return f"{mean:.3f} (t = {mean / error:.2f}, critical: -{critical})"


if __name__ == "__main__":
    run(main)
