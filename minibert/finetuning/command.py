"""Fine-tune a pre-trained model on labeled texts, and predict with the result.

    python -m minibert finetune runs/books --train sst2/train.tsv --dev sst2/dev.tsv
    python -m minibert finetune runs/books --train cola/train.tsv \\
        --columns source,label,mark,sentence --metric matthews --from-scratch
    python -m minibert finetune runs/books --train sst2/train.tsv --dev sst2/dev.tsv --tune lora
    python -m minibert finetune runs/books --task tokens --train pos/train.tsv --dev pos/dev.tsv
    python -m minibert finetune runs/books --task qa --train squad/train.json --dev squad/dev.json
    python -m minibert finetune runs/books/finetuned --predict new.tsv
    python -m minibert finetune runs/books/finetuned --predict labeled.tsv --out answers

The model of the best seed is saved as a Hugging Face checkpoint (loaded by
``AutoModelForSequenceClassification``), together with finetune.json: columns, settings and scores.
With ``--tune`` the trained part is also saved as an adapter (``adapter_files.py``).
"""
import json
import sys
from argparse import HelpFormatter
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path

from tqdm import tqdm

from minibert.finetuning.adapter_files import (
    ADAPTER,
    ADAPTER_WEIGHTS,
    encoder_digest,
    load_finetuned,
    save_finetuned,
)
from minibert.finetuning.adapters import Tuning
from minibert.finetuning.config import FinetuneConfig
from minibert.finetuning.labeled_files import Layout, split_dev
from minibert.finetuning.metrics import listed, score_to_compare
from minibert.finetuning.predict import (
    SETTINGS,
    evaluate_file,
    predict_command,
    predictions_path,
    read_layout,
)
from minibert.finetuning.seeds import NAMES, finetune, listed_scores
from minibert.formats.model_files import CONFIG
from minibert.formats.run_folder import load_run
from minibert.generation.causal import BertForCausalLM
from minibert.generation.seq2seq import EncoderDecoder
from tokenizer.utils.cli import Parser, add_flags, errors_name_flags, explicit_flags, flag
from tokenizer.utils.files import atomic_lines, check_free, check_writable, next_free_folder
from tokenizer.utils.signals import StopRequest
from tokenizer.utils.terminal import plural

FIELDS = [field.name for cls in (FinetuneConfig, Layout, Tuning) for field in fields(cls)]
LATE_CHECKED = ("from_scratch", "lora_rank", "prefix_length")  # when the model is made
MAX_LISTED_ROWS = 3  # of those that --skip-bad-rows leaves out


def main(args=None):
    """Run the command. Return the exit status."""
    args = parser().parse_args(args)
    tuning = read_tuning(args)
    if not (args.train or args.predict):
        raise ValueError("nothing to do: give --train FILE to fine-tune, or --predict FILE")
    return train_command(args, tuning) if args.train else predict_command(args)


def train_command(args, tuning):
    """Run --train: fine-tune, save the best model, and print the scores."""
    with errors_name_flags(FIELDS):
        config = FinetuneConfig(**explicit_flags(args, FinetuneConfig))
        layout = read_layout(args, Layout(), config.task)
    model, tokenizer = load_encoder(args.run)
    config = config.resolve_learning_rate(model.config, tuning.tune)
    with errors_name_flags(FIELDS):
        config.resolve_max_length(model.config)  # fails now rather than after reading the files
    out = out_folder(args)

    say = line_printer(args)
    train, dev = read_files(args, layout, config, say)
    if args.predict:  # report mistakes before training
        predictions = predictions_path(out, args.predict, config.task_object)
        check_free(predictions, args.overwrite, inputs=[args.predict, args.train])
        config.task_object.read(args.predict, replace(layout, skip_bad_rows=False), labeled=False,
                                keep_empty=True)
    config = config.task_object.complete(config, train)
    size = f"{plural(model.config.num_hidden_layers, 'layer')} of {model.config.hidden_size}"
    say(f"model        {args.run}: {model.config.family}, {size}")
    digest = encoder_digest(model)

    results = {"run": str(args.run), "layout": asdict(layout), "config": asdict(config),
               "tuning": asdict(tuning)}

    def save(best_model, score, chosen):
        save_finetuned(best_model, tuning, out, tokenizer, args.run, digest)
        results["config"] |= chosen
        atomic_lines(out / SETTINGS, [json.dumps(results, indent=1)])  # scores follow

    with StopRequest() as stop, errors_name_flags(LATE_CHECKED):
        results |= finetune(model, tokenizer, train, dev, config, stop, say, save, tuning)
    atomic_lines(out / SETTINGS, [json.dumps(results, indent=1)])
    report(results, say)
    if args.predict and not stop.requested:
        best_model, _ = load_finetuned(out)
        config = FinetuneConfig(**results["config"])
        answers, scores, message = evaluate_file(
            best_model, tokenizer, args.predict, layout, config)
        results["predicted"] = {"file": args.predict, "scores": scores}
        atomic_lines(predictions, config.task_object.render(answers, args.predict, layout))
        say(f"predictions  {predictions}\n{message}".rstrip())
    if tuning.tune != "all":
        size = (out / ADAPTER_WEIGHTS).stat().st_size
        say(f"adapter      {out / ADAPTER_WEIGHTS}, {size / 1e3:,.0f} kB")
    say(f"model        {out}")
    if args.json:
        print(json.dumps(results | {"out": str(out)}))
    return 130 if stop.requested else 0


def line_printer(args):
    """Return a function that prints a line above the progress bars; --json is not mixed with it."""
    return partial(tqdm.write, file=sys.stderr if args.json else sys.stdout)


def load_encoder(folder):
    """Return (model, tokenizer) of a run. ValueError if it cannot be fine-tuned."""
    model, tokenizer = load_run(folder)
    if isinstance(model, (BertForCausalLM, EncoderDecoder)):
        raise ValueError(f"{folder}: only an encoder can be fine-tuned, such as a model trained "
                         "with --objective masked")
    tokenizer.require("cls", "sep", "pad")
    return model, tokenizer


def parser():
    """Return the parser: RUN, the files, and the fields of Layout, FinetuneConfig and Tuning."""
    out = Parser(
        prog="python -m minibert finetune", formatter_class=HelpFormatter,
        usage="python -m minibert finetune RUN --train FILE [--dev FILE] [--tune lora] "
              "[--predict FILE] [FLAG VALUE ...]",
        description="Fine-tune a pre-trained model on labeled texts (.tsv, .csv or .jsonl, each "
                    "also .gz or .bz2), or predict with a fine-tuned one.",
        epilog="Defaults are in brackets. A .tsv is read without quoting; blank lines are skipped. "
               "The dev set selects the epoch, so its score is slightly optimistic: measure on a "
               "third file (--predict).")
    out.add_argument("run", metavar="RUN", help="folder with a model and its tokenizer, written "
                     "by train.py or published")
    out.add_argument("--train", metavar="FILE", help="labeled texts for training")
    out.add_argument("--dev", metavar="FILE", help="labeled texts that select the best epoch "
                     "(default: a tenth of the training file)")
    out.add_argument("--predict", metavar="FILE", help="texts to predict: writes "
                     "OUT/predictions.tsv, or without --train and --out to standard output; also "
                     "prints the scores if the texts have labels")
    out.add_argument("--out", metavar="DIR", help="folder for the fine-tuned model (default: "
                     "RUN/finetuned, or the next free name); without --train for predictions.tsv")
    out.add_argument("--overwrite", action="store_true", help="replace the predictions in --out")
    out.add_argument("--adapter", metavar="DIR", help="with --predict: use RUN with the adapter in "
                     "this folder, which was trained on RUN")
    out.add_argument("--json", action="store_true", help="print the results as JSON")
    add_flags(out.add_argument_group("files"), Layout, shown=Layout())
    add_flags(out.add_argument_group("training"), FinetuneConfig, shown=FinetuneConfig())
    add_flags(out.add_argument_group("parameter-efficient fine-tuning"), Tuning, shown=Tuning())
    return out


def read_tuning(args):
    """Return the Tuning of a command line. ValueError for flags that do not go together."""
    flags = explicit_flags(args, Tuning)
    with errors_name_flags(FIELDS):
        tuning = Tuning(**flags)
    for name in flags:
        mode = name.partition("_")[0]  # lora_rank belongs to --tune lora
        if name != "tune" and mode != tuning.tune:
            raise ValueError(f"{flag(name)} belongs to --tune {mode}, but --tune is "
                             f"{tuning.tune}: leave out one of the two")
    if args.adapter and args.train:
        raise ValueError(f"--adapter {args.adapter} is only for --predict: with --train use --tune")
    return tuning


def out_folder(args, default="finetuned"):
    """Return --out, or the next free RUN/finetuned.

    Raise ValueError if --out holds a model, OSError if the folder cannot be written to.
    """
    out = Path(args.out) if args.out else next_free_folder(Path(args.run) / default)
    if (out / CONFIG).exists() or (out / ADAPTER).exists():
        raise ValueError(f"{out} holds a model already: choose another --out")
    check_writable(out)
    return out


def read_files(args, layout, config, say):
    """Return the training and dev examples. Without --dev, split a tenth off the training file."""
    task = config.task_object
    train = task.read(args.train, layout)
    if train.num_empty:
        say(f"left out     {plural(train.num_empty, 'example')} of {args.train} {task.empty_name}")
    say_what_was_changed(train, say)
    if args.dev:
        dev = task.read(args.dev, layout, keep_empty=True)
        say_what_was_changed(dev, say)
        if dev.num_empty:
            say(f"kept         {plural(dev.num_empty, 'example')} of {args.dev} {task.empty_name}: "
                "the dev score counts them")
        return train, dev
    task.labels(train)  # raises ValueError with the counts of the complete file
    train, dev = split_dev(train)
    say(f"no --dev     {len(dev):,} of the {len(train) + len(dev):,} training examples are the "
        f"dev set: {task.split_name}, always the same")
    return train, dev


def say_what_was_changed(examples, say):
    """Print how many rows were skipped, the first few of them, and how many were repaired."""
    if examples.skipped:
        say(f"skipped      {plural(len(examples.skipped), 'bad row')} of {examples.path}:")
        for message in examples.skipped[:MAX_LISTED_ROWS]:
            say(f"             {message}")
        num_others = len(examples.skipped) - MAX_LISTED_ROWS
        if num_others > 0:
            say(f"             and {num_others:,} more")
    if replaced := str(examples.replacements):
        say(f"replaced     {replaced}")


def report(results, say):
    """Print the scores."""
    config = FinetuneConfig(**results["config"])
    labels = results["labels"]
    task = config.task_object
    name = task.score_name(results["metric"], labels, config)
    for variant in NAMES:
        if variant in results:
            summary = results[variant]
            line = f"{NAMES[variant]} {listed({name: summary['mean']})}"
            if summary["deviation"] is not None and len(summary["scores"]) > 1:
                line += (f", standard deviation {summary['deviation']:.4f} over "
                         f"{len(summary['scores'])} seeds")
            say(line)
    if "gain" in results:
        say(f"gain         {results['gain']:+.4f} from pre-training")
    baseline = listed_scores(results["constant_scores"], config, labels)
    say(f"baseline     {baseline} for {task.baseline_name}")
    best = max(map(score_to_compare, results["pretrained"]["scores"]))
    if best <= score_to_compare(results["constant"]):
        may_weigh = (config.class_weights == "none" and task.has_class_weights
                     and results["constant_scores"]["accuracy"] > 1 / len(labels))
        say(f"hint         no better than {task.baseline_name}: try "
            + ("--class-weights balanced, " if may_weigh else "")
            + ("less --hidden-dropout-prob, " if config.hidden_dropout_prob > 0.1 else "")
            + f"--learning-rate {3 * config.learning_rate:.2g}, more --epochs ({config.epochs}) or "
            "--warmup 0.3")
    if "stopped" in results:
        say("stopped      the best model so far is saved")
