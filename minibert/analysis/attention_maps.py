"""Where does each token of a sentence look? The weights of attention, by layer and head: as numbers, and as a picture.

    python -m minibert attention runs/books "He broke the record." --out layers.png
    python -m minibert attention runs/books "He broke the record." --layer 2 --out heads.png

Without --layer each layer is shown as the mean of its heads, with it each head of that layer alone. The table says in a few numbers what most
heads do (Clark et al. 2019, "What Does BERT Look At?", section 3): they look at the token itself, at a neighbour, at the first or last token,
where a head rests that has found nothing, or broadly at all. Weights show what is read, not why: they are no explanation of an answer.
"""
import json
import math
import sys
from argparse import HelpFormatter

import torch

from minibert.analysis.activations import hidden_activations
from minibert.analysis.plots import drawn, plot_attention
from minibert.formats.run_folder import load_run
from tokenizer.utils.cli import Parser, at_least
from tokenizer.utils.terminal import TextStyle


def attention_maps(model, tokenizer, text, layer=None, style=None):
    """The maps of a text: of the heads of one layer (from 1 on), or, without one, of each layer the mean of its heads.

    -> {"text", "tokens": T strings, "maps": a list of {"name": "layer 1" or "head 1", "weights": T rows of T numbers, and the habits}}
    Raises ValueError for a layer that there is not, for an empty text, and what ``hidden_activations`` does.

    attention_maps(model, tokenizer, "A b.")["maps"][0]
    -> {"name": "layer 1", "weights": [[0.2, ...], ...], "itself": 0.31, "previous": 0.11, ..., "spread": 2.7}
    """
    layers = model.config.num_hidden_layers
    if layer is not None and not 1 <= layer <= layers:
        raise ValueError(f"layer {layer}: the model has layers 1 to {layers}")
    if not text.strip():
        raise ValueError('the text is empty: give one, such as "He broke the record."')
    seen = hidden_activations(model, tokenizer, text, style)
    weights = seen.attention.mean(dim=1) if layer is None else seen.attention[layer - 1]  # (maps, T, T)
    what = "layer" if layer is None else "head"
    maps = [{"name": f"{what} {number}", "weights": [[round(weight, 6) for weight in row] for row in one.tolist()], **head_statistics(one)}
            for number, one in enumerate(weights, start=1)]
    return {"text": text, "tokens": seen.texts, "maps": maps}


def head_statistics(weights):
    """What a map does in the mean over its tokens. weights (T, T) with T > 1 -> {"itself", "previous", "next", "first", "last": shares of the
    attention, "spread": e^entropy, the number of tokens it is as broad as}

    >>> head_statistics(torch.tensor([[0.0, 1.0], [0.5, 0.5]]))
    {'itself': 0.25, 'previous': 0.5, 'next': 1.0, 'first': 0.25, 'last': 0.75, 'spread': 1.4142}
    """
    entropy = -torch.xlogy(weights, weights).sum(dim=1).mean().item()  # nats
    shares = {"itself": weights.diagonal(), "previous": weights.diagonal(-1), "next": weights.diagonal(1), "first": weights[:, 0],
              "last": weights[:, -1]}
    return {name: round(share.mean().item(), 4) for name, share in shares.items()} | {"spread": round(math.exp(entropy), 4)}


def as_table(maps):
    """The habits of maps as lines of text.

    >>> print(as_table([{"name": "head 1", "itself": 0.25, "previous": 0.5, "next": 1, "first": 0.25, "last": 0.75, "spread": 1.4142}]))
               itself  previous  next  first  last  spread
    head 1     25%     50%       100%  25%    75%   1.4
    """
    names = ("itself", "previous", "next", "first", "last")
    rows = ["".ljust(11) + "  ".join(names) + "  spread"]
    for one in maps:
        shares = "  ".join(f"{one[name]:.0%}".ljust(len(name)) for name in names)
        rows.append(f"{one['name']:<11}{shares}  {one['spread']:.1f}")
    return "\n".join(rows)


def main(args=None):
    """The command: a table, with --out a picture; with --json one object with all weights."""
    parser = Parser(prog="python -m minibert attention", formatter_class=HelpFormatter,
                    description="Where does each token of a text look? By layer, or by head.",
                    epilog="itself, previous, next, first, last: the share of the attention that goes there, in the mean over all tokens; "
                    "spread: as over how many tokens, all alike, it is spread.")
    parser.add_argument("run", metavar="RUN", help="folder that train.py wrote, or one with a model and its tokenizer")
    parser.add_argument("text", metavar="TEXT", help="a text; it may have masks")
    parser.add_argument("--layer", type=at_least(1), metavar="N", help="show the heads of this layer, not the means of all layers")
    parser.add_argument("--out", metavar="PICTURE", help="draw the maps into this file, .png or .svg (needs matplotlib)")
    parser.add_argument("--json", action="store_true", help="for programs: one line of JSON, all weights in it")
    args = parser.parse_args(args)
    result = attention_maps(*load_run(args.run), args.text, args.layer, None if args.json else TextStyle.of(sys.stdout))
    if args.out:
        title = "each layer, the mean of its heads" if args.layer is None else f"the heads of layer {args.layer}"
        drawn(plot_attention, [(one["name"], one["weights"]) for one in result["maps"]], result["tokens"], title, args.out)
    if args.json:
        print(json.dumps(result))
        return
    print(f"{len(result['tokens'])} tokens: " + " ".join(result["tokens"]) + "\n\n" + as_table(result["maps"]))
    if args.out:
        print(args.out)
