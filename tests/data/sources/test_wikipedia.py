"""Wikipedia's dump: read in its form, and downloaded from a local server with its layout."""
import bz2
import gzip
import json

import pytest

from data import open_corpus
from data.readers import read_documents
from data.sources import named, wikipedia


def dump(*pages, **fields):
    """Return pages (title, text) as the lines of a dump."""
    lines = []
    for i, (title, text) in enumerate(pages):
        page = {"title": title, "namespace": 0, "text": text, "source_text": f"''{title}''"}
        lines += [{"index": {"_id": i}}, {**page, **fields}]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


PAGES = dump(("Cat", "A cat has 4.5 kg. It purrs. Dr. Schrödinger had none."),
             ("Empty", ""),
             ("Dog", "A dog barks.\nIt runs."))
DOCUMENTS = ["A cat has 4.5 kg.\nIt purrs.\nDr. Schrödinger had none.", "A dog barks.\nIt runs."]


@pytest.mark.parametrize("name, compress", [
    ("dump.json", bytes), ("dump.json.gz", gzip.compress), ("dump.jsonl.gz", gzip.compress),
    ("dump.json.bz2", bz2.compress)])
def test_a_dump_is_recognized_by_its_first_line(tmp_path, name, compress):
    (tmp_path / name).write_bytes(compress(PAGES))
    assert list(open_corpus(tmp_path / name).documents("all")) == DOCUMENTS


def test_dumps_from_before_2025_can_be_read(tmp_path):
    old = PAGES.replace(b'{"_id": 0}', b'{"_type": "page", "_id": "0"}')
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(old))
    assert list(read_documents(tmp_path / "a.json.gz")) == DOCUMENTS


def test_only_articles_with_text_are_documents(tmp_path):
    talk = dump(("Talk:Cat", "I like cats."), namespace=1)
    (tmp_path / "a.json").write_bytes(PAGES + talk + dump(("No text", None)))
    assert list(read_documents(tmp_path / "a.json")) == DOCUMENTS


def test_a_partial_dump_is_read_as_far_as_it_goes(tmp_path):
    path = tmp_path / "a.first-1MB.json"
    for end in range(0, len(PAGES), 3):
        path.write_bytes(PAGES[:end])
        documents = list(read_documents(path))
        assert documents == DOCUMENTS[: len(documents)]


# Downloading

WIKI = "simplewiki_content"
FOLDER = f"/20260920/index_name%3D{WIKI}/"
FILES = [f"{WIKI}-20260920-00000.json.bz2", f"{WIKI}-20260920-00001.json.bz2"]
FIRST, SECOND = FOLDER + FILES[0], FOLDER + FILES[1]
NOTE = f"{WIKI}-20260920.part.json"


def listing(*names):
    return "".join(f'<a href="{name}">{name}</a>\n' for name in ("../", *names)).encode()


@pytest.fixture
def home(server, monkeypatch):
    """``wikipedia.fetch`` downloads from a local server with three dumps of two files each.

    The newest dump is not complete: it has no _SUCCESS.
    """
    server.files = {"/": listing("20260913/", "20260920/", "20260927/", "readme.html")}
    for date in ("20260913", "20260920", "20260927"):
        folder = f"/{date}/index_name%3D{WIKI}/"
        names = [f"{WIKI}-{date}-0000{i}.json.bz2" for i in range(2)]
        for i, name in enumerate(names):
            content = dump((date, f"File {i} of {date}."))
            server.files[folder + name] = bz2.compress(content)
        success = [] if date == "20260927" else ["_SUCCESS"]
        server.files[folder] = listing(*success, *names)
    fetch = wikipedia.fetch
    monkeypatch.setattr(wikipedia, "fetch", lambda *args, show_progress=True, **options: fetch(
        *args, **options, address=server.address + "/", show_progress=False, pause=0))
    monkeypatch.delenv("MINIBERT_CORPORA", raising=False)
    return server


def names(paths):
    return [path.name for path in paths]


def test_the_newest_complete_dump_is_downloaded_once(home, tmp_path):
    for _ in range(2):
        files = wikipedia.fetch(tmp_path)
        assert names(files) == FILES
        assert files == wikipedia.find(tmp_path)
        assert len(list(tmp_path.iterdir())) == 2
    documents = [document for file in files for document in read_documents(file)]
    assert documents == ["File 0 of 20260920.", "File 1 of 20260920."]
    assert sum(path.endswith(".bz2") for path, _ in home.requests) == 2


def test_the_size_of_a_download_can_be_limited(home, tmp_path):
    """Files of 1.5 MB count as 2: a limit of 3 MB leaves 1 MB for the second file."""
    padding = bz2.compress(b"x" * 10)
    for path in (FIRST, SECOND):
        pages = [(str(i), f"{i * 7919 ** 3 % 10 ** 12} is a number.") for i in range(2000)]
        content = bz2.compress(dump(*pages))
        home.files[path] = content + padding * ((1_500_000 - len(content)) // len(padding))
    partial_files = [name.replace(".json", ".first-1MB.json") for name in FILES]
    assert names(wikipedia.fetch(tmp_path, megabytes=1)) == [partial_files[0]]
    assert names(wikipedia.fetch(tmp_path, megabytes=2)) == [FILES[0]]
    assert names(wikipedia.fetch(tmp_path, megabytes=3)) == [FILES[0], partial_files[1]]
    assert names(wikipedia.find(tmp_path)) == [FILES[0], partial_files[1]]
    assert next(read_documents(tmp_path / partial_files[1])) == "0 is a number."


def test_an_unfinished_dump_is_not_used(home, tmp_path):
    content = home.files[SECOND]
    home.files[SECOND] = 403
    with pytest.raises(OSError, match="answers 403"):
        wikipedia.fetch(tmp_path)
    assert (tmp_path / FILES[0]).exists()
    assert wikipedia.find(tmp_path) == []
    assert wikipedia.requested_megabytes(tmp_path) == 0
    with pytest.raises(ValueError, match=NOTE):
        open_corpus(tmp_path)
    home.files[SECOND] = content
    files = wikipedia.fetch(tmp_path)
    assert files == wikipedia.find(tmp_path) == open_corpus(tmp_path).files
    assert wikipedia.requested_megabytes(tmp_path) is None


def test_an_older_finished_dump_is_used_while_a_newer_one_is_unfinished(home, tmp_path):
    older = [tmp_path / f"{WIKI}-20260913-0000{i}.json.bz2" for i in range(2)]
    for file in older:
        file.touch()
    home.files[SECOND] = 403
    with pytest.raises(OSError, match="answers 403"):
        wikipedia.fetch(tmp_path)
    assert wikipedia.find(tmp_path) == older


def test_an_unknown_language_is_an_error(home, tmp_path):
    with pytest.raises(FileNotFoundError, match="no complete dump of tlhwiki_content: is there a"):
        wikipedia.fetch(tmp_path, language="tlh")
    with pytest.raises(ValueError, match="no language 'English.* en in en.wikipedia.org"):
        wikipedia.fetch(tmp_path, language="English!")
    assert not list(tmp_path.iterdir())


# Opening by name


def test_the_named_corpus_is_downloaded_once(home, tmp_path, capsys):
    corpus = open_corpus("wikipedia", cache=tmp_path)
    assert list(corpus.documents("all")) == ["File 0 of 20260920.", "File 1 of 20260920."]
    message = "wikipedia: fetching the first 50 MB (compressed) from dumps.wikimedia.org to"
    assert message in capsys.readouterr().err
    home.files = {}
    assert open_corpus("wikipedia", cache=tmp_path).files == corpus.files
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("megabytes, num_files", [(0, 2), (1, 1)])  # each file counts as 1 MB
def test_an_interrupted_download_continues_to_the_requested_size(
        home, tmp_path, monkeypatch, megabytes, num_files):
    monkeypatch.setattr(named, "CACHE", tmp_path)
    content = home.files[FIRST]
    home.files[FIRST] = 403
    with pytest.raises(OSError, match="answers 403"):
        wikipedia.fetch(tmp_path / "wikipedia" / "simple", "", megabytes)
    assert "not downloaded yet" in named.location("wikipedia")
    home.files[FIRST] = content
    assert len(open_corpus("wikipedia", cache=tmp_path).files) == num_files
    assert named.location("wikipedia") == str(tmp_path / "wikipedia")
