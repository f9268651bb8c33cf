"""Wikipedia as plain text: the dump of its own search index (CirrusSearch).

So no parser for wiki markup is needed. A page is two lines in the format of Elasticsearch's bulk
interface, an action and a document. Documents in namespace 0 are articles. ``text`` is the article
without markup, mostly in a single line, so it is split into sentences.

    {"index": {"_id": 12}}
    {"title": "Cat", "namespace": 0, "text": "A cat is an animal. ...", "source_text": ..., ...}

The server has a folder per week and wiki with one or more files, 20260927/index_name=
simplewiki_content/simplewiki_content-20260927-00000.json.bz2, and an empty _SUCCESS when all are
there. The older dumps (other/cirrussearch, one .json.gz per wiki, until 2025) have the same lines
and can be read too. The source of each fact is in docs/sources.md.
"""
import json
import re
import urllib.parse
from functools import partial
from pathlib import Path

from data.sentences import split_sentences
from data.sources.compression import check_compressed, longest, partial_path
from data.sources.download import download, read_page
from tokenizer.utils.files import atomic_write

HOME = "https://dumps.wikimedia.org/other/cirrus_search_index/"
DEFAULT_VARIANT = "simple"  # Simple English, one file of about 550 MB; English has 65 files, 40 GB
FILE = re.compile(r"[a-z_]+_content-(\d{8})-\d+(\.first-\d+MB)?\.json\.bz2")
# A note in the folder of a dump while some of its files are missing.
UNFINISHED = re.compile(r"[a-z_]+_content-(\d{8})\.part\.json")


def is_dump(record):
    """Return whether the first JSON object of a file is an action of a dump.

    >>> is_dump({"index": {"_id": 12}}), is_dump({"index": {"_id": 12}, "text": "Mine."})
    (True, False)
    """
    is_action = list(record) == ["index"] and isinstance(record["index"], dict)
    return is_action and "_id" in record["index"]


def articles(records):
    """Yield the (line number, object) pairs that are articles."""
    for line_number, record in records:
        if not is_dump(record) and record.get("namespace", 0) == 0:
            yield line_number, record


def document(text):
    """``"A cat is an animal. It purrs." -> "A cat is an animal.\\nIt purrs."``"""
    return "\n".join(split_sentences(text))


def find(folder):
    """Return the files of the newest finished dump in ``folder``, a list that may be empty."""
    date_of = {}
    for path in Path(folder).glob("*.json.bz2"):
        if match := FILE.fullmatch(path.name):
            date_of[path] = match[1]
    unfinished = {UNFINISHED.fullmatch(path.name)[1] for path in _unfinished_notes(folder)}
    newest = max(set(date_of.values()) - unfinished, default="")
    return longest(path for path, date in date_of.items() if date == newest)


def requested_megabytes(folder):
    """Return the size that ``fetch`` was asked for if a dump is unfinished (0: all), else None."""
    notes = _unfinished_notes(folder)
    return json.loads(notes[-1].read_text(encoding="utf-8"))["megabytes"] if notes else None


def _unfinished_notes(folder):
    """Return the paths of the notes of unfinished dumps, the newest last."""
    paths = [path for path in Path(folder).glob("*.part.json") if UNFINISHED.fullmatch(path.name)]
    return sorted(paths)


def fetch(folder, language="", megabytes=0, address=HOME, show_progress=True, pause=1.0):
    """Download the newest dump of a language (default: "simple") into ``folder``; return its files.

    megabytes: how much of the compressed files; 0 means all. Files that exist are not downloaded
    again. While one is missing, a note in the folder makes ``find`` skip this dump.

    Raises FileNotFoundError for a language without a Wikipedia, and the errors of ``download``.
    """
    folder = Path(folder)
    urls = _newest_urls(language or DEFAULT_VARIANT, address, show_progress, pause)
    dump = urls[0].rpartition("/")[2].rpartition("-")[0]  # simplewiki_content-20260927
    note = folder / f"{dump}.part.json"
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(note, json.dumps({"megabytes": megabytes}))

    check = partial(check_compressed, show_progress=show_progress)
    files = []
    remaining = megabytes
    for url in urls:
        path = folder / url.rpartition("/")[2]
        if path.exists():
            file = path
        elif partial_path(path, remaining).exists():
            file = partial_path(path, remaining)
        else:
            file = download(url, path, check, show_progress, pause, remaining)
        files.append(file)
        if megabytes:
            remaining -= -(-file.stat().st_size // 1_000_000)  # rounded up
            if remaining <= 0:
                break
    note.unlink(missing_ok=True)
    return files


def _newest_urls(language, address, show_progress, pause):
    """Return the addresses of the files of the newest complete dump."""
    if not re.fullmatch(r"[a-z]+([-_][a-z]+)*", language):
        raise ValueError(f"no language {language!r}: give the first part of a Wikipedia's "
                         "address, such as en in en.wikipedia.org")
    wiki = f"{language.replace('-', '_')}wiki_content"
    page = read_page(address, show_progress, pause)
    for date in sorted(set(re.findall(r'href="(\d{8})/"', page)), reverse=True):
        folder = f"{address}{date}/index_name%3D{wiki}/"
        try:
            page = read_page(folder, show_progress, pause)
        except FileNotFoundError:  # this week has no dump of this language
            continue
        names = {urllib.parse.unquote(name) for name in re.findall(r'href="([^"/]+)"', page)}
        files = sorted(name for name in names
                       if FILE.fullmatch(name) and name.startswith(f"{wiki}-{date}-"))
        if files and "_SUCCESS" in names:
            return [folder + name for name in files]
    raise FileNotFoundError(f"{address}: no complete dump of {wiki}: is there a "
                            f"{language}.wikipedia.org? If so, download it by hand and give its "
                            "path (--corpus FILE)")
