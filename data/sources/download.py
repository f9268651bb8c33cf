"""Download one file over HTTP: going on where it broke, checked before it is there.

Bytes collect in ``NAME.part``; the file gets its name only after the check has passed, so a file under its own name is
whole and right. ``NAME.part.json`` remembers what the bytes are the beginning of (address, length, and the ETag or date by
which the server tells versions apart), so that two versions are never glued together (RFC 9110, sections 13.1.5 and 14).
urllib's own ``urlretrieve`` starts anew after each break and keeps what it got. Proxies are those of the environment
(http_proxy, https_proxy, no_proxy).
"""
import contextlib
import email.utils
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

ATTEMPTS = 5  # breaks in a row without one new byte, before giving up
LONGEST_WAIT = 120  # seconds; a server that asks for more (Retry-After) is left alone
LONGEST_PAGE = 10_000_000  # bytes
CHUNK = 1 << 16
AGENT = "minibert/1 (a text corpus for language models)"  # some homes, Wikimedia among them, refuse programs that give no name
BY_HAND = "download it by hand and give its path (--corpus FILE)"


def download(url, path, check=None, show_progress=True, pause=1.0, megabytes=0):
    """Download ``url`` to ``path``; return where it is. What an earlier attempt left in ``path.part`` is used.

    ``megabytes``: end after so many million bytes; where the file is longer, the result has another name, that of
    ``packed.partial_path``. ``check(part, whole)``: called with the bytes before they get their name; raises ValueError
    where they are wrong, and the download is then removed. ``pause``: seconds before the second attempt, doubled for
    each further one; a server's Retry-After goes before it.

    Raises FileNotFoundError where the server has no such file; OSError (with the address and what to do) when it cannot
    be reached, refuses, or breaks off ATTEMPTS times in a row; ValueError where another process downloads into that
    folder. What was received stays in ``path.part`` for the next call.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with locked(path.parent, f"another process is downloading into {path.parent}: wait for it"):
        limit = megabytes * 1_000_000
        if not _known(part, url):
            _forget(part)
        whole = _persist(url, lambda: _receive(url, part, limit, show_progress), lambda: _size(part), pause, show_progress)
        if check is not None:
            try:
                check(part, whole)
            except ValueError:
                _forget(part)
                raise
        target = path if whole else partial_path(path, megabytes)
        sync(part)  # a name must not reach the disk before what it names
        os.replace(part, target)
        sync(path.parent)
        _forget(part)
    return target


def read_page(url, show_progress=True, pause=1.0):
    """A small page (a folder's listing) as str. Raises what ``download`` raises."""
    def attempt():
        with _open(url, {}) as response:
            page = response.read(LONGEST_PAGE)  # with a number of bytes it does not complain of fewer
            length = min(_described(url, response)["length"], LONGEST_PAGE)
            if len(page) < length:
                raise ConnectionError(f"the connection broke after {len(page):,} of {length:,} bytes")
            return page.decode("utf-8", "replace")
    return _persist(url, attempt, lambda: 0, pause, show_progress)


def _persist(url, attempt, size, pause, show_progress):
    """Call ``attempt`` until it returns; give up after ATTEMPTS failures without a byte more than ``size()`` ever was."""
    failures, most = 0, size()
    while True:
        wait = 0
        try:
            return attempt()
        except urllib.error.HTTPError as error:
            wait, reason = _asked_to_wait(url, error), f"the server answers {error.code} {error.reason}"
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise OSError(f"{url}: the server's certificate is not valid ({reason.verify_message}): {BY_HAND}") from None
        failures, most = (0, size()) if size() > most else (failures + 1, most)
        if failures == ATTEMPTS:
            again = f"try again, it goes on from byte {size():,}" if size() else "try again"
            raise OSError(f"{url}: no connection after {ATTEMPTS} attempts ({reason}): {again}; or {BY_HAND}")
        wait = max(wait, pause * 2 ** max(failures - 1, 0))
        if show_progress:
            tqdm.write(f"{reason}: again in {wait:.0f} s ({url})", file=sys.stderr)
        time.sleep(wait)


def _asked_to_wait(url, error):
    """Seconds that an error answer asks to wait, 0 where it names none; OSError where asking again will not help."""
    if 300 <= error.code < 400:
        raise OSError(f"{url}: redirected in a circle, or to what is no web address ({error.code}): {BY_HAND}") from None
    if error.code < 500 and error.code not in (408, 425, 429):  # timeout, too early, too many requests
        kind = FileNotFoundError if error.code in (404, 410) else OSError
        hint = "the file may have moved" if kind is FileNotFoundError else "look at the address and at your proxy"
        raise kind(f"{url}: the server answers {error.code} {error.reason}: {hint}; {BY_HAND}") from None
    asked = error.headers.get("Retry-After", "").strip()
    if asked.isdecimal():
        seconds = int(asked)
    else:  # a date
        date = email.utils.parsedate_tz(asked)
        seconds = max(0, email.utils.mktime_tz(date) - time.time()) if date else 0
    if seconds > LONGEST_WAIT:
        raise OSError(f"{url}: the server answers {error.code} {error.reason} and asks to wait {seconds:,.0f} s: try again then") from None
    return seconds


def _open(url, headers):
    """The answer to a request; ConnectionError where it is a part of the file (206) and none was asked for."""
    request = urllib.request.Request(url, headers={"User-Agent": AGENT, "Accept-Encoding": "identity", **headers})
    response = urllib.request.build_opener().open(request, timeout=60)  # an opener a call: proxies are looked up when it is made
    if response.status == 206 and "Range" not in headers:
        response.close()
        raise ConnectionError(f"asked for all of it, got {response.headers.get('Content-Range') or 'a part'}")
    return response


def _receive(url, part, limit, show_progress):
    """Append to ``part`` until the file is whole (-> True) or has ``limit`` bytes (-> False); else raise ConnectionError."""
    known = _known(part, url)
    have = _size(part) if known else 0
    if limit and have >= limit:  # an earlier attempt wanted more
        os.truncate(part, limit)
        return known["length"] == limit
    headers = {"Range": f"bytes={have}-"} if have else {}
    if have and known["version"]:
        headers["If-Range"] = known["version"]  # the rest if it is still the same file, else all of it
    try:
        response = _open(url, headers)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:  # 416: nothing there past what we have
            raise
        if error.headers.get("Content-Range", "").rpartition("/")[2] == str(have):
            return True  # it was whole already
        _forget(part)  # longer than the file: not a beginning of it
        return _receive(url, part, limit, show_progress)
    with response:
        now = _described(url, response)
        goes_on = have and response.status == 206
        if goes_on:
            _require_same(part, have, known, now, response.headers.get("Content-Range", ""))
        else:  # a server that knows no ranges, or a new version: all of it
            have = 0
            part.write_bytes(b"")
            atomic_write(_notes(part), json.dumps(now))
        return _copy(response, part, have, now["length"], limit, show_progress)


def _copy(response, part, have, length, limit, show_progress):
    """Append the answer's body to ``part``, which has ``have`` bytes; what is returned says ``_receive``."""
    total = min(length or limit, limit or length)  # 0: not known
    with open(part, "ab") as file, tqdm(total=total or None, initial=have, unit="B", unit_scale=True, desc=part.stem,
                                        disable=not show_progress) as bar:
        while chunk := response.read(min(CHUNK, limit - have) if limit else CHUNK):
            file.write(chunk)
            have += len(chunk)
            bar.update(len(chunk))
    if limit and have == limit:
        return have == length
    if length and have < length:
        raise ConnectionError(f"the connection broke after {have:,} of {length:,} bytes")
    return True


# --------------------------------------------------------------------------------- what a part is the beginning of


def _described(url, response):
    """What tells a file's versions apart: {"url", "length" (0: not known), "version" (a strong ETag, else a date, else "")}."""
    tag = response.headers.get("ETag", "")
    length = response.headers.get("Content-Range", "").rpartition("/")[2] if response.status == 206 else response.headers.get("Content-Length")
    return {"url": url, "length": int(length) if length and length.isdecimal() else 0,
            "version": tag if tag.startswith('"') else response.headers.get("Last-Modified", "")}  # W/"...": weak, not for ranges


def _require_same(part, have, known, now, content_range):
    """ConnectionError, and the part is dropped, unless an answer is the rest of what we have."""
    if known["version"] != now["version"] or known["length"] and now["length"] and known["length"] != now["length"]:
        _forget(part)
        raise ConnectionError("the file has changed on the server: beginning anew")
    if not content_range.startswith(f"bytes {have}-"):
        raise ConnectionError(f"asked for bytes from {have}, got {content_range or 'no range'}")


def _known(part, url):
    """What was noted of ``part``; {} where there is nothing, or it was another address: then its bytes are not used."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        known = json.loads(_notes(part).read_text(encoding="utf-8"))
        if known["url"] == url and isinstance(known["length"], int) and isinstance(known["version"], str) and part.exists():
            return known
    return {}


def _notes(part):
    return part.with_name(part.name + ".json")


def _forget(part):
    part.unlink(missing_ok=True)
    _notes(part).unlink(missing_ok=True)


def _size(part):
    return part.stat().st_size if part.exists() else 0
