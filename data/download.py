"""Download one file over HTTP: going on where it broke, checked before it is there.

Bytes collect in ``NAME.part``; the file gets its name only after the check has passed, so a file under its own name is
whole and right. urllib's own ``urlretrieve`` starts anew after each break and keeps what it got.
"""
import http.client
import os
import time
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

ATTEMPTS = 5  # breaks in a row without one new byte, before giving up
CHUNK = 1 << 16


def download(url, path, check=None, show_progress=True, pause=1.0):
    """Download ``url`` to ``path``; return ``path``. What an earlier attempt left in ``path.part`` is used.

    ``check(part)``: called with the whole file before it gets its name; raises ValueError where it is wrong, and the
    download is then removed. ``pause``: seconds before the second attempt, doubled for each further one.

    Raises OSError (with the address and what to do) when the server cannot be reached, has no such file, or breaks off
    ATTEMPTS times in a row. What was received stays in ``path.part`` for the next call.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    failures = 0
    while True:
        before = _size(part)
        try:
            _receive(url, part, show_progress)
            break
        except urllib.error.HTTPError as error:
            if error.code < 500:  # asking again will not help
                raise OSError(f"{url}: the server answers {error.code} {error.reason}: the file may have moved; "
                              f"download it by hand and give its path") from None
            reason = error
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            reason = getattr(error, "reason", error)
        failures = 0 if _size(part) > before else failures + 1
        if failures == ATTEMPTS:
            raise OSError(f"{url}: no connection after {ATTEMPTS} attempts ({reason}): try again, it goes on from "
                          f"byte {_size(part):,}; or download it by hand and give its path")
        time.sleep(pause * 2 ** failures)
    if check is not None:
        try:
            check(part)
        except ValueError:
            part.unlink()
            raise
    os.replace(part, path)
    return path


def _receive(url, part, show_progress):
    """Append to ``part`` until the file is whole; a connection that ends too early raises ConnectionError."""
    have = _size(part)
    request = urllib.request.Request(url, headers={"User-Agent": "minibert/1 (a text corpus for language models)"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        response = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:  # 416: nothing there past what we have
            raise
        if error.headers.get("Content-Range", "").rpartition("/")[2] == str(have):
            return  # it was whole already
        part.unlink()  # longer than the file: not a beginning of it
        return _receive(url, part, show_progress)
    with response:
        goes_on = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if have and response.status == 206 and not goes_on:
            raise ConnectionError(f"asked for bytes from {have}, got {response.headers.get('Content-Range')}")
        have = have if goes_on else 0  # a server that knows no ranges sends all of it again
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        with open(part, "ab" if goes_on else "wb") as file, \
                tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=part.stem, disable=not show_progress) as bar:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and _size(part) < total:
        raise ConnectionError(f"the connection broke after {_size(part):,} of {total:,} bytes")


def _size(part):
    return part.stat().st_size if part.exists() else 0
