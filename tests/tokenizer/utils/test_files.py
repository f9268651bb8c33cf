"""A file or folder is complete or absent, whatever happens while it is written."""
import errno
import multiprocessing
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tokenizer.utils import files
from tokenizer.utils.files import atomic_folder, atomic_write, check_writable


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def failing(error, when=lambda *args: True, otherwise=None):
    """Return a function that raises ``error``, or calls ``otherwise`` unless ``when(*args)``."""
    def function(*args):
        if when(*args):
            raise error
        return otherwise(*args)
    return function


@pytest.fixture
def run(tmp_path):
    """A folder with one old file."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run/a.txt").write_text("old")
    return tmp_path / "run"


def replace(folder):
    with atomic_folder(folder) as temporary:
        (temporary / "a.txt").write_text("new")


def test_a_new_folder_replaces_the_old_one(run):
    with atomic_folder(run) as temporary:
        (temporary / "a.txt").write_text("new")
        assert temporary.parent == run.parent  # on the same disk: only then is the rename atomic
    assert (run / "a.txt").read_text() == "new"
    assert names(run.parent) == ["run"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_an_error_leaves_the_old_folder_and_nothing_else(run, error):
    with pytest.raises(error):
        with atomic_folder(run) as temporary:
            (temporary / "a.txt").write_text("half")
            raise error
    assert (run / "a.txt").read_text() == "old"
    assert names(run.parent) == ["run"]


def test_a_failed_rename_leaves_the_old_file(tmp_path, monkeypatch):
    atomic_write(tmp_path / "a.json", "ä")
    monkeypatch.setattr(os, "replace", failing(OSError("full")))
    with pytest.raises(OSError):
        atomic_write(tmp_path / "a.json", b"new")
    assert (tmp_path / "a.json").read_bytes() == "ä".encode()
    assert names(tmp_path) == ["a.json"]


def test_a_failed_second_rename_restores_the_old_folder(run, monkeypatch):
    error = OSError(errno.EIO, "Input/output error")

    def is_second(old, new):
        return ".tmp-" in str(old)
    monkeypatch.setattr(os, "rename", failing(error, is_second, os.rename))
    with pytest.raises(OSError, match="Input/output error"):
        replace(run)
    assert (run / "a.txt").read_text() == "old"
    assert names(run.parent) == ["run"]


def test_remains_of_the_old_folder_are_no_error(run, monkeypatch):
    def is_old(path):
        return path.name.endswith(".old") and path.exists()
    monkeypatch.setattr(files, "remove", failing(OSError(errno.EIO, "x"), is_old, files.remove))
    replace(run)
    assert (run / "a.txt").read_text() == "new"


def test_the_data_reaches_the_disk_before_the_name(tmp_path, monkeypatch):
    order = []
    sync = files.sync
    rename = os.rename
    monkeypatch.setattr(files, "sync", lambda path: (order.append(path.name), sync(path)))
    monkeypatch.setattr(os, "rename", lambda *paths: (order.append("rename"), rename(*paths)))
    replace(tmp_path / "run")
    assert order.index("a.txt") < order.index("rename") < order.index(tmp_path.name)


def test_temporary_folders_of_dead_processes_are_removed(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    alive = os.getppid()
    for pid in (dead.pid, alive):
        (tmp_path / f".run.tmp-{pid}").mkdir()
    replace(tmp_path / "run")
    assert names(tmp_path) == [f".run.tmp-{alive}", "run"]


def test_the_error_names_the_path_that_the_user_knows(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "sync", failing(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(OSError, match=f"No space left on device: '{tmp_path / 'run'}'$"):
        with atomic_folder(tmp_path / "run") as temporary:
            atomic_write(temporary / "a.json", "{}")
    assert names(tmp_path) == []


def test_an_error_about_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent.txt'$"):
        with atomic_folder(tmp_path / "run"):
            open(tmp_path / "absent.txt")


# Links, and what is neither a file nor a folder


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_or_folder_is_not_replaced_by_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "folder", "link"):
        with pytest.raises(ValueError, match=f"{name} is not a regular file: choose another"):
            atomic_write(tmp_path / name, "x")
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "folder").is_dir()
    assert names(tmp_path) == ["folder", "link", "pipe"]


@pytest.mark.skipif(not hasattr(os, "mknod"), reason="needs devices")
def test_a_device_is_not_replaced(tmp_path):
    try:
        os.mknod(tmp_path / "null", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root can make a device")
    for write in (lambda path: atomic_write(path, "x"), replace):
        with pytest.raises(ValueError, match="null is not a"):
            write(tmp_path / "null")
    assert (tmp_path / "null").is_char_device() and names(tmp_path) == ["null"]


def test_a_file_is_not_replaced_by_a_folder(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(ValueError, match="a.txt is not a folder: choose another"):
        replace(tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_text() == "old"


def test_what_a_link_leads_to_is_replaced_and_the_link_stays(run):
    link = run.parent / "link"
    link.symlink_to("run")
    (run / "link.txt").symlink_to("a.txt")
    atomic_write(run / "link.txt", "file")
    assert (run / "a.txt").read_text() == "file" and names(run) == ["a.txt", "link.txt"]
    replace(link)
    assert (run / "a.txt").read_text() == "new" and names(run) == ["a.txt"]
    assert names(run.parent) == ["link", "run"] and link.is_symlink()


# Permissions: root may do everything, so the check runs as another user.

@pytest.fixture
def shared_folder():
    """A folder that every user can write to; pytest's own is closed to others."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def error_as_other_user(function, *args):
    """Return the message of the error that a function raises for a user without privileges."""
    def call(pipe):
        if os.geteuid() == 0:
            os.setuid(65534)
        try:
            function(*args)
            pipe.send("no error")
        except Exception as error:
            pipe.send(str(error))
    parent_end, child_end = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=call, args=(child_end,))
    process.start()
    process.join()
    return parent_end.recv()


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="needs users")
def test_check_writable_tries_the_nearest_existing_folder(shared_folder):
    (shared_folder / "closed").mkdir(mode=0o555)
    for name in ("closed", "closed/new", "closed/new/deeper"):
        folder = shared_folder / name
        expected = f"[Errno 13] Permission denied: '{folder}'"
        assert error_as_other_user(check_writable, folder) == expected
    assert error_as_other_user(check_writable, shared_folder / "new/deeper") == "no error"
    assert names(shared_folder) == ["closed"]
