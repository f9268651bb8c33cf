"""The loss curve of a run, or of several runs in one picture.

    python -m minibert.plots RUN [RUN ...] --out loss.png [--by minutes]

matplotlib is an optional extra (pip install -e ".[plots]"); without it a run simply has no loss.png.
"""
from pathlib import Path

from minibert.running import metrics_lines
from tokenizer.cli import Parser, run

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # told apart by colour-blind readers too (Okabe & Ito 2008)


def read_metrics(folder):
    """RUN/metrics.jsonl -> (training lines, evaluation lines, expected values): lists of dicts, and the dict of the first line."""
    path = Path(folder) / "metrics.jsonl"
    if not path.is_file():
        raise ValueError(f"{folder} has no metrics.jsonl: it is no run directory, or its training has not begun")
    lines = metrics_lines(path)
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
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    def where(line):
        return line["step"] if by == "step" else line["elapsed"] / 60

    figure, axes = plt.subplots(figsize=(7.5, 4.2))
    for number, folder in enumerate(folders):
        training, evaluations, expected = read_metrics(folder)
        colour = COLOURS[number % len(COLOURS)]
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
    figure.tight_layout()
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=140, facecolor="white")
    plt.close(figure)


def main():
    """The command: draw the curves of the runs that are named."""
    parser = Parser(prog="python -m minibert.plots", description="Draw the loss curves of runs into one picture.")
    parser.add_argument("runs", nargs="+", help="run directories")
    parser.add_argument("--out", default=None, help="the picture, .png or .svg (default: loss.png, in the run where there is one)")
    parser.add_argument("--by", default="step", choices=("step", "minutes"), help="the horizontal axis")
    arguments = parser.parse_args()
    out = arguments.out or (Path(arguments.runs[0]) if len(arguments.runs) == 1 else Path()) / "loss.png"
    try:
        plot_loss(arguments.runs, out, arguments.by)
    except ImportError:
        raise ValueError('pictures need matplotlib: pip install -e ".[plots]"') from None
    print(out)


if __name__ == "__main__":
    run(main)
