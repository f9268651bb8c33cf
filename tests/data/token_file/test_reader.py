import errno
import json
import math
import os
import pickle
import shutil
import subprocess
import zlib

import numpy as np
import pytest
from data_helpers import Characters

from data import TokenFile, TokenFileWriter, prepare
from data.prepare import encode_batch
from data.token_file.reader import entropy
from tokenizer.fast.corpus_encoder import dtype_for


@pytest.fixture
def made(tmp_path):
    return prepare(["ab\n\n c ", "   ", "dé"], Characters(), tmp_path / "tokens", show_progress=False)


def test_the_two_levels_are_documents_of_segments_of_ids(made):
    assert made.ids[:].tolist() == [97, 98, 99, 100, 233]
    assert made.segments.tolist() == [0, 2, 3, 5]
    assert made.documents.tolist() == [0, 2, 3]  # the blank document has left nothing
    assert (made.num_tokens, made.num_segments, made.num_documents) == (5, 3, 2)
    assert made.num_bytes == 3 + 2 + 4  # "ab", "c", "dé" with an end of line each
    assert (made.vocab_size, made.tokenizer_fingerprint) == (256, "characters")
    assert made.segment(0).tolist() == [97, 98] and made.segment(-1).tolist() == [100, 233]
    assert np.shares_memory(made.segment(0), made.ids[:])
    for outside in (3, -4):
        with pytest.raises(IndexError):
            made.segment(outside)


def test_ids_take_two_bytes_up_to_65_536_of_them(tmp_path):
    assert (dtype_for(1 << 16), dtype_for((1 << 16) + 1)) == ("uint16", "uint32")
    for vocab_size, dtype in ((1 << 16, "uint16"), (70_000, "uint32")):
        largest = vocab_size - 1
        with TokenFileWriter(tmp_path / dtype, vocab_size, "") as writer:
            writer.add([largest], [1], [1], 2)
        assert TokenFile(tmp_path / dtype).ids.dtype == dtype and TokenFile(tmp_path / dtype).ids[:].tolist() == [largest]


def test_unigram_counts_and_entropy(tmp_path):
    made = prepare(["abab"], Characters(), tmp_path / "tokens", show_progress=False)
    counts = made.unigram_counts(99)
    assert counts.shape == (99,) and counts[97] == counts[98] == 2 and counts.sum() == 4
    assert entropy(counts) == pytest.approx(math.log(2))


def test_counts_do_not_depend_on_the_chunk_of_the_scan(made, monkeypatch):
    whole = made.unigram_counts(256)
    monkeypatch.setattr("data.token_file.reader.CHUNK", 2)
    assert (made.unigram_counts(256) == whole).all()


def test_ids_past_the_vocabulary_are_refused_with_both_numbers(made, tmp_path):
    with pytest.raises(ValueError, match="holds the id 233, the vocabulary has 200 ids"):
        made.unigram_counts(200)
    with pytest.raises(ValueError, match="holds the id 233, the vocabulary has 128 ids"):
        prepare(["ab", "dé"], Characters(128), tmp_path / "small", show_progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tokens"]


def test_a_token_file_is_pickled_as_its_path(made):
    packed = pickle.dumps(made)
    assert len(packed) < 1000 and pickle.loads(packed).ids[:].tolist() == made.ids[:].tolist()


@pytest.mark.parametrize("name, damage, message", [
    ("ids-00000.bin", lambda path: os.truncate(path, 8), r"ids-00000.bin has 8 bytes, meta.json promises 10.*prepare it again"),
    ("ids-00000.bin", lambda path: path.write_bytes(path.read_bytes() + b"\0"), r"ids-00000.bin has 11 bytes, meta.json promises 10"),
    ("ids-00000.bin", lambda path: path.unlink(), r"ids-00000.bin is missing, meta.json promises 10"),
    ("segments.bin", lambda path: os.truncate(path, 16), r"segments.bin has 16 bytes, meta.json promises 32"),
    ("documents.bin", lambda path: path.write_bytes(bytes(24)), r"documents.bin runs from 0 to 0, meta.json says 0 to 3"),
    ("meta.json", lambda path: path.unlink(), r"meta.json is missing.*prepare it again"),
    ("meta.json", lambda path: os.truncate(path, 20), r"meta.json is no JSON"),
    ("meta.json", lambda path: path.write_text("{}"), r"format None, not 'minibert token file'"),
    ("meta.json", lambda path: path.write_text("[]"), r"no token file"),
    ("meta.json", lambda path: path.write_text(path.read_text().replace('"version": 2', '"version": 1')),
     r"has version 1, this program reads 2; prepare it again"),
    ("meta.json", lambda path: path.write_text(path.read_text().replace('"num_tokens": 5', '"num_tokens": 6')),
     r"meta.json is damaged: its checksum is"),
])
def test_a_damaged_or_foreign_folder_is_refused_with_the_reason(made, name, damage, message):
    damage(made.folder / name)
    with pytest.raises(ValueError, match=message):
        TokenFile(made.folder)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no such folder.*data prepare"):
        TokenFile(tmp_path / "none")


def test_nothing_is_written_for_an_empty_corpus(tmp_path):
    with pytest.raises(ValueError, match="the corpus has no text"):
        prepare(["", " \n "], Characters(), tmp_path / "tokens", show_progress=False)
    assert not list(tmp_path.iterdir())


def test_a_folder_with_something_else_in_it_is_never_replaced(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ValueError, match="holds something else than a token file"):
        prepare(["a"], Characters(), tmp_path, show_progress=False)
    with pytest.raises(ValueError, match="is a file"):
        prepare(["a"], Characters(), tmp_path / "letter.txt", show_progress=False)
    assert (tmp_path / "letter.txt").read_text() == "dear"


def test_an_error_in_the_middle_keeps_the_older_token_file(made):
    def broken():
        yield "new text"
        raise ValueError("line 2 is broken")
    with pytest.raises(ValueError, match="line 2 is broken"):
        prepare(broken(), Characters(), made.folder, show_progress=False)
    assert TokenFile(made.folder).ids[:].tolist() == [97, 98, 99, 100, 233]
    assert [path.name for path in made.folder.parent.iterdir()] == ["tokens"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(errno.ENOSPC, "No space left on device")])
def test_ctrl_c_and_a_full_disk_leave_nothing(tmp_path, monkeypatch, error):
    def stop(*_, **__):
        raise error
    monkeypatch.setattr(TokenFileWriter, "add", stop)
    with pytest.raises(BaseException) as caught:
        prepare(["text"], Characters(), tmp_path / "tokens", show_progress=False)
    assert isinstance(caught.value, KeyboardInterrupt) or "the disk is full after 0 tokens" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_really_full(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if not shutil.which("mount") or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("no small tmpfs can be mounted here")
    try:
        with pytest.raises(OSError, match="the disk is full") as caught:
            prepare(["x" * 100_000], Characters(), disk / "tokens", show_progress=False)
        assert caught.value.errno == errno.ENOSPC and not list(disk.iterdir())
    finally:
        subprocess.run(["umount", disk], check=True)


def test_lengths_that_do_not_fit_the_ids_are_refused(tmp_path):
    with pytest.raises(ValueError, match="the lengths do not fit"), TokenFileWriter(tmp_path / "t", 10, "") as writer:
        writer.add([1, 2], [1], [1], 0)
    with pytest.raises(ValueError, match="1 documents without a segment"), TokenFileWriter(tmp_path / "t", 10, "") as writer:
        writer.add([1, 2], [2], [1, 0], 0)


def test_meta_json_can_be_read_by_other_programs(made):
    meta = json.loads((made.folder / "meta.json").read_text())
    assert meta["format"] == "minibert token file" and meta["dtype"] == "uint16" and meta == made.meta


def test_encode_batch_worked_by_hand():
    ids, segments, documents, size = encode_batch(Characters(), ["one\n\n two", "three"])
    assert bytes(ids.tolist()) == b"onetwothree" and (segments.tolist(), documents.tolist(), size) == ([3, 3, 5], [2, 1], 14)


def test_one_flipped_bit_in_any_file_is_found_and_the_file_named(tmp_path, monkeypatch):
    monkeypatch.setattr("data.token_file.writer.SHARD", 5)
    made = prepare(["ab\nc", "dé", "fgh"], Characters(), tmp_path / "tokens", show_progress=False)
    assert made.verify() == 5  # two shards, the index, meta.json
    for path in sorted(made.folder.iterdir()):
        whole = path.read_bytes()
        for bit in range(8 * len(whole)) if path.name != "meta.json" else range(0, 8 * len(whole), 37):
            damaged = bytearray(whole)
            damaged[bit // 8] ^= 1 << bit % 8
            path.write_bytes(damaged)
            with pytest.raises(ValueError, match=f"{path.name} (is damaged|is no JSON|has|runs)") as error:
                TokenFile(made.folder).verify()
            if path.name.startswith("ids"):
                assert "is damaged: its checksum is " in str(error.value) and "prepare it again" in str(error.value)
                with pytest.raises(ValueError, match=f"{path.name} is damaged"):  # and by the scan before training, whatever ids that made
                    TokenFile(made.folder).unigram_counts()
        path.write_bytes(whole)
    assert TokenFile(made.folder).verify() == 5


def test_the_checksums_are_those_of_the_files(made):
    for file in (*made.meta["shards"], *made.meta["index"]):
        assert file["crc32"] == f"{zlib.crc32((made.folder / file['file']).read_bytes()):08x}"


def test_a_damaged_token_file_and_one_of_version_1_may_be_replaced(made):
    (made.folder / "ids-00000.bin").rename(made.folder / "ids.bin")
    (made.folder / "meta.json").write_text('{"format": "minibert token file", "version": 1}')
    assert prepare(["new"], Characters(), made.folder, show_progress=False).ids[:].tolist() == [110, 101, 119]
