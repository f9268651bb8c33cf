"""Join the lines of hard-wrapped paragraphs, as in Project Gutenberg's books.

Wrapped text has a line break where the next word would have passed the right margin:

    It was a dark and stormy night; the rain fell in torrents, except at
    occasional intervals, when it was checked by a violent gust of wind.

Such a break says nothing about the text, but a model would spend tokens and guesses on it. Kept
as they are: blank lines; short lines (verse, headings, contents); indented lines; lines that begin
with the sign or number of a list, a quotation or a table; and line breaks after a hyphen or dash,
which may be part of the word ("twenty-five") or not ("hyphen-ation").
"""
import re
import unicodedata

from tokenizer.utils.terminal import display_width, plural

REFLOW = ("auto", "yes", "no")
REFLOW_HELP = ("join the lines of hard-wrapped paragraphs. auto: in each file whose lines are "
               "wrapped; train.py then keeps the lines of --examples lines, and of pairs without "
               "--sentences. yes: in all files")
ALWAYS = 0  # the width of a file whose lines are joined wherever they end

# A line is full if the next word would have ended beyond 7/8 of the width, not at the width itself:
# a wrapped book that is corrected is not wrapped again. Lines of more than 9/8 are not wrapped.
FULL, LONGEST = 7 / 8, 9 / 8
MIN_WIDTH = 30  # columns; shorter lines are verse or a list
MIN_BREAKS, MIN_ENDS = 10, 3  # line breaks within and after paragraphs that show whether it is so
MIN_FULL = 0.9  # share of full lines within wrapped paragraphs; in twenty books over 0.96
MAX_FULL_AT_END = 0.5  # share of paragraphs that end at the margin, as in a table; here under 0.3

MARKER = re.compile(r"([-–—*•+>|#]|\d{1,3}[.)])\s")  # of a list, a quotation or a table
HYPHEN_AT_END = re.compile(r"\S[-‐‑–—]\s*$")


def wrap_width(documents):
    """Return the columns of the longest lines if the documents (str) are wrapped, else None."""
    within = []  # (columns of a line, columns with the next line's first word)
    at_end = []  # the same for the last lines of paragraphs
    for line, next_line, is_end in _line_breaks(documents):
        columns = display_width(line.rstrip())
        (at_end if is_end else within).append((columns, columns + _first_columns(next_line)))
    if len(within) < MIN_BREAKS or len(at_end) < MIN_ENDS:
        return None
    lengths = sorted(columns for columns, _ in within)
    width = lengths[len(lengths) * 99 // 100]  # a few lines may be longer
    full = sum(needed > FULL * width for _, needed in within) / len(within)
    full_at_end = sum(needed > width for _, needed in at_end) / len(at_end)
    if width >= MIN_WIDTH and full >= MIN_FULL and full_at_end <= MAX_FULL_AT_END:
        return width
    return None


def _line_breaks(documents):
    """Yield (line, next line, whether a paragraph ends between them), without blank lines."""
    previous = None
    for document in documents:
        is_end = True
        for line in document.split("\n"):
            if not line.strip():
                is_end = True
                continue
            if previous is not None:
                yield previous, line, is_end or line[0].isspace()
            previous, is_end = line, False


def _first_columns(line):
    """Return the columns of a line's first word and the space before it: "two words" -> 4."""
    return 2 if _is_cjk(line[:1]) else 1 + display_width(line.split(None, 1)[0])


def reflow(document, width):
    r"""Return a document with its wrapped lines joined; to join again changes nothing.

    width: what ``wrap_width`` returned for the file of the document, or ALWAYS

    >>> reflow("It was a dark and stormy\nnight; the rain fell in\ntorrents.\nA new verse", 24)
    'It was a dark and stormy night; the rain fell in torrents.\nA new verse'
    """
    if width is None or "\n" not in document:
        return document
    parts = []  # the lines and what is between them
    last = ""  # the line before, with all that is joined to it as long as it is short
    is_short = True
    for line in document.split("\n"):
        if parts and _continues(last, line, width):
            separator = "" if _is_cjk(last.rstrip()[-1]) and _is_cjk(line[0]) else " "
            parts[-1] = parts[-1].rstrip()
            # To join again, a joined line that is still short is one line.
            joined = last.rstrip() + separator + line
            is_short = is_short and display_width(joined) <= LONGEST * width
            last = joined if is_short else line
        else:
            separator = "\n"
            last = line
            is_short = True
        parts += [separator, line]
    return "".join(parts[1:])


def _continues(last, line, width):
    """Return whether a line continues the paragraph of the line before it."""
    if (not last.strip() or not line.strip() or line[0].isspace() or MARKER.match(line)
            or HYPHEN_AT_END.search(last)):
        return False
    if width == ALWAYS:
        return True
    columns = display_width(last.rstrip())
    return columns <= LONGEST * width and columns + _first_columns(line) > FULL * width


def _is_cjk(char):
    """Return whether a character is written without spaces around it: あ and 日, not 한."""
    return (unicodedata.east_asian_width(char) in "WF"
            and not unicodedata.name(char, "").startswith("HANGUL"))


def reflow_summary(widths):
    """``[70, None, 72] -> "the lines of 2 of 3 files, hard-wrapped at 70 to 72 columns, ..."``"""
    wrapped = [width for width in widths if width is not None]
    if not wrapped:
        return ""
    columns = " to ".join(map(str, sorted({min(wrapped), max(wrapped)})))
    margin = "" if ALWAYS in wrapped else f", hard-wrapped at {columns} columns,"
    return (f"the lines of {len(wrapped):,} of {plural(len(widths), 'file')}{margin} are joined "
            "to paragraphs")
