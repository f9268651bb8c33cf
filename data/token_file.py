"""The token file: a corpus as ids on disk, read through memory maps, so that opening it costs nothing.

A folder with two levels of structure over one long run of ids:

    ids.bin        uint16 (uint32 for vocabularies past 65,536)   every id, end to end
    segments.bin   int64 [num_segments + 1]                        where each segment (a line) starts in ids.bin
    documents.bin  int64 [num_documents + 1]                       where each document starts in segments.bin
    meta.json      format, version, dtype, counts, bytes of text, vocabulary size, fingerprint of the tokenizer

One preparation serves every kind of training example: lines, documents cut to length, packed blocks, and pairs of
segments. nanoGPT's .bin files, where this comes from, are ids.bin alone: no documents, no tokenizer, no check.
"""
import json
import sys
from pathlib import Path

import numpy as np

FORMAT = "minibert token file"
VERSION = 1
CHUNK = 1 << 22  # ids in memory at once during a scan
FILES = ("ids.bin", "segments.bin", "documents.bin")
COUNTS = ("num_tokens", "num_segments", "num_documents", "num_bytes", "vocab_size")
AGAIN = "prepare it again with python -m data prepare (inside a run: remove this folder, then train.py --resume)"


class TokenFile:
    """A token file opened for reading.

    ``ids`` (num_tokens,), ``segments`` (num_segments + 1,), ``documents`` (num_documents + 1,): memory maps.
    ``meta``: the dict of meta.json. Pickles as its path, so data-loader workers map the file anew.

    Raises ValueError where the folder holds no whole token file: missing, truncated, half written or foreign.

    ``TokenFile("tokens").segment(0) -> array([74, 288, 12], dtype=uint16)``
    """

    def __init__(self, folder):
        if sys.byteorder != "little":
            raise ValueError("token files are little-endian and are read on little-endian machines only")
        self.folder = Path(folder)
        self.meta = _read_meta(self.folder)
        self.ids = self._map("ids.bin", self.meta["dtype"], self.num_tokens)
        self.segments = self._map("segments.bin", "int64", self.num_segments + 1)
        self.documents = self._map("documents.bin", "int64", self.num_documents + 1)
        self._check_ends("segments.bin", self.segments, self.num_tokens)
        self._check_ends("documents.bin", self.documents, self.num_segments)

    def _map(self, name, dtype, length):
        path = self.folder / name
        expected = length * np.dtype(dtype).itemsize
        found = path.stat().st_size if path.is_file() else None
        if found != expected:
            size = "is missing" if found is None else f"has {found:,} bytes"
            raise ValueError(f"{path} {size}, meta.json promises {expected:,}: the token file is damaged; {AGAIN}")
        return np.memmap(path, dtype=dtype, mode="r", shape=(length,))

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

    def unigram_counts(self, vocab_size=None):
        """How often each id occurs: int64 (vocab_size,); by default the vocabulary size that the file states.

        This scan is also the one check of the contents: ValueError where an id lies past ``vocab_size``, or starts run backwards.

        ids [3, 1, 1], ``unigram_counts(4) -> [0, 2, 0, 1]``
        """
        for name, starts in (("segments.bin", self.segments), ("documents.bin", self.documents)):
            if (np.diff(starts) < 0).any():
                raise ValueError(f"{self.folder / name} has starts that run backwards: the token file is damaged; {AGAIN}")
        vocab_size = self.vocab_size if vocab_size is None else vocab_size
        counts = np.zeros(vocab_size, dtype=np.int64)
        for start in range(0, self.num_tokens, CHUNK):
            chunk = np.asarray(self.ids[start:start + CHUNK])
            check_ids(chunk, vocab_size, self.folder / "ids.bin")
            counts += np.bincount(chunk, minlength=vocab_size)
        return counts


def entropy(counts):
    """Entropy, in nats, of the frequencies that ``counts`` (an array of int) gives: the loss of a model that ignores context.

    [1, 1] -> ln 2 = 0.693
    """
    share = counts[counts > 0] / counts.sum()
    return abs(float(-(share * np.log(share)).sum()))  # abs: -0.0 reads badly


def _read_meta(folder):
    path = folder / "meta.json"
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; make a token file there with python -m data prepare --out {folder}")
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
    wrong = [name for name in COUNTS if type(meta.get(name)) is not int or meta[name] < 1]
    if wrong or meta.get("dtype") not in ("uint16", "uint32") or not isinstance(meta.get("tokenizer_fingerprint"), str):
        raise ValueError(f"{path}: {wrong[0] if wrong else 'dtype or tokenizer_fingerprint'} is missing or wrong; {AGAIN}")
    return meta


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
            if not {path.name for path in folder.iterdir()} <= {*FILES, "meta.json"}:  # a damaged one of ours may go
                raise ValueError(f"{folder} holds something else than a token file: choose a new or empty folder") from None
