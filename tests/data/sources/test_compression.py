"""Packed files and their beginnings: cut anywhere, what is read is whole lines, and it is said by the name."""
import bz2
import gzip

import pytest

from data.readers import read_documents
from data.sources.compression import check_compressed, is_partial, longest, partial_path

LINES = [f'{{"text": "line number {i} {"é" * (i % 7)}x"}}'.encode() for i in range(60)]
TEXTS = [f"line number {i} {'é' * (i % 7)}x" for i in range(60)]
WHOLE = b"\n".join(LINES) + b"\n"


@pytest.mark.parametrize("pack, extension", [(gzip.compress, ".gz"), (lambda content: content, "")])
@pytest.mark.parametrize("name", ["a.first-1MB.jsonl{}", "a.jsonl{}.part"])
def test_a_beginning_cut_anywhere_is_read_to_its_last_whole_line(tmp_path, pack, extension, name):
    packed, path, before = pack(WHOLE), tmp_path / name.format(extension), -1
    for end in [*range(0, len(packed), 17), len(packed)]:
        path.write_bytes(packed[:end])
        texts = list(read_documents(path))
        assert texts == TEXTS[: len(texts)] and len(texts) >= before  # more bytes, more lines
        before = len(texts)
    assert before == 60


def test_a_beginning_of_bzip2_is_read_block_by_block(tmp_path):
    content = b"".join(b'{"text": "%06d"}\n' % i for i in range(20_000))  # three blocks of 100 kB unpacked, and a rest
    packed, path = bz2.compress(content, compresslevel=1), tmp_path / "a.first-1MB.json.bz2"
    counts = []
    for share in (0.2, 0.5, 0.8, 0.99, 1.0):
        path.write_bytes(packed[: int(share * len(packed))])
        texts = list(read_documents(path))
        assert texts == [f"{i:06d}" for i in range(len(texts))]
        counts.append(len(texts))
    assert counts[0] == 0 < counts[1] < counts[2] < counts[3] < counts[4] == 20_000


@pytest.mark.parametrize("pack, extension", [(gzip.compress, ".gz"), (bz2.compress, ".bz2")])
def test_a_file_that_is_cut_off_without_saying_so_is_an_error(tmp_path, pack, extension):
    path = tmp_path / f"a.jsonl{extension}"
    path.write_bytes(pack(WHOLE)[:-20])
    with pytest.raises(ValueError, match=rf"a.jsonl{extension}: the {extension[1:]} file is cut off .*with .part behind its name it is read"):
        list(read_documents(path))


@pytest.mark.parametrize("name", ["a.jsonl.bz2", "a.first-1MB.jsonl.bz2"])
def test_damage_is_an_error_in_a_beginning_too(tmp_path, name):
    packed = bytearray(bz2.compress(WHOLE))
    packed[len(packed) // 2] ^= 255
    (tmp_path / name).write_bytes(packed)
    with pytest.raises(ValueError, match="the bz2 file is damaged"):
        list(read_documents(tmp_path / name))


@pytest.mark.parametrize("content, whole, message", [
    (gzip.compress(WHOLE), True, None),
    (gzip.compress(WHOLE) + gzip.compress(WHOLE), True, None),  # several streams in one file
    (gzip.compress(WHOLE)[:-1], True, "cut off"),
    (gzip.compress(WHOLE)[:-1], False, None),
    (gzip.compress(WHOLE)[:20], False, "no whole line in it: take more of it, --megabytes N"),
    (gzip.compress(b""), True, "no whole line in it$"),
    (b"<html>Sorry</html>\n", True, "damaged"),
    (b"<html>Sorry</html>\n", False, "damaged"),
])
def test_the_check_of_a_download(tmp_path, content, whole, message):
    path = tmp_path / "a.jsonl.gz.part"
    path.write_bytes(content)
    if message is None:
        check_compressed(path, whole, show_progress=False)
    else:
        with pytest.raises(ValueError, match=message):
            check_compressed(path, whole, show_progress=False)


def test_the_name_of_a_beginning_says_so():
    assert partial_path("x/a-00000.json.bz2", 7).name == "a-00000.first-7MB.json.bz2" and is_partial(partial_path("a.txt", 1))
    assert not is_partial("a.first.jsonl.gz") and not is_partial("first-5MB/a.jsonl")
    names = ["b.jsonl.gz", "a.first-10MB.jsonl.gz", "b.first-90MB.jsonl.gz", "a.first-9MB.jsonl.gz"]
    assert [path.name for path in longest(names)] == ["a.first-10MB.jsonl.gz", "b.jsonl.gz"]
