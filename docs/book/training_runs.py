"""The small runs of chapters 9, 10 and 12: train.py itself, with one thing left out or changed, several seeds each.

    python docs/book/training_runs.py loop --out docs/book/results/loop.json                chapters 9 and 10
    python docs/book/training_runs.py gradients --out docs/book/results/gradients.json      the picture of chapter 9
    python docs/book/training_runs.py switches --out docs/book/results/switches.json        chapter 12
    python docs/book/training_runs.py --table docs/book/results/loop.json

The text is a made-up language, and the model so small that a run takes ten seconds of one core. What train.py has a flag for is a flag; what
it does right by itself has to be broken here by hand (``BROKEN``). Rows are written as they are done, and the same command goes on where it
was. Losses depend on the seed, torch and the processor's way of adding.
"""
import argparse
import contextlib
import io
import itertools
import json
import random
import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # this checkout, installed or not

# All runs: short lines of the language below, one process, float32; the tokenizer has room for a token for each of its words.
COMMON = ("--tokenizer-kind wordpiece --vocab-size 600 --layer-norm-eps 1e-5 --hidden-size 64 --num-attention-heads 4 --max-position-embeddings 64 "
          "--max-length 32 --hidden-dropout-prob 0 --attention-probs-dropout-prob 0 --initializer-range 0.1 --examples lines --batch-size 32 "
          "--mlm-probability 0.15 --optimizer adamw --learning-rate 2e-3 --adam-beta2 0.98 --warmup 0.1 --schedule linear --max-steps 200 "
          "--log-every 10 --eval-every 20 --eval-examples 128 --device cpu --precision fp32")
GATED = "gated --intermediate-size 172"  # as many weights as 256 without a gate
SETS = {
    # The block of 2018, at a rate that is rather high for it.
    "loop": {
        "common": COMMON + " --family bert --type-vocab-size 0 --num-hidden-layers 2 --intermediate-size 256 --learning-rate 5e-3",
        "rows": {
            "the recipe": "",
            "no warm-up": "--warmup 0",
            "no clipping": "--max-grad-norm 0",
            "a mean of micro-batches' means": "--micro-batch-size 8 mean-of-means",
            "fp16": "--precision fp16",
            "fp16, no loss scale": "--precision fp16 no-scale",
        },
    },
    # From BERT's block to ModernBERT's, one switch at a time. A window is as wide as a line but where it is named.
    "switches": {
        "common": COMMON + " --family bert --type-vocab-size 0 --num-hidden-layers 2 --intermediate-size 256 --local-attention 128",
        "rows": {
            "BERT's block": "",
            "pre-norm": "pre-norm",
            "rotary positions": "rotary",
            "GeGLU": GATED,
            "no biases": "no-biases",
            "ModernBERT's block": f"pre-norm rotary no-biases {GATED}",
            "without pre-norm": f"rotary no-biases {GATED}",
            "without rotary positions": f"pre-norm no-biases {GATED}",
            "without GeGLU": "pre-norm rotary no-biases",
            "with biases": f"pre-norm rotary {GATED}",
            "with a window of 4": f"pre-norm rotary no-biases {GATED} --local-attention 4",
        },
    },
}
NOUNS, CLASSES, LINES = 60, 4, 20000  # of the language
PROPERTIES = {"pre-norm": ("pre_norm", True), "rotary": ("rotary", True), "gated": ("gated", True), "no-biases": ("use_bias", False)}


def main(args=None):
    args = parse(args)
    if args.table:
        print(table(json.loads(args.table.read_text(encoding="utf-8"))), end="")
        return
    from tokenizer.utils.files import atomic_write

    if args.set == "gradients":
        atomic_write(args.out, json.dumps(gradients(args)) + "\n")
        return
    rows = json.loads(args.out.read_text(encoding="utf-8"))["rows"] if args.out.is_file() else []
    chosen = SETS[args.set]
    with tempfile.TemporaryDirectory() as folder:
        corpus = args.corpus or write_corpus(Path(folder))
        for seed in args.seeds:
            for name in args.only or chosen["rows"]:
                if any((row["name"], row["seed"]) == (name, seed) for row in rows):
                    continue
                rows.append(train_row(name, f"{chosen['common']} {chosen['rows'][name]} {args.extra}".split(), seed, corpus, Path(folder)))
                rows.sort(key=lambda row: (list(chosen["rows"]).index(row["name"]), row["seed"]))
                atomic_write(args.out, json.dumps({"set": args.set, "flags": chosen["common"], "rows": rows}) + "\n")
                print(args.set, name, seed, flush=True)


def parse(args):
    parser = argparse.ArgumentParser(description="Small trainings with one thing left out or changed, several seeds each.")
    parser.add_argument("set", nargs="?", choices=[*SETS, "gradients"], default="loop", help="which runs (default loop)")
    parser.add_argument("--corpus", default="", help="a corpus as train.py takes it (default: the made-up language)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="(default 0 1 2)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these rows")
    parser.add_argument("--extra", default="", help="more flags for train.py")
    parser.add_argument("--out", type=Path, help="write the results here, as JSON")
    parser.add_argument("--table", type=Path, metavar="FILE", help="print the table of a results file, and nothing else")
    args = parser.parse_args(args)
    if not (args.table or args.out):
        parser.error("give --out FILE or --table FILE")
    return args


# ---------------------------------------------------------------------------------------------- the language


def language(lines=LINES, seed=0):
    """A made-up language: NOUNS nouns, the k-th with the weight 1/k (Zipf), each behind an adjective of its own, two to six such pairs a line.

    Half of the lines begin with the noun, so that a place says nothing. The last word tells the class of the first noun, at any distance.

    >>> language(2).split("\\n\\n")
    ['zana doda zogu more digu', 'rada nagu rada nagu ruva']
    """
    rng = random.Random(seed)
    syllables = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
    words = [first + second for first, second in rng.sample(list(itertools.product(syllables, repeat=2)), 2 * NOUNS + CLASSES)]
    adjectives, nouns, ends = words[:NOUNS], words[NOUNS:-CLASSES], words[-CLASSES:]
    said = []
    for _ in range(lines):
        drawn = rng.choices(range(NOUNS), [1 / k for k in range(1, NOUNS + 1)], k=rng.randint(2, 6))
        pairs = [word for number in drawn for word in (adjectives[number], nouns[number])]
        said.append(" ".join([*pairs[rng.randint(0, 1):], ends[drawn[0] % CLASSES]]))
    return "\n\n".join(said)


def write_corpus(folder):
    """The language in a file of a folder -> its path."""
    path = folder / "language.txt"
    path.write_text(language(), encoding="utf-8")
    return str(path)


# ---------------------------------------------------------------------------------------------- one run


def train_row(name, words, seed, corpus, folder):
    """Train -> its row: the losses on the way, the held-out ones, what the end was."""
    import torch

    import train
    from minibert.formats.run_folder import read_metrics_lines

    broken = [word for word in words if word in BROKEN or word in PROPERTIES]
    flags = [word for word in words if word not in broken] + ["--seed", str(seed)]
    data, run = folder / "data-of" / "data", folder / f"{name}-{seed}".replace(" ", "-")
    text = ["--data", str(data)] if data.is_dir() else ["--corpus", corpus]
    row = {"name": name, "seed": seed, "threads": torch.get_num_threads()}
    with contextlib.ExitStack() as stack, contextlib.redirect_stdout(io.StringIO()):
        for word in broken:
            stack.enter_context(BROKEN[word]() if word in BROKEN else config_switch(*PROPERTIES[word]))
        try:
            if code := train.main([*flags, *text, "--out", str(run), "--save-every", "0"]):
                sys.exit(code)  # Ctrl-C
        except ValueError as error:  # a loss that is no number, or no step that could be taken
            row["stopped"] = str(error)
    lines = read_metrics_lines(run / "metrics.jsonl")
    if not data.is_dir():
        (folder / "data-of").mkdir()
        for part in ("data", "tokenizer"):
            (run / part).rename(folder / "data-of" / part)
    last = next((line for line in reversed(lines) if "final" in line), {})
    return row | {"expected": {k: round(lines[0][k], 4) for k in ("ln_vocab", "unigram_entropy")},
                  "training": [[line["step"], round(line["loss"], 4), round(line["grad_norm"], 4)] for line in lines if "grad_norm" in line],
                  "held_out": [[line["step"], round(line["eval_loss"], 4)] for line in lines if "eval_loss" in line and "final" not in line],
                  "loss": last.get("eval_loss"), "accuracy": last.get("eval_accuracy"), "masked": last.get("eval_masked"),
                  "bits_per_byte": last.get("eval_bits_per_byte")}


@contextlib.contextmanager
def config_switch(name, value):
    """BertConfig with one of its switches turned by hand, whatever the family."""
    from unittest import mock

    from minibert.config import BertConfig

    with mock.patch.object(BertConfig, name, value), mock.patch("train.checkpoint.save_model"), mock.patch("train.checkpoint.save_trainer"):
        yield  # the ecosystem has no name for such a model, so it is not saved


@contextlib.contextmanager
def no_scale():
    """fp16 with gradients as they are: the scaler is there and does nothing."""
    from functools import partial
    from unittest import mock

    import torch

    with mock.patch("torch.amp.GradScaler", partial(torch.amp.GradScaler, init_scale=1.0, growth_interval=10**9)):
        yield


@contextlib.contextmanager
def mean_of_means():
    """Micro-batches that all weigh the same, however many of their tokens are masked: the mistake that most loops once made."""
    from dataclasses import replace
    from unittest import mock

    from minibert.batches import Batch

    split = Batch.split

    def alike(batch, size):
        micros = split(batch, size)
        return [replace(micro, num_masked=batch.num_masked / len(micros)) for micro in micros]  # so that each has the weight 1 / len(micros)

    with mock.patch.object(Batch, "split", alike):
        yield


BROKEN = {"no-scale": no_scale, "mean-of-means": mean_of_means}


# ---------------------------------------------------------------------------------------------- gradients


def gradients(args):
    """How large the gradients of the recipe's matrices are at its end, and which of them fp16 loses without and with a scale.

    -> {"exponents": {"-12": how many gradients lie in [2^-12, 2^-11), ...}, "lost": {"1": share that fp16 makes 0, "65536": the same scaled}}
    """
    import torch

    from data import TokenFile
    from minibert.batches import Batches
    from minibert.examples import make_examples
    from minibert.formats.run_folder import load_run
    from minibert.masking import Masker

    with tempfile.TemporaryDirectory() as folder:
        train_row("the recipe", f"{SETS['loop']['common']} {args.extra}".split(), 0, args.corpus or write_corpus(Path(folder)), Path(folder))
        model, tokenizer = load_run(Path(folder) / "the-recipe-0")
        lines = make_examples("lines", TokenFile(Path(folder) / "data-of" / "data" / "train"), tokenizer, 128)
        batch = Batches(lines, Masker(tokenizer.vocab_size, tokenizer.mask_token_id, tokenizer.special_ids, 0.15), 64, tokenizer.pad_token_id, 0).peek()
    matrices = [module.weight for module in model.modules() if isinstance(module, torch.nn.Linear)]

    def of(scale, precision):
        model.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16, enabled=precision == "fp16"):
            loss = model(**batch.model_inputs()).mlm_loss
        (loss * scale).backward()
        return torch.cat([matrix.grad.flatten() for matrix in matrices])

    true = of(1, "fp32")
    counts = Counter(torch.frexp(true[true != 0]).exponent.sub(1).tolist())
    lost = {str(scale): round(float(((of(scale, "fp16") == 0) & (true != 0)).sum() / (true != 0).sum()), 4) for scale in (1, 65536)}
    return {"exponents": {str(exponent): counts[exponent] for exponent in sorted(counts)}, "lost": lost}


# ---------------------------------------------------------------------------------------------- the table


def table(results):
    """The rows as text, a line for all seeds of one name: mean, deviation and each seed's held-out loss.

    >>> row = {"name": "the recipe", "seed": 0, "loss": 4.5, "accuracy": 0.25}
    >>> print(table({"rows": [row, row | {"seed": 1, "loss": 4.7}]}), end="")
    row           held-out loss                  masked accuracy
    the recipe    4.600 +- 0.141  4.500 4.700    25.0 %
    """
    names = list(dict.fromkeys(row["name"] for row in results["rows"]))
    cells = [("row", "held-out loss", "masked accuracy")]
    for name in names:
        rows = [row for row in results["rows"] if row["name"] == name]
        ended = [row["loss"] for row in rows if row["loss"] is not None]
        each = " ".join("stopped" if row["loss"] is None else f"{row['loss']:.3f}" for row in rows)
        spread = f" +- {statistics.stdev(ended):.3f}" if len(ended) > 1 else " " * 9
        mean = f"{statistics.mean(ended):.3f}{spread}" if ended else "no end reached"
        right = f"{statistics.mean(row['accuracy'] for row in rows if row['accuracy'] is not None):.1%}".replace("%", " %") if ended else ""
        cells.append((name, f"{mean}  {each}", right))
    widths = [max(map(len, column)) + 4 for column in zip(*cells)]
    return "".join("".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() + "\n" for row in cells)


if __name__ == "__main__":
    main()
