"""Compressed and partial files: wherever they are cut, only complete lines are read."""
import bz2
import gzip

import pytest

from data.readers import read_documents
from data.sources.compression import check_compressed

TEXTS = [f"line number {i} {'é' * (i % 7)}x" for i in range(60)]
CONTENT = "".join(f'{{"text": "{text}"}}\n' for text in TEXTS).encode()


@pytest.mark.parametrize("compress, suffix", [(gzip.compress, ".gz"), (bytes, "")])
def test_a_partial_file_is_read_to_its_last_complete_line(tmp_path, compress, suffix):
    content = compress(CONTENT)
    path = tmp_path / f"a.first-1MB.jsonl{suffix}"
    num_before = -1
    for end in [*range(0, len(content), 17), len(content)]:
        path.write_bytes(content[:end])
        texts = list(read_documents(path))
        assert texts == TEXTS[: len(texts)]
        assert len(texts) >= num_before  # more bytes, more lines
        num_before = len(texts)
    assert num_before == 60


def test_a_partial_bzip2_file_is_read_block_by_block(tmp_path):
    content = b"".join(b'{"text": "%06d"}\n' % i for i in range(20_000))  # over 3 blocks of 100 kB
    compressed = bz2.compress(content, compresslevel=1)
    path = tmp_path / "a.first-1MB.json.bz2"
    counts = []
    for share in (0.2, 0.5, 0.8, 0.99, 1.0):
        path.write_bytes(compressed[: int(share * len(compressed))])
        texts = list(read_documents(path))
        assert texts == [f"{i:06d}" for i in range(len(texts))]
        counts.append(len(texts))
    assert counts[0] == 0 < counts[1] < counts[2] < counts[3] < counts[4] == 20_000


@pytest.mark.parametrize("compress, kind", [(gzip.compress, "gz"), (bz2.compress, "bz2")])
def test_a_cut_off_file_is_an_error_unless_its_name_says_partial(tmp_path, compress, kind):
    path = tmp_path / f"a.jsonl.{kind}"
    path.write_bytes(compress(CONTENT)[:-20])
    with pytest.raises(ValueError, match=f"a.jsonl.{kind}: the {kind} file is cut off"):
        list(read_documents(path))


@pytest.mark.parametrize("name", ["a.jsonl.bz2", "a.first-1MB.jsonl.bz2"])
def test_a_damaged_file_is_an_error_even_if_partial(tmp_path, name):
    content = bytearray(bz2.compress(CONTENT))
    content[len(content) // 2] ^= 255
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match="the bz2 file is damaged"):
        list(read_documents(tmp_path / name))


COMPRESSED = gzip.compress(CONTENT)


@pytest.mark.parametrize("content, is_complete", [
    (COMPRESSED, True), (COMPRESSED + COMPRESSED, True), (COMPRESSED[:-1], False)])
def test_good_downloads_pass_the_check(tmp_path, content, is_complete):
    path = tmp_path / "a.jsonl.gz.part"
    path.write_bytes(content)
    check_compressed(path, is_complete, show_progress=False)


@pytest.mark.parametrize("content, is_complete, message", [
    (COMPRESSED[:-1], True, "cut off"),
    (b"<html>Sorry</html>\n", True, "damaged"),
    (b"<html>Sorry</html>\n", False, "damaged"),
])
def test_bad_downloads_fail_the_check(tmp_path, content, is_complete, message):
    path = tmp_path / "a.jsonl.gz.part"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        check_compressed(path, is_complete, show_progress=False)
