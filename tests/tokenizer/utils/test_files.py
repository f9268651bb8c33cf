"""A file or folder is whole or not there, whatever happens while it is written."""
import contextlib
import errno
import gc
import multiprocessing
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import weakref
from pathlib import Path

import pytest

from tokenizer.utils import files
from tokenizer.utils.files import atomic_folder, atomic_write, check_writable


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_new_folder_takes_the_place_of_the_old_one(tmp_path):
    for text in ("one", "two"):
        with atomic_folder(tmp_path / "run") as temporary:
            (temporary / "a.txt").write_text(text)
            assert temporary.parent == tmp_path  # on the same disk: only then is the rename atomic
    assert (tmp_path / "run/a.txt").read_text() == "two" and names(tmp_path) == ["run"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_an_error_leaves_the_old_folder_and_nothing_else(tmp_path, error):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/a.txt").write_text("old")
    with pytest.raises(error):
        with atomic_folder(tmp_path / "run") as temporary:
            (temporary / "a.txt").write_text("half")
            raise error
    assert (tmp_path / "run/a.txt").read_text() == "old" and names(tmp_path) == ["run"]


def test_a_file_is_replaced_whole_or_stays(tmp_path, monkeypatch):
    atomic_write(tmp_path / "a.json", "ä")
    assert (tmp_path / "a.json").read_bytes() == "ä".encode()
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError):
        atomic_write(tmp_path / "a.json", b"new")
    assert (tmp_path / "a.json").read_bytes() == "ä".encode() and names(tmp_path) == ["a.json"]


def test_the_data_is_on_disk_before_the_name_is(tmp_path, monkeypatch):
    order = []
    sync, rename = files.sync, os.rename
    monkeypatch.setattr(files, "sync", lambda path: (order.append(path.name), sync(path)))
    monkeypatch.setattr(os, "rename", lambda old, new: (order.append("rename"), rename(old, new)))
    with atomic_folder(tmp_path / "run") as temporary:
        (temporary / "a.txt").write_text("a")
    assert order.index("a.txt") < order.index("rename") < order.index(tmp_path.name)


def test_files_are_synced_through_a_descriptor_that_can_write_as_windows_demands(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    synced = []

    def sync_of_windows(descriptor):
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
                raise OSError(errno.EBADF, "Bad file descriptor")
            synced.append(descriptor)

    monkeypatch.setattr(os, "fsync", sync_of_windows)
    atomic_write(tmp_path / "a.json", "{}")
    with atomic_folder(tmp_path / "run") as temporary:
        (temporary / "a.txt").write_text("a")
    assert len(synced) == 2


def test_a_read_only_file_in_the_folder_is_no_hindrance(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # what it says of such a file to anybody but root
    with atomic_folder(tmp_path / "run") as temporary:
        (temporary / "a.txt").write_text("a")
        (temporary / "a.txt").chmod(0o444)
    assert names(tmp_path / "run") == ["a.txt"]


def test_what_a_killed_process_left_behind_is_swept_up_and_a_living_ones_work_is_not(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for process in (dead.pid, os.getppid()):
        (tmp_path / f".run.tmp-{process}").mkdir()
    with atomic_folder(tmp_path / "run"):
        pass
    assert names(tmp_path) == [f".run.tmp-{os.getppid()}", "run"]


@pytest.fixture
def open_folder():
    """A folder that every user can reach and write to; pytest's own is closed to others."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def as_nobody(function):
    """The error that a function raises when it is called by a user who may not do everything, as root may. -> str"""
    def call(pipe):
        if os.geteuid() == 0:
            os.setuid(65534)
        try:
            function()
            pipe.send("no error")
        except Exception as error:
            pipe.send(str(error))
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=call, args=(there,))
    process.start()
    process.join()
    return here.recv()


needs_users = pytest.mark.skipif(not hasattr(os, "setuid"), reason="no users to become")


@needs_users
def test_a_folder_that_cannot_be_removed_stays_as_it_was(open_folder):
    out = open_folder / "out"
    out.mkdir()
    (out / "a.txt").write_text("old")
    out.chmod(0o555)

    def replace():
        with atomic_folder(out) as temporary:
            (temporary / "a.txt").write_text("new")
    assert as_nobody(replace) == f"cannot write to {out}: permission denied"
    assert (out / "a.txt").read_text() == "old" and names(open_folder) == ["out"]
    out.chmod(0o755)


@needs_users
def test_what_may_not_be_written_is_named_as_the_user_named_it(open_folder):
    (open_folder / "closed").mkdir(mode=0o555)
    for name in ("closed", "closed/new", "closed/new/deeper"):
        expected = f"cannot write to {open_folder / name}: permission denied"
        assert as_nobody(lambda name=name: check_writable(open_folder / name)) == expected
    file = open_folder / "closed/a.json"
    assert as_nobody(lambda: atomic_write(file, "{}")) == f"cannot write to {file}: permission denied"
    assert as_nobody(lambda: check_writable(open_folder / "new/deeper")) == "no error" and names(open_folder) == ["closed"]


def test_an_error_is_said_once_and_of_what_the_user_named(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "sync", lambda path: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(OSError, match=f"^cannot write to {tmp_path / 'run'}: no space left on device$") as raised:
        with atomic_folder(tmp_path / "run") as temporary:
            atomic_write(temporary / "a.json", "{}")
    assert raised.value.errno == errno.ENOSPC and names(tmp_path) == []


def test_an_error_that_is_dealt_with_keeps_nothing_open(tmp_path):
    class Held:
        pass
    gone = []

    def fail():
        held = Held()
        gone.append(weakref.ref(held))
        with atomic_folder(tmp_path / "run"):
            raise PermissionError(errno.EACCES, "Permission denied", "x")
    gc.disable()
    try:
        with contextlib.suppress(OSError):
            fail()
        assert gone[0]() is None
    finally:
        gc.enable()


def test_when_the_second_rename_fails_the_old_folder_comes_back(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/a.txt").write_text("old")
    rename = os.rename

    def failing(old, new):
        if ".tmp-" in str(old):
            raise OSError(errno.EIO, "Input/output error")
        rename(old, new)
    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(OSError, match=f"^cannot write to {tmp_path / 'run'}: input/output error$") as raised:
        with atomic_folder(tmp_path / "run") as temporary:
            (temporary / "a.txt").write_text("new")
    assert raised.value.errno == errno.EIO and (tmp_path / "run/a.txt").read_text() == "old" and names(tmp_path) == ["run"]


def test_once_the_new_folder_is_in_place_the_old_ones_remains_are_no_error(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    remove = files.remove

    def failing(path):
        if path.name.endswith(".old") and path.exists():
            raise OSError(errno.EIO, "Input/output error")
        remove(path)
    monkeypatch.setattr(files, "remove", failing)
    with atomic_folder(tmp_path / "run") as temporary:
        (temporary / "a.txt").write_text("new")
    assert (tmp_path / "run/a.txt").read_text() == "new"
