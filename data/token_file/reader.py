"""Read a token file: the token ids of a corpus on disk, memory-mapped, so opening it is instant.

A token file is a folder:

    ids-00000.bin  uint16 or uint32             the ids of all documents, one after another;
    ids-00001.bin  ...                          see shards.py
    segments.bin   int64 [num_segments + 1]     where each segment (a line) starts, in ids
    documents.bin  int64 [num_documents + 1]    where each document starts, in segments
    meta.json                                   counts, dtype, vocabulary size, the tokenizer's
                                                fingerprint, and a CRC-32 of every file; see meta.py

For two documents, "ab" + "c" (two lines) and "de", with a tokenizer of characters:

    ids        97 98 99 100 101
    segments   0 2 3 5              "ab" is ids[0:2], "c" is ids[2:3], "de" is ids[3:5]
    documents  0 2 3                the first document is segments 0 and 1, the second segment 2

It serves every kind of training example: lines, documents, packed sequences and pairs of
segments. The idea is nanoGPT's .bin file, plus the structure, the tokenizer and checksums.
"""
import zlib
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.token_file.meta import INDEX, REPAIR, check_ids, file_sizes, read_meta
from data.token_file.shards import Shards
from tokenizer.utils.terminal import plural

CHUNK_BYTES = 1 << 22  # read at once while a file is scanned; a multiple of 8
LENGTHS_PER_CHUNK = 1 << 20  # lengths in memory while an index is scanned


class TokenFile:
    """A token file, opened for reading.

    ids         (num_tokens,) as ``Shards``, which are read in slices
    segments    (num_segments + 1,) memory map
    documents   (num_documents + 1,) memory map
    meta        meta.json as a dict

    Raises ValueError if a file is missing, truncated or not part of a token file. To check the
    contents, too, ``verify`` and ``unigram_counts`` read every byte.

    ``TokenFile("tokens").segment(0) -> array([74, 288, 12], dtype=uint16)``
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.meta = read_meta(self.folder)

        for name, size in file_sizes(self.meta).items():
            self._check_size(self.folder / name, size)
        shards = self.meta["shards"]
        paths = [self.folder / shard["file"] for shard in shards]
        lengths = [shard["num_tokens"] for shard in shards]
        self.ids = Shards(paths, lengths, self.meta["dtype"])
        self.segments = self._map_index("segments.bin", end=self.num_tokens)
        self.documents = self._map_index("documents.bin", end=self.num_segments)

    @staticmethod
    def _check_size(path, expected):
        if not path.is_file():
            raise ValueError(f"{path} is missing: the token file is damaged; {REPAIR}")
        size = path.stat().st_size
        if size != expected:
            raise ValueError(f"{path} has {size:,} bytes, expected {expected:,}: "
                             f"the token file is damaged; {REPAIR}")

    def _map_index(self, name, end):
        """Map segments.bin or documents.bin, which must run from 0 to ``end``."""
        path = self.folder / name
        starts = np.memmap(path, dtype="int64", mode="r")
        if starts[0] != 0 or starts[-1] != end:
            raise ValueError(f"{path} runs from {starts[0]:,} to {starts[-1]:,}, expected 0 to "
                             f"{end:,}: the token file is damaged; {REPAIR}")
        return starts

    def __repr__(self):
        return (f"TokenFile({str(self.folder)!r}: {plural(self.num_documents, 'document')}, "
                f"{plural(self.num_segments, 'segment')}, {plural(self.num_tokens, 'token')})")

    @property
    def num_tokens(self):
        return self.meta["num_tokens"]

    @property
    def num_segments(self):
        return self.meta["num_segments"]

    @property
    def num_documents(self):
        return self.meta["num_documents"]

    @property
    def num_bytes(self):
        """Bytes of the text in UTF-8, with one for each line end."""
        return self.meta["num_bytes"]

    @property
    def vocab_size(self):
        return self.meta["vocab_size"]

    @property
    def tokenizer_fingerprint(self):
        return self.meta["tokenizer_fingerprint"]

    @property
    def fingerprint(self):
        """Changes with the contents: the checksum of meta.json, which has that of every file."""
        return self.meta["crc32"]

    def segment(self, i):
        """Return the ids of segment ``i``, a view of the memory map; ``i`` may be negative."""
        if not -self.num_segments <= i < self.num_segments:
            raise IndexError(f"segment {i:,} of {self.num_segments:,}")
        i %= self.num_segments
        return self.ids[self.segments[i]:self.segments[i + 1]]

    def unigram_counts(self, vocab_size=None, show_progress=True):
        """Count how often each id occurs: (vocab_size,) int64.

        Raises ValueError if a file is damaged (see ``verify``) or an id is not in the vocabulary.

        ids [3, 1, 1]: ``unigram_counts(4) -> [0, 2, 0, 1]``
        """
        if vocab_size is None:
            vocab_size = self.vocab_size
        counts = np.zeros(vocab_size, dtype=np.int64)
        for name, data in self._read_all(show_progress):
            if name not in INDEX:
                ids = np.frombuffer(data, self.meta["dtype"])
                try:
                    check_ids(ids, vocab_size, self.folder / name)
                except ValueError:
                    self.verify(show_progress)  # a damaged shard can have such ids: report that
                    raise
                counts += np.bincount(ids, minlength=vocab_size)
        return counts

    def verify(self, show_progress=True):
        """Compare every file with its checksum and return the number of files.

        Raises ValueError with the name of the first file that differs.

        ``TokenFile("tokens").verify() -> 4``: one shard, two index files and meta.json
        """
        names = {name for name, _ in self._read_all(show_progress)}
        return len(names) + 1  # meta.json was checked when the token file was opened

    def _read_all(self, show_progress):
        """Yield (file name, chunk of bytes) and check each file's checksum at its end."""
        # Read, not mapped: mapped pages would count as memory of this process.
        files = [*self.meta["shards"], *self.meta["index"]]
        bar = tqdm(total=sum(file_sizes(self.meta).values()), desc="check", unit="B",
                   unit_scale=True, delay=2, leave=False, disable=not show_progress)
        with bar:
            for file in files:
                path = self.folder / file["file"]
                checksum = 0
                with open(path, "rb") as source:
                    while data := source.read(CHUNK_BYTES):
                        yield file["file"], data
                        checksum = zlib.crc32(data, checksum)
                        bar.update(len(data))
                if f"{checksum:08x}" != file["crc32"]:
                    raise ValueError(f"{path} is damaged: its checksum is {checksum:08x}, "
                                     f"meta.json has {file['crc32']}; {REPAIR}")


def iter_lengths(starts):
    """Yield (index of the first, lengths) for the runs that begin at ``starts``, chunk by chunk.

    starts: (num_runs + 1,), an index of a token file, which may be larger than memory

    >>> list(iter_lengths(np.array([0, 2, 5])))
    [(0, array([2, 3]))]
    """
    for first in range(0, len(starts) - 1, LENGTHS_PER_CHUNK):
        yield first, np.diff(np.asarray(starts[first:first + LENGTHS_PER_CHUNK + 1]))


def entropy(counts):
    """Return the entropy, in nats, of a distribution that is given by counts (an int array).

    For token counts this is the loss of a model that knows how frequent each token is and
    ignores context. ``[1, 1] -> ln 2 = 0.693``
    """
    probabilities = counts[counts > 0] / counts.sum()
    return abs(float(-(probabilities * np.log(probabilities)).sum()))  # abs: 0.0, not -0.0
