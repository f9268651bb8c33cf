"""Counting the words of a corpus: the first half of training, streamed, on all cores.

Count before you cut: the units of a text (``unit_table.py``) are found and counted by operations on whole arrays, and only the distinct
ones are normalized and cut into words, each once. Memory grows with the number of distinct words, not with the corpus, and can be capped.
"""
import heapq
import os
import re
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from tokenizer.fast.unit_table import MARGIN, Units, joined
from tokenizer.fast.word_boundaries import SURE_BORDER_BYTES, parts
from tokenizer.utils.progress import progress_bar
from tokenizer.utils.workers import batch_texts, map_in_order

AT_ONCE = 1 << 18  # bytes whose units are found together: arrays of this length stay near the processor
PORTION = 4 << 20  # bytes, or characters, that are counted at once. Independent of the number of workers, as all results are
MAX_CACHED_UNITS = 1 << 17  # distinct units that a process remembers from portion to portion: about 40 MB
LONGEST = 4  # bytes of what a file is cut at, with the character after it
_CUT = re.compile(rb"\n|" + SURE_BORDER_BYTES.pattern)


def count_files(files, borders, words_of, workers=None, max_words=None, show_progress=True):
    """Word counts over text files, fed line by line, each with its line end. -> WordCounts

    borders: where words begin (``word_boundaries.py``).  words_of: text -> list of its words; it stands at the top level of a module.
    workers, max_words: as ``ByteLevelBPE.train``.
    Raises FileNotFoundError for a missing file and ValueError for one that is not UTF-8 text.
    """
    files = [files] if isinstance(files, (str, os.PathLike)) else list(files)
    total = sum(_size(file) for file in files)
    with progress_bar(total, "counting words", "B", show_progress, scale=True) as bar:
        return _count(_count_ranges, portions(files), UnitCounter(borders, words_of), workers, max_words, bar)


def count_texts(texts, borders, words_of, workers=None, max_words=None, show_progress=True):
    """Word counts over an iterable of strings, each fed whole. -> WordCounts"""
    if isinstance(texts, str):
        raise ValueError("train_from_iterator takes an iterable of strings, not one string: pass [text]")
    with progress_bar(None, "counting words", "characters", show_progress, scale=True) as bar:
        return _count(_count_batch, batch_texts(map(_checked, texts), PORTION), UnitCounter(borders, words_of), workers, max_words, bar)


def _count(function, portions, counter, workers, max_words, bar):
    """The sum of what ``function(counter, portion)`` gives for each portion, over all workers. -> WordCounts"""
    counts = WordCounts(max_words)
    for more, size in map_in_order(function, portions, shared=counter, workers=workers, num_inline=1):
        counts.add(more)
        bar.update(size)
    return counts


class WordCounts(Counter):
    """word -> count, with at most ``max_words`` words (None: all of them).

    When more have come, the rarest are forgotten, down to half as many (after the lossy counting of Manku and Motwani 2002).
    ``loss`` says what that did: any count is too small by at most ``missed``, and ``forgotten`` occurrences are not counted at all.

    >>> counts = WordCounts(2)
    >>> counts.add({"a": 5, "b": 2, "c": 1}); dict(counts), counts.missed, counts.forgotten
    ({'a': 5}, 2, 3)
    """

    def __init__(self, max_words=None):
        super().__init__()
        self.max_words, self.missed, self.forgotten = max_words, 0, 0

    def add(self, more):
        """Add {word: count}."""
        self.update(more)
        if self.max_words and len(self) > self.max_words:
            # Of equally frequent words the order of strings decides, so that the result depends on the corpus alone.
            rarest = heapq.nsmallest(len(self) - self.max_words // 2, self.items(), key=lambda item: (item[1], item[0]))
            for word, count in rarest:
                del self[word]
                self.forgotten += count
            self.missed += rarest[-1][1]

    @property
    def loss(self):
        """What the cap on words cost, as a sentence; "" if it cost nothing."""
        if not self.forgotten:
            return ""
        share = self.forgotten / (self.forgotten + sum(self.values()))
        return (f"max_words={self.max_words:,}: {self.forgotten:,} occurrences of rare words were left out ({share:.2%}), "
                f"and any word's count is short by at most {self.missed:,}")


class UnitCounter:
    """Counts the units of texts, and from them the words. ``borders``, ``words_of``: as ``count_files``.

    >>> from tokenizer.fast.word_boundaries import gpt2_boundaries; from tokenizer.pretokenize import gpt2_words
    >>> counter = UnitCounter(gpt2_boundaries, gpt2_words)
    >>> counter.add(*joined(["a b\\n", "a"])); counter.take(), counter.take()
    ({'a': 2, ' b': 1, '\\n': 1}, {})
    """

    def __init__(self, borders, words_of):
        self.boundaries, self.words_of = borders, words_of
        self._clear()

    def _clear(self):
        self.units, self.words = Units(self.boundaries), [()]  # number of a unit -> its words
        self.counts = np.zeros(0, np.int64)  # number of a unit -> how often it was seen

    def add(self, data, text_starts):
        """Count the units of texts, given as ``units.joined`` gives them."""
        seen = np.bincount(self.units.find(data, text_starts)[0], minlength=len(self.counts))
        seen[:len(self.counts)] += self.counts
        self.counts = seen

    def take(self):
        """The words that were added since the last call, as {word: count}. Only now are new units cut into words."""
        self.words += [tuple(self.words_of(unit.decode("utf-8"))) for unit in self.units.since(len(self.words))]
        seen, counts = np.flatnonzero(self.counts), defaultdict(int)
        for words, count in zip(map(self.words.__getitem__, seen.tolist()), self.counts[seen].tolist()):
            for word in words:
                counts[word] += count
        self.counts[:] = 0
        if len(self.units) > MAX_CACHED_UNITS:
            self._clear()
        return dict(counts)


# In a worker: (a counter, portion) -> (counts, size of the portion)

def _count_batch(counter, texts):
    """["a b", "a"] -> ({'a': 2, ' b': 1}, 4)"""
    short = (part for text in texts for part in ([text] if len(text) <= AT_ONCE else parts(text, AT_ONCE)))
    for batch in batch_texts(short, AT_ONCE):
        counter.add(*joined(batch))
    return counter.take(), sum(map(len, texts))


def _count_ranges(counter, ranges):
    """The same for ``portions`` of files, in which every line is a text: [("a.txt", 0, 7)] -> ({'a': 2, ' b': 1, '\\n': 2}, 7)"""
    for file, start, end in ranges:
        for data in _read(file, start, end):
            data = np.frombuffer(b"".join((bytes(MARGIN), data, bytes(MARGIN))), np.uint8)
            line_starts = np.flatnonzero(data[:-MARGIN - 1] == ord("\n")) + 1  # but for a line end at the very end
            counter.add(data, np.concatenate(([MARGIN], line_starts, [len(data) - MARGIN])))
    return counter.take(), sum(end - start for _, start, end in ranges)


def _read(file, start, end):
    """Yield what stands between the first border from byte ``start`` on and the first from ``end`` on, about ``AT_ONCE`` bytes at a time."""
    with open(file, "rb") as source:
        here, stop = _border(source, start), _border(source, end)
        while here < stop:
            after = min(_border(source, here + AT_ONCE), stop)
            source.seek(here)
            data = source.read(after - here)
            _check_utf8(data, file, here)
            yield data
            here = after


def _border(source, position):
    """The first place from ``position`` on where a file can be cut: after a line end, or where a word begins for sure; else its end."""
    if not position:
        return 0
    start, size = max(position - LONGEST, 0), 1 << 12
    while True:
        source.seek(start)
        data = source.read(size)
        found = _CUT.search(data)
        while found and start + found.end() < position:
            found = _CUT.search(data, found.end())
        if found or len(data) < size:
            return start + (found.end() if found else len(data))
        start, size = start + size - LONGEST, 1 << 20


def _check_utf8(data, file, position):
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        number, line_start = _line_at(file, position + error.start)
        raise ValueError(f"{file}: line {number} is not UTF-8 text ({error.reason} at byte {position + error.start - line_start + 1}): "
                         f"if it is a text file, save it as UTF-8 and try again") from None


def _line_at(file, position):
    """(number of the line that byte ``position`` is in, where that line begins)"""
    number, line_start, here = 1, 0, 0
    with open(file, "rb") as source:
        while block := source.read(min(1 << 20, position - here)):
            if b"\n" in block:
                number, line_start = number + block.count(b"\n"), here + block.rfind(b"\n") + 1
            here += len(block)
    return number, line_start


# Sharing out

def portions(files, size=PORTION):
    """Files -> lists of (file, start, end), each list together at most ``size`` bytes; long files are cut, small ones put together.

    portions of a file of 10 bytes and one of 3, size 6 -> [[(a, 0, 6)], [(a, 6, 10)], [(b, 0, 3)]]
    """
    portion, room = [], size
    for file in files:
        length = _size(file)
        for start in range(0, length, size):
            end = min(start + size, length)
            if end - start > room:
                yield portion
                portion, room = [], size
            portion.append((file, start, end))
            room -= end - start
    if portion:
        yield portion


def _checked(text):
    if not isinstance(text, str):
        raise ValueError(f"train_from_iterator takes strings, but got {type(text).__name__}: {text!r:.80}")
    return text


def _size(file):
    if not Path(file).is_file():
        what = "is a folder: name the files in it" if Path(file).is_dir() else "no such file"
        raise FileNotFoundError(f"{file}: {what}")
    return Path(file).stat().st_size
