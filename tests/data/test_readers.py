import gzip
import json

import pytest

from data import readers
from data.readers import find_files, read_documents


def write(path, content):
    content = content if isinstance(content, bytes) else content.encode("utf-8")
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def read(path, **options):
    return list(read_documents(path, **options))


def test_a_text_document_is_a_run_of_lines_between_blank_lines(tmp_path):
    assert read(write(tmp_path / "a.txt", "\n\none\ntwo\n\n  \nthree")) == ["one\ntwo", "three"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_line_ends_and_a_byte_order_mark_make_no_difference(tmp_path, end):
    assert read(write(tmp_path / "a.txt", end.join(["\ufeffone", "twö", "", "three", ""]))) == ["one\ntwö", "three"]


@pytest.mark.parametrize("name, content", [
    ("a.jsonl", '{"text": "one\\ntwo", "id": 1}\n\n{"id": 2, "text": "three"}\n{"text": ""}\n{"text": null}\n'),
    ("a.csv", 'id,text\n1,"one\ntwo"\n2,three\n3,\n'),
    ("a.csv", '\ufeffid,text\r\n1,"one\r\ntwo"\r\n2,three\r\n'),
    ("a.txt", "one\ntwo\n\nthree\n"),
])
@pytest.mark.parametrize("packed", ["", ".gz"])
def test_every_format_gives_the_same_documents_packed_or_not(tmp_path, name, content, packed):
    assert read(write(tmp_path / (name + packed), content)) == ["one\ntwo", "three"]


def test_a_quote_mark_in_a_tsv_is_a_character_like_others(tmp_path):
    assert read(write(tmp_path / "a.tsv", 'id\ttext\n1\t"one\n2\ttwo "x"\n')) == ['"one', 'two "x"']


def test_an_emoji_that_is_escaped_as_two_halves_is_one_character(tmp_path):
    assert read(write(tmp_path / "a.jsonl", '{"text": "\\ud83d\\ude00", "other": "\\ud83d"}')) == ["\U0001f600"]


def test_the_text_field_is_chosen_by_name(tmp_path):
    assert read(write(tmp_path / "a.csv", "title,review\nx,good\n"), text_field="review") == ["good"]
    assert read(write(tmp_path / "a.jsonl", '{"text": "x", "review": "good"}'), text_field="review") == ["good"]


@pytest.mark.parametrize("name, content, message", [
    ("a.csv", "title,review\nx,good\n", r"a.csv:1: no column 'text'; there are: title, review.*--text-field"),
    ("a.csv", "title,text\nx,y\nz\n", r"a.csv:3: 1 fields in this row, 2 in the first"),
    ("a.csv", 'text\n"never closed\n', r"a.csv:2: unexpected end of data"),
    ("a.jsonl", '{"text": "x"}\n\n{"review": "x"}\n', r"a.jsonl:3: no field 'text'; there are: review"),
    ("a.jsonl", '{"text": "x"}\n{"text": \n', r"a.jsonl:2: no JSON object"),
    ("a.jsonl", '{"text": "x", "n": ' + "9" * 5000 + "}\n", r"a.jsonl:1: a whole number of more than 4,300 digits: leave that field out"),
    ("a.jsonl", '{"text": "x", "n": ' + "[" * 100_000 + "]" * 100_000 + "}\n", r"a.jsonl:1: lists or objects within each other, too deep to be read"),
    ("a.jsonl", '["x"]\n', r"a.jsonl:1: a JSON list, not an object"),
    ("a.jsonl", '{"text": 5}\n', r"a.jsonl:1: the field 'text' holds no text but int"),
    ("a.jsonl", '{"text": "x"}\n{"text": "ab\\ud83d"}\n', r"a.jsonl:2: character 3 of field 'text' is .ud83d, half of a character"),
    ("a.txt", b"fine\nbin\0ary", r"a.txt:2: a NUL byte at byte 4.*binary"),
    ("a.txt", b"fine\n\nna\xefve\n", r"a.txt:3: byte 3 of the line is 0xef, which is not UTF-8.*iconv"),
    ("a.txt", "fine".encode("utf-16"), r"a.txt is UTF-16 text: save it as UTF-8"),
    ("a.txt.gz", b"\0\xff", r"a.txt.gz:1: a NUL byte"),
    ("a.pdf", "x", r"unknown extension .pdf: this reads .txt, .jsonl, .json, .csv, .tsv, each also with .gz or .bz2"),
    ("a", "x", r"unknown extension \(none\)"),
])
def test_a_file_that_cannot_be_read_says_where_and_why(tmp_path, name, content, message):
    with pytest.raises(ValueError, match=message):
        read(write(tmp_path / name, content))


@pytest.mark.parametrize("damage", [lambda packed: packed[:-9], lambda packed: b"no gzip at all", lambda packed: packed[:30] + b"xxxx" + packed[34:]])
def test_a_damaged_gzip_file_is_reported(tmp_path, damage):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(damage(gzip.compress(bytes(range(32, 127)) * 50)))
    with pytest.raises(ValueError, match="a.txt.gz: the gz file is (damaged|cut off)"):
        read(path)


def test_a_missing_file_is_reported(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file.*none.txt"):
        read(tmp_path / "none.txt")


def test_a_long_run_of_lines_is_cut_at_the_end_of_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "MAX_DOCUMENT", 10)
    assert read(write(tmp_path / "a.txt", "1234\n1234\n1234\n1234567890123\nx\n")) == ["1234\n1234", "1234", "1234567890123", "x"]


@pytest.mark.parametrize("text", ["one two three four", "é" * 20, "aé" * 9, "日本語" * 5, "12345678"])
def test_a_very_long_line_comes_in_pieces_that_lose_nothing(tmp_path, monkeypatch, text):
    monkeypatch.setattr(readers, "MAX_LINE", 8)
    pieces = list(readers.text_lines(write(tmp_path / "a.txt", text + "\nx\n")))
    assert "".join(pieces) == text + "x"
    assert all(len(piece.encode("utf-8")) <= 16 for piece in pieces)


def test_long_lines_are_cut_at_white_space(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "MAX_LINE", 8)
    assert [line.strip() for line in readers.text_lines(write(tmp_path / "a.txt", "one two three"))] == ["one two", "three"]


def test_a_last_line_that_ends_just_where_a_piece_is_cut_off_is_not_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "MAX_LINE", 8)  # one two | three | fo: nothing is left to read when " fo" is still to come
    assert [line.strip() for line in readers.text_lines(write(tmp_path / "a.txt", "one two three fo"))] == ["one two", "three", "fo"]


def test_a_long_line_counts_as_one_where_an_error_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "MAX_LINE", 8)
    with pytest.raises(ValueError, match=r"a.txt:2: byte 3 of the line is 0xef"):
        list(readers.text_lines(write(tmp_path / "a.txt", b"one two three four\nna\xefve\n")))


def test_reading_is_streamed(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "first"}\n' * 10 + "broken\n")
    documents = read_documents(path)
    assert next(documents) == "first"  # the broken line, far below, has not been looked at
    with pytest.raises(ValueError, match=":11:"):
        list(documents)


def test_a_folder_is_all_its_readable_files_in_sorted_order(tmp_path):
    for name in ("b.txt", "a/z.csv", "a/b.jsonl.gz", ".hidden/x.txt", "a/.x.txt", "readme.md", "B.TXT", "settings.json", "a/c.json.bz2",
                 "b.txt.part", "b.txt.part.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / name, "x")
    assert [file.relative_to(tmp_path).as_posix() for file in find_files(tmp_path)] == [
        "B.TXT", "a/b.jsonl.gz", "a/c.json.bz2", "a/z.csv", "b.txt"]


def test_a_folder_without_a_readable_file_is_an_error(tmp_path):
    write(tmp_path / "readme.md", "x")
    with pytest.raises(ValueError, match="has no file to read: this reads .txt"):
        find_files(tmp_path)


def test_unicode_line_separators_do_not_split_a_line(tmp_path):
    text = "one\u2028still one\x0cand still"
    assert read(write(tmp_path / "a.jsonl", json.dumps({"text": text}))) == [text]
    assert read(write(tmp_path / "a.txt", text)) == [text]
