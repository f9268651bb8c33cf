"""The corpora by name, your own files, and which documents are held out.

    pydocs      the documentation on this machine: no download (see pydocs.py)
    kant        three books of Immanuel Kant, 1.8 MB: KantaiBERT's corpus
    wikipedia   Wikipedia in Simple English; wikipedia:en, wikipedia:de, ... in others (see wikipedia.py)
    amazon      reviews of digital music; amazon:Books, amazon:Toys_and_Games, ... of others (see amazon.py)
    PATH        your files or folders of files: .txt .jsonl .csv .tsv, each also .gz or .bz2 (see readers.py)

Every corpus has a training part and an eval part, 5 %, which are the same on every machine and in every run. pydocs is split
by source file; all others by a hash of the document, so that equal documents fall on the same side, wherever they stand.
"""
import os
import sys
from collections import Counter
from functools import cached_property
from pathlib import Path

from data import readers
from data.sources import amazon, wikipedia
from data.sources.download import download
from data.sources.gutenberg import body_checksum
from data.sources.pydocs import PydocsCorpus
from data.splits import check_split, eval_lines_per_document, is_eval_document, stable_hash
from tokenizer.utils.cli import suggestion

FEW_DOCUMENTS = 20  # with fewer, a hash gives no fair share
CACHE = Path(__file__).parent / "cache"

NAMED = {
    "pydocs": "docstrings of Python's standard library and of the installed packages; nothing to download",
    "kant": "three books of Immanuel Kant from Project Gutenberg, 1.8 MB (KantaiBERT's corpus)",
    "wikipedia": "articles of Wikipedia in Simple English, or in another language (wikipedia:en), as plain text",
    "amazon": "reviews of digital music from Amazon, or of another category (amazon:Books), of 1996 to 2023",
}
DOWNLOADERS = {"wikipedia": wikipedia, "amazon": amazon}  # name -> module with find(folder) and fetch(folder, variant, megabytes)
DEFAULT_MEGABYTES = 50  # of a packed file, where nobody says how many: enough for a laptop
# file -> ebook number, checksum of the text between Gutenberg's markers (gutenberg.body_checksum)
KANT = {
    "critique-of-practical-reason.txt": (5683, "6cf90a6e8dd9fd0f52946a2f438f50acae9b32e9923bcfe76726640914e2fa8d"),
    "critique-of-pure-reason.txt": (4280, "250c2e554931c01e0e9fe0cbd85588fbdd3515c7467f38f50ba902e41815600e"),
    "metaphysic-of-morals.txt": (5682, "55b90d86f861c2ac9c9b191e7d02ca90a6a11b2b1e962398597fdfb2d8c9f15b"),
}
GUTENBERG = "https://www.gutenberg.org/cache/epub/{number}/pg{number}.txt"


def open_corpus(source, text_field="text", cache=None, workers=None):
    """Open a corpus: a name (``"pydocs"``, ``"kant"``, ``"wikipedia"``, ``"wikipedia:en"``), a path, or a list of paths (files or folders).

    The result has ``name``; ``description``, a line for the screen; ``documents(split)``, an iterator of str that starts
    anew at each call, for split "train", "eval" or "all"; and ``progress()``, how far the latest of them has come: (bytes read, of how many), None
    for pydocs, which is read at once. ``text_field`` names the field of .jsonl, .csv and .tsv files.
    ``cache``: a folder for what is expensive to get (the text of pydocs, downloads); without it, pydocs is parsed anew
    in each process and downloads go to data/cache. ``workers``: processes that parse pydocs, None for one a core.
    A name wins over a file of the same name: write ./kant for that. What was never downloaded is fetched, of wikipedia and
    amazon the first DEFAULT_MEGABYTES.

    Raises FileNotFoundError; OSError where a download fails; ValueError for a name that is none, an unknown extension, an
    empty list. What is wrong inside a file is reported when it is read, by ``documents``.

    ``next(open_corpus("kant").documents("train")) -> "1788"``, a line of the first title page
    """
    sources = [source] if isinstance(source, (str, os.PathLike)) else list(source)
    if not sources:
        raise ValueError(f"no corpus given: a name ({', '.join(NAMED)}) or a path")
    named = [str(source) for source in sources if str(source) in NAMED or str(source).partition(":")[0] in DOWNLOADERS]
    if named and len(sources) > 1:
        raise ValueError(f"{named[0]} is a named corpus and stands alone, without {len(sources) - 1} more; for a file write ./{named[0]}")
    if named == ["pydocs"]:
        return PydocsCorpus(cache=cache, workers=workers)
    if named == ["kant"]:
        return FileCorpus("kant", find_kant(cache))
    if named:
        return FileCorpus(named[0], find_varied(named[0], cache), text_field)
    for source in sources:
        if not Path(source).exists():
            _no_such(str(source))
    files = [file for source in sources for file in readers.find_files(source)]
    name = Path(sources[0]).resolve().name.split(".")[0] or "files"
    return FileCorpus(name if len(sources) == 1 else f"{name}+{len(sources) - 1}", files, text_field)


def _no_such(source):
    if any(sign in source for sign in (".", "/", os.sep)):
        raise FileNotFoundError(f"no such file or folder: {source}")
    raise ValueError(f"no corpus and no file is named {source}{suggestion(source, list(NAMED))} "
                     f"(there are: {', '.join(NAMED)}; or a path to {readers.KNOWN})")


class FileCorpus:
    """Files as a corpus: what ``open_corpus`` returns for paths and for kant.

    A corpus of fewer than 20 documents (or one in which the hash finds fewer than two to hold out) is cut by its lines instead: the last
    5 % of them, at least one, are the eval part; where that is part of one document, and there are four or more, it is the ends of the
    last two, since pairs need two documents (minibert/sentence_pairs.py). ValueError where the corpus has fewer than two lines.
    """

    def __init__(self, name, files, text_field="text"):
        self.name, self.files, self.text_field = name, list(files), text_field
        self._small = None  # whether the corpus is cut by lines: found out at the first call
        self._reading, self._before = None, 0  # the file that is read, or was last; the bytes of those before it

    @property
    def description(self):
        """``"kant: 3 files, 1.9 MB"``: files and their size on disk."""
        return f"{self.name}: {len(self.files)} file{'s' * (len(self.files) != 1)}, {self.size / 1e6:,.1f} MB"

    @cached_property
    def size(self):
        """Bytes of all files, as they lie on disk."""
        return sum(Path(file).stat().st_size for file in self.files)

    def progress(self):
        """(bytes that the latest call of ``documents`` has read, bytes of all files), as they lie on disk: of packed files packed ones."""
        if self._reading is None:
            return 0, self.size
        return self._before + (os.path.getsize(self._reading.name) if self._reading.closed else self._reading.tell()), self.size

    def _opened(self, file):
        self._before, self._reading = self.progress()[0], file

    def documents(self, split):
        """Yield the documents of "train", "eval" or "all", in the order of the files."""
        check_split(split)
        if split == "all":
            return self._all()
        if self._small is None:
            self._small = self._is_small()
        return self._cut_by_lines(split) if self._small else (
            document for document in self._all() if is_eval_document(document) == (split == "eval"))

    def _all(self):
        empty, self._reading, self._before = True, None, 0
        for file in self.files:
            for document in readers.read_documents(file, self.text_field, self._opened):
                empty = False
                yield document
        if empty:
            raise ValueError(f"the corpus is empty: no text in {', '.join(map(str, self.files[:3]))}"
                             f"{' ...' if len(self.files) > 3 else ''}")

    def _is_small(self):
        """Read until it is plain that both parts have documents, two each: a few dozen in all but tiny corpora."""
        seen, sides = set(), Counter()
        for document in self._all():
            if stable_hash(document) not in seen:
                seen.add(stable_hash(document))
                sides[is_eval_document(document)] += 1
            if len(seen) >= FEW_DOCUMENTS and min(sides[True], sides[False]) >= 2:
                return False
        return True

    def _cut_by_lines(self, split):
        lines = {document: document.count("\n") + 1 for document in self._all()}
        if sum(lines.values()) < 2:
            raise ValueError(f"{self.files[0]}: a corpus of one line cannot be divided into a training and an eval part: give more text")
        held, parts = eval_lines_per_document(list(lines.values())), {}
        for (document, number), last in zip(lines.items(), held):
            train, end = document.split("\n")[:number - last], document.split("\n")[number - last:]
            parts[document] = "\n".join(train if split == "train" else end)
        chosen = self._all() if split == "train" else lines
        return (parts[document] for document in chosen if parts[document])


def take_characters(documents, characters):
    """The documents up to so many characters: what is learned from, or measured on, where the corpus may have no end.

    >>> list(take_characters(["one", "two", "three"], 4))
    ['one', 'two']
    """
    for document in documents:
        yield document
        characters -= len(document)
        if characters <= 0:
            return


# ------------------------------------------------------------------------------------------- what was downloaded


def find_varied(name, cache=None):
    """The files of ``"wikipedia"``, ``"amazon:Books"``, ...: in $MINIBERT_CORPORA/wikipedia, /amazon/Books where that is there, else what
    was downloaded, else they are fetched to ``cache``/wikipedia/simple, /amazon/Books: the rest of what is under way, or the first DEFAULT_MEGABYTES."""
    own, folder = _own_folder(name), _cache_folder(name, cache)
    if own:
        return readers.find_files(own)
    asked = wikipedia.asked_for(folder)
    return DOWNLOADERS[name.partition(":")[0]].find(folder) or fetch(name, folder, DEFAULT_MEGABYTES if asked is None else asked)


def fetch(name, folder=None, megabytes=DEFAULT_MEGABYTES, **options):
    """Download wikipedia or amazon to ``folder`` (default: where training looks); return the files.

    ``megabytes``: of packed files, 0 for all. ``options``: what the ``fetch`` of wikipedia.py and amazon.py takes. Raises
    what these raise; an OSError says how to do without.
    """
    folder = Path(folder or _cache_folder(name))
    kind, _, variant = name.partition(":")
    if options.get("show_progress", True):
        amount = f"the first {megabytes} MB, packed," if megabytes else "all of it"
        which = "--language en" if kind == "wikipedia" else "--category NAME"
        print(f"{name}: fetching {amount} from {_home(kind)} to {folder}. To choose: python -m data download {kind} "
              f"--megabytes N (0: all of it) {which}; or a text of your own, --corpus FILE", file=sys.stderr)
    try:
        return DOWNLOADERS[kind].fetch(folder, variant, megabytes, **options)
    except OSError as error:
        if isinstance(error, FileNotFoundError) or error.errno:  # says what to do already; or a failing disk
            raise
        raise OSError(f"{error}. Any text of your own trains without a network: train.py --corpus FILE") from None


def corpus_location(name):
    """Where a named corpus is on this machine, for the eye."""
    if name == "pydocs":
        return "installed packages"
    for folder in (_own_folder(name), CACHE / name):
        if folder and any(path.is_file() and ".part" not in path.suffixes for path in folder.rglob("*")):
            return str(folder)
    return f"{_home(name)} (not downloaded yet)"


def _home(name):
    """``"amazon" -> "mcauleylab.ucsd.edu"``"""
    return (DOWNLOADERS[name].HOME if name in DOWNLOADERS else GUTENBERG).split("/")[2]


def _own_folder(name):
    """``"amazon:Books" -> $MINIBERT_CORPORA/amazon/Books``; None where there is no such folder."""
    corpora = os.environ.get("MINIBERT_CORPORA")
    folder = Path(corpora, *name.split(":")) if corpora else None
    return folder if folder and folder.is_dir() else None


def _cache_folder(name, cache=None):
    """``"wikipedia" -> cache/wikipedia/simple``, ``"amazon:Books" -> cache/amazon/Books``"""
    name, _, variant = name.partition(":")
    return Path(cache or CACHE) / name / (variant or {"wikipedia": wikipedia.LANGUAGE, "amazon": amazon.CATEGORY}[name])


# ------------------------------------------------------------------------------------------------------- kant


def find_kant(cache=None, show_progress=True):
    """The three files of kant: in $MINIBERT_CORPORA/kant where that is set, else downloaded (once) to ``cache``/kant."""
    own = _own_folder("kant")
    return readers.find_files(own) if own else download_kant(Path(cache or CACHE) / "kant", show_progress=show_progress)


def download_kant(folder, checksum=True, show_progress=True, address=GUTENBERG, pause=1.0):
    """Download the three books into ``folder``; return their paths. What is there already is not fetched again.

    ``checksum=False`` takes the text as it comes: Gutenberg corrects its books now and then.
    Raises OSError when a book cannot be had, ValueError when its text is not the expected one; nothing false is kept.
    """
    files = []
    for name, (number, expected) in KANT.items():
        path = Path(folder) / name
        if not path.exists():
            check = (lambda part, whole, expected=expected, name=name: check_book(part, expected, name)) if checksum else None
            download(address.format(number=number), path, check, show_progress, pause)
        files.append(path)
    return files


def check_book(path, expected, name):
    """ValueError unless the book in the file ``path`` has the checksum ``expected``."""
    found = body_checksum(readers.text_lines(path))
    if found != expected:
        raise ValueError(f"{name}: the text has the checksum {found[:16]}..., expected {expected[:16]}...: a damaged download, removed "
                         "again, or a newer edition. Try again; python -m data download kant --no-checksum takes it as it is")
