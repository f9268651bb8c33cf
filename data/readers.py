"""Read documents from files: .txt, .jsonl, .csv and .tsv, each also .gz or .bz2.

    .txt          a document is a run of lines between blank lines (as in Google's BERT code)
    .jsonl .json  a document is one field of a JSON object; there is one object per line
    .csv .tsv     a document is one column of a row; the first row has the column names

Files are streamed, so memory does not grow with their size. Two public data sets are recognized
by their first line, and their texts are split into sentences, one per line: Wikipedia's dump
(sources/wikipedia.py) and Amazon's reviews (sources/amazon.py).

This module only reads. ``corpora`` decides which files belong to a corpus and how its documents
are split into training and validation.
"""
import codecs
import csv
import itertools
import json
import sys
import zlib
from pathlib import Path

from data.sources import amazon, wikipedia
from data.sources.compression import (
    compression_error,
    compression_suffix,
    decompressed,
    is_partial,
    without_part_suffix,
)
from data.sources.gutenberg import strip_boilerplate

FORMATS = (".txt", ".jsonl", ".json", ".csv", ".tsv")
KNOWN = ", ".join(FORMATS) + ", each also with .gz or .bz2"

MAX_DOCUMENT = 1_000_000  # characters; a longer document in a .txt is cut between two lines
MAX_LINE = 1_000_000  # bytes; a longer line of a .txt is cut at white space
MAX_RECORD = 1 << 28  # bytes; a longer line in the other formats is an error
MAX_EMPTY = 1000  # records without the text field at the beginning of a public dump

csv.field_size_limit(min(sys.maxsize, MAX_RECORD))


def read_documents(path, text_field="text", on_open=None):
    r"""Yield the documents of one file as str, with lines separated by "\n" and no blank edges.

    text_field   the field of .jsonl, or the column of .csv and .tsv, that holds the text
    on_open      is called with the opened file as it is on disk (compressed); its ``tell()``
                 says how much has been read

    The text must be UTF-8, with or without a byte-order mark. Project Gutenberg's header and
    license are removed from .txt files that have its markers.

    Raises FileNotFoundError, or ValueError with path and line number for a file that is not
    UTF-8, invalid JSON, a missing field, a damaged compressed file or an unknown extension.

    A .txt with ``"One\r\ntwo\n\n\nthree"`` gives ``"One\ntwo"`` and ``"three"``.
    """
    path = Path(path)
    extension = format_of(path)
    if extension == ".txt":
        return text_documents(strip_boilerplate(text_lines(path, on_open)))
    if extension in (".jsonl", ".json"):
        return json_documents(path, text_field, on_open)
    return table_documents(path, text_field, extension, on_open)


def find_files(path):
    """Return the files to read for a path: itself, or all readable files in a folder, sorted.

    Skips hidden files, unfinished downloads (.part), and .json that is not compressed: that is
    usually a settings file.

    Raises FileNotFoundError for a missing path. Raises ValueError for an unknown extension, a
    folder without a readable file, and a folder with an unfinished download of Wikipedia.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no such file or folder: {path}")
    if not path.is_dir():
        format_of(path)
        return [path]

    names = []  # relative to the folder
    for file in path.rglob("*"):
        relative = file.relative_to(path)
        is_hidden = any(part.startswith(".") for part in relative.parts)
        if file.is_file() and not is_hidden:
            names.append(relative.as_posix())
    names.sort()

    for name in names:
        if wikipedia.UNFINISHED.fullmatch(Path(name).name):
            raise ValueError(f"{path}: the download of a dump has not ended: repeat the command "
                             f"to resume it, or remove {path / name} to use the files as they are")

    def is_readable(name):
        return _extension(name) in FORMATS and not name.endswith((".json", ".part"))

    files = [path / name for name in names if is_readable(name)]
    if not files:
        raise ValueError(f"{path} has no file to read: supported are {KNOWN}")
    return files


def format_of(path):
    """Return a file's extension without compression: ``"news.csv.gz" -> ".csv"``."""
    extension = _extension(path)
    if extension not in FORMATS:
        raise ValueError(f"{path}: unknown extension {extension or '(none)'}: "
                         f"supported are {KNOWN}")
    return extension


def _extension(path):
    path = Path(without_part_suffix(path))
    if compression_suffix(path):
        path = path.with_suffix("")  # news.csv.gz -> news.csv
    return path.suffix.lower()


# ------------------------------------------------------------------------------ .txt


def text_documents(lines, max_characters=MAX_DOCUMENT):
    r"""Join the lines between blank lines into documents.

    ``["a", "b", "", "", "c"] -> "a\nb", "c"``
    """
    document = []  # its lines
    size = 0
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


def text_lines(path, on_open=None, max_bytes=MAX_LINE):
    """Yield the lines of a text file without their ends; a very long line comes in pieces."""
    rest = b""  # the end of a cut line, which is still to be yielded
    line_number = 1
    for chunk in raw_lines(path, max_bytes, on_open):
        raw = rest + chunk
        rest = b""
        ends_line = chunk.endswith(b"\n")
        if not ends_line and len(raw) >= max_bytes:
            raw, rest = _cut(raw)
        text = _normalize_line_ends(decode(path, raw, line_number)).removesuffix("\n")
        yield from text.split("\n")  # more than one line if the file has old Mac line ends (\r)
        line_number += ends_line
    if rest:
        yield decode(path, rest, line_number)


def _cut(raw):
    """Cut bytes at their last white space, or else between two characters.

    ``b"one two" -> b"one", b" two"``
    """
    end = max(raw.rfind(b" "), raw.rfind(b"\t"))
    if end > 0:
        return raw[:end], raw[end:]
    # The last character may be incomplete. Cut before its first byte: in UTF-8 the first byte of
    # a character is below 0x80 (ASCII) or at least 0xC0, the bytes that follow are 0x80 to 0xBF.
    start = len(raw) - 1
    while start > 0 and 0x80 <= raw[start] < 0xC0:
        start -= 1
    end = start if raw[start] >= 0xC0 else len(raw)
    return raw[:end], raw[end:]


# ------------------------------------------------------------------------------ .jsonl


def json_documents(path, text_field, on_open=None):
    """Yield the documents of a file of JSON lines; empty texts are skipped."""
    records = json_records(path, on_open)
    first = next(records, None)
    if first is None:
        return
    _, first_record = first
    records = itertools.chain([first], records)

    if wikipedia.is_dump(first_record):
        texts = _dump_texts(path, wikipedia.articles(records), text_field)
        documents = map(wikipedia.document, texts)
    elif amazon.is_review(first_record):
        texts = _dump_texts(path, records, amazon.text_field_of(first_record, text_field))
        documents = map(amazon.document, texts)
    else:
        documents = _texts(path, records, text_field)
    for document in documents:
        document = _clean(document)
        if document:
            yield document


def json_records(path, on_open=None):
    """Yield (line number, dict) for each line of a .jsonl file."""
    for line_number, line in record_lines(path, on_open):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}:{line_number}: invalid JSON ({error}): "
                             "a .jsonl file has one JSON object per line") from None
        if not isinstance(record, dict):
            raise ValueError(f"{path}:{line_number}: a JSON {type(record).__name__}: "
                             "a .jsonl file has one JSON object per line")
        yield line_number, record


def _texts(path, records, text_field):
    """Yield the text of each record; every record must have the field."""
    for line_number, record in records:
        if text_field not in record:
            raise ValueError(f"{path}:{line_number}: no field {text_field!r}; {_fields(record)}")
        text = _text_of(path, line_number, record, text_field)
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:  # JSON can escape a lone surrogate, UTF-8 cannot
            code = ord(text[error.start])
            raise ValueError(f"{path}:{line_number}: character {error.start + 1:,} of field "
                             f"{text_field!r} is \\u{code:04x}, half of a surrogate pair "
                             "(an emoji cut in two?): remove it or add the other half") from None
        yield text


def _dump_texts(path, records, text_field):
    """Yield the text of each record of a public dump.

    The user cannot repair a dump, so records without text are skipped and lone surrogates become
    U+FFFD. But if no record has the field, or none of the first MAX_EMPTY, its name is wrong.
    """
    found = False
    record = {}
    for num_records, (line_number, record) in enumerate(records, start=1):
        found = found or text_field in record
        if not found and num_records == MAX_EMPTY:
            raise ValueError(f"{path}: no field {text_field!r} in its first {num_records:,} "
                             f"records; {_fields(record)}")
        text = _text_of(path, line_number, record, text_field)
        yield text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if not found:
        raise ValueError(f"{path}: no field {text_field!r} in any record; {_fields(record)}")


def _text_of(path, line_number, record, text_field):
    text = record.get(text_field)
    if text is None:
        return ""
    if not isinstance(text, str):
        raise ValueError(f"{path}:{line_number}: the field {text_field!r} is not a string but "
                         f"{type(text).__name__}; {_fields(record)}")
    return text


# ------------------------------------------------------------------------------ .csv, .tsv


def table_documents(path, text_field, extension, on_open=None):
    """Yield the text column of each row of a .csv or .tsv file; empty texts are skipped."""
    if extension == ".tsv":
        # A .tsv has no quoting, so that a lone quote mark does not swallow the lines after it.
        lines = (line for _, line in record_lines(path, on_open))
        rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE, strict=True)
    else:
        # A quoted field of a .csv may contain commas and line ends.
        chunks = enumerate(raw_lines(path, MAX_RECORD, on_open), start=1)
        rows = csv.reader((decode(path, raw, i) for i, raw in chunks), strict=True)

    columns = None
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


def _normalize_line_ends(text):
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _clean(text):
    return _normalize_line_ends(text).strip()


def _fields(names):
    return (f"there are: {', '.join(map(str, names)) or 'none'}. "
            "Name one with text_field (--text-field)")


# ------------------------------------------------------------------------------ files -> lines


def record_lines(path, on_open=None):
    """Yield (line number, line) of a file with one record per line; skip blank lines."""
    for line_number, raw in enumerate(raw_lines(path, MAX_RECORD, on_open), start=1):
        if len(raw) >= MAX_RECORD:
            raise ValueError(f"{path}:{line_number}: a line of over {MAX_RECORD >> 20} MiB: "
                             "one document per line is expected")
        line = decode(path, raw, line_number)
        if line.strip():
            yield line_number, line


def raw_lines(path, limit, on_open=None):
    """Yield a file's decompressed lines as bytes with their ends, in pieces of ``limit`` bytes.

    If the file is only the first part of another one (``compression.is_partial``), an
    incomplete last line is skipped.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    partial = is_partial(path)
    try:
        with open(path, "rb") as raw, decompressed(raw, path) as file:
            if on_open:
                on_open(raw)
            line = file.readline(limit)
            if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                raise ValueError(f"{path} is UTF-16 text: convert it to UTF-8 "
                                 "(iconv -f UTF-16 -t UTF-8)")
            line = line.removeprefix(codecs.BOM_UTF8)
            while line:
                is_incomplete = len(line) < limit and not line.endswith(b"\n")
                if partial and is_incomplete:
                    return
                yield line
                line = file.readline(limit)
    except (EOFError, zlib.error, OSError) as error:
        # A partial compressed file ends with EOFError; everything else is damage.
        if not (partial and isinstance(error, EOFError)):
            raise (compression_error(path, error) or error) from None


def decode(path, raw, line_number):
    """Decode a line from UTF-8, or raise ValueError with path and line number."""
    if b"\0" in raw:
        raise ValueError(f"{path}:{line_number}: a NUL byte at byte {raw.index(0) + 1:,} of the "
                         "line: this is a binary file, not text; convert it to UTF-8 text first")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}:{line_number}: byte {error.start + 1:,} of the line is "
                         f"0x{raw[error.start]:02x}, which is not UTF-8: convert the file "
                         "(iconv -f ISO-8859-1 -t UTF-8)") from None
