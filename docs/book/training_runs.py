"""The small runs of chapters 9, 10 and 12: train.py with one change each, several seeds each.

    python docs/book/training_runs.py loop --out docs/book/results/loop.json      # chapters 9, 10
    python docs/book/training_runs.py gradients --out docs/book/results/gradients.json
    python docs/book/training_runs.py switches --out docs/book/results/switches.json  # chapter 12
    python docs/book/training_runs.py text --out docs/book/results/text.json  # an hour on one core
    python docs/book/training_runs.py --table docs/book/results/loop.json

The text is a made-up language, and the model is so small that a run takes ten seconds on one core
(in the set "text", the quickstart's text and model, and several minutes).
Most changes are flags of train.py. What it always does right has to be broken by hand (``BROKEN``).
Each row is written when it is finished, and the same command continues after an interruption.
Losses depend on the seed, on torch and on the processor's order of additions.
"""
import contextlib
import io
import itertools
import json
import random
import statistics
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest import mock

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))  # this checkout, installed or not
import train  # noqa: E402
from data import TokenFile  # noqa: E402
from minibert.batches import Batch, Batches  # noqa: E402
from minibert.config import BertConfig  # noqa: E402
from minibert.examples import make_examples  # noqa: E402
from minibert.formats.run_folder import load_run, read_metrics_lines  # noqa: E402
from minibert.masking import Masker  # noqa: E402
from tokenizer.utils.cli import Parser, run  # noqa: E402
from tokenizer.utils.files import atomic_write  # noqa: E402

# Short lines, one process, fp32; the vocabulary has room for each word of the language.
COMMON = (
    "--tokenizer-kind wordpiece --vocab-size 600 --layer-norm-eps 1e-5 --hidden-size 64 "
    "--num-attention-heads 4 --max-position-embeddings 64 --max-length 32 --hidden-dropout-prob 0 "
    "--attention-probs-dropout-prob 0 --initializer-range 0.1 --examples lines --batch-size 32 "
    "--mlm-probability 0.15 --optimizer adamw --learning-rate 2e-3 --adam-beta2 0.98 --warmup 0.1 "
    "--schedule linear --max-steps 200 --log-every 10 --eval-every 20 --eval-examples 128 "
    "--device cpu --precision fp32")
TWO_BLOCKS = " --family bert --type-vocab-size 0 --num-hidden-layers 2 --intermediate-size 256"
GATED = "gated --intermediate-size 172"  # as many weights as 256 without a gate
SETS = {
    # The block of 2018, with a learning rate that is rather high for it.
    "loop": {
        "common": COMMON + TWO_BLOCKS + " --learning-rate 5e-3",
        "rows": {
            "the recipe": "",
            "no warm-up": "--warmup 0",
            "no clipping": "--max-grad-norm 0",
            "a mean of micro-batches' means": "--micro-batch-size 8 mean-of-means",
            "fp16": "--precision fp16",
            "fp16, no loss scale": "--precision fp16 no-scale",
        },
    },
    # From BERT's block to ModernBERT's, one switch at a time. The window is wider than a line,
    # except in the last row.
    "switches": {
        "common": COMMON + TWO_BLOCKS + " --local-attention 128",
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
    # The same switches in the quickstart, on its text.
    "text": {
        "common": "--preset quickstart --max-steps 1000 --eval-every 0",
        "rows": {
            "ModernBERT's block": "",
            "without pre-norm": "post-norm",
            "without rotary positions": "learned-positions",
            "without GeGLU": "no-gate --intermediate-size 384",  # as many weights
            "with biases": "biases",
        },
    },
}
# The made-up language.
NOUNS = 60
CLASSES = 4
LINES = 20000


def main(args=None):
    args = parse(args)
    if args.table:
        return print(table(json.loads(args.table.read_text(encoding="utf-8"))), end="")
    if args.set == "gradients":
        return atomic_write(args.out, json.dumps(gradients(args)) + "\n")
    flags = SETS[args.set]["common"]
    names = list(SETS[args.set]["rows"])
    rows = []
    if args.out.is_file():
        rows = json.loads(args.out.read_text(encoding="utf-8"))["rows"]
    finished = {(row["name"], row["seed"]) for row in rows}
    with tempfile.TemporaryDirectory() as folder:
        is_made_up = "--preset" not in flags
        corpus = args.corpus or (write_corpus(Path(folder)) if is_made_up else "pydocs")
        for seed, name in itertools.product(args.seeds, args.only or names):
            if (name, seed) in finished:
                continue
            words = f"{flags} {SETS[args.set]['rows'][name]} {args.extra}".split()
            rows.append(train_row(name, words, seed, corpus, Path(folder)))
            rows.sort(key=lambda row: (names.index(row["name"]), row["seed"]))
            results = {"set": args.set, "flags": flags, "rows": rows}
            atomic_write(args.out, json.dumps(results) + "\n")
            print(args.set, name, seed, flush=True)


def parse(args):
    parser = Parser(description="Small trainings with one change each, several seeds each.")
    parser.add_argument("set", nargs="?", choices=[*SETS, "gradients"], default="loop",
                        help="which runs")
    parser.add_argument("--corpus", default="",
                        help="a corpus that train.py accepts (default: that of the set)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these rows")
    parser.add_argument("--extra", default="", help="more flags for train.py")
    parser.add_argument("--out", type=Path, help="write the results here, as JSON")
    parser.add_argument("--table", type=Path, metavar="FILE",
                        help="only print the table of a results file")
    args = parser.parse_args(args)
    if not (args.table or args.out):
        parser.error("give --out FILE or --table FILE")
    return args


def language(lines=LINES, seed=0):
    """Return a text in a made-up language.

    Each of the nouns (the k-th with the weight 1/k, Zipf) follows an adjective of its own. A line
    has two to six such pairs, and half of the lines begin with the noun, so that the position says
    nothing. The last word tells the class of the first noun, at any distance.

    >>> language(2).split("\\n\\n")
    ['zana doda zogu more digu', 'rada nagu rada nagu ruva']
    """
    rng = random.Random(seed)
    syllables = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
    pairs = list(itertools.product(syllables, repeat=2))
    words = [first + second for first, second in rng.sample(pairs, 2 * NOUNS + CLASSES)]
    adjectives = words[:NOUNS]
    nouns = words[NOUNS:-CLASSES]
    last_words = words[-CLASSES:]
    weights = [1 / k for k in range(1, NOUNS + 1)]
    text = []
    for _ in range(lines):
        noun_ids = rng.choices(range(NOUNS), weights, k=rng.randint(2, 6))
        line = []
        for i in noun_ids:
            line += [adjectives[i], nouns[i]]
        first = rng.randint(0, 1)  # 1: without the first adjective
        text.append(" ".join([*line[first:], last_words[noun_ids[0] % CLASSES]]))
    return "\n\n".join(text)


def write_corpus(folder):
    """Write the language to a file. Return its path as a str."""
    path = folder / "language.txt"
    path.write_text(language(), encoding="utf-8")
    return str(path)


def train_row(name, words, seed, corpus, folder):
    """Train once. Return the row of results. words: flags of train.py and keys of BROKEN."""
    flags = [word for word in words if word not in BROKEN] + ["--seed", str(seed)]
    run_folder = folder / f"{name}-{seed}".replace(" ", "-")
    data = folder / "prepared" / "data"
    flags += ["--data", str(data)] if data.is_dir() else ["--corpus", corpus]
    row = {"name": name, "seed": seed, "threads": torch.get_num_threads()}
    # Mixed blocks may have a window in any family, and rows share the tokenizer of the first one:
    # train.py would refuse these flags.
    allow_all = mock.patch("minibert.training.cli.check_effects")
    with contextlib.ExitStack() as stack, contextlib.redirect_stdout(io.StringIO()), allow_all:
        for word in [word for word in words if word in BROKEN]:
            stack.enter_context(BROKEN[word]())
        try:
            if code := train.main([*flags, "--out", str(run_folder), "--save-every", "0"]):
                sys.exit(code)  # Ctrl-C
        except ValueError as error:  # a loss of inf or NaN, or only skipped steps
            row["stopped"] = str(error)
    lines = read_metrics_lines(run_folder / "metrics.jsonl")
    if not data.is_dir():  # the next runs use it again
        data.parent.mkdir()
        for part in ("data", "tokenizer"):
            (run_folder / part).rename(data.parent / part)
    return row | curves(lines)


def curves(lines):
    """Return the curves and final scores of a run from its lines of metrics."""
    training = [[line["step"], round(line["loss"], 4), round(line["grad_norm"], 4)]
                for line in lines if "grad_norm" in line]
    evaluations = [line for line in lines if "eval_loss" in line]
    final = next((line for line in evaluations if "final" in line), {})
    return {"expected": {key: round(lines[0][key], 4) for key in ("ln_vocab", "unigram_entropy")},
            "training": training,
            "held_out": [[line["step"], round(line["eval_loss"], 4)]
                         for line in evaluations if "final" not in line],
            "loss": final.get("eval_loss"), "accuracy": final.get("eval_accuracy"),
            "masked": final.get("eval_masked"), "bits_per_byte": final.get("eval_bits_per_byte")}


# What is changed or broken by hand


@contextlib.contextmanager
def config_switch(name, value):
    """Set a property of BertConfig for all families. Such a mixed model cannot be saved."""
    with (mock.patch.object(BertConfig, name, value),
          mock.patch("train.checkpoint.save_model"),
          mock.patch("train.checkpoint.save_trainer")):
        yield


def no_scale():
    """fp16 with unscaled gradients: the scaler multiplies by 1."""
    scaler = partial(torch.amp.GradScaler, init_scale=1.0, growth_interval=10**9)
    return mock.patch("torch.amp.GradScaler", scaler)


def mean_of_means():
    """Weight all micro-batches equally, although they differ in masked tokens.

    This was a common mistake in training loops.
    """
    split = Batch.split

    def split_equally(batch, size):
        micro_batches = split(batch, size)
        num_masked = batch.num_masked / len(micro_batches)
        return [replace(micro_batch, num_masked=num_masked) for micro_batch in micro_batches]

    return mock.patch.object(Batch, "split", split_equally)


BROKEN = {
    "no-scale": no_scale,
    "mean-of-means": mean_of_means,
    "pre-norm": partial(config_switch, "pre_norm", True),
    "rotary": partial(config_switch, "rotary", True),
    "gated": partial(config_switch, "gated", True),
    "no-biases": partial(config_switch, "use_bias", False),
    "post-norm": partial(config_switch, "pre_norm", False),
    "learned-positions": partial(config_switch, "rotary", False),
    "no-gate": partial(config_switch, "gated", False),
    "biases": partial(config_switch, "use_bias", True),
}


# The gradients of chapter 9's picture


def gradients(args):
    """Return the sizes of the gradients of the recipe's matrices at its end.

    {"exponents": {"-12": number of gradients in [2^-12, 2^-11), ...},
     "lost": {"1": share that becomes 0 in fp16, "65536": the same, scaled}}
    """
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        words = f"{SETS['loop']['common']} {args.extra}".split()
        train_row("the recipe", words, 0, args.corpus or write_corpus(folder), folder)
        model, tokenizer = load_run(folder / "the-recipe-0")
        tokens = TokenFile(folder / "prepared" / "data" / "train")
        lines = make_examples("lines", tokens, tokenizer, 128)
        masker = Masker(tokenizer.vocab_size, tokenizer.mask_token_id, tokenizer.special_ids, 0.15)
        batch = Batches(lines, masker, 64, tokenizer.pad_token_id, 0).peek()
    weights = [module.weight for module in model.modules() if isinstance(module, torch.nn.Linear)]

    def gradient(scale=1, fp16=True):
        model.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16, enabled=fp16):
            loss = model(**batch.model_inputs()).mlm_loss
        (loss * scale).backward()
        return torch.cat([weight.grad.flatten() for weight in weights])

    exact = gradient(fp16=False)
    is_nonzero = exact != 0
    counts = Counter(torch.frexp(exact[is_nonzero]).exponent.sub(1).tolist())
    lost = {}
    for scale in (1, 65536):
        num_lost = ((gradient(scale) == 0) & is_nonzero).sum()
        lost[str(scale)] = round(float(num_lost / is_nonzero.sum()), 4)
    return {"exponents": {str(exponent): counts[exponent] for exponent in sorted(counts)},
            "lost": lost}


def table(results):
    """Return the rows as text: mean, standard deviation and each seed's loss, a line per name.

    >>> row = {"name": "the recipe", "seed": 0, "loss": 4.5, "accuracy": 0.25}
    >>> print(table({"rows": [row, row | {"seed": 1, "loss": 4.7}]}), end="")
    row           validation loss                masked accuracy
    the recipe    4.600 +- 0.141  4.500 4.700    25.0 %
    """
    cells = [("row", "validation loss", "masked accuracy")]
    for name in dict.fromkeys(row["name"] for row in results["rows"]):
        rows = [row for row in results["rows"] if row["name"] == name]
        losses = [row["loss"] for row in rows if row["loss"] is not None]
        accuracies = [row["accuracy"] for row in rows if row["accuracy"] is not None]
        seeds = " ".join("stopped" if row["loss"] is None else f"{row['loss']:.3f}" for row in rows)
        if losses:
            spread = f" +- {statistics.stdev(losses):.3f}" if len(losses) > 1 else " " * 9
            mean = f"{statistics.mean(losses):.3f}{spread}"
            accuracy = f"{100 * statistics.mean(accuracies):.1f} %"
        else:
            mean, accuracy = ("no end reached", "")
        cells.append((name, f"{mean}  {seeds}", accuracy))
    widths = [max(len(row[column]) for row in cells) + 4 for column in range(3)]
    lines = ["".join(cell.ljust(width) for cell, width in zip(row, widths)) for row in cells]
    return "".join(line.rstrip() + "\n" for line in lines)


if __name__ == "__main__":
    run(main)
