"""One word in two contexts: how far apart are its vectors, layer by layer?

    python -m minibert contexts runs/books record "He broke the record." "She played the record." --out record.png

A table of word vectors has one for `record`, whatever is meant. A BERT begins so, too: before the first layer (0) both are the same, but for
their position. Then each layer mixes in more of the sentence, and the two go apart. How far says little alone, since in many models all vectors
lie in a narrow cone (Ethayarajh 2019): so beside it stands the mean cosine of different words of the two sentences.
"""
import json
import re
from argparse import HelpFormatter

import torch

from minibert.analysis.activations import cosine, hidden_activations
from minibert.analysis.plots import drawn, plot_contexts
from minibert.formats.run_folder import load_run
from tokenizer.utils.cli import Parser


def word_in_contexts(model, tokenizer, word, first, second):
    """The vectors of ``word`` in two texts, compared. Where the word is several tokens, their mean is taken; where a text has it twice, the first.

    -> {"word", "contexts": [text, text], "tokens": [tokens of the word, in each], "layers": [{"layer": 0, "cosine", "others"}, ...]}, layer 0
    being the embeddings; others: the mean cosine of two different tokens, one of each text, special tokens left out; None where there are none.
    Raises ValueError for a text without the word, and what ``hidden_activations`` does.

    word_in_contexts(model, tokenizer, "record", "He broke the record.", "She played the record.")["layers"][-1]
    -> {"layer": 4, "cosine": 0.71, "others": 0.22}
    """
    seen = [hidden_activations(model, tokenizer, text) for text in (first, second)]
    places = [places_of(word, text, one.encoding) for text, one in zip((first, second), seen)]
    a, b = (one.vectors[:, some].mean(dim=1) for one, some in zip(seen, places))  # (L + 1, H)
    values = zip(cosine(a, b).tolist(), mean_of_different(*seen))
    layers = [{"layer": number, "cosine": round(same, 6), "others": others} for number, (same, others) in enumerate(values)]
    return {"word": word, "contexts": [first, second], "tokens": [[one.texts[i] for i in some] for one, some in zip(seen, places)], "layers": layers}


def places_of(word, text, encoding):
    """The numbers of the tokens that ``word`` is made of where it first stands in ``text`` as a word, in capitals or not.

    "record", "A record.", <s> A Ġrecord . </s> -> [2]
    """
    found = re.search(rf"(?<!\w){re.escape(word.strip())}(?!\w)", text, re.IGNORECASE) if word.strip() else None
    if not found:
        raise ValueError(f'the word "{word}" does not stand in the text "{text}": both texts must have it')
    return [i for i, ((start, end), special) in enumerate(zip(encoding.offsets, encoding.special_tokens_mask))
            if not special and start < found.end() and end > found.start()]


def mean_of_different(one, other):
    """Two ``Activations`` -> for each layer the mean cosine of pairs of different tokens, one of each text. None, as often, where all are alike."""
    rows, columns = ([i for i, special in enumerate(seen.encoding.special_tokens_mask) if not special] for seen in (one, other))
    different = torch.tensor([[one.encoding.ids[i] != other.encoding.ids[j] for j in columns] for i in rows])  # (T, T)
    if not different.any():
        return [None] * len(one.vectors)
    cosines = cosine(one.vectors[:, rows, None], other.vectors[:, None, columns])  # (L + 1, T, T)
    return [round(value, 6) for value in cosines[:, different].mean(dim=1).tolist()]


def as_table(result):
    """A result of ``word_in_contexts`` as lines of text.

    >>> print(as_table({"word": "record", "layers": [{"layer": 0, "cosine": 1.0, "others": 0.05}, {"layer": 1, "cosine": 0.625, "others": None}]}))
    layer  record  other words
        0  1.0000       0.0500
        1  0.6250            -
    """
    width = max(6, len(result["word"]))
    rows = [f"layer  {result['word']:>{width}}  other words"]
    for layer in result["layers"]:
        others = "-" if layer["others"] is None else f"{layer['others']:.4f}"
        rows.append(f"{layer['layer']:>5}  {layer['cosine']:>{width}.4f}  {others:>11}")
    return "\n".join(rows)


def main(args=None):
    """The command: a table, with --out a picture; with --json one object."""
    parser = Parser(prog="python -m minibert contexts", formatter_class=HelpFormatter,
                    description="One word in two contexts: the cosine of its two vectors, layer by layer.",
                    epilog="Layer 0 are the embeddings. Other words: the mean cosine of different words of the two texts, to compare with.")
    parser.add_argument("run", metavar="RUN", help="folder that train.py wrote, or one with a model and its tokenizer")
    parser.add_argument("word", metavar="WORD", help="a word that stands in both texts")
    parser.add_argument("first", metavar="TEXT", help="one text")
    parser.add_argument("second", metavar="TEXT", help="another text")
    parser.add_argument("--out", metavar="PICTURE", help="draw the cosines into this file, .png or .svg (needs matplotlib)")
    parser.add_argument("--json", action="store_true", help="for programs: one line of JSON")
    args = parser.parse_args(args)
    result = word_in_contexts(*load_run(args.run), args.word, args.first, args.second)
    if args.out:
        drawn(plot_contexts, result, args.out)
    print(json.dumps(result) if args.json else as_table(result))
    if args.out and not args.json:
        print(args.out)
