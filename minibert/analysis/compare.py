"""Fill the same masks with several runs, side by side: what did each learn from its corpus?

    python -m minibert compare runs/books runs/news "They came back and [MASK] was waiting."
    python -m minibert compare runs/books runs/news --targets he,she "The doctor said [MASK] knew."

Train two models alike on two corpora: the difference of their answers is a difference of the
corpora. With --targets, the log ratio ln(p(he) / p(she)) is one number for which way each leans.
"""
import json
import math
from pathlib import Path

import torch

from minibert.analysis.command import RUN_HELP, analysis_parser, split_commas
from minibert.analysis.mask_filling import MASK, fill_each_mask
from minibert.formats.run_folder import load_run
from tokenizer.utils.terminal import render_table, visible

# Replaces a probability that float32 rounds to 0, so that every ratio has a logarithm.
SMALLEST = torch.finfo(torch.float32).tiny


def compare(runs, text, top_k=5, targets=None):
    """Return the answers of each run to each mask: a list of masks, each a list of entries.

    runs      a list of (name, model, tokenizer)
    entry     {"run", "answers": the top_k {"token_str", "score"}}; with targets
              {"run", "targets": {word: probability}, "log_ratios": {"first/word": ln ratio}}

    Raises ValueError for a text without a mask, and as ``fill_mask`` does, with the run's name.

        compare([("a", model, tokenizer)], "It is [MASK].", targets=["he", "she"])
        -> [[{"run": "a", "targets": {"he": 0.2, "she": 0.1}, "log_ratios": {"he/she": 0.69}}]]
    """
    if not MASK.search(text):
        raise ValueError(f'no mask in the text "{text}": write [MASK] or <mask> for a word')
    entries_by_run = []
    for name, model, tokenizer in runs:
        try:
            if targets is None:
                entries = _answers(name, model, tokenizer, text, top_k)
            else:
                entries = _target_scores(name, model, tokenizer, text, targets)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        entries_by_run.append(entries)
    num_masks = len(entries_by_run[0])
    return [[entries[i] for entries in entries_by_run] for i in range(num_masks)]


def _answers(name, model, tokenizer, text, top_k):
    """Return the entries of one run, one for each mask."""
    entries = []
    for answers in fill_each_mask(model, tokenizer, text, top_k):
        short = [{"token_str": one["token_str"], "score": one["score"]} for one in answers]
        entries.append({"run": name, "answers": short})
    return entries


def _target_scores(name, model, tokenizer, text, targets):
    """Return the entries of one run, one for each mask, with the probabilities of ``targets``."""
    scores = {}  # word -> its probability at each mask
    for word in targets:
        masks = fill_each_mask(model, tokenizer, text, 1, [word])
        scores[word] = [answers[0]["score"] for answers in masks]
    first, *others = scores
    entries = []
    for i in range(len(scores[first])):
        at_mask = {word: values[i] for word, values in scores.items()}
        log_ratios = {
            f"{first}/{word}": _log_ratio(at_mask[first], at_mask[word]) for word in others
        }
        entries.append({"run": name, "targets": at_mask, "log_ratios": log_ratios})
    return entries


def _log_ratio(a, b):
    return math.log(max(a, SMALLEST) / max(b, SMALLEST))


def comparison_table(entries):
    """Return the entries of one mask (see ``compare``) as a table with a column for each run.

    >>> print(comparison_table([
    ...     {"run": "a", "targets": {"he": 0.2, "she": 0.1}, "log_ratios": {"he/she": 0.693}},
    ...     {"run": "b", "targets": {"he": 0.1, "she": 0.2}, "log_ratios": {"he/she": -0.693}}]))
                a       b
    he          0.2000  0.1000
    she         0.1000  0.2000
    ln(he/she)  +0.69   -0.69
    >>> print(comparison_table([{"run": "a", "answers": [{"token_str": " he", "score": 0.2}]},
    ...                         {"run": "b", "answers": [{"token_str": "she", "score": 0.1}]}]))
    a           b
    0.2000  he  0.1000  she
    """
    names = [entry["run"] for entry in entries]
    if "answers" in entries[0]:
        rows = [names]
        for i in range(min(len(entry["answers"]) for entry in entries)):
            answers = [entry["answers"][i] for entry in entries]
            rows.append([f"{one['score']:.4f}  {_shown(one['token_str'])}" for one in answers])
        return render_table(rows)
    rows = [["", *names]]
    for word in entries[0]["targets"]:
        rows.append([word, *(f"{entry['targets'][word]:.4f}" for entry in entries)])
    for pair in entries[0]["log_ratios"]:
        rows.append([f"ln({pair})", *(f"{entry['log_ratios'][pair]:+.2f}" for entry in entries)])
    return render_table(rows)


def _shown(token):
    return visible(token.strip() or token)


def split_arguments(words):
    """Split the arguments into (runs, texts): the first word with a mask is the first text.

    >>> split_arguments(["runs/a", "runs/b", "A [MASK]."])
    (['runs/a', 'runs/b'], ['A [MASK].'])
    """
    num_runs = next((i for i, word in enumerate(words) if MASK.search(word)), len(words))
    runs = words[:num_runs]
    texts = words[num_runs:]
    if not texts:
        for word in runs:
            if not Path(word).is_dir():  # probably a text that lacks a mask
                raise ValueError(f'"{word}" is neither a run nor a text with [MASK] or <mask>')
        raise ValueError('no text is given: add one, such as "They came back and [MASK] left."')
    if len(runs) < 2:
        raise ValueError(f"compare takes at least two runs before the first text, not {len(runs)}")
    return runs, texts


def main(args=None):
    """Print a table for each mask of each text, or {"text", "masks"} as a line of JSON."""
    parser = analysis_parser("compare", "Fill the same masks with several runs.", run=False)
    parser.usage = f"{parser.prog} RUN RUN [RUN ...] TEXT [TEXT ...] [options]"
    parser.add_argument("words", metavar="RUN RUN ... TEXT ...", nargs="+",
                        help=f"at least two runs ({RUN_HELP}), then texts with [MASK] or <mask>")
    parser.add_argument("--top-k", type=int, default=5, help="number of answers for each mask")
    parser.add_argument("--targets", metavar="WORD,WORD",
                        help="compare the probabilities of these words instead")
    args = parser.parse_args(args, rest="words")
    folders, texts = split_arguments(args.words)
    targets = None if args.targets is None else split_commas(args.targets)
    if targets == []:
        raise ValueError("--targets is empty: name at least one word")
    runs = [(folder, *load_run(folder)) for folder in folders]
    is_first = True
    for text in texts:
        masks = compare(runs, text, args.top_k, targets)
        if args.json:
            print(json.dumps({"text": text, "masks": masks}))
            continue
        for i, entries in enumerate(masks, start=1):
            if not is_first:
                print()
            is_first = False
            print(f"{text}  (mask {i})" if len(masks) > 1 else text)
            print(comparison_table(entries))
