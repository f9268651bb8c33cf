"""Text that is safe to show: colors where there are any, signs for what is invisible, columns that line up.

Nothing that goes through ``TextStyle`` can upset a terminal, whatever a text holds: white space has signs, other characters that do not
print are spelled as in Python (\\u200d), and so are the bytes of a character that was cut into several tokens (\\xf0).
"""
import os
import unicodedata
from dataclasses import dataclass

WHITE = " \n\t\r"


@dataclass(frozen=True)
class Signs:
    """What is shown for each of ``WHITE``; for an accent to sit on; a histogram's bars; what stands for a rest that is left out; and where
    there are no colors, around each token."""
    white: tuple = ("·", "↵", "→", "␍")
    letter: str = "◌"
    bar: str = "█"
    rest: str = "…"
    border: tuple = ("⟦", "⟧")  # hardly any text has them


ASCII = Signs(("_", "\\n", "\\t", "\\r"), "", "#", "...", ("|", "|"))
# Black on one of two colors in turn, so that one sees where tokens meet; dim between them.
COLORS = {"token": ("30;46", "30;43"), "special": ("30;45", "30;105"), "unknown": ("30;41", "30;101"), "between": ("2",)}


@dataclass(frozen=True)
class TextStyle:
    """How to show things: with colors or borders, and with which signs."""
    color: bool = False
    signs: Signs = Signs()

    @classmethod
    def of(cls, stream):
        """What a stream can show: colors in a terminal, unless NO_COLOR is set (no-color.org); ASCII where it has no more."""
        color = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        try:
            "·↵→␍◌█…⟦⟧".encode(stream.encoding or "ascii")
            return cls(color)
        except UnicodeEncodeError:
            return cls(color, ASCII)

    def visible(self, text):
        """A text with nothing invisible in it.

        >>> print(TextStyle().visible("a b\\tc\\r\\n"), TextStyle().visible("\\x1b[0m"), TextStyle().visible("x\\u200d"))
        a·b→c␍↵ \\u001b[0m x\\u200d
        """
        letter = self.signs.letter if unicodedata.category(text[:1] or " ").startswith("M") else ""
        signs = dict(zip(WHITE, self.signs.white))
        return letter + "".join(signs.get(char) or (char if self._prints(char) else escaped(char)) for char in text)

    def _prints(self, char):
        return char.isprintable() and (self.signs != ASCII or char.isascii())

    def paint(self, text, kind="token", number=0):
        """A piece of text in a color, or between borders, with a ? behind what is unknown. Where it has a line end, the line ends.

        >>> style = TextStyle(); print(style.paint("hug") + style.paint("x", "unknown") + style.paint("[SEP]", "special"))
        ⟦hug⟧⟦x⟧?[SEP]
        """
        *full, last = text.split("\n")
        lines = [self.visible(line + "\n") for line in full] + [self.visible(last)] * bool(last or not full)
        if self.color:
            lines = [self.in_color(line, kind, number) for line in lines]
        shown = "\n".join(lines)
        left, right = ("", "") if self.color or kind in ("between", "special") else self.signs.border
        return left + shown + right + "?" * (kind == "unknown" and not self.color) + "\n" * text.endswith("\n")

    def in_color(self, line, kind, number):
        """A line with nothing invisible in it, in the colors of a terminal."""
        return f"\033[{COLORS[kind][number % len(COLORS[kind])]}m{line}\033[0m"


def escaped(char):
    """'\\u200d' -> '\\\\u200d', as Python spells it; never as \\\\x: that is for bytes here."""
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


def display_width(text):
    """How many columns a text takes in a terminal: 'ab' -> 2, '日本' -> 4, an accent over a letter 0."""
    return sum(0 if unicodedata.category(char) in ("Mn", "Me") else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def padded(text, width):
    """padded("日", 4) + "|" -> '日  |'"""
    return text + " " * (width - display_width(text))


def visible(text):
    """A line end that was predicted is shown as \\n: each answer is one line."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def render_table(rows, align="l"):
    """Return rows of cells (str) as lines of text with aligned columns; the first row is the header.

    align   a letter per column, "l" (left) or "r" (right); the last one is for all further columns

    >>> print(render_table([["file", "tokens"], ["a", "1,200"]], align="lr"))
    file  tokens
    a      1,200
    """
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
