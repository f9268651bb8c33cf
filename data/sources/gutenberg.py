"""Project Gutenberg's boilerplate: found by its markers and left out.

Each of the library's files wraps its book in a header and a licence that are the same in every file: kept, they would
stand in the training part and in the held-out part alike. The markers have changed over the years:

    *** START OF THIS PROJECT GUTENBERG EBOOK EMMA ***      ***START OF THE PROJECT GUTENBERG EBOOK, ...***
    *END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*      (before 2003 the header ended so)
    End of the Project Gutenberg EBook of Emma, by Jane Austen            *** END OF THE PROJECT GUTENBERG ...
"""
import hashlib
import re

HEADER_LINES = 1000  # a header is shorter than that; a file without a marker by then has none

START = re.compile(r"\s*\*\*\*\s*START OF (THE|THIS) PROJECT GUTENBERG|\s*\*END[* ]*THE SMALL PRINT", re.IGNORECASE)
END = re.compile(r"\s*\*\*\*\s*END OF (THE|THIS) PROJECT GUTENBERG|\s*End of (the )?Project Gutenberg", re.IGNORECASE)
CREDITS = re.compile(r"\s*(Produced|E-?text prepared|This e(Book|text) was (produced|prepared)|Transcribed) ", re.IGNORECASE)


def strip_boilerplate(lines):
    """Yield the lines of the books in a Gutenberg text, without the credits they open with; the lines of any other text pass unchanged.

    ``lines``: an iterator of str, with or without line ends. Several books in one file, end to end, are found
    each. Only a file with a START marker in its first 1,000 lines counts as Gutenberg's.

    ``["Header", "*** START OF THE PROJECT GUTENBERG EBOOK X ***", "Text", "*** END OF THE PROJECT ..."] -> ["Text"]``
    """
    lines = iter(lines)
    header = []
    for line in lines:
        header.append(line)
        if START.match(line):
            _rest_of_marker(line, lines)
            yield from _books(lines)
            return
        if len(header) == HEADER_LINES:
            break
    yield from header
    yield from lines


def _books(lines):
    inside, at_start, in_credits = True, True, False
    for line in lines:
        if START.match(line):
            _rest_of_marker(line, lines)
            inside, at_start, in_credits = True, True, False
        elif inside and END.match(line):
            inside = False
        elif inside:
            if at_start and line.strip():
                at_start, in_credits = False, bool(CREDITS.match(line))
            in_credits = in_credits and bool(line.strip())  # the credits are one paragraph
            if not in_credits:
                yield line


def _rest_of_marker(line, lines):
    """A long title wraps the marker over a second line, which ends with the closing stars."""
    if not line.rstrip().endswith("*"):
        for line in lines:
            if line.rstrip().endswith("***") or not line.strip():
                return


def body_checksum(lines):
    """sha256 of the book alone: header, licence, credits, indentation and blank lines may change, the words may not.

    Gutenberg rewrites its headers, credits and licence from time to time, so a checksum of whole files does not last.
    """
    digest = hashlib.sha256()
    for line in strip_boilerplate(lines):
        if line.strip():
            digest.update(line.strip().encode("utf-8") + b"\n")
    return digest.hexdigest()
