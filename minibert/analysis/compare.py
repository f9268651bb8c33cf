"""The same masks, filled by two runs and printed side by side: what has each learned that the other has not?

    python -m minibert compare runs/books runs/news "They came back and [MASK] was waiting."
    python -m minibert compare runs/books runs/news --targets he,she "The doctor said that [MASK] was tired."

A model knows the world as its corpus tells it. Train two alike on two corpora and ask both the same: the difference of the answers is
the difference of the corpora. With targets, the log ratio ln(p(he) / p(she)) says in one number which way each leans.
"""
import json
import math
from argparse import HelpFormatter
from pathlib import Path

import torch

from minibert.analysis.mask_filling import MASK, fill_mask
from minibert.formats.run_folder import load_run
from tokenizer.utils.cli import Parser
from tokenizer.utils.terminal import visible

SMALLEST = torch.finfo(torch.float32).tiny  # stands for a probability that float32 rounds to 0, so that each ratio has a logarithm


def compare(runs, text, top_k=5, targets=None):
    """What each run puts in place of each mask: a list with one entry a mask, in reading order, each a list with one entry a run.

    runs: a list of (name, model, tokenizer). An entry is {"run", "answers"}, the answers being the top_k {"token_str", "score"}, the
    likeliest first; with targets {"run", "targets", "log_ratios"}: each word's probability (of the whole vocabulary), and for each word
    but the first the logarithm of the first one's probability divided by its own.

    Raises ValueError for a text without a mask, and, with the run's name, for what ``fill_mask`` refuses.

    compare([("a", model, tokenizer)], "It is [MASK].", targets=["he", "she"])
    -> [[{"run": "a", "targets": {"he": 0.2, "she": 0.1}, "log_ratios": {"he/she": 0.69}}]]
    """
    if not MASK.search(text):
        raise ValueError(f'no mask in the text "{text}": write [MASK] or <mask> where a word is to be found')
    by_run = [_ask(name, model, tokenizer, text, top_k, targets) for name, model, tokenizer in runs]
    return [list(entries) for entries in zip(*by_run)]


def _ask(name, model, tokenizer, text, top_k, targets):
    """One run's entries, one for each mask."""
    try:
        if targets is None:
            return [{"run": name, "answers": [{"token_str": answer["token_str"], "score": answer["score"]} for answer in answers]}
                    for answers in _of_each_mask(fill_mask(model, tokenizer, text, top_k))]
        scores = {word: [answers[0]["score"] for answers in _of_each_mask(fill_mask(model, tokenizer, text, 1, [word]))] for word in targets}
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    first, *others = scores
    return [{"run": name, "targets": {word: scores[word][place] for word in scores},
             "log_ratios": {f"{first}/{word}": _log_ratio(scores[first][place], scores[word][place]) for word in others}}
            for place in range(len(scores[first]))]


def _log_ratio(one, other):
    return math.log(max(one, SMALLEST) / max(other, SMALLEST))


def _of_each_mask(answers):
    """``fill_mask`` gives a list of lists for several masks alone; here it is always one."""
    return answers if isinstance(answers[0], list) else [answers]


def as_table(entries):
    """The entries of one mask (see ``compare``) as lines of text, a column a run.

    >>> print(as_table([{"run": "a", "targets": {"he": 0.2, "she": 0.1}, "log_ratios": {"he/she": 0.693}},
    ...                 {"run": "b", "targets": {"he": 0.1, "she": 0.2}, "log_ratios": {"he/she": -0.693}}]))
                a       b
    he          0.2000  0.1000
    she         0.1000  0.2000
    ln(he/she)  +0.69   -0.69
    >>> print(as_table([{"run": "a", "answers": [{"token_str": " he", "score": 0.2}]},
    ...                 {"run": "b", "answers": [{"token_str": "she", "score": 0.1}]}]))
    a           b
    0.2000  he  0.1000  she
    """
    if "answers" in entries[0]:
        columns = [[entry["run"], *(f"{answer['score']:.4f}  {_shown(answer['token_str'])}" for answer in entry["answers"])] for entry in entries]
    else:
        columns = [["", *entries[0]["targets"], *(f"ln({pair})" for pair in entries[0]["log_ratios"])]]
        columns += [[entry["run"], *(f"{score:.4f}" for score in entry["targets"].values()),
                     *(f"{ratio:+.2f}" for ratio in entry["log_ratios"].values())] for entry in entries]
    widths = [max(map(len, column)) for column in columns]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in zip(*columns))


def _shown(token):
    return visible(token.strip() or token)


def split_words(words):
    """The command's words -> (runs, texts): texts begin with the first word that holds a mask.

    >>> split_words(["runs/a", "runs/b", "A [MASK]."])
    (['runs/a', 'runs/b'], ['A [MASK].'])
    """
    first = next((place for place, word in enumerate(words) if MASK.search(word)), len(words))
    runs, texts = words[:first], words[first:]
    if texts and len(runs) < 2:
        raise ValueError(f"compare takes two runs or more and then texts; before the first text there {'is' if runs else 'are'} {len(runs)}")
    for word in runs:
        if not texts and not Path(word).is_dir():  # then it was meant as a text, most likely
            raise ValueError(f'"{word}" is neither the folder of a run nor a text with a mask: write [MASK] or <mask> where a word is to be found')
    if not texts:
        raise ValueError('no text is given: add one, such as "They came back and [MASK] was waiting."')
    return runs, texts


def main(args=None):
    """The command: for each mask of each text a table; with --json one line a text: {"text", "masks"}, masks as ``compare`` returns them."""
    parser = Parser(prog="python -m minibert compare", description="Fill the same masks with two runs, side by side.", formatter_class=HelpFormatter,
                    usage="python -m minibert compare RUN RUN [RUN ...] TEXT [TEXT ...] [--targets WORD,WORD] [--top-k N] [--json]")
    parser.add_argument("words", metavar="RUN RUN ... TEXT ...", nargs="+",
                        help="two runs or more (folders that train.py wrote, or with a model and its tokenizer), then texts with [MASK] or <mask>")
    parser.add_argument("--top-k", type=int, default=5, help="how many answers for each mask (default: 5)")
    parser.add_argument("--targets", help="compare the probabilities of these words, separated by commas, in place of the likeliest ones")
    parser.add_argument("--json", action="store_true", help="for programs: one line of JSON a text")
    args = parser.parse_args(args, rest="words")
    folders, texts = split_words(args.words)
    targets = None if args.targets is None else list(dict.fromkeys(filter(None, map(str.strip, args.targets.split(",")))))
    if targets == []:
        raise ValueError("--targets is empty: name one word at least")
    runs = [(folder, *load_run(folder)) for folder in folders]
    for number, text in enumerate(texts):
        masks = compare(runs, text, args.top_k, targets)
        if args.json:
            print(json.dumps({"text": text, "masks": masks}))
            continue
        for place, entries in enumerate(masks):
            print("\n" * (number + place > 0) + text + (f"  (mask {place + 1})" if len(masks) > 1 else ""))
            print(as_table(entries))
