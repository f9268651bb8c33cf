"""What a fine-tuned model answers, for texts of a file; and, where the file has labels, how good the answers are.

    python -m minibert finetune runs/books/finetuned --predict new.tsv                   # on standard output; scores, if any, on standard error
    python -m minibert finetune runs/books/finetuned --predict test.tsv --out answers    # answers/predictions.tsv

The columns are those with which it was trained (finetune.json), unless flags name others.
"""
import json
import sys
from dataclasses import replace
from pathlib import Path

from minibert.config import from_dict
from minibert.finetuning.adapter_files import load_finetuned
from minibert.finetuning.adapters import Tuning
from minibert.finetuning.labeled_files import Layout, encode_labels, read_examples, rows
from minibert.finetuning.loop import DEFAULT_MAX_LENGTH, EncodedTexts, FinetuneConfig, compute_metrics, predict
from minibert.finetuning.metrics import CLASSIFICATION, REGRESSION
from minibert.heads import BertForSequenceClassification
from tokenizer.utils.cli import given
from tokenizer.utils.files import atomic_write, check_writable

SETTINGS, PREDICTIONS = "finetune.json", "predictions.tsv"
OF_PREDICTING = ("max_length", "device", "precision")  # fields of FinetuneConfig that say something where nothing is trained


def predict_command(args):
    """--predict without --train: predictions on standard output, or in the folder --out; with labels in the file the scores as well."""
    training = [name for cls in (FinetuneConfig, Tuning) for name in given(args, cls) if name not in OF_PREDICTING] + ["dev"] * bool(args.dev)
    if training:
        flags = ", ".join("--" + name.replace("_", "-") for name in training)
        raise ValueError(f"{flags}: for training, and there is no --train FILE: add it, or leave out what is for training")
    model, tokenizer = load_finetuned(args.adapter, args.run) if args.adapter else load_finetuned(args.run)
    tokenizer.require("cls", "sep", "pad")
    if not isinstance(model, BertForSequenceClassification):
        raise ValueError(f"{args.run} has not been fine-tuned: give --train FILE as well, or the folder that fine-tuning wrote "
                         f"(such as {Path(args.run) / 'finetuned'})")
    layout, config = read_settings(args.adapter or args.run)
    layout, config = replace(layout, **given(args, Layout)), replace(config, **given(args, FinetuneConfig))
    if args.out:
        check_writable(Path(args.out))
    lines, scores, said = evaluate_file(model, tokenizer, args.predict, layout, config)
    if said:
        print(said, file=sys.stderr)
    if not args.out:
        print("\n".join(map(json.dumps, lines) if args.json else as_table(lines)))
        return 0
    place = write_predictions(lines, args.out)
    print(json.dumps({"predictions": str(place), "scores": scores}) if args.json else place)
    return 0


def read_settings(folder):
    """(Layout, FinetuneConfig) of a fine-tuned model, the defaults where others made it. ValueError for a file that is damaged."""
    path = Path(folder) / SETTINGS
    if not path.is_file():
        return Layout(), FinetuneConfig()
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return from_dict(Layout, stored["layout"]), from_dict(FinetuneConfig, stored["config"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not what fine-tuning wrote ({error!r})") from None


def evaluate_file(model, tokenizer, path, layout, config):
    """The texts of a file, judged by a BertForSequenceClassification -> (predictions, scores, a line on the scores)

    predictions: a list of {"prediction": label, "probability"}, of a regression {"prediction": number}, one for each example; scores:
    {"accuracy": 0.8, ...}, and {} where the file has no column of labels, or some that cannot be scored, which the line then says.
    """
    config, asked = config.on_this_machine(), read_examples(path, layout, labeled=False, keep_empty=True)
    texts = EncodedTexts(tokenizer, asked.texts, model.config, max_length(config, model.config))
    outputs = predict(model.to(config.device), texts, config)  # (N, labels)
    if model.labels:
        probabilities, numbers = outputs.softmax(dim=1).max(dim=1)
        lines = [{"prediction": model.labels[number], "probability": p} for number, p in zip(numbers.tolist(), probabilities.tolist())]
    else:
        lines = [{"prediction": number} for number in outputs.squeeze(1).tolist()]
    try:
        next(rows(path, layout, layout.parts(labeled=True)))
    except ValueError:
        return lines, {}, ""  # no label is there
    try:
        right = encode_labels(read_examples(path, layout, not model.labels, keep_empty=True), model.labels)
    except ValueError as error:
        return lines, {}, f"not scored   {error}"
    scores = {name: round(score, 6) for name, score in compute_metrics(outputs, right, CLASSIFICATION if model.labels else REGRESSION).items()}
    return lines, scores, f"scored       {', '.join(f'{name} {score:.4f}' for name, score in scores.items())}, on the {len(right):,} labels of {path}"


def max_length(config, model_config):
    """The tokens of a text at most. ValueError for more than the model takes."""
    if config.max_length > model_config.max_length:
        raise ValueError(f"max_length {config.max_length} is more than the {model_config.max_length} tokens that the model takes")
    return config.max_length or min(DEFAULT_MAX_LENGTH, model_config.max_length)


def as_table(lines):
    """Predictions as the lines of a .tsv, numbered from 0 as GLUE has it.

    >>> as_table([{"prediction": "good", "probability": 0.75}])
    ['index\\tprediction\\tprobability', '0\\tgood\\t0.7500']
    """
    rows = ["\t".join(["index", *lines[0]])]
    return rows + ["\t".join([str(n), *(f"{value:.4f}" if isinstance(value, float) else value for value in line.values())])
                   for n, line in enumerate(lines)]


def write_predictions(lines, folder):
    """FOLDER/predictions.tsv -> its path"""
    place = Path(folder) / PREDICTIONS
    atomic_write(place, "".join(line + "\n" for line in as_table(lines)))
    return place
