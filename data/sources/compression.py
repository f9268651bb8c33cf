"""Packed files (.gz, .bz2): read as lines, also where only their beginning is there; checked against their own checksums.

A dump of 40 GB is of use long before it is all there, and its first 50 MB are enough for a laptop. Both kinds of packing
unpack from the front, so a beginning is read up to its last whole line. What is a beginning says its name,

    simplewiki_content-20260927-00000.first-50MB.json.bz2       asked for with --megabytes
    simplewiki_content-20260927-00000.json.bz2.part             a download under way, or one that broke off

and any other file that ends too early is an error: nobody trains on half a corpus without knowing it.
"""
import bz2
import gzip
import os
import re
import zlib
from pathlib import Path

from tqdm import tqdm

CHUNK = 1 << 20
FIRST = re.compile(r"\.first-(\d+)MB(?=\.)")


def compression_suffix(path):
    """``"a.jsonl.gz" -> ".gz"``, ``"a.json.bz2.part" -> ".bz2"``, ``"a.txt" -> ""``"""
    suffix = Path(without_part_suffix(path)).suffix.lower()
    return suffix if suffix in (".gz", ".bz2") else ""


def without_part_suffix(path):
    """``"a.jsonl.gz.part" -> "a.jsonl.gz"``"""
    return str(path).removesuffix(".part")


def is_partial(path):
    """Whether a file's name says that it is the beginning of another.

    >>> is_partial("a.first-50MB.jsonl.gz"), is_partial("a.jsonl.gz.part"), is_partial("a.jsonl.gz")
    (True, True, False)
    """
    return str(path).endswith(".part") or bool(FIRST.search(Path(path).name))


def partial_path(path, megabytes):
    """The name for the first megabytes of a file.

    >>> partial_path("amazon/Books.jsonl.gz", 50).name
    'Books.first-50MB.jsonl.gz'
    """
    path = Path(path)
    stem, dot, extensions = path.name.partition(".")
    return path.with_name(f"{stem}.first-{megabytes}MB{dot}{extensions}")


def longest(files):
    """Of each file that is there in several lengths the longest, in sorted order.

    >>> [path.name for path in longest(["a.first-9MB.jsonl.gz", "a.first-50MB.jsonl.gz", "b.jsonl.gz", "b.first-5MB.jsonl.gz"])]
    ['a.first-50MB.jsonl.gz', 'b.jsonl.gz']
    """
    best = {}
    for file in map(Path, files):
        size = FIRST.search(file.name)
        rank = int(size[1]) if size else float("inf")
        best[FIRST.sub("", file.name)] = max(best.get(FIRST.sub("", file.name), (-1, file)), (rank, file))
    return [file for _, (_, file) in sorted(best.items())]


def decompressed(raw, path):
    """What is packed in a file, for reading bytes. raw: the file at ``path`` as it lies on disk, opened.

    What is damaged is noticed when it is read: see ``damage``.
    """
    return {".gz": gzip.open, ".bz2": bz2.open, "": lambda raw, mode: raw}[compression_suffix(path)](raw, "rb")


def compression_error(path, error):
    """The ValueError for what reading a packed file raised; None where the error is another one (a failing disk)."""
    if isinstance(error, EOFError):
        return ValueError(f"{path}: the {compression_suffix(path)[1:]} file is cut off ({error}): copy or download it again; "
                          "with .part behind its name it is read as far as it goes")
    if isinstance(error, zlib.error) or isinstance(error, OSError) and error.errno is None:  # the system's own errors have a number
        return ValueError(f"{path}: the {compression_suffix(path)[1:]} file is damaged ({error}): copy or download it again")
    return None


def check_compressed(path, whole, show_progress=True):
    """ValueError unless a packed file unpacks to its end with the right checksums (gzip: one CRC-32 a file, bzip2: one a block).

    whole=False: a beginning, which may end anywhere but must have one whole line.
    """
    lines = 0
    with open(path, "rb") as raw, decompressed(raw, path) as file, \
            tqdm(total=os.path.getsize(path), unit="B", unit_scale=True, desc="checking", disable=not show_progress) as bar:
        try:
            while chunk := file.read1(CHUNK):  # read() would lose what comes before an error
                lines += chunk.count(b"\n")
                bar.update(raw.tell() - bar.n)
        except (EOFError, zlib.error, OSError) as error:
            if not isinstance(error, EOFError) or whole:
                raise (compression_error(path, error) or error) from None
    if not lines:
        raise ValueError(f"{path}: there is no whole line in it" + ("" if whole else ": take more of it, --megabytes N"))
