"""Read documents from files: .txt, .jsonl, .csv and .tsv, each also .gz or .bz2.

    .txt          a document is a run of lines between blank lines (as in Google's BERT code)
    .jsonl .json  a document is one field of a JSON object; there is one object per line, or a
                  .json file is an array of objects
    .csv .tsv     a document is one column of a row; the first row has the column names

Files are streamed, so memory does not grow with their size. Two public data sets are recognized
by their first line, and their texts are split into sentences, one per line: Wikipedia's dump
(sources/wikipedia.py) and Amazon's reviews (sources/amazon.py).

This module only reads. ``corpus_files`` selects the files of a corpus, and ``corpora`` splits its
documents into training and validation.
"""
import codecs
import csv
import itertools
import json
import os
import re
import sys
import zlib
from functools import partial
from pathlib import Path

from data.corpus_files import check_regular_file, format_of
from data.sources import amazon, wikipedia
from data.sources.compression import compression_error, decompressed, is_partial
from data.sources.gutenberg import strip_boilerplate

MAX_DOCUMENT = 1_000_000  # characters; a longer document in a .txt is cut between two lines
MAX_LINE = 1_000_000  # characters; a longer line of a .txt is cut at a space
MAX_BYTES = 1 << 28  # of a line in any format; a longer line is an error, before memory runs out
MAX_EXPANSION = 100  # of a compressed file of over a MiB: text shrinks to a third or a tenth
MAX_MISSING = 1000  # records of a public dump in a row that may lack the text field

csv.field_size_limit(min(sys.maxsize, MAX_BYTES))


def read_documents(path, text_field="text", on_open=None, extension=None):
    r"""Yield the documents of one file as str, with lines separated by "\n" and no blank edges.

    text_field   the field of .jsonl, or the column of .csv and .tsv, that holds the text
    on_open      is called with the opened file as it is on disk (compressed); its ``tell()``
                 says how much has been read
    extension    ".txt" for plain text with another extension

    The text must be UTF-8, with or without a byte-order mark.

    Raises OSError, or ValueError with path and line number for a file that is not UTF-8, invalid
    JSON, a missing field, a damaged compressed file or an unknown extension.

    A .txt with ``"One\r\ntwo\n\n\nthree"`` gives ``"One\ntwo"`` and ``"three"``.
    """
    path = Path(path)
    extension = extension or format_of(path)
    if extension == ".txt":
        # Books from Project Gutenberg have a header and a license, which all have in common.
        return text_documents(strip_boilerplate(text_lines(path, on_open)))
    if extension in (".jsonl", ".json"):  # the older dumps of Amazon and Wikipedia end in .json
        return json_documents(path, text_field, on_open)
    return table_documents(path, text_field, extension, on_open)


# ------------------------------------------------------------------------------ .txt


def text_documents(lines, max_characters=MAX_DOCUMENT):
    r"""Join the lines between blank lines into documents.

    ``["a", "b", "", "", "c"] -> "a\nb", "c"``
    """
    document = []  # its lines
    size = 0  # in characters
    for line in lines:
        is_blank = not line.strip()
        if document and (is_blank or size + len(line) > max_characters):
            yield "\n".join(document)
            document = []
            size = 0
        if not is_blank:
            document.append(line)
            size += len(line) + 1
    if document:
        yield "\n".join(document)


def text_lines(path, on_open=None):
    """Yield the lines of a text file without their ends; a very long line comes in pieces."""
    for _, lines in decoded_lines(path, on_open):
        for line in lines.rstrip("\r\n").split("\r"):  # a lone \r ends a line of old Mac files
            start = 0
            while len(line) - start > MAX_LINE:
                end = line.rfind(" ", start + 1, start + MAX_LINE)
                if end < 0:  # no space: cut inside a word
                    end = start + MAX_LINE
                yield line[start:end]
                start = end
            yield line[start:]


# ------------------------------------------------------------------------------ .jsonl


def json_documents(path, text_field, on_open=None):
    """Yield the documents of a file of JSON lines; empty texts are skipped."""
    records = json_records(path, on_open)
    first = next(records, None)
    if first is None:
        return
    records = itertools.chain([first], records)  # put it back

    to_document = str  # no change
    max_missing = 0
    _, first_record = first
    if wikipedia.is_dump(first_record):
        to_document = wikipedia.document
        records = wikipedia.articles(records)
        max_missing = MAX_MISSING
    elif amazon.is_review(first_record):
        to_document = amazon.document
        text_field = amazon.text_field_of(first_record, text_field)
        max_missing = MAX_MISSING

    # The user cannot repair a dump, so a few records without text are skipped there. If there are
    # many in a row, the name of the field is wrong.
    num_missing = 0
    for line_number, record in records:
        num_missing = 0 if text_field in record else num_missing + 1
        if num_missing > max_missing:
            raise ValueError(f"{path}:{line_number}: no field {text_field!r}; {_fields(record)}")
        text = record.get(text_field) or ""
        if not isinstance(text, str):
            raise ValueError(f"{path}:{line_number}: the field {text_field!r} is not a string but "
                             f"{type(text).__name__}; {_fields(record)}")
        # JSON can escape half a surrogate pair (an emoji cut in two), which UTF-8 cannot encode.
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        document = _clean(to_document(text))
        if document:
            yield document


def json_records(path, on_open=None, encoding_errors="strict"):
    """Yield (line number, dict) for each line of a .jsonl file.

    A .json file may be one array instead: (number, dict) for each object in it.
    """
    lines = record_lines(path, on_open, encoding_errors)
    for line_number, line in lines:
        is_array = line.lstrip().startswith("[") and format_of(path) == ".json"
        if is_array:
            line = _join(path, itertools.chain([line], (rest for _, rest in lines)))
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}:{line_number}: invalid JSON ({error}): "
                             "a .jsonl file has one JSON object per line") from None
        records = value if is_array else [value]
        for number, record in enumerate(records, start=line_number):
            if not isinstance(record, dict):
                raise ValueError(f"{path}:{number}: a JSON {type(record).__name__}: "
                                 "a .jsonl file has one JSON object per line")
            yield number, record


def _join(path, lines):
    """Return the text of a JSON array; ValueError before it fills the memory."""
    parts = []
    size = 0
    for line in lines:
        parts.append(line)
        size += len(line)
        if size > MAX_BYTES:
            raise ValueError(f"{path}: a JSON array of over {MAX_BYTES >> 20} MiB: write one "
                             "object per line, as .jsonl")
    return "".join(parts)


# ------------------------------------------------------------------------------ .csv, .tsv


def table_documents(path, text_field, extension, on_open=None):
    """Yield the text column of each row of a .csv or .tsv file; empty texts are skipped."""
    if extension == ".tsv":
        # A .tsv has no quoting, so that a lone quote mark does not swallow the lines after it.
        lines = (line for _, line in record_lines(path, on_open))
        rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE, strict=True)
    else:
        # A quoted field of a .csv may contain commas and line ends.
        rows = csv.reader((line for _, line in decoded_lines(path, on_open)), strict=True)

    columns = None  # until the header is read
    try:
        for row in rows:
            if not row:
                continue  # a blank line
            if columns is None:
                columns = [name.strip() for name in row]
                if text_field not in columns:
                    raise ValueError(f"{path}:1: no column {text_field!r}; {_fields(columns)}")
                text_column = columns.index(text_field)
                continue
            if len(row) != len(columns):
                separator = "tab" if extension == ".tsv" else "comma or quote mark"
                raise ValueError(f"{path}:{rows.line_num}: the row has {len(row)} fields, the "
                                 f"header has {len(columns)}: check for a missing {separator}")
            document = _clean(row[text_column])
            if document:
                yield document
    except csv.Error as error:
        raise ValueError(f"{path}:{rows.line_num}: {error}") from None


# ------------------------------------------------------------------------------ helpers


def _clean(text):
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def _fields(names):
    return (f"there are: {', '.join(map(str, names)) or 'none'}. "
            "Name one with text_field (--text-field)")


# ------------------------------------------------------------------------------ files -> lines


def record_lines(path, on_open=None, encoding_errors="strict"):
    """Yield (line number, line) of a file with one record per line; skip blank lines."""
    for line_number, line in decoded_lines(path, on_open, encoding_errors):
        if line.strip():  # often the last line is blank
            yield line_number, line


def decoded_lines(path, on_open=None, encoding_errors="strict"):
    """Yield (line number, line with its end) of a file, decompressed and decoded.

    If the file is only the first part of another one (``compression.is_partial``), an
    incomplete last line is skipped. encoding_errors: "strict", or "replace" what is not UTF-8 by
    U+FFFD.
    """
    check_regular_file(path)
    is_part = is_partial(path)
    is_utf8 = False  # a line with more than ASCII has been decoded
    num_bytes = 0
    try:
        with open(path, "rb") as raw, decompressed(raw, path) as file:
            if on_open:
                on_open(raw)
            size = os.fstat(raw.fileno()).st_size
            lines = iter(partial(file.readline, MAX_BYTES), b"")  # readline gives b"" at the end
            # Bytes, not text: the message of a decoding error can then name the line.
            for line_number, line in enumerate(lines, start=1):
                if line_number == 1:
                    line = line.removeprefix(codecs.BOM_UTF8)
                if len(line) >= MAX_BYTES:
                    raise ValueError(f"{path}:{line_number}: a line of over {MAX_BYTES >> 20} MiB")
                num_bytes += len(line)
                if num_bytes > MAX_EXPANSION * max(size, 1 << 20):
                    raise ValueError(f"{path} expands to over {MAX_EXPANSION} times its size, as "
                                     "no text does: if that is right, decompress it yourself")
                if is_part and not line.endswith(b"\n"):
                    return
                yield line_number, _decode(path, line, line_number, is_utf8, encoding_errors)
                is_utf8 = is_utf8 or not line.isascii()
    except (EOFError, zlib.error, OSError) as error:
        # A partial compressed file ends with EOFError; everything else is damage.
        if not (is_part and isinstance(error, EOFError)):
            raise (compression_error(path, error) or error) from None


def _decode(path, raw, line_number, is_utf8, encoding_errors):
    if b"\0" in raw:
        raise ValueError(f"{path}:{line_number}: a NUL byte at byte {raw.index(0) + 1:,} of the "
                         "line: this is a binary file or UTF-16; convert it to UTF-8 text first "
                         "(iconv -f UTF-16 -t UTF-8)")
    try:
        return raw.decode("utf-8", encoding_errors)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}:{line_number}: byte {error.start + 1:,} of the line is "
                         f"0x{raw[error.start]:02x}, which is not UTF-8: "
                         f"{_encoding_hint(raw, error, is_utf8)}") from None


def _encoding_hint(raw, error, is_utf8):
    """Return what to do about a line that is not UTF-8. is_utf8: earlier lines have shown it."""
    encoding = "WINDOWS-1252" if re.search(rb"[\x80-\x9f]", raw) else "ISO-8859-1"
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "UTF-16"
    conversion = f"convert the file (iconv -f {encoding} -t UTF-8)"
    num_bad = raw.decode("utf-8", "replace").count("\ufffd")
    num_good = sum(character > "\x7f" for character in raw.decode("utf-8", "ignore"))
    is_utf8 = is_utf8 or num_good >= max(num_bad, 1)  # other encodings rarely look like UTF-8
    if error.reason == "unexpected end of data":
        cut = "the file is cut off in the middle of a character: copy it again"
        return cut if is_utf8 else f"{cut}, or, if it is not meant to be UTF-8, {conversion}"
    if is_utf8:
        return "the text around it is: the file is damaged or cut; copy it again, or mend the line"
    return conversion
