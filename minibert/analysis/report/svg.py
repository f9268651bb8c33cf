"""Drawings for a page, as SVG written out by hand: curves, bars, attention maps. No library, no script; colours are the style sheet's (markup.py).

Labels of curves are HTML beside the SVG: the drawing stretches with the page, and the letters stay as large as letters are.
"""
import math
from itertools import groupby

from minibert.analysis.report.html import Markup, joined, tag
from tokenizer.utils.terminal import display_width

POINTS = 500  # of a curve, at most: a screen shows no more
SHADES = 10  # of an attention map: of the root of a weight, so that broad attention is seen, too; below the second, 2 % and less is left out
LONGEST = 12  # columns of a token beside a map
LARGEST = 1e100  # sums and differences of such numbers are still finite


def is_number(value):
    """Whether a JSON value is a number that can be drawn: no bool, no NaN, and not as large as only broken files have it.

    >>> is_number(3), is_number(True), is_number(10**400)
    (True, False, False)
    """
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -LARGEST < value < LARGEST


def chart(caption, curves, guide=None, small=False):
    """Curves over steps. curves: a list of (name, "line" or "dots", [(step, value), ...]); guide: (name, value), a dashed level.

    -> a figure; Markup("") where there is no point at all.
    """
    curves = [(name, how, downsample([point for point in points if all(map(is_number, point))])) for name, how, points in curves]
    curves = [curve for curve in curves if curve[2]]
    if not curves:
        return Markup("")
    steps = [step for *_, points in curves for step, _ in points]
    values = [value for *_, points in curves for _, value in points] + ([guide[1]] if guide else [])
    across, up = ticks(0, max(max(steps), 1)), ticks(min(values), max(values))
    low, high, last = min(up[0], min(values)), max(up[-1], max(values)), max(across[-1], max(steps))

    def place(step, value):
        return f"{1000 * step / last:.1f} {1000 * (high - value) / (high - low):.1f}"

    lines = [tag("path", class_="grid", d="".join(f"M0 {place(0, value).split()[1]}H1000" for value in up))]
    if guide:
        lines.append(tag("path", class_="guide", d=f"M0 {place(0, guide[1]).split()[1]}H1000"))
    for _, how, points in curves:
        d = "M" + "L".join(place(*point) for point in points) if how == "line" else "".join(f"M{place(*point)}h0" for point in points)
        lines.append(tag("path", class_=how, d=d))
    drawing = tag("svg", *lines, viewBox="0 0 1000 1000", preserveAspectRatio="none", aria_hidden="true")
    labels = [tag("span", shown(value), class_="y", style=f"bottom:{100 * (value - low) / (high - low):.1f}%") for value in up]
    labels += [tag("span", shown(step), class_="x", style=f"left:{100 * step / last:.1f}%") for step in across]
    names = [(name, how) for name, how, _ in curves] + ([(guide[0], "guide")] if guide else [])
    legend = joined(tag("span", tag("i", class_=how), name, class_="key") for name, how in names)
    return tag("figure", tag("figcaption", tag("b", caption), " ", legend if len(names) > 1 else ""),
               tag("div", drawing, *labels, tag("span", "step", class_="what"), class_="plot small" if small else "plot"))


def ticks(low, high, most=6):
    """Round numbers from below ``low`` to above ``high``, at most so many and at least two.

    >>> ticks(0, 1876), ticks(2.9, 9.1), ticks(5, 5)
    ([0, 500, 1000, 1500, 2000], [2, 4, 6, 8, 10], [5, 5.1])
    """
    span = next((size for size in (high - low, abs(high)) if size > 1 / LARGEST), 1)
    step = 10.0 ** math.floor(math.log10(span / most))
    for factor in (1, 2, 5, 10, 20):
        first, last = math.floor(low / (factor * step) + 1e-9), math.ceil(high / (factor * step) - 1e-9)
        if last - first < most:
            break
    found = [number * factor * step for number in range(first, max(last, first + 1) + 1)]
    return [int(value) if value == int(value) else float(f"{value:.12g}") for value in found]


def shown(number):
    """A number beside an axis: 20000 -> '20,000'; 0.006 -> '0.006'; 10**30 -> '1e+30'"""
    return f"{number:,}" if isinstance(number, int) and abs(number) < 10**15 else f"{number:g}"


def downsample(points):
    """At most POINTS of them, evenly, the last one always."""
    stride = -(-len(points) // POINTS)
    return points if stride <= 1 else points[:-1:stride] + points[-1:]


def bars(rows):
    """Rows of (number as text, name, share of the longest bar from 0 to 1), as horizontal bars."""
    return tag("div", *(joined((tag("span", number), tag("span", name, class_="mono"), tag("i", style=f"width:{100 * share:.1f}%")))
                        for number, name, share in rows), class_="bars")


def attention_map(name, weights, tokens=None):
    """A map of T x T squares, of which one for a quarter of a row's attention is half as full as one for all of it. tokens: T strings,
    written beside the rows and above the columns.

    attention_map("head 1", [[1.0, 0.0], [0.5, 0.5]]) -> <figure>... <svg viewBox="0 0 2 2"> ... one path for each shade
    """
    size = len(weights)
    labels = [token if display_width(token) <= LONGEST else token[:LONGEST - 1] + "…" for token in tokens or ()]
    margin = round(0.4 + 0.39 * max(map(display_width, labels), default=-1), 2) if labels else 0
    shades = {}
    for row, line in enumerate(weights):
        column = 0
        for shade, alike in groupby(round(SHADES * math.sqrt(weight)) for weight in line):
            count = len(list(alike))
            shades.setdefault(shade, []).append(f"M{column} {row}h{count}v1h-{count}z")
            column += count
    squares = [tag("path", d="".join(places), fill_opacity=f"{shade / SHADES:g}") for shade, places in sorted(shades.items()) if shade > 1]
    inside = [tag("rect", width=size, height=size), *squares]
    inside += [tag("text", label, x=-0.2, y=row + 0.7, text_anchor="end") for row, label in enumerate(labels)]
    inside += [tag("text", label, transform=f"translate({column + 0.7} -0.2)rotate(-90)") for column, label in enumerate(labels)]
    whole = round(size + margin, 2)
    box = {"viewBox": f"{-margin:g} {-margin:g} {whole:g} {whole:g}", "role": "img", "aria_label": f"attention, {name}", "class_": "map"}
    if labels:
        box["style"] = f"max-width:{1.9 * whole:.1f}rem;min-width:{0.8 * whole:.1f}rem"  # letters of a size that can be read
    drawing = tag("svg", *inside, **box)
    return tag("figure", tag("figcaption", name), tag("div", drawing, class_="scroll") if labels else drawing)
