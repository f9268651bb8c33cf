"""A page for a run: one HTML file with its curves, its configuration, its vocabulary, filled masks, attention maps, a text cut into tokens.

    python -m minibert report runs/books                      # writes runs/books/report.html
    python -m minibert report runs/books --text "He broke the [MASK]." --out page.html

The file loads nothing and runs nothing: it can be mailed, or opened on a phone. A run that is not finished has a page as well (of its newest
checkpoint, or without a model), and so has a folder with a model alone. This module gathers the facts; ``page.py`` lays them out.
"""
import json
from argparse import HelpFormatter
from dataclasses import asdict
from pathlib import Path

import numpy as np

from data import TokenFile
from minibert.analysis.activations import hidden_activations
from minibert.analysis.attention_maps import head_statistics
from minibert.analysis.mask_filling import MASK, fill_mask
from minibert.analysis.plots import read_metrics
from minibert.analysis.probes import PROBES, known_probes, masked_passages
from minibert.analysis.report.page import page
from minibert.analysis.report.svg import is_number
from minibert.evaluate import EVAL_SEED
from minibert.examples import make_examples
from minibert.formats.run_folder import load_run, read_config
from minibert.presets import PRESETS
from tokenizer import load_tokenizer
from tokenizer.inspect import statistics
from tokenizer.utils.cli import Parser
from tokenizer.utils.files import atomic_write
from tokenizer.word_starts import WordStarts

SAMPLE = "He didn't know 1,234 words; tokenization, the café's naïve internationalization, cost €5.\n    return 🙂"
IN_A_MAP = 32  # tokens: of a longer text the first ones are drawn
HELD_OUT_IDS = 200_000  # that are looked at for the share of whole words


def gather(folder, texts=()):
    """What the page of a run says -> (facts, tokenizer or None). texts: asked in place of the preset's sentences; those with a mask are filled.

    facts: a dict of JSON values, its parts empty where there is nothing to say: "folder", "notes" (what could not be shown, and why), "preset",
    "model", "train", "unlike_preset", "training" (curves, evaluations), "finetuned", "vocabulary", "held_out_words", "masks", "attention",
    "samples". Raises FileNotFoundError and ValueError for a folder that is neither a run nor a model, and for texts that cannot be asked.
    """
    folder, notes = Path(folder), []
    model, tokenizer = load_parts(folder, notes)
    preset, train = configuration(folder, notes)
    facts = {"folder": str(folder), "preset": preset, "model": {}, "train": asdict(train) if train else {}, "unlike_preset": [],
             "training": training(folder, notes), "finetuned": finetuned(folder, notes), "vocabulary": {}, "held_out_words": {}, "masks": [],
             "attention": {}, "samples": []}
    if model:
        facts["model"] = {**asdict(model.config), "parameters": model.num_parameters(), "class": type(model).__name__}
        if preset in PRESETS:
            usual = {**asdict(PRESETS[preset][0]), **asdict(PRESETS[preset][1])}
            facts["unlike_preset"] = [name for name, value in {**asdict(model.config), **facts["train"]}.items() if usual.get(name, value) != value]
    if tokenizer:
        examples = held_out(folder, train, tokenizer, notes)
        facts["vocabulary"] = statistics(tokenizer)
        facts["held_out_words"] = held_out_words(examples[0], tokenizer) if examples else {}
        asked = [MASK.sub(lambda _: tokenizer.mask_token or "", text) for text in texts]
        facts["samples"] = [SAMPLE, *asked]
        if model:
            asked = asked or usual_texts(preset, train, examples, model, tokenizer)
            facts["masks"] = filled(model, tokenizer, asked, notes)
            facts["attention"] = attention(model, tokenizer, asked[0])
    return facts | {"notes": notes}, tokenizer


def load_parts(folder, notes):
    """(model, tokenizer) of a folder, None for what there is not (yet), with a note why. Raises as ``load_run`` where there is nothing at all."""
    try:
        return load_run(folder)
    except ValueError as error:
        if not any((folder / name).exists() for name in ("metrics.jsonl", "tokenizer")):
            raise
        begun = (folder / "model").exists() or any(folder.glob("checkpoints/step-*"))
        notes.append(f"No model is shown: {error if begun else 'no checkpoint was written yet.'}")
    try:
        return None, load_tokenizer(folder / "tokenizer")
    except (OSError, ValueError) as error:
        notes.append(f"No tokenizer is shown: {error}")
    return None, None


def configuration(folder, notes):
    """(preset, TrainConfig) of a run; ("", None) of a folder that is no run, whose config.json, if any, is a model's."""
    try:
        preset, _, train = read_config(folder)
        return preset, train
    except ValueError as error:
        if (folder / "metrics.jsonl").exists():
            notes.append(f"No configuration of the training is shown: {error}")
    return "", None


def training(folder, notes):
    """metrics.jsonl as {"expected": its first line, "curves": {name: [[step, value], ...]}, "evaluations": its lines, "step", "seconds",
    "finished": whether it came to its end}; {} where there is none."""
    if not (folder / "metrics.jsonl").is_file():
        notes.append("No curves are shown: there is no metrics.jsonl in the folder, so it is a model alone, or its training has not begun.")
        return {}
    lines, evaluations, expected = read_metrics(folder)
    finished = any(line.get("final") is True for line in evaluations)
    left_out = sum(type(value) in (int, float) and not is_number(value) for line in (expected, *lines, *evaluations) for value in line.values())
    if left_out:
        notes.append(f"Left out of the curves: {left_out:,} values of metrics.jsonl that are no number, infinite, or beyond 1e100.")
    expected, *lines = [{name: value for name, value in line.items() if is_number(value)} for line in (expected, *lines, *evaluations)]
    lines, curves = [line for line in lines if "step" in line], {}
    for line in lines:
        for name in line.keys() - {"step", "elapsed"}:
            curves.setdefault(name, []).append([line["step"], line[name]])
    return {"expected": expected, "curves": curves, "evaluations": [line for line in lines if "eval_loss" in line],
            "step": max((line["step"] for line in lines), default=0), "seconds": max((line.get("elapsed", 0) for line in lines), default=0),
            "finished": finished}


def finetuned(folder, notes):
    """What was fine-tuned from this run, or in this folder: list of {"folder", "metric", "mean", "deviation", "constant", "train", "tune"}"""
    found = []
    for path in sorted([*folder.glob("finetune.json"), *folder.glob("*/finetune.json")]):
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
            numbers = {"mean": result["pretrained"]["mean"], "deviation": result["pretrained"]["deviation"], "constant": result["constant"]}
            if not all(map(is_number, numbers.values())):
                raise ValueError("scores that are no numbers")
            found.append({"folder": str(path.parent), "tune": str(result["tuning"]["tune"]), "metric": str(result["metric"]),
                          "train": str(result["train"]), **numbers})
        except (KeyError, TypeError, ValueError, RecursionError, OSError):
            notes.append(f"Nothing is shown of {path}: it is not as minibert.finetuning.command writes it.")
    return found


def held_out(folder, train, tokenizer, notes):
    """(token file, examples) of the held-out text; None where there is none."""
    place = Path(train.data or folder / "data") / "eval" if train else None
    if place is None or not place.is_dir():
        return None
    try:
        file = TokenFile(place)
        return file, make_examples(train.examples, file, tokenizer, train.max_length).at(EVAL_SEED, 0)
    except (OSError, ValueError) as error:
        notes.append(f"Nothing is shown of the held-out text: {error}")
    return None


def held_out_words(file, tokenizer):
    """Of the first ids of held-out text {"words", "whole": share of the words that are one token, "tokens_per_word"}; {} of an empty file."""
    ids = np.asarray(file.ids[:HELD_OUT_IDS])
    if not len(ids):
        return {}
    starts = WordStarts(tokenizer)(ids)  # (N,) bool
    starts[np.asarray(file.segments[:-1])[file.segments[:-1] < len(ids)]] = True  # a line begins with a word
    sizes = np.diff(np.append(np.flatnonzero(starts), len(ids)))
    return {"words": len(sizes), "whole": round(float((sizes == 1).mean()), 4), "tokens_per_word": round(float(sizes.mean()), 4)}


def usual_texts(preset, train, examples, model, tokenizer):
    """What the run is asked where nobody says: the sentences of its corpus or preset, held-out passages, or those of any English text."""
    texts = known_probes(preset, train.corpus if train else "", tokenizer) or (masked_passages(examples[1], tokenizer) if examples else [])
    texts = texts or [probe.replace("<mask>", tokenizer.mask_token or "") for probe in PROBES["kant"][:1]]
    return [text for text in texts if len(tokenizer.encode(text)) <= model.config.max_length] or [""]


def filled(model, tokenizer, texts, notes):
    """The texts that have masks, with their answers: list of {"text", "answers": for each mask a list as ``fill_mask`` has it}"""
    if not hasattr(model, "head"):
        notes.append("No mask is filled: the model has no head for it, since it was fine-tuned, or saved as the encoder alone.")
        return []
    found = []
    for text in texts:
        if tokenizer.mask_token_id in tokenizer.encode(text).ids:
            answers = fill_mask(model, tokenizer, text)
            found.append({"text": text, "answers": answers if isinstance(answers[0], list) else [answers]})
    return found


def attention(model, tokenizer, text):
    """{"text", "length": its tokens, "tokens": those that are shown, "layers": for each a list of heads, {"weights", and its ``head_statistics``}}"""
    seen = hidden_activations(model, tokenizer, text)
    layers = [[{"weights": [[round(weight, 3) for weight in row] for row in head[:IN_A_MAP, :IN_A_MAP].tolist()], **head_statistics(head)} for head in layer]
              for layer in seen.attention]
    return {"text": text, "length": len(seen.texts), "tokens": seen.texts[:IN_A_MAP], "layers": layers}


def main(args=None):
    """The command: write the page; with --json print the facts that are on it."""
    parser = Parser(prog="python -m minibert report", formatter_class=HelpFormatter,
                    description="One HTML page for a run: curves, configuration, vocabulary, filled masks, attention maps.",
                    epilog="The page loads nothing and runs nothing. It may show passages of the held-out text: look before you publish it.")
    parser.add_argument("run", metavar="RUN", help="folder that train.py wrote, finished or not, or one with a model and its tokenizer")
    parser.add_argument("--out", metavar="FILE", help="the page (default: RUN/report.html)")
    parser.add_argument("--text", metavar="TEXT", action="append", default=[], help="a text to ask and to show, with <mask> or [MASK] or without, in "
                        "place of the preset's; may be given several times, attention is drawn of the first")
    parser.add_argument("--json", action="store_true", help="for programs: the facts on the page as one line of JSON")
    args = parser.parse_args(args)
    facts, tokenizer = gather(args.run, args.text)
    out = Path(args.out) if args.out else Path(args.run) / "report.html"
    atomic_write(out, page(facts, tokenizer))
    print(json.dumps(facts | {"out": str(out)}) if args.json else out)
