"""Fine-tuning: what a pre-trained model knows, put to use for labels or numbers of your own.

    python -m minibert finetune runs/books --train sst2/train.tsv --dev sst2/dev.tsv
    python -m minibert finetune runs/books --train cola/train.tsv --columns source,label,mark,sentence --metric matthews --from-scratch
    python -m minibert finetune runs/books --train sst2/train.tsv --dev sst2/dev.tsv --tune lora
    python -m minibert finetune runs/books/finetuned --predict new.tsv
    python -m minibert finetune runs/books/finetuned --predict labeled.tsv --out answers

Several seeds are trained, since small training sets make luck large; the model of the best one is kept, as a Hugging Face checkpoint
(``AutoModelForSequenceClassification`` loads it), with finetune.json beside it: the columns, the settings, all scores. Where ``--tune`` trains
a little of it only, that little stands beside it as well (``adapter_files.py``); after prefix tuning it stands there alone.
"""
import itertools
import json
import math
import sys
from argparse import HelpFormatter
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from tqdm import tqdm

from minibert.device import describe
from minibert.finetuning.adapter_files import ADAPTER, ADAPTER_WEIGHTS, encoder_digest, load_finetuned, save_finetuned
from minibert.finetuning.adapters import DEFAULT_LR, Tuning, attach, count_parameters
from minibert.finetuning.labeled_files import Layout, class_labels, encode_labels, read_examples, split_dev
from minibert.finetuning.loop import EncodedTexts, FinetuneConfig, best_epoch, fit
from minibert.finetuning.metrics import mean_and_std
from minibert.finetuning.predict import SETTINGS, evaluate_file, max_length, predict_command, write_predictions
from minibert.formats.model_files import CONFIG
from minibert.formats.run_folder import load_run
from minibert.heads import BertForSequenceClassification
from tokenizer.inspect import plural
from tokenizer.utils.cli import Parser, add_flags, given
from tokenizer.utils.files import atomic_write, check_writable, next_free_folder
from tokenizer.utils.progress import StopRequest, slow_bar
from tokenizer.utils.terminal import visible

NAMES = {"pretrained": "pre-trained ", "from_scratch": "from scratch"}
OTHER_FLAGS = {  # that one may look for
    "--lr": "it is --learning-rate", "--dropout-prob": "it is --hidden-dropout-prob, of the encoder, or --dropout, of the head",
    **dict.fromkeys(("--attention-dropout", "--attention-probs-dropout-prob"), "the dropout of the attention weights stays as pre-trained")}
SUBSET_SEED = 11  # of the examples that --examples draws


def finetune(pretrained, tokenizer, train, dev, config, stop=None, say=print, on_best=lambda model, score: None, tuning=None):
    """Fine-tune a model with each seed, and, where the config says so, one with fresh weights.

    pretrained: any model with its encoder; train, dev: ``tasks.LabeledTexts``; stop: an object whose ``requested`` ends it; say: what is told
    each line; on_best(model, score) is called for each epoch of a pre-trained model that is the best so far of all seeds;
    tuning: an ``adapters.Tuning``, which weights learn; None: all.

    -> {"metric": "accuracy", "labels": ["0", "1"], "train": 2000, "dev": 872, "constant": 0.51, "pretrained": {"mean": 0.8,
        "deviation": 0.01, "scores": [one a seed], "epochs": [a history a seed, see ``fit``]}, "from_scratch": the same, "gain": 0.1,
        "learning": {"trained": 3102850, ..., see ``adapters.count``}}
    Raises ValueError for labels that cannot be learned, with file and line.
    """
    tuning = tuning or Tuning()
    if config.from_scratch and tuning.tune != "all":
        raise ValueError(f"from_scratch with tune {tuning.tune}: fresh weights that stay as they are can do nothing; leave out one of the two")
    stop, config = stop or SimpleNamespace(requested=False), config.on_this_machine()
    labels = tuple(class_labels(train)) if config.task == "classification" else ()
    learn, asked = encode_files(pretrained.config, tokenizer, train, dev, labels, config, say)
    results = {"metric": config.metric_name, "labels": list(labels), "train": len(learn), "dev": len(asked),
               "constant": majority_baseline(learn.labels, asked.labels, config)}
    variants = ["pretrained"] + ["from_scratch"] * config.from_scratch
    histories, best = {variant: [] for variant in variants}, -math.inf
    steps = -(-len(learn) // config.batch_size)
    say(f"length       {plural(config.epochs, 'epoch')} of {plural(steps, 'step')}, {plural(config.batch_size, 'example')} each; "
        f"rate {config.learning_rate:g}, {plural(config.seeds, 'seed')}")
    with slow_bar(steps * config.epochs * config.seeds * len(variants), "fine-tuning", "steps") as bar:
        for variant, seed in itertools.product(variants, range(config.seeds)):
            model = new_classifier(pretrained, labels, config, tuning, seed, load_encoder_from=variant == "pretrained")
            if "learning" not in results:
                results["learning"] = count_parameters(model)
                say(f"learns       {learning_line(results['learning'], tuning)}")

            def better(score, model=model, variant=variant):
                nonlocal best
                if variant == "pretrained" and score > best:
                    best = score
                    on_best(model, score)

            history = fit(model, learn, asked, config, seed, bar, stop, better)
            if stop.requested and histories["pretrained"]:  # a seed that was cut short would spoil the mean
                break
            histories[variant].append(history)
            epoch = best_epoch(history, config.metric_name)
            say(f"{NAMES[variant]} seed {seed}: {config.metric_name} {epoch[config.metric_name]:.4f} in epoch {epoch['epoch']} of {history[-1]['epoch']}")
            if stop.requested:
                break
    results |= {variant: summary(found, config.metric_name) for variant, found in histories.items() if found}
    if "from_scratch" in results:
        results["gain"] = round(results["pretrained"]["mean"] - results["from_scratch"]["mean"], 6)
    return results | ({"stopped": True} if stop.requested else {})


def new_classifier(pretrained, labels, config, tuning, seed, load_encoder_from=True):
    """The classifier that a seed begins with, on its device. adopt: it knows what ``pretrained`` knows; config: a FinetuneConfig on its machine."""
    torch.manual_seed(seed)
    shape = replace(pretrained.config, hidden_dropout_prob=config.hidden_dropout_prob)
    model = BertForSequenceClassification(shape, labels, config.dropout)
    return attach(model.load_encoder_from(pretrained) if load_encoder_from else model, tuning).to(config.device)


def learning_line(learning, tuning):
    """What ``adapters.count`` found, in words.

    >>> learning_line({"trained": 49730, "head": 37442, "parameters": 3086594, "share": 0.016112}, Tuning(tune="lora"))
    'lora: 49,730 numbers, 1.61 % of the 3,086,594 of the model; 37,442 of them are the head'
    """
    if tuning.tune == "all":  # with its head, more than 100 %
        return f"all: {learning['trained']:,} numbers"
    head = "" if tuning.tune == "head" else f"; {learning['head']:,} of them are the head"
    return f"{tuning.tune}: {learning['trained']:,} numbers, {100 * learning['share']:.2f} % of the {learning['parameters']:,} of the model{head}"


def encode_files(model_config, tokenizer, train, dev, labels, config, say):
    """Two LabeledTextss -> two EncodedTexts, the first cut to ``config.examples``; what they are is said."""
    train_labels, dev_labels = encode_labels(train, labels), encode_labels(dev, labels)
    numbers = choose_examples(len(train), config.examples)
    if config.examples > len(train):
        say(f"examples     {config.examples:,} were asked for, and there are {len(train):,}: all are learned from")
    if labels and len(set(train_labels[numbers])) < 2:
        raise ValueError(f"the {len(numbers):,} examples that were drawn have one label only: raise --examples")
    length = max_length(config, model_config)
    found = (EncodedTexts(tokenizer, [train.texts[n] for n in numbers], model_config, length, train_labels[numbers]),
             EncodedTexts(tokenizer, dev.texts, model_config, length, dev_labels))
    for name, texts in zip(("train", "dev"), found):
        full = int((texts.lengths == length).sum())
        say(f"{name:<12} {len(texts):,} examples, {texts.lengths.mean():.0f} tokens in the mean" +
            (f"; {full:,} have {length} tokens, the most there may be, and may have been cut" if full else ""))
    if labels:
        counts = np.bincount(train_labels[numbers], minlength=len(labels)) / len(numbers)
        say("labels       " + ", ".join(f"{visible(label)}: {share:.0%}" for label, share in list(zip(labels, counts))[:10]))
    say(f"device       {describe(torch.device(config.device), config.precision)}")
    return found


def choose_examples(count, wanted):
    """The numbers of ``wanted`` of ``count`` examples, ascending, always the same ones; of all where it is 0 or more than there are."""
    if not 0 < wanted < count:
        return np.arange(count)
    return np.sort(np.random.default_rng(SUBSET_SEED).permutation(count)[:wanted])


def summary(histories, metric):
    """The histories of some seeds -> {"mean", "deviation", "scores", "epochs"}."""
    scores = [best_epoch(history, metric)[metric] for history in histories]
    mean, deviation = mean_and_std(scores)
    return {"mean": mean, "deviation": deviation, "scores": scores, "epochs": histories}


def majority_baseline(train_labels, dev_labels, config):
    """What always giving the most frequent label of training scores on dev (of a regression: always one number, which is worth 0)."""
    if config.task == "regression":
        return 0.0
    frequent = Counter(train_labels.tolist()).most_common(1)[0][0]
    return config.metrics[config.metric_name](dev_labels.tolist(), [frequent] * len(dev_labels))


# ------------------------------------------------------------------------------------------------ the command


def main(args=None):
    """The command: fine-tune, save, show the scores; or predict. With --json: results as one object, predictions as one a line."""
    args = parser().parse_args(args)
    if not (args.train or args.predict):
        raise ValueError("nothing to do: give --train FILE to fine-tune, or --predict FILE to a model that has been fine-tuned")
    tuning = tuning_of(args)
    if not args.train:
        return predict_command(args)
    model, tokenizer = load_run(args.run)
    tokenizer.require("cls", "sep", "pad")
    config, layout = FinetuneConfig(**{"learning_rate": DEFAULT_LR[tuning.tune]} | given(args, FinetuneConfig)), Layout(**given(args, Layout))
    max_length(config, model.config)
    out = out_folder(args)
    check_writable(out)
    say = (lambda line: tqdm.write(line, file=sys.stderr)) if args.json else tqdm.write
    train, dev = read_files(args, layout, config, say)
    if args.predict:
        read_examples(args.predict, layout, labeled=False, keep_empty=True)  # a mistake in it is seen now
    c = model.config
    say(f"model        {args.run}: {c.family}, {c.num_hidden_layers} layers of {c.hidden_size}")
    base = encoder_digest(model)
    with StopRequest() as stop:
        results = finetune(model, tokenizer, train, dev, config, stop, say,
                           lambda best, score: save_finetuned(best, tuning, out, tokenizer, args.run, base), tuning)
    results = {"run": str(args.run), "layout": asdict(layout), "config": asdict(config), "tuning": asdict(tuning), **results}
    atomic_write(out / SETTINGS, json.dumps(results, indent=1) + "\n")
    show(results, say)
    if args.predict and not stop.requested:
        lines, scores, said = evaluate_file(load_finetuned(out)[0], tokenizer, args.predict, layout, config)
        results["predicted"] = {"file": args.predict, "scores": scores}
        say(f"predictions  {write_predictions(lines, out)}" + (f"\n{said}" if said else ""))
    if tuning.tune != "all":
        say(f"adapter      {out / ADAPTER_WEIGHTS}, {(out / ADAPTER_WEIGHTS).stat().st_size / 1e3:,.0f} kB")
    say(f"model        {out}")
    if args.json:
        print(json.dumps(results | {"out": str(out)}))
    return 130 if stop.requested else 0


def parser():
    """The parser of the command: RUN, the files, and a flag for each field of ``Layout``, ``FinetuneConfig`` and ``Tuning``."""
    out = Parser(prog="python -m minibert finetune", formatter_class=HelpFormatter, explained=OTHER_FLAGS,
                 usage="python -m minibert finetune RUN --train FILE [--dev FILE] [--tune lora] [--predict FILE] [FLAG VALUE ...]",
                 description="Fine-tune a pre-trained model on labeled texts (.tsv .csv .jsonl, each also .gz or .bz2), or use one that has been.",
                 epilog="In brackets: the defaults; the learning rate of " + ", ".join(f"--tune {name}: {rate:g}" for name, rate in DEFAULT_LR.items()) +
                 ". A .tsv is read without quoting; blank lines are left out of all files. The dev set chooses the epoch, so its score is a little "
                 "too good: judge on a third file (--predict).")
    out.add_argument("run", metavar="RUN", help="folder that train.py wrote, or a published one: a model and its tokenizer")
    out.add_argument("--train", metavar="FILE", help="labeled texts to learn from")
    out.add_argument("--dev", metavar="FILE", help="labeled texts that decide which epoch is best (default: a tenth of the training file)")
    out.add_argument("--predict", metavar="FILE", help="texts to judge: to OUT/predictions.tsv, or, without --train and --out, to standard output; "
                     "where they have labels, the scores as well")
    out.add_argument("--out", metavar="DIR", help="folder of the fine-tuned model (default: RUN/finetuned, or the next free name); without "
                     "--train, of predictions.tsv")
    out.add_argument("--adapter", metavar="DIR", help="with --predict: RUN with the adapter in this folder, which was trained on it")
    out.add_argument("--json", action="store_true", help="for programs: the results as JSON on standard output")
    add_flags(out.add_argument_group("the files"), Layout, shown=Layout())
    add_flags(out.add_argument_group("the training"), FinetuneConfig, shown=FinetuneConfig())
    add_flags(out.add_argument_group("a little of it"), Tuning, shown=Tuning())
    return out


def tuning_of(args):
    """The Tuning of a command line. ValueError for a flag of another mode, which would change nothing, and for an --adapter to train from."""
    found = given(args, Tuning)
    tuning = Tuning(**found)
    for name in found:
        if name != "tune" and not name.startswith(tuning.tune):
            raise ValueError(f"{name} belongs to --tune {name.partition('_')[0]}, and --tune is {tuning.tune}: leave out one of the two")
    if args.adapter and args.train:
        raise ValueError(f"--adapter {args.adapter} is for --predict: training begins at RUN, and makes an adapter of its own with --tune")
    return tuning


def out_folder(args):
    """--out, else RUN/finetuned; never one that holds a model or an adapter."""
    if args.out:
        if any((Path(args.out) / name).exists() for name in (CONFIG, ADAPTER)):
            raise ValueError(f"{args.out} holds a model already: choose another --out")
        return Path(args.out)
    return next_free_folder(Path(args.run) / "finetuned")


def read_files(args, layout, config, say):
    """-> (examples to learn from, examples of the dev set), with what is to be said of them."""
    regression = config.task == "regression"
    train = read_examples(args.train, layout, regression)
    if train.empty:
        say(f"left out     {train.empty:,} rows of {args.train} without text")
    if not args.dev:
        if not regression:
            class_labels(train)  # refuses, with the counts of the whole file, what cannot be told apart
        train, dev = split_dev(train)
        say(f"no --dev     {len(dev):,} of the {len(train) + len(dev):,} training examples are held out, drawn at random, always the same ones")
        return train, dev
    dev = read_examples(args.dev, layout, regression, keep_empty=True)
    if dev.empty:
        say(f"kept         {dev.empty:,} rows of {args.dev} without text: they count")
    return train, dev


def show(results, say):
    """The result for people."""
    for variant in ("pretrained", "from_scratch"):
        if variant in results:
            seeds = results[variant]
            count = len(seeds["scores"])
            say(f"{NAMES[variant]} {results['metric']} {seeds['mean']:.4f}, " +
                (f"deviation {seeds['deviation']:.4f} over {count} seeds" if count > 1 else "of 1 seed"))
    if "gain" in results:
        say(f"gain         {results['gain']:+.4f} by pre-training")
    say(f"constant     {results['metric']} {results['constant']:.4f}, of always the same answer")
    if results["pretrained"]["mean"] <= results["constant"]:
        used = results["config"]
        say(f"hint         no better than always the same answer: try --learning-rate {10 * used['learning_rate']:g} (it was "
            f"{used['learning_rate']:g}), more --epochs ({used['epochs']}), --warmup 0.3 ({used['warmup']:g})")
    if "stopped" in results:
        say("stopped      what was best so far is kept")
