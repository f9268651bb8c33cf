"""The token file: a corpus as ids on disk, read through memory maps, so that opening it costs nothing.

A folder with two levels of structure over one long run of ids:

    ids-00000.bin  uint16 (uint32 for vocabularies past 65,536)   the ids of the first documents, end to end; no document lies in two shards
    ids-00001.bin  ...                                             the ids of those after them, and so on: see shards.py
    segments.bin   int64 [num_segments + 1]                        where each segment (a line) starts, counted over all shards
    documents.bin  int64 [num_documents + 1]                       where each document starts in segments.bin
    meta.json      format, version, dtype, counts, bytes of text, vocabulary size, fingerprint of the tokenizer; the CRC-32 of each file, its own too

One preparation serves every kind of training example: lines, documents cut to length, packed blocks, and pairs of
segments. nanoGPT's .bin files, where this comes from, are ids alone: no documents, no tokenizer, no check.
"""
import json
import re
import sys
import zlib
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.token_file.shards import Shards

FORMAT = "minibert token file"
VERSION = 2
CHUNK = 1 << 22  # bytes in memory at once while a file is read to its end; a multiple of 8
LENGTHS_PER_CHUNK = 1 << 20  # runs whose lengths are in memory at once
INDEX = ("segments.bin", "documents.bin")
OURS = re.compile(r"(ids(-\d+)?|segments|documents)\.bin|meta\.json")  # ids.bin: of version 1
COUNTS = ("num_tokens", "num_segments", "num_documents", "num_bytes", "vocab_size")
AGAIN = "prepare it again with python -m data prepare (inside a run: remove this folder, then train.py --resume)"


class TokenFile:
    """A token file opened for reading.

    ``ids`` (num_tokens,), read in slices (``Shards``), ``segments`` (num_segments + 1,), ``documents`` (num_documents + 1,): memory maps.
    ``meta``: the dict of meta.json. Pickles as its path, so data-loader workers map the files anew.

    Raises ValueError where the folder holds no whole token file: missing, truncated, half written or foreign. What is inside the files is
    compared with their checksums by ``verify`` and ``unigram_counts``, which read all of it.

    ``TokenFile("tokens").segment(0) -> array([74, 288, 12], dtype=uint16)``
    """

    def __init__(self, folder):
        if sys.byteorder != "little":
            raise ValueError("token files are little-endian and are read on little-endian machines only")
        self.folder = Path(folder)
        self.meta = _read_meta(self.folder)
        shards, dtype = self.meta["shards"], self.meta["dtype"]
        for shard in shards:
            self._check_size(shard["file"], shard["num_tokens"] * np.dtype(dtype).itemsize)
        self.ids = Shards([self.folder / shard["file"] for shard in shards], [shard["num_tokens"] for shard in shards], dtype)
        self.segments, self.documents = map(self._map_index, INDEX, (self.num_segments + 1, self.num_documents + 1))
        self._check_ends("segments.bin", self.segments, self.num_tokens)
        self._check_ends("documents.bin", self.documents, self.num_segments)

    def _check_size(self, name, expected):
        path = self.folder / name
        found = path.stat().st_size if path.is_file() else None
        if found != expected:
            size = "is missing" if found is None else f"has {found:,} bytes"
            raise ValueError(f"{path} {size}, meta.json promises {expected:,}: the token file is damaged; {AGAIN}")

    def _map_index(self, name, length):
        self._check_size(name, 8 * length)
        return np.memmap(self.folder / name, dtype="int64", mode="r", shape=(length,))

    def _check_ends(self, name, starts, last):
        if starts[0] != 0 or starts[-1] != last:
            raise ValueError(f"{self.folder / name} runs from {starts[0]:,} to {starts[-1]:,}, meta.json says "
                             f"0 to {last:,}: the token file is damaged; {AGAIN}")

    def __reduce__(self):
        return TokenFile, (str(self.folder),)

    def __repr__(self):
        return (f"TokenFile({str(self.folder)!r}: {self.num_documents:,} documents, {self.num_segments:,} segments, "
                f"{self.num_tokens:,} tokens)")

    num_tokens = property(lambda self: self.meta["num_tokens"], doc="Ids in the file.")
    num_segments = property(lambda self: self.meta["num_segments"], doc="Segments: the lines of the documents.")
    num_documents = property(lambda self: self.meta["num_documents"], doc="Documents.")
    num_bytes = property(lambda self: self.meta["num_bytes"], doc="Bytes of the text: UTF-8, 1 for each line end.")
    vocab_size = property(lambda self: self.meta["vocab_size"], doc="Size of the tokenizer that made the ids.")
    tokenizer_fingerprint = property(lambda self: self.meta["tokenizer_fingerprint"], doc="Which tokenizer that was.")

    def segment(self, i):
        """The ids of segment ``i``: a 1-D view into the map, nothing copied. Negative ``i`` counts from the end.

        Raises IndexError past the last segment.
        """
        if not -self.num_segments <= i < self.num_segments:
            raise IndexError(f"segment {i:,} of {self.num_segments:,}")
        i %= self.num_segments
        return self.ids[self.segments[i]:self.segments[i + 1]]

    def unigram_counts(self, vocab_size=None, show_progress=True):
        """How often each id occurs: int64 (vocab_size,); by default the vocabulary size that the file states.

        The same pass checks the contents: ValueError where a file is damaged (see ``verify``), or an id lies past ``vocab_size``.

        ids [3, 1, 1], ``unigram_counts(4) -> [0, 2, 0, 1]``
        """
        vocab_size = self.vocab_size if vocab_size is None else vocab_size
        counts = np.zeros(vocab_size, dtype=np.int64)
        for name, data in self._read_all(show_progress):
            if name not in INDEX:
                ids = np.frombuffer(data, self.meta["dtype"])
                try:
                    check_ids(ids, vocab_size, self.folder / name)
                except ValueError:
                    self.verify(show_progress)  # a damaged file holds such ids, too: then that is what to say
                    raise
                counts += np.bincount(ids, minlength=vocab_size)
        return counts

    def verify(self, show_progress=True):
        """Read every file and compare it with its checksum. ValueError names the first that differs. Returns how many files there are.

        ``TokenFile("tokens").verify() -> 4``: one shard, two of the index, meta.json (which opening has compared)
        """
        return len({name for name, _ in self._read_all(show_progress)}) + 1

    def _read_all(self, show_progress):
        """Yield (name, bytes) of the shards and the index, CHUNK bytes at a time; ValueError at the end of a file that is not as it was written."""
        # Read, not mapped: pages of a map would count as this process's memory, the whole corpus in the end.
        files = [*self.meta["shards"], *self.meta["index"]]
        size = sum((self.folder / file["file"]).stat().st_size for file in files)
        with tqdm(total=size, desc="check", unit="B", unit_scale=True, delay=2, leave=False, disable=not show_progress) as bar:
            for file in files:
                found = 0
                with open(self.folder / file["file"], "rb") as source:
                    while data := source.read(CHUNK):
                        yield file["file"], data
                        found = zlib.crc32(data, found)
                        bar.update(len(data))
                refuse_other(self.folder / file["file"], f"{found:08x}", file["crc32"])


def iter_lengths(starts):
    """Yield (number of the first, lengths) of runs that begin at ``starts`` (runs + 1,), a million at a time: an index may be larger than memory.

    >>> list(iter_lengths(np.array([0, 2, 5])))
    [(0, array([2, 3]))]
    """
    for first in range(0, len(starts) - 1, LENGTHS_PER_CHUNK):
        yield first, np.diff(np.asarray(starts[first:first + LENGTHS_PER_CHUNK + 1]))


def entropy(counts):
    """Entropy, in nats, of the frequencies that ``counts`` (an array of int) gives: the loss of a model that ignores context.

    [1, 1] -> ln 2 = 0.693
    """
    share = counts[counts > 0] / counts.sum()
    return abs(float(-(share * np.log(share)).sum()))  # abs: -0.0 reads badly


def _read_meta(folder):
    path = folder / "meta.json"
    if not folder.is_dir():
        split = f" --split {folder.name}" if folder.name in ("train", "eval") else ""  # all of a text in train/ would hold what eval/ asks
        raise ValueError(f"{folder}: no such folder; make a token file there with python -m data prepare{split} --out {folder}")
    if not path.is_file():
        raise ValueError(f"{path} is missing: {folder} is no token file, or was copied in part; {AGAIN}")
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON ({error}): the token file is damaged; {AGAIN}") from None
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        found = meta.get("format") if isinstance(meta, dict) else meta
        raise ValueError(f"{path} has format {found!r}, not {FORMAT!r}: {folder} is no token file; {AGAIN}")
    if meta.get("version") != VERSION:
        raise ValueError(f"{path} has version {meta.get('version')!r}, this program reads {VERSION}; {AGAIN}")
    refuse_other(path, with_checksum(meta)["crc32"], meta.get("crc32"))
    return meta


def with_checksum(meta):
    """A dict with the checksum of all else in it: what is read back and differs from ``with_checksum`` of itself is damaged.

    >>> with_checksum({"num_tokens": 5})
    {'num_tokens': 5, 'crc32': 'a0b5e0a2'}
    """
    rest = {name: value for name, value in meta.items() if name != "crc32"}
    return {**rest, "crc32": f"{zlib.crc32(json.dumps(rest, sort_keys=True).encode()):08x}"}


def refuse_other(path, found, promised):
    if found != promised:
        raise ValueError(f"{path} is damaged: its checksum is {found}, meta.json says {promised}; {AGAIN}")


def check_ids(ids, vocab_size, where):
    if len(ids) and (ids.max() >= vocab_size or ids.min() < 0):
        wrong = ids.max() if ids.max() >= vocab_size else ids.min()
        raise ValueError(f"{where} holds the id {wrong:,}, the vocabulary has {vocab_size:,} ids: "
                         "this is another tokenizer's token file; prepare it again with the tokenizer in use")


def refuse_foreign(folder):
    """Replacing a folder deletes what is in it, so replace nothing that is not ours."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: choose a folder that is new, empty or an older token file")
    if folder.is_dir() and any(folder.iterdir()):
        try:
            _read_meta(folder)
        except ValueError:
            if not all(OURS.fullmatch(path.name) for path in folder.iterdir()):  # a damaged one of ours may go
                raise ValueError(f"{folder} holds something else than a token file: choose a new or empty folder") from None
