"""Open a corpus, one of the named ones or your own files, and read its documents.

    pydocs      documentation of Python, torch, numpy, sympy and networkx, no download
                (sources/pydocs.py)
    kant        three books by Immanuel Kant, 1.8 MB, the corpus of KantaiBERT (sources/kant.py)
    wikipedia   Simple English Wikipedia; wikipedia:en, wikipedia:de, ... for other languages
    amazon      reviews of digital music; amazon:Books, amazon:Toys_and_Games, ... for others
    PATH        your files or folders: .txt .jsonl .csv .tsv, each also .gz or .bz2; other text
                files (.py, .md) if there is nothing else (corpus_files.py)

A document is a str, and its lines are its segments. Every corpus has a "train" and an "eval"
split: the validation set, about 5 % of the documents, is chosen by a hash (splits.py).
"""
import os
import sys
from functools import cached_property
from itertools import chain, starmap
from pathlib import Path

from data.corpus_files import KNOWN, first_few, has_wildcard, select_files
from data.lines import Replacements
from data.readers import read_documents
from data.reflow import ALWAYS, REFLOW, reflow, reflow_summary, wrap_width
from data.sources import named
from data.sources.compression import compression_suffix
from data.sources.gutenberg import has_boilerplate
from data.sources.pydocs import PydocsCorpus
from data.splits import check_split, eval_lines_per_document, is_eval_document
from tokenizer.utils.cli import suggestion
from tokenizer.utils.terminal import plural

MIN_DOCUMENTS = 20  # with fewer, the corpus is split by lines
WRAP_SAMPLE = 500_000  # characters of a file that show whether its lines are hard-wrapped


def open_corpus(source, text_field="text", cache=None, workers=None, text_suffix="",
                encoding_errors="strict", reflow="no"):
    """Return a corpus: a named one, or the text in a path or a list of paths (files or folders).

    A corpus has

    name, description   strings; the description is one line for the screen
    documents(split)    an iterator over the documents of "train", "eval" or "all"
    progress()          (bytes read, bytes in total) of the latest iterator, or None
    notes               what the user should know so far, such as {"left_out": "40 .py"}
    plain_text_files    its files, if they can also be read without it, as text line by line

    text_field        the field of .jsonl, .csv and .tsv files that holds the text
    cache             the folder for downloads (default: data/cache) and for the parsed text of
                      pydocs (default: parse it again in each process)
    workers           processes that parse pydocs; None means one per core
    text_suffix       see ``select_files``
    encoding_errors   "strict", or "replace" bytes that are not UTF-8 by U+FFFD and count them
    reflow            "yes": join the lines of each paragraph; "auto": in hard-wrapped files (see
                      reflow.py). It does not move text between training and validation

    A named corpus that is not on this machine is downloaded; of wikipedia and amazon only the
    first 50 MB.

    Raises FileNotFoundError for a missing path, PermissionError for an unreadable one, ValueError
    for an unknown name or file type, and OSError if a download fails. Errors inside a file are
    raised while it is read.

    ``next(open_corpus("kant").documents("train")) -> "1788"``, a line of the first title page
    """
    sources = [source] if isinstance(source, (str, os.PathLike)) else list(source)
    if not sources:
        raise ValueError(f"no corpus given: name one ({', '.join(named.NAMED)}), or give a path")
    # A name goes before a file of the same name, which can be given as ./kant.
    for source in map(str, sources):
        if named.is_named(source):
            if len(sources) > 1:
                raise ValueError(f"the corpus {source} cannot be combined with other sources; "
                                 f"for a file of that name write ./{source}")
            flags = {"--text-suffix": text_suffix, "--encoding-errors": encoding_errors}
            return _open_named(source, text_field, cache, workers, reflow, flags)

    for source in map(str, sources):
        if not (os.path.lexists(source) or has_wildcard(source)):
            raise _not_found(source)
    selection = select_files(sources, text_suffix)  # in the order of the sources
    if warning := selection.warning():
        print(f"warning: {warning}", file=sys.stderr)
    name = first_few(list(map(_name_of, sources)))
    return FileCorpus(name, selection, text_field, reflow, Replacements(encoding_errors))


def _name_of(source):
    """``"texts/news.txt" -> "news"``, ``"code/*.py" -> "code"``"""
    path = Path(source).resolve()
    while has_wildcard(path.name) and not path.exists():
        path = path.parent
    return path.name.split(".")[0] or "files"


def _open_named(name, text_field, cache, workers, reflow, flags_of_files):
    for flag, value in flags_of_files.items():
        if value not in ("", "strict"):
            raise ValueError(f"{flag} {value} has no effect on {name}: it is for your own files")
    if name == "pydocs":
        if reflow == "yes":
            raise ValueError("--reflow yes has no effect on pydocs: docstrings contain code")
        return PydocsCorpus(cache=cache, workers=workers)
    return FileCorpus(name, named.find_or_fetch(name, cache), text_field, reflow)


def _not_found(source):
    """Return the error for a source that is neither a corpus nor a file."""
    parent = os.path.dirname(source)
    if os.path.isdir(parent) and not os.access(parent, os.X_OK):
        return PermissionError(f"permission denied: {source}")
    # A dot or a slash means a path; anything else may be a misspelled name.
    if "." in source or "/" in source or os.sep in source:
        return FileNotFoundError(f"no such file or folder: {source}")
    names = list(named.NAMED)
    return ValueError(f"no corpus and no file is named {source}{suggestion(source, names)} "
                      f"(corpora: {', '.join(names)}; or a path to {KNOWN})")


class FileCorpus:
    """A corpus in files. Documents are read one at a time, so it may be larger than memory."""

    def __init__(self, name, selection, text_field, reflow, replacements=None):
        if reflow not in REFLOW:
            raise ValueError(f"reflow is {reflow!r}: choose from {', '.join(REFLOW)}")
        self.name = name
        self.files = selection.files
        self.text_field = text_field
        self._selection_notes = selection.notes()
        self._format_of = selection.format_of
        self._replacements = replacements  # None for a named corpus, which has no such flag
        self._reflow = reflow
        self._widths = {}  # of the files read so far: see wrap_width
        # For progress(): the file that is being read, and the size of the files before it.
        self._file = None
        self._bytes_before = 0

    @property
    def description(self):
        """``"kant: 3 files, 1.9 MB"``, or ``"code: 1 file, 0.1 MB; left out: 40 .py"``"""
        files = plural(len(self.files), "file")
        notes = [f"; {key.replace('_', ' ')}: {note}" for key, note in self.notes.items()]
        return f"{self.name}: {files}, {self.size / 1e6:,.1f} MB{''.join(notes)}"

    @property
    def notes(self):
        """What was found beside the files, and what was changed in the text read so far."""
        changes = {"replaced": str(self._replacements or ""),
                   "reflowed": reflow_summary(self._widths.values())}
        return self._selection_notes | {name: note for name, note in changes.items() if note}

    @cached_property
    def size(self):
        """Bytes of all files on disk, where a .gz file counts its compressed bytes."""
        return sum(os.path.getsize(file) for file in self.files)

    @property
    def formats(self):
        """The formats of the files: {".txt", ".csv"}"""
        return set(map(self._format_of, self.files))

    @property
    def plain_text_files(self):
        """The files, if each is UTF-8 text as it is; [] if this class must read them."""
        replaces = self._replacements and self._replacements.encoding_errors == "replace"
        is_plain = (self.formats == {".txt"} and not replaces and self._reflow == "no"
                    and not any(map(compression_suffix, self.files))
                    and not any(map(has_boilerplate, self.files)))
        return self.files if is_plain else []

    def progress(self):
        """Return (bytes read by the latest iterator, bytes of all files), as counted on disk."""
        if self._file is None:  # nothing has been read yet
            return 0, self.size
        if self._file.closed:  # at the end of this file, or the reader has given up
            position = os.path.getsize(self._file.name)
        else:
            position = self._file.tell()  # in the compressed file, like its size
        return self._bytes_before + position, self.size

    def documents(self, split):
        """Iterate over the documents of "train", "eval" or "all", in the order of the files."""
        check_split(split)  # at once, not when the first document is asked for
        return starmap(reflow, self._read_split(split))

    def _read_split(self, split):
        """Yield (document as it is in the file, width of its file) of a split."""
        if split == "all":
            return self._read()
        # In a tiny corpus, a hash might choose no document for validation, or half of the text.
        if self._must_split_by_lines:
            return self._split_by_lines(split)
        is_eval = split == "eval"
        return (read for read in self._read() if is_eval_document(read[0]) == is_eval)

    def _read(self):
        """Yield (document, width) of all documents."""
        self._file = None
        self._bytes_before = 0
        empty = True
        for file in self.files:  # opened one after another, so there may be thousands
            extension = self._format_of(file)
            documents = read_documents(file, self.text_field, self._on_open, extension,
                                       self._replacements)
            if file not in self._widths:
                sample = []
                if self._reflow == "auto":
                    sample += take_characters(documents, WRAP_SAMPLE)
                self._widths[file] = ALWAYS if self._reflow == "yes" else wrap_width(sample)
                documents = chain(sample, documents)
            for document in documents:
                empty = False
                yield document, self._widths[file]
        if empty:
            others = " and others" if len(self.files) > 1 else ""
            raise ValueError(f"the corpus is empty: no text in {self.files[0]}{others}")

    def _on_open(self, file):
        # The reader calls this with each file that it opens, as it is on disk, compressed or not.
        self._bytes_before = self.progress()[0]
        self._file = file

    @cached_property
    def _must_split_by_lines(self):
        """True if there are fewer than 20 documents, or fewer than two in either split."""
        train = set()  # a set, so that copies count once
        validation = set()
        for document, _ in self._read():
            documents = validation if is_eval_document(document) else train
            documents.add(document)
            num_distinct = len(train) + len(validation)
            # Sentence pairs take their random sentence from another document: two per split.
            if num_distinct >= MIN_DOCUMENTS and len(train) >= 2 and len(validation) >= 2:
                return False  # in most corpora after a few dozen documents
        return True

    def _split_by_lines(self, split):
        # The validation set is the last 5 % of the lines.
        # A dict: a document that occurs twice is cut once, so no line is in both splits.
        width_of = dict(self._read())
        num_lines = {document: document.count("\n") + 1 for document in width_of}
        if sum(num_lines.values()) < 2:
            raise ValueError(f"{self.files[0]}: a corpus of one line cannot be split into a "
                             "training and a validation set: add more text")
        part_of = {}  # document -> the part of it that belongs to the split
        for document, num_eval in zip(num_lines, eval_lines_per_document([*num_lines.values()])):
            lines = document.split("\n")
            end = len(lines) - num_eval
            part_of[document] = "\n".join(lines[:end] if split == "train" else lines[end:])
        # Training text keeps its repetitions; a validation line counts once.
        documents = self._read() if split == "train" else width_of.items()
        return ((part_of[document], width) for document, width in documents if part_of[document])


def take_characters(documents, limit):
    """Yield documents until they have ``limit`` characters or more: a sample of a long corpus.

    >>> list(take_characters(["one", "two", "three"], 4))
    ['one', 'two']
    """
    total = 0
    for document in documents:
        yield document
        total += len(document)
        if total >= limit:
            return
