"""The named corpora: where their files are on this machine, and how to download them.

The files of a corpus are looked for in two folders, in this order; kant, wikipedia:de and
amazon:Books are examples:

    $MINIBERT_CORPORA   .../kant   .../wikipedia/de       .../amazon/Books
    cache               .../kant   .../wikipedia/de       .../amazon/Books    (default: data/cache)
"""
import os
import sys
from pathlib import Path

from data.corpus_files import Selection, select_files
from data.sources import amazon, kant, wikipedia

NAMED = {
    "pydocs": "documentation of Python's standard library, torch, numpy, sympy and networkx",
    "kant": "three books of Immanuel Kant from Project Gutenberg, 1.8 MB (KantaiBERT's corpus)",
    "wikipedia": "Wikipedia in Simple English, or in another language (wikipedia:en), as text",
    "amazon": "reviews of digital music from Amazon, or of another category (amazon:Books)",
}
# Modules with HOME, DEFAULT_VARIANT, find(folder) and fetch(folder, variant, megabytes).
DOWNLOADERS = {"wikipedia": wikipedia, "amazon": amazon}
DEFAULT_MEGABYTES = 50  # of compressed files: enough for a laptop
CACHE = Path(__file__).parent.parent / "cache"


def is_named(source):
    """Return whether a source is a named corpus: "kant", "wikipedia", "wikipedia:en", ..."""
    return source in NAMED or source.partition(":")[0] in DOWNLOADERS


def find_or_fetch(name, cache):
    """Return the Selection of a named corpus; download it into ``cache`` if necessary."""
    user_folder = _user_folder(name)
    if user_folder:
        return select_files([user_folder])
    folder = _cache_folder(name, cache)
    if name == "kant":
        return Selection(kant.fetch(folder))
    files = DOWNLOADERS[name.partition(":")[0]].find(folder)
    # An interrupted download continues up to the size that was asked for.
    return Selection(files or fetch(name, folder, wikipedia.requested_megabytes(folder)))


def fetch(name, folder=None, megabytes=None, show_progress=True):
    """Download wikipedia or amazon to ``folder`` (default: the cache); return the files.

    megabytes: how much of the compressed files; 0: all, None: 50. Raises as ``download``.
    """
    if megabytes is None:
        megabytes = DEFAULT_MEGABYTES
    folder = Path(folder or _cache_folder(name))
    base, _, variant = name.partition(":")
    if show_progress:
        amount = f"the first {megabytes} MB (compressed)" if megabytes else "all"
        print(f"{name}: fetching {amount} from {_host(base)} to {folder}. For more or less: "
              f"python -m data download {base} --megabytes N", file=sys.stderr)
    return DOWNLOADERS[base].fetch(folder, variant, megabytes, show_progress=show_progress)


def location(name):
    """Return where a named corpus is, for the screen: a folder, or the host to download it from."""
    if name == "pydocs":
        return "Python and its packages on this machine"
    for folder in (_user_folder(name), CACHE / name):
        files = [path for path in folder.rglob("*") if path.is_file()] if folder else []
        if any(".part" not in path.suffixes for path in files):
            return str(folder)
    return f"{_host(name)} (not downloaded yet)"


def _host(name):
    """``"amazon" -> "mcauleylab.ucsd.edu"``"""
    home = kant.URL if name == "kant" else DOWNLOADERS[name].HOME
    return home.split("/")[2]


def _user_folder(name):
    """``"amazon:Books" -> $MINIBERT_CORPORA/amazon/Books``; None if there is no such folder."""
    root = os.environ.get("MINIBERT_CORPORA")
    folder = Path(root, *name.split(":")) if root else None
    return folder if folder and folder.is_dir() else None


def _cache_folder(name, cache=None):
    """``"wikipedia" -> cache/wikipedia/simple``, ``"amazon:Books" -> cache/amazon/Books``"""
    base, _, variant = name.partition(":")
    if base in DOWNLOADERS:
        variant = variant or DOWNLOADERS[base].DEFAULT_VARIANT
    return Path(cache or CACHE, base, variant)
