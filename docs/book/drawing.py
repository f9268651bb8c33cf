"""Draw small SVG pictures: boxes, lines, text, and axes for curves.

    drawing = Drawing(720, 200)
    drawing.box(20, 20, 90, 32, "hug", fill=TINTS[0])
    drawing.line(110, 36, 150, 36, arrow=True)
    drawing.svg()                                     # the text of the file

The same picture has the same bytes on every machine. Coordinates are pixels from the upper left
corner. The background is soft white and opaque, so that dark pages can show the picture too.
"""
from html import escape

PAPER = "#faf9f6"
INK = "#1f2328"
GREY = "#6b7280"
PALE = "#e7e5e0"
# As in minibert/analysis/plots.py.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
# The same colors, light: behind dark text.
TINTS = ("#d5e7f3", "#f9ded0", "#d1ece3", "#f3e3ec", "#fbecd0", "#ddeffa")
FONT = "Helvetica, Arial, 'DejaVu Sans', sans-serif"
MONO = "Menlo, Consolas, 'DejaVu Sans Mono', monospace"
# The head of an arrow.
MARKER = ('<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
          'markerHeight="8" markerUnits="userSpaceOnUse" orient="auto">'
          f'<path d="M0,0 L8,4 L0,8 z" fill="{GREY}"/></marker></defs>')


def pixels(value):
    """Return a coordinate as a short string.

    >>> pixels(12.0), pixels(1.236), pixels(-0.001)
    ('12', '1.24', '0')
    """
    return f"{round(value, 2) + 0.0:.2f}".rstrip("0").rstrip(".")


class Drawing:
    """Shapes in drawing order; later ones cover earlier ones."""

    def __init__(self, width, height, title=""):
        self.width = width
        self.height = height
        self.title = title
        self.parts = []

    def text(self, x, y, content, size=14, anchor="start", color=INK, bold=False, mono=False,
             rotate=0):
        """Add a line of text.

        y: its baseline; anchor: whether its start, middle or end is at x; rotate: degrees,
        clockwise.
        """
        style = ""
        if bold:
            style += ' font-weight="bold"'
        if mono:
            style += f' font-family="{MONO}"'
        if rotate:
            style += f' transform="rotate({pixels(rotate)} {pixels(x)} {pixels(y)})"'
        self.parts.append(
            f'<text x="{pixels(x)}" y="{pixels(y)}" font-size="{size}" text-anchor="{anchor}" '
            f'fill="{color}"{style} xml:space="preserve">'
            f"{escape(str(content), quote=False)}</text>")

    def rect(self, x, y, width, height, fill=PALE, stroke="none", radius=0, opacity=1):
        """Add a rectangle. x, y: its upper left corner."""
        style = f' fill-opacity="{pixels(opacity)}"' if opacity < 1 else ""
        self.parts.append(
            f'<rect x="{pixels(x)}" y="{pixels(y)}" width="{pixels(width)}" '
            f'height="{pixels(height)}" rx="{radius}" fill="{fill}" stroke="{stroke}"{style}/>')

    def box(self, x, y, width, height, content="", fill=PALE, size=14, mono=False, bold=False,
            stroke=GREY, color=INK):
        """Add a rectangle with centered text."""
        self.rect(x, y, width, height, fill, stroke, radius=4)
        baseline = y + height / 2 + size * 0.35
        self.text(x + width / 2, baseline, content, size, "middle", color, bold, mono)

    def line(self, x1, y1, x2, y2, color=GREY, width=1.5, dashed=False, arrow=False):
        self.curve([(x1, y1), (x2, y2)], color, width, dashed, arrow)

    def curve(self, points, color=GREY, width=1.5, dashed=False, arrow=False):
        """Add a line through points (x, y)."""
        style = ' stroke-dasharray="5 4"' if dashed else ""
        if arrow:
            style += ' marker-end="url(#head)"'
        path = " ".join(f"{pixels(x)},{pixels(y)}" for x, y in points)
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" '
                          f'stroke-width="{pixels(width)}"{style}/>')

    def dot(self, x, y, radius=3.5, color=INK, is_open=False):
        fill = f'fill="{PAPER}" stroke="{color}" stroke-width="2"' if is_open else f'fill="{color}"'
        self.parts.append(f'<circle cx="{pixels(x)}" cy="{pixels(y)}" r="{pixels(radius)}" '
                          f'{fill}/>')

    def svg(self):
        """Return the text of the SVG file."""
        head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" '
                f'height="{self.height}" viewBox="0 0 {self.width} {self.height}" '
                f'font-family="{FONT}">\n')
        if self.title:
            head += f"<title>{escape(self.title, quote=False)}</title>\n"
        paper = f'<rect width="{self.width}" height="{self.height}" fill="{PAPER}"/>'
        return "\n".join([head + MARKER, paper, *self.parts, "</svg>", ""])


class Axes:
    """A frame with scales, in which points are given in data units.

    x, y, width, height: the frame in pixels; x_range, y_range: (smallest, largest) value;
    x_ticks, y_ticks: numbers, or (number, label) pairs.

    axes = Axes(drawing, 60, 20, 400, 200, x_range=(0, 100), y_range=(0, 9), x_ticks=(0, 50, 100),
                y_ticks=(0, 3, 6, 9), x_label="step", y_label="loss")
    axes.curve([(0, 9), (100, 6)], COLORS[0])
    """

    def __init__(self, drawing, x, y, width, height, x_range, y_range, x_ticks=(), y_ticks=(),
                 x_label="", y_label=""):
        self.drawing = drawing
        self.frame = (x, y, width, height)
        self.x_range = x_range
        self.y_range = y_range
        bottom = y + height
        for value, label in map(with_label, y_ticks):
            drawing.line(x, self.y(value), x + width, self.y(value), PALE, 1)
            drawing.text(x - 8, self.y(value) + 4, label, 12, "end", GREY)
        for value, label in map(with_label, x_ticks):
            drawing.line(self.x(value), bottom, self.x(value), bottom + 4, GREY, 1)
            drawing.text(self.x(value), bottom + 18, label, 12, "middle", GREY)
        drawing.curve([(x, y), (x, bottom), (x + width, bottom)], GREY, 1)
        drawing.text(x + width / 2, bottom + 36, x_label, 13, "middle")
        drawing.text(x - 42, y + height / 2, y_label, 13, "middle", rotate=-90)

    def x(self, value):
        """Return the pixels of a value on the x scale."""
        x, _, width, _ = self.frame
        low, high = self.x_range
        return x + width * (value - low) / (high - low)

    def y(self, value):
        """Return the pixels of a value on the y scale."""
        _, y, _, height = self.frame
        low, high = self.y_range
        return y + height * (high - value) / (high - low)

    def curve(self, points, color=COLORS[0], width=2, dashed=False):
        self.drawing.curve([(self.x(x), self.y(y)) for x, y in points], color, width, dashed)

    def dots(self, points, color=COLORS[0], radius=3.5, is_open=False):
        for x, y in points:
            self.drawing.dot(self.x(x), self.y(y), radius, color, is_open)

    def text(self, x, y, content, **options):
        """Add text at a point. options: those of ``Drawing.text``."""
        self.drawing.text(self.x(x), self.y(y), content, **options)


def with_label(tick):
    """Return a tick as (number, label).

    >>> with_label(1500), with_label((0.001, "1e-3"))
    ((1500, '1,500'), (0.001, '1e-3'))
    """
    return tick if isinstance(tick, tuple) else (tick, f"{tick:,}")
