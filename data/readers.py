"""Files -> documents: .txt .jsonl .csv .tsv, each also .gz or .bz2, streamed, so that memory does not grow with the file.

What a document is depends on the format:

    .txt          a run of lines between blank lines (as Google's create_pretraining_data.py has it)
    .jsonl .json  one object a line; the text is in one of its fields. Known by its first line: Wikipedia's dump (wikipedia.py)
                  and Amazon's reviews (amazon.py), whose texts become sentences, one a line
    .csv .tsv     one row; the first row names the columns; the text is in one of them

``corpora`` decides which files a corpus has and which documents are held out; this module only reads.
"""
import codecs
import csv
import itertools
import json
import sys
import zlib
from pathlib import Path

from data.sources import amazon, wikipedia
from data.sources.compression import compression_error, compression_suffix, decompressed, is_partial, without_part_suffix
from data.sources.gutenberg import strip_boilerplate

MAX_DOCUMENT = 1_000_000  # characters; a longer run of lines in a .txt is cut at the end of a line
MAX_LINE = 1_000_000  # bytes; a longer line of a .txt is cut at white space
MAX_RECORD = 1 << 28  # bytes in one line of the other formats; more is no text corpus but a mistake
MAX_EMPTY = 1000  # records without the field of the text, at the beginning of a dump; more is a mistake in the field's name

csv.field_size_limit(min(sys.maxsize, MAX_RECORD))


def read_documents(path, text_field="text", opened=None):
    """Yield the documents of one file as str, each with its lines ended by "\\n" inside and no blank line at its edges.

    ``text_field``: the field of .jsonl, the column of .csv and .tsv that holds the text. UTF-8, with or without a
    byte-order mark; any line ends. Project Gutenberg's header and licence are left out of .txt files that carry its markers. ``opened``: called with
    the file on disk, packed as it is, when it has been opened: its ``tell`` says how much has been read.

    Raises FileNotFoundError; ValueError, with file and line, for an unknown extension, a file that is not UTF-8 text, a
    broken JSON line, a missing field, half of a character, a damaged packed file.

    A .txt with ``"One\\r\\ntwo\\n\\n\\nthree" -> "One\\ntwo", "three"``
    """
    path = Path(path)
    kind = format_of(path)
    if kind == ".txt":
        return text_documents(strip_boilerplate(text_lines(path, opened)))
    if kind in (".jsonl", ".json"):
        return json_documents(path, text_field, opened)
    return table_documents(path, text_field, kind, opened)


def find_files(path):
    """The files to read for ``path``: itself, or, for a folder, every readable file below it in sorted order.

    Raises FileNotFoundError where there is nothing; ValueError where a file's extension is unknown or a folder has
    no file to read, or but a part of a dump (``wikipedia.UNFINISHED``).
    Left out are hidden files, downloads under way, and .json that is not packed: settings, as a rule.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no such file or folder: {path}")
    if not path.is_dir():
        format_of(path)
        return [path]
    inside = [file.relative_to(path) for file in path.rglob("*") if file.is_file()]
    inside = sorted(file.as_posix() for file in inside if not any(part.startswith(".") for part in file.parts))
    begun = next((file for file in inside if wikipedia.UNFINISHED.fullmatch(Path(file).name)), None)
    if begun:
        raise ValueError(f"{path}: the download of a dump into it has not ended: give the same command again, it goes on; "
                         f"to take what is there for the whole, remove {path / begun}")
    files = [path / file for file in inside if _extension(Path(file)) in FORMATS and not file.endswith((".json", ".part"))]
    if not files:
        raise ValueError(f"{path} has no file to read: this reads {KNOWN}")
    return files


FORMATS = (".txt", ".jsonl", ".json", ".csv", ".tsv")
KNOWN = ", ".join(FORMATS) + ", each also with .gz or .bz2"


def format_of(path):
    """``"news.csv.gz" -> ".csv"``; ValueError for an extension that is not known."""
    extension = _extension(Path(path))
    if extension not in FORMATS:
        raise ValueError(f"{path}: unknown extension {extension or '(none)'}: this reads {KNOWN}")
    return extension


def _extension(path):
    path = Path(without_part_suffix(path))
    return (path.with_suffix("") if compression_suffix(path) else path).suffix.lower()


# ------------------------------------------------------------------------------------------------ files -> lines


def text_lines(path, opened=None):
    """Yield the lines of a text file without their ends; lines over MAX_LINE bytes come in pieces."""
    kept = b""
    number = 1
    for raw in raw_lines(path, MAX_LINE, opened):
        raw, whole = kept + raw, raw.endswith(b"\n")
        kept = b""
        if not whole and len(raw) >= MAX_LINE:
            raw, kept = _cut(raw)
        yield from decode(path, raw, number).replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")
        number += whole
    if kept:
        yield decode(path, kept, number)


def _cut(raw):
    """Cut bytes at their last white space, else between two characters. ``b"one two" -> b"one", b" two"``"""
    end = max(raw.rfind(b" "), raw.rfind(b"\t"))
    if end <= 0:
        end = len(raw)
        while end > 1 and raw[end - 1] & 0xC0 == 0x80:  # a continuation byte: go back to where the character begins
            end -= 1
        end = end - 1 if raw[end - 1] >= 0xC0 else len(raw)
    return raw[:end], raw[end:]


def record_lines(path, opened=None):
    """Yield (line number, line) for the formats with one record a line; blank lines are left out."""
    for number, raw in enumerate(raw_lines(path, MAX_RECORD, opened), 1):
        if len(raw) >= MAX_RECORD:
            raise ValueError(f"{path}:{number}: a line of over {MAX_RECORD >> 20} MiB: one document a line is expected")
        line = decode(path, raw, number)
        if line.strip():
            yield number, line


def raw_lines(path, limit, opened=None):
    """Yield a file's lines as bytes with their ends, unpacked, without byte-order mark, at most ``limit`` at once.

    Of a file that is the beginning of another (``packed.is_partial``) the last line is left out where it is not whole.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    cut = is_partial(path)
    try:
        with open(path, "rb") as raw, decompressed(raw, path) as file:
            if opened:
                opened(raw)
            first = file.readline(limit)
            if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                raise ValueError(f"{path} is UTF-16 text: save it as UTF-8 (iconv -f UTF-16 -t UTF-8)")
            line = first.removeprefix(codecs.BOM_UTF8)
            while line and not (cut and len(line) < limit and not line.endswith(b"\n")):
                yield line
                line = file.readline(limit)
    except (EOFError, zlib.error, OSError) as error:
        if not (cut and isinstance(error, EOFError)):
            raise (compression_error(path, error) or error) from None


def decode(path, raw, number):
    """bytes -> str; a file that is no text is refused with the place, not read as rubbish."""
    if b"\0" in raw:
        raise ValueError(f"{path}:{number}: a NUL byte at byte {raw.index(0) + 1:,} of the line: this is a binary file, "
                         "not text; unpack or convert it to UTF-8 text first")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}:{number}: byte {error.start + 1:,} of the line is 0x{raw[error.start]:02x}, which is not UTF-8: "
                         "convert the file (iconv -f ISO-8859-1 -t UTF-8), or give a text file") from None


# ------------------------------------------------------------------------------------------- lines -> documents


def text_documents(lines):
    """Join the lines between blank lines to documents; cut a run that grows past MAX_DOCUMENT characters.

    ``["a", "b", "", "", "c"] -> "a\\nb", "c"``
    """
    document, size = [], 0
    for line in lines:
        if document and (not line.strip() or size + len(line) > MAX_DOCUMENT):
            yield "\n".join(document)
            document, size = [], 0
        if line.strip():
            document.append(line)
            size += len(line) + 1
    if document:
        yield "\n".join(document)


def json_documents(path, text_field, opened=None):
    """Yield the documents of a file of JSON lines: a dump of a known form, or the text field of any objects. Empty texts are left out."""
    records = json_records(path, opened)
    first = next(records, None)
    if first is None:
        return
    records, (_, form) = itertools.chain([first], records), first
    if wikipedia.is_dump(form):
        texts, document = _dump_texts(path, wikipedia.articles(records), text_field), wikipedia.document
    elif amazon.is_review(form):
        texts, document = _dump_texts(path, records, amazon.text_field_of(form, text_field)), amazon.document
    else:
        texts, document = _texts(path, records, text_field), str
    for text in texts:
        yield from _one_document(document(text))


def json_records(path, opened=None):
    """Yield (line number, object as dict) for each line of a .jsonl file; ValueError for a line that is none."""
    for number, line in record_lines(path, opened):
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}:{number}: no JSON object ({error}): .jsonl has one object a line") from None
        except RecursionError:
            raise ValueError(f"{path}:{number}: lists or objects within each other, too deep to be read: leave that field out") from None
        except ValueError:  # the one thing else that Python refuses
            raise ValueError(f"{path}:{number}: a whole number of more than {sys.get_int_max_str_digits():,} digits: "
                             "leave that field out, or write the number as a text") from None
        if not isinstance(record, dict):
            raise ValueError(f"{path}:{number}: a JSON {type(record).__name__}, not an object: .jsonl has one object a line")
        yield number, record


def _texts(path, records, text_field):
    """Yield the text of each record; each must have one, null or empty where there is none."""
    for number, record in records:
        if text_field not in record:
            raise ValueError(f"{path}:{number}: no field {text_field!r}; {_there_is(record)}")
        text = _text_of(path, number, record, text_field)
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:  # JSON can escape what UTF-8 cannot hold
            raise ValueError(f"{path}:{number}: character {error.start + 1:,} of field {text_field!r} is \\u{ord(text[error.start]):04x}, half of "
                             "a character (most often an emoji that was cut in two): write both halves, or leave it out") from None
        yield text


def _dump_texts(path, records, text_field):
    """Yield the text of each record of a public dump, which nobody can be asked to mend: some records have no text, and half
    of a character becomes U+FFFD. ValueError where the first MAX_EMPTY records have no such field."""
    found, record = False, {}
    for empty, (number, record) in enumerate(records, 1):
        found = found or text_field in record
        if not found and empty == MAX_EMPTY:
            raise ValueError(f"{path}: no field {text_field!r} in its first {empty:,} records; {_there_is(record)}")
        yield _text_of(path, number, record, text_field).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if not found:
        raise ValueError(f"{path}: no field {text_field!r} in any record; {_there_is(record)}")


def _text_of(path, number, record, text_field):
    text = record.get(text_field)
    if text is not None and not isinstance(text, str):
        raise ValueError(f"{path}:{number}: the field {text_field!r} holds no text but {type(text).__name__}; {_there_is(record)}")
    return text or ""


def table_documents(path, text_field, kind, opened=None):
    """Yield the text column of each row of a .csv or .tsv file. A .csv field in quotes may hold commas and line ends; a
    .tsv knows no quotes, as is the custom: a lone quote mark there would swallow lines."""
    lines = (line for _, line in record_lines(path, opened)) if kind == ".tsv" else \
        (decode(path, raw, number) for number, raw in enumerate(raw_lines(path, MAX_RECORD, opened), 1))
    rows = csv.reader(lines, strict=True, **(
        {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if kind == ".tsv" else {}))
    columns = column = None
    try:
        for row in rows:
            if not row:
                continue
            if columns is None:
                columns = [name.strip() for name in row]
                if text_field not in columns:
                    raise ValueError(f"{path}:1: no column {text_field!r}; {_there_is(columns)}")
                column = columns.index(text_field)
            elif len(row) != len(columns):
                raise ValueError(f"{path}:{rows.line_num}: {len(row)} fields in this row, {len(columns)} in the first: "
                                 f"a {'tab' if kind == '.tsv' else 'quote mark'} is missing or too many")
            else:
                yield from _one_document(row[column])
    except csv.Error as error:
        raise ValueError(f"{path}:{rows.line_num}: {error}") from None


def _one_document(text):
    text = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    if text:
        yield text


def _there_is(fields):
    names = ", ".join(map(str, fields)) or "none"
    return f"there are: {names}. Name one with text_field (--text-field)"
