"""Small pictures as SVG, written here and so the same to the last byte on every machine: boxes, lines, text, and axes for curves.

    drawing = Drawing(720, 200)
    drawing.box(20, 20, 90, 32, "hug", fill=TINTS[0]); drawing.line(110, 36, 150, 36, arrow=True)
    drawing.svg()                                                  # the file's text

Coordinates are pixels from the upper left corner. The paper is soft white and opaque, so that a picture reads on a dark page as well.
"""
from html import escape

PAPER, INK, GREY, PALE = "#faf9f6", "#1f2328", "#6b7280", "#e7e5e0"
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # as in minibert/analysis/plots.py
TINTS = ("#d5e7f3", "#f9ded0", "#d1ece3", "#f3e3ec", "#fbecd0", "#ddeffa")  # the same, light: behind dark text
FONT = "Helvetica, Arial, 'DejaVu Sans', sans-serif"
MONO = "Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def number(value):
    """Pixels as a picture has them.

    >>> number(12.0), number(1.236), number(-0.001)
    ('12', '1.24', '0')
    """
    return f"{round(value, 2) + 0.0:.2f}".rstrip("0").rstrip(".")


class Drawing:
    """Shapes in the order in which they are drawn; later ones lie above earlier ones."""

    def __init__(self, width, height, title=""):
        self.width, self.height, self.title, self.parts = width, height, title, []

    def text(self, x, y, content, size=14, anchor="start", colour=INK, bold=False, mono=False, turn=0):
        """A line of text; y is its base line. anchor: start, middle or end stands at x. turn: degrees, clockwise."""
        more = ' font-weight="bold"' * bold + f' font-family="{MONO}"' * mono
        more += f' transform="rotate({number(turn)} {number(x)} {number(y)})"' if turn else ""
        self.parts.append(f'<text x="{number(x)}" y="{number(y)}" font-size="{size}" text-anchor="{anchor}" fill="{colour}"{more} '
                          f'xml:space="preserve">{escape(str(content), quote=False)}</text>')

    def rect(self, x, y, width, height, fill=PALE, stroke="none", radius=0, opacity=1):
        """A rectangle from its upper left corner."""
        more = f' fill-opacity="{number(opacity)}"' if opacity < 1 else ""
        self.parts.append(f'<rect x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}" rx="{radius}" '
                          f'fill="{fill}" stroke="{stroke}"{more}/>')

    def box(self, x, y, width, height, content="", fill=PALE, size=14, mono=False, bold=False, stroke=GREY, colour=INK):
        """A rectangle with a text in its middle."""
        self.rect(x, y, width, height, fill, stroke, radius=4)
        self.text(x + width / 2, y + height / 2 + size * 0.35, content, size, "middle", colour, bold, mono)

    def line(self, x1, y1, x2, y2, colour=GREY, width=1.5, dashed=False, arrow=False):
        """A line, with a head at its end where it is an arrow."""
        self.curve([(x1, y1), (x2, y2)], colour, width, dashed, arrow)

    def curve(self, points, colour=GREY, width=1.5, dashed=False, arrow=False):
        """A line through points."""
        more = ' stroke-dasharray="5 4"' * dashed + ' marker-end="url(#head)"' * arrow
        path = " ".join(f"{number(x)},{number(y)}" for x, y in points)
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{number(width)}"{more}/>')

    def dot(self, x, y, radius=3.5, colour=INK):
        """A filled circle."""
        self.parts.append(f'<circle cx="{number(x)}" cy="{number(y)}" r="{number(radius)}" fill="{colour}"/>')

    def svg(self):
        """The picture as the text of a file."""
        head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}" '
                f'viewBox="0 0 {self.width} {self.height}" font-family="{FONT}">')
        title = f"<title>{escape(self.title, quote=False)}</title>\n" if self.title else ""
        marker = ('<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" '
                  f'orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="{GREY}"/></marker></defs>')
        paper = f'<rect width="{self.width}" height="{self.height}" fill="{PAPER}"/>'
        return "\n".join([head + "\n" + title + marker, paper, *self.parts, "</svg>", ""])


class Axes:
    """A frame with scales, in which curves are drawn by their own numbers.

    x, y, width, height: the frame in pixels.  xs, ys: (smallest, largest) of the scales.  xticks, yticks: numbers, or (number, label) pairs.

    axes = Axes(drawing, 60, 20, 400, 200, xs=(0, 100), ys=(0, 9), xticks=(0, 50, 100), yticks=(0, 3, 6, 9), xlabel="step", ylabel="loss")
    axes.curve([(0, 9), (100, 6)], COLORS[0])
    """

    def __init__(self, drawing, x, y, width, height, xs, ys, xticks=(), yticks=(), xlabel="", ylabel=""):
        self.drawing, self.frame, self.xs, self.ys = drawing, (x, y, width, height), xs, ys
        for value, label in map(labelled, yticks):
            drawing.line(x, self.y(value), x + width, self.y(value), PALE, 1)
            drawing.text(x - 8, self.y(value) + 4, label, 12, "end", GREY)
        for value, label in map(labelled, xticks):
            drawing.line(self.x(value), y + height, self.x(value), y + height + 4, GREY, 1)
            drawing.text(self.x(value), y + height + 18, label, 12, "middle", GREY)
        drawing.curve([(x, y), (x, y + height), (x + width, y + height)], GREY, 1)
        drawing.text(x + width / 2, y + height + 36, xlabel, 13, "middle")
        drawing.text(x - 42, y + height / 2, ylabel, 13, "middle", turn=-90)

    def x(self, value):
        """A number on the x scale -> pixels."""
        x, _, width, _ = self.frame
        return x + width * (value - self.xs[0]) / (self.xs[1] - self.xs[0])

    def y(self, value):
        """A number on the y scale -> pixels."""
        _, y, _, height = self.frame
        return y + height * (self.ys[1] - value) / (self.ys[1] - self.ys[0])

    def curve(self, points, colour=COLORS[0], width=2, dashed=False):
        """A line through points (x, y), in the scales' numbers."""
        self.drawing.curve([(self.x(x), self.y(y)) for x, y in points], colour, width, dashed)

    def dots(self, points, colour=COLORS[0], radius=3.5):
        """A dot at each point."""
        for x, y in points:
            self.drawing.dot(self.x(x), self.y(y), radius, colour)

    def text(self, x, y, content, **options):
        """A text at a point; options as of ``Drawing.text``."""
        self.drawing.text(self.x(x), self.y(y), content, **options)


def labelled(tick):
    """A number on a scale, and what is written there.

    >>> labelled(1500), labelled((0.001, "1e-3"))
    ((1500, '1,500'), (0.001, '1e-3'))
    """
    return tick if isinstance(tick, tuple) else (tick, f"{tick:,}")
