"""Read documents from files: .txt, .jsonl, .csv and .tsv, each also .gz or .bz2.

    .txt          a document is a run of lines between blank lines (as in Google's BERT code)
    .jsonl .json  a document is one field of a JSON object; there is one object per line, or a
                  .json file is an array of objects
    .csv .tsv     a document is one column of a row; the first row has the column names

Files are streamed, so memory does not grow with their size. Two public data sets are recognized
by their first line, and their texts are split into sentences, one per line: Wikipedia's dump
(sources/wikipedia.py) and Amazon's reviews (sources/amazon.py).

This module only reads, and ``lines`` decodes. ``corpus_files`` selects the files of a corpus, and
``corpora`` splits its documents into training and validation.
"""
import csv
import itertools
import json
import sys
from collections import deque
from pathlib import Path

from data.corpus_files import format_of
from data.lines import MAX_BYTES, decoded_lines
from data.sources import amazon, wikipedia
from data.sources.gutenberg import strip_boilerplate
from tokenizer.utils.terminal import plural

MAX_DOCUMENT = 1_000_000  # characters; a longer document in a .txt is cut between two lines
MAX_LINE = 1_000_000  # characters; a longer line of a .txt is cut at a space
MAX_MISSING = 1000  # records of a public dump in a row that may lack the text field

csv.field_size_limit(min(sys.maxsize, MAX_BYTES))


def read_documents(path, text_field="text", on_open=None, extension=None, replacements=None):
    r"""Yield the documents of one file as str, with lines separated by "\n" and no blank edges.

    text_field     the field of .jsonl, or the column of .csv and .tsv, that holds the text
    on_open        is called with the opened file as it is on disk (compressed); its ``tell()``
                   says how much has been read
    extension      ".txt" for plain text with another extension
    replacements   a ``Replacements``: what to do with bytes that are not UTF-8 (an error)

    The text must be UTF-8, with or without a byte-order mark.

    Raises OSError, or ValueError with path and line number for a file that is not UTF-8, invalid
    JSON, a missing field, a damaged compressed file or an unknown extension.

    A .txt with ``"One\r\ntwo\n\n\nthree"`` gives ``"One\ntwo"`` and ``"three"``.
    """
    path = Path(path)
    read = READERS[extension or format_of(path)]
    return read(path, decoded_lines(path, on_open, replacements), text_field)


def raise_error(message):
    """What happens to a bad row, unless another function is given: it is an error."""
    raise ValueError(message)


# ------------------------------------------------------------------------------ .txt


def read_text(path, lines, text_field):
    """Yield the documents of a .txt file, which has no fields."""
    # Books from Project Gutenberg have a header and a license, which all have in common.
    return text_documents(strip_boilerplate(text_lines(lines)))


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


def text_lines(lines):
    """Yield ``decoded_lines`` without number and end; a very long line comes in pieces."""
    for _, text in lines:
        for line in text.rstrip("\r\n").split("\r"):  # a lone \r ends a line of old Mac files
            start = 0
            while len(line) - start > MAX_LINE:
                end = line.rfind(" ", start + 1, start + MAX_LINE)
                if end < 0:  # no space: cut inside a word
                    end = start + MAX_LINE
                yield line[start:end]
                start = end
            yield line[start:]


# ------------------------------------------------------------------------------ .jsonl, .json


def json_documents(path, lines, text_field):
    """Yield the documents of a file of JSON objects; empty texts are skipped."""
    records = json_records(path, lines)
    first = next(records, None)
    if first is None:
        return
    records = itertools.chain([first], records)  # put it back
    _, first_record = first
    if wikipedia.is_dump(first_record):
        articles = wikipedia.articles(records)
        yield from documents(path, articles, text_field, wikipedia.document, MAX_MISSING)
    elif amazon.is_review(first_record):
        text_field = amazon.text_field_of(first_record, text_field)
        yield from documents(path, records, text_field, amazon.document, MAX_MISSING)
    else:
        yield from documents(path, records, text_field)


def documents(path, records, text_field, to_document=str, max_missing=0):
    """Yield the text field of each record; empty texts are skipped.

    records       (line number, {field: text}) of each
    max_missing   records in a row that may lack the field. The user cannot repair a dump; if many
                  of its records lack the field, its name is wrong.
    """
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


def json_records(path, lines, on_bad_row=raise_error):
    """Yield (line number, dict) for each line, or ("item 1", dict) for each item of an array.

    Only a .json file may be an array. on_bad_row is called with a message for a line or an item
    that is no JSON object.
    """
    lines = ((number, line) for number, line in lines if line.strip())
    first = next(lines, None)
    if first is None:
        return
    lines = itertools.chain([first], lines)
    is_array = format_of(path) == ".json" and first[1].lstrip().startswith("[")
    values = _array_items(path, lines) if is_array else _line_values(path, lines, on_bad_row)
    for number, value in values:
        if isinstance(value, dict):
            yield number, value
        else:
            on_bad_row(f"{path}:{number}: a JSON {type(value).__name__} instead of an object")


def _line_values(path, lines, on_bad_row):
    for line_number, line in lines:
        try:
            yield line_number, json.loads(line)
        except (ValueError, RecursionError) as error:
            on_bad_row(f"{path}:{line_number}: invalid JSON ({error}): "
                       "a .jsonl file has one JSON object per line")


def _array_items(path, lines):
    items = json_value(path, lines)
    for number, item in enumerate(items, start=1):
        yield f"item {number}", item


def json_value(path, lines):
    """Return the value of a file that is one JSON value. ValueError names the line of a mistake.

    lines: (line number, line) of the file; blank ones may be missing
    """
    parts = []
    numbers = []
    size = 0
    for number, line in lines:
        parts.append(line)
        numbers.append(number)
        size += len(line)
        if size > MAX_BYTES:  # before the memory is full
            raise ValueError(f"{path}: a JSON value of over {MAX_BYTES >> 20} MiB: write one "
                             "object per line, as .jsonl")
    try:
        return json.loads("".join(parts))
    except json.JSONDecodeError as error:
        line_number = numbers[min(error.lineno, len(numbers)) - 1] if numbers else 1
        raise ValueError(f"{path}:{line_number}: invalid JSON ({error.msg}, column "
                         f"{error.colno})") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: invalid JSON ({error})") from None


# ------------------------------------------------------------------------------ .csv, .tsv


def table_documents(path, lines, text_field):
    """Yield the documents of a .csv or .tsv file; empty texts are skipped."""
    return documents(path, table_records(path, lines, [text_field]), text_field)


def table_records(path, lines, needed, columns=(), on_bad_row=raise_error):
    """Yield (line number, {column: str}) of each row.

    needed       names that must not be repeated
    columns      the names of all columns; if there are none, the first row has them
    on_bad_row   is called with a message for a row that cannot be read, or of another length
    """
    def check(columns, location):
        if any(columns.count(name) > 1 for name in needed):
            raise ValueError(f"{location}: a column name is repeated: rename one")

    check(columns, f"the columns of {path}")
    is_csv = format_of(path) == ".csv"
    for line_number, row in csv_rows(path, lines, on_bad_row) if is_csv else tsv_rows(lines):
        if not columns:
            columns = [name.strip() for name in row]
            check(columns, f"{path}:{line_number}")
        elif len(row) != len(columns):
            on_bad_row(f"{path}:{line_number}: {plural(len(row), 'field')} in this row, but "
                       f"{plural(len(columns), 'column name')}: is a separator or quotation mark "
                       "missing or extra?")
        else:
            yield line_number, dict(zip(columns, row))


def tsv_rows(lines):
    """Yield (line number, fields) of each row of a .tsv file; skip blank lines.

    There is no quoting, so that a lone quote mark does not swallow the lines after it.
    """
    for line_number, line in lines:
        if line.strip():
            yield line_number, line.rstrip("\r\n").split("\t")


def csv_rows(path, lines, on_bad_row):
    """Yield (number of its last line, fields) of each row of a .csv file; skip blank lines.

    A quoted field may contain commas and line ends. on_bad_row is called with a message for a row
    that cannot be read, such as one whose quote mark never closes. If it returns, reading
    continues in the line after the one where that row starts.
    """
    row_lines = []  # (line number, line) of the row that is being read
    unread_lines = deque()  # those after the start of a bad row

    def next_lines():
        while line := unread_lines.popleft() if unread_lines else next(lines, None):
            row_lines.append(line)
            yield line[1]

    rows = csv.reader(next_lines(), strict=True)
    while True:
        row_lines.clear()
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            first_line = row_lines[0][0]
            on_bad_row(f"{path}:{first_line}: the row that starts here cannot be read: is its "
                       f"quotation mark never closed? ({error})")
            unread_lines.extendleft(reversed(row_lines[1:]))
            rows = csv.reader(next_lines(), strict=True)
            continue
        if row:
            yield row_lines[-1][0], row


READERS = {  # extension -> function (path, lines, text_field) that yields documents
    ".txt": read_text,
    ".jsonl": json_documents,
    ".json": json_documents,  # the older dumps of Amazon and Wikipedia, and arrays
    ".csv": table_documents,
    ".tsv": table_documents,
}


# ------------------------------------------------------------------------------ helpers


def _clean(text):
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def _fields(names):
    return (f"there are: {', '.join(map(str, names)) or 'none'}. "
            "Name one with text_field (--text-field)")
