"""The pictures of chapters 13 and 14: the three objectives, and scale.

There is one function per picture. The curves are results of the scripts in benchmarks/.
"""
import json
import math
from pathlib import Path

import torch
from drawing import COLORS, GREY, INK, PAPER, Axes, Drawing

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
    x = draw_grid(drawing, 472, "decoder (T5): encoder's output, own text", source, target,
                  to_source, COLORS[2])
    draw_grid(drawing, x + 12, "", target, (), visible_keys(len(target), causal=True), COLORS[1])
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
    """The losses of the example, the curve through them, and the next size, predicted."""
    E, A, a = 2, 32, math.log10(2)
    losses = {x: E + A / 10**(a * x) for x in range(4, 8)}  # by the logarithm of the size
    drawing = Drawing(760, 370, "Losses of 4, 3 and 2.5 at 10,000 to 1,000,000 parameters; the "
                                "curve through them goes on to 2.25 and towards 2")
    axes = Axes(drawing, 70, 24, 660, 280, x_range=(3.7, 7.6), y_range=(1.5, 4.5),
                x_ticks=[(x, f"{10**x:,}") for x in range(4, 8)], y_ticks=(2, 3, 4),
                x_label="parameters", y_label="loss, nats")
    axes.curve([(3.7, E), (7.6, E)], GREY, 1.2, dashed=True)
    axes.text(3.75, E - 0.18, "E = 2: what no size removes", size=13, color=GREY)
    curve = [(x / 20, E + A / 10**(a * x / 20)) for x in range(74, 153)]
    axes.curve(curve[:47], COLORS[0])  # to the third point
    axes.curve(curve[46:], COLORS[0], dashed=True)
    for x, loss in losses.items():
        is_next = x == 7
        axes.dots([(x, loss)], COLORS[1] if is_next else COLORS[0], 6, is_open=is_next)
        label = f"{loss:g}, predicted" if is_next else f"{loss:g}"
        axes.text(x, loss + 0.16, label, size=13, color=COLORS[1] if is_next else INK)
    axes.text(5.6, 3.7, "L(N) = 2 + 32 / N^0.301", size=14, color=COLORS[0], bold=True)
    return drawing
