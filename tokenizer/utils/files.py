"""Files that are whole or not there: write beside the place, then rename into it.

A rename within one folder is atomic, so a reader (or a run that is resumed after ``kill -9``) sees the old
file or the new one and never half of either. What a later run reads goes through this module: tokenizers, token files,
checkpoints, models, configurations. Not so metrics.jsonl, which grows line by line; pictures; and downloads, which go on
where they broke off and are renamed when they are whole.
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
    """Yield a temporary folder beside ``folder``; on success it takes the place of ``folder``, on any error it is removed.

    An older ``folder`` stays until the new one is complete. Between the two renames that swap them, the old
    one lies beside its place as ``.NAME.old``; nothing is ever half written.

    >>> with atomic_folder("/tmp/example") as temporary:
    ...     _ = (temporary / "a.txt").write_text("whole")
    """
    folder = Path(folder)
    with errors_name(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        remove_stale(folder.parent, glob.escape(folder.name))
        temporary = folder.parent / f".{folder.name}.tmp-{os.getpid()}"
        temporary.mkdir()
        try:
            yield temporary
            replace_folder(temporary, folder)
        except BaseException:
            remove(temporary)
            raise


def replace_folder(temporary, folder):
    """Rename a finished folder into its place, once all of it is on the disk; an older ``folder`` goes. On an error it stays, whole."""
    for path in temporary.rglob("*"):
        if path.is_file():
            sync(path)
    sync(temporary)
    old = folder.parent / f".{folder.name}.old"
    remove(old)
    if folder.exists():
        for path in (folder, *folder.rglob("*")):
            if path.is_dir() and not os.access(path, os.W_OK | os.X_OK):  # it could be moved away, but then not be removed
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        os.rename(folder, old)
    try:
        os.rename(temporary, folder)
    except BaseException:
        if old.exists() and not folder.exists():
            os.rename(old, folder)
        raise
    sync(folder.parent)
    with contextlib.suppress(OSError):  # the new one is there: what is left of the old one goes the next time
        remove(old)


@contextlib.contextmanager
def errors_name(path):
    """What the disk refuses is said of ``path``, which the user knows, not of the temporary names beside it.

    PermissionError(13, "Permission denied", ".run.tmp-3084") -> PermissionError("cannot write to run: permission denied")
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:  # somebody's own words
            raise
        raise rename_error(path, error) from error  # in no variable, in which it would keep all that its traceback knows open


def rename_error(path, error):
    """The error that says of ``path`` what another one says of a file that nobody knows."""
    reason = getattr(error, "reason", None) or (error.strerror or str(error)).lower()  # a file within a folder has named itself already
    clear = type(error)(f"cannot write to {path}: {reason}")
    clear.errno, clear.reason = error.errno, reason
    return clear


def check_writable(folder):
    """OSError, as writing would raise it, where ``folder`` could not be made, or nothing be written into it. Nothing stays behind."""
    absolute = Path(folder).absolute()
    there = next(path for path in (absolute, *absolute.parents) if os.path.exists(path))
    with errors_name(folder):
        if not there.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{there} is a file")
        os.rmdir(tempfile.mkdtemp(prefix=".try-", dir=there))


def next_free_folder(folder):
    """Return ``folder`` if nothing has that name, else the first of folder-2, folder-3, ... that is free.

    >>> next_free_folder("/absent/books").name
    'books'
    """
    folder = Path(folder)
    candidates = itertools.chain([folder], (folder.with_name(f"{folder.name}-{i}") for i in itertools.count(2)))
    return next(path for path in candidates if not path.exists())


def atomic_write(path, content):
    """Write ``content`` (str as UTF-8, or bytes) to the file ``path``: all of it, or the old file stays.

    >>> atomic_write("/tmp/example.json", "{}")
    """
    with atomic_file(path) as temporary:
        temporary.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


def atomic_lines(path, lines):
    """Write lines (an iterator of str without their ends) to the file ``path``: all of them, or the old file stays.

    >>> atomic_lines("/tmp/example.jsonl", ["{}", "{}"])
    """
    with atomic_file(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(line + "\n" for line in lines)


@contextlib.contextmanager
def atomic_file(path):
    """Yield the name of a temporary file beside ``path``; on success it takes the place of ``path``, on any error it is removed."""
    path = Path(path)
    with errors_name(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_stale(path.parent, glob.escape(path.name))
        temporary = path.parent / f".{path.name}.tmp-{os.getpid()}"
        try:
            yield temporary
            sync(temporary)
            os.replace(temporary, path)
            sync(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def locked(folder, refusal):
    """Hold the lock of ``folder``: ValueError(refusal) where another process holds it. Nothing is locked on Windows.

    >>> with locked("/tmp", "/tmp is in use"):
    ...     pass
    """
    descriptor = os.open(folder, os.O_RDONLY) if fcntl else None  # the system lets go when the process ends, however it ends
    try:
        if fcntl:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(refusal) from None
        yield
    finally:
        if fcntl:
            os.close(descriptor)


def remove_stale(parent, name):
    """Remove what killed processes left behind while they wrote ``name`` (a glob pattern) in the folder ``parent``."""
    for stale in Path(parent).glob(f".{name}.tmp-*"):
        if not _running(stale.name.rpartition("-")[2]):
            remove(stale)


def remove(path):
    """Remove a file or a whole folder; nothing happens where there is none."""
    path = Path(path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _running(process):
    """Whether another process of that number is at work; True where that cannot be asked."""
    if process == str(os.getpid()):
        return False
    if os.name == "nt" or not process.isdigit():
        return True
    try:
        os.kill(int(process), 0)  # signal 0 only asks
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def sync(path):
    """Ask the disk to hold what was written: a rename must not reach it before the data does."""
    writable = not path.is_dir() and os.access(path, os.W_OK)
    if os.name == "nt" and not writable:  # Windows syncs what is open for writing, so no folder and no read-only file
        return
    descriptor = os.open(path, os.O_RDWR if writable else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
