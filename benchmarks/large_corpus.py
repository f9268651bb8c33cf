"""A corpus much larger than memory: prepare it, train on it, and train without preparing it.

    python benchmarks/large_corpus.py CORPORA --out benchmarks/results/large-corpus.json

CORPORA is a folder with books/, a folder of .txt files. They are repeated with variations
(tokenizer_speed.py) up to --megabytes. Each step is a separate command, as a user would give it.
Memory is the peak proportional set size of the command's processes (memory.py). Rates are MB
of text per second: of the whole command for preparing, of the training steps only for training
(most of a short command is importing torch and checking files).
"""
import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from common import markdown, markdown_row, write_json
from memory import measured
from tokenizer_speed import machine, varied

from tokenizer.utils.cli import run

ROOT = Path(__file__).parent.parent
VOCABULARY = 8192
BATCH_SIZE = 8
TOKENS_PER_SEQUENCE = 126  # of 128 with the special tokens
SMALL = ("--preset", "quickstart", "--hidden-size", 128, "--num-attention-heads", 2,
         "--intermediate-size", 256, "--batch-size", BATCH_SIZE, "--eval-examples", 32)
PACKAGES = ("numpy", "regex", "torch")


def python(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return measured([sys.executable, *map(str, arguments)], env=environment)


def steps(corpora, megabytes, train_steps, folder):
    """Yield (name, result of ``measured``, bytes of text, seconds for them) of each step."""
    books = sorted(Path(corpora, "books").glob("*.txt"))
    text = folder / "text.txt"
    tokenizer = folder / "tokenizer"
    tokens = folder / "tokens"
    varied(books, megabytes, text)
    size = text.stat().st_size
    python("-m", "tokenizer", "train", "--kind", "bpe", "--vocab-size", VOCABULARY,
           "--out", tokenizer, *books)
    for split in ("train", "eval"):
        done = python("-m", "data", "prepare", text, "--tokenizer", tokenizer, "--split", split,
                      "--reflow", "no", "--out", tokens / split, "--json")
        yield f"prepare, {split}", done, size, done["seconds"]
    done = python("-m", "data", "inspect", tokens / "train", "--json")
    yield "inspect", done, size, done["seconds"]

    meta = json.loads((tokens / "train" / "meta.json").read_text())
    tokens_read = train_steps * BATCH_SIZE * TOKENS_PER_SEQUENCE
    bytes_read = tokens_read * meta["num_bytes"] / meta["num_tokens"]
    train = (ROOT / "train.py", *SMALL, "--tokenizer", tokenizer, "--max-steps", train_steps)
    done = python(*train, "--data", tokens, "--out", folder / "run")
    yield "train", done, bytes_read, seconds_of_training(folder / "run")
    done = python(*train, "--stream", "--corpus", text, "--reflow", "no",
                  "--out", folder / "streamed")
    yield "train, streamed", done, bytes_read, seconds_of_training(folder / "streamed")

    # The small eval split as both splits: the memory of the model and of torch themselves.
    part = folder / "twentieth"
    part.mkdir()
    for split in ("train", "eval"):
        (part / split).symlink_to(tokens / "eval")
    done = python(*train, "--data", part, "--out", folder / "small")
    yield "train on a twentieth", done, bytes_read, seconds_of_training(folder / "small")


def seconds_of_training(run):
    """Return the seconds of a run's steps, from its last line of metrics."""
    return json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["elapsed"]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", help="folder that holds books/")
    parser.add_argument("--megabytes", type=int, default=1000,
                        help="size of the text (default 1000)")
    parser.add_argument("--steps", type=int, default=50, help="training steps (default 50)")
    parser.add_argument("--out", type=Path, help="write the results here, as JSON")
    args = parser.parse_args()
    command = (f"python benchmarks/large_corpus.py CORPORA --megabytes {args.megabytes} "
               f"--steps {args.steps}")
    results = {"command": command, **machine(PACKAGES), "rows": []}
    print(markdown(["step", "seconds", "MB of text per second", "peak memory"], []), end="")
    with tempfile.TemporaryDirectory() as folder:
        all_steps = steps(args.corpora, args.megabytes, args.steps, Path(folder))
        for name, done, size, seconds in all_steps:
            rate = size / 1e6 / seconds
            results["rows"].append({
                "step": name, "seconds": done["seconds"], "megabytes_per_second": rate,
                "peak_megabytes": done["megabytes"]})
            peak = f"{done['megabytes']:,.0f} MB" if done["megabytes"] else ""
            print(markdown_row([name, f"{done['seconds']:.1f}", f"{rate:.3g}", peak]), flush=True)
            write_json(args.out, results)  # an interruption loses one row at most


if __name__ == "__main__":
    run(main)
