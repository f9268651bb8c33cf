"""Shards: the token ids of a corpus in several files, read as one array.

One file of a terabyte is hard to copy, check and store, so a token file is cut into shards of at
most SHARD_SIZE ids. The cuts are between documents, so only a slice across documents can need ids
of two shards.
"""
from bisect import bisect_left, bisect_right
from itertools import accumulate

import numpy as np

SHARD_SIZE = 1 << 27  # ids; 256 MB as uint16


class Shards:
    """The ids of several files as one array that is read in slices: ``ids[a:b]``.

    A slice within one shard is a view into its memory map; a slice across shards is a copy.

    paths     the files
    lengths   the number of ids in each
    dtype     of the ids

    Only slices of step 1 are supported (TypeError), because numpy's other ways to index would
    read the whole corpus.

    With shards [5, 6, 7] and [8, 9], ``ids[1:3] -> [6, 7]`` is a view, ``ids[2:4] -> [7, 8]`` a
    copy.
    """

    def __init__(self, paths, lengths, dtype):
        self.lengths = list(lengths)
        self.dtype = np.dtype(dtype)
        self.ends = list(accumulate(self.lengths))  # where each shard ends, in ids
        self.maps = []
        for path, length in zip(paths, self.lengths):
            self.maps.append(np.asarray(np.memmap(path, self.dtype, mode="r", shape=(length,))))

    def __len__(self):
        return self.ends[-1]

    def __getitem__(self, key):
        if not isinstance(key, slice) or key.step not in (None, 1):
            raise TypeError(f"ids are read in slices of step 1, ids[a:b], not with {key!r}")
        parts = [self.maps[shard][start:stop] for shard, start, stop in self._parts(key)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _parts(self, key):
        """Return (shard, start, stop) for each shard that a slice touches; at least one."""
        start, stop, _ = key.indices(len(self))
        stop = max(start, stop)
        first = min(bisect_right(self.ends, start), len(self.ends) - 1)
        last = max(first, bisect_left(self.ends, stop))
        parts = []
        for shard in range(first, last + 1):
            length = self.lengths[shard]
            offset = self.ends[shard] - length  # of the shard's first id
            parts.append((shard, max(start - offset, 0), min(stop - offset, length)))
        return parts


def shard_name(index):
    """``3 -> "ids-00003.bin"``"""
    return f"ids-{index:05d}.bin"


def assign_to_shards(ends, num_ids, shard_size):
    """Return where each shard's part of a batch of documents ends.

    ends         where each document of the batch ends, in ids, ascending
    num_ids      ids that the current shard already has
    shard_size   the most ids in a shard; a longer document gets a shard of its own

    >>> assign_to_shards([3, 5, 9], num_ids=2, shard_size=7)  # [0, 5) fits, [5, 9) is a new shard
    [5, 9]
    >>> assign_to_shards([3, 5, 9], num_ids=6, shard_size=7)  # the current shard gets nothing
    [0, 5, 9]
    >>> assign_to_shards([9, 10], num_ids=1, shard_size=7)
    [0, 9, 10]
    """
    parts = []
    start = 0
    for end in ends:
        size = end - start  # of this document
        if num_ids and num_ids + size > shard_size:
            parts.append(start)  # the shard is full
            num_ids = 0
        num_ids += size
        start = end
    return [*parts, start]
