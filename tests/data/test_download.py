import http.server
import re
import threading

import pytest

from data import corpora, open_corpus
from data.download import ATTEMPTS, download

CONTENT = bytes(range(256)) * 2000  # 512,000 bytes


class Server(http.server.ThreadingHTTPServer):
    """Serves ``files`` (path -> bytes) on 127.0.0.1; each entry of ``breaks`` is how many bytes one answer sends before it
    breaks off; ``knows_ranges`` says whether it can go on in the middle. ``asked`` collects the requests: (path, Range)."""
    knows_ranges = True

    def __init__(self, files):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.breaks, self.asked = files, [], []
        self.address = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        server.asked.append((self.path, asked))
        content = server.files.get(self.path)
        if content is None or isinstance(content, int):
            return self.send_error(content or 404)
        start = int(re.match(r"bytes=(\d+)-", asked)[1]) if asked and server.knows_ranges else 0
        if start and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            return self.end_headers()
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = start + server.breaks.pop(0) if server.breaks else len(content)
        self.wfile.write(content[start:end])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = Server({"/file": CONTENT})
    yield server
    server.shutdown()
    server.server_close()


def fetch(server, path, name="/file", **options):
    return download(server.address + name, path, show_progress=False, pause=0, **options)


def test_a_file_is_downloaded_and_nothing_else_left(server, tmp_path):
    assert fetch(server, tmp_path / "new" / "a").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.rglob("*")] == ["new", "a"]


def test_a_download_that_breaks_off_goes_on_where_it_broke(server, tmp_path):
    server.breaks = [100_000, 200_000]
    assert fetch(server, tmp_path / "a").read_bytes() == CONTENT
    assert [asked for _, asked in server.asked] == [None, "bytes=100000-", "bytes=300000-"]


def test_a_later_call_goes_on_too(server, tmp_path):
    (tmp_path / "a.part").write_bytes(CONTENT[:1234])
    assert fetch(server, tmp_path / "a").read_bytes() == CONTENT
    assert server.asked == [("/file", "bytes=1234-")]


def test_a_server_that_knows_no_ranges_is_asked_for_all_of_it(server, tmp_path):
    server.knows_ranges = False
    server.breaks = [100_000]
    assert fetch(server, tmp_path / "a").read_bytes() == CONTENT


def test_a_whole_part_needs_only_its_name(server, tmp_path):
    (tmp_path / "a.part").write_bytes(CONTENT)
    assert fetch(server, tmp_path / "a").read_bytes() == CONTENT
    assert not (tmp_path / "a.part").exists()


def test_a_part_that_is_too_long_is_begun_anew(server, tmp_path):
    (tmp_path / "a.part").write_bytes(CONTENT + b"more")
    assert fetch(server, tmp_path / "a").read_bytes() == CONTENT


def test_a_file_that_is_not_there_is_an_error_at_once(server, tmp_path):
    with pytest.raises(OSError, match="the server answers 404 .*by hand and give its path"):
        fetch(server, tmp_path / "a", name="/none")
    assert len(server.asked) == 1 and not list(tmp_path.iterdir())


def test_a_server_in_trouble_is_asked_again_and_then_given_up(server, tmp_path):
    server.files["/file"] = 503
    with pytest.raises(OSError, match=f"no connection after {ATTEMPTS} attempts"):
        fetch(server, tmp_path / "a")
    assert len(server.asked) == ATTEMPTS


def test_no_server_at_all_is_one_clear_error(tmp_path):
    with pytest.raises(OSError, match="http://127.0.0.1:9/file: no connection"):
        download("http://127.0.0.1:9/file", tmp_path / "a", show_progress=False, pause=0)


def test_giving_up_keeps_what_came(server, tmp_path):
    server.breaks = [100_000] + [0] * ATTEMPTS
    with pytest.raises(OSError, match="goes on from byte 100,000"):
        fetch(server, tmp_path / "a")
    assert (tmp_path / "a.part").read_bytes() == CONTENT[:100_000] and not (tmp_path / "a").exists()


def test_what_fails_its_check_is_not_kept(server, tmp_path):
    def check(part):
        raise ValueError("wrong checksum")
    with pytest.raises(ValueError, match="wrong checksum"):
        fetch(server, tmp_path / "a", check=check)
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------------------------- kant

BOOK = "*** START OF THE PROJECT GUTENBERG EBOOK X ***\nBook {}\n\nSecond paragraph\n*** END OF THE PROJECT GUTENBERG EBOOK X ***\n"


@pytest.fixture
def books(server, tmp_path, monkeypatch):
    numbers = {"a.txt": 1, "b.txt": 2, "c.txt": 3}
    server.files = {f"/{number}": BOOK.format(number).encode() for number in numbers.values()}
    monkeypatch.setattr(corpora, "KANT", {name: (number, corpora.body_checksum(BOOK.format(number).split("\n"))) for name, number in numbers.items()})
    monkeypatch.delenv("MINIBERT_CORPORA", raising=False)
    original = corpora.download_kant
    monkeypatch.setattr(corpora, "download_kant", lambda folder, **options: original(
        folder, **{**options, "address": server.address + "/{number}", "pause": 0, "show_progress": False}))
    return server


def test_kant_is_downloaded_once_and_read_without_boilerplate(books, tmp_path):
    for _ in range(2):
        corpus = open_corpus("kant", cache=tmp_path)
        assert list(corpus.documents("all")) == ["Book 1", "Second paragraph", "Book 2", "Second paragraph", "Book 3", "Second paragraph"]
    assert len(books.asked) == 3


def test_another_edition_is_refused_unless_it_is_wanted(books, tmp_path):
    books.files["/2"] = BOOK.format("of another edition").encode()
    with pytest.raises(ValueError, match="b.txt: the text has the checksum .*expected.*--no-checksum"):
        open_corpus("kant", cache=tmp_path)
    assert [path.name for path in (tmp_path / "kant").iterdir()] == ["a.txt"]
    assert len(corpora.download_kant(tmp_path / "kant", checksum=False)) == 3


def test_a_licence_that_has_been_rewritten_does_not_matter(books, tmp_path):
    books.files["/2"] = b"Another header\r\n" + books.files["/2"].replace(b"\n", b"\r\n") + b"Another licence"
    assert len(open_corpus("kant", cache=tmp_path).files) == 3
