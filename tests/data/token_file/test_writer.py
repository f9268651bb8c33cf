import errno
import multiprocessing
import shutil
import subprocess

import pytest
from data_helpers import Characters, write_token_file

from data import TokenFile, TokenFileWriter, prepare
from data.prepare import encode_batch


@pytest.fixture
def older(tmp_path):
    """A token file in tmp_path/tokens."""
    return write_token_file(tmp_path / "tokens", ["ab"])


def prepare_quietly(documents, folder, tokenizer=None):
    return prepare(documents, tokenizer or Characters(), folder, show_progress=False)


def test_encode_batch_by_hand():
    batch = encode_batch(Characters(), ["one\n\n two", "three"])
    ids, segment_lengths, document_lengths, num_bytes = batch
    assert bytes(ids.tolist()) == b"onetwothree"
    assert segment_lengths.tolist() == [3, 3, 5]
    assert document_lengths.tolist() == [2, 1]
    assert num_bytes == 14


def test_an_empty_corpus_writes_nothing(tmp_path):
    with pytest.raises(ValueError, match="the corpus has no text"):
        prepare_quietly(["", " \n "], tmp_path / "tokens")
    assert not list(tmp_path.iterdir())


def test_an_id_outside_the_vocabulary_writes_nothing(tmp_path):
    with pytest.raises(ValueError, match="contains the id 233, but the vocabulary has 128 ids"):
        prepare_quietly(["ab", "dé"], tmp_path / "tokens", Characters(128))
    assert not list(tmp_path.iterdir())


def test_wrong_lengths_are_refused(tmp_path):
    with pytest.raises(ValueError, match="the lengths do not fit: 2 ids in segments of 1"):
        with TokenFileWriter(tmp_path / "tokens", 10, "") as writer:
            writer.add([1, 2], [1], [1], 0)


def test_a_folder_with_other_files_is_never_replaced(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ValueError, match="contains something other than a token file"):
        prepare_quietly(["a"], tmp_path)
    with pytest.raises(ValueError, match="is a file"):
        prepare_quietly(["a"], tmp_path / "letter.txt")
    assert (tmp_path / "letter.txt").read_text() == "dear"


def test_a_link_to_a_token_file_stays_a_link(older):
    link = older.folder.with_name("link")
    link.symlink_to("tokens")
    prepare_quietly(["new"], link)
    assert link.is_symlink() and bytes(TokenFile(older.folder).ids[:].tolist()) == b"new"
    assert sorted(path.name for path in older.folder.parent.iterdir()) == ["link", "tokens"]


def test_a_damaged_or_older_token_file_is_replaced(older):
    (older.folder / "ids-00000.bin").rename(older.folder / "ids.bin")
    (older.folder / "meta.json").write_text('{"format": "minibert token file", "version": 1}')
    assert bytes(prepare_quietly(["new"], older.folder).ids[:].tolist()) == b"new"


def test_an_error_in_the_corpus_keeps_the_older_token_file(older):
    def documents():
        yield "new text"
        raise ValueError("line 2 is broken")

    with pytest.raises(ValueError, match="line 2 is broken"):
        prepare_quietly(documents(), older.folder)
    assert TokenFile(older.folder).ids[:].tolist() == [97, 98]
    assert [path.name for path in older.folder.parent.iterdir()] == ["tokens"]


@pytest.mark.parametrize("error, message", [
    (KeyboardInterrupt(), "^$"),
    (OSError(errno.ENOSPC, "No space left"), "the disk is full; nothing is kept"),
])
def test_ctrl_c_and_a_full_disk_before_the_first_batch_leave_nothing(tmp_path, error, message):
    with pytest.raises(type(error), match=message):
        with TokenFileWriter(tmp_path / "tokens", 10, ""):
            raise error
    assert not list(tmp_path.iterdir())


def test_a_really_full_disk_leaves_nothing(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("cannot mount a small tmpfs here")
    try:
        with pytest.raises(OSError, match="the disk is full") as caught:
            prepare_quietly(["x" * 100_000], disk / "tokens")
        assert caught.value.errno == errno.ENOSPC
        assert not list(disk.iterdir())
    finally:
        subprocess.run(["umount", disk], check=True)


def test_two_processes_cannot_write_the_same_token_file(tmp_path):
    def write():
        try:
            write_token_file(tmp_path / "tokens", ["b"])
        except ValueError as error:
            (tmp_path / "error").write_text(str(error))

    with TokenFileWriter(tmp_path / "tokens", 256, "") as writer:
        other = multiprocessing.get_context("fork").Process(target=write)
        other.start()
        other.join()
        writer.add([1], [1], [1], 1)
    assert "is being written by another process" in (tmp_path / "error").read_text()
    assert TokenFile(tmp_path / "tokens").num_tokens == 1
