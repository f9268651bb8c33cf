"""What pre-training buys, by task and number of labels.

    python benchmarks/transfer.py runs/books --tasks FOLDER --blimp path/to/blimp
    python benchmarks/transfer.py --table benchmarks/results/transfer.json --plot transfer.png

FOLDER holds sst2/, cola/, pos/ and ner/, each with train.tsv and dev.tsv, and subjectivity/. The
model is fine-tuned with 100, 1,000, 10,000 and all labels, and so is the same model from random
weights. Three more measurements read the model as it is: minimal pairs (--blimp), and on SST-2 a
linear probe on the vectors of each layer.

Both variants are tuned alike: peak learning rate and dropout of the encoder are searched for each
task and variant on the training file alone, one seed for each pair of values (--rates, --dropouts),
trained on up to 1,000 examples and scored on up to 2,000 others. While the best rate is the lowest
or the highest that was tried, half of it or twice it is tried, too. The rows of SST-2 are phrases,
so trials are scored on whole held-out sentences (by_sentence.py): a score on phrases of known
sentences favors rates that memorize them. All sizes use what was found, also 100 labels, for which
so many others would not be at hand. The score of the dev part is that of the last epoch: nothing is
selected by it. Of each size all seeds have the same examples; seeds differ in head, order and
dropout, and from scratch in all weights.

Each trial and each seed is written when it is finished; the same command continues after an
interruption, and more --seeds, --sizes or --on add to the file. What was made with other files or
settings is refused.
"""
import functools
import itertools
import sys
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from by_sentence import WORDS, count_shared, hold_out, sentences
from common import write_json
from labeled_tasks import (
    SET_HERE,
    TASKS,
    add_task_flags,
    check_task_flags,
    check_unchanged,
    digest,
    digest_of,
    finetune_config,
    load_results,
    num_examples_of,
    read_part,
    read_results,
    train_seed,
)
from linear_probe import POOLINGS, STRENGTHS, layer_features, probe
from transfer_tables import PRETRAINED, VARIANTS, best_trial, plot, tables

from data.corpus_files import select_files
from minibert.analysis.minimal_pairs import read_pairs, score_pairs
from minibert.analysis.plots import check_picture
from minibert.finetuning.adapters import Tuning
from minibert.finetuning.command import load_encoder
from minibert.finetuning.config import FinetuneConfig
from minibert.finetuning.seeds import (
    ALL_WEIGHTS,
    baseline_scores,
    choose_examples,
    encode_files,
    new_model,
)
from tokenizer.utils.cli import Parser, run
from tokenizer.utils.files import check_writable
from tokenizer.utils.signals import StopRequest
from tokenizer.utils.terminal import plural

SIZES = ("100", "1000", "10000", "all")
SEARCH_TRAIN = 1000  # examples that a trial of the search is trained on, at most
SEARCH_HELD_OUT = 2000  # others that it is scored on, at most, and at most a third of all
SEARCHED = {"learning_rate", "hidden_dropout_prob"}


def main(args=None):
    """Measure what is missing. Return the exit status: 130 after Ctrl-C."""
    args = parse(args)
    if not args.table:
        with StopRequest() as stop:
            Measurement(args, stop).measure()
        if stop.requested:
            return 130
    result = read_results(args.table or args.out)
    print(tables(result), end="")
    if args.plot:
        plot(result, args.plot)


def parse(args):
    out = Parser(description="What pre-training buys, by task and number of labels.")
    add_task_flags(out, TASKS, "transfer")
    out.add_argument("--sizes", nargs="+", default=SIZES, metavar="N",
                     help="numbers of labeled examples, or all")
    out.add_argument("--rates", default="1e-4,3e-4,1e-3,3e-3", metavar="R,R,...",
                     help="peak learning rates of the search; of several, the best one gets "
                     "others on both sides")
    out.add_argument("--dropouts", default="0.1,0.5", metavar="P,P,...",
                     help="values of the encoder's dropout of the search")
    out.add_argument("--blimp", type=Path, metavar="FOLDER", help="files of minimal pairs")
    out.add_argument("--plot", metavar="FILE", help="draw the scores into a .png or .svg")
    args = out.parse_args(args)
    set_here = SET_HERE | SEARCHED | {*Tuning.__dataclass_fields__}
    check_task_flags(args, args.sizes, set_here, "transfer")
    for name in ("rates", "dropouts"):
        try:
            setattr(args, name, [float(number) for number in getattr(args, name).split(",")])
        except ValueError:
            out.error(f"--{name} {getattr(args, name)!r}: write numbers, separated by commas")
    if min(args.rates) <= 0:
        raise ValueError(f"--rates {min(args.rates):g}: must be above 0")
    for rate, dropout in itertools.product(args.rates, args.dropouts):
        FinetuneConfig(learning_rate=rate, hidden_dropout_prob=dropout)  # raises ValueError
    check_picture(args.plot, overwrite=True)
    return args


@dataclass
class Measurement:
    """Measures one run and writes each result into --out when it is finished.

    Each method returns at once if its result is there, or if ``stop`` is requested.
    """
    args: object
    stop: StopRequest

    def __post_init__(self):
        check_writable(self.args.out.parent)
        self.model, self.tokenizer = load_encoder(self.args.run)
        self.result = {"searches": {}} | load_results(self.args, self.model)

    def measure(self):
        # Refuse what cannot work before the first training.
        for task in self.args.on:
            self.check_files(task)
        for task, variant in itertools.product(self.args.on, VARIANTS):
            is_searched = self.check_search(task, variant)
            for size in self.sizes(task):
                self.row_config(task, size)
                if is_searched:
                    self.check_row(task, size, variant)
        if self.args.blimp:
            self.score_minimal_pairs()
        if "sst2" in self.args.on:
            self.probe_layers()
        for task in self.args.on:
            for variant in VARIANTS:
                self.search(task, variant)
            for size, variant in itertools.product(self.sizes(task), VARIANTS):
                self.train_row(task, size, variant)

    def check_files(self, task):
        """Raise ValueError if a file cannot be used; warn if training files have dev sentences."""
        part, _ = search_parts(self.args.tasks, task)
        dev = read_part(self.args.tasks, task, "dev")
        self.encode(task, part, dev, finetune_config(self.args, task, len(part)))
        if TASKS[task].has_phrases:
            train = read_part(self.args.tasks, task, "train").texts
            if num_shared := count_shared(dev.texts, train):
                print(f"warning: {num_shared:,} of {len(dev):,} dev texts of {task} share {WORDS} "
                      "words in a row with the training file, which rewards learning by heart: "
                      "split the files again with benchmarks/by_sentence.py", file=sys.stderr)

    def sizes(self, task):
        """Return the sizes without duplicates; one of at least the training file is "all"."""
        num_examples = len(read_part(self.args.tasks, task, "train"))
        return [*dict.fromkeys(size if size != "all" and int(size) < num_examples else "all"
                               for size in self.args.sizes)]

    def write(self):
        write_json(self.args.out, self.result)  # an interruption loses one trial or seed at most

    # The model as it is

    def probe_layers(self):
        """Fit a linear probe on each layer, for SST-2, and for random weights, too."""
        dev = read_part(self.args.tasks, "sst2", "dev")
        part, held_out = search_parts(self.args.tasks, "sst2")
        settings = {"files": digest_of(self.args.tasks, "sst2", "train", "dev"),
                    "strengths": [*STRENGTHS]}
        stored = self.result.get("probe")
        if stored:
            check_unchanged(self.args.out, "probe", stored, settings)
        if stored or self.stop.requested:
            return
        config = finetune_config(self.args, "sst2", len(part))
        encoded = dict(zip(("train", "held_out"), self.encode("sst2", part, held_out, config)))
        encoded["dev"] = self.encode("sst2", part, dev, config)[1]
        labels = {name: rows.labels for name, rows in encoded.items()}
        scores = {}
        for variant in VARIANTS:
            model = new_model(self.model, self.labels("sst2"), config, ALL_WEIGHTS, 0,
                              use_pretrained=variant == PRETRAINED)
            features = {name: layer_features(model.bert, rows) for name, rows in encoded.items()}
            for pooling in POOLINGS:
                of_layers = zip(*(features[name][pooling] for name in features))
                scores[f"{variant}, {pooling}"] = [
                    probe(dict(zip(features, layer)), labels, len(self.labels("sst2")))
                    for layer in of_layers]
        self.result["probe"] = {**settings, "train": len(part), "scores": scores}
        self.write()

    def score_minimal_pairs(self):
        """Score minimal pairs with the model and, if the run has its text, with both floors."""
        pairs = [pair for path in select_files([str(self.args.blimp)]).files
                 for pair in read_pairs(path)]
        settings = {"files": digest([pair.sentences for pair in pairs])}
        stored = self.result.get("minimal_pairs")
        if stored:
            check_unchanged(self.args.out, "minimal pairs", stored, settings)
        if stored or self.stop.requested:
            return
        floors = Path(self.args.run, "data", "train")
        model = self.model.to(finetune_config(self.args, "sst2", 1).device)
        groups = self.stop.interruptible(score_pairs, model, self.tokenizer, pairs, "word-l2r",
                                         floors if floors.is_dir() else None)
        if groups:
            self.result["minimal_pairs"] = {**settings, "groups": [
                group for group in groups if group["level"] in ("all", "field")]}
            self.write()

    # The search

    def check_search(self, task, variant):
        """Return whether a search is finished. ValueError if it was made with other settings."""
        settings = self.search_settings(task)
        stored = self.result["searches"].get(f"{task}, {variant}")
        if stored:
            check_unchanged(self.args.out, f"search, {task}, {variant}", stored, settings)
        return bool(stored) and next_trial(stored) is None

    @cached_property
    def grid(self):
        return [*itertools.product(self.args.rates, self.args.dropouts)]

    def search_settings(self, task):
        part, held_out = search_parts(self.args.tasks, task)
        config = {name: value for name, value
                  in asdict(finetune_config(self.args, task, len(part))).items()
                  if name not in SEARCHED}
        split = {"split": "by sentence"} if TASKS[task].has_phrases else {}
        return {"config": config, "grid": [[*pair] for pair in self.grid],
                "train": len(part), "held_out": len(held_out), **split,
                "files": digest_of(self.args.tasks, task, "train")}

    def search(self, task, variant):
        """Try all pairs of values with one seed, on parts of the training file."""
        if self.check_search(task, variant) or self.stop.requested:
            return
        name = f"{task}, {variant}"
        settings = self.search_settings(task)
        stored = self.result["searches"].setdefault(
            name, {"task": task, "variant": variant, **settings, "trials": {}})
        print(f"search, {name}: at least {plural(len(self.grid), 'trial')} "
              f"({plural(len(self.args.rates), 'rate')} x {len(self.args.dropouts)} of dropout), "
              f"trained on {settings['train']:,} examples of the training file, scored on "
              f"{settings['held_out']:,} others", flush=True)
        encoded = None
        while trial := next_trial(stored):
            rate, dropout = trial
            key = trial_key(rate, dropout)
            config = finetune_config(self.args, task, settings["train"], learning_rate=rate,
                                     hidden_dropout_prob=dropout)
            encoded = encoded or self.encode(task, *search_parts(self.args.tasks, task), config)
            try:
                last = self.train(task, variant, config, 0, encoded, f"{name}, {key}")
            except ValueError as error:  # the loss is not finite: the rate is too high
                last = {"error": str(error)}
            if last is None:
                return
            stored["trials"][key] = {"learning_rate": rate, "hidden_dropout_prob": dropout, **last}
            self.write()
            score = last.get("error") or f"{config.metric} {last[config.metric]:.4f}"
            print(f"search, {name}, rate {rate:g}, dropout {dropout:g}: {score}", flush=True)

    # The rows of the tables

    def row_config(self, task, size, **chosen):
        """Return the FinetuneConfig of a row. chosen: {field: value} from the search."""
        num_examples = num_examples_of(read_part(self.args.tasks, task, "train"), size)
        return finetune_config(self.args, task, num_examples,
                               examples=0 if size == "all" else int(size), **chosen)

    def check_row(self, task, size, variant):
        """Return (row, config). ValueError if the row was trained with other settings."""
        best = best_trial(self.result["searches"][f"{task}, {variant}"])
        config = self.row_config(task, size, **{name: best[name] for name in SEARCHED})
        settings = {"config": asdict(config),
                    "files": digest_of(self.args.tasks, task, "train", "dev")}
        row = {"task": task, "size": size, "variant": variant, **settings, "seeds": {}}
        row = self.result["rows"].get(f"{task}, {size}, {variant}", row)
        check_unchanged(self.args.out, f"{task}, {size}, {variant}", row, settings)
        return row, config

    def train_row(self, task, size, variant):
        """Train the missing seeds of a row."""
        if self.stop.requested:
            return
        name = f"{task}, {size}, {variant}"
        row, config = self.check_row(task, size, variant)
        missing = [seed for seed in range(self.args.seeds) if str(seed) not in row["seeds"]]
        if not missing:
            return
        train, dev = (read_part(self.args.tasks, task, part) for part in ("train", "dev"))
        encoded = self.encode(task, train, dev, config)
        baseline = baseline_scores(*(rows.examples for rows in encoded), self.labels(task), config)
        row |= {"examples": len(encoded[0].examples), "dev": len(dev),
                "constant": baseline[config.metric]}
        for seed in missing:
            last = self.train(task, variant, config, seed, encoded, name)
            if last is None:
                return
            row["seeds"][str(seed)] = {"score": last[config.metric], "last": last}
            self.result["rows"][name] = row
            self.write()
            print(f"{name}, seed {seed}: {config.metric} {last[config.metric]:.4f}", flush=True)

    def labels(self, task):
        """Return the labels of a task: those of the complete training file."""
        config = FinetuneConfig(task=TASKS[task].kind)
        return config.task_object.labels(read_part(self.args.tasks, task, "train"))

    def encode(self, task, train, scored, config):
        return encode_files(self.model.config, self.tokenizer, train, scored, self.labels(task),
                            config, say=lambda line: None)

    def train(self, task, variant, config, seed, encoded, name):
        last, _ = train_seed(self.model, self.labels(task), config, ALL_WEIGHTS, seed, encoded,
                             self.stop, name, use_pretrained=variant == PRETRAINED)
        return last


def trial_key(rate, dropout):
    return f"{rate:g}, {dropout:g}"


def next_trial(search):
    """Return the (learning rate, dropout) to try next, or None if the search is finished.

    A best rate at the edge of the grid is a sign that the grid is too small: if the best of
    1e-4, 3e-4 and 1e-3 is 1e-4, then 5e-5 is next. A grid with one rate is not extended.
    """
    trials = search["trials"]
    grid_rates, dropouts = (sorted({*values}) for values in zip(*search["grid"]))
    rates = sorted({*grid_rates, *(trial["learning_rate"] for trial in trials.values())})
    if len(rates) > 1 and len(trials) == len(rates) * len(dropouts):
        best = best_trial(search)["learning_rate"]
        if best in (rates[0], rates[-1]):
            rates.append(best / 2 if best == rates[0] else best * 2)
    pairs = itertools.product(rates, dropouts)
    return next((pair for pair in pairs if trial_key(*pair) not in trials), None)


@functools.cache
def search_parts(folder, task):
    """Return (examples to train on, others to score), both of the training file of a task."""
    train = read_part(folder, task, "train")
    if TASKS[task].has_phrases:
        chosen, others = search_sentences(train.texts)
    else:
        chosen, others = search_examples(len(train))
    return train.subset(chosen), train.subset(others)


def search_examples(count):
    """Return the indices of examples to train on, and of others to score.

    The first are those of the row of that size: ``choose_examples`` draws nested subsets.
    """
    num_held_out = min(SEARCH_HELD_OUT, count // 3)
    num_train = min(SEARCH_TRAIN, count - num_held_out)
    chosen = choose_examples(count, num_train)
    return chosen, np.setdiff1d(choose_examples(count, num_train + num_held_out), chosen)


def search_sentences(texts):
    """Return the indices of phrases to train on, and of sentences, to score, with none of them."""
    groups = sentences(texts)
    if len(groups) < 3:
        raise ValueError(f"the training file has {plural(len(groups), 'sentence')} of at least "
                         f"{WORDS} words: the search needs 3")
    rest, held_out = hold_out(texts, groups, min(SEARCH_HELD_OUT, len(groups) // 3))
    return [rest[i] for i in choose_examples(len(rest), SEARCH_TRAIN)], held_out


if __name__ == "__main__":
    run(main)
