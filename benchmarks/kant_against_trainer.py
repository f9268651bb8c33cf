"""KantaiBERT twice: by train.py, and by transformers' Trainer with the settings of the walk-through
that made it known.

    python benchmarks/kant_against_trainer.py --out benchmarks/results/kant-against-trainer.json
    python benchmarks/kant_against_trainer.py --table benchmarks/results/kant-against-trainer.json
    python benchmarks/kant_against_trainer.py --picture docs/kant.png \\
        benchmarks/results/kant-against-trainer.json

Both get the same tokenizer (trained here, loaded there by AutoTokenizer), the same ids (checked), a
model of the same shape and the same number of steps with 64 lines. They differ in the recipe: the
Trainer runs as in the walk-through, train.py with the preset ``kant``. Both are measured alike: at
each point, the model is saved in the Hugging Face layout, loaded with minibert.from_pretrained, and
evaluated in fp32 on the same masked tokens of the same validation lines. A hash of the text selects
one paragraph in ten for validation. Times are those of training only. On a CPU they are processor
time, so that other work on the machine does not count.

Each point is written when it is measured, and the two curves may be trained at the same time
(--only). With the same settings, a complete curve is kept, and an incomplete one starts again.
"""
import platform
import sys
import tempfile
import time
from dataclasses import replace
from importlib import metadata, util
from pathlib import Path

import torch
from common import add_result_flags, markdown, print_table, read_json, write_json
from trainers import device_name, run_minibert, run_transformers

from data import TokenFile, open_corpus, prepare
from data.sources.named import CACHE
from data.splits import stable_hash
from minibert import from_pretrained
from minibert.analysis.plots import COLORS
from minibert.evaluate import EVAL_SEED, evaluate, expected_losses
from minibert.examples import make_examples
from minibert.masking import Masker
from minibert.presets import PRESETS
from tokenizer import ByteLevelBPE, load_tokenizer
from tokenizer.utils.cli import Parser, run

MODEL, TRAINING = PRESETS["kant"]
SIZES = {
    "full": {},
    "small": {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4,
              "intermediate_size": 1024},
    "tiny": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
             "intermediate_size": 32},  # for the tests
}
EVAL_ONE_IN = 10  # paragraphs
BATCH_SIZE = 64
TITLES = {"minibert": "minibert, preset kant",
          "trainer": "transformers' Trainer, the walk-through's settings"}
REQUIRED = ("transformers", "accelerate")  # by the Trainer
FIRST_POINTS = (25, 50)  # early, where a learning rate without warm-up might be better


def main(args=None):
    args = parse(args)
    if args.table:
        return print_table(args.table, table)
    if args.picture:
        return draw(read_json(args.results), args.picture)
    missing = [name for name in REQUIRED if util.find_spec(name) is None]
    if missing:
        raise ValueError(f"the Trainer needs {' and '.join(missing)}, not installed here: "
                         'pip install -e ".[bench]" -c constraints.txt')
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        texts, eval_set, settings = make_data(args.corpus, folder)
        settings = {"size": args.size, "steps": args.steps, "every": args.every, **settings}
        for name in args.only:
            if is_complete(load_results(args.out, settings), name):
                continue
            recorder = Recorder(name, args, settings, eval_set, folder / f"{name}-point")
            if name == "minibert":
                train_minibert(args, folder, recorder)
            else:
                train_transformers(args, folder, texts, recorder)
    print(table(load_results(args.out, settings)), end="")


def parse(args):
    parser = Parser(description="Compare KantaiBERT by train.py and by transformers' Trainer.")
    parser.add_argument("results", nargs="?", type=Path, help="with --picture: a results file")
    parser.add_argument("--corpus", default="kant", help="a corpus that train.py accepts")
    parser.add_argument("--size", default="small", choices=SIZES,
                        help="small: 4 x 256, for a CPU; full: 6 x 768, for a GPU")
    parser.add_argument("--steps", type=int, default=2672, help=f"steps of {BATCH_SIZE} lines")
    parser.add_argument("--every", type=int, default=100, help="steps between points")
    parser.add_argument("--only", nargs="*", choices=TITLES, default=list(TITLES), metavar="NAME",
                        help="minibert, trainer (default: both)")
    add_result_flags(parser, out=Path("benchmarks/results/kant-against-trainer.json"))
    parser.add_argument("--picture", metavar="FILE", help="draw a results file")
    args = parser.parse_args(args)
    if args.picture and not args.results:
        parser.error("name the results file to draw")
    return args


# The data


def make_data(corpus, folder):
    """Write tokenizer/, data/train and data/eval. Return (training lines, eval set, settings)."""
    documents = list(open_corpus(corpus, cache=CACHE).documents("all"))
    splits = {"train": [], "eval": []}
    for document in documents:
        is_eval = stable_hash(document) % EVAL_ONE_IN == 0
        splits["eval" if is_eval else "train"].append(document)
    tokenizer = ByteLevelBPE.train_from_iterator(splits["train"], vocab_size=MODEL.vocab_size,
                                                 min_frequency=TRAINING.min_frequency)
    tokenizer.save(folder / "tokenizer")
    files = {name: prepare(texts, tokenizer, folder / "data" / name)
             for name, texts in splits.items()}
    eval_set = EvalSet(folder)
    lines = [line.strip() for document in splits["train"] for line in document.split("\n")]
    settings = {"vocabulary": tokenizer.vocab_size, "training_lines": files["train"].num_segments,
                "held_out_lines": files["eval"].num_segments,
                "unigram_entropy": eval_set.unigram_entropy()}
    return [line for line in lines if line], eval_set, settings


def line_examples(folder, split):
    tokenizer = load_tokenizer(folder / "tokenizer")
    tokens = TokenFile(folder / "data" / split)
    return make_examples("lines", tokens, tokenizer, TRAINING.max_length).at(EVAL_SEED, 0)


class EvalSet:
    """The validation lines, with the same masks for both models."""

    def __init__(self, folder):
        tokenizer = load_tokenizer(folder / "tokenizer")
        self.pad_token_id = tokenizer.pad_token_id
        self.examples = line_examples(folder, "eval")
        self.masker = Masker(tokenizer.vocab_size, tokenizer.mask_token_id, tokenizer.special_ids,
                             0.15)

    def unigram_entropy(self):
        expected = expected_losses(self.examples, self.masker.is_special, limit=len(self.examples))
        return expected["unigram_entropy"]

    def evaluate(self, model):
        """Return {"loss", "accuracy"} of a model on all lines."""
        scores = evaluate(model, self.examples, self.masker, self.pad_token_id, batch_size=64,
                          limit=len(self.examples))
        return {"loss": scores["loss"], "accuracy": scores["accuracy"]}


class Recorder:
    """Measures the points of one curve. Measuring does not count as training time."""

    def __init__(self, name, args, settings, eval_set, folder):
        self.name = name
        self.out = args.out
        self.settings = settings
        self.eval_set = eval_set
        self.folder = folder
        self.points = {*FIRST_POINTS, *range(args.every, args.steps, args.every), args.steps}
        self.step = 0
        self.curve = []

    def on_start(self):
        self.start = clocks()

    def on_step(self, save, device):
        self.step += 1
        if self.step not in self.points:
            return
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        now = clocks()
        times = {name: round(now[name] - self.start[name], 1) for name in now}
        save(self.folder)
        scores = self.eval_set.evaluate(from_pretrained(self.folder).to(device))
        self.curve.append({"step": self.step, **times, **scores})
        results = load_results(self.out, self.settings)  # another process may add the other curve
        results["curves"][self.name] = self.curve
        write_json(self.out, results)
        print(f"{self.name:8}  step {self.step:5,}  {times['seconds']:8,.1f} s  "
              f"validation {scores['loss']:.3f}, {scores['accuracy']:.1%} right", flush=True)
        resumed = clocks()
        self.start = {name: self.start[name] + resumed[name] - now[name] for name in now}


def clocks():
    """Return wall time and processor time; the latter excludes other programs."""
    return {"seconds": time.monotonic(), "processor_seconds": time.process_time()}


# The two contestants


def train_minibert(args, folder, recorder):
    """Run train.py with the preset ``kant``."""
    flags = {"preset": "kant", "data": folder / "data", "tokenizer": folder / "tokenizer",
             "out": folder / "ours", "max_steps": args.steps, "eval_every": 0, "save_every": 0}
    code = run_minibert(flags | SIZES[args.size], recorder.on_start, recorder.on_step)
    if code:  # Ctrl-C
        sys.exit(code)


def train_transformers(args, folder, texts, recorder):
    """Run the Trainer as in the walk-through: 5e-5, no warm-up, linear decay, fp32, dropout 0.1."""
    examples = their_examples(folder, texts)
    config = replace(MODEL, **SIZES[args.size],
                     vocab_size=load_tokenizer(folder / "tokenizer").vocab_size)
    run_transformers(config, folder / "tokenizer", examples, recorder.on_start, recorder.on_step,
                     output_dir=str(folder / "theirs"), per_device_train_batch_size=BATCH_SIZE,
                     max_steps=args.steps, learning_rate=5e-5, logging_strategy="no")


def their_examples(folder, texts):
    """Return the ids of the training lines from AutoTokenizer. ValueError if ours differ."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    examples = tokenizer(texts, truncation=True, max_length=TRAINING.max_length)["input_ids"]
    for text, ids, our_ids in zip(texts, examples, line_examples(folder, "train"), strict=True):
        if ids != our_ids.tolist():
            raise ValueError(f"AutoTokenizer gives {ids} for {text!r}, but the token file has "
                             f"{our_ids.tolist()}")
    return examples


# Results


def load_results(path, settings):
    """Return the results in a file if they have the same settings, else empty ones."""
    if path.is_file():
        results = read_json(path)
        if results["settings"] == settings:
            return results
    versions = {name: metadata.version(name) for name in ("torch", "transformers")}
    return {"date": time.strftime("%Y-%m-%d"), "python": platform.python_version(),
            "device": device_name(), "versions": versions, "settings": settings, "curves": {}}


def is_complete(results, name):
    curve = results["curves"].get(name)
    return bool(curve) and curve[-1]["step"] == results["settings"]["steps"]


def time_key(results):
    """Return the clock that counts: processor time on a CPU, wall time on a GPU."""
    return "processor_seconds" if results["device"].startswith("cpu") else "seconds"


def by_step(results, name):
    return {point["step"]: point for point in results["curves"].get(name, [])}


def lower_everywhere(results):
    """Return whether minibert's loss is lower at each shared step; None without shared steps."""
    ours = by_step(results, "minibert")
    theirs = by_step(results, "trainer")
    shared = ours.keys() & theirs.keys()
    if not shared:
        return None
    return all(ours[step]["loss"] < theirs[step]["loss"] for step in shared)


def lower_in_time(results):
    """Return whether minibert's loss is lower at the time of each of the Trainer's points.

    minibert has the loss of its last point before that time. Earlier points of the Trainer do not
    count. None if there are none to compare.
    """
    key = time_key(results)
    comparisons = []
    for theirs in results["curves"].get("trainer", []):
        earlier = [point["loss"] for point in results["curves"].get("minibert", [])
                   if point[key] <= theirs[key]]
        if earlier:
            comparisons.append(earlier[-1] < theirs["loss"])
    return all(comparisons) if comparisons else None


def table(results, num_rows=8):
    """Return some of the points as Markdown, including the first and the last."""
    ours = by_step(results, "minibert")
    theirs = by_step(results, "trainer")
    shared = sorted(ours.keys() & theirs.keys())
    steps = set()
    if shared:
        last = len(shared) - 1
        steps = {shared[round(i * last / (num_rows - 1))] for i in range(num_rows)}
    rows = []
    for step in sorted(steps):
        cells = [f"{step:,}"]
        for point in (ours[step], theirs[step]):
            minutes = point[time_key(results)] / 60
            cells += [f"{point['loss']:.3f}", f"{point['accuracy']:.1%}", f"{minutes:.1f}"]
        rows.append(cells)
    return markdown(["steps", "minibert: validation loss", "accuracy", "minutes",
                     "Trainer: validation loss", "accuracy", "minutes"], rows)


def draw(results, path):
    """Draw both curves by steps and by minutes, on white, so that dark pages can show them."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    key = time_key(results)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), sharey=True)
    for color, (name, title) in zip(COLORS, TITLES.items()):
        curve = results["curves"].get(name, [])
        losses = [point["loss"] for point in curve]
        style = {"color": color, "markersize": 3, "label": title}
        left.plot([point["step"] for point in curve], losses, "o-", **style)
        right.plot([point[key] / 60 for point in curve], losses, "o-", **style)
    for axes in (left, right):
        axes.axhline(results["settings"]["unigram_entropy"], color="#606060", linestyle="--",
                     linewidth=1, label="unigram entropy: context ignored")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    left.set_xlabel(f"optimizer steps of {BATCH_SIZE} lines")
    right.set_xlabel("minutes of processor time" if key == "processor_seconds" else "minutes")
    left.set_ylabel("validation loss (nats per masked token)")
    left.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=140, facecolor="white")
    plt.close(figure)


if __name__ == "__main__":
    run(main)
