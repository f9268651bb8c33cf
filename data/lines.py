"""Read the lines of a file: decompressed, decoded from UTF-8, in bounded memory."""
import codecs
import zlib
from dataclasses import dataclass, field
from functools import partial

from data.corpus_files import check_regular_file, first_few
from data.sources.compression import compression_error, decompressed, is_partial
from tokenizer.utils.terminal import plural

MAX_BYTES = 1 << 28  # of a line in any format; a longer line is an error, before memory runs out

CONVERT = "Convert it: iconv -f {} -t UTF-8 FILE > NEW_FILE"

ENCODING_ERRORS = ("strict", "replace")
ENCODING_ERRORS_HELP = ("strict: bytes that are not UTF-8 are an error; replace: they are read as "
                        "U+FFFD and counted")


@dataclass
class Replacements:
    """What to do with bytes that are not UTF-8, and a count of the U+FFFD that replace them.

    A line counts once, however often its file is read.

    >>> replacements = Replacements("replace")
    >>> for _ in range(2):
    ...     replacements.add("a.txt", line_number=1, num_characters=3)
    >>> str(replacements)
    '3 characters of invalid UTF-8, in 1 file (a.txt)'
    """

    encoding_errors: str = "strict"  # one of ENCODING_ERRORS
    num_characters: int = 0
    last_lines: dict = field(default_factory=dict)  # path -> number of the last line with one

    def __post_init__(self):
        if self.encoding_errors not in ENCODING_ERRORS:
            raise ValueError(f"encoding_errors is {self.encoding_errors!r}: choose strict or "
                             "replace")

    def add(self, path, line_number, num_characters):
        if line_number > self.last_lines.get(path, 0):
            self.last_lines[path] = line_number
            self.num_characters += num_characters

    def __str__(self):
        """Return what was replaced, "" if nothing was."""
        if not self.num_characters:
            return ""
        return (f"{plural(self.num_characters, 'character')} of invalid UTF-8, in "
                f"{plural(len(self.last_lines), 'file')} ({first_few([*self.last_lines])})")


def decoded_lines(path, on_open=None, replacements=None):
    """Yield (line number, line with its end) of a file, decompressed and decoded.

    If the file is only the first part of another one (``compression.is_partial``), an
    incomplete last line is skipped. ``replacements`` says what to do with bytes that are not
    UTF-8; None: they are an error, and the command has no flag to change that.
    """
    check_regular_file(path)
    is_part = is_partial(path)
    try:
        with open(path, "rb") as raw, decompressed(raw, path) as file:
            if on_open:
                on_open(raw)
            lines = iter(partial(file.readline, MAX_BYTES), b"")  # readline gives b"" at the end
            # Bytes, not text: the message of a decoding error can then name the line.
            for line_number, line in enumerate(lines, start=1):
                if line_number == 1:
                    line = line.removeprefix(codecs.BOM_UTF8)
                if len(line) >= MAX_BYTES:
                    raise ValueError(f"{path}:{line_number}: a line of over {MAX_BYTES >> 20} MiB")
                if is_part and not line.endswith(b"\n"):
                    return
                yield line_number, _decode(path, line, line_number, replacements)
    except (EOFError, zlib.error, OSError) as error:
        # A partial compressed file ends with EOFError; everything else is damage.
        if not (is_part and isinstance(error, EOFError)):
            raise (compression_error(path, error) or error) from None


def _decode(path, raw, line_number, replacements):
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError(f"{path}: this is UTF-16. {CONVERT.format('UTF-16')}")
    if b"\0" in raw:
        raise ValueError(f"{path}:{line_number}: a NUL byte at byte {raw.index(0) + 1:,} of the "
                         "line: this is a binary file, or UTF-16 without a byte-order mark")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        if replacements is None or replacements.encoding_errors == "strict":
            lines = [f"{path}:{line_number}: the text is not UTF-8: byte {error.start + 1:,} of "
                     f"the line is 0x{raw[error.start]:02x}."]
            if error.reason == "unexpected end of data":
                lines[0] += " The file may be cut in the middle of a character: copy it again."
            lines.append(CONVERT.format("ITS_ENCODING"))
            if replacements is not None:
                lines.append("Or add --encoding-errors replace: such bytes are read as U+FFFD")
            raise ValueError("\n".join(lines)) from None
        text = raw.decode("utf-8", "replace")
        num_before = raw.count("\ufffd".encode())  # those that were in the file
        replacements.add(path, line_number, text.count("\ufffd") - num_before)
        return text
