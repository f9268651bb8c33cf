"""The pictures of chapters 9 to 12: the loop, evaluation, use, then and now.

There is one function per picture. They draw the results files of training_runs.py.
"""
import json
import math
from pathlib import Path

import torch
from drawing import COLORS, GREY, INK, PAPER, TINTS, Axes, Drawing

from minibert.config import BertConfig
from minibert.finetuning.adapters import Tuning, attach, count_parameters
from minibert.heads import BertForSequenceClassification
from minibert.optim import lr_multiplier

RESULTS = Path(__file__).parent / "results"
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
# Ranges of exponents: below 2^-24 fp16 has no numbers, below 2^-14 fewer digits, from 2^16 on inf.
FP16_RANGES = ((-44, -25, "becomes 0", TINTS[1]), (-25, -14, "loses digits", TINTS[4]),
               (-14, 16, "fp16 can hold it", TINTS[2]), (16, 18, "inf", TINTS[1]))
MODES = {"all": "all weights", "lora": "LoRA, rank 8, queries and values",
         "prefix": "a prefix of 16", "bias": "biases", "head": "the head alone"}


def read_results(name):
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def power(base, exponent):
    """Return "2⁻¹⁴" for 2 and -14."""
    return str(base) + str(exponent).translate(SUPERSCRIPTS)


def chapter_09_schedules():
    """The two schedules of the learning rate."""
    drawing = Drawing(460, 310, "The learning rate in the schedules linear and stable")
    drawing.text(20, 24, "Learning rate: warm-up and decay", 15, bold=True)
    axes = Axes(drawing, 70, 60, 360, 200, x_range=(0, 1), y_range=(0, 1.05),
                x_ticks=((0, "0"), (0.5, "half"), (1, "end")), y_ticks=((0, "0"), (1, "peak")),
                x_label="progress of the run")
    for i, (color, schedule) in enumerate(zip(COLORS, ("linear", "stable"))):
        points = [(percent / 100, lr_multiplier(percent / 100, schedule, warmup=0.06, decay=0.3))
                  for percent in range(101)]
        axes.curve(points, color)
        drawing.text(70 + 70 * i, 46, schedule, 13, color=color, bold=True)
    return drawing


def chapter_09_losses():
    """The losses without warm-up and without clipping: means of the seeds, from the plateau on."""
    rows = read_results("loop.json")["rows"]
    plateau = rows[0]["expected"]["unigram_entropy"]
    steps = rows[0]["held_out"][-1][0]
    drawing = Drawing(460, 310, "Validation losses of the recipe, without warm-up, and without "
                                "clipping")
    drawing.text(20, 24, "Validation loss, means of four seeds", 15, bold=True)
    axes = Axes(drawing, 70, 60, 360, 200, x_range=(0, steps), y_range=(2.75, 4.5),
                x_ticks=range(0, steps + 1, steps // 4), y_ticks=(3, 3.5, 4, 4.5),
                x_label="optimizer step")
    axes.curve([(0, plateau), (steps, plateau)], GREY, 1.2, dashed=True)
    axes.text(steps, plateau + 0.04, f"unigram entropy, {plateau:.2f}", size=12, anchor="end",
              color=GREY)
    for i, (color, name) in enumerate(zip(COLORS, ("the recipe", "no warm-up", "no clipping"))):
        curves = [row["held_out"] for row in rows if row["name"] == name]
        mean_curve = []
        for points in zip(*curves):  # one point of each seed
            step, _ = points[0]
            mean_curve.append((step, sum(loss for _, loss in points) / len(points)))
        axes.curve(mean_curve, color)
        drawing.text(70 + 95 * i, 46, name, 13, color=color, bold=True)
    return drawing


def chapter_09_gradient_sizes():
    """How many gradients have each power of two, as they are and scaled up."""
    found = read_results("gradients.json")
    counts = {int(exponent): count for exponent, count in found["exponents"].items()}
    largest = max(counts.values())
    drawing = Drawing(760, 320, "Sizes of gradients, unscaled and scaled, and the numbers of fp16")
    drawing.text(20, 24, "Sizes of gradients: all matrices of the recipe, and one logit", 15,
                 bold=True)
    top, bottom = 80, 260  # of the frame
    axes = Axes(drawing, 70, top, 660, bottom - top, x_range=(-44, 18),
                y_range=(0, 1.1 * largest / sum(counts.values())),
                x_ticks=[(exponent, power(2, exponent)) for exponent in range(-40, 17, 8)],
                x_label="size", y_label="share of gradients")
    for low, high, name, fill in FP16_RANGES:
        drawing.rect(axes.x(low), top, axes.x(high) - axes.x(low), bottom - top, fill, opacity=0.6)
        drawing.text((axes.x(low) + axes.x(high)) / 2, top + 16, name, 12, "middle", GREY)
    bar_width = axes.x(1) - axes.x(0)
    # The gradient of a wrong logit, with 52,000 tokens, at one of 1,229 masked positions.
    logit_exponent = math.log2(1 / 52_000 / 1_229)
    series = ((0, COLORS[0], "unscaled", "a wrong token of 52,000"),
              (16, COLORS[1], "times 65,536", "the same, scaled"))
    for shift, color, name, logit_label in series:
        for exponent, count in counts.items():
            if exponent + shift >= -44:
                height = (bottom - top) * count / (1.1 * largest)
                drawing.rect(axes.x(exponent + shift) + 1, bottom - height, bar_width - 2, height,
                             color, opacity=0.75)
        x = axes.x(logit_exponent + shift)
        drawing.line(x, top + 24, x, bottom, color, 2, dashed=True)
        drawing.text(x - 6, top + 40 + shift, logit_label, 12, "end", color)
        drawing.text(70 + shift * 22, top - 20, name, 13, color=color, bold=True)
    return drawing


def draw_strips(drawing, rows, names, left, top, low, high, spacing=34):
    """Draw a strip for each name: a dot for the loss of each seed, a stroke at their mean."""
    width = drawing.width - left - 60

    def x_of(loss):
        return left + width * (min(loss, high) - low) / (high - low)

    for i, name in enumerate(names):
        y = top + spacing * i
        losses = [row["loss"] for row in rows if row["name"] == name and row["loss"] is not None]
        drawing.line(left, y, left + width, y, TINTS[0], 1)
        drawing.text(left - 12, y + 5, name, 13, "end")
        for loss in losses:
            drawing.dot(x_of(loss), y, 5, COLORS[0])
        if losses:
            mean = sum(losses) / len(losses)
            drawing.line(x_of(mean), y - 11, x_of(mean), y + 11, INK, 2)
            drawing.text(left + width + 10, y + 5, f"{mean:.3f}", 13)
        else:
            drawing.text(left + 8, y - 4, "stopped: the loss was inf or NaN", 12, color=COLORS[1])
    bottom = top + spacing * len(names)
    drawing.line(left, bottom, left + width, bottom, GREY, 1)
    for i in range(round(4 * (high - low)) + 1):
        tick = low + i / 4
        drawing.line(x_of(tick), bottom, x_of(tick), bottom + 4, GREY, 1)
        drawing.text(x_of(tick), bottom + 18, f"{tick:.2f}", 12, "middle", GREY)
    label = "validation loss at the end, nats; a dot for each seed, a stroke for their mean"
    drawing.text(left + width / 2, bottom + 38, label, 13, "middle")


def strip_chart(file, title, heading):
    """Return a picture of all final losses of a results file."""
    rows = read_results(file)["rows"]
    names = list(dict.fromkeys(row["name"] for row in rows))
    losses = [row["loss"] for row in rows if row["loss"] is not None]
    low = int(min(losses) * 4) / 4  # the scale ends at quarters
    high = (int(max(losses) * 4) + 1) / 4
    drawing = Drawing(760, 34 * len(names) + 110, title)
    drawing.text(20, 24, heading, 15, bold=True)
    draw_strips(drawing, rows, names, 260, 58, low, high)
    return drawing


def chapter_10_evaluation():
    """The effect of a seed and of a change: the final losses of the rows of chapter 9."""
    return strip_chart("loop.json",
                       "Validation losses of some recipes, three or four seeds each",
                       "The effect of a seed, and of a change")


def chapter_12_then_and_now():
    """BERT's block, each switch alone, all of them, and all but one."""
    return strip_chart("switches.json",
                       "Validation losses of blocks between BERT's and ModernBERT's",
                       "From BERT's block to ModernBERT's, one switch at a time")


def chapter_11_use():
    """The number of trainable parameters of BERT-base by --tune, on a logarithmic scale."""
    drawing = Drawing(760, 320, "Trainable parameters of BERT-base, by kind of fine-tuning")
    drawing.text(20, 24, "Trainable parameters of BERT-base: in the encoder, and in the head", 15,
                 bold=True)
    axes = Axes(drawing, 260, 44, 440, 220, x_range=(2, 9), y_range=(0, len(MODES)),
                x_ticks=[(n, power(10, n)) for n in range(2, 10)],
                x_label="trainable parameters")
    for row, (tune, title) in enumerate(MODES.items()):
        counts = trainable_parameters(tune)
        top = 52 + 44 * row
        drawing.text(248, top + 20, title, 13, "end")
        for i, (part, count) in enumerate(counts.items()):
            if not count:
                continue
            y = top + 15 * i
            end = axes.x(math.log10(count))
            drawing.rect(axes.x(2), y, end - axes.x(2), 14, COLORS[i])
            label = f"{count:,} in the {part}"
            if end > 600:  # no room for the label after the bar
                drawing.text(end - 6, y + 12, label, 12, "end", PAPER)
            else:
                drawing.text(end + 6, y + 12, label, 12, "start", GREY)
    return drawing


def trainable_parameters(tune):
    """Return {"encoder": count, "head": count} of BERT-base with a head for two labels."""
    config = BertConfig()
    with torch.device("meta"):  # shapes only
        model = BertForSequenceClassification(config, ("bad", "good"))
        if tune == "prefix":  # counted by their size: attaching them runs a model
            head = count_parameters(attach(model, Tuning("head")))["head"]
            return {"encoder": config.num_hidden_layers * 2 * 16 * config.hidden_size,
                    "head": head}
        tuning = Tuning(tune=tune, lora_rank=8, lora_on="query,value")
        counts = count_parameters(attach(model, tuning))
    return {"encoder": counts["trained"] - counts["head"], "head": counts["head"]}
