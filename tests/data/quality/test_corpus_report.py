import random

import numpy as np
import pytest
from data_helpers import write_token_file

from data.quality.report import duplicated_share, inspect_tokens, segment_hashes


def test_a_token_file_of_three_shards_by_hand(tmp_path, monkeypatch):
    # The longest segments are then collected over several chunks.
    monkeypatch.setattr("data.token_file.reader.LENGTHS_PER_CHUNK", 2)
    documents = ["ab\nab", "cde", "abcdef\nf"]
    tokens = write_token_file(tmp_path / "tokens", documents, shard_size=4)
    result = inspect_tokens(tokens.folder)
    assert [shard["tokens"] for shard in result["shards"]] == [4, 3, 7]
    assert result["checksums"] == "all 6 files are intact"
    assert (result["documents"], result["segments"], result["tokens"]) == (3, 5, 14)
    longest = [(entry["segment"], entry["tokens"]) for entry in result["longest_segments"]]
    assert longest == [(3, 6), (2, 3), (0, 2), (1, 2), (4, 1)]
    assert result["duplicated_lines_share"] == pytest.approx(1 / 5)  # the second "ab"


def test_inspect_finds_a_damaged_shard(tmp_path):
    folder = write_token_file(tmp_path / "tokens", ["ab", "cde"], shard_size=4).folder
    (folder / "ids-00001.bin").write_bytes(b"c\0d\0d\0")
    with pytest.raises(ValueError, match="ids-00001.bin is damaged: its checksum is"):
        inspect_tokens(folder)


@pytest.mark.parametrize("ids_per_chunk", [1, 7, 1000])
def test_two_segments_have_the_same_hash_only_if_they_are_equal(tmp_path, ids_per_chunk):
    rng = random.Random(0)
    documents = []
    for _ in range(80):
        lines = ["".join(rng.choices("ab", k=rng.randint(1, 6))) for _ in range(rng.randint(1, 5))]
        documents.append("\n".join(lines))
    tokens = write_token_file(tmp_path / "tokens", documents, shard_size=50)
    texts = [tokens.segment(i).tobytes() for i in range(tokens.num_segments)]
    hashes = segment_hashes(tokens, ids_per_chunk=ids_per_chunk)
    num_distinct = len(set(texts))
    assert num_distinct > 50
    assert len(set(zip(texts, hashes.tolist()))) == len(set(hashes.tolist())) == num_distinct
    assert duplicated_share(hashes) == pytest.approx(1 - num_distinct / len(texts))


def test_the_share_of_duplicates_by_hand():
    assert duplicated_share(np.array([7, 5, 7, 7], np.uint64)) == 0.5
    assert duplicated_share(np.zeros(0, np.uint64)) == 0
