"""Atomic writes: a file or folder is complete or absent, never half written.

Everything is written under a temporary name next to the target, then renamed. A rename within one
folder is atomic, so a reader (or a run that resumes after ``kill -9``) sees the old file or the new
one. Everything that a later run reads goes through this module: tokenizers, token files,
checkpoints, models and configurations. Exceptions are metrics.jsonl, which grows line by line,
pictures, and downloads, which can be continued.
"""
import contextlib
import errno
import glob
import itertools
import os
import shutil
import tempfile
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
    folder = Path(folder)
    with errors_name(folder):
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
    for path in temporary.rglob("*"):
        if path.is_file():
            sync(path)
    sync(temporary)

    old = folder.parent / f".{folder.name}.old"
    remove(old)
    if folder.exists():
        _check_removable(folder)
        os.rename(folder, old)
    try:
        os.rename(temporary, folder)
    except BaseException:
        if old.exists() and not folder.exists():
            os.rename(old, folder)
        raise
    sync(folder.parent)
    # The new folder is complete: remains of the old one can be removed the next time.
    with contextlib.suppress(OSError):
        remove(old)


def _check_removable(folder):
    """Raise PermissionError for a folder that could be renamed, but then not be removed."""
    for path in (folder, *folder.rglob("*")):
        if path.is_dir() and not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


@contextlib.contextmanager
def atomic_file(path):
    """Yield a temporary path that replaces ``path`` on success and is removed on any error."""
    path = Path(path)
    with errors_name(path):
        temporary = _temporary_path(path)
        try:
            yield temporary
            sync(temporary)
            os.replace(temporary, path)
            sync(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


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


def _temporary_path(path):
    """Return ``.NAME.tmp-PID`` next to ``path``, whose folder is made if it does not exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_stale(path.parent, glob.escape(path.name))
    return path.parent / f".{path.name}.tmp-{os.getpid()}"


def remove_stale(parent, pattern):
    """Remove the temporary files of killed processes. pattern: glob for the target's name."""
    for path in Path(parent).glob(f".{pattern}.tmp-*"):
        pid = path.name.rpartition("-")[2]
        if not _is_running(pid):
            remove(path)


def _is_running(pid):
    """Return whether another process has this id; True if that is unknown."""
    if pid == str(os.getpid()):
        return False
    if os.name == "nt" or not pid.isdigit():
        return True
    try:
        os.kill(int(pid), 0)  # signal 0 only checks that the process exists
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


@contextlib.contextmanager
def errors_name(path):
    """Make OSErrors name ``path``, which the user knows, instead of a temporary path.

    PermissionError(13, "Permission denied", ".run.tmp-3084")
    -> PermissionError("cannot write to run: permission denied")
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:  # not from the system: the message is our own
            raise
        # No variable: it would keep alive what the traceback refers to.
        raise rename_error(path, error) from error


def rename_error(path, error):
    """Return the error with ``path`` in its message."""
    # An error inside a folder is renamed twice, for the file and for the folder: keep the reason.
    reason = getattr(error, "reason", None) or (error.strerror or str(error)).lower()
    renamed = type(error)(f"cannot write to {path}: {reason}")
    renamed.errno = error.errno
    renamed.reason = reason
    return renamed


def check_writable(folder):
    """Raise OSError if ``folder`` cannot be created or written to; leave nothing behind."""
    absolute = Path(folder).absolute()
    existing = next(path for path in (absolute, *absolute.parents) if os.path.exists(path))
    with errors_name(folder):
        if not existing.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{existing} is a file")
        os.rmdir(tempfile.mkdtemp(prefix=".try-", dir=existing))


def next_free_folder(folder):
    """Return ``folder`` if nothing has that name, else the first free of folder-2, folder-3, ...

    >>> next_free_folder("/absent/books").name
    'books'
    """
    folder = Path(folder)
    if not folder.exists():
        return folder
    numbered = (folder.with_name(f"{folder.name}-{i}") for i in itertools.count(2))
    return next(path for path in numbered if not path.exists())


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
    writable = not path.is_dir() and os.access(path, os.W_OK)
    if os.name == "nt" and not writable:
        return  # Windows syncs only what is open for writing: no folders, no read-only files
    descriptor = os.open(path, os.O_RDWR if writable else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
