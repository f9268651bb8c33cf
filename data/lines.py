"""Read the lines of a file: decompressed, decoded from UTF-8, in bounded memory."""
import codecs
import os
import re
import zlib
from dataclasses import dataclass, field
from functools import partial

from data.corpus_files import check_regular_file, some_of
from data.sources.compression import compression_error, decompressed, is_partial
from tokenizer.utils.terminal import plural

MAX_BYTES = 1 << 28  # of a line in any format; a longer line is an error, before memory runs out
MAX_EXPANSION = 100  # of a compressed file of over a MiB: text shrinks to a third or a tenth

ENCODING_ERRORS = ("strict", "replace")
ENCODING_ERRORS_HELP = ("strict: bytes that are not UTF-8 are an error; replace: they are read as "
                        "U+FFFD and counted")


@dataclass
class Replacements:
    """Counts the U+FFFD that are read instead of bytes that are not UTF-8.

    A line counts once, however often its file is read.

    >>> replacements = Replacements()
    >>> for _ in range(2):
    ...     replacements.add("a.txt", line_number=1, num_characters=3)
    >>> str(replacements)
    '3 characters of invalid UTF-8, in 1 file (a.txt)'
    """

    num_characters: int = 0
    last_lines: dict = field(default_factory=dict)  # path -> number of the last line with some

    @classmethod
    def of(cls, encoding_errors):
        """Return a new counter for "replace", None for "strict"."""
        if encoding_errors not in ENCODING_ERRORS:
            raise ValueError(f"encoding_errors is {encoding_errors!r}: choose strict or replace")
        return cls() if encoding_errors == "replace" else None

    def add(self, path, line_number, num_characters):
        if line_number > self.last_lines.get(path, 0):
            self.last_lines[path] = line_number
            self.num_characters += num_characters

    def __bool__(self):
        return self.num_characters > 0

    def __str__(self):
        return (f"{plural(self.num_characters, 'character')} of invalid UTF-8, in "
                f"{plural(len(self.last_lines), 'file')} ({some_of([*self.last_lines])})")


def record_lines(path, on_open=None, replacements=None):
    """Yield (line number, line) of a file with one record per line; skip blank lines."""
    for line_number, line in decoded_lines(path, on_open, replacements):
        if line.strip():  # often the last line is blank
            yield line_number, line


def decoded_lines(path, on_open=None, replacements=None):
    """Yield (line number, line with its end) of a file, decompressed and decoded.

    If the file is only the first part of another one (``compression.is_partial``), an
    incomplete last line is skipped. Bytes that are not UTF-8 are an error, or counted in
    ``replacements``.
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
                yield line_number, _decode(path, line, line_number, is_utf8, replacements)
                is_utf8 = is_utf8 or not line.isascii()
    except (EOFError, zlib.error, OSError) as error:
        # A partial compressed file ends with EOFError; everything else is damage.
        if not (is_part and isinstance(error, EOFError)):
            raise (compression_error(path, error) or error) from None


def _decode(path, raw, line_number, is_utf8, replacements):
    if b"\0" in raw:
        raise ValueError(f"{path}:{line_number}: a NUL byte at byte {raw.index(0) + 1:,} of the "
                         "line: this is a binary file or UTF-16; convert it to UTF-8 text first "
                         "(iconv -f UTF-16 -t UTF-8)")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        if replacements is None:
            raise ValueError(f"{path}:{line_number}: byte {error.start + 1:,} of the line is "
                             f"0x{raw[error.start]:02x}, which is not UTF-8: "
                             f"{_encoding_hint(raw, error, is_utf8)}. --encoding-errors replace "
                             "reads such bytes as U+FFFD") from None
        text = raw.decode("utf-8", "replace")
        num_before = raw.count("\ufffd".encode())  # those that were in the file
        replacements.add(path, line_number, text.count("\ufffd") - num_before)
        return text


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
