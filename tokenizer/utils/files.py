"""Atomic writes: a file or folder is complete or absent, never half written.

Everything is written under a temporary name next to the target, then renamed. A rename within one
folder is atomic, so a reader (or a run that resumes after ``kill -9``) sees the old file or the new
one. Everything that a later run reads goes through this module: tokenizers, token files,
checkpoints, models and configurations. Exceptions are metrics.jsonl, which grows line by line,
pictures, and downloads, which can be continued.
"""
import contextlib
import glob
import itertools
import os
import shutil
import tempfile
import zlib
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


@contextlib.contextmanager
def atomic_folder(folder):
    """Yield a temporary folder that replaces ``folder`` on success and is removed on any error.

    An older ``folder`` stays until the new one is complete. If the process is killed between the
    two renames that swap them, the old one is still there as ``.NAME.old``.

    >>> with atomic_folder("/tmp/example") as temporary:
    ...     _ = (temporary / "a.txt").write_text("complete")
    """
    with errors_name(folder):
        folder = real_path(folder, os.path.isdir, "a folder")
        temporary = _temporary_path(folder)
        temporary.mkdir()
        try:
            yield temporary
            replace_folder(temporary, folder)
        except BaseException:
            remove(temporary)
            raise


def replace_folder(temporary, folder):
    """Sync a finished folder to disk and rename it to ``folder``. On an error the old one stays."""
    for path in (*temporary.rglob("*"), temporary):
        sync(path)
    old = folder.with_name(f".{folder.name}.old")
    if folder.exists():
        remove(old)
        os.rename(folder, old)
    try:
        os.rename(temporary, folder)
    except BaseException:
        if old.exists():
            os.rename(old, folder)
        raise
    sync(folder.parent)
    with contextlib.suppress(OSError):  # the new folder is complete: leftovers are not an error
        remove(old)


@contextlib.contextmanager
def atomic_file(path):
    """Yield a temporary path that replaces ``path`` on success and is removed on any error."""
    with errors_name(path):
        path = real_path(path, os.path.isfile, "a regular file")
        temporary = _temporary_path(path)
        try:
            yield temporary
            sync(temporary)
            os.replace(temporary, path)
            sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def atomic_write(path, content):
    """Write ``content`` (str as UTF-8, or bytes) to the file ``path``, atomically.

    >>> atomic_write("/tmp/example.json", "{}")
    """
    with atomic_file(path) as temporary:
        temporary.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


def atomic_lines(path, lines):
    """Write an iterator of lines (str, without line ends) to the file ``path``, atomically."""
    with atomic_file(path) as temporary:
        with open(temporary, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(line + "\n" for line in lines)


def real_path(path, is_kind, kind):
    """Return the path that links lead to, for a file or folder that will be replaced.

    Raises ValueError if something of another kind is there, such as a device: a rename would
    remove it.
    """
    if os.path.exists(path) and not is_kind(path):
        raise ValueError(f"{path} is not {kind}: choose another name")
    return Path(os.path.realpath(path))


def _temporary_path(path):
    """Return ``.NAME.tmp-PID`` next to ``path``, whose folder is made if it does not exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_stale(path.parent, glob.escape(path.name))
    return path.parent / f".{path.name}.tmp-{os.getpid()}"


def remove_stale(parent, pattern):
    """Remove the temporary files of killed processes. pattern: glob for the target's name."""
    for path in Path(parent).glob(f".{pattern}.tmp-*"):
        pid = int(path.name.rpartition("-")[2])
        if pid == os.getpid() or not _is_running(pid):
            remove(path)


def _is_running(pid):
    if os.name == "nt":
        return True  # Windows has no signal 0
    try:
        os.kill(pid, 0)  # only checks that the process exists
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's process
        pass
    return True


@contextlib.contextmanager
def errors_name(path):
    """Make OSErrors name ``path``, which the user knows, instead of a temporary path."""
    try:
        yield
    except OSError as error:
        # An error without errno is our own; one that names another file is about that file.
        if error.errno and (error.filename is None or ".tmp-" in str(error.filename)):
            error.filename = str(path)
        raise


def file_checksum(path):
    """Return the CRC-32 of a file as in ``zlib.crc32``: b"a" -> 'e8b7be43'"""
    checksum = 0
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            checksum = zlib.crc32(chunk, checksum)
    return f"{checksum:08x}"


def check_writable(folder):
    """Raise OSError if ``folder`` cannot be created or written to; leave nothing behind."""
    absolute = Path(folder).absolute()
    existing = next(path for path in (absolute, *absolute.parents) if path.exists())
    with errors_name(folder):
        os.rmdir(tempfile.mkdtemp(prefix=".tmp-", dir=existing))


def check_free(path, overwrite, inputs=()):
    """Raise ValueError if --out names a file or a full folder that is not to be replaced.

    inputs: files that are read, which nothing may replace
    """
    path = Path(path)
    if any(path.exists() and Path(name).exists() and path.samefile(name) for name in inputs):
        raise ValueError(f"{path} is read, so it cannot be replaced: choose another --out")
    is_used = any(path.iterdir()) if path.is_dir() else path.exists()
    if is_used and not overwrite:
        raise ValueError(f"{path} already exists: add --overwrite to replace it, "
                         "or choose another --out")


def next_free_folder(folder):
    """Return ``folder`` if nothing has that name, else the first free of folder-2, folder-3, ...

    >>> next_free_folder("/absent/books").name
    'books'
    """
    path = Path(folder)
    for i in itertools.count(2):
        if not path.exists():
            return path
        path = path.with_name(f"{Path(folder).name}-{i}")


@contextlib.contextmanager
def locked(folder, message):
    """Hold a lock on ``folder``; raise ValueError(message) if another process holds it.

    The system releases the lock when the process ends, however it ends. Windows has no such locks.

    >>> with locked("/tmp", "/tmp is in use"):
    ...     pass
    """
    if not fcntl:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(message) from None
        yield
    finally:
        os.close(descriptor)


def remove(path):
    """Remove a file or a folder with its contents; do nothing if it does not exist."""
    path = Path(path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sync(path):
    """Flush a file or folder to disk, so that a rename cannot reach the disk before the data."""
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot sync folders
    # Windows syncs only what is open for writing.
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
