"""Count the words of a corpus: the first half of tokenizer training.

Not needed to understand BERT. What this computes is ``Counter(word for text in texts for word in
words_of(text))``, for corpora that do not fit in memory, on all cores.

The trick: find and count *units* first (``tokenizer.fast.unit_table``; a unit is mostly a word with
the space before it), with array operations. Only the distinct units are then normalized and split
into words, each once. Memory grows with the number of distinct words, and can be capped.
"""
import heapq
import os
import re
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from tokenizer.fast.unit_table import MARGIN, UnitTable, join_texts
from tokenizer.fast.word_boundaries import SAFE_CUT_BYTES, split_text
from tokenizer.utils.progress import progress_bar
from tokenizer.utils.workers import batch_texts, map_in_order

# Bytes (or characters) whose units are found together: arrays of this length fit in the CPU cache.
CHUNK = 1 << 18
# Bytes (or characters) that a worker counts at once. Results do not depend on the number of workers
# because this does not.
PORTION = 4 << 20
# Distinct units that a process remembers between portions: about 40 MB.
MAX_CACHED_UNITS = 1 << 17
# A position in a file where two parts can be processed separately: after a line end, or at a safe
# cut between two words. The longest match is a Chinese full stop (3 bytes) and one byte after it.
FILE_CUT = re.compile(rb"\n|" + SAFE_CUT_BYTES.pattern)
LONGEST_CUT = 4


def count_files(files, boundaries, words_of, workers=None, max_words=None, show_progress=True):
    """Count the words of text files, read line by line, each with its line end. -> WordCounts

    boundaries   finds where words begin, such as ``word_boundaries.gpt2_boundaries``
    words_of     function from a text to the list of its words, at the top level of a module
    workers, max_words   see ``ByteLevelBPE.train``

    Raises FileNotFoundError for a missing file, and ValueError for a file that is not UTF-8 or a
    corpus without words.
    """
    files = [files] if isinstance(files, (str, os.PathLike)) else list(files)
    total = sum(_file_size(file) for file in files)
    counter = UnitCounter(boundaries, words_of)
    with progress_bar(total, "counting words", "B", show_progress, scale=True) as bar:
        return _count(_count_ranges, portions(files, PORTION), counter, workers, max_words, bar)


def count_texts(texts, boundaries, words_of, workers=None, max_words=None, show_progress=True):
    """Count the words of an iterable of strings. -> WordCounts; arguments as ``count_files``."""
    if isinstance(texts, str):
        raise TypeError("train_from_iterator takes an iterable of texts, not one text: pass [text]")
    batches = batch_texts(texts, PORTION)
    counter = UnitCounter(boundaries, words_of)
    with progress_bar(None, "counting words", "characters", show_progress, scale=True) as bar:
        return _count(_count_batch, batches, counter, workers, max_words, bar)


def _count(function, portions, counter, workers, max_words, bar):
    """Add up ``function(counter, portion)`` over all portions, on all workers."""
    counts = WordCounts(max_words)
    # This process counts the first portion itself, then forks workers that know its units already.
    results = map_in_order(function, portions, shared=counter, workers=workers, inline_seconds=0)
    for portion_counts, size in results:
        counts.add(portion_counts)
        bar.update(size)
    if not counts:
        raise ValueError("the corpus is empty: there is no word to learn a vocabulary from")
    return counts


class WordCounts(Counter):
    """word -> count, with at most ``max_words`` words (None: no limit).

    When there are more, the rarest words are dropped, until half of ``max_words`` are left (after
    the lossy counting of Manku and Motwani, 2002). Then every count is too low by at most
    ``max_error``, and ``num_dropped`` occurrences are not counted at all.

    >>> counts = WordCounts(2)
    >>> counts.add({"a": 5, "b": 2, "c": 1})
    >>> dict(counts), counts.max_error, counts.num_dropped
    ({'a': 5}, 2, 3)
    """

    def __init__(self, max_words):
        super().__init__()
        self.max_words = max_words
        self.max_error = 0
        self.num_dropped = 0

    def add(self, counts):
        """Add {word: count}."""
        self.update(counts)
        if not self.max_words or len(self) <= self.max_words:
            return
        # Ties are broken by the word, so the result depends on the corpus only.
        num_surplus = len(self) - self.max_words // 2
        rarest = heapq.nsmallest(num_surplus, self.items(), key=lambda item: (item[1], item[0]))
        for word, count in rarest:
            del self[word]
            self.num_dropped += count
        self.max_error += rarest[-1][1]

    def cap_summary(self):
        """Return a sentence that says what ``max_words`` cost; "" if nothing was dropped."""
        if not self.num_dropped:
            return ""
        share = self.num_dropped / (self.num_dropped + sum(self.values()))
        return (f"max_words={self.max_words:,} dropped {self.num_dropped:,} occurrences of rare "
                f"words ({share:.2%}); counts are too low by at most {self.max_error:,}")


class UnitCounter:
    """Counts the units of texts, and from them the words. Arguments as ``count_files``.

    >>> from tokenizer.fast.word_boundaries import gpt2_boundaries
    >>> from tokenizer.pretokenize import gpt2_words
    >>> counter = UnitCounter(gpt2_boundaries, gpt2_words)
    >>> counter.add(*join_texts(["a b\\n", "a"]))
    >>> counter.take(), counter.take()
    ({'a': 2, ' b': 1, '\\n': 1}, {})
    """

    def __init__(self, boundaries, words_of):
        self.boundaries = boundaries
        self.words_of = words_of
        self._clear()

    def _clear(self):
        self.units = UnitTable(self.boundaries)
        self.words = [()]                   # unit id -> its words; ids start at 1
        self.counts = np.zeros(0, np.int64)  # unit id -> how often the unit occurred

    def add(self, data, text_starts):
        """Count the units of texts; arguments as ``unit_table.join_texts`` returns them."""
        unit_ids, _ = self.units.find(data, text_starts)
        counts = np.bincount(unit_ids, minlength=len(self.counts))
        counts[:len(self.counts)] += self.counts
        self.counts = counts

    def take(self):
        """Return the counts since the last call, as {word: count}. New units are split only now."""
        for unit in self.units.since(len(self.words)):
            self.words.append(tuple(self.words_of(unit.decode("utf-8"))))
        word_counts = defaultdict(int)
        for words, count in zip(self.words, self.counts.tolist()):
            if count:
                for word in words:
                    word_counts[word] += count
        self.counts[:] = 0
        if len(self.units) > MAX_CACHED_UNITS:
            self._clear()
        return dict(word_counts)


# What a worker does: (counter, portion) -> ({word: count}, size of the portion)

def _count_batch(counter, texts):
    """Count texts: ["a b", "a"] -> ({'a': 2, ' b': 1}, 4)"""
    parts = (part for text in texts for part in split_text(text, CHUNK))
    for batch in batch_texts(parts, CHUNK):
        counter.add(*join_texts(batch))
    return counter.take(), sum(map(len, texts))


def _count_ranges(counter, ranges):
    """Count byte ranges of files: [("a.txt", 0, 7)] -> ({'a': 2, ' b': 1, '\\n': 2}, 7)"""
    for file, start, end in ranges:
        for chunk in _read_chunks(file, start, end):
            data = np.frombuffer(bytes(MARGIN) + chunk + bytes(MARGIN), np.uint8)
            # Every line is a text: one starts after each line end but the very last.
            line_starts = np.flatnonzero(data[:-MARGIN - 1] == ord("\n")) + 1
            counter.add(data, np.concatenate(([MARGIN], line_starts, [len(data) - MARGIN])))
    return counter.take(), sum(end - start for _, start, end in ranges)


def _read_chunks(file, start, end):
    """Yield the bytes from the first cut at or after ``start`` to the first at or after ``end``.

    So neighboring ranges share no word and miss none. Each chunk has about ``CHUNK`` bytes.
    """
    with open(file, "rb") as source:
        offset = _next_cut(source, start)
        stop = _next_cut(source, end)
        while offset < stop:
            chunk_end = min(_next_cut(source, offset + CHUNK), stop)
            source.seek(offset)
            chunk = source.read(chunk_end - offset)
            _check_utf8(chunk, file, offset)
            yield chunk
            offset = chunk_end


def _next_cut(source, offset):
    """Return the first offset, from ``offset`` on, at which a file can be cut, else its size.

    In b"one two\\nthree" the cuts are 3, between "one" and " two", and 8, after the line end:
    ``_next_cut`` of 1 is 3, of 4 is 8, and of 9 is 13.
    """
    if offset == 0:
        return 0
    # A match that ends at ``offset`` can begin up to LONGEST_CUT bytes before it.
    start = max(offset - LONGEST_CUT, 0)
    size = 1 << 12  # a cut is near in most files; if there is none, read on in larger steps
    while True:
        source.seek(start)
        data = source.read(size)
        for match in FILE_CUT.finditer(data):
            if start + match.end() >= offset:
                return start + match.end()
        if len(data) < size:
            return start + len(data)
        start += size - LONGEST_CUT
        size = 1 << 20


def _check_utf8(data, file, offset):
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        line_number = _line_number(file, offset + error.start)
        message = f"{file}: line {line_number} is not UTF-8 text: save the file as UTF-8"
        raise UnicodeError(message) from None


def _line_number(file, offset):
    with open(file, "rb") as source:
        for line_number, _ in enumerate(source, start=1):
            if source.tell() > offset:
                return line_number


def portions(files, size):
    """Yield lists of (file, start, end), each of at most ``size`` bytes in total.

    Files of 10 and 3 bytes, size 6 -> [(a, 0, 6)], [(a, 6, 10)], [(b, 0, 3)]
    """
    portion = []
    room = size
    for file in files:
        length = _file_size(file)
        for start in range(0, length, size):
            end = min(start + size, length)
            if end - start > room:
                yield portion
                portion = []
                room = size
            portion.append((file, start, end))
            room -= end - start
    if portion:
        yield portion


def _file_size(file):
    path = Path(file)
    if not path.is_file():
        problem = "is not a file" if path.exists() else "no such file"
        raise FileNotFoundError(f"{file}: {problem}")
    return path.stat().st_size
