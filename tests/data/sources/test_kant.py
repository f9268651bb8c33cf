"""The corpus kant: downloaded once, checked, and read without Gutenberg's header and license."""
import os
from functools import partial

import pytest

from data import open_corpus
from data.sources import kant

BOOK = ("*** START OF THE PROJECT GUTENBERG EBOOK X ***\nBook {}\n\nSecond paragraph\n"
        "*** END OF THE PROJECT GUTENBERG EBOOK X ***\n")


@pytest.fixture
def books(server, monkeypatch):
    """A server with three short books that have the expected checksums."""
    names = {"a.txt": 1, "b.txt": 2, "c.txt": 3}
    checksums = {n: kant.body_checksum(BOOK.format(n).split("\n")) for n in names.values()}
    server.files = {f"/{n}": BOOK.format(n).encode() for n in names.values()}
    monkeypatch.setattr(kant, "BOOKS", {name: (n, checksums[n]) for name, n in names.items()})
    monkeypatch.setattr(kant, "fetch", partial(
        kant.fetch, url=server.address + "/{ebook}", show_progress=False, pause=0))
    monkeypatch.delenv("MINIBERT_CORPORA", raising=False)
    return server


def test_the_books_are_downloaded_once_and_read_without_boilerplate(books, tmp_path):
    for _ in range(2):
        documents = list(open_corpus("kant", cache=tmp_path).documents("all"))
        assert documents == ["Book 1", "Second paragraph", "Book 2", "Second paragraph",
                             "Book 3", "Second paragraph"]
    assert len(books.requests) == 3


def test_another_edition_is_an_error_unless_checksums_are_off(books, tmp_path):
    books.files["/2"] = BOOK.format("of another edition").encode()
    with pytest.raises(ValueError, match="b.txt: the text has checksum .*--no-checksum"):
        open_corpus("kant", cache=tmp_path)
    assert [path.name for path in (tmp_path / "kant").iterdir()] == ["a.txt"]
    assert len(kant.fetch(tmp_path / "kant", checksum=False)) == 3


def test_a_new_header_or_license_does_not_matter(books, tmp_path):
    book = books.files["/2"].replace(b"\n", b"\r\n")
    books.files["/2"] = b"Another header\r\n" + book + b"Another license"
    assert len(open_corpus("kant", cache=tmp_path).files) == 3


@pytest.mark.skipif("MINIBERT_CORPORA" not in os.environ, reason="needs the folder with kant/")
def test_the_real_books_have_the_expected_checksums_and_split():
    corpus = open_corpus("kant")
    assert [file.name for file in corpus.files] == list(kant.BOOKS)
    for file in corpus.files:
        kant.check_book(file, is_complete=True, expected=kant.BOOKS[file.name][1], name=file.name)
    train = list(corpus.documents("train"))
    validation = list(corpus.documents("eval"))
    assert len(train) > 1900
    assert 80 < len(validation) < 140
    assert not set(train) & set(validation)
    text = "\n".join(train + validation)
    assert "utenberg" not in text and "GUTENBERG" not in text and "Produced by" not in text
    assert 1_700_000 < len(text) < 1_850_000
