"""Wikipedia's dump: made up here in its form, read, and fetched from a server that is laid out as its home is."""
import bz2
import gzip
import json

import pytest

from data import open_corpus
from data.readers import read_documents
from data.sources import named, wikipedia


def dump(*pages, **more):
    """Pages (title, text) as lines of the dump: what to do, then the document."""
    lines = []
    for number, (title, text) in enumerate(pages):
        lines += [{"index": {"_id": number}}, {"title": title, "namespace": 0, "text": text, "source_text": "''" + title + "''", **more}]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


CATS = dump(("Cat", "A cat has 4.5 kg. It purrs. Dr. Schrödinger had none."), ("Empty", ""), ("Dog", "A dog barks.\nIt runs."))
DOCUMENTS = ["A cat has 4.5 kg.\nIt purrs.\nDr. Schrödinger had none.", "A dog barks.\nIt runs."]


@pytest.mark.parametrize("name, pack", [("dump.json", bytes), ("dump.json.gz", gzip.compress), ("dump.jsonl.gz", gzip.compress),
                                        ("dump.json.bz2", bz2.compress)])
def test_a_dump_is_known_by_its_first_line_and_read_as_sentences(tmp_path, name, pack):
    (tmp_path / name).write_bytes(pack(CATS))
    assert list(open_corpus(tmp_path / name).documents("all")) == DOCUMENTS


def test_the_older_form_is_read_too(tmp_path):
    """Until 2025 the first line had a type and the number as str."""
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(CATS.replace(b'{"_id": 0}', b'{"_type": "page", "_id": "0"}')))
    assert list(read_documents(tmp_path / "a.json.gz")) == DOCUMENTS


def test_only_articles_are_documents(tmp_path):
    (tmp_path / "a.json").write_bytes(CATS + dump(("Talk:Cat", "I like cats."), namespace=1) + dump(("No text", None)))
    assert list(read_documents(tmp_path / "a.json")) == DOCUMENTS


@pytest.mark.parametrize("index", [{"page": 1}, {"_id": 1}, {}])
def test_json_lines_of_ones_own_with_a_field_of_that_name_are_no_dump(tmp_path, index):
    """Of a dump half of these would be dropped as lines that say what to do, the others as no articles."""
    texts = [f"Record {number} is one text. And no sentences." for number in range(6)]
    records = [{"index": index, "text": text} if number % 2 == 0 else {"text": text, "namespace": "main"} for number, text in enumerate(texts)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    assert list(read_documents(tmp_path / "a.jsonl")) == texts


def test_a_dump_cut_off_anywhere_is_read_as_far_as_it_goes(tmp_path):
    for end in range(0, len(CATS), 3):
        (tmp_path / "a.json.part").write_bytes(CATS[:end])
        try:
            documents = list(read_documents(tmp_path / "a.json.part"))
        except ValueError as error:  # not one document yet
            assert "no field 'text' in any record" in str(error) and CATS[:end].count(b"\n") < 2
        else:
            assert documents == DOCUMENTS[: len(documents)]


def test_another_field_may_be_the_text_and_one_that_is_not_there_is_an_error(tmp_path):
    (tmp_path / "a.json").write_bytes(CATS)
    assert list(read_documents(tmp_path / "a.json", "title")) == ["Cat", "Empty", "Dog"]
    with pytest.raises(ValueError, match="a.json: no field 'txet' in any record; there are: title, namespace, text, source_text.*--text-field"):
        list(read_documents(tmp_path / "a.json", "txet"))


def test_half_a_character_does_not_stop_a_dump(tmp_path):
    (tmp_path / "a.json").write_bytes(dump(("Emoji", "Broken \ud83d here.")))
    assert list(read_documents(tmp_path / "a.json")) == ["Broken \ufffd here."]


# ------------------------------------------------------------------------------------------------------- its home


@pytest.fixture
def home(server):
    """Two dumps of three; the newest is not complete. Of Simple English there are two files."""
    def listing(*names):
        return "".join(f'<a href="{name}">{name}</a>\n' for name in ("../", *names)).encode()
    server.files = {"/": listing("20260913/", "20260920/", "20260927/", "readme.html")}
    for date, complete in (("20260913", True), ("20260920", True), ("20260927", False)):
        folder, names = f"/{date}/index_name%3Dsimplewiki_content/", [f"simplewiki_content-{date}-0000{i}.json.bz2" for i in range(2)]
        server.files[folder] = listing(*(["_SUCCESS"] if complete else []), *names)
        for i, name in enumerate(names):
            server.files[folder + name] = bz2.compress(dump((date, f"File {i} of {date}.")))
    return server


def fetch(home, folder, **options):
    return wikipedia.fetch(folder, address=home.address + "/", show_progress=False, pause=0, **options)


def test_the_newest_complete_dump_is_fetched_once(home, tmp_path):
    for _ in range(2):
        files = fetch(home, tmp_path)
        assert [file.name for file in files] == ["simplewiki_content-20260920-00000.json.bz2", "simplewiki_content-20260920-00001.json.bz2"]
        assert files == wikipedia.find(tmp_path) and len(list(tmp_path.iterdir())) == 2
    assert [document for file in files for document in read_documents(file)] == ["File 0 of 20260920.", "File 1 of 20260920."]
    assert sum(path.endswith(".bz2") for path, _ in home.requests) == 2


def test_so_many_megabytes_are_fetched_and_no_more(home, tmp_path):
    """Files of 1.5 MB each, which count as 2: of 3 MB there is 1 left for the second file."""
    for path in [path for path in home.files if path.endswith(".bz2")]:
        home.files[path] = bz2.compress(b"".join(dump((str(i), f"{i * 7919 ** 3 % 10 ** 12} is a number.")) for i in range(2000)))
    size = len(home.files[path])
    home.files = {path: content + bz2.compress(b"x" * 10) * ((1_500_000 - size) // 37) if path.endswith(".bz2") else content
                  for path, content in home.files.items()}
    assert [file.name for file in fetch(home, tmp_path, megabytes=1)] == ["simplewiki_content-20260920-00000.first-1MB.json.bz2"]
    assert [file.name for file in fetch(home, tmp_path, megabytes=2)] == ["simplewiki_content-20260920-00000.json.bz2"]
    assert [file.name for file in fetch(home, tmp_path, megabytes=3)] == ["simplewiki_content-20260920-00000.json.bz2",
                                                                          "simplewiki_content-20260920-00001.first-1MB.json.bz2"]
    assert wikipedia.find(tmp_path) == fetch(home, tmp_path, megabytes=3)  # the whole goes before its beginning
    assert next(read_documents(tmp_path / "simplewiki_content-20260920-00001.first-1MB.json.bz2")) == "0 is a number."


def test_of_several_dumps_the_newest_is_used(tmp_path):
    for name in ("simplewiki_content-20260913-00000.json.bz2", "simplewiki_content-20260920-00000.first-9MB.json.bz2", "other.json.bz2",
                 "simplewiki_content-20260920-00001.json.bz2.part"):
        (tmp_path / name).touch()
    assert [file.name for file in wikipedia.find(tmp_path)] == ["simplewiki_content-20260920-00000.first-9MB.json.bz2"]


SECOND = "/20260920/index_name%3Dsimplewiki_content/simplewiki_content-20260920-00001.json.bz2"
NOTE = "simplewiki_content-20260920.part.json"


def test_half_a_dump_is_not_taken_for_the_whole(home, tmp_path):
    """The second of two files is refused: the first one alone is no corpus, by its name as little as by its folder."""
    second, home.files[SECOND] = home.files[SECOND], 403
    with pytest.raises(OSError, match="answers 403"):
        fetch(home, tmp_path)
    assert (tmp_path / "simplewiki_content-20260920-00000.json.bz2").exists()
    assert wikipedia.find(tmp_path) == [] and wikipedia.requested_megabytes(tmp_path) == 0
    with pytest.raises(ValueError, match=f"has not ended: repeat the command to resume it, or remove .*{NOTE}"):
        open_corpus(tmp_path)
    home.files[SECOND] = second
    assert fetch(home, tmp_path) == wikipedia.find(tmp_path) == open_corpus(tmp_path).files and wikipedia.requested_megabytes(tmp_path) is None


def test_a_newer_dump_that_is_begun_does_not_hide_an_older_whole_one(home, tmp_path):
    older = [tmp_path / f"simplewiki_content-20260913-0000{i}.json.bz2" for i in range(2)]
    for file in older:
        file.touch()
    home.files[SECOND] = 403
    with pytest.raises(OSError, match="answers 403"):
        fetch(home, tmp_path)
    assert wikipedia.find(tmp_path) == older


def test_a_language_that_is_not_there_is_one_clear_error(home, tmp_path):
    with pytest.raises(FileNotFoundError, match="no complete dump of tlhwiki_content in any of its folders: is there a tlh.wikipedia.org"):
        fetch(home, tmp_path, language="tlh")
    with pytest.raises(ValueError, match="no language 'English.*as en in en.wikipedia.org"):
        fetch(home, tmp_path, language="English!")
    assert not list(tmp_path.iterdir())


def test_the_names_of_languages_with_a_hyphen(home, tmp_path):
    home.files = {path.replace("simplewiki", "zh_yuewiki"): content.replace(b"simplewiki", b"zh_yuewiki") if content.startswith(b"<") else content
                  for path, content in home.files.items()}
    assert fetch(home, tmp_path, language="zh-yue")[0].name == "zh_yuewiki_content-20260920-00000.json.bz2"


def test_damaged_files_are_not_kept(home, tmp_path):
    home.files["/20260920/index_name%3Dsimplewiki_content/simplewiki_content-20260920-00000.json.bz2"] = b"<html>Maintenance</html>"
    with pytest.raises(ValueError, match="the bz2 file is damaged"):
        fetch(home, tmp_path)
    assert not list(tmp_path.glob("*.bz2*"))


# ------------------------------------------------------------------------------------------------------- by its name


@pytest.fixture
def wiki(home, monkeypatch):
    """The home is where ``open_corpus`` looks."""
    original = wikipedia.fetch
    monkeypatch.setattr(wikipedia, "fetch", lambda folder, variant, megabytes, show_progress=True: original(
        folder, variant, megabytes, address=home.address + "/", show_progress=False, pause=0))
    monkeypatch.delenv("MINIBERT_CORPORA", raising=False)
    return home


def test_the_name_fetches_a_beginning_and_says_so_and_the_next_time_uses_it(wiki, tmp_path, capsys):
    corpus = open_corpus("wikipedia", cache=tmp_path)
    assert list(corpus.documents("all")) == ["File 0 of 20260920.", "File 1 of 20260920."]
    screen = capsys.readouterr().err
    assert "wikipedia: fetching the first 50 MB (compressed) from dumps.wikimedia.org to" in screen
    wiki.files = {}
    assert open_corpus("wikipedia", cache=tmp_path).files == corpus.files == wikipedia.find(tmp_path / "wikipedia" / "simple")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("megabytes, files", [(0, 2), (1, 1)])
def test_the_name_goes_on_with_a_download_that_stopped_as_far_as_was_asked(wiki, tmp_path, monkeypatch, megabytes, files):
    """Files below 1 MB count as 1: of 1 MB there is nothing left for the second file."""
    first = SECOND.replace("00001.json", "00000.json")
    content, wiki.files[first] = wiki.files[first], 403
    with pytest.raises(OSError, match="answers 403"):
        wikipedia.fetch(tmp_path / "wikipedia" / "simple", "", megabytes)
    assert "not downloaded yet" in place_of(tmp_path, monkeypatch)
    wiki.files[first] = content
    assert len(open_corpus("wikipedia", cache=tmp_path).files) == files
    assert "not downloaded yet" not in place_of(tmp_path, monkeypatch)


def place_of(folder, monkeypatch):
    monkeypatch.setattr(named, "CACHE", folder)
    return named.location("wikipedia")


def test_a_language_is_part_of_the_name(wiki, tmp_path):
    wiki.files = {path.replace("simplewiki", "enwiki"): content.replace(b"simplewiki", b"enwiki") if content.startswith(b"<") else content
                   for path, content in wiki.files.items()}
    corpus = open_corpus("wikipedia:en", cache=tmp_path)
    assert corpus.name == "wikipedia:en" and corpus.files[0].parent == tmp_path / "wikipedia" / "en"


def test_the_folder_that_the_environment_names_goes_first(tmp_path, monkeypatch):
    (tmp_path / "wikipedia" / "en").mkdir(parents=True)
    (tmp_path / "wikipedia" / "en" / "a.json.gz").write_bytes(gzip.compress(CATS))
    monkeypatch.setenv("MINIBERT_CORPORA", str(tmp_path))
    assert list(open_corpus("wikipedia:en").documents("all")) == DOCUMENTS
    assert named.location("wikipedia") == str(tmp_path / "wikipedia")


def test_without_a_network_one_error_says_what_to_do(wiki, tmp_path, monkeypatch):
    wiki.refusals = [(503, {})] * 10
    with pytest.raises(OSError, match="no connection after 5 attempts .*To train without a network: train.py --corpus FILE") as error:
        open_corpus("wikipedia", cache=tmp_path)
    assert "\n" not in str(error.value)
