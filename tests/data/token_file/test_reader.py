import json
import math
import os
import zlib

import numpy as np
import pytest
from data_helpers import write_token_file

from data import TokenFile, TokenFileWriter
from data.token_file.meta import with_checksum
from data.token_file.reader import entropy
from tokenizer.fast.corpus_encoder import dtype_for


@pytest.fixture
def token_file(tmp_path):
    return write_token_file(tmp_path / "tokens", ["ab\n\n c ", "   ", "dé"])


def test_documents_consist_of_segments_and_segments_of_ids(token_file):
    assert token_file.ids[:].tolist() == [97, 98, 99, 100, 233]
    assert token_file.segments.tolist() == [0, 2, 3, 5]
    assert token_file.documents.tolist() == [0, 2, 3]  # the blank document is skipped
    assert token_file.num_tokens == 5
    assert token_file.num_segments == 3
    assert token_file.num_documents == 2
    assert token_file.num_bytes == 3 + 2 + 4  # "ab", "c" and "dé" with a line end each


def test_segments_are_views_and_count_from_the_end_too(token_file):
    assert token_file.segment(0).tolist() == [97, 98]
    assert token_file.segment(-1).tolist() == [100, 233]
    assert np.shares_memory(token_file.segment(0), token_file.ids[:])
    for outside in (3, -4):
        with pytest.raises(IndexError):
            token_file.segment(outside)


@pytest.mark.parametrize("vocab_size, dtype", [(1 << 16, "uint16"), ((1 << 16) + 1, "uint32")])
def test_ids_take_two_bytes_up_to_a_vocabulary_of_65_536(tmp_path, vocab_size, dtype):
    assert dtype_for(vocab_size) == dtype
    with TokenFileWriter(tmp_path / "tokens", vocab_size, "") as writer:
        writer.add([vocab_size - 1], [1], [1], 2)
    ids = TokenFile(tmp_path / "tokens").ids
    assert ids.dtype == dtype
    assert ids[:].tolist() == [vocab_size - 1]


def test_unigram_counts_and_entropy(tmp_path):
    counts = write_token_file(tmp_path / "tokens", ["abab"]).unigram_counts(99)
    assert counts.shape == (99,)
    assert counts[97] == counts[98] == 2 and counts.sum() == 4
    assert entropy(counts) == pytest.approx(math.log(2))


def test_ids_outside_the_vocabulary_are_refused(token_file):
    with pytest.raises(ValueError, match="contains the id 233, but the vocabulary has 200 ids"):
        token_file.unigram_counts(200)


def test_meta_json_is_plain_json_with_the_checksum_of_each_file(token_file):
    meta = json.loads((token_file.folder / "meta.json").read_text())
    assert meta == token_file.meta
    assert (meta["format"], meta["dtype"], meta["vocab_size"]) == (
        "minibert token file", "uint16", 256)
    assert meta["tokenizer_fingerprint"] == "characters"
    for file in (*meta["shards"], *meta["index"]):
        assert file["crc32"] == f"{zlib.crc32((token_file.folder / file['file']).read_bytes()):08x}"


def test_the_fingerprint_changes_with_the_text_and_nothing_else(tmp_path):
    documents = ["abc", "de\nf"]
    fingerprint = write_token_file(tmp_path / "one", documents).fingerprint
    assert write_token_file(tmp_path / "two", documents).fingerprint == fingerprint
    for other in (["abd", "de\nf"], ["abc", "def"], ["abcde\nf"], ["de\nf", "abc"]):
        assert write_token_file(tmp_path / "other", other).fingerprint != fingerprint


def test_a_token_file_of_another_version_cannot_be_opened(token_file):
    older = with_checksum({**token_file.meta, "version": 1})
    (token_file.folder / "meta.json").write_text(json.dumps(older))
    with pytest.raises(ValueError, match="version 1, this program reads 2; prepare it again"):
        TokenFile(token_file.folder)


def replace(old, new):
    def edit(path):
        path.write_text(path.read_text().replace(old, new))
    return edit


@pytest.mark.parametrize("name, damage, message", [
    ("ids-00000.bin", lambda path: os.truncate(path, 8), "has 8 bytes, expected 10.*prepare it"),
    ("ids-00000.bin", lambda path: path.write_bytes(bytes(11)), "has 11 bytes, expected 10"),
    ("ids-00000.bin", lambda path: path.unlink(), "ids-00000.bin is missing"),
    ("segments.bin", lambda path: os.truncate(path, 16), "has 16 bytes, expected 32"),
    ("documents.bin", lambda path: path.write_bytes(bytes(24)), "from 0 to 0, expected 0 to 3"),
    ("meta.json", lambda path: path.unlink(), "meta.json is missing.*prepare it again"),
    ("meta.json", lambda path: os.truncate(path, 20), "meta.json is damaged; prepare it again"),
    ("meta.json", lambda path: path.write_text("{}"), "meta.json is damaged"),
    ("meta.json", replace('"num_tokens": 5', '"num_tokens": 6'), "meta.json is damaged"),
])
def test_a_damaged_token_file_cannot_be_opened(token_file, name, damage, message):
    damage(token_file.folder / name)
    with pytest.raises(ValueError, match=message):
        TokenFile(token_file.folder)


def test_a_missing_folder_is_an_error_with_the_command_to_make_it(tmp_path):
    with pytest.raises(ValueError, match="no such folder.*data prepare --split train --out"):
        TokenFile(tmp_path / "train")


def test_a_flipped_bit_is_found_wherever_it_is(tmp_path):
    folder = write_token_file(tmp_path / "tokens", ["ab\nc", "dé", "fgh"], shard_size=5).folder
    assert TokenFile(folder).verify() == 5  # two shards, two index files, meta.json
    for path in sorted(folder.iterdir()):
        original = path.read_bytes()
        step = 101 if path.name == "meta.json" else 5  # odd: each bit of a byte has its turn
        for bit in range(0, 8 * len(original), step):
            damaged = bytearray(original)
            damaged[bit // 8] ^= 1 << bit % 8
            path.write_bytes(damaged)
            with pytest.raises(ValueError, match=f"{path.name} (is damaged|has|runs)"):
                TokenFile(folder).verify()
        path.write_bytes(original)
    assert TokenFile(folder).verify() == 5
