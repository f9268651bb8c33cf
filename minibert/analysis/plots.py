"""The loss curve of a run, or of several runs in one picture; and the pictures of what a model does inside.

    python -m minibert plot RUN [RUN ...] --out loss.png [--by minutes]

matplotlib is an optional extra (pip install -e ".[plots]"); without it a run simply has no loss.png.
"""
import math
from pathlib import Path

from minibert.formats.run_folder import read_metrics_lines
from tokenizer.utils.cli import Parser

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # told apart by colour-blind readers too (Okabe & Ito 2008)


def read_metrics(folder):
    """RUN/metrics.jsonl -> (training lines, evaluation lines, expected values): lists of dicts, and the dict of the first line."""
    path = Path(folder) / "metrics.jsonl"
    if not path.is_file():
        raise ValueError(f"{folder} has no metrics.jsonl: it is no run directory, or its training has not begun")
    lines = read_metrics_lines(path)
    expected = next((line for line in lines if "unigram_entropy" in line), {})
    return [line for line in lines if "loss" in line], [line for line in lines if "eval_loss" in line], expected


def smooth(values, weight=0.9):
    """Running mean with bias correction: each value counts ``weight`` times as much as the next one.

    >>> smooth([1.0, 1.0, 4.0], weight=0.5)
    [1.0, 1.0, 2.7142857142857144]
    """
    out, mean = [], 0.0
    for i, value in enumerate(values, start=1):
        mean = weight * mean + (1 - weight) * value
        out.append(mean / (1 - weight**i))
    return out


def plot_loss(folders, path, by="step"):
    """Draw the loss of one or more runs into ``path`` (.png or .svg). by: 'step' or 'minutes'. Raises ImportError without matplotlib.

    Thin: training loss (smoothed); dots: held-out loss; dashed: unigram entropy, where a model stays that ignores context.
    """
    plt = pyplot()

    def where(line):
        return line["step"] if by == "step" else line["elapsed"] / 60

    figure, axes = plt.subplots(figsize=(7.5, 4.2))
    for number, folder in enumerate(folders):
        training, evaluations, expected = read_metrics(folder)
        colour = COLORS[number % len(COLORS)]
        axes.plot([where(line) for line in training], smooth([line["loss"] for line in training]), color=colour, linewidth=0.8, alpha=0.6)
        axes.plot([where(line) for line in evaluations], [line["eval_loss"] for line in evaluations], "o-", color=colour, markersize=3.5,
                  label=f"{expected.get('label', Path(folder).name)}, held out")
        if number == 0 and expected:
            axes.axhline(expected["unigram_entropy"], color="#808080", linestyle="--", linewidth=1)
            axes.text(0.99, expected["unigram_entropy"], "unigram entropy: context ignored", color="#808080", ha="right", va="bottom",
                      fontsize=8, transform=axes.get_yaxis_transform())
    axes.set_xlabel("optimiser step" if by == "step" else "minutes of training")
    axes.set_ylabel("loss (nats a masked token)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=9)
    save(plt, figure, path)


def plot_attention(maps, tokens, title, path):
    """Draw attention maps side by side into ``path``: a row is the token that looks, a column what it looks at, the darker the more.

    maps: a list of (name, (T, T) weights); tokens: T strings, on both axes. Raises ImportError without matplotlib.
    """
    plt = pyplot()
    columns = math.ceil(math.sqrt(len(maps)))
    rows, size = -(-len(maps) // columns), 1.3 + 0.2 * len(tokens)  # inches
    figure, grid = plt.subplots(rows, columns, figsize=(size * columns, size * rows), squeeze=False)
    for axes in grid.flat[len(maps):]:
        axes.set_visible(False)
    for (name, weights), axes in zip(maps, grid.flat):
        axes.imshow(weights, cmap="Blues", vmin=0, vmax=1)
        places = range(len(tokens))
        axes.set_xticks(places, tokens, rotation=90, fontsize=8, parse_math=False)  # a $ is a $
        axes.set_yticks(places, tokens, fontsize=8, parse_math=False)
        axes.tick_params(length=0)
        axes.set_title(name, fontsize=9)
    figure.suptitle(f"{title}: each row's token looks at the columns'", fontsize=10)
    save(plt, figure, path)


def plot_contexts(result, path):
    """Draw the cosines by layer that ``contexts.word_in_contexts`` found into ``path``. Raises ImportError without matplotlib."""
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(6.5, 4))
    layers = [layer["layer"] for layer in result["layers"]]
    axes.plot(layers, [layer["cosine"] for layer in result["layers"]], "o-", color=COLORS[0], label=result["word"])
    if result["layers"][0]["others"] is not None:
        axes.plot(layers, [layer["others"] for layer in result["layers"]], "s--", color="#808080", label="other words, in the mean")
    axes.set_xticks(layers, ["embedding", *map(str, layers[1:])])
    axes.set_xlabel("layer")
    axes.set_ylabel("cosine")
    axes.set_title("\n".join(result["contexts"]), fontsize=10, parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=9)
    save(plt, figure, path)


def pyplot():
    """matplotlib.pyplot for files alone. Raises ImportError without matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    return plt


def save(plt, figure, path):
    """Write a figure, on white, and let go of it."""
    figure.tight_layout()
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=140, facecolor="white")
    plt.close(figure)


def drawn(draw, *arguments):
    """``draw(*arguments)`` for a command that was asked for a picture: ValueError that says what to do where there is no matplotlib."""
    try:
        draw(*arguments)
    except ImportError:
        raise ValueError('pictures need matplotlib: pip install -e ".[plots]"') from None


def main():
    """The command: draw the curves of the runs that are named."""
    parser = Parser(prog="python -m minibert plot", description="Draw the loss curves of runs into one picture.")
    parser.add_argument("runs", nargs="+", help="run directories")
    parser.add_argument("--out", default=None, help="the picture, .png or .svg (default: loss.png, in the run where there is one)")
    parser.add_argument("--by", default="step", choices=("step", "minutes"), help="the horizontal axis")
    arguments = parser.parse_args()
    out = arguments.out or (Path(arguments.runs[0]) if len(arguments.runs) == 1 else Path()) / "loss.png"
    drawn(plot_loss, arguments.runs, out, arguments.by)
    print(out)
