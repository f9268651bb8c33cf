"""Join the lines of hard-wrapped paragraphs, as in Project Gutenberg's books.

Wrapped text has a line break where the next word would have passed the right margin:

    It was a dark and stormy night; the rain fell in torrents, except at
    occasional intervals, when it was checked by a violent gust of wind.

Such a break says nothing about the text, but a model would spend tokens and guesses on it.
``wrap_width`` finds the margin of a file, and ``reflow`` joins the lines that reach it.

Kept as they are: blank lines; short lines (verse, headings, contents); indented lines; lines that
begin with the sign or number of a list, a quotation or a table; and line breaks after a hyphen or
dash, which may be part of the word ("twenty-five") or not ("hyphen-ation"). Between Chinese or
Japanese characters, lines are joined without a space.
"""
import re
import unicodedata

from tokenizer.utils.terminal import display_width, plural

REFLOW = ("auto", "yes", "no")
REFLOW_HELP = ("join the lines of hard-wrapped paragraphs. auto: in each file whose lines are "
               "wrapped; train.py then keeps the lines of --examples lines, and of pairs without "
               "--sentences. yes: in all files")
ALWAYS = 0  # the width of a file whose lines are joined wherever they end

# A line is full if the next word would have ended beyond 7/8 of the width: people who correct a
# wrapped book do not wrap it again. Lines of more than 9/8 are not wrapped.
FULL, LONGEST = 7 / 8, 9 / 8
MIN_WIDTH = 30  # columns; shorter lines are verse or a list
MIN_BREAKS, MIN_ENDS = 10, 3  # line breaks within and between paragraphs that show how text ends
MIN_FULL = 0.9  # share of full lines within paragraphs of wrapped text (17 novels: over 0.98)
MAX_FULL_AT_END = 0.5  # and at the ends of paragraphs (17 novels: under 0.2), unlike in a table

MARKER = re.compile(r"([-–—*•+>|#]|\d{1,3}[.)])\s")  # of a list, a quotation or a table
HYPHEN_AT_END = re.compile(r"\S[-‐‑–—]\s*$")


def wrap_width(documents):
    """Return the columns of the longest lines if the documents are hard-wrapped, else None.

    documents: the first of a file, an iterable of str
    """
    within = []  # (columns of a line, columns with the next line's first word)
    at_end = []  # the same for the last lines of paragraphs
    for line, next_line, is_end in _line_breaks(documents):
        columns = display_width(line.rstrip())
        (at_end if is_end else within).append((columns, columns + _first_columns(next_line)))
    if len(within) < MIN_BREAKS or len(at_end) < MIN_ENDS:
        return None
    lengths = sorted(columns for columns, _ in within)
    width = lengths[len(lengths) * 99 // 100]  # a few lines may be longer

    def share_of_full(breaks):
        return sum(needed > FULL * width for _, needed in breaks) / len(breaks)

    is_wrapped = (width >= MIN_WIDTH and share_of_full(within) >= MIN_FULL
                  and share_of_full(at_end) <= MAX_FULL_AT_END)
    return width if is_wrapped else None


def _line_breaks(documents):
    """Yield (line, next line, whether a paragraph ends between them) of lines that are not blank.

    An indented line begins a paragraph.
    """
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
    """Return how many columns a line would add to the one before it if its first word moved there.

    >>> _first_columns("two words"), _first_columns("日本")  # with the space
    (4, 2)
    """
    if _is_cjk(line[:1]):
        return 2
    return 1 + display_width(line.split(None, 1)[0])


def reflow(document, width):
    r"""Return a document with its wrapped lines joined; the same document if ``width`` is None.

    width: what ``wrap_width`` returned for its file, or ALWAYS. Joining again changes nothing.

    >>> reflow("It was a dark and stormy\nnight; the rain fell in\ntorrents.\nA new verse", 24)
    'It was a dark and stormy night; the rain fell in torrents.\nA new verse'
    """
    if width is None or "\n" not in document:
        return document
    joined = []
    last = ""  # the last line of the document that is part of joined[-1]
    for line in document.split("\n"):
        if joined and _continues(last, line, width):
            separator = "" if _is_cjk(last.rstrip()[-1]) and _is_cjk(line[0]) else " "
            joined[-1] = joined[-1].rstrip() + separator + line
            # A line that is still short is seen as one line when the result is joined again.
            last = joined[-1] if display_width(joined[-1]) <= LONGEST * width else line
        else:
            joined.append(line)
            last = line
    return "\n".join(joined)


def _continues(last, line, width):
    """Return whether a line continues the paragraph that the line before it was wrapped in."""
    if not last.strip() or not line.strip() or line[0].isspace():
        return False
    if MARKER.match(line) or HYPHEN_AT_END.search(last):
        return False
    if width == ALWAYS:
        return True
    columns = display_width(last.rstrip())
    return columns <= LONGEST * width and columns + _first_columns(line) > FULL * width


def reflow_summary(widths):
    """Return what was joined in files of these widths, "" if nothing was.

    >>> reflow_summary([70, None, 72])
    'the lines of 2 of 3 files, hard-wrapped at 70 to 72 columns, are joined to paragraphs'
    """
    widths = list(widths)
    wrapped = [width for width in widths if width is not None]
    if not wrapped:
        return ""
    columns = f"{min(wrapped)} to {max(wrapped)}" if len({*wrapped}) > 1 else str(wrapped[0])
    margin = "" if ALWAYS in wrapped else f", hard-wrapped at {columns} columns,"
    return (f"the lines of {len(wrapped):,} of {plural(len(widths), 'file')}{margin} are joined to "
            "paragraphs")


def check_reflow(value):
    """Raise ValueError unless ``value`` is one of REFLOW."""
    if value not in REFLOW:
        raise ValueError(f"reflow is {value!r}: choose from {', '.join(REFLOW)}")


def _is_cjk(char):
    """Return whether a character is written without spaces around it: あ and 日, not 한."""
    return (unicodedata.east_asian_width(char or " ") in "WF"
            and not unicodedata.name(char, "").startswith("HANGUL"))
