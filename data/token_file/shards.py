"""Many files seen as one array of ids: the shards of a token file.

A corpus of any size is one long run of ids, but one file of a terabyte is hard to copy, to check and to keep. So the ids lie in shards of
at most SHARD ids, and no document lies in two of them: only who reads across documents ever needs a copy.
"""
from bisect import bisect_left, bisect_right
from itertools import accumulate

import numpy as np

SHARD = 1 << 27  # ids in a shard at most: 256 MB of uint16


class Shards:
    """The ids of several files, one after the other. ``ids[a:b]``: a view into the memory map where one shard holds them all, else a copy.

    paths: the files; lengths: the ids in each; dtype. Pickles as its paths, so data-loader workers map the files anew.
    ``len(ids)``, ``ids.dtype``; TypeError for all but slices of step 1: numpy's other ways to index would read the whole corpus.

    shards of [5, 6, 7] and [8, 9]: ``ids[1:3] -> [6, 7]`` (a view), ``ids[2:4] -> [7, 8]`` (a copy)
    """

    def __init__(self, paths, lengths, dtype):
        self.paths, self.lengths, self.dtype = list(map(str, paths)), list(lengths), np.dtype(dtype)
        self.ends = list(accumulate(self.lengths))
        self.maps = [np.asarray(np.memmap(path, self.dtype, mode="r", shape=(length,))) for path, length in zip(self.paths, self.lengths)]

    def __reduce__(self):
        return Shards, (self.paths, self.lengths, self.dtype.str)

    def __len__(self):
        return self.ends[-1]

    def __getitem__(self, key):
        if not isinstance(key, slice) or key.step not in (None, 1):
            raise TypeError(f"ids are read in slices of step 1, ids[a:b], not with {key!r}")
        parts = [self.maps[number][start:stop] for number, start, stop in self._parts(key)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def read(self, start, stop):
        """``ids[start:stop]``, always a copy, read from the files. Who goes through all ids so does not map them: pages of a map count as
        memory of the process, the whole corpus in the end."""
        size = self.dtype.itemsize
        return np.concatenate([np.fromfile(self.paths[number], self.dtype, count=stop - start, offset=start * size)
                               for number, start, stop in self._parts(slice(start, stop))])

    def _parts(self, key):
        """Where the ids of a slice are: a list of (shard, from, to), one at least, all but the first and the last whole shards."""
        start, stop, _ = key.indices(len(self))
        stop = max(start, stop)
        first = min(bisect_right(self.ends, start), len(self.ends) - 1)  # the shard of the first id, and of the last
        last = max(first, bisect_left(self.ends, stop))
        begins = [self.ends[number] - self.lengths[number] for number in range(first, last + 1)]
        return [(number, max(start - begin, 0), min(stop - begin, self.lengths[number])) for number, begin in enumerate(begins, start=first)]


def shard_name(number):
    """``3 -> "ids-00003.bin"``"""
    return f"ids-{number:05d}.bin"


def borders(ends, held, limit):
    """How documents that end at ``ends`` (a list of int, ascending) are dealt out to shards of at most ``limit`` ids, the first of which has
    ``held`` already: where the part of each shard ends. A document over the limit gets a shard of its own.

    >>> borders([3, 5, 9], held=2, limit=7), borders([3, 5, 9], held=6, limit=7), borders([9, 10], held=1, limit=7)
    ([5, 9], [0, 5, 9], [0, 9, 10])
    """
    parts, start = [], 0
    while not parts or start < ends[-1]:
        fit = bisect_right(ends, start + limit - held)  # documents that end within the limit
        if not held:
            fit = max(fit, min(bisect_right(ends, start) + 1, len(ends)))  # one at least
        start = max(start, ends[fit - 1]) if fit else start
        parts.append(start)
        held = 0
    return parts
