"""What inspect says of token files of many shards; its hashes against the texts themselves."""
import random

import numpy as np
import pytest
from data_helpers import Characters

from data import prepare
from data.quality.report import duplicated_share, inspect_tokens, segment_hashes


def made(tmp_path, documents):
    return prepare(documents, Characters(), tmp_path / "tokens", show_progress=False)


def test_a_token_file_of_three_shards_by_hand(tmp_path, monkeypatch):
    monkeypatch.setattr("data.token_file.writer.SHARD", 4)
    monkeypatch.setattr("data.token_file.reader.LENGTHS_PER_CHUNK", 2)  # so that the longest are found over several parts
    result = inspect_tokens(made(tmp_path, ["ab\nab", "cde", "abcdef\nf"]).folder)
    assert result["shards"] == [{"file": f"ids-0000{number}.bin", "tokens": tokens} for number, tokens in enumerate((4, 3, 7))]
    assert result["checksums"] == "all 6 files are as written"
    assert (result["documents"], result["segments"], result["tokens"]) == (3, 5, 14)
    assert result["longest_segments"] == [{"segment": i, "tokens": n} for i, n in ((3, 6), (2, 3), (0, 2), (1, 2), (4, 1))]
    assert result["duplicated_lines_share"] == pytest.approx(1 / 5)  # the second "ab"


def test_a_damaged_shard_is_named_by_inspect(tmp_path, monkeypatch):
    monkeypatch.setattr("data.token_file.writer.SHARD", 4)
    tokens = made(tmp_path, ["ab", "cde"])
    (tokens.folder / "ids-00001.bin").write_bytes(b"c\0d\0d\0")
    with pytest.raises(ValueError, match="ids-00001.bin is damaged: its checksum is [0-9a-f]{8}, meta.json says [0-9a-f]{8}; prepare it again"):
        inspect_tokens(tokens.folder)


@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_hashes_are_equal_where_segments_are_and_only_there(tmp_path, monkeypatch, at_once):
    monkeypatch.setattr("data.token_file.writer.SHARD", 50)
    monkeypatch.setattr("data.quality.report.AT_ONCE", at_once)
    rng = random.Random(0)
    tokens = made(tmp_path, ["\n".join("".join(rng.choices("ab", k=rng.randint(1, 6))) for _ in range(rng.randint(1, 5))) for _ in range(80)])
    texts = [tokens.segment(i).tobytes() for i in range(tokens.num_segments)]
    hashes = segment_hashes(tokens)
    assert len(set(zip(texts, hashes.tolist()))) == len(set(texts)) == len(set(hashes.tolist())) > 50
    assert duplicated_share(hashes) == pytest.approx(1 - len(set(texts)) / len(texts))


def test_the_share_of_duplicates_by_hand():
    assert duplicated_share(np.array([7, 5, 7, 7], np.uint64)) == 0.5 and duplicated_share(np.zeros(0, np.uint64)) == 0
