"""Write one HTML page with a run's curves, its vocabulary, and its model, which runs in the page.

    python -m minibert page runs/books        # writes runs/books/page.html
    python -m minibert page runs/books --text "He broke the [MASK]." --out page.html

The page loads nothing: you can mail it or open it on a phone. A small masked model is in the page
(``pack.py``) and answers there (``model.js``); for other models, the page has pictures of answers
and attention. A run that is not finished gets a page too, with its newest checkpoint or without a
model. So does a folder with only a model. This module collects the facts; ``layout.py`` lays
them out.
"""
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from data import TokenFile
from minibert.analysis.activations import hidden_activations
from minibert.analysis.attention_maps import head_statistics, round_rows
from minibert.analysis.command import analysis_parser
from minibert.analysis.mask_filling import MASK, fill_each_mask
from minibert.analysis.page.layout import page
from minibert.analysis.page.pack import pack, pictures_only
from minibert.analysis.page.svg import is_number
from minibert.analysis.plots import read_metrics
from minibert.analysis.probes import known_probes, masked_passages
from minibert.evaluate import EVAL_SEED
from minibert.examples import make_examples
from minibert.formats.run_folder import load_run, read_config
from minibert.model import BertForMaskedLM
from tokenizer import load_tokenizer
from tokenizer.inspect.statistics import statistics
from tokenizer.utils.files import atomic_write, check_free
from tokenizer.word_starts import WordStarts

SAMPLE = (
    "He didn't know 1,234 words; tokenization, the café's naïve internationalization, cost €5.\n"
    "    return 🙂"
)
MAX_MAP_TOKENS = 32  # of a longer text the first tokens are drawn
VALIDATION_IDS = 200_000  # ids that are read for the share of one-token words


def collect_facts(folder, texts=()):
    """Return (facts for the page of a run, its tokenizer, what ``pack`` returns).

    texts    filled and shown instead of the preset's sentences
    facts    a dict of JSON values; parts without content are empty, and "notes" says why

    The tokenizer is None if the run has none (yet), the last if the page has only pictures.

    Raises FileNotFoundError or ValueError for a folder that is neither a run nor a model.
    """
    folder = Path(folder)
    notes = []
    packed = None
    model, tokenizer, preset, train = load_parts(folder, notes)
    facts = {
        "folder": str(folder),
        "preset": preset,
        "model": model_facts(model) if model else {},
        "train": asdict(train) if train else {},
        "training": training_facts(folder, notes),
        "finetuned": finetuning_facts(folder, notes),
        "vocabulary": statistics(tokenizer) if tokenizer else {},
        "validation_words": {},
        "masks": [],
        "attention": {},
        "samples": [],
        "notes": notes,
    }
    if tokenizer:
        token_file = examples = None
        if train:
            token_file, examples = attempt("validation text", notes, load_validation, folder,
                                           train, tokenizer) or (None, None)
        texts = [MASK.sub(lambda _: tokenizer.mask_token or "", text) for text in texts]
        facts["samples"] = [SAMPLE, *texts]
        if token_file:
            facts["validation_words"] = word_statistics(token_file, tokenizer)
        if model:
            corpus = train.corpus if train else ""
            texts = texts or default_texts(preset, corpus, examples, model, tokenizer)
            facts["masks"] = filled_masks(model, tokenizer, texts, notes)
            if tokenizer.encode(texts[0]).ids:
                facts["attention"] = attention_facts(model, tokenizer, texts[0])
            packed = packed_model(model, tokenizer, [*texts, SAMPLE], notes)
    return facts, tokenizer, packed


def model_facts(model):
    """Return the fields of the model's config, its class and number of parameters."""
    config = asdict(model.config)
    return config | {"parameters": model.num_parameters(), "class": type(model).__name__}


def packed_model(model, tokenizer, examples, notes):
    """Return what ``pack`` returns and the examples, or None and a note that says why."""
    reason = pictures_only(model, tokenizer)
    if reason:
        notes.append(reason)
        return None
    return pack(model, tokenizer) | {"examples": examples}


def attempt(name, notes, load, *args):
    """Return ``load(*args)``, or None and a note that says why there is no ``name``."""
    try:
        return load(*args)
    except (OSError, ValueError) as error:
        notes.append(f"No {name} is shown: {error}")
        return None


def load_parts(folder, notes):
    """Return (model, tokenizer, preset, TrainConfig), None for what a run does not have (yet)."""
    if not (folder / "metrics.jsonl").exists():  # not a run: a model and its tokenizer
        return (*load_run(folder), "", None)
    model, tokenizer = attempt("model", notes, load_run, folder) or (None, None)
    tokenizer = tokenizer or attempt("tokenizer", notes, load_tokenizer, folder / "tokenizer")
    config = attempt("training configuration", notes, read_config, folder) or ("", None, None)
    preset, _, train = config
    return model, tokenizer, preset, train


def training_facts(folder, notes):
    """Return the curves, evaluations and progress in metrics.jsonl, or {}."""
    if not (folder / "metrics.jsonl").is_file():
        notes.append("No curves are shown: the folder has no metrics.jsonl.")
        return {}
    training, evaluations, expected = read_metrics(folder)
    finished = any(line.get("final") is True for line in evaluations)
    lines = [_numbers(line) for line in (*training, *evaluations)]
    lines = [line for line in lines if "step" in line]
    curves = {}  # name -> [[step, value], ...]
    for line in lines:
        for name in line.keys() - {"step", "elapsed"}:
            curves.setdefault(name, []).append([line["step"], line[name]])
    return {
        "expected": _numbers(expected),
        "curves": curves,
        "evaluations": [line for line in lines if "eval_loss" in line],
        "step": max((line["step"] for line in lines), default=0),
        "seconds": max((line.get("elapsed", 0) for line in lines), default=0),
        "finished": finished,
    }


def _numbers(line):
    """Return the values of a line that can be drawn: a broken file may hold anything."""
    return {name: value for name, value in line.items() if is_number(value)}


def finetuning_facts(folder, notes):
    """Return a dict for each finetune.json in the folder or its subfolders."""
    results = []
    for path in sorted([*folder.glob("finetune.json"), *folder.glob("*/finetune.json")]):
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
            scores = {name: result["pretrained"][name] for name in ("mean", "deviation")}
            scores["constant"] = result["constant"]
            results.append({
                "folder": str(path.parent),
                "tune": result["tuning"]["tune"],
                "metric": result["metric"],
                "train": result["train"],
                **{name: score if score is None else float(score)  # None: undefined
                   for name, score in scores.items()},
            })
        except (KeyError, TypeError, ValueError, RecursionError, OSError):
            notes.append(f"Nothing is shown of {path}: it has no scores of a finished fine-tuning.")
    return results


def load_validation(folder, train, tokenizer):
    """Return (token file, examples) of the validation text, or None if it is not on the disk."""
    path = Path(train.data or folder / "data") / "eval"
    if not path.is_dir():
        return None
    token_file = TokenFile(path)
    examples = make_examples(train.examples, token_file, tokenizer, train.max_length)
    return token_file, examples.at(EVAL_SEED, 0)


def word_statistics(token_file, tokenizer):
    """Return {"words", "whole": share of one-token words, "tokens_per_word"} of a token file."""
    ids = np.asarray(token_file.ids[:VALIDATION_IDS])
    if not len(ids):
        return {}
    starts = WordStarts(tokenizer)(ids)  # (N,) bool
    line_starts = np.asarray(token_file.segments[:-1])
    starts[line_starts[line_starts < len(ids)]] = True  # a line begins with a word
    lengths = np.diff(np.append(np.flatnonzero(starts), len(ids)))
    return {
        "words": len(lengths),
        "whole": round(float((lengths == 1).mean()), 4),
        "tokens_per_word": round(float(lengths.mean()), 4),
    }


def default_texts(preset, corpus, examples, model, tokenizer):
    """Return the probes of the corpus or preset, validation passages, or an English sentence."""
    texts = known_probes(preset, corpus, tokenizer)
    if not texts and examples is not None:
        texts = masked_passages(examples, tokenizer)
    if not texts:
        texts = known_probes("kant", "kant", tokenizer)[:1] if tokenizer.mask_token else [SAMPLE]
    max_length = model.config.max_length
    return [text for text in texts if len(tokenizer.encode(text)) <= max_length] or [""]


def filled_masks(model, tokenizer, texts, notes):
    """Return {"text", "answers": a list for each mask} for each text with a mask."""
    if not isinstance(model, BertForMaskedLM):
        notes.append("No mask is filled: the model has no head for masked tokens.")
        return []
    masks = []
    for text in texts:
        if tokenizer.mask_token_id in tokenizer.encode(text).ids:
            masks.append({"text": text, "answers": fill_each_mask(model, tokenizer, text)})
    return masks


def attention_facts(model, tokenizer, text):
    """Return {"text", "length", "tokens", "layers"}; a layer is a list of heads with weights."""
    activations = hidden_activations(model, tokenizer, text)
    tokens = activations.texts
    layers = []
    for layer in activations.attention:
        heads = []
        for weights in layer:
            shown = round_rows(weights[:MAX_MAP_TOKENS, :MAX_MAP_TOKENS], 3)
            heads.append({"weights": shown, **head_statistics(weights)})
        layers.append(heads)
    return {"text": text, "length": len(tokens), "tokens": tokens[:MAX_MAP_TOKENS],
            "layers": layers}


def main(args=None):
    """Write the page; with --json print the facts on it, without the weights."""
    parser = analysis_parser(
        "page",
        "Write an HTML page with a run's curves, vocabulary and model, which runs in the page.",
        epilog="The page may quote the validation text: check it before you publish it.",
        out="the page (default: RUN/page.html, written again)",
    )
    parser.add_argument("--text", metavar="TEXT", action="append", default=[],
                        help="text to show, with or without masks; may be repeated")
    args = parser.parse_args(args)
    if args.out:
        check_free(args.out, args.overwrite)
    facts, tokenizer, packed = collect_facts(args.run, args.text)
    out = Path(args.out) if args.out else Path(args.run) / "page.html"
    atomic_write(out, page(facts, tokenizer, packed))
    print(json.dumps(facts | {"out": str(out)}) if args.json else out)
