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

from data.lines import Replacements
from minibert.config_fields import from_dict
from minibert.finetuning.adapter_files import load_finetuned
from minibert.finetuning.adapters import Tuning
from minibert.finetuning.config import FinetuneConfig
from minibert.finetuning.labeled_files import Layout, encode_labels, read_examples, read_rows
from minibert.finetuning.loop import EncodedTexts, compute_metrics, predict
from minibert.finetuning.metrics import REGRESSION
from minibert.heads import BertForSequenceClassification
from tokenizer.utils.cli import errors_name_flags, explicit_flags
from tokenizer.utils.files import atomic_write, check_writable

SETTINGS, PREDICTIONS = "finetune.json", "predictions.tsv"
INFERENCE_FIELDS = {"max_length", "device", "precision"}  # those of FinetuneConfig


def predict_command(args):
    """Run --predict without --train: print the predictions, or write them to --out."""
    fields = explicit_flags(args, FinetuneConfig) | explicit_flags(args, Tuning)
    training_only = [name for name in fields if name not in INFERENCE_FIELDS]
    training_only += [name for name in ("dev", "skip_bad_rows") if getattr(args, name)]
    if training_only:
        flags = ", ".join("--" + name.replace("_", "-") for name in training_only)
        raise ValueError(f"{flags}: only for training: add --train FILE or leave it out")
    folder = args.adapter or args.run
    model, tokenizer = load_finetuned(folder, base=args.run if args.adapter else None)
    tokenizer.require("cls", "sep", "pad")
    if not isinstance(model, BertForSequenceClassification):
        raise ValueError(f"{args.run} has not been fine-tuned: add --train FILE, or name the "
                         f"folder that fine-tuning wrote ({Path(args.run) / 'finetuned'})")
    layout, config = read_settings(folder)
    layout = replace(layout, **explicit_flags(args, Layout))
    with errors_name_flags(INFERENCE_FIELDS):
        config = replace(config, **explicit_flags(args, FinetuneConfig))
        config.resolve_max_length(model.config)
    if args.out:
        check_writable(args.out)
    predictions, scores, message = evaluate_file(model, tokenizer, args.predict, layout, config)
    if message:
        print(message, file=sys.stderr)
    if args.out:
        path = write_predictions(predictions, args.out)
        print(json.dumps({"predictions": str(path), "scores": scores}) if args.json else path)
    else:
        print("\n".join(map(json.dumps, predictions) if args.json else render_tsv(predictions)))
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


def evaluate_file(model, tokenizer, path, layout, config):
    """Predict for every text of a file, and score the predictions if it has labels.

    Return (predictions, scores, message):

    predictions   for each row {"prediction": label, "probability"}; of a regression, only a number
    scores        {"accuracy": 0.8, ...}, or {} without usable labels
    message       a line with the scores, or why there are none ("" if the file has no labels),
                  after one about what was replaced in the texts
    """
    config = config.resolve_device()
    layout = replace(layout, skip_bad_rows=False)  # there is one prediction for each row
    examples = read_examples(path, layout, labeled=False, keep_empty=True)
    max_length = config.resolve_max_length(model.config)
    texts = EncodedTexts(tokenizer, examples.texts, model.config, max_length)
    logits = predict(model.to(config.device), texts, config)  # (N, num_labels)
    if model.labels:
        probabilities, classes = logits.softmax(dim=1).max(dim=1)  # (N,), (N,)
        answers = zip(classes.tolist(), probabilities.tolist())
        predictions = [{"prediction": model.labels[c], "probability": p} for c, p in answers]
    else:
        predictions = [{"prediction": value} for value in logits.squeeze(1).tolist()]
    replaced = str(examples.replacements) and f"replaced     {examples.replacements}\n"
    try:
        next(read_rows(path, layout, layout.parts(labeled=True),
                       replacements=Replacements("replace")))
    except ValueError:
        return predictions, {}, replaced.rstrip()  # the file has no label column
    try:
        examples = read_examples(path, layout, regression=not model.labels, keep_empty=True)
        labels = encode_labels(examples, model.labels)
    except ValueError as error:
        return predictions, {}, f"{replaced}not scored   {error}"
    metrics = compute_metrics(logits, labels, config.metrics if model.labels else REGRESSION)
    scores = {name: round(score, 6) for name, score in metrics.items()}
    listed = ", ".join(f"{config.score_name(name, model.labels)} {score:.4f}"
                       for name, score in scores.items())
    return predictions, scores, (f"{replaced}scored       {listed}, on the {len(labels):,} labels "
                                 f"of {path}")


def render_tsv(predictions):
    """Return predictions as lines of a .tsv with an index from 0, as GLUE expects.

    >>> render_tsv([{"prediction": "good", "probability": 0.75}])
    ['index\\tprediction\\tprobability', '0\\tgood\\t0.7500']
    """
    lines = ["\t".join(["index", *predictions[0]])]
    for i, prediction in enumerate(predictions):
        values = [f"{v:.4f}" if isinstance(v, float) else v for v in prediction.values()]
        lines.append("\t".join([str(i), *values]))
    return lines


def write_predictions(predictions, folder):
    """Write FOLDER/predictions.tsv and return its path."""
    path = Path(folder) / PREDICTIONS
    atomic_write(path, "".join(line + "\n" for line in render_tsv(predictions)))
    return path
