"""Project Gutenberg's boilerplate: find it by its markers and leave it out.

Each file has the same header and license around its book. If they were kept, they would be in the
training and the validation split. The markers have changed over the years:

    *** START OF THIS PROJECT GUTENBERG EBOOK EMMA ***      ***START OF THE PROJECT GUTENBERG ...
    *END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*      (until 2003)
    End of the Project Gutenberg EBook of Emma, by Jane Austen      *** END OF THE PROJECT ...
"""
import hashlib
import re
from functools import partial
from itertools import islice

MAX_MARKER = 1 << 16  # characters; no marker is in a longer line
HEADER_LINES = 1000  # headers are shorter; a file without a marker in these lines has none

START = re.compile(r"\s*\*\*\*\s*START OF (THE|THIS) PROJECT GUTENBERG"
                   r"|\s*\*END[* ]*THE SMALL PRINT", re.IGNORECASE)
END = re.compile(r"\s*\*\*\*\s*END OF (THE|THIS) PROJECT GUTENBERG"
                 r"|\s*End of (the )?Project Gutenberg", re.IGNORECASE)
CREDITS = re.compile(r"\s*(Produced|E-?text prepared|This e(Book|text) was (produced|prepared)"
                     r"|Transcribed) ", re.IGNORECASE)


def strip_boilerplate(lines):
    """Yield the lines of the books in a Gutenberg text; those of any other text unchanged.

    lines: an iterable of str, with or without line ends. Credits at the start of a book are left
    out. A file may have several books, one after another. A text counts as Gutenberg's if one of
    its first 1,000 lines is a START marker.

    ``["Header", "*** START OF THE PROJECT GUTENBERG EBOOK X ***", "Text", "*** END OF THE ..."]``
    ``-> ["Text"]``
    """
    lines = iter(lines)
    header = []
    for line in lines:
        header.append(line)
        if START.match(line):
            _skip_rest_of_marker(line, lines)
            yield from _books(lines)
            return
        if len(header) == HEADER_LINES:
            break
    yield from header
    yield from lines


def has_boilerplate(path):
    """Return whether a plain-text file is a Gutenberg text."""
    with open(path, encoding="utf-8", errors="replace") as file:
        lines = iter(partial(file.readline, MAX_MARKER), "")  # readline gives "" at the end
        return any(map(START.match, islice(lines, HEADER_LINES)))


def _books(lines):
    """Yield the lines of the books; the first line is the one after a START marker."""
    in_book = True
    at_start = True
    in_credits = False
    for line in lines:
        if START.match(line):
            _skip_rest_of_marker(line, lines)
            in_book = True
            at_start = True
        elif in_book and END.match(line):
            in_book = False
        elif in_book:
            if at_start and line.strip():
                at_start = False
                in_credits = bool(CREDITS.match(line))
            elif not line.strip():  # the credits are one paragraph
                in_credits = False
            if not in_credits:
                yield line


def _skip_rest_of_marker(line, lines):
    """A long title wraps the marker to a second line, which ends with the closing stars."""
    if not line.rstrip().endswith("*"):
        for line in lines:
            if line.rstrip().endswith("***") or not line.strip():
                return


def body_checksum(lines):
    """Return the sha256 of the books' words, without boilerplate, indentation and blank lines.

    Gutenberg rewrites its headers and licenses from time to time, so a checksum of complete files
    would not last.
    """
    digest = hashlib.sha256()
    for line in strip_boilerplate(lines):
        if line.strip():
            digest.update(line.strip().encode("utf-8") + b"\n")
    return digest.hexdigest()
