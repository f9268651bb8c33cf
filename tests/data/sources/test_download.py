import email.utils
import gzip
import json
import time

import pytest
from local_server import CONTENT

from data.sources.compression import check_compressed
from data.sources.download import ATTEMPTS, download, read_page


def fetch(server, path, name="/file", **options):
    return download(server.address + name, path, show_progress=False, pause=0, **options)


def test_a_file_is_downloaded_and_nothing_else_left(server, tmp_path):
    assert fetch(server, tmp_path / "new" / "a").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.rglob("*")] == ["new", "a"]


def test_a_download_that_breaks_off_goes_on_where_it_broke(server, tmp_path):
    server.breaks = [100_000, 200_000]
    assert fetch(server, tmp_path / "a").read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == [None, "bytes=100000-", "bytes=300000-"]


def begin(server, path, received, name="/file"):
    """What a broken download leaves behind: ``received`` bytes, and what they are the beginning of."""
    server.breaks = [received] + [0] * ATTEMPTS
    with pytest.raises(OSError, match=f"no connection after .*goes on from byte {received:,}"):
        fetch(server, path, name)
    server.breaks, server.requests = [], []
    assert path.with_name(path.name + ".part").read_bytes() == server.files[name][:received] and not path.exists()


@pytest.mark.parametrize("headers", [{}, {"ETag": '"1"'}, {"ETag": 'W/"1"', "Last-Modified": "Sun, 27 Sep 2026 00:00:00 GMT"}])
def test_a_later_call_goes_on_too(server, tmp_path, headers):
    server.headers = headers
    begin(server, tmp_path / "a", 1234)
    assert fetch(server, tmp_path / "a").read_bytes() == CONTENT
    assert server.requests == [("/file", "bytes=1234-")]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("knows_if_range", [True, False])
@pytest.mark.parametrize("before, after", [
    ({"ETag": '"1"'}, {"ETag": '"2"'}), ({"ETag": '"1"'}, {}),
    ({"Last-Modified": "Sun, 27 Sep 2026 00:00:00 GMT"}, {"Last-Modified": "Sun, 04 Oct 2026 00:00:00 GMT"})])
def test_two_versions_of_a_file_are_never_glued_together(server, tmp_path, before, after, knows_if_range):
    """Equal in length, so that only the headers tell."""
    server.headers, server.supports_if_range = before, knows_if_range
    begin(server, tmp_path / "a", 1234)
    server.files["/file"], server.headers = CONTENT[::-1], after
    assert fetch(server, tmp_path / "a").read_bytes() == CONTENT[::-1]


def test_a_changed_file_costs_one_request(server, tmp_path):
    """If-Range: the rest if it is the same file, else all of it, in one answer."""
    server.headers = {"ETag": '"1"'}
    begin(server, tmp_path / "a", 1234)
    server.files["/file"], server.headers = CONTENT[::-1], {"ETag": '"2"'}
    assert fetch(server, tmp_path / "a").read_bytes() == CONTENT[::-1] and server.requests == [("/file", "bytes=1234-")]


def test_as_long_as_bytes_come_it_goes_on(server, tmp_path):
    server.breaks = [10_000] * 4 * ATTEMPTS
    assert fetch(server, tmp_path / "a").read_bytes() == CONTENT and len(server.requests) == 4 * ATTEMPTS + 1


def test_a_server_that_tells_no_versions_apart_is_known_by_the_length(server, tmp_path):
    begin(server, tmp_path / "a", 1234)
    server.files["/file"] = CONTENT[::-1] + b"longer"
    assert fetch(server, tmp_path / "a").read_bytes() == CONTENT[::-1] + b"longer"


def test_bytes_of_unknown_origin_are_not_used(server, tmp_path):
    (tmp_path / "a.part").write_bytes(b"something else")
    assert fetch(server, tmp_path / "a").read_bytes() == CONTENT and server.requests == [("/file", None)]
    server.files["/other"] = CONTENT[::-1]
    begin(server, tmp_path / "b", 1234)
    assert fetch(server, tmp_path / "b", "/other").read_bytes() == CONTENT[::-1]  # the beginning of another address


@pytest.mark.parametrize("notes", ["", "[]", '{"url": 5}', "{", '{"url": "URL", "length": "x", "version": ""}'])
def test_damaged_notes_are_no_notes(server, tmp_path, notes):
    (tmp_path / "a.part").write_bytes(CONTENT[:10])
    (tmp_path / "a.part.json").write_text(notes.replace("URL", server.address + "/file"))
    assert fetch(server, tmp_path / "a").read_bytes() == CONTENT and server.requests == [("/file", None)]


def test_a_server_that_knows_no_ranges_is_asked_for_all_of_it(server, tmp_path):
    server.supports_ranges = False
    server.breaks = [100_000]
    assert fetch(server, tmp_path / "a").read_bytes() == CONTENT


def notes(server, length):
    return json.dumps({"url": server.address + "/file", "length": length, "version": ""})


def test_a_whole_part_needs_only_its_name(server, tmp_path):
    (tmp_path / "a.part").write_bytes(CONTENT)
    (tmp_path / "a.part.json").write_text(notes(server, len(CONTENT)))
    assert fetch(server, tmp_path / "a").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["a"] and server.requests == [("/file", f"bytes={len(CONTENT)}-")]


def test_a_part_that_is_too_long_is_begun_anew(server, tmp_path):
    (tmp_path / "a.part").write_bytes(CONTENT + b"more")
    (tmp_path / "a.part.json").write_text(notes(server, len(CONTENT) + 4))
    assert fetch(server, tmp_path / "a").read_bytes() == CONTENT


def test_a_server_without_a_length_is_believed_and_the_check_decides(server, tmp_path):
    server.files["/file"], server.length = gzip.compress(CONTENT), None
    assert fetch(server, tmp_path / "a.gz", check=check).read_bytes() == server.files["/file"]
    server.breaks = [1000]
    with pytest.raises(ValueError, match="b.gz.part: the gz file is cut off"):
        fetch(server, tmp_path / "b.gz", check=check)
    assert [path.name for path in tmp_path.iterdir()] == ["a.gz"]


@pytest.mark.parametrize("length", [100, 10 ** 9])
def test_a_wrong_length_gives_no_half_file(server, tmp_path, length):
    """Too short: the check sees it. Too long: the connection seems to break again and again."""
    server.files["/file"], server.length, server.supports_ranges = gzip.compress(CONTENT), length, False
    with pytest.raises((ValueError, OSError), match="is cut off" if length == 100 else "no connection after"):
        fetch(server, tmp_path / "a.gz", check=check)
    assert not (tmp_path / "a.gz").exists()


def check(part, whole):
    check_compressed(part, whole, show_progress=False)


@pytest.mark.parametrize("place", [30, -3])  # in the text; in the checksum at the end
def test_a_flipped_bit_is_found_by_the_checksum_of_the_packing(server, tmp_path, place):
    damaged = bytearray(gzip.compress(b"some lines\n" * 5, compresslevel=0))
    damaged[place] ^= 1
    server.files["/file"] = bytes(damaged)
    with pytest.raises(ValueError, match="the gz file is damaged"):
        fetch(server, tmp_path / "a.gz", check=check)
    assert not list(tmp_path.iterdir())


def test_redirects_are_followed(server, tmp_path):
    server.files |= {"/old": "/older", "/older": server.address + "/file"}
    server.breaks = [100]
    assert fetch(server, tmp_path / "a", "/old").read_bytes() == CONTENT
    assert server.requests[-3:] == [("/old", "bytes=100-"), ("/older", "bytes=100-"), ("/file", "bytes=100-")]


@pytest.mark.parametrize("target", ["/loop", "file:///etc/hostname"])
def test_redirects_that_lead_nowhere_are_an_error_at_once(server, tmp_path, target):
    server.files["/loop"] = target
    with pytest.raises(OSError, match="/loop: redirected in a circle, or to what is no web address .302.: download it by hand"):
        fetch(server, tmp_path / "a", "/loop")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("code", [429, 503])
def test_a_server_that_asks_to_wait_is_waited_for(server, tmp_path, monkeypatch, code):
    waits = []
    monkeypatch.setattr("data.sources.download.time.sleep", waits.append)
    date = email.utils.formatdate(time.time() + 60, usegmt=True)
    server.refusals = [(code, {"Retry-After": "7"}), (code, {}), (code, {"Retry-After": date}), (code, {"Retry-After": "soon"})]
    assert download(server.address + "/file", tmp_path / "a", show_progress=False, pause=1).read_bytes() == CONTENT
    assert waits[:2] == [7, 2] and 50 < waits[2] <= 60 and waits[3] == 8  # where no time is named: 1, 2, 4, 8


def test_a_server_that_asks_to_wait_for_an_hour_is_left_alone(server, tmp_path):
    server.refusals = [(503, {"Retry-After": "3600"})]
    with pytest.raises(OSError, match="answers 503 .* and asks to wait 3,600 s: try again then"):
        fetch(server, tmp_path / "a")
    assert len(server.requests) == 1


def test_a_proxy_of_the_environment_is_used(server, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", server.address)
    server.files["http://corpora.invalid/file"] = CONTENT  # a proxy is asked for the whole address
    assert download("http://corpora.invalid/file", tmp_path / "a", show_progress=False, pause=0).read_bytes() == CONTENT


def test_two_processes_do_not_write_into_one_part(server, tmp_path):
    def while_another_is_at_work(part, whole):
        with pytest.raises(ValueError, match="another process is downloading into"):
            fetch(server, tmp_path / "b")
    fetch(server, tmp_path / "a", check=while_another_is_at_work)


def test_the_screen_shows_the_rate_and_why_it_waits(server, tmp_path, capsys):
    server.breaks = [100_000]
    download(server.address + "/file", tmp_path / "a", pause=0)
    screen = capsys.readouterr().err
    assert "B/s" in screen and "the connection broke after 100,000 of 512,000 bytes: again in 0 s" in screen


def test_a_page_is_text_and_as_patient(server):
    server.files["/page"], server.refusals = "Größe".encode(), [(500, {})]
    assert read_page(server.address + "/page", False, 0) == "Größe"
    with pytest.raises(FileNotFoundError, match="answers 404"):
        read_page(server.address + "/none", False, 0)


def test_a_page_that_breaks_off_is_asked_for_again(server):
    """A listing without its end would lack the newest dates."""
    server.files["/page"], server.breaks = b"0123456789", [4]
    assert read_page(server.address + "/page", False, 0) == "0123456789"
    server.breaks = [4] * ATTEMPTS
    with pytest.raises(OSError, match="no connection after .*the connection broke after 4 of 10 bytes"):
        read_page(server.address + "/page", False, 0)
    server.length = None
    assert read_page(server.address + "/page", False, 0) == "0123456789"


def test_the_middle_of_a_file_is_not_taken_for_its_beginning(server, tmp_path):
    """A 206 that nobody has asked for: bytes 500 to the end."""
    server.unrequested_start = 500
    with pytest.raises(OSError, match="no connection after .*asked for all of it, got bytes 500-511999/512000"):
        fetch(server, tmp_path / "a")
    assert not list(tmp_path.iterdir())
    with pytest.raises(OSError, match="asked for all of it, got bytes 500-"):
        read_page(server.address + "/file", False, 0)


# ---------------------------------------------------------------------------------------------- the first megabytes

PACKED = gzip.compress(b"".join(b"line %d\n" % (i * i) for i in range(500_000)), compresslevel=1)  # over 1.2 MB


@pytest.mark.parametrize("received", [0, 500_000, 1_200_000])
@pytest.mark.parametrize("knows_ranges", [True, False])
def test_the_first_megabyte_is_a_file_of_its_own(server, tmp_path, received, knows_ranges):
    server.files["/file"] = PACKED
    if received:
        begin(server, tmp_path / "a.jsonl.gz", received)
    server.supports_ranges = knows_ranges
    path = fetch(server, tmp_path / "a.jsonl.gz", megabytes=1, check=check)
    assert path == tmp_path / "a.first-1MB.jsonl.gz" and path.read_bytes() == PACKED[:1_000_000]
    assert [path.name for path in tmp_path.iterdir()] == ["a.first-1MB.jsonl.gz"]


@pytest.mark.parametrize("size, name", [(999_999, "a"), (1_000_000, "a"), (1_000_001, "a.first-1MB")])
def test_a_file_that_is_no_longer_than_that_has_its_own_name(server, tmp_path, size, name):
    server.files["/file"] = bytes(size)
    assert fetch(server, tmp_path / "a", megabytes=1).name == name


def test_a_file_that_is_not_there_is_an_error_at_once(server, tmp_path):
    with pytest.raises(OSError, match="the server answers 404 .*by hand and give its path"):
        fetch(server, tmp_path / "a", name="/none")
    assert len(server.requests) == 1 and not list(tmp_path.iterdir())


def test_a_server_in_trouble_is_asked_again_and_then_given_up(server, tmp_path):
    server.files["/file"] = 503
    with pytest.raises(OSError, match=f"no connection after {ATTEMPTS} attempts"):
        fetch(server, tmp_path / "a")
    assert len(server.requests) == ATTEMPTS


def test_no_server_at_all_is_one_clear_error(tmp_path):
    with pytest.raises(OSError, match="http://127.0.0.1:9/file: no connection"):
        download("http://127.0.0.1:9/file", tmp_path / "a", show_progress=False, pause=0)


def test_giving_up_keeps_what_came(server, tmp_path):
    server.breaks = [100_000] + [0] * ATTEMPTS
    with pytest.raises(OSError, match="goes on from byte 100,000"):
        fetch(server, tmp_path / "a")
    assert (tmp_path / "a.part").read_bytes() == CONTENT[:100_000] and not (tmp_path / "a").exists()


def test_what_fails_its_check_is_not_kept(server, tmp_path):
    def check(part, whole):
        raise ValueError("wrong checksum")
    with pytest.raises(ValueError, match="wrong checksum"):
        fetch(server, tmp_path / "a", check=check)
    assert not list(tmp_path.iterdir())
