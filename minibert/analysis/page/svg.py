"""Draw curves, bars and attention maps as SVG, without a library or a script.

Colors come from the style sheet (page.css). The labels of curves are HTML next to the SVG: the
drawing stretches with the page, and the letters keep their size.
"""
import math
from collections import defaultdict

from minibert.analysis.page.html import Markup, tag
from minibert.analysis.plots import spread
from tokenizer.utils.terminal import display_width

MAX_POINTS = 500  # per curve: a screen shows no more
MAX_STEPS = 6  # between the numbers along an axis
# Shades follow the square root of a weight, so that broad attention is visible too. Weights
# below 2 % are not drawn.
SHADES = 10
MAX_LABEL = 12  # width of a token next to a map, in columns
LARGEST = 1e15  # a broken file may hold any number; no larger one is drawn


def is_number(value):
    """Whether a JSON value can be drawn: a number, not a bool, not NaN, not huge.

    >>> is_number(3), is_number(True), is_number(10**400)
    (True, False, False)
    """
    is_numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_numeric and -LARGEST < value < LARGEST


def chart(caption, curves, guides=(), small=False):
    """Return a figure with curves over steps, or Markup("") if there are no points.

    curves: a list of (name, "line", "raw" (faint) or "dots", [(step, value), ...])
    guides: a list of (name, value), dashed horizontal lines
    small: no names at the ends of the curves
    """
    drawable = []
    for name, kind, points in curves:
        points = downsample([p for p in points if is_number(p[0]) and is_number(p[1])])
        if points:
            drawable.append((name, kind, points))
    if not drawable:
        return Markup("")
    steps = [step for _, _, points in drawable for step, _ in points]
    x_ticks = ticks(0, max(max(steps), 1))
    x_max = x_ticks[-1]
    drawable += [(name, "guide", [(0, value), (x_max, value)]) for name, value in guides]
    values = [value for _, _, points in drawable for _, value in points]
    y_ticks = ticks(min(values), max(values))
    y_min = y_ticks[0]
    y_max = y_ticks[-1]

    def to_path(points, kind):
        """Return the path of (step, value) points on a canvas of 1000 x 1000 units."""
        coordinates = []
        for step, value in points:
            x = 1000 * step / x_max
            y = 1000 * (y_max - value) / (y_max - y_min)
            coordinates.append(f"{x:.1f} {y:.1f}")
        if kind == "dots":
            return "".join(f"M{point}h0" for point in coordinates)
        return "M" + "L".join(coordinates)

    grid = "".join(to_path([(0, value), (x_max, value)], "line") for value in y_ticks)
    paths = [tag("path", class_="grid", d=grid)]
    paths += [tag("path", class_=kind, d=to_path(points, kind)) for _, kind, points in drawable]
    box = {"viewBox": "0 0 1000 1000", "preserveAspectRatio": "none", "aria_hidden": "true"}
    labels = [tag("span", "step", class_="what")]
    for value in y_ticks:
        labels.append(tick_label(value, "y", "bottom", (value - y_min) / (y_max - y_min)))
    for step in x_ticks:
        labels.append(tick_label(step, "x", "left", step / x_max))
    if not small:
        labels += end_labels(drawable, x_max, y_min, y_max)
    return tag(
        "figure",
        tag("figcaption", tag("b", caption)),
        tag("div", tag("svg", *paths, **box), *labels, class_="plot small" if small else "plot"),
    )


def end_labels(curves, x_max, y_min, y_max):
    """Return the names of curves, (name, kind, points), right of their ends and moved apart."""
    ends = [(name, kind, *points[-1]) for name, kind, points in curves if name]
    last = max(step for _, kind, step, _ in ends if kind != "guide")  # no dot is behind it
    heights = spread([(value - y_min) / (y_max - y_min) for *_, value in ends], gap=0.14)
    labels = []
    for (name, kind, step, _), height in zip(ends, heights):
        position = f"left:{100 * max(step, last) / x_max:.1f}%;bottom:{100 * height:.1f}%"
        labels.append(tag("span", name, class_=f"end {kind}", style=position))
    return labels


def ticks(low, high):
    """Return 2 to MAX_STEPS + 1 round numbers that span low to high.

    >>> ticks(0, 1876), ticks(2.9, 9.1), ticks(5, 5)
    ([0, 500, 1000, 1500, 2000], [2, 4, 6, 8, 10], [5, 5.1])
    """
    span = high - low
    if span <= 1e-9 * abs(high):  # one value
        span = abs(high)
    if span < 1e-30:
        span = 1
    magnitude = 10.0 ** math.floor(math.log10(span / MAX_STEPS))
    for factor in (1, 2, 5, 10, 20):
        step = factor * magnitude
        first = math.floor(low / step + 1e-9)
        last = math.ceil(high / step - 1e-9)
        if last - first < MAX_STEPS:
            break
    values = [i * step for i in range(first, max(last, first + 1) + 1)]
    return [int(value) if value == int(value) else float(f"{value:.12g}") for value in values]


def tick_label(value, axis, side, position):
    """Return the label of a tick at a position from 0 to 1 along its axis."""
    text = f"{value:,}" if isinstance(value, int) else f"{value:g}"
    return tag("span", text, class_=axis, style=f"{side}:{100 * position:.1f}%")


def downsample(points):
    """Return about MAX_POINTS points, evenly spaced, always with the last one."""
    stride = math.ceil(len(points) / MAX_POINTS)
    return points if stride <= 1 else points[:-1:stride] + points[-1:]


def bars(rows):
    """Return horizontal bars; rows: (value as text, name, length from 0 to 1)."""
    cells = []
    for value, name, length in rows:
        cells.append(tag("span", value))
        cells.append(tag("span", name, class_="mono"))
        cells.append(tag("i", style=f"width:{100 * length:.1f}%"))
    return tag("div", *cells, class_="bars")


def attention_map(name, weights, tokens=()):
    """Return a map of T x T squares, with the tokens (T strings) as labels of rows and columns.

    The opacity of a square is the square root of its weight.
    """
    size = len(weights)
    paths = defaultdict(str)  # shade -> path of all squares of this shade
    for row, row_weights in enumerate(weights):
        for column, weight in enumerate(row_weights):
            shade = round(SHADES * math.sqrt(weight))
            if shade > 1:
                paths[shade] += f"M{column} {row}h1v1h-1z"
    elements = [tag("rect", width=size, height=size)]
    for shade in sorted(paths):
        elements.append(tag("path", d=paths[shade], fill_opacity=f"{shade / SHADES:g}"))
    margin = 0
    for i, token in enumerate(tokens):
        label = token if display_width(token) <= MAX_LABEL else token[: MAX_LABEL - 1] + "…"
        margin = max(margin, round(0.4 + 0.39 * display_width(label), 2))
        elements.append(tag("text", label, x=-0.2, y=i + 0.7, text_anchor="end"))
        turned = f"translate({i + 0.7} -0.2)rotate(-90)"
        elements.append(tag("text", label, transform=turned))
    side = round(size + margin, 2)
    box = {"viewBox": f"{-margin:g} {-margin:g} {side:g} {side:g}", "role": "img",
           "aria_label": f"attention, {name}", "class_": "map"}
    if tokens:  # a size at which the labels are readable
        box["style"] = f"max-width:{1.9 * side:.1f}rem;min-width:{0.8 * side:.1f}rem"
    drawing = tag("div", tag("svg", *elements, **box), class_="scroll")
    return tag("figure", tag("figcaption", name), drawing)
