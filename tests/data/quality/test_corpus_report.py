from collections import Counter

import numpy as np
import pytest
from data_helpers import write_token_file

from data.quality.report import duplicated_share, inspect_tokens, rare_share


def test_a_token_file_of_three_shards_by_hand(tmp_path):
    documents = ["ab\nab", "cde", "abcdef\nf"]
    tokens = write_token_file(tmp_path / "tokens", documents, shard_size=4)
    result = inspect_tokens(tokens.folder)
    assert [shard["tokens"] for shard in result["shards"]] == [4, 3, 7]
    assert result["checksums"] == "6 files are intact"
    assert (result["documents"], result["segments"], result["tokens"]) == (3, 5, 14)
    longest = [(entry["segment"], entry["tokens"]) for entry in result["longest_segments"]]
    assert longest == [(3, 6), (2, 3), (0, 2), (1, 2), (4, 1)]
    assert result["duplicated_lines_share"] == pytest.approx(1 / 5)  # the second "ab"


def test_inspect_finds_a_damaged_shard(tmp_path):
    folder = write_token_file(tmp_path / "tokens", ["ab", "cde"], shard_size=4).folder
    (folder / "ids-00001.bin").write_bytes(b"c\0d\0d\0")
    with pytest.raises(ValueError, match="ids-00001.bin is damaged: its checksum is"):
        inspect_tokens(folder)


def test_the_share_of_duplicates_by_hand():
    assert duplicated_share(np.array([7, 5, 7, 7], np.int64)) == 0.5
    assert duplicated_share(np.zeros(0, np.int64)) == 0


def test_a_character_is_rare_below_one_in_a_hundred_thousand():
    assert rare_share(Counter({"a": 500_000, "ß": 5, "é": 6})) == 5 / 500_011
    assert rare_share(Counter({"a": 99_999, "ß": 1})) == 0
