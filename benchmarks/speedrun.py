"""The best model that five minutes of training buy, on three books by Kant.

    python benchmarks/speedrun.py --out benchmarks/results/speedrun.json          (make speedrun)
    python benchmarks/speedrun.py --ablation --out benchmarks/results/ablation.json
    python benchmarks/speedrun.py --table benchmarks/results/speedrun.json

The last 5 % of the text are the validation set, with 15 % of the tokens masked, the same for every
record. The recipe is the preset ``quickstart`` of train.py and nothing else; only the split is made
here, because records need one that never changes. With --ablation each choice of the recipe is
changed separately. Training the tokenizer and preparing the text (seconds) do not count, nor does
the evaluation at the end; everything else does. Each row is written when it is finished, and the
same command continues after an interruption. Without --ablation every record is kept, with date,
machine and commit.
"""
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from common import add_result_flags, markdown, read_json, write_json
from trainers import device_name

import train
from data import TokenFile, open_corpus, prepare
from data.sources.named import CACHE
from minibert.analysis.mask_filling import fill_mask
from minibert.evaluate import EVAL_SEED, bytes_per_token, evaluate, unigram_entropy
from minibert.examples import make_examples
from minibert.formats.run_folder import load_run, read_metrics_lines
from minibert.masking import Masker
from minibert.presets import PRESETS
from tokenizer import ByteLevelBPE
from tokenizer.utils.cli import Parser, run

EVAL_SHARE = 0.05
PROBE = "Human thinking involves human <mask>."
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
        return print(table(read_json(args.table)), end="")
    rows = []
    if args.out and args.out.is_file():
        rows = read_json(args.out)["rows"]
    ablation = " --ablation" if args.ablation else ""
    command = f"python benchmarks/speedrun.py{ablation} --minutes {args.minutes:g}"
    for name in args.only or (CHOICES if args.ablation else ["the recipe"]):
        finished = any(row["name"] == name and row["minutes"] == args.minutes for row in rows)
        if args.ablation and finished:
            continue
        with tempfile.TemporaryDirectory() as folder:
            rows.append(train_row(name, args, Path(folder)))
        print(table({"rows": rows[-1:]}), flush=True)
        write_json(args.out, {"command": command, "rows": rows})


def parse(args):
    parser = Parser(
        description="The best model of Kant in five minutes, and what each choice is worth.")
    parser.add_argument("--corpus", default="kant",
                        help="a corpus that train.py accepts")
    parser.add_argument("--minutes", type=float, default=5, help="minutes of training")
    parser.add_argument("--ablation", action="store_true",
                        help="change each choice of the recipe separately")
    parser.add_argument("--only", nargs="+", choices=CHOICES, metavar="NAME",
                        help="only these rows of the ablation: "
                             + "; ".join(CHOICES).replace("%", "%%"))
    parser.add_argument("--extra", default="", help="more flags for train.py")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the run here")
    add_result_flags(parser)
    return parser.parse_args(args)


def train_row(name, args, folder):
    """Train with one choice changed. Return the row of results."""
    flags = (CHOICES[name] + " " + args.extra).split()
    vocab_size = PRESETS["quickstart"][0].vocab_size
    train_flags = list(flags)
    while "--vocab-size" in train_flags:  # a flag of the tokenizer, which is trained here
        i = train_flags.index("--vocab-size")
        vocab_size = int(train_flags.pop(i + 1))  # the last one counts
        train_flags.pop(i)
    make_data(args.corpus, vocab_size, folder)
    run = args.keep or folder / "run"
    code = train.main(["--preset", "quickstart", "--data", str(folder / "data"),
                       "--tokenizer", str(folder / "tokenizer"), "--out", str(run),
                       "--minutes", str(args.minutes), *train_flags])
    if code:
        sys.exit(code)  # Ctrl-C
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=Path(__file__).parent,
                         capture_output=True, text=True)
    last = read_metrics_lines(run / "metrics.jsonl")[-1]
    return {"name": name, "flags": " ".join(flags), "date": time.strftime("%Y-%m-%d"),
            "commit": git.stdout.strip(), "minutes": args.minutes, "steps": last["step"],
            "elapsed": last["elapsed"], **validate(run, folder), "torch": torch.__version__,
            "python": platform.python_version(), "device": device_name()}


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


def validate(run, folder):
    """Evaluate a run on all of the validation set, in float32, and on the probe."""
    model, tokenizer = load_run(run)
    file = TokenFile(folder / "data" / "eval")
    examples = make_examples("blocks", file, tokenizer, 128).at(EVAL_SEED, 0)
    masker = Masker(tokenizer.vocab_size, tokenizer.mask_token_id, tokenizer.special_ids, 0.15)
    scores = evaluate(model, examples, masker, tokenizer.pad_token_id, limit=len(examples),
                      bytes_per_token=bytes_per_token(file, tokenizer, "blocks"))
    answer = fill_mask(model, tokenizer, PROBE, top_k=1)[0]
    return {"loss": scores["loss"], "accuracy": scores["accuracy"],
            "bits_per_byte": scores["bits_per_byte"], "masked": scores["masked"],
            "unigram_entropy": unigram_entropy(examples, masker.is_special, limit=len(examples)),
            "parameters": model.num_parameters(), "answer": answer["token_str"],
            "score": answer["score"]}


def table(results):
    """Return the rows as Markdown."""
    heading = ["recipe", "minutes", "steps", "validation loss", "masked accuracy", "bits per byte",
               "first answer to the probe", "date, commit"]
    rows = []
    for row in results["rows"]:
        answer = f"{row['answer'].strip()} ({row['score']:.0%})"
        rows.append([row["name"], f"{row['minutes']:g}", f"{row['steps']:,}", f"{row['loss']:.3f}",
                     f"{row['accuracy']:.1%}", f"{row['bits_per_byte']:.3f}", answer,
                     f"{row['date']}, {row['commit']}"])
    return markdown(heading, rows)


if __name__ == "__main__":
    run(main)
