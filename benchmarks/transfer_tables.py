"""The tables and the picture of transfer.py."""
import math

import numpy as np
from common import markdown
from labeled_tasks import SCRATCH, TASKS, score_cell, scores_of

from minibert.analysis.plots import COLORS, GRAY, new_figure
from minibert.finetuning.metrics import mean_and_std

PRETRAINED = "pre-trained"
VARIANTS = (PRETRAINED, SCRATCH)
# Accuracy on BLiMP after 10 million words, in the papers of the BabyLM challenge (Warstadt et al.
# 2023, and those of the years after it)
PUBLISHED = {"OPT-125m": "62.6", "RoBERTa-base": "69.5", "GPT-BERT in 10 epochs": "69 to 71",
             "LTG-BERT": "80.6"}


def best_trial(search):
    """Return the trial with the best score; of equals the accuracy decides, then the loss."""
    metric = TASKS[search["task"]].metric
    trials = [trial for trial in search["trials"].values() if "error" not in trial]
    if not trials:
        raise ValueError(f"{search['task']}, {search['variant']}: the loss was not finite in any "
                         "trial of the search: give lower --rates and another --out")
    return max(trials,
               key=lambda trial: (trial[metric], trial["accuracy"], -trial["train_loss"]))


def tables(result):
    """Return the tables of all results as Markdown, each with a line about it."""
    parts = [f"{TASKS[task].title} ({TASKS[task].metric})\n\n{curve_table(result, task)}"
             for task in TASKS if curve(result, task)]
    searches = [search for search in result.get("searches", {}).values() if search["trials"]]
    if searches:
        parts.append(search_table(searches))
    if "probe" in result:
        parts.append(probe_table(result["probe"]))
    if "minimal_pairs" in result:
        parts.append(pairs_table(result["minimal_pairs"]["groups"]))
    return "\n".join(parts)


def curve(result, task):
    """Return [(number of examples, {variant: row})] of a task, the fewest examples first."""
    points = {}
    for row in result["rows"].values():
        if row["task"] == task:
            points.setdefault(row["examples"], {})[row["variant"]] = row
    return sorted(points.items())


def curve_table(result, task):
    rows = []
    for examples, variants in curve(result, task):
        any_row = next(iter(variants.values()))
        cells = [score_cell(variants[name]) if name in variants else "" for name in VARIANTS]
        rows.append([f"{examples:,}", str(any_row["config"]["epochs"]), *cells,
                     difference_cell(variants), f"{100 * any_row['constant']:.1f}"])
    return markdown(["labeled examples", "epochs", *VARIANTS, "difference", "no model"], rows)


def difference_cell(variants):
    """Return pre-trained minus from scratch, with its standard error: "+3.8 (0.7)".

    The error is the square root of the sum of both variances, each divided by its seeds.
    """
    if len(variants) < 2:
        return ""
    scores = [scores_of(variants[name]) for name in VARIANTS]
    (mean, std), (scratch_mean, scratch_std) = map(mean_and_std, scores)
    cell = f"{100 * (mean - scratch_mean):+.1f}"
    if min(map(len, scores)) < 2:
        return cell
    error = math.sqrt(std**2 / len(scores[0]) + scratch_std**2 / len(scores[1]))
    return f"{cell} ({100 * error:.1f})"


def search_table(searches):
    rows = []
    for search in searches:
        best = best_trial(search)
        metric = TASKS[search["task"]].metric
        rows.append([TASKS[search["task"]].title, search["variant"],
                     str(len(search["trials"])),
                     f"{search['train']:,} and {search['held_out']:,}", *grid_cells(search),
                     f"{best['learning_rate']:g}", f"{best['hidden_dropout_prob']:g}",
                     f"{100 * best[metric]:.1f}"])
    return ("Search, on the training file\n\n" + markdown(
        ["task", "variant", "trials", "trained on, scored on", "rates", "dropouts", "best rate",
         "best dropout", "score"], rows))


def grid_cells(search):
    """Return the values that were tried: the cells ["0.0001, 0.001", "0.1, 0.5"]."""
    trials = search["trials"].values()
    return [", ".join(f"{value:g}" for value in sorted({trial[name] for trial in trials}))
            for name in ("learning_rate", "hidden_dropout_prob")]


def probe_table(result):
    columns = result["scores"]
    rows = [[str(layer), *(f"{100 * column[layer]['dev']:.1f}" for column in columns.values())]
            for layer in range(len(next(iter(columns.values()))))]
    return (f"Linear probe, SST-2, {result['train']:,} examples; layer 0 is the embeddings\n\n"
            + markdown(["layer", *columns], rows))


def pairs_table(groups):
    rows = [[group["name"] or "all", f"{group['pairs']:,}",
             *(f"{100 * accuracy:.1f}" for accuracy in group["accuracy"].values())]
            for group in groups]
    published = ", ".join(f"{name} {score}" for name, score in PUBLISHED.items())
    return ("Minimal pairs\n\n" + markdown(["field", "pairs", *groups[0]["accuracy"]], rows)
            + f"\nPublished, 10 million words, on the pairs whose words they have: {published}\n")


def plot(result, path):
    """Draw score against number of labels, a panel for each task, with standard deviations."""
    tasks = [task for task in TASKS if curve(result, task)]
    if not tasks:
        raise ValueError(f"{path}: there is no score to draw yet")
    figure = new_figure(3.2 * len(tasks), 3.2)
    for axes, task in zip(figure.subplots(1, len(tasks), squeeze=False)[0], tasks):
        points = curve(result, task)
        for variant, color in zip(VARIANTS, COLORS):
            rows = [(examples, *mean_and_std(scores_of(variants[variant])))
                    for examples, variants in points if variant in variants]
            if not rows:
                continue
            examples, means, stds = np.array(rows).T
            axes.errorbar(examples, 100 * means, 100 * stds, fmt="o-", color=color, markersize=4,
                          capsize=3, label=variant)
        constants = [next(iter(variants.values()))["constant"] for _, variants in points]
        axes.plot([examples for examples, _ in points], 100 * np.array(constants), ".:", color=GRAY,
                  label="without a model")
        axes.set_xscale("log")
        axes.set_title(TASKS[task].title, fontsize=10)
        axes.set_xlabel("labeled examples")
        axes.set_ylabel(f"{TASKS[task].metric} in %")
        axes.grid(alpha=0.25)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=140, facecolor="white")
