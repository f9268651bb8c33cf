"""Compressed files (.gz, .bz2), complete or partial, and their checksums.

The first 50 MB of a 40 GB dump are enough for a laptop. Both formats can be decompressed from the
front, so a partial file is read up to its last complete line. Its name says that it is partial:

    simplewiki_content-20260927-00000.first-50MB.json.bz2       the first 50 MB (--megabytes 50)

A file with any other name that ends too early is an error, so half a corpus is never taken for
all of it.
"""
import bz2
import gzip
import os
import re
import zlib
from pathlib import Path

from tqdm import tqdm

CHUNK = 1 << 20  # bytes
FIRST_MEGABYTES = re.compile(r"\.first-(\d+)MB(?=\.)")


def compression_suffix(path):
    """``"a.jsonl.gz" -> ".gz"``, ``"a.json.bz2.part" -> ".bz2"``, ``"a.txt" -> ""``"""
    suffix = Path(str(path).removesuffix(".part")).suffix.lower()  # .part: see download
    return suffix if suffix in (".gz", ".bz2") else ""


def is_partial(path):
    """Return whether the name of a file says that it is the first part of another.

    >>> is_partial("a.first-50MB.jsonl.gz"), is_partial("a.jsonl.gz")
    (True, False)
    """
    return bool(FIRST_MEGABYTES.search(Path(path).name))


def partial_path(path, megabytes):
    """Return the path for the first megabytes of a file.

    >>> partial_path("amazon/Books.jsonl.gz", 50).name
    'Books.first-50MB.jsonl.gz'
    """
    path = Path(path)
    stem, dot, extensions = path.name.partition(".")
    return path.with_name(f"{stem}.first-{megabytes}MB{dot}{extensions}")


def longest(paths):
    """Return the paths, sorted; of a file with partial versions only the longest.

    >>> [path.name for path in longest(["a.first-9MB.gz", "a.first-50MB.gz", "b.gz"])]
    ['a.first-50MB.gz', 'b.gz']
    """
    best = {}
    for path in sorted(map(Path, paths), key=_megabytes):
        best[FIRST_MEGABYTES.sub("", path.name)] = path  # a longer file replaces a shorter one
    return [best[name] for name in sorted(best)]


def _megabytes(path):
    match = FIRST_MEGABYTES.search(path.name)
    return int(match[1]) if match else float("inf")


def decompressed(raw, path):
    """Return a binary file with the decompressed content. raw: the open file at ``path``."""
    suffix = compression_suffix(path)
    if suffix == ".gz":
        return gzip.open(raw, "rb")
    if suffix == ".bz2":
        return bz2.open(raw, "rb")
    return raw


def compression_error(path, error):
    """Return the ValueError for a damaged file, from the error that reading it raised.

    Returns None if the file is not to blame (a failing disk).
    """
    kind = compression_suffix(path)[1:]
    if isinstance(error, EOFError):
        return ValueError(f"{path}: the {kind} file is cut off ({error}): "
                          "copy or download it again")
    # gzip and bz2 raise an OSError without errno; errors of the operating system have one.
    if isinstance(error, zlib.error) or isinstance(error, OSError) and error.errno is None:
        return ValueError(f"{path}: the {kind} file is damaged ({error}): "
                          "copy or download it again")
    return None


def check_compressed(path, is_complete, show_progress=True):
    """Raise ValueError unless a file can be decompressed and its checksums are right.

    A partial file (is_complete=False) may end anywhere.
    """
    bar = tqdm(total=os.path.getsize(path), unit="B", unit_scale=True, desc="checking",
               disable=not show_progress)
    with open(path, "rb") as raw, decompressed(raw, path) as file, bar:
        try:
            while file.read(CHUNK):
                bar.update(raw.tell() - bar.n)
        except (EOFError, zlib.error, OSError) as error:
            if is_complete or not isinstance(error, EOFError):
                raise (compression_error(path, error) or error) from None
