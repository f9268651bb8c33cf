"""Wikipedia as plain text: the dump of its own search index (CirrusSearch), which needs no parser of wiki markup.

Two lines a page, as Elasticsearch's bulk interface takes them: what to do, then the document. Pages are articles
(namespace 0); redirects are no documents of their own. ``text`` is the article without markup, mostly in one line,
so it is cut into sentences.

    {"index": {"_id": 12}}
    {"title": "Cat", "namespace": 0, "text": "A cat is an animal. ...", "source_text": ..., ...}

The home is a folder a week, a folder a wiki, one or more files: 20260927/index_name=simplewiki_content/
simplewiki_content-20260927-00000.json.bz2, and an empty _SUCCESS when all are there. The older home (other/cirrussearch,
one .json.gz a wiki, until 2025) had the same lines; its files are read as well. Where each fact is from: docs/sources.md.
"""
import json
import re
import urllib.parse
from pathlib import Path

from data.sentences import split_sentences
from data.sources.compression import check_compressed, longest, partial_path
from data.sources.download import download, read_page
from tokenizer.utils.files import atomic_write

HOME = "https://dumps.wikimedia.org/other/cirrus_search_index/"
DEFAULT_VARIANT = "simple"  # Simple English: one file of about 550 MB; English has some 65 files, 40 GB together
FILE = re.compile(r"[a-z_]+_content-(\d{8})-\d+(\.first-\d+MB)?\.json\.bz2")
UNFINISHED = re.compile(r"[a-z_]+_content-(\d{8})\.part\.json")  # beside the files of a dump while some of what was asked for is missing


# ------------------------------------------------------------------------------------------------------- its form


def is_dump(record):
    """Whether an object of JSON lines says what to do with the next one, as in a dump of this form, and is no record of another's.

    >>> is_dump({"index": {"_id": 12}}), is_dump({"index": {"_id": 12}, "text": "Mine."}), is_dump({"index": {"page": 12}})
    (True, False, False)
    """
    return list(record) == ["index"] and isinstance(record["index"], dict) and "_id" in record["index"]


def articles(records):
    """Of (line number, object) pairs those that are articles."""
    return ((number, record) for number, record in records if not is_dump(record) and record.get("namespace", 0) == 0)


def document(text):
    """``"A cat is an animal. It purrs." -> "A cat is an animal.\\nIt purrs."``"""
    return "\n".join(split_sentences(text))


# ------------------------------------------------------------------------------------------------------- its home


def find(folder):
    """The files of the newest dump in ``folder`` that is there as far as it was asked for; [] where there is none."""
    files = {path: FILE.fullmatch(path.name)[1] for path in Path(folder).glob("*.json.bz2") if FILE.fullmatch(path.name)}
    begun = {UNFINISHED.fullmatch(path.name)[1] for path in under_way(folder)}
    newest = max(set(files.values()) - begun, default="")
    return longest(path for path, date in files.items() if date == newest)


def under_way(folder):
    """The notes of dumps of which ``folder`` has but a part, the newest last: ``[.../enwiki_content-20260927.part.json]``"""
    return sorted((path for path in Path(folder).glob("*.part.json") if UNFINISHED.fullmatch(path.name)), key=lambda path: path.name)


def requested_megabytes(folder):
    """The megabytes of the newest dump that is under way in ``folder`` (0: all of it), as ``fetch`` was asked; None where none is."""
    notes = under_way(folder)
    return json.loads(notes[-1].read_text(encoding="utf-8"))["megabytes"] if notes else None


def fetch(folder, language="", megabytes=0, address=HOME, show_progress=True, pause=1.0):
    """Download the newest dump of a language ("simple" where none is named) into ``folder``; return its files.

    ``megabytes``: no more than so many (packed) million bytes, 0 for all of it. Files that are there are not fetched again.
    As long as one is missing a note says so (UNFINISHED), and ``find`` does not take the dump for whole.
    Raises FileNotFoundError where there is no Wikipedia in that language, and what ``download`` raises.
    """
    left, files = megabytes, []
    urls = _newest(language or DEFAULT_VARIANT, address, show_progress, pause)
    note = Path(folder) / (urls[0].rpartition("/")[2].rpartition("-")[0] + ".part.json")
    Path(folder).mkdir(parents=True, exist_ok=True)
    atomic_write(note, json.dumps({"megabytes": megabytes}))
    for url in urls:
        path = Path(folder) / url.rpartition("/")[2]
        there = [place for place in (path, partial_path(path, left)) if place.exists()]
        files.append(there[0] if there else download(
            url, path, lambda part, whole: check_compressed(part, whole, show_progress), show_progress, pause, left))
        if megabytes:
            left -= -(-files[-1].stat().st_size // 1_000_000)  # ceil
            if left <= 0:
                break
    note.unlink(missing_ok=True)
    return files


def _newest(language, address, show_progress, pause):
    """The addresses of the files of the newest dump that is complete."""
    if not re.fullmatch(r"[a-z]+([-_][a-z]+)*", language):
        raise ValueError(f"no language {language!r}: it is the first part of a Wikipedia's address, as en in en.wikipedia.org")
    index = f"{language.replace('-', '_')}wiki_content"
    for date in sorted(set(re.findall(r'href="(\d{8})/"', read_page(address, show_progress, pause))), reverse=True):
        place = f"{address}{date}/index_name%3D{index}/"
        try:
            names = {urllib.parse.unquote(name) for name in re.findall(r'href="([^"/]+)"', read_page(place, show_progress, pause))}
        except FileNotFoundError:
            continue
        files = sorted(name for name in names if FILE.fullmatch(name) and name.startswith(f"{index}-{date}-"))
        if files and "_SUCCESS" in names:
            return [place + name for name in files]
    raise FileNotFoundError(f"{address}: no complete dump of {index} in any of its folders: is there a {language}.wikipedia.org? "
                            "Else look there by hand, and give a file's path (--corpus FILE)")
