"""Counting the chunks of a corpus: the first half of training, streamed.

A chunk is a stretch of text that a tokenizer can treat apart from the rest (``pretokenize.py``). Count them first, cut
and normalize the distinct ones afterwards: on 10 MB of English 30,000 take the place of two million. Memory grows with
the number of distinct chunks, not with the corpus.
"""
import os
from collections import Counter
from pathlib import Path

from tqdm import tqdm


def count_files(files, cut, show_progress=True):
    """Chunk counts over text files, fed line by line, each with its line end. ``cut``: str -> list of chunks.

    Raises FileNotFoundError for a missing file and ValueError for one that is not UTF-8 text.
    """
    files = [files] if isinstance(files, (str, os.PathLike)) else list(files)
    counts = Counter()
    sizes = [_size(file) for file in files]
    with progress_bar("counting words", sum(sizes), show_progress, unit="B", unit_scale=True) as bar:
        for file in files:
            with open(file, "rb") as lines:  # as bytes: a line ends at "\n" and nowhere else, "\r\n" stays as it is
                for number, line in enumerate(lines, start=1):
                    counts.update(cut(_decode(line, file, number)))
                    bar.update(len(line))
    return counts


def count_texts(texts, cut, show_progress=True):
    """Chunk counts over an iterable of strings, each fed whole."""
    if isinstance(texts, str):
        raise ValueError("train_from_iterator takes an iterable of strings, not one string: pass [text]")
    counts = Counter()
    with progress_bar("counting words", None, show_progress, unit=" texts") as bar:
        for text in texts:
            if not isinstance(text, str):
                raise ValueError(f"train_from_iterator takes strings, but got {type(text).__name__}: {text!r:.80}")
            counts.update(cut(text))
            bar.update(1)
    return counts


def progress_bar(what, total, show, **options):
    """A bar on stderr that appears after two seconds, and goes when the work is done."""
    return tqdm(desc=what, total=total, disable=not show, delay=2, leave=False, **options)


def _size(file):
    if not Path(file).is_file():
        what = "is a folder: name the files in it" if Path(file).is_dir() else "no such file"
        raise FileNotFoundError(f"{file}: {what}")
    return Path(file).stat().st_size


def _decode(line, file, number):
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: line {number} is not UTF-8 text ({error.reason} at byte {error.start + 1}): if it is "
                         f"a text file, save it as UTF-8 and try again") from None
