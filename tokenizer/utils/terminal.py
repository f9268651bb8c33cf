"""Text that is safe to show: colours where there are any, signs for what is invisible, columns that line up.

Nothing that goes through ``Look`` can upset a terminal, whatever a text holds: white space has signs, other characters that do not
print are spelled as in Python (\\u200d), and so are the bytes of a character that was cut into several tokens (\\xf0).
"""
import os
import unicodedata
from dataclasses import dataclass

WHITE = " \n\t\r"


@dataclass(frozen=True)
class Signs:
    """What is shown for each of ``WHITE``; for an accent to sit on; a histogram's bars; what stands for a rest that is left out; and where
    there are no colours, around each token."""
    white: tuple = ("·", "↵", "→", "␍")
    letter: str = "◌"
    bar: str = "█"
    rest: str = "…"
    border: tuple = ("⟦", "⟧")  # hardly any text has them


ASCII = Signs(("_", "\\n", "\\t", "\\r"), "", "#", "...", ("|", "|"))
# Black on one of two colours in turn, so that one sees where tokens meet; dim between them.
COLORS = {"token": ("30;46", "30;43"), "special": ("30;45", "30;105"), "unknown": ("30;41", "30;101"), "between": ("2",)}


@dataclass(frozen=True)
class Look:
    """How to show things: with colours or borders, and with which signs."""
    colour: bool = False
    signs: Signs = Signs()

    @classmethod
    def of(cls, stream):
        """What a stream can show: colours in a terminal, unless NO_COLOR is set (no-color.org); ASCII where it has no more."""
        colour = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        try:
            "·↵→␍◌█…⟦⟧".encode(stream.encoding or "ascii")
            return cls(colour)
        except UnicodeEncodeError:
            return cls(colour, ASCII)

    def visible(self, text):
        """A text with nothing invisible in it.

        >>> print(Look().visible("a b\\tc\\r\\n"), Look().visible("\\x1b[0m"), Look().visible("x\\u200d"))
        a·b→c␍↵ \\u001b[0m x\\u200d
        """
        letter = self.signs.letter if unicodedata.category(text[:1] or " ").startswith("M") else ""
        signs = dict(zip(WHITE, self.signs.white))
        return letter + "".join(signs.get(char) or (char if self._prints(char) else escaped(char)) for char in text)

    def _prints(self, char):
        return char.isprintable() and (self.signs != ASCII or char.isascii())

    def paint(self, text, kind="token", number=0):
        """A piece of text in a colour, or between borders, with a ? behind what is unknown. Where it has a line end, the line ends.

        >>> look = Look(); print(look.paint("hug") + look.paint("x", "unknown") + look.paint("[SEP]", "special"))
        ⟦hug⟧⟦x⟧?[SEP]
        """
        *full, last = text.split("\n")
        lines = [self.visible(line + "\n") for line in full] + [self.visible(last)] * bool(last or not full)
        if self.colour:
            lines = [self.coloured(line, kind, number) for line in lines]
        shown = "\n".join(lines)
        left, right = ("", "") if self.colour or kind in ("between", "special") else self.signs.border
        return left + shown + right + "?" * (kind == "unknown" and not self.colour) + "\n" * text.endswith("\n")

    def coloured(self, line, kind, number):
        """A line with nothing invisible in it, in the colours of a terminal."""
        return f"\033[{COLORS[kind][number % len(COLORS[kind])]}m{line}\033[0m"


def escaped(char):
    """'\\u200d' -> '\\\\u200d', as Python spells it; never as \\\\x: that is for bytes here."""
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


def columns(text):
    """How many columns a text takes in a terminal: 'ab' -> 2, '日本' -> 4, an accent over a letter 0."""
    return sum(0 if unicodedata.category(char) in ("Mn", "Me") else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def padded(text, width):
    """padded("日", 4) + "|" -> '日  |'"""
    return text + " " * (width - columns(text))


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
    widths = [max(columns(row[i]) for row in rows) for i in range(num_columns)]
    lines = []
    for row in rows:
        cells = []
        for cell, width, side in zip(row, widths, align):
            space = " " * (width - columns(cell))
            cells.append(cell + space if side == "l" else space + cell)
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
