"""Amazon's reviews: made up here in the forms of three editions, read, and fetched."""
import gzip
import json

import pytest

from data import open_corpus
from data.readers import read_documents
from data.sources import amazon, named


def write(path, *records):
    content = "".join(json.dumps(record) + "\n" for record in records).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def of_2018(text):
    return {"overall": 4.0, "asin": "B0", "reviewerID": "A0", "summary": "So", "unixReviewTime": 0} | ({} if text is None else {"reviewText": text})


def of_2023(text):
    return {"rating": 4.0, "title": "So", "text": text, "images": [], "asin": "B0", "parent_asin": "B0", "user_id": "A0"}


@pytest.mark.parametrize("edition, name", [(of_2018, "reviews_5.json.gz"), (of_2023, "Books.jsonl.gz")])
def test_each_edition_is_known_and_each_review_is_a_document_of_sentences(tmp_path, edition, name):
    path = write(tmp_path / name, edition("Good. I&#39;d buy it again<br />and again, Mr. X."), edition(""), edition("Bad"))
    assert list(read_documents(path)) == ["Good.\nI'd buy it again\nand again, Mr. X.", "Bad"]


def test_reviews_without_a_text_are_left_out(tmp_path):
    assert list(read_documents(write(tmp_path / "a.json", of_2018(None), of_2018("Fine."), of_2018(None)))) == ["Fine."]


@pytest.mark.parametrize("count, message", [(3, "in any record"), (1500, "in its first 1,000 records")])
def test_a_field_that_is_not_there_is_an_error_that_names_those_that_are(tmp_path, count, message):
    path = write(tmp_path / "a.json", *[of_2023("x")] * count)
    with pytest.raises(ValueError, match=f"a.json: no field 'reviewText' {message}; there are: rating, title, text, .*--text-field"):
        list(read_documents(path, "reviewText"))


def test_the_title_may_be_the_text(tmp_path):
    assert list(read_documents(write(tmp_path / "a.json", of_2023("x")), "title")) == ["So"]
    assert list(read_documents(write(tmp_path / "a.json", of_2018("x")), "summary")) == ["So"]


def test_objects_that_are_no_reviews_are_read_as_they_are(tmp_path):
    assert list(read_documents(write(tmp_path / "a.jsonl", {"text": "One. Two.<br />", "rating": 1}))) == ["One. Two.<br />"]


# ------------------------------------------------------------------------------------------------------- its home


def fetch(server, folder, category="", megabytes=0):
    return amazon.fetch(folder, category, megabytes, address=server.address + "/", show_progress=False, pause=0)


def test_a_category_is_fetched_once(server, tmp_path):
    server.files = {"/Books.jsonl.gz": gzip.compress(json.dumps(of_2023("A book.")).encode() + b"\n")}
    for _ in range(2):
        assert fetch(server, tmp_path, "Books") == amazon.find(tmp_path) == [tmp_path / "Books.jsonl.gz"]
    assert len(server.requests) == 1 and list(read_documents(tmp_path / "Books.jsonl.gz")) == ["A book."]


def test_an_unknown_category_names_the_nearest(server, tmp_path):
    with pytest.raises(ValueError, match="no category 'Boks': did you mean Books.*there are: All_Beauty, "):
        fetch(server, tmp_path, "Boks")
    assert not server.requests


def test_the_name_fetches_and_a_category_is_part_of_it(server, tmp_path, monkeypatch, capsys):
    server.files = {f"/{name}.jsonl.gz": gzip.compress(json.dumps(of_2023(name)).encode() + b"\n") for name in ("Books", "Digital_Music")}
    original = amazon.fetch
    monkeypatch.setattr(amazon, "fetch", lambda folder, category, megabytes, show_progress: original(
        folder, category, megabytes, server.address + "/", show_progress=False, pause=0))
    monkeypatch.delenv("MINIBERT_CORPORA", raising=False)
    assert list(open_corpus("amazon", cache=tmp_path).documents("all")) == ["Digital_Music"]
    assert list(open_corpus("amazon:Books", cache=tmp_path).documents("all")) == ["Books"]
    assert sorted(path.name for path in (tmp_path / "amazon").iterdir()) == ["Books", "Digital_Music"]
    assert "amazon:Books: fetching the first 50 MB" in capsys.readouterr().err


def test_where_it_is(monkeypatch, tmp_path):
    monkeypatch.delenv("MINIBERT_CORPORA", raising=False)
    monkeypatch.setattr(named, "CACHE", tmp_path)
    assert named.location("amazon") == "mcauleylab.ucsd.edu (not downloaded yet)"
    (tmp_path / "amazon" / "Books").mkdir(parents=True)
    (tmp_path / "amazon" / "Books" / "Books.jsonl.gz.part").touch()
    assert "not downloaded yet" in named.location("amazon")
    (tmp_path / "amazon" / "Books" / "Books.jsonl.gz").touch()
    assert named.location("amazon") == str(tmp_path / "amazon")
