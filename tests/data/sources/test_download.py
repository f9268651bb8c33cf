"""Downloads from a local server that breaks connections, changes files and refuses requests."""
import gzip
import json

import pytest
from local_server import CONTENT

from data.sources.compression import check_compressed
from data.sources.download import ATTEMPTS, download, read_page


def fetch(server, path, name="/file", **options):
    return download(server.address + name, path, show_progress=False, pause=0, **options)


def check(part, is_complete):
    check_compressed(part, is_complete, show_progress=False)


def interrupt(server, path, received, name="/file"):
    """Leave an unfinished download of ``received`` bytes behind."""
    server.breaks = [received] + [0] * ATTEMPTS
    with pytest.raises(OSError, match="no connection after .*try again to resume"):
        fetch(server, path, name)
    server.breaks = []
    server.requests = []
    part = path.with_name(path.name + ".part")
    assert part.read_bytes() == server.files[name][:received]
    assert not path.exists()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# Resuming


def test_a_broken_download_resumes(server, tmp_path):
    server.breaks = [100_000, 200_000]
    assert fetch(server, tmp_path / "a").read_bytes() == CONTENT
    ranges = [range_header for _, range_header in server.requests]
    assert ranges == [None, "bytes=100000-", "bytes=300000-"]


def test_retries_continue_as_long_as_bytes_arrive(server, tmp_path):
    server.breaks = [10_000] * 4 * ATTEMPTS
    assert fetch(server, tmp_path / "a").read_bytes() == CONTENT
    assert len(server.requests) == 4 * ATTEMPTS + 1


DATE = "Sun, 27 Sep 2026 00:00:00 GMT"
LATER = "Sun, 04 Oct 2026 00:00:00 GMT"


@pytest.mark.parametrize("headers", [{"ETag": '"1"'}, {"ETag": 'W/"1"', "Last-Modified": DATE}])
def test_a_later_call_resumes_an_interrupted_download(server, tmp_path, headers):
    server.headers = headers
    interrupt(server, tmp_path / "a", 1234)
    assert fetch(server, tmp_path / "a").read_bytes() == CONTENT
    assert server.requests == [("/file", "bytes=1234-")]
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("supports_if_range", [True, False])
@pytest.mark.parametrize("before, after", [
    ({"ETag": '"1"'}, {"ETag": '"2"'}),
    ({"ETag": '"1"'}, {}),
    ({"Last-Modified": DATE}, {"Last-Modified": LATER}),
])
def test_two_versions_of_a_file_are_never_joined(
        server, tmp_path, before, after, supports_if_range):
    server.headers = before
    server.supports_if_range = supports_if_range
    interrupt(server, tmp_path / "a", 1234)
    server.files["/file"] = CONTENT[::-1]  # of equal length, so only the headers differ
    server.headers = after
    assert fetch(server, tmp_path / "a").read_bytes() == CONTENT[::-1]
    if supports_if_range:  # the answer to the first request is the complete new file
        assert len(server.requests) == 1


@pytest.mark.parametrize("headers", [{}, {"ETag": 'W/"1"'}])
def test_without_a_version_a_download_starts_over(server, tmp_path, headers):
    server.headers = headers
    server.breaks = [1234]
    assert fetch(server, tmp_path / "a").read_bytes() == CONTENT
    assert server.requests == [("/file", None), ("/file", None)]


OTHER_URL = '{"url": "http://other", "length": 0, "version": "1"}'


@pytest.mark.parametrize("note", ["", OTHER_URL])
def test_bytes_without_a_note_for_the_address_are_not_used(server, tmp_path, note):
    (tmp_path / "a.part").write_bytes(b"something else")
    (tmp_path / "a.part.json").write_text(note)
    assert fetch(server, tmp_path / "a").read_bytes() == CONTENT
    assert server.requests == [("/file", None)]


def test_a_server_without_ranges_sends_the_complete_file_again(server, tmp_path):
    server.supports_ranges = False
    server.breaks = [100_000]
    assert fetch(server, tmp_path / "a").read_bytes() == CONTENT


@pytest.mark.parametrize("extra", [b"", b"more"])
def test_a_complete_part_is_used_and_a_longer_one_is_not(server, tmp_path, extra):
    note = {"url": server.address + "/file", "length": len(CONTENT), "version": '"1"'}
    (tmp_path / "a.part").write_bytes(CONTENT + extra)
    (tmp_path / "a.part.json").write_text(json.dumps(note))
    assert fetch(server, tmp_path / "a").read_bytes() == CONTENT
    assert names(tmp_path) == ["a"]
    assert len(server.requests) == (2 if extra else 0)


# Checks


def test_without_a_length_the_check_decides(server, tmp_path):
    server.files["/file"] = gzip.compress(CONTENT)
    server.length = None
    assert fetch(server, tmp_path / "a.gz", check=check).read_bytes() == server.files["/file"]
    server.breaks = [1000]
    with pytest.raises(ValueError, match="b.gz.part: the gz file is cut off"):
        fetch(server, tmp_path / "b.gz", check=check)
    assert names(tmp_path) == ["a.gz"]


# Redirects and errors


@pytest.mark.parametrize("target", ["/loop", "file:///etc/hostname"])
def test_a_bad_redirect_is_an_error_at_once(server, tmp_path, target):
    server.files["/loop"] = target
    with pytest.raises(OSError, match="/loop: the server answers 302"):
        fetch(server, tmp_path / "a", "/loop")
    assert not list(tmp_path.iterdir())


def test_a_missing_file_is_an_error_at_once(server, tmp_path):
    with pytest.raises(FileNotFoundError, match="answers 404 .*by hand"):
        fetch(server, tmp_path / "a", name="/none")
    assert len(server.requests) == 1
    assert not list(tmp_path.iterdir())


def test_a_server_error_is_retried_a_few_times(server, tmp_path):
    server.files["/file"] = 503
    with pytest.raises(OSError, match=f"no connection after {ATTEMPTS} attempts"):
        fetch(server, tmp_path / "a")
    assert len(server.requests) == ATTEMPTS


@pytest.mark.parametrize("code", [429, 503])
def test_waits_double(server, tmp_path, monkeypatch, code):
    waits = []
    monkeypatch.setattr("data.sources.download.time.sleep", waits.append)
    server.refusals = [code] * 4
    path = download(server.address + "/file", tmp_path / "a", show_progress=False, pause=1)
    assert path.read_bytes() == CONTENT
    assert waits == [1, 2, 4, 8]


def test_the_proxy_of_the_environment_is_used(server, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", server.address)
    url = "http://corpora.invalid/file"
    server.files[url] = CONTENT  # a proxy is asked for the complete address
    path = download(url, tmp_path / "a", show_progress=False, pause=0)
    assert path.read_bytes() == CONTENT


def test_only_one_process_downloads_into_a_folder(server, tmp_path):
    def download_another(part, is_complete):
        with pytest.raises(ValueError, match="another process is downloading into"):
            fetch(server, tmp_path / "b")
    fetch(server, tmp_path / "a", check=download_another)


# Pages


def test_a_page_is_retried_until_it_is_complete(server):
    """A listing without its end would lack the newest dates."""
    server.files["/page"] = "Größe".encode()
    server.refusals = [500]
    server.breaks = [4]
    assert read_page(server.address + "/page", False, 0) == "Größe"
    assert len(server.requests) == 3
    with pytest.raises(FileNotFoundError, match="answers 404"):
        read_page(server.address + "/none", False, 0)


# The first megabytes

LARGE = gzip.compress(b"".join(b"line %d\n" % (i * i) for i in range(500_000)), compresslevel=1)


@pytest.mark.parametrize("received", [0, 500_000, 1_200_000])
@pytest.mark.parametrize("supports_ranges", [True, False])
def test_a_limited_download_gets_a_partial_name(server, tmp_path, received, supports_ranges):
    server.files["/file"] = LARGE  # over 1.2 MB
    if received:
        interrupt(server, tmp_path / "a.jsonl.gz", received)
    server.supports_ranges = supports_ranges
    path = fetch(server, tmp_path / "a.jsonl.gz", megabytes=1, check=check)
    assert path.read_bytes() == LARGE[:1_000_000]
    assert names(tmp_path) == [path.name] == ["a.first-1MB.jsonl.gz"]


@pytest.mark.parametrize("size, name", [
    (999_999, "a"), (1_000_000, "a"), (1_000_001, "a.first-1MB")])
def test_a_file_within_the_limit_keeps_its_name(server, tmp_path, size, name):
    server.files["/file"] = bytes(size)
    assert fetch(server, tmp_path / "a", megabytes=1).name == name
