"""Plot the loss curves of runs and attention maps, with matplotlib.

    python -m minibert plot RUN [RUN ...] --out loss.png [--by minutes]

matplotlib is an optional extra (pip install -e ".[plots]"); without it a run has no loss.png.
"""
import importlib.util
import json
import math
from pathlib import Path

from minibert.analysis.command import analysis_parser
from minibert.formats.run_folder import read_metrics_lines
from tokenizer.utils.files import check_free
from tokenizer.utils.terminal import visible

# Distinguishable for color-blind readers too (Okabe & Ito 2008).
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
GRAY = "#808080"


def read_metrics(folder):
    """Return (training lines, evaluation lines, expected values) of RUN/metrics.jsonl.

    Each line is a dict. The expected values are the first line, e.g. {"ln_vocab": 9.0}.
    """
    path = Path(folder) / "metrics.jsonl"
    if not path.is_file():
        raise ValueError(f"{folder} has no metrics.jsonl: not a run directory, or not started yet")
    lines = read_metrics_lines(path)
    expected = next((line for line in lines if "ln_vocab" in line), {})
    training = [line for line in lines if "loss" in line]
    evaluations = [line for line in lines if "eval_loss" in line]
    return training, evaluations, expected


def smooth(values):
    """Return the mean of each value and its neighbors: together 1/50 of all values.

    The neighbors are before and after the value, so that the curve does not lag. The first values,
    which change most, have fewer neighbors. Fewer than 100 values are returned as they are.

    >>> smooth([1.0, 1.0, 4.0])
    [1.0, 1.0, 4.0]
    """
    most = len(values) // 100
    smoothed = []
    for i in range(len(values)):
        reach = min(most, i)
        window = values[i - reach : i + reach + 1]  # at the end there are none after the value
        smoothed.append(sum(window) / len(window))
    return smoothed


def spread(positions, gap):
    """Return the positions of labels, some moved up so that all are at least ``gap`` apart.

    >>> spread([3.0, 1.0, 1.5], gap=1.0)
    [3.0, 1.0, 2.0]
    """
    moved = list(positions)
    upwards = sorted(range(len(positions)), key=positions.__getitem__)
    for below, above in zip(upwards, upwards[1:]):
        moved[above] = max(moved[above], moved[below] + gap)
    return moved


def curve_names(expected):
    """Return the labels of both losses, with the shares of masked tokens if they are known.

    >>> curve_names({"mlm_probability": 0.4, "eval_mlm_probability": 0.15})
    ['training, 40% masked', 'validation, 15% masked']
    """
    names = []
    for name, key in (("training", "mlm_probability"), ("validation", "eval_mlm_probability")):
        share = expected.get(key)
        names.append(f"{name}, {100 * share:g}% masked" if isinstance(share, float) else name)
    return names


def run_names(folders, labels):
    """Return the labels of runs, or their folders if two labels are equal or one is missing.

    >>> run_names(["runs/a", "runs/b"], ["bert", "bert"])
    ['runs/a', 'runs/b']
    """
    is_clear = None not in labels and len({*labels}) == len(labels)
    return list(labels if is_clear else map(str, folders))


def plot_loss(folders, path, by="step"):
    """Plot the loss of runs into ``path`` (.png or .svg). by: "step" or "minutes".

    Thin line: training loss, smoothed; the logged values are faint. Dots: validation loss. Dashed
    line: unigram entropy, the loss of a model that ignores context. Raises ImportError without
    matplotlib.
    """
    def x_value(line):
        return line["step"] if by == "step" else line["elapsed"] / 60

    figure = new_figure(8.5, 4.2)
    axes = figure.subplots()
    entropy = None
    ends = []  # of the lines: (x, y, label, color)
    metrics = [read_metrics(folder) for folder in folders]
    names = run_names(folders, [expected.get("label") for *_, expected in metrics])
    for i, (training, evaluations, expected) in enumerate(metrics):
        run = f"{names[i]}: " if len(folders) > 1 else ""
        train_name, eval_name = curve_names(expected)
        color = COLORS[i % len(COLORS)]
        if training:
            x = [x_value(line) for line in training]
            y = [line["loss"] for line in training]
            axes.plot(x, y, color=color, linewidth=0.8, alpha=0.25)
            axes.plot(x, smooth(y), color=color, linewidth=1, alpha=0.7)
            ends.append((x[-1], smooth(y)[-1], run + train_name, color))
        if evaluations:
            x = [x_value(line) for line in evaluations]
            y = [line["eval_loss"] for line in evaluations]
            axes.plot(x, y, "o-", color=color, markersize=3.5)
            ends.append((x[-1], y[-1], run + eval_name, color))
        if i == 0 and "unigram_entropy" in expected:
            entropy = expected["unigram_entropy"]
            axes.axhline(entropy, color=GRAY, linestyle="--", linewidth=1)
    if ends and entropy is not None:
        ends.append((axes.get_xlim()[1], entropy, "unigram entropy: context ignored", GRAY))
    axes.set_xlabel("optimizer step" if by == "step" else "minutes of training")
    axes.set_ylabel("loss (nats per token to predict)")
    label_ends(axes, ends)
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


def label_ends(axes, ends):
    """Draw a grid, and right of it a label for each line, with a pointer to the line's end.

    There no label covers a line or a dot. ends: a list of (x, y, label, color)
    """
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    bottom, top = axes.get_ylim()
    heights = spread([y for _, y, _, _ in ends], gap=(top - bottom) / 20)
    for height, (x, y, label, color) in zip(heights, ends):
        pointer = {"arrowstyle": "-", "color": color, "linewidth": 0.5, "relpos": (0, 0.5),
                   "shrinkA": 0, "shrinkB": 0}
        axes.annotate(visible(label), (x, y), (1.01, height), color=color, arrowprops=pointer,
                      textcoords=axes.get_yaxis_transform(),  # x: 1 is the right edge
                      fontsize=8, va="center", annotation_clip=False, parse_math=False)


def new_figure(width, height):
    """Return an empty matplotlib Figure, in inches. Raises ImportError without matplotlib."""
    from matplotlib.figure import Figure
    return Figure(figsize=(width, height), layout="tight")


def check_picture(path, overwrite):
    """Raise ValueError, before any work is done, if no picture can be drawn into ``path``."""
    if path is None:
        return
    if importlib.util.find_spec("matplotlib") is None:
        raise ValueError('plots need matplotlib: pip install -e ".[plots]". Without it, python -m '
                         "minibert page RUN shows the loss and the attention")
    from matplotlib.backend_bases import FigureCanvasBase
    formats = FigureCanvasBase.get_supported_filetypes()
    if Path(path).suffix[1:] not in formats:
        raise ValueError(f"{path}: not the name of a picture: let it end in .png or .svg")
    check_free(path, overwrite)


def _save(figure, path):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=140, facecolor="white")


def main(args=None):
    """Plot the loss curves of runs and print the path of the picture."""
    parser = analysis_parser(
        "plot", "Plot the loss curves of runs in one picture.", run=False,
        out="picture, .png or .svg (default: loss.png in RUN, drawn again, or here for several)")
    parser.add_argument("runs", metavar="RUN", nargs="+", help="folder that train.py wrote")
    parser.add_argument("--by", default="step", choices=("step", "minutes"), help="horizontal axis")
    args = parser.parse_args(args)
    is_of_run = len(args.runs) == 1 and not args.out
    out = args.out or str(Path(args.runs[0] if is_of_run else "") / "loss.png")
    check_picture(out, args.overwrite or is_of_run)
    plot_loss(args.runs, out, args.by)
    print(json.dumps({"out": out}) if args.json else out)
