"""Download a file over HTTP: resume after a break, and check the file before it gets its name.

Bytes are collected in ``NAME.part`` and renamed after the check, so a file with its own name is
complete and correct. ``NAME.part.json`` says which file the bytes are from (address, length, and
the ETag or date that identifies a version), so parts of two versions are never joined (RFC 9110,
sections 13.1.5 and 14). ``urllib.request.urlretrieve`` would start over after each break. Proxies
are set by the environment: http_proxy, https_proxy, no_proxy.
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
MAX_WAIT = 120  # seconds; if a server asks to wait longer (Retry-After), give up
MAX_PAGE = 10_000_000  # bytes
TIMEOUT = 60  # seconds
CHUNK = 1 << 16  # bytes
# Some servers, Wikimedia's among them, refuse programs that give no name.
USER_AGENT = "minibert/1 (a text corpus for language models)"
BY_HAND = "download it by hand or take a text of your own (--corpus FILE)"

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
    limit = megabytes * 1_000_000
    part = PartFile(path.with_name(path.name + ".part"))
    with locked(path.parent, f"another process is downloading into {path.parent}: wait for it"):
        if not part.note_for(url):
            part.delete()
        is_complete = _retry(url, lambda: _receive(url, part, limit, show_progress), part.size,
                             pause, show_progress)
        if check is not None:
            try:
                check(part.path, is_complete)
            except ValueError:
                part.delete()
                raise
        target = path if is_complete else partial_path(path, megabytes)
        sync(part.path)  # the content must be on the disk before its name is
        os.replace(part.path, target)
        sync(path.parent)
        part.delete()  # its note
    return target


def read_page(url, show_progress=True, pause=1.0):
    """Return a small page, such as the listing of a folder, as str. Raises as ``download``."""
    def attempt():
        with _open(url, {}) as response:
            page = response.read(MAX_PAGE)  # with a size, a short answer is not an error
            length = min(_describe(url, response)["length"], MAX_PAGE)
            if len(page) < length:
                raise ConnectionError(broken(len(page), length))
            return page.decode("utf-8", "replace")
    return _retry(url, attempt, lambda: 0, pause, show_progress)


class PartFile:
    """The bytes that have been received, and a note that says which file they are from."""

    def __init__(self, path):
        self.path = path
        self.note_path = path.with_name(path.name + ".json")

    def size(self):
        return self.path.stat().st_size if self.path.exists() else 0

    def note_for(self, url):
        """Return the note (see _describe); {} if it is missing, damaged, or about another url."""
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            note = json.loads(self.note_path.read_text(encoding="utf-8"))
            is_valid = isinstance(note["length"], int) and isinstance(note["version"], str)
            if note["url"] == url and is_valid and self.path.exists():
                return note
        return {}

    def start(self, note):
        self.path.write_bytes(b"")
        atomic_write(self.note_path, json.dumps(note))

    def delete(self):
        self.path.unlink(missing_ok=True)
        self.note_path.unlink(missing_ok=True)


# Requests


def _retry(url, attempt, size, pause, show_progress):
    """Call ``attempt`` until it returns; give up after ATTEMPTS failures without a new byte."""
    failures = 0
    most = size()
    while True:
        wait = 0
        try:
            return attempt()
        except urllib.error.HTTPError as error:
            wait = _requested_wait(url, error)
            reason = f"the server answers {error.code} {error.reason}"
        except BREAKS as error:
            reason = getattr(error, "reason", error)
        if size() > most:
            failures = 0
            most = size()
        else:
            failures += 1
        if failures == ATTEMPTS:
            resume = f", which resumes from byte {size():,}" if size() else ""
            raise OSError(f"{url}: no connection after {ATTEMPTS} attempts ({reason}): "
                          f"try again{resume}; or {BY_HAND}")
        wait = max(wait, pause * 2 ** max(failures - 1, 0))
        if show_progress:
            tqdm.write(f"{reason}: trying again in {wait:.0f} s ({url})", file=sys.stderr)
        time.sleep(wait)


def _requested_wait(url, error):
    """Return the seconds that an error answer asks to wait; OSError if a retry cannot help."""
    if error.code < 400:  # followed by urllib, unless it leads in a circle or to a file: address
        raise OSError(f"{url}: a redirect that leads nowhere ({error.code}): {BY_HAND}") from None
    answer = f"{url}: the server answers {error.code} {error.reason}"
    if error.code in (404, 410):
        raise FileNotFoundError(f"{answer}: the file may have moved; {BY_HAND}") from None
    is_temporary = error.code >= 500 or error.code in (408, 425, 429)
    if not is_temporary:
        raise OSError(f"{answer}: check the address and your proxy; {BY_HAND}") from None
    retry_after = error.headers.get("Retry-After", "").strip()
    seconds = int(retry_after) if retry_after.isdecimal() else 0
    if seconds > MAX_WAIT:
        raise OSError(f"{answer} and asks to wait {seconds:,} s: try again then") from None
    return seconds


def _open(url, headers):
    headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **headers}
    # A new opener for each request, since it reads the proxies when it is made.
    opener = urllib.request.build_opener()
    return opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)


def _describe(url, response):
    """Return a note of what an answer is from: url, length (0: unknown) and version ("": unknown).

    The version is a strong ETag or a date; a weak ETag (W/"...") is not valid for ranges.
    """
    if response.status == 206:
        length = response.headers.get("Content-Range", "").rpartition("/")[2]
    else:
        length = response.headers.get("Content-Length") or ""
    tag = response.headers.get("ETag", "")
    version = tag if tag.startswith('"') else response.headers.get("Last-Modified", "")
    return {"url": url, "length": int(length) if length.isdecimal() else 0, "version": version}


def broken(num_bytes, length):
    return f"the connection broke after {num_bytes:,} of {length:,} bytes"


# Receiving


def _receive(url, part, limit, show_progress):
    """Append to the part file until it is complete (True) or has ``limit`` bytes (False)."""
    known = part.note_for(url)
    have = part.size() if known else 0
    if limit and have >= limit:  # an earlier attempt had a higher limit
        os.truncate(part.path, limit)
        return known["length"] == limit

    headers = {}
    if have:
        headers["Range"] = f"bytes={have}-"
        if known["version"]:
            # The server sends the rest of the same version, or all of a new one.
            headers["If-Range"] = known["version"]
    try:
        response = _open(url, headers)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:  # 416: the file has no bytes after ours
            raise
        if error.headers.get("Content-Range", "").endswith(f"/{have}"):
            return True
        part.delete()
        raise ConnectionError("the file on the server is shorter: starting over") from None

    with response:
        note = _describe(url, response)
        if have and response.status == 206:
            content_range = response.headers.get("Content-Range", "")
            _check_same_file(part, have, known, note, content_range)
        else:  # the complete file: a new version, or a server without ranges
            have = 0
            part.start(note)
        return _copy(response, part.path, have, note["length"], limit, show_progress)


def _check_same_file(part, have, known, note, content_range):
    """Raise ConnectionError unless an answer continues the part file."""
    same_length = note["length"] == known["length"] or not note["length"] or not known["length"]
    if note["version"] != known["version"] or not same_length:
        part.delete()
        raise ConnectionError("the file has changed on the server: starting over")
    if not content_range.startswith(f"bytes {have}-"):
        raise ConnectionError(f"requested bytes from {have}, got {content_range or 'no range'}")


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
    if length and have < length:
        raise ConnectionError(broken(have, length))
    return True
