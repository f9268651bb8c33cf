"""Amazon's reviews in the forms of three editions, and downloads from a local server."""
import gzip
import json
from functools import partial

import pytest

from data import open_corpus
from data.readers import read_documents
from data.sources import amazon, named


def write(path, *records):
    content = "".join(json.dumps(record) + "\n" for record in records).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def review_of_2018(text):
    record = {"overall": 4.0, "asin": "B0", "reviewerID": "A0", "summary": "So"}
    return record if text is None else {**record, "reviewText": text}


def review_of_2023(text):
    return {"rating": 4.0, "title": "So", "text": text, "asin": "B0", "user_id": "A0"}


@pytest.mark.parametrize("review, name", [
    (review_of_2018, "reviews_5.json.gz"), (review_of_2023, "Books.jsonl.gz")])
def test_a_review_of_any_edition_is_a_document_of_sentences(tmp_path, review, name):
    first = review("Good. I&#39;d buy it again<br />and again, Mr. X.")
    path = write(tmp_path / name, first, review(""), review("Bad"))
    assert list(read_documents(path)) == ["Good.\nI'd buy it again\nand again, Mr. X.", "Bad"]


def test_reviews_without_text_are_left_out(tmp_path):
    reviews = [review_of_2018(text) for text in (None, "Fine.", None)]
    assert list(read_documents(write(tmp_path / "a.json", *reviews))) == ["Fine."]


def test_a_field_that_is_missing_in_many_reviews_is_an_error(tmp_path):
    path = write(tmp_path / "a.json", *[review_of_2023("x")] * 1500)
    with pytest.raises(ValueError, match=":1001: no field 'reviewText'; there are: rating, title"):
        list(read_documents(path, "reviewText"))


def test_another_field_can_be_the_text(tmp_path):
    new = write(tmp_path / "new.json", review_of_2023("x"))
    old = write(tmp_path / "old.json", review_of_2018("x"))
    assert list(read_documents(new, "title")) == list(read_documents(old, "summary")) == ["So"]


def test_records_that_are_not_reviews_are_read_unchanged(tmp_path):
    path = write(tmp_path / "a.jsonl", {"text": "One. Two.<br />", "rating": 1})
    assert list(read_documents(path)) == ["One. Two.<br />"]


# Downloading


@pytest.fixture
def home(server, monkeypatch):
    """``amazon.fetch`` downloads from a local server with two categories."""
    for name in ("Books", "Digital_Music"):
        content = json.dumps(review_of_2023(name)).encode() + b"\n"
        server.files[f"/{name}.jsonl.gz"] = gzip.compress(content)
    fetch = amazon.fetch
    monkeypatch.setattr(amazon, "fetch", lambda *args, show_progress=True: fetch(
        *args, address=server.address + "/", show_progress=False, pause=0))
    monkeypatch.delenv("MINIBERT_CORPORA", raising=False)
    return server


def test_a_category_is_downloaded_once(home, tmp_path):
    for _ in range(2):
        assert amazon.fetch(tmp_path, "Books") == [tmp_path / "Books.jsonl.gz"]
    assert amazon.find(tmp_path) == [tmp_path / "Books.jsonl.gz"]
    assert len(home.requests) == 1
    assert list(read_documents(tmp_path / "Books.jsonl.gz")) == ["Books"]


def test_the_name_of_a_corpus_can_have_a_category(home, tmp_path, capsys):
    open_in_cache = partial(open_corpus, cache=tmp_path)
    assert list(open_in_cache("amazon").documents("all")) == ["Digital_Music"]
    assert list(open_in_cache("amazon:Books").documents("all")) == ["Books"]
    folders = sorted(path.name for path in (tmp_path / "amazon").iterdir())
    assert folders == ["Books", "Digital_Music"]
    assert "amazon:Books: fetching the first 50 MB" in capsys.readouterr().err


def test_the_location_is_the_folder_once_a_file_is_complete(monkeypatch, tmp_path):
    monkeypatch.delenv("MINIBERT_CORPORA", raising=False)
    monkeypatch.setattr(named, "CACHE", tmp_path)
    assert named.location("amazon") == "mcauleylab.ucsd.edu (not downloaded yet)"
    books = tmp_path / "amazon" / "Books"
    books.mkdir(parents=True)
    (books / "Books.jsonl.gz.part").touch()
    assert "not downloaded yet" in named.location("amazon")
    (books / "Books.jsonl.gz").touch()
    assert named.location("amazon") == str(tmp_path / "amazon")
