import gzip
import json

import pytest

from data.corpus_files import FORMATS, format_of
from data.lines import Replacements, decoded_lines
from data.readers import READERS, csv_rows, read_documents, text_documents, text_lines


def write(path, content):
    if isinstance(content, str):
        content = content.encode("utf-8")
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def read(path, **options):
    return list(read_documents(path, **options))


def test_a_text_document_is_a_run_of_lines_between_blank_lines(tmp_path):
    assert read(write(tmp_path / "a.txt", "\n\none\ntwo\n\n  \nthree")) == ["one\ntwo", "three"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_and_a_byte_order_mark_make_no_difference(tmp_path, end):
    path = write(tmp_path / "a.txt", end.join(["\ufeffone", "twö", "", "three", ""]))
    assert read(path) == ["one\ntwö", "three"]


JSONL = """\
{"text": "one\\ntwo", "id": 1}

{"id": 2, "text": "three"}
{"text": ""}
{"text": null}
"""


@pytest.mark.parametrize("name, content", [
    ("a.jsonl", JSONL),
    ("a.csv", 'id,text\n1,"one\ntwo"\n2,three\n3,\n'),
    ("a.csv", 'id,text\n1,"one\rtwo"\n2,three\n'),
    ("a.json", '[{"text": "one\\ntwo"}, {"text": "three"}]'),
    ("a.json", '\ufeff\n[\n  {\n    "text": "one\\r\\ntwo"\n  },\n  {"text": "three"}\n]\n'),
    ("a.csv", '\ufeffid,text\r\n1,"one\r\ntwo"\r\n2,three\r\n'),
    ("a.txt", "one\ntwo\n\nthree\n"),
])
@pytest.mark.parametrize("compression", ["", ".gz"])
def test_all_formats_give_the_same_documents(tmp_path, name, content, compression):
    assert read(write(tmp_path / (name + compression), content)) == ["one\ntwo", "three"]


def test_every_format_has_its_reader():
    assert READERS.keys() == set(FORMATS)


@pytest.mark.parametrize("name, content", [
    ("a.txt", b"caf\xe9 \xff\xfe\xef\xbf\xbd\n\nb"),
    ("a.csv", b"text\ncaf\xe9 \xff\xfe\xef\xbf\xbd\nb\n"),
    ("a.tsv", b"text\ncaf\xe9 \xff\xfe\xef\xbf\xbd\nb\n"),
    ("a.jsonl", b'{"text": "caf\xe9 \xff\xfe\xef\xbf\xbd"}\n{"text": "b"}\n'),
    ("a.json", b'[{"text": "caf\xe9 \xff\xfe\xef\xbf\xbd"},\n{"text": "b"}]'),
])
def test_replaced_bytes_are_counted_once_in_every_format(tmp_path, name, content):
    """Three bytes are replaced. The fourth U+FFFD is in the file and counts for nothing."""
    path = write(tmp_path / name, content)
    replacements = Replacements("replace")
    for _ in range(2):
        assert read(path, replacements=replacements) == ["caf\ufffd \ufffd\ufffd\ufffd", "b"]
    assert str(replacements) == f"3 characters of invalid UTF-8, in 1 file ({path})"
    with pytest.raises(ValueError, match="(?s)not UTF-8: .*Or add --encoding-errors replace"):
        read(path, replacements=Replacements())
    with pytest.raises(ValueError) as error:
        read(path)  # by a command that has no such flag
    assert "--encoding-errors" not in str(error.value)


@pytest.mark.parametrize("lines, rows, bad", [
    (['a,1', '"b,2', 'c,3', 'd,4'], "acd", [2]),
    (['"a,1', '"b', 'c",3', '"d,4'], ["b\nc"], [1, 4]),
    (['a,1', '"b"x,2', '"c,3', '', '"d",4', 'e,5'], "ade", [2, 3]),
])
def test_after_a_bad_row_a_csv_is_read_on_in_the_next_line(tmp_path, lines, rows, bad):
    path = write(tmp_path / "a.csv", "\n".join(lines) + "\n")
    messages = []
    read_rows = csv_rows(path, decoded_lines(path), on_bad_row=messages.append)
    assert [row[0] for _, row in read_rows] == list(rows)
    assert [message.partition(": ")[0] for message in messages] == [f"{path}:{i}" for i in bad]


def test_many_bad_rows_of_a_csv_take_linear_time(tmp_path):
    """Each of 20,000 quotation marks that never close is met again by the row before it."""
    path = write(tmp_path / "a.csv", '"a,1\nb,2\n' * 20_000)
    messages = []
    assert len(list(csv_rows(path, decoded_lines(path), on_bad_row=messages.append))) == 20_000
    assert len(messages) == 20_000


def test_quote_marks_in_a_tsv_are_text(tmp_path):
    path = write(tmp_path / "a.tsv", 'id\ttext\n1\t"one\n2\ttwo "x"\n')
    assert read(path) == ['"one', 'two "x"']


def test_a_surrogate_pair_in_json_is_one_character_and_half_of_one_is_replaced(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "\\ud83d\\ude00"}\n{"text": "ab\\ud83d"}')
    assert read(path) == ["\U0001f600", "ab\ufffd"]


def test_the_text_field_can_be_chosen(tmp_path):
    table = write(tmp_path / "a.csv", "title,review\nx,good\n")
    assert read(table, text_field="review") == ["good"]
    records = write(tmp_path / "a.jsonl", '{"text": "x", "review": "good"}')
    assert read(records, text_field="review") == ["good"]


@pytest.mark.parametrize("name, content, message", [
    ("a.csv", "title,review\nx,good\n", "a.csv:2: no field 'text'; there are: title, review"),
    ("a.csv", "title,text\nx,y\nz\n", "a.csv:3: 1 field in this row, but 2 column names"),
    ("a.csv", 'text\n"never closed\n', "a.csv:2: the row that starts here .* mark never closed"),
    ("a.jsonl", '{"text": "x"}\n\n{"review": "x"}\n', "a.jsonl:3: no field 'text'; there are: rev"),
    ("a.jsonl", '{"text": "x"}\n{"text": \n', "a.jsonl:2: invalid JSON"),
    ("a.jsonl", '{"text": "x", "n": ' + "9" * 5000 + "}\n", "a.jsonl:1: invalid JSON"),
    ("a.jsonl", '{"n": ' + "[" * 100_000 + "]" * 100_000 + "}\n", "a.jsonl:1: invalid JSON"),
    ("a.jsonl", '["x"]\n', "a.jsonl:1: a JSON list instead of an object$"),
    ("a.json", '[{"text": "x"},\n\n ["y"]]', "a.json:item 2: a JSON list instead of an object$"),
    ("a.json", '[{"text": "x"},\n {"t": "y"}]', "a.json:item 2: no field 'text'; there are: t"),
    ("a.json", '[{"text": "x"},\n {"text": "y"', r"a.json:2: invalid JSON \(.*, column 14\)$"),
    ("a.json", '[{"text": "x"}]\n[{"text": "y"}]', "a.json:2: invalid JSON"),
    ("a.csv", "text,text\nx,y\n", "a.csv:1: a column name is repeated"),
    ("a.jsonl", '{"text": 5}\n', "a.jsonl:1: the field 'text' is not a string but int"),
    ("a.txt", b"fine\nbin\0ary", "a.txt:2: a NUL byte at byte 4.*binary"),
    ("a.txt", b"fine\n\nna\xefve\n", "a.txt:3: the text is not UTF-8: byte 3 of the line is 0xef"),
    ("a.txt", "fine".encode("utf-16"), "a.txt: this is UTF-16. Convert it: iconv -f UTF-16 "),
    ("a.txt.gz", b"\0\xff", "a.txt.gz:1: a NUL byte"),
    ("a.pdf", "x", "unknown extension .pdf: supported are .txt, .jsonl, .json, .csv, .tsv"),
    ("a", "x", r"unknown extension \(none\)"),
])
def test_an_unreadable_file_is_an_error_with_its_line_and_reason(tmp_path, name, content, message):
    with pytest.raises(ValueError, match=message):
        read(write(tmp_path / name, content))


def test_a_missing_file_and_a_folder_are_not_called_unknown(tmp_path):
    with pytest.raises(FileNotFoundError, match="^no such file: .*texts$"):
        format_of(tmp_path / "texts")
    with pytest.raises(ValueError, match="texts is a folder: name a file in it"):
        (tmp_path / "texts").mkdir()
        format_of(tmp_path / "texts")


CUT = "The file may be cut in the middle of a character: copy it again"


@pytest.mark.parametrize("content, is_cut", [
    ("na\u00efve \u00e9tude\n".encode("latin-1"), False),
    ("\u201cnaive\u201d\n".encode("cp1252"), False),
    ("\u4e2d\u6587\n".encode("gbk"), False),
    ("na\u00efve caf\u00e9".encode()[:-1], True),
    ("\u6f22\u5b57".encode()[:-1], True),
    ("caf\u00e9".encode("latin-1"), True),  # or another encoding: the bytes do not tell
])
def test_no_encoding_is_guessed_from_bytes_that_are_not_utf8(tmp_path, content, is_cut):
    with pytest.raises(ValueError, match="the text is not UTF-8") as error:
        read(write(tmp_path / "a.txt", content))
    assert "\nConvert it: iconv -f ITS_ENCODING -t UTF-8 FILE > NEW_FILE" in str(error.value)
    assert (CUT in str(error.value)) == is_cut


@pytest.mark.parametrize("encoding, named", [
    ("utf-16", "this is UTF-16"), ("utf-16-be", "a NUL byte at byte 3 .* or UTF-16 without a")])
def test_utf16_is_named_if_it_has_a_byte_order_mark(tmp_path, encoding, named):
    with pytest.raises(ValueError, match=named):
        read(write(tmp_path / "a.txt", "\u6f22a".encode(encoding)))


def test_an_array_larger_than_memory_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("data.readers.MAX_BYTES", 1000)
    with pytest.raises(ValueError, match="a.json: a JSON value of over .* as .jsonl"):
        read(write(tmp_path / "a.json", '[{"text": "x"},\n' + '{"text": "y"},\n' * 100))


@pytest.mark.parametrize("damage", [
    lambda packed: packed[:-9],
    lambda packed: b"not gzip at all",
    lambda packed: packed[:30] + b"xxxx" + packed[34:],
])
def test_a_damaged_gzip_file_is_reported(tmp_path, damage):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(damage(gzip.compress(bytes(range(32, 127)) * 50)))
    with pytest.raises(ValueError, match="a.txt.gz: the gz file is (damaged|cut off)"):
        read(path)


def test_a_long_document_is_cut_between_two_lines():
    lines = ["1234", "1234", "1234", "1234567890123", "x"]
    documents = list(text_documents(lines, max_characters=10))
    assert documents == ["1234\n1234", "1234", "1234567890123", "x"]


@pytest.mark.parametrize("text, pieces", [
    ("one two three fo", ["one two", " three", " fo"]),
    ("one two thirteen", ["one two", " thirtee", "n"]),
    ("日本語日本語日本語 x", ["日本語日本語日本", "語 x"]),
    ("12345678", ["12345678"]),
])
def test_a_very_long_line_is_cut_at_a_space_if_there_is_one(tmp_path, monkeypatch, text, pieces):
    monkeypatch.setattr("data.readers.MAX_LINE", 8)
    path = write(tmp_path / "a.txt", text + "\nx\n")
    assert list(text_lines(decoded_lines(path))) == [*pieces, "x"]


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv"])
def test_a_line_larger_than_memory_is_an_error(tmp_path, monkeypatch, name):
    monkeypatch.setattr("data.lines.MAX_BYTES", 100)
    with pytest.raises(ValueError, match=f"{name}:1: a line of over"):
        read(write(tmp_path / name, "x" * 1000))


def test_files_are_streamed(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "first"}\n' * 10 + "broken\n")
    documents = read_documents(path)
    assert next(documents) == "first"  # the broken line has not been read yet
    with pytest.raises(ValueError, match=":11:"):
        list(documents)


def test_unicode_line_separators_do_not_end_a_line(tmp_path):
    text = "one\u2028still one\x0cand still"
    assert read(write(tmp_path / "a.jsonl", json.dumps({"text": text}))) == [text]
    assert read(write(tmp_path / "a.txt", text)) == [text]
