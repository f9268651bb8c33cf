"""Plot the loss curves of runs, attention maps and cosines by layer, with matplotlib.

    python -m minibert plot RUN [RUN ...] --out loss.png [--by minutes]

matplotlib is an optional extra (pip install -e ".[plots]"); without it a run has no loss.png.
"""
import importlib.util
import json
import math
from pathlib import Path

from minibert.analysis.command import analysis_parser
from minibert.formats.run_folder import read_metrics_lines

# Distinguishable for color-blind readers too (Okabe & Ito 2008).
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
GRAY = "#808080"


def read_metrics(folder):
    """Return (training lines, evaluation lines, expected values) of RUN/metrics.jsonl.

    Each line is a dict. The expected values are the first line, e.g. {"unigram_entropy": 6.1}.
    """
    path = Path(folder) / "metrics.jsonl"
    if not path.is_file():
        raise ValueError(f"{folder} has no metrics.jsonl: not a run directory, or not started yet")
    lines = read_metrics_lines(path)
    expected = next((line for line in lines if "unigram_entropy" in line), {})
    training = [line for line in lines if "loss" in line]
    evaluations = [line for line in lines if "eval_loss" in line]
    return training, evaluations, expected


def smooth(values, weight=0.9):
    """Return the exponential moving average of values, with bias correction.

    >>> smooth([1.0, 1.0, 4.0], weight=0.5)
    [1.0, 1.0, 2.7142857142857144]
    """
    smoothed = []
    mean = 0.0
    for i, value in enumerate(values, start=1):
        mean = weight * mean + (1 - weight) * value
        smoothed.append(mean / (1 - weight**i))
    return smoothed


def plot_loss(folders, path, by="step"):
    """Plot the loss of runs into ``path`` (.png or .svg). by: "step" or "minutes".

    Thin line: training loss, smoothed. Dots: validation loss. Dashed line: unigram entropy,
    the loss of a model that ignores context. Raises ImportError without matplotlib.
    """
    def x_value(line):
        return line["step"] if by == "step" else line["elapsed"] / 60

    figure = new_figure(7.5, 4.2)
    axes = figure.subplots()
    for i, folder in enumerate(folders):
        training, evaluations, expected = read_metrics(folder)
        color = COLORS[i % len(COLORS)]
        x = [x_value(line) for line in training]
        y = smooth([line["loss"] for line in training])
        axes.plot(x, y, color=color, linewidth=0.8, alpha=0.6)
        x = [x_value(line) for line in evaluations]
        y = [line["eval_loss"] for line in evaluations]
        label = f"{expected.get('label', Path(folder).name)}, validation"
        axes.plot(x, y, "o-", color=color, markersize=3.5, label=label)
        if i == 0 and expected:
            entropy = expected["unigram_entropy"]
            axes.axhline(entropy, color=GRAY, linestyle="--", linewidth=1)
            axes.text(0.99, entropy, "unigram entropy: context ignored", color=GRAY, fontsize=8,
                      ha="right", va="bottom", transform=axes.get_yaxis_transform())
    axes.set_xlabel("optimizer step" if by == "step" else "minutes of training")
    axes.set_ylabel("loss (nats per masked token)")
    _finish(axes)
    _save(figure, path)


def plot_attention(maps, tokens, title, path):
    """Plot attention maps in a grid: each row's token looks at the columns' tokens.

    maps: a list of (name, (T, T) weights); tokens: T strings. Raises ImportError without
    matplotlib.
    """
    num_columns = math.ceil(math.sqrt(len(maps)))
    num_rows = math.ceil(len(maps) / num_columns)
    size = 1.3 + 0.2 * len(tokens)  # inches
    figure = new_figure(size * num_columns, size * num_rows)
    grid = figure.subplots(num_rows, num_columns, squeeze=False)
    for axes in grid.flat[len(maps) :]:
        axes.set_visible(False)
    positions = range(len(tokens))
    for (name, weights), axes in zip(maps, grid.flat):
        axes.imshow(weights, cmap="Blues", vmin=0, vmax=1)
        # parse_math=False: a $ in a token does not start a formula
        axes.set_xticks(positions, tokens, rotation=90, fontsize=8, parse_math=False)
        axes.set_yticks(positions, tokens, fontsize=8, parse_math=False)
        axes.tick_params(length=0)
        axes.set_title(name, fontsize=9)
    figure.suptitle(f"{title}: each row's token looks at the columns' tokens", fontsize=10)
    _save(figure, path)


def plot_contexts(result, path):
    """Plot the cosines of ``word_in_contexts`` by layer. Raises ImportError without matplotlib."""
    figure = new_figure(6.5, 4)
    axes = figure.subplots()
    layers = [layer["layer"] for layer in result["layers"]]
    cosines = [layer["cosine"] for layer in result["layers"]]
    others = [layer["others"] for layer in result["layers"]]
    axes.plot(layers, cosines, "o-", color=COLORS[0], label=result["word"])
    if others[0] is not None:
        axes.plot(layers, others, "s--", color=GRAY, label="other words, mean")
    axes.set_xticks(layers, ["embedding", *map(str, layers[1:])])
    axes.set_xlabel("layer")
    axes.set_ylabel("cosine")
    axes.set_title("\n".join(result["contexts"]), fontsize=10, parse_math=False)
    _finish(axes)
    _save(figure, path)


def _finish(axes):
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=9)


def new_figure(width, height):
    """Return an empty matplotlib Figure, in inches. Raises ImportError without matplotlib."""
    from matplotlib.figure import Figure
    return Figure(figsize=(width, height), layout="tight")


def check_picture(path):
    """Raise ValueError, before any work is done, if matplotlib cannot draw into ``path``."""
    if path is None:
        return
    if importlib.util.find_spec("matplotlib") is None:
        raise ValueError('plots need matplotlib: pip install -e ".[plots]"')
    from matplotlib.backend_bases import FigureCanvasBase
    formats = FigureCanvasBase.get_supported_filetypes()
    if Path(path).suffix[1:] not in formats:
        raise ValueError(f"{path}: not the name of a picture: let it end in .png or .svg")


def _save(figure, path):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=140, facecolor="white")


def main(args=None):
    """Plot the loss curves of runs and print the path of the picture."""
    parser = analysis_parser("plot", "Plot the loss curves of runs in one picture.", run=False)
    parser.add_argument("runs", metavar="RUN", nargs="+", help="folder that train.py wrote")
    parser.add_argument("--out", metavar="FILE",
                        help="picture, .png or .svg (default: loss.png, in RUN if there is one)")
    parser.add_argument("--by", default="step", choices=("step", "minutes"), help="horizontal axis")
    args = parser.parse_args(args)
    folder = Path(args.runs[0]) if len(args.runs) == 1 else Path()
    out = args.out or str(folder / "loss.png")
    check_picture(out)
    plot_loss(args.runs, out, args.by)
    print(json.dumps({"out": out}) if args.json else out)
