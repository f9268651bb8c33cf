"""Predict with a fine-tuned model, and score the predictions if the file has labels.

    python -m minibert finetune runs/books/finetuned --predict new.tsv
    python -m minibert finetune runs/books/finetuned --predict test.tsv --out answers

The first command prints the predictions on standard output and scores on standard error; the second
one writes answers/predictions.tsv. The columns are those of the training files, as finetune.json
records them, unless flags name others.
"""
import json
import sys
from dataclasses import replace
from pathlib import Path

from minibert.config_fields import from_dict
from minibert.finetuning.adapter_files import load_finetuned
from minibert.finetuning.adapters import Tuning
from minibert.finetuning.config import TASKS, FinetuneConfig
from minibert.finetuning.labeled_files import Layout
from minibert.finetuning.loop import evaluate, predict
from minibert.finetuning.seeds import listed_scores
from minibert.heads import FINETUNED
from tokenizer.utils.cli import errors_name_flags, explicit_flags, flag
from tokenizer.utils.files import atomic_lines, check_free, check_writable
from tokenizer.utils.terminal import plural, visible

SETTINGS, PREDICTIONS = "finetune.json", "predictions"
INFERENCE_FIELDS = {"max_length", "device", "precision"}  # those of FinetuneConfig


def predict_command(args):
    """Run --predict without --train: print the predictions, or write them to --out."""
    fields = explicit_flags(args, FinetuneConfig) | explicit_flags(args, Tuning)
    training_only = [name for name in fields if name not in INFERENCE_FIELDS]
    training_only += [name for name in ("dev", "skip_bad_rows") if getattr(args, name)]
    if training_only:
        flags = ", ".join(map(flag, training_only))
        raise ValueError(f"{flags}: only for training: add --train FILE or leave it out")
    folder = args.adapter or args.run
    model, tokenizer = load_finetuned(folder, base=args.run if args.adapter else None)
    tokenizer.require("cls", "sep", "pad")
    if type(model) not in FINETUNED.values():
        raise ValueError(f"{args.run} has not been fine-tuned: add --train FILE, or name the "
                         f"folder that fine-tuning wrote ({Path(args.run) / 'finetuned'})")
    layout, config = read_settings(folder)
    config = replace(config, task=task_of(model))
    with errors_name_flags(INFERENCE_FIELDS):
        layout = read_layout(args, layout, config.task)
        config = replace(config, **explicit_flags(args, FinetuneConfig))
        config.resolve_max_length(model.config)
    if args.out:
        check_writable(args.out)
        out = predictions_path(args.out, args.predict, config.task_object)
        check_free(out, args.overwrite, inputs=[args.predict])
    answers, scores, message = evaluate_file(model, tokenizer, args.predict, layout, config)
    if message:
        print(message, file=sys.stderr)
    lines = config.task_object.render(answers, args.predict, layout)
    if args.out:
        atomic_lines(out, lines)
        print(json.dumps({"predictions": str(out), "scores": scores}) if args.json else out)
    else:
        lines = map(json.dumps, answers) if args.json else lines
        print("\n".join("\t".join(map(visible, line.split("\t"))) for line in lines))
    return 0


def read_settings(folder):
    """Return the (Layout, FinetuneConfig) of a fine-tuned model, defaults if it has none.

    Raise ValueError for a damaged file.
    """
    path = Path(folder) / SETTINGS
    if not path.is_file():
        return Layout(), FinetuneConfig()
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return from_dict(Layout, stored["layout"]), from_dict(FinetuneConfig, stored["config"])
    except KeyError as error:
        raise ValueError(f"{path} was not written by fine-tuning: it has no {error}") from None
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} was not written by fine-tuning: {error}") from None


def task_of(model):
    """Return the name of the task of a fine-tuned model."""
    return next(name for name, task in TASKS.items()
                if type(model) is task.model_class and bool(model.labels) == task.has_label_names)


def read_layout(args, layout, task):
    """Return ``layout`` with the flags of a command line. ValueError for those of other tasks."""
    flags = explicit_flags(args, Layout)
    for name in flags:
        if name not in TASKS[task].layout_flags:
            raise ValueError(f"{flag(name)} has no meaning for --task {task}: leave it out")
    return replace(layout, **flags)


def evaluate_file(model, tokenizer, path, layout, config):
    """Answer every example of a file, and score the answers if the file has labels.

    Return (answers, scores, message):

    answers   for each example a dict, such as {"prediction": label, "probability"}
    scores    {"accuracy": 0.8, ...}, or {} without usable labels
    message   a line with the scores, or why there are none ("" if the file has no labels), after
              one about what was replaced in the texts
    """
    task = config.task_object
    config = config.resolve_device()
    layout = replace(layout, skip_bad_rows=False)  # there is one answer for each row
    max_length = config.resolve_max_length(model.config)

    def encode(labeled):
        examples = task.read(path, layout, labeled, keep_empty=True)
        return task.encode(tokenizer, examples, model.labels, model.config, max_length)

    encoded = problem = None
    if task.file_has_labels(path, layout):
        try:
            encoded = encode(labeled=True)
        except ValueError as error:
            problem = error
    if encoded is None:
        encoded = encode(labeled=False)
    outputs = predict(model.to(config.device), encoded, config)
    answers, scores = evaluate(outputs, model.labels, encoded, config)
    lines = []
    if replaced := str(encoded.examples.replacements):
        lines.append(f"replaced     {replaced}")
    if problem:
        lines.append(f"not scored   {problem}")
    if scores:
        scores = {name: score if score is None else round(score, 6)
                  for name, score in scores.items()}
        lines += task.warnings(encoded.examples, model.labels)
        lines.append(f"scored       {listed_scores(scores, config, model.labels)}, on the "
                     f"{plural(len(encoded.examples), 'example')} of {path}")
    return answers, scores, "\n".join(lines)


def predictions_path(folder, path, task):
    """Return where the answers to the file ``path`` are written: FOLDER/predictions.tsv"""
    return Path(folder) / (PREDICTIONS + task.predictions_suffix(path))
