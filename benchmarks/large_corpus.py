"""A corpus much larger than its share of memory: prepared, trained on, and trained on without preparation; rates and peaks of memory.

    python benchmarks/large_corpus.py CORPORA --out benchmarks/results/large-corpus.json

CORPORA is a folder with the folder books/ of .txt files, which are repeated with variations (tokenizer_speed.py) up to --megabytes. Each step is
a command of its own, as a user gives it; memory is the peak of the proportional set sizes of the command's processes (memory.py). Rates are MB of
text a second: of preparing over the whole command, of training over the steps alone (most of the command is torch loading and files being checked).
"""
import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from memory import measured
from tokenizer_speed import machine, varied

ROOT = Path(__file__).parent.parent
VOCABULARY = 8192
SMALL = ("--preset", "quickstart", "--hidden-size", 128, "--num-attention-heads", 2, "--intermediate-size", 256, "--batch-size", 8,
         "--eval-examples", 32)
NAMES = ("numpy", "regex", "torch")


def python(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return measured([sys.executable, *map(str, arguments)], env=environment)


def steps(corpora, megabytes, train_steps, folder):
    """Yield (name, what was measured, bytes of text, their seconds) for each step."""
    books, text, tokenizer, tokens = sorted(Path(corpora, "books").glob("*.txt")), folder / "text.txt", folder / "tokenizer", folder / "tokens"
    varied(books, megabytes, text)
    size = text.stat().st_size
    python("-m", "tokenizer", "train", "--kind", "bpe", "--vocab-size", VOCABULARY, "--out", tokenizer, *books)
    for split in ("train", "eval"):
        done = python("-m", "data", "prepare", text, "--tokenizer", tokenizer, "--split", split, "--out", tokens / split, "--json")
        yield f"prepare, {split}", done, size, done["seconds"]
    done = python("-m", "data", "inspect", tokens / "train", "--json")
    yield "inspect", done, size, done["seconds"]
    meta = json.loads((tokens / "train" / "meta.json").read_text())
    read = train_steps * 8 * 126 * meta["num_bytes"] / meta["num_tokens"]  # eight blocks a step, of 128 ids with the special ones
    train = (ROOT / "train.py", *SMALL, "--tokenizer", tokenizer, "--max-steps", train_steps)
    yield "train", python(*train, "--data", tokens, "--out", folder / "run"), read, seconds_of_training(folder / "run")
    done = python(*train, "--stream", "--corpus", text, "--out", folder / "streamed")
    yield "train, streamed", done, read, seconds_of_training(folder / "streamed")
    part = folder / "twentieth"  # what is held out, as both parts: what the model itself takes, and torch
    part.mkdir()
    for split in ("train", "eval"):
        (part / split).symlink_to(tokens / "eval")
    yield "train on a twentieth", python(*train, "--data", part, "--out", folder / "small"), read, seconds_of_training(folder / "small")


def seconds_of_training(run):
    """What the steps of a run took, as its last line of metrics says."""
    return json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["elapsed"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", help="folder that holds books/")
    parser.add_argument("--megabytes", type=int, default=1000, help="size of the text (default 1000)")
    parser.add_argument("--steps", type=int, default=50, help="steps of training (default 50)")
    parser.add_argument("--out", help="write the results here, as JSON")
    args = parser.parse_args()
    command = f"python benchmarks/large_corpus.py CORPORA --megabytes {args.megabytes} --steps {args.steps}"
    results = {"command": command, **machine(NAMES), "rows": []}
    print("| step | seconds | MB of text a second | peak memory |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, done, size, seconds in steps(args.corpora, args.megabytes, args.steps, Path(folder)):
            rate = size / 1e6 / seconds
            results["rows"].append({"step": name, "seconds": done["seconds"], "megabytes_per_second": rate, "peak_megabytes": done["megabytes"]})
            peak = f"{done['megabytes']:,.0f} MB" if done["megabytes"] else ""
            print(f"| {name} | {done['seconds']:.1f} | {rate:.3g} | {peak} |", flush=True)
            if args.out:  # after each row: an interruption loses one at most
                Path(args.out).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
