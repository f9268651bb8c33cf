"""Download a file over HTTP: resume after a break, and check the file before it gets its name.

Bytes are collected in ``NAME.part`` and renamed after the check, so a file with its own name is
complete and correct. ``NAME.part.json`` says which version of which file the bytes are from. The
request for the rest names that version (If-Range, RFC 9110, section 13.1.5), and the server sends
the rest, or all of a newer version: parts of two versions are never joined.
``urllib.request.urlretrieve`` would start over after each break. Proxies are set by the
environment: http_proxy, https_proxy, no_proxy.
"""
import contextlib
import http.client
import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

from data.sources.compression import partial_path
from tokenizer.utils.files import atomic_write, locked, sync

ATTEMPTS = 5  # failures in a row without a new byte, before giving up
TIMEOUT = 60  # seconds
CHUNK = 1 << 16  # bytes
# Some servers, Wikimedia's among them, refuse programs that give no name.
USER_AGENT = "minibert/1 (a text corpus for language models)"
BY_HAND = "download it by hand or take a text of your own (--corpus FILE)"
TEMPORARY = (408, 425, 429)  # these, and 500 or higher: the same request may succeed later

BREAKS = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError,
          ssl.SSLError)


def download(url, path, check=None, show_progress=True, pause=1.0, megabytes=0):
    """Download ``url`` to ``path``, resuming an earlier attempt; return the path of the file.

    check        called as check(part_path, is_complete) before the file gets its name; if it
                 raises ValueError, the download is removed
    pause        seconds before the second attempt, doubled for each further one
    megabytes    stop after so many million bytes; the name of a file that is longer becomes
                 ``compression.partial_path``. 0 means all.

    Raises FileNotFoundError if the server has no such file; OSError if it cannot be reached or
    refuses; ValueError if another process is downloading to that folder. What has been received
    stays in ``path.part`` for the next call.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    note = path.with_name(path.name + ".part.json")

    def receive():
        return _receive(url, part, note, megabytes * 1_000_000, show_progress)

    def size():
        return part.stat().st_size if part.exists() else 0

    with locked(path.parent, f"another process is downloading into {path.parent}: wait for it"):
        is_complete = _retry(url, receive, size, pause, show_progress)
        if check is not None:
            try:
                check(part, is_complete)
            except ValueError:
                part.unlink()
                note.unlink()
                raise
        target = path if is_complete else partial_path(path, megabytes)
        sync(part)  # the content must be on the disk before its name is
        os.replace(part, target)
        sync(path.parent)
        note.unlink()
    return target


def read_page(url, show_progress, pause):
    """Return a small page, such as the listing of a folder, as str. Raises as ``download``."""
    def read():
        with _open(url, {}) as response:
            return response.read().decode("utf-8", "replace")
    return _retry(url, read, lambda: 0, pause, show_progress)


def _retry(url, attempt, size, pause, show_progress):
    """Call ``attempt`` until it returns; give up after ATTEMPTS failures without a new byte."""
    failures = 0
    old_size = size()
    while True:
        try:
            return attempt()
        except urllib.error.HTTPError as error:
            reason = f"the server answers {error.code} {error.reason}"
            if error.code < 500 and error.code not in TEMPORARY:
                kind = FileNotFoundError if error.code in (404, 410) else OSError
                raise kind(f"{url}: {reason}: check the address and your proxy, or "
                           f"{BY_HAND}") from None
        except BREAKS as error:
            reason = getattr(error, "reason", error)
        failures = 0 if size() > old_size else failures + 1
        old_size = size()
        if failures == ATTEMPTS:
            raise OSError(f"{url}: no connection after {ATTEMPTS} attempts ({reason}): "
                          f"try again to resume, or {BY_HAND}")
        wait = pause * 2 ** max(failures - 1, 0)
        if show_progress:
            tqdm.write(f"{reason}: trying again in {wait:.0f} s ({url})", file=sys.stderr)
        time.sleep(wait)


def _open(url, headers):
    headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **headers}
    # A new opener for each request, since it reads the proxies when it is made.
    opener = urllib.request.build_opener()
    return opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)


def _receive(url, part, note, limit, show_progress):
    """Append to the part file until it is complete (True) or has ``limit`` bytes (False)."""
    known = _read_note(note, url)
    have = part.stat().st_size if known and part.exists() else 0
    if have and have == known["length"]:
        return True
    if limit and have >= limit:  # an earlier attempt had a higher limit
        os.truncate(part, limit)
        return False

    headers = {"Range": f"bytes={have}-", "If-Range": known["version"]} if have else {}
    try:
        response = _open(url, headers)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # the file has no bytes after ours
            _start_over(note)
        raise
    with response:
        found = _describe(url, response)
        if response.status == 206 and found != known:  # the server has ignored If-Range
            _start_over(note)
        if response.status != 206:  # the complete file
            have = 0
            part.write_bytes(b"")
            atomic_write(note, json.dumps(found))
        return _copy(response, part, have, found["length"], limit, show_progress)


def _start_over(note):
    note.unlink()
    raise ConnectionError("the file has changed on the server: starting over")


def _read_note(path, url):
    """Return what the received bytes are from (see _describe); {} if that is unknown."""
    with contextlib.suppress(OSError, ValueError):
        note = json.loads(path.read_text(encoding="utf-8"))
        if note["url"] == url and note["version"]:
            return note
    return {}


def _describe(url, response):
    """Return what an answer is from: url, length (0: unknown) and version ("": unknown).

    The version is a strong ETag or a date; a weak ETag (W/"...") is not valid for ranges.
    """
    if response.status == 206:
        length = response.headers.get("Content-Range", "").rpartition("/")[2]
    else:
        length = response.headers.get("Content-Length") or ""
    tag = response.headers.get("ETag", "")
    version = tag if tag.startswith('"') else response.headers.get("Last-Modified", "")
    return {"url": url, "length": int(length) if length.isdecimal() else 0, "version": version}


def _copy(response, path, have, length, limit, show_progress):
    """Append the answer to a file of ``have`` bytes; return whether it is complete."""
    totals = [size for size in (length, limit) if size]
    bar = tqdm(total=min(totals, default=None), initial=have, unit="B", unit_scale=True,
               desc=path.stem, disable=not show_progress)
    with open(path, "ab") as file, bar:
        while chunk := response.read(min(CHUNK, limit - have) if limit else CHUNK):
            file.write(chunk)
            have += len(chunk)
            bar.update(len(chunk))
    if limit and have == limit:
        return have == length
    if have < length:
        raise ConnectionError(f"the connection broke after {have:,} of {length:,} bytes")
    return True
