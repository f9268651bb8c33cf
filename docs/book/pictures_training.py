"""The pictures of chapters 9 to 12: the loop, evaluation, use, then and now. One function each, from the result files of training_runs.py."""
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
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")  # 2^-14 -> 2⁻¹⁴


def read(name):
    """A result file of the book -> dict."""
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def chapter_09_loop():
    """Above: the two schedules; held-out loss without this or that. Below: how large gradients are, and which of them fp16 can hold."""
    drawing = Drawing(760, 640, "The schedules of the rate; held-out losses without warm-up and clipping; gradients beside the numbers that fp16 has")
    drawing.text(20, 24, "The rate: warm-up, and two ways down", 15, bold=True)
    axes = Axes(drawing, 70, 60, 250, 200, xs=(0, 1), ys=(0, 1.05), xticks=((0, "0"), (0.5, "half"), (1, "end")), yticks=((0, "0"), (1, "peak")),
                xlabel="progress of the run")
    for number, (colour, schedule) in enumerate(zip(COLORS, ("linear", "stable"))):
        axes.curve([(n / 100, lr_multiplier(n / 100, schedule, warmup=0.06, decay=0.3)) for n in range(101)], colour)
        drawing.text(70 + 70 * number, 46, schedule, 13, colour=colour, bold=True)
    losses_of(drawing, read("loop.json")["rows"], ("the recipe", "no warm-up", "no clipping"))
    gradient_sizes(drawing, read("gradients.json"), top=340)
    return drawing


def losses_of(drawing, rows, names):
    """The upper right of chapter 9's picture: for each name the mean of its seeds' curves, from the plateau on."""
    height, steps = rows[0]["expected"]["unigram_entropy"], rows[0]["held_out"][-1][0]
    drawing.text(390, 24, "Held-out loss, nats; means of four seeds", 15, bold=True)
    axes = Axes(drawing, 430, 60, 300, 200, xs=(0, steps), ys=(2.75, 4.5), xticks=range(0, steps + 1, steps // 4), yticks=(3, 3.5, 4, 4.5),
                xlabel="optimiser step")
    axes.curve([(0, height), (steps, height)], GREY, 1.2, dashed=True)
    axes.text(steps, height + 0.04, f"unigram entropy, {height:.2f}", size=12, anchor="end", colour=GREY)
    for number, (colour, name) in enumerate(zip((COLORS[0], COLORS[1], COLORS[2]), names)):
        curves = [row["held_out"] for row in rows if row["name"] == name]
        axes.curve([(points[0][0], sum(loss for _, loss in points) / len(points)) for points in zip(*curves)], colour)
        drawing.text(430 + 95 * number, 46, name, 13, colour=colour, bold=True)


def gradient_sizes(drawing, found, top):
    """The lower half of chapter 9's picture: how many gradients there are of each power of two, as they are and scaled up."""
    counts = {int(exponent): count for exponent, count in found["exponents"].items()}
    most, total = max(counts.values()), sum(counts.values())
    drawing.text(20, top, "Gradients by size, and what fp16 can hold: of all matrices of the recipe, and of one logit", 15, bold=True)
    axes = Axes(drawing, 70, top + 56, 660, 180, xs=(-44, 18), ys=(0, 1.1 * most / total), yticks=(),
                xticks=[(exponent, "2" + str(exponent).translate(RAISED)) for exponent in range(-40, 17, 8)],
                xlabel="size", ylabel="share of gradients")
    for low, high, name, fill in ((-44, -25, "becomes 0", TINTS[1]), (-25, -14, "loses digits", TINTS[4]), (-14, 16, "fp16 holds it", TINTS[2]),
                                  (16, 18, "inf", TINTS[1])):
        drawing.rect(axes.x(low), top + 56, axes.x(high) - axes.x(low), 180, fill, opacity=0.6)
        drawing.text((axes.x(low) + axes.x(high)) / 2, top + 72, name, 12, "middle", GREY)
    width = axes.x(1) - axes.x(0)
    for shift, colour, name in ((0, COLORS[0], "as they are"), (16, COLORS[1], "times 65,536")):
        for exponent, times in counts.items():
            if exponent + shift >= -44:
                height = 180 * times / (1.1 * most)
                drawing.rect(axes.x(exponent + shift) + 1, top + 236 - height, width - 2, height, colour, opacity=0.75)
        place = axes.x(math.log2(1 / 52_000 / 1_229) + shift)
        drawing.line(place, top + 80, place, top + 236, colour, 2, dashed=True)
        drawing.text(place - 6, top + 96 + shift, ("the same, scaled" if shift else "a wrong word of 52,000"), 12, "end", colour)
        drawing.text(70 + shift * 22, top + 36, name, 13, colour=colour, bold=True)


def strips(drawing, rows, names, left, top, low, high, step=34):
    """A line for each name with a dot for each seed and a stroke at their mean. -> the y below the last one"""
    width = drawing.width - left - 60

    def place(loss):
        return left + width * (loss - low) / (high - low)

    for number, name in enumerate(names):
        y = top + step * number
        losses = [row["loss"] for row in rows if row["name"] == name and row["loss"] is not None]
        drawing.line(left, y, left + width, y, TINTS[0], 1)
        drawing.text(left - 12, y + 5, name, 13, "end")
        for loss in losses:
            drawing.dot(place(min(loss, high)), y, 5, COLORS[0])
        if losses:
            mean = sum(losses) / len(losses)
            drawing.line(place(min(mean, high)), y - 11, place(min(mean, high)), y + 11, INK, 2)
            drawing.text(left + width + 10, y + 5, f"{mean:.3f}", 13)
        else:
            drawing.text(left + 8, y - 4, "stopped: no number any more", 12, colour=COLORS[1])
    bottom = top + step * len(names)
    ticks = [low + part / 4 for part in range(round(4 * (high - low)) + 1)]
    drawing.line(left, bottom, left + width, bottom, GREY, 1)
    for tick in ticks:
        drawing.line(place(tick), bottom, place(tick), bottom + 4, GREY, 1)
        drawing.text(place(tick), bottom + 18, f"{tick:.2f}", 12, "middle", GREY)
    drawing.text(left + width / 2, bottom + 38, "held-out loss at the end, nats; a dot for each seed, a stroke for their mean", 13, "middle")
    return bottom


def limits(rows):
    """The ends of a scale that holds all losses, in quarters."""
    losses = [row["loss"] for row in rows if row["loss"] is not None]
    return int(min(losses) * 4) / 4, (int(max(losses) * 4) + 1) / 4


def strip_chart(name, title, heading):
    """All held-out losses of a results file, a strip for each kind of run."""
    rows = read(name)["rows"]
    names = list(dict.fromkeys(row["name"] for row in rows))
    drawing = Drawing(760, 34 * len(names) + 110, title)
    drawing.text(20, 24, heading, 15, bold=True)
    strips(drawing, rows, names, 260, 58, *limits(rows))
    return drawing


def chapter_10_evaluation():
    """What a seed moves and what a change moves: held-out losses of the rows of chapter 9."""
    return strip_chart("loop.json", "Held-out losses of some recipes, three or four seeds each", "What a seed moves, and what a change moves")


def chapter_12_then_and_now():
    """BERT's block, each switch alone, all of them, and all but one."""
    return strip_chart("switches.json", "Held-out losses of blocks between BERT's and ModernBERT's",
                       "From BERT's block to ModernBERT's, one switch at a time")


def chapter_11_use():
    """How many numbers learn in BERT-base under each way of fine-tuning, on a scale of tenfold steps."""
    ways = {"all": "all weights", "lora": "LoRA, rank 8, queries and values", "prefix": "a prefix of 16", "bias": "biases", "head": "the head alone"}
    drawing = Drawing(760, 320, "Numbers that learn in BERT-base, by way of fine-tuning")
    drawing.text(20, 24, "Numbers that learn in BERT-base: in the encoder, and in the head", 15, bold=True)
    axes = Axes(drawing, 260, 44, 440, 220, xs=(2, 9), ys=(0, len(ways)), xticks=[(n, "10" + str(n).translate(RAISED)) for n in range(2, 10)],
                xlabel="numbers that learn")
    for row, (tune, name) in enumerate(ways.items()):
        found = counted(tune)
        top = 52 + 44 * row
        drawing.text(248, top + 20, name, 13, "end")
        for shift, (what, numbers) in enumerate((("encoder", found["trained"] - found["head"]), ("head", found["head"]))):
            if numbers:
                end = axes.x(math.log10(numbers))
                drawing.rect(axes.x(2), top + 15 * shift, end - axes.x(2), 14, COLORS[shift])
                inside = end > 600  # there is no room behind it
                drawing.text(end - 6 if inside else end + 6, top + 15 * shift + 12, f"{numbers:,} in the {what}", 12, "end" if inside else "start",
                             PAPER if inside else GREY)
    return drawing


def counted(tune):
    """What ``adapters.count`` says of BERT-base with a head for two labels; of prefixes, for which a model has to run, by their size."""
    config, tuning = BertConfig(), Tuning(tune=tune, lora_rank=8, prefix_length=16)
    with torch.device("meta"):  # shapes alone, no numbers
        found = count_parameters(attach(BertForSequenceClassification(config, ("bad", "good")), Tuning("head") if tune == "prefix" else tuning))
    if tune == "prefix":
        found["trained"] += config.num_hidden_layers * 2 * tuning.prefix_length * config.hidden_size
    return found
