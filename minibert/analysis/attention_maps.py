"""Show where each token of a text looks: attention weights by layer or by head.

    python -m minibert attention runs/books "He broke the record." --out layers.png
    python -m minibert attention runs/books "He broke the record." --layer 2 --out heads.png

Without --layer, each map is the mean over the heads of one layer. With it, each map is one head
of that layer. The table summarizes what most heads do (Clark et al. 2019, "What Does BERT Look
At?", section 3): they look at the token itself, at a neighbor, at the first or last token (a head
that found nothing rests there), or broadly at all tokens. The weights show what is read, not
why: they do not explain an answer.
"""
import json
import math
import sys

import torch

from minibert.analysis.activations import hidden_activations
from minibert.analysis.command import analysis_parser, load_model
from minibert.analysis.plots import check_picture, plot_attention
from tokenizer.utils.cli import at_least
from tokenizer.utils.terminal import TextStyle, render_table

SHARES = ("itself", "previous", "next", "first", "last")


def attention_maps(model, tokenizer, text, layer=None, style=None):
    """Return the attention maps of a text: one for each layer, or for each head of ``layer``.

    The result is {"text", "tokens": T strings, "maps"}. A map is {"name": "layer 1" or "head 1",
    "weights": T lists of T numbers} with its ``head_statistics``. Layers are counted from 1.
    Raises ValueError for a layer that does not exist.

        attention_maps(model, tokenizer, "A b.")["maps"][0]
        -> {"name": "layer 1", "weights": [[0.2, ...], ...], "itself": 0.31, ..., "spread": 2.7}
    """
    num_layers = model.config.num_hidden_layers
    if layer is not None and not 1 <= layer <= num_layers:
        raise ValueError(f"layer {layer}: the model has layers 1 to {num_layers}")
    activations = hidden_activations(model, tokenizer, text, style)
    if layer is None:
        kind = "layer"
        all_weights = activations.attention.mean(dim=1)  # (L, T, T)
    else:
        kind = "head"
        all_weights = activations.attention[layer - 1]  # (nh, T, T)
    maps = []
    for i, weights in enumerate(all_weights, start=1):
        rounded = round_rows(weights, 6)
        maps.append({"name": f"{kind} {i}", "weights": rounded, **head_statistics(weights)})
    return {"text": text, "tokens": activations.texts, "maps": maps}


def round_rows(weights, digits):
    """Return a (T, T) tensor as lists of rounded floats."""
    return [[round(weight, digits) for weight in row] for row in weights.tolist()]


def head_statistics(weights):
    """Summarize a map (T, T) by means over its tokens.

    itself, previous, next, first, last   the share of the attention that these tokens get
    spread                                e^entropy: over how many tokens attention is spread

    >>> head_statistics(torch.tensor([[0.0, 1.0], [0.5, 0.5]]))
    {'itself': 0.25, 'previous': 0.5, 'next': 1.0, 'first': 0.25, 'last': 0.75, 'spread': 1.4142}
    """
    shares = {
        "itself": weights.diagonal(),
        "previous": weights.diagonal(-1),
        "next": weights.diagonal(1),
        "first": weights[:, 0],
        "last": weights[:, -1],
    }
    statistics = {name: round(share.mean().item(), 4) for name, share in shares.items()}
    entropy = -torch.xlogy(weights, weights).sum(dim=1).mean().item()  # nats
    return statistics | {"spread": round(math.exp(entropy), 4)}


def statistics_table(maps):
    """Return the statistics of maps as a table.

    >>> print(statistics_table([{"name": "head 1", "itself": 0.25, "previous": 0.5, "next": 1,
    ...                          "first": 0.25, "last": 0.75, "spread": 1.4142}]))
            itself  previous  next  first  last  spread
    head 1     25%       50%  100%    25%   75%     1.4
    """
    rows = [["", *SHARES, "spread"]]
    for one in maps:
        shares = [f"{one[name]:.0%}" for name in SHARES]
        rows.append([one["name"], *shares, f"{one['spread']:.1f}"])
    return render_table(rows, align="lr")


def main(args=None):
    """Print a table, and draw the maps with --out; with --json print all weights."""
    parser = analysis_parser(
        "attention",
        "Show where each token of a text looks, by layer or by head.",
        epilog="itself, previous, next, first, last: the share of the attention that goes there\n"
        "spread: the number of tokens over which attention is spread",
        out="draw the maps (.png or .svg; matplotlib)",
    )
    parser.add_argument("text", metavar="TEXT", help="a text, with or without masks")
    parser.add_argument("--layer", type=at_least(1), metavar="N",
                        help="show the heads of this layer instead of the means of all layers")
    args = parser.parse_args(args)
    check_picture(args.out, args.overwrite)
    style = None if args.json else TextStyle.of(sys.stdout)
    result = attention_maps(*load_model(args), args.text, args.layer, style)
    tokens = result["tokens"]
    if args.out:
        title = f"heads of layer {args.layer}" if args.layer else "mean of the heads of each layer"
        maps = [(one["name"], one["weights"]) for one in result["maps"]]
        plot_attention(maps, tokens, title, args.out)
    if args.json:
        print(json.dumps(result))
        return
    print(f"{len(tokens)} tokens: {' '.join(tokens)}\n\n{statistics_table(result['maps'])}")
    if args.out:
        print(args.out)
