"""Fill the same masks with several runs, side by side: what did each learn from its corpus?

    python -m minibert compare runs/books runs/news "They came back and [MASK] was waiting."
    python -m minibert compare runs/books runs/news --targets he,she "The doctor said [MASK] knew."

Train two models alike on two corpora: the difference of their answers is a difference of the
corpora. With --targets, the log ratio ln(p(he) / p(she)) is one number for which way each leans.
"""
import json
import math

import torch

from minibert.analysis.command import RUN_HELP, analysis_parser
from minibert.analysis.mask_filling import MASK, add_answer_flags, fill_each_mask
from minibert.formats.run_folder import load_run
from tokenizer.utils.terminal import render_table

# Replaces a probability that float32 rounds to 0, so that every ratio has a logarithm.
SMALLEST = torch.finfo(torch.float32).tiny


def compare(runs, text, top_k=5, targets=None):
    """Return the answers of each run to each mask: a list of masks, each a list of entries.

    runs      a list of (name, model, tokenizer)
    entry     {"run", "answers": the top_k {"token_str", "score"}}; with targets
              {"run", "targets": {word: probability}, "log_ratios": {"first/word": ln ratio}}

    Raises ValueError as ``fill_mask`` does, with the run's name.

        compare([("a", model, tokenizer)], "It is [MASK].", targets=["he", "she"])
        -> [[{"run": "a", "targets": {"he": 0.2, "she": 0.1}, "log_ratios": {"he/she": 0.69}}]]
    """
    entries_by_run = []
    for name, model, tokenizer in runs:
        try:
            if not targets:
                entries = []
                for answers in fill_each_mask(model, tokenizer, text, top_k):
                    short = [{"token_str": a["token_str"], "score": a["score"]} for a in answers]
                    entries.append({"run": name, "answers": short})
            else:
                entries = _target_scores(name, model, tokenizer, text, targets)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        entries_by_run.append(entries)
    num_masks = len(entries_by_run[0])
    return [[entries[i] for entries in entries_by_run] for i in range(num_masks)]


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
        log_ratios = {}
        for word in others:
            ratio = max(at_mask[first], SMALLEST) / max(at_mask[word], SMALLEST)
            log_ratios[f"{first}/{word}"] = math.log(ratio)
        entries.append({"run": name, "targets": at_mask, "log_ratios": log_ratios})
    return entries


def comparison_table(entries):
    """Return the entries of one mask (see ``compare``) as a table with a column for each run.

    >>> print(comparison_table([
    ...     {"run": "a", "targets": {"he": 0.2, "she": 0.1}, "log_ratios": {"he/she": 0.693}},
    ...     {"run": "b", "targets": {"he": 0.1, "she": 0.2}, "log_ratios": {"he/she": -0.693}}]))
                a       b
    he          20.00%  10.00%
    she         10.00%  20.00%
    ln(he/she)  +0.69   -0.69
    >>> print(comparison_table([{"run": "a", "answers": [{"token_str": " he", "score": 0.2}]},
    ...                         {"run": "b", "answers": [{"token_str": "she", "score": 0.1}]}]))
    a           b
    20.00%  he  10.00%  she
    """
    names = [entry["run"] for entry in entries]
    if "answers" in entries[0]:
        rows = [names]
        for i in range(min(len(entry["answers"]) for entry in entries)):
            answers = [entry["answers"][i] for entry in entries]
            rows.append([f"{one['score']:6.2%}  {_shown(one['token_str'])}" for one in answers])
        return render_table(rows)
    rows = [["", *names]]
    for word in entries[0]["targets"]:
        rows.append([word, *(f"{entry['targets'][word]:6.2%}" for entry in entries)])
    for pair in entries[0]["log_ratios"]:
        rows.append([f"ln({pair})", *(f"{entry['log_ratios'][pair]:+.2f}" for entry in entries)])
    return render_table(rows)


def _shown(token):
    return token.strip() or token


def main(args=None):
    """Print a table for each mask of each text, or {"text", "masks"} as a line of JSON."""
    parser = analysis_parser("compare", "Fill the same masks with several runs.", run=False)
    parser.usage = f"{parser.prog} RUN RUN [RUN ...] TEXT [TEXT ...] [options]"
    parser.add_argument("words", metavar="RUN RUN ... TEXT ...", nargs="+",
                        help=f"at least two runs ({RUN_HELP}), and texts with [MASK] or <mask>")
    add_answer_flags(parser)
    args = parser.parse_args(args, rest="words")
    texts = [word for word in args.words if MASK.search(word)]
    folders = [word for word in args.words if not MASK.search(word)]
    if len(folders) < 2 or not texts:
        parser.error("name at least two runs, and a text with [MASK] or <mask>, such as "
                     '"They came back and [MASK] left."')
    runs = [(folder, *load_run(folder)) for folder in folders]
    blocks = []
    for text in texts:
        masks = compare(runs, text, args.top_k, args.targets)
        if args.json:
            print(json.dumps({"text": text, "masks": masks}))
            continue
        for i, entries in enumerate(masks, start=1):
            title = f"{text}  (mask {i})" if len(masks) > 1 else text
            blocks.append(f"{title}\n{comparison_table(entries)}")
    if blocks:
        print("\n\n".join(blocks))
