"""KantaiBERT twice: by train.py, and by transformers' Trainer with the settings of the walk-through that made it known.

    python benchmarks/kant_against_trainer.py --out benchmarks/results/kant-against-trainer.json [--size full] [--steps 100]
    python benchmarks/kant_against_trainer.py --table benchmarks/results/kant-against-trainer.json
    python benchmarks/kant_against_trainer.py --picture docs/kant.png benchmarks/results/kant-against-trainer.json

Both get the same tokenizer (trained here, loaded there by AutoTokenizer), the same lines in the same pieces (checked, id by id), a model of
the same shape, and as many examples: 2,672 steps of 64 lines. They differ in what a recipe is: the Trainer runs as the walk-through ran it,
ours as the preset `kant` does. What is measured is one thing for both: at every point the model is written to a folder in the Hugging Face layout,
read by minibert.from_pretrained, and asked for the same masked tokens of the same held-out lines, in float32. A tenth of the paragraphs is held
out, by a hash of their text. Time is that of training alone, the clocks stand still while a point is measured; on a CPU it is the processor's, so
that other work on the machine does not count.

Every point is written at once, and the two may run at the same time (--only). A curve that is whole stays when the same command is given
again; one that was interrupted begins anew.
"""
import argparse
import json
import os
import platform
import sys
import tempfile
import time
from importlib import metadata, util
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # the product of this checkout, installed or not
import train  # noqa: E402
from data import TokenFile, open_corpus, prepare  # noqa: E402
from data.sources.named import CACHE
from data.splits import stable_hash  # noqa: E402
from minibert import from_pretrained, save_pretrained  # noqa: E402
from minibert.analysis.plots import COLORS  # noqa: E402
from minibert.evaluate import EVAL_SEED, evaluate, unigram_entropy  # noqa: E402
from minibert.examples import make_examples  # noqa: E402
from minibert.masking import Masker  # noqa: E402
from minibert.presets import PRESETS  # noqa: E402
from tokenizer import ByteLevelBPE, load_tokenizer  # noqa: E402
from tokenizer.utils.cli import run  # noqa: E402
from tokenizer.utils.files import atomic_write  # noqa: E402

SIZES = {"full": {}, "small": {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024},
         "tiny": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}}  # tiny: for the test
HELD_OUT_ONE_IN = 10
WHO = {"minibert": "minibert, preset kant", "trainer": "transformers' Trainer, the walk-through's settings"}
OPPONENT = ("transformers", "accelerate")  # what the Trainer needs
FIRST = (25, 50)  # points before the first of --every: the beginning is where a rate without warm-up could be ahead


def main(args=None):
    args = parse(args)
    if args.table or args.picture:
        results = json.loads(Path(args.results).read_text(encoding="utf-8"))
        return print(table(results), end="") if args.table else picture(results, args.picture)
    if missing := [name for name in OPPONENT if util.find_spec(name) is None]:
        raise ValueError(f'the Trainer needs {" and ".join(missing)}, not installed here: pip install -e ".[bench]" -c constraints.txt')
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        facts, texts = split(args.corpus, folder)
        lines = Lines(folder, texts)
        settings = {"size": args.size, "steps": args.steps, "every": args.every, **facts, **lines.facts()}
        for who, compete in (("minibert", ours), ("trainer", theirs)):
            if who in args.only and steps_of(begun(args.out, settings), who)[-1:] != [args.steps]:
                compete(args, folder, lines, Recorder(lines, folder / f"{who}-point", args, settings, who))
    print(table(begun(args.out, settings)), end="")


def parse(args):
    parser = argparse.ArgumentParser(description="KantaiBERT by train.py and by transformers' Trainer: held-out loss by steps and by time.")
    parser.add_argument("results", nargs="?", help="with --table and --picture: a results file")
    parser.add_argument("--corpus", default="kant", help="a corpus as train.py takes it (default kant)")
    parser.add_argument("--size", default="small", choices=SIZES, help="small: 4 x 256, for a CPU; full: 6 x 768, for a GPU (default small)")
    parser.add_argument("--steps", type=int, default=2672, help="steps of 64 lines (default 2,672)")
    parser.add_argument("--every", type=int, default=100, help="steps between points (default 100)")
    parser.add_argument("--only", nargs="*", choices=WHO, default=list(WHO), metavar="WHO", help="minibert, trainer (default: both)")
    parser.add_argument("--out", default="benchmarks/results/kant-against-trainer.json", help="where the points are written")
    parser.add_argument("--table", action="store_true", help="print the table of a results file")
    parser.add_argument("--picture", metavar="FILE", help="draw a results file")
    args = parser.parse_args(args)
    if (args.table or args.picture) and not args.results:
        parser.error("name the results file to show")
    return args


# ------------------------------------------------------------------------------------------------------- the same for both


def split(corpus, folder):
    """Tokenizer and token files of a corpus in ``folder``: tokenizer/, data/train, data/eval -> (their sizes as a dict, the training lines)."""
    documents = list(open_corpus(corpus, cache=CACHE).documents("all"))
    parts = {"train": [d for d in documents if stable_hash(d) % HELD_OUT_ONE_IN], "eval": [d for d in documents if stable_hash(d) % HELD_OUT_ONE_IN == 0]}
    tokenizer = ByteLevelBPE.train_from_iterator(parts["train"], vocab_size=PRESETS["kant"][0].vocab_size, min_frequency=2)
    tokenizer.save(folder / "tokenizer")
    files = {name: prepare(texts, tokenizer, folder / "data" / name) for name, texts in parts.items()}
    facts = {"vocabulary": tokenizer.vocab_size, "training_lines": files["train"].num_segments, "held_out_lines": files["eval"].num_segments}
    return facts, [line for text in parts["train"] for line in map(str.strip, text.split("\n")) if line]


class Lines:
    """The lines in ``folder``, and the one question that both models are asked about those held out."""

    def __init__(self, folder, texts):
        self.texts, self.tokenizer = texts, load_tokenizer(folder / "tokenizer")
        self.train, self.held_out = (make_examples("lines", TokenFile(folder / "data" / name), self.tokenizer, PRESETS["kant"][1].max_length)
                                     .at(EVAL_SEED, 0) for name in ("train", "eval"))
        self.masker = Masker(self.tokenizer.vocab_size, self.tokenizer.mask_token_id, self.tokenizer.special_ids, 0.15)

    def facts(self):
        """The plateau, for the results."""
        return {"unigram_entropy": unigram_entropy(self.held_out, self.masker.is_special, limit=len(self.held_out))}

    def ask(self, model):
        """Held-out loss of a model in float32, over all lines -> {"loss", "accuracy"}."""
        scores = evaluate(model, self.held_out, self.masker, self.tokenizer.pad_token_id, batch_size=64, limit=len(self.held_out))
        return {name: scores[name] for name in ("loss", "accuracy")}


class Recorder:
    """The points of one curve. The clocks run from the first step on, and not while a point is measured."""

    def __init__(self, lines, folder, args, settings, who):
        self.lines, self.folder, self.out, self.settings, self.who, self.curve = lines, folder, args.out, settings, who, []
        self.points = {step for step in (*FIRST, *range(args.every, args.steps, args.every), args.steps) if step <= args.steps}

    def begin(self):
        self.since = clocks()

    def step_done(self, step, save, device):
        """After each step. ``save(folder)`` writes the model in the Hugging Face layout."""
        if step not in self.points:
            return
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        now = clocks()
        save(self.folder)
        scores = self.lines.ask(from_pretrained(self.folder).to(device))
        times = {name: round(now[name] - since, 1) for name, since in self.since.items()}
        self.curve.append({"step": step, **times, **scores})
        results = begun(self.out, self.settings)  # read again: the other curve may be growing in another process
        results["curves"][self.who] = self.curve
        write(self.out, results)
        print(f"{self.who:8}  step {step:5,}  {times['seconds']:8,.1f} s  held out {scores['loss']:.3f}, {scores['accuracy']:.1%} right", flush=True)
        after = clocks()
        self.since = {name: since + after[name] - now[name] for name, since in self.since.items()}


def clocks():
    """Seconds by the clock, and of the processors: the second do not grow while other programs have the machine."""
    return {"seconds": time.monotonic(), "processor_seconds": time.process_time()}


# ------------------------------------------------------------------------------------------------------- the two


def ours(args, folder, lines, recorder):
    """train.py as it is, with the preset's recipe: only size, length and data are given."""
    class Recorded(train.Trainer):
        def fit(self):
            recorder.begin()
            return super().fit()

        def uncount_skipped_steps(self):  # called once at the end of each step
            found = super().uncount_skipped_steps()
            recorder.step_done(self.state.step, lambda folder: save_pretrained(self.model, folder), self.device)
            return found

    flags = [word for name, value in SIZES[args.size].items() for word in ("--" + name.replace("_", "-"), str(value))]
    own, train.Trainer = train.Trainer, Recorded
    try:
        code = train.main(["--preset", "kant", "--data", str(folder / "data"), "--tokenizer", str(folder / "tokenizer"),
                           "--out", str(folder / "ours"), "--max-steps", str(args.steps), "--eval-every", "0", "--save-every", "0", *flags])
    finally:
        train.Trainer = own
    if code:  # Ctrl-C
        sys.exit(code)


def theirs(args, folder, lines, recorder):
    """The Trainer as the walk-through has it: 5e-5, no warm-up, linear decay, AdamW's defaults, float32, dropout 0.1, 64 lines in random order."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from transformers import (
        AutoTokenizer,
        DataCollatorForLanguageModeling,
        RobertaConfig,
        RobertaForMaskedLM,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    examples = [{"input_ids": ids} for ids in their_ids(tokenizer, lines)]
    shape = PRESETS["kant"][0]
    sizes = {name: getattr(shape, name) for name in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
                                                     "max_position_embeddings", "type_vocab_size")}
    torch.manual_seed(0)
    model = RobertaForMaskedLM(RobertaConfig(**{**sizes, **SIZES[args.size]}, vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id,
                                             bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id))

    class Recorded(TrainerCallback):
        def on_train_begin(self, *arguments, **named):
            recorder.begin()

        def on_step_end(self, arguments, state, control, **named):
            recorder.step_done(state.global_step, model.save_pretrained, model.device)

    settings = TrainingArguments(output_dir=str(folder / "theirs"), per_device_train_batch_size=64, max_steps=args.steps, learning_rate=5e-5,
                                 save_strategy="no", logging_strategy="no", report_to="none")
    Trainer(model=model, train_dataset=examples, data_collator=DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15),
            callbacks=[Recorded()], args=settings).train()


def their_ids(tokenizer, lines):
    """The training lines as AutoTokenizer writes them -> list of lists of ids. ValueError where one differs from ours."""
    ids = tokenizer(lines.texts, truncation=True, max_length=PRESETS["kant"][1].max_length)["input_ids"]
    for text, row, own in zip(lines.texts, ids, map(np.ndarray.tolist, lines.train), strict=True):
        if row != own:
            raise ValueError(f"AutoTokenizer gives {row} for {text!r}, the token file has {own}: the two would not learn from the same")
    return ids


# ------------------------------------------------------------------------------------------------------- results


def begun(path, settings):
    """The results file to go on with: the one at ``path`` where it has the same settings, else a new one."""
    versions = {name: metadata.version(name) for name in ("torch", "transformers")}
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu, {torch.get_num_threads()} thread(s)"
    new = {"date": time.strftime("%Y-%m-%d"), "python": platform.python_version(), "device": device, "versions": versions,
           "settings": settings, "curves": {}}
    if Path(path).is_file():
        old = json.loads(Path(path).read_text(encoding="utf-8"))
        if old["settings"] == settings:
            return old
    return new


def write(path, results):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    atomic_write(Path(path), json.dumps(results, indent=1) + "\n")


def steps_of(results, who):
    """The steps of a curve. ``{"curves": {"trainer": [{"step": 25, ...}]}}, "trainer" -> [25]``"""
    return [point["step"] for point in results["curves"].get(who, [])]


def lower_everywhere(results):
    """Whether ours is lower at each step that both have; None where they share none."""
    one, two = ({point["step"]: point["loss"] for point in results["curves"].get(who, [])} for who in WHO)
    shared = one.keys() & two.keys()
    return all(one[step] < two[step] for step in shared) if shared else None


def time_of(results):
    """Which seconds count: on a CPU those of the processor (others may use the machine, too), on a GPU those of the clock."""
    return "processor_seconds" if results["device"].startswith("cpu") else "seconds"


def lower_in_time(results):
    """Whether ours is lower than each of their points as soon as theirs is reached; None where either curve is missing.

    Ours counts by its last point that is not later; the points of theirs before our first one do not count.
    """
    one, two = (results["curves"].get(who, []) for who in WHO)
    seconds = time_of(results)
    pairs = [([mine["loss"] for mine in one if mine[seconds] <= point[seconds]], point["loss"]) for point in two]
    pairs = [(mine[-1], loss) for mine, loss in pairs if mine]
    return all(mine < loss for mine, loss in pairs) if pairs else None


def table(results, rows=8):
    """The table of the documentation, in Markdown: some of the points, the first and the last among them."""
    one, two = ({point["step"]: point for point in results["curves"].get(who, [])} for who in WHO)
    shared = sorted(one.keys() & two.keys())
    chosen = sorted({shared[round(i * (len(shared) - 1) / (rows - 1))] for i in range(rows)}) if shared else []
    lines = ["| steps | minibert: held-out loss | accuracy | minutes | Trainer: held-out loss | accuracy | minutes |", "|---" * 7 + "|"]
    for step in chosen:
        cells = (f"{p['loss']:.3f} | {p['accuracy']:.1%} | {p[time_of(results)] / 60:.1f}" for p in (one[step], two[step]))
        lines.append(f"| {step:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def picture(results, path):
    """Both curves, by steps and by minutes, on a white card (so that it can be read on a dark page)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(9, 3.8), sharey=True)
    minutes = "minutes of processor time" if time_of(results) == "processor_seconds" else "minutes"
    for axes, label, where in zip(panels, ("optimiser steps of 64 lines", minutes),
                                  (lambda point: point["step"], lambda point: point[time_of(results)] / 60)):
        for who, colour in zip(WHO, COLORS):
            curve = results["curves"].get(who, [])
            axes.plot([where(point) for point in curve], [point["loss"] for point in curve], "o-", color=colour, markersize=3, label=WHO[who])
        axes.axhline(results["settings"]["unigram_entropy"], color="#606060", linestyle="--", linewidth=1, label="unigram entropy: context ignored")
        axes.set_xlabel(label)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    panels[0].set_ylabel("held-out loss (nats a masked token)")
    panels[0].legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=140, facecolor="white")
    plt.close(figure)


if __name__ == "__main__":
    run(main)
