"""Compare the vectors of one word in two texts, layer by layer.

    python -m minibert contexts runs/books record "He broke the record." "Play the record."

Word2vec has one vector for "record", whatever it means. In a BERT the two are equal before the
first layer, except for their positions. Each layer then mixes in more of the text, and the two
vectors separate. The cosine has no absolute scale, because in many models all vectors lie in a
narrow cone (Ethayarajh 2019): compare it with the mean cosine of different words.
"""
import json
import re

import torch
from torch.nn.functional import cosine_similarity

from minibert.analysis.activations import hidden_activations
from minibert.analysis.command import analysis_parser, load_model
from tokenizer.utils.terminal import render_table


def word_in_contexts(model, tokenizer, word, first, second):
    """Compare the vectors of ``word`` in two texts.

    A word of several tokens has the mean of their vectors. If a text has the word twice, the
    first occurrence counts. Returns {"word", "contexts": [text, text], "tokens": [the word's
    tokens in each], "layers": [{"layer": 0, "cosine", "others"}, ...]}. Layer 0 is the
    embeddings; "others" is the mean cosine of different words (None if there are none).
    Raises ValueError for a text without the word.

        word_in_contexts(model, tokenizer, "record", "He broke the record.", "Play the record.")
        -> {..., "layers": [..., {"layer": 4, "cosine": 0.71, "others": 0.22}]}
    """
    vectors = []
    tokens = []
    activations = []
    for text in (first, second):
        one = hidden_activations(model, tokenizer, text)
        indices = token_indices(word, text, one.encoding)
        vectors.append(one.vectors[:, indices].mean(dim=1))  # (L + 1, H)
        tokens.append([one.texts[i] for i in indices])
        activations.append(one)
    cosines = cosine_similarity(*vectors, dim=-1).tolist()
    others = mean_cosine_of_others(*activations)
    layers = [
        {"layer": i, "cosine": round(value, 6), "others": others[i]}
        for i, value in enumerate(cosines)
    ]
    return {"word": word, "contexts": [first, second], "tokens": tokens, "layers": layers}


def token_indices(word, text, encoding):
    """Return the indices of the tokens of the first occurrence of ``word``, in any case.

    "record", "A record.", <s> A Ġrecord . </s> -> [2]
    """
    word = word.strip()
    match = re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) if word else None
    if not match:
        raise ValueError(f'the word "{word}" is not in the text "{text}": both texts need it')
    indices = []
    for i in ordinary_tokens(encoding):
        start, end = encoding.offsets[i]
        if start < match.end() and end > match.start():  # the spans overlap
            indices.append(i)
    return indices


def ordinary_tokens(encoding):
    """Return the indices of the tokens that are not special tokens."""
    return [i for i, special in enumerate(encoding.special_tokens_mask) if not special]


def mean_cosine_of_others(a, b):
    """Return, for each layer, the mean cosine of pairs of different tokens of two texts.

    a and b are ``Activations``; special tokens do not count. None for each layer if the texts
    have no two different tokens.
    """
    rows = ordinary_tokens(a.encoding)
    columns = ordinary_tokens(b.encoding)
    row_ids = torch.tensor(a.encoding.ids)[rows]
    column_ids = torch.tensor(b.encoding.ids)[columns]
    different = row_ids[:, None] != column_ids  # (T_a, T_b)
    if not different.any():
        return [None] * len(a.vectors)
    cosines = cosine_similarity(  # (L + 1, T_a, T_b)
        a.vectors[:, rows, None], b.vectors[:, None, columns], dim=-1)
    return [round(value, 6) for value in cosines[:, different].mean(dim=1).tolist()]


def layer_table(result):
    """Return a result of ``word_in_contexts`` as a table.

    >>> print(layer_table({"word": "record", "layers": [
    ...     {"layer": 0, "cosine": 1.0, "others": 0.05},
    ...     {"layer": 1, "cosine": 0.625, "others": None}]}))
    layer  record  other words
        0  1.0000       0.0500
        1  0.6250            -
    """
    rows = [["layer", result["word"], "other words"]]
    for layer in result["layers"]:
        others = "-" if layer["others"] is None else f"{layer['others']:.4f}"
        rows.append([str(layer["layer"]), f"{layer['cosine']:.4f}", others])
    return render_table(rows, align="r")


def main(args=None):
    """Print a table, or with --json one object."""
    parser = analysis_parser(
        "contexts",
        "Compare the vectors of one word in two texts, layer by layer.",
        epilog="layer 0: the embeddings\n"
        "other words: the mean cosine of different words of the two texts",
    )
    parser.add_argument("word", metavar="WORD", help="a word that is in both texts")
    parser.add_argument("first", metavar="TEXT", help="one text")
    parser.add_argument("second", metavar="TEXT", help="another text")
    args = parser.parse_args(args)
    result = word_in_contexts(*load_model(args), args.word, args.first, args.second)
    print(json.dumps(result) if args.json else layer_table(result))
