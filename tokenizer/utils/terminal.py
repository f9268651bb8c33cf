"""Text for the terminal: colors, visible signs for invisible characters, aligned columns.

No file name, label or token can move the cursor, change colors or reverse text: ``SafeStream``
escapes everything that a command prints. ``TextStyle`` and ``visible`` show more: white space by
signs, and all unprintable characters as in Python (\\u200d).
"""
import os
import re
import unicodedata
from dataclasses import dataclass
from functools import cache

WHITE = " \n\t\r"
# Control characters except tabs and line ends (C0, DEL, C1: with them begin escape sequences),
# other line ends, and what reverses the direction of text (Unicode Standard Annex 9, 2.1 to 2.5).
UNSAFE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]|\r(?!\n)")
NARROW = re.compile("[\0-\u02ff\u2010-\u2027]*")  # Latin letters and punctuation: a column each
BAR_MOVES = re.compile(r"(\x1b\[A)+$|\r?")  # how tqdm returns to the start of a bar's line


@dataclass(frozen=True)
class Signs:
    """The characters that replace others."""
    white: tuple = ("·", "↵", "→", "␍")  # for each of WHITE
    letter: str = "◌"                    # carries an accent that has no letter
    bar: str = "█"                       # of histograms
    rest: str = "…"                      # for omitted text
    border: tuple = ("⟦", "⟧")           # around each token if there are no colors


ASCII = Signs(("_", "\\n", "\\t", "\\r"), "", "#", "...", ("|", "|"))
# Two backgrounds alternate, to show where tokens meet. What is between tokens is dim.
COLORS = {
    "token": ("30;46", "30;43"),
    "special": ("30;45", "30;105"),
    "unknown": ("30;41", "30;101"),
    "between": ("2",),
}


@dataclass(frozen=True)
class TextStyle:
    """How to print tokens: with colors or with borders, and with which signs."""
    color: bool = False
    signs: Signs = Signs()

    @classmethod
    def of(cls, stream):
        """Return the style for a stream: colors in a terminal, ASCII if that is its encoding.

        NO_COLOR turns colors off (no-color.org).
        """
        environ = os.environ
        color = stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
        try:
            "·↵→␍◌█…⟦⟧".encode(stream.encoding or "ascii")
        except UnicodeEncodeError:
            return cls(color, ASCII)
        return cls(color)

    def visible(self, text):
        """Return a text with signs or escapes for everything that is invisible.

        >>> style = TextStyle()
        >>> print(style.visible("a b\\tc\\r\\n"), style.visible("\\x1b[0m x\\u200d"))
        a·b→c␍↵ \\u001b[0m·x\\u200d
        """
        signs = dict(zip(WHITE, self.signs.white))
        shown = ""
        if text and unicodedata.category(text[0]).startswith("M"):
            shown = self.signs.letter
        for char in text:
            if char in signs:
                shown += signs[char]
            elif char.isprintable() and (self.signs != ASCII or char.isascii()):
                shown += char
            else:
                shown += escaped(char)
        return shown

    def paint(self, text, kind="token", index=0):
        """Return a token in a color or between borders; an unknown one is followed by a ?.

        kind    a key of COLORS
        index   selects one of the colors, in turn

        A line end inside the token also ends the printed line.

        >>> style = TextStyle()
        >>> style.paint("hug") + style.paint("x", "unknown") + style.paint("[SEP]", "special")
        '⟦hug⟧⟦x⟧?[SEP]'
        """
        lines = [self.visible(line) for line in re.findall(r"[^\n]*\n|[^\n]+", text)]
        if self.color:
            lines = [self.in_color(line, kind, index) for line in lines]
        shown = "\n".join(lines)
        if not self.color and kind not in ("between", "special"):
            start, end = self.signs.border
            shown = start + shown + end
        if not self.color and kind == "unknown":
            shown += "?"
        return shown + "\n" if text.endswith("\n") else shown

    def in_color(self, line, kind, index):
        """Return a visible line with the escape codes of its color."""
        colors = COLORS[kind]
        return f"\033[{colors[index % len(colors)]}m{line}\033[0m"


def escaped(char):
    """Return Python's escape: '\\u200d' -> '\\\\u200d'. Never \\x, which here means a byte."""
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


def safe(text):
    """Return the text with escapes for everything that could control a terminal.

    The result for JSON is JSON with the same value.

    >>> print(safe("café \\x1b[2J\\u202e\\r"))
    café \\u001b[2J\\u202e\\u000d
    """
    return UNSAFE.sub(lambda match: escaped(match[0]), text)


class SafeStream:
    """A text stream that writes ``safe`` text; ``run`` wraps what a command prints to in it.

    has_bars    progress bars are drawn on it: a text may begin with their carriage return
    """

    def __init__(self, stream, has_bars=False):
        self.stream, self.has_bars = stream, has_bars

    def write(self, text):
        moves = BAR_MOVES.match(text)[0] if self.has_bars else ""
        return self.stream.write(moves + safe(text[len(moves):]))

    def __getattr__(self, name):
        return getattr(self.stream, name)


def allow_colors(stream):
    """Return the stream below a ``SafeStream``, for text whose tokens a ``TextStyle`` has shown."""
    return stream.stream if isinstance(stream, SafeStream) else stream


def display_width(text):
    """Return how many columns a text takes in a terminal: 'ab' -> 2, '日本' -> 4."""
    return len(text) if NARROW.fullmatch(text) else sum(map(_char_width, text))


@cache
def _char_width(char):
    if unicodedata.category(char) in ("Mn", "Me"):
        return 0  # an accent over the character before it
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def padded(text, width):
    """Return the text with spaces after it: padded("日", 4) + "|" -> '日  |'"""
    return text + " " * (width - display_width(text))


def visible(text):
    """Return the text on one line, with unprintable characters escaped as in Python."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def render_table(rows, align="l"):
    """Return rows of cells (str) as lines with aligned columns; the first row is the header.

    align   a letter per column, "l" (left) or "r" (right); the last one is for all further columns

    >>> print(render_table([["file", "tokens"], ["a\\n", "1,200"]], align="lr"))
    file  tokens
    a\\n    1,200
    """
    rows = [list(map(visible, row)) for row in rows]
    num_columns = len(rows[0])
    align += align[-1] * (num_columns - len(align))
    widths = [max(display_width(row[i]) for row in rows) for i in range(num_columns)]
    lines = []
    for row in rows:
        cells = []
        for cell, width, side in zip(row, widths, align):
            space = " " * (width - display_width(cell))
            cells.append(cell + space if side == "l" else space + cell)
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def plural(count, noun, nouns=None):
    """plural(1, "token") -> '1 token'; plural(1200, "entry", "entries") -> '1,200 entries'"""
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"
