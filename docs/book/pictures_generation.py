"""The pictures of chapters 13 and 14: the three objectives, and scale.

There is one function per picture. The curves are results of the scripts in benchmarks/.
"""
import json
import math
from pathlib import Path

import torch
from drawing import COLORS, GREY, PAPER, Axes, Drawing

from minibert.attention import attention_biases
from minibert.config import BertConfig

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def read_results(name):
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def chapter_13_decoders():
    """Who looks at whom in the three objectives, computed from the biases of the models."""
    drawing = Drawing(760, 268, "Masked: every token sees all. Causal: itself and earlier ones. "
                                "Encoder-decoder: the decoder sees earlier ones and the encoder")
    text = ("the", "cat", "sat", "down")
    target = ("X", "cat", "sat")
    everything = visible_keys(len(text), causal=False)
    draw_grid(drawing, 66, "masked (BERT)", text, text, everything, COLORS[0])
    draw_grid(drawing, 256, "causal (GPT)", text, text, visible_keys(len(text), causal=True),
              COLORS[1])
    source = ("the", "X", "down")
    to_source = torch.ones(len(target), len(source), dtype=torch.bool)  # cross-attention
    x = draw_grid(drawing, 472, "decoder (T5)", source, target, to_source, COLORS[2])
    drawing.text(472, 208, "encoder's output", 11, color=GREY)
    draw_grid(drawing, x + 12, "", target, (), visible_keys(len(target), causal=True), COLORS[1])
    drawing.text(x + 12, 208, "its own tokens", 11, color=GREY)
    drawing.text(20, 256, "row: the token that looks; column: the token that it sees", 13,
                 color=GREY)
    return drawing


def visible_keys(length, causal):
    """Return which keys a query sees, bool (queries, keys), from the model's own bias."""
    config = BertConfig("bert", vocab_size=7, hidden_size=4, num_attention_heads=1, causal=causal)
    bias, _ = attention_biases(config, None, length, torch.float32, "cpu")
    return torch.ones(length, length, dtype=torch.bool) if bias is None else bias == 0


def draw_grid(drawing, x, title, columns, rows, visible, color, cell=32, top=92):
    """Draw a square for each pair, filled where the row sees the column. Return the right end."""
    drawing.text(x, 34, title, 14, bold=True)
    for j, token in enumerate(columns):
        drawing.text(x + cell * j + 12, top - 8, token, 12, rotate=-45)
    for i in range(len(visible)):
        if rows:
            drawing.text(x - 8, top + cell * i + 20, rows[i], 12, "end")
        for j in range(len(columns)):
            fill = color if visible[i, j] else PAPER
            drawing.rect(x + cell * j, top + cell * i, cell - 3, cell - 3, fill, GREY, radius=2)
    return x + cell * len(columns)


def chapter_13_three_objectives():
    """The training losses of the three objectives over time, and their validation losses."""
    result = read_results("three-objectives.json")
    rows, minutes = result["rows"], result["minutes"]
    drawing = Drawing(760, 372, "Training losses of the three objectives over the minutes, and the "
                                "validation loss of each at the end")
    axes = Axes(drawing, 70, 24, 500, 290, x_range=(0, minutes), y_range=(3, 9.2),
                x_ticks=range(round(minutes) + 1), y_ticks=range(3, 10), x_label="minutes",
                y_label="training loss, nats")
    axes.text(1.03 * minutes, 4.9, "validation loss", size=13, color=GREY)
    for color, name in zip(COLORS, ("masked", "causal", "span-corruption")):
        row = rows[name]
        axes.curve([(seconds / 60, loss) for seconds, loss in row["curve"]], color, 1.5)
        axes.dots([(minutes, row["loss"])], color, 5)
        axes.text(1.03 * minutes, row["loss"] - 0.08, f"{row['loss']:.2f} {name}", size=13,
                  color=color, bold=True)
    entropy = rows["causal"]["unigram_entropy"]
    axes.curve([(0, entropy), (minutes, entropy)], GREY, 1.2, dashed=True)
    axes.text(minutes, entropy + 0.1, f"unigram entropy, {entropy:.2f}", size=13, anchor="end",
              color=GREY)
    return drawing


def chapter_14_scale():
    """Losses by size, the curve through the first five, and the sixth, predicted and measured."""
    result = read_results("scaling.json")
    E, A, a = result["fit"].values()
    points = {name.replace("x", " x "): (math.log10(row["parameters"]), row["loss"])
              for name, row in result["rows"].items()}
    *fitted, (size, measured) = points.values()
    low = math.floor(2 * measured) / 2
    high = math.ceil(2 * fitted[0][1]) / 2
    drawing = Drawing(760, 390, "Validation loss by size: a curve through five models continues to "
                                "the sixth")
    ticks = (30_000, 100_000, 300_000, 1_000_000, 3_000_000)
    axes = Axes(drawing, 70, 24, 660, 300, x_range=(4.2, 6.8), y_range=(low, high),
                x_ticks=[(math.log10(n), f"{n:,}") for n in ticks],
                y_ticks=[low + i / 2 for i in range(round(2 * (high - low)) + 1)],
                x_label="parameters outside of the embeddings", y_label="validation loss, nats")
    last_fitted = fitted[-1][0]
    for start, end, dashed in ((fitted[0][0], last_fitted, False), (last_fitted, 6.8, True)):
        sizes = [start + i * (end - start) / 50 for i in range(51)]
        axes.curve([(x, E + A / 10**(a * x)) for x in sizes], COLORS[0], dashed=dashed)
    axes.dots(fitted, COLORS[0], 5)
    axes.dots([(size, result["prediction"])], COLORS[1], 8, is_open=True)
    axes.dots([(size, measured)], COLORS[1], 4)
    for name, (x, loss) in points.items():
        drawing.text(axes.x(x), axes.y(loss) - 14, name, 12, color=GREY)
    drawing.text(330, 60, f"L(N) = {E:.2f} + {A:.1f} / N^{a:.3f}", 14, color=COLORS[0], bold=True)
    legend = (f"predicted {result['prediction']:.3f} (open)", f"measured {measured:.3f} (filled)")
    for i, line in enumerate(legend):
        drawing.text(axes.x(size), axes.y(measured) - 50 + 18 * (i - 1), line, 13, "middle",
                     COLORS[1])
    return drawing
