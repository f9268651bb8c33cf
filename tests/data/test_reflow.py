"""Joining the lines of hard-wrapped text: what is wrapped, what is joined, what is kept."""
import gzip
import json
import random
import textwrap

import pytest
from data_helpers import Characters

from data import open_corpus
from data.__main__ import main
from data.reflow import ALWAYS, reflow, wrap_width

WORDS = ("the old man who kept the lamp of our harbor went up every evening with a can of oil and "
         "never said in so many years what he thought about all those ships").split()
HAIKU = "an old silent pond\na frog jumps into the pond\nsplash! silence again"


def sentences(num_sentences, rng):
    """Return sentences of 4 to 20 words."""
    return [" ".join(rng.choices(WORDS, k=rng.randint(4, 20))).capitalize() + "."
            for _ in range(num_sentences)]


def paragraphs(num_paragraphs=30, seed=0):
    """Return paragraphs of 1 to 8 sentences, each on one line."""
    rng = random.Random(seed)
    return [" ".join(sentences(rng.randint(1, 8), rng)) for _ in range(num_paragraphs)]


def wrapped(width, seed=0):
    return [textwrap.fill(text, width, break_on_hyphens=False)
            for text in paragraphs(seed=seed)]


@pytest.mark.parametrize("width", [40, 60, 70, 72, 78, 100])
def test_wrapped_text_is_found_and_comes_back_as_it_was(width):
    documents = wrapped(width)
    found = wrap_width(documents)
    assert width - 3 <= found <= width
    assert [reflow(document, found) for document in documents] == paragraphs()


def test_wrapped_text_within_one_document_is_found():
    """A row of .jsonl may hold a book, with blank lines between its paragraphs."""
    book = "\n\n".join(wrapped(70))
    assert reflow(book, wrap_width([book])) == "\n\n".join(paragraphs())


def test_chinese_lines_are_joined_without_a_space():
    text = "这是一个很长的句子，没有空格，所以在固定的宽度处换行。"
    documents = ["\n".join(textwrap.wrap(text * n + "短" * n, 30)) for n in range(2, 14)]
    assert wrap_width(documents) == 60  # columns: a character takes two
    assert [reflow(document, 60) for document in documents] == [
        text * n + "短" * n for n in range(2, 14)]


CODE = """def area(width, height):
    if width < 0:
        raise ValueError("a width is positive")
    return width * height

print(area(3, 4))
"""


@pytest.mark.parametrize("name, document", {
    "prose, one paragraph a line": "\n\n".join(paragraphs()),
    "one sentence a line": "\n".join(sentences(300, random.Random(1))),
    "sentences, blank lines between articles": "\n\n".join(
        "\n".join(sentences(6, random.Random(i))) for i in range(40)),
    "verse": "\n\n".join([HAIKU] * 20),
    "verse of long lines": "\n\n".join(
        "\n".join(" ".join(random.Random(4 * i + j).choices(WORDS, k=14)) for j in range(4))
        for i in range(30)),
    "Chinese verse": "\n\n".join(["床前明月光疑是地上霜\n举头望明月低头思故乡"] * 20),
    "code": CODE * 20,
    "a list of words": "\n".join(WORDS * 5) + "\n\n" + "\n\n".join(WORDS[:9]),
    "a contents page": "\n\n".join(
        "\n".join(f"Chapter {i}. {random.Random(i).choice(WORDS)} {7 * i:.>20}"
                  for i in range(40)) for _ in range(5)),
    "lines of equal length": "\n\n".join(
        "\n".join(f"2026-11-30 08:{i:02d}:00 sensor {j} reports {500 + i} units"
                  for i in range(10, 40)) for j in range(6)),
    "hashes": "\n\n".join("\n".join(f"{random.Random(i).getrandbits(256):064x}"
                                    for i in range(j, j + 5)) for j in range(9)),
    "a narrow column": "\n\n".join(wrapped(24)),
    "too little text": textwrap.fill(paragraphs()[0], 40),
}.items())
def test_other_text_is_not_wrapped(name, document):
    assert wrap_width([document]) is None


@pytest.mark.parametrize("document, expected", [
    # a heading, verse, a signature: the next word would have fitted
    ("Chapter I\nIt was a dark and stormy\nnight.", "Chapter I\nIt was a dark and stormy night."),
    ("O for a muse\nof fire, that", "O for a muse\nof fire, that"),
    # indented lines
    ("as he had sung it to her:\n  O mistress mine, where are\n  you roaming", None),
    # a paragraph whose first line is indented
    ("  It was a dark and stormy\nnight.", "  It was a dark and stormy night."),
    # lists, quotations, tables
    ("he brought from the market\n- apples\n- pears", None),
    ("he brought from the market\n1. apples", None),
    ("> he brought from the market\n> apples", None),
    # after a hyphen or dash it is unknown whether there was a space
    ("a word that continues: twenty-\nfive, and so it does", None),
    ("then he said, looking up—\nbut he said nothing", None),
    ("then he said, looking up –\nbut no more", "then he said, looking up – but no more"),
    # blank lines and lines that are too long to be wrapped
    ("It was a dark and stormy\n\nnight.", None),
    ("It was a dark and stormy night; the rain fell in torrents.\nAt times", None),
    # the edges of joined lines; double spaces and a trailing space
    ("It was a dark.  Stormy \nnight.", "It was a dark.  Stormy night."),
    # without spaces: Chinese and Japanese, but not Korean or a Latin word
    ("日本語の文は空白なしで書かれ\nます。", "日本語の文は空白なしで書かれます。"),
    ("한국어 문장은 띄어쓰기를\n합니다.", "한국어 문장은 띄어쓰기를 합니다."),
    ("日本語の文は空白なしで書く\nLatin では", "日本語の文は空白なしで書く Latin では"),
])
def test_what_is_joined_and_what_is_kept_in_lines_of_28_columns(document, expected):
    assert reflow(document, 28) == (expected or document)


def test_always_joins_lines_of_any_length_but_no_list_and_no_indented_line():
    assert reflow("one\ntwo\n\nthree\n  four\n- five", ALWAYS) == "one two\n\nthree\n  four\n- five"


@pytest.mark.parametrize("width", [ALWAYS, 20, 28, 40])
@pytest.mark.parametrize("seed", range(30))
def test_only_white_space_changes_and_joining_again_changes_nothing(width, seed):
    rng = random.Random(seed)
    pieces = [*WORDS, "\n", "\n", "\n\n", "\n  ", "- ", "3. ", "twenty-", "—", "\u3000", "日本",
              "한국어"]
    document = "".join(piece + rng.choice(["", " ", "  "])
                       for piece in rng.choices(pieces, k=rng.randint(1, 120))).strip()
    joined = reflow(document, width)
    assert "".join(joined.split()) == "".join(document.split())
    assert reflow(joined, width) == joined


def test_a_line_that_is_still_short_when_joined_is_judged_as_it_will_be_read():
    once = reflow("he said it was a fine day,\nx\nand so", 28)  # 26 columns, 28 with the x
    assert reflow(once, 28) == once


# ------------------------------------------------------------------------------ corpora


def read(path, split="all", reflow="auto"):
    corpus = open_corpus(path, reflow=reflow)
    return list(corpus.documents(split)), corpus.notes.get("reflowed")


@pytest.mark.parametrize("name, content", {
    "a.txt": "\n\n".join(wrapped(70)).encode(),
    "crlf.txt": "\n\n".join(wrapped(70)).replace("\n", "\r\n").encode(),
    "a.txt.gz": gzip.compress("\n\n".join(wrapped(70)).encode()),
    "a.jsonl": "".join(json.dumps({"text": text}) + "\n" for text in wrapped(70)).encode(),
}.items())
def test_each_format_is_joined(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    documents, note = read(tmp_path / name)
    assert documents == paragraphs()
    assert note == "the lines of 1 of 1 file, hard-wrapped at 70 columns, are joined to paragraphs"
    assert read(tmp_path / name, reflow="no") == (wrapped(70), None)


def test_each_file_is_judged_by_itself(tmp_path):
    verse = "\n\n".join([HAIKU] * 20)
    texts = {"a": "\n\n".join(wrapped(60)), "b": verse, "c": "\n\n".join(wrapped(72, seed=1))}
    for name, text in texts.items():
        (tmp_path / f"{name}.txt").write_text(text)
    documents, note = read(tmp_path)
    assert documents == paragraphs() + [HAIKU] * 20 + paragraphs(seed=1)
    assert note.startswith("the lines of 2 of 3 files, hard-wrapped at 60 to 72 columns,")
    documents, note = read(tmp_path, reflow="yes")
    assert documents[30] == HAIKU.replace("\n", " ")
    assert note == "the lines of 3 of 3 files are joined to paragraphs"


@pytest.mark.parametrize("num_documents", [6, 30, 400])
def test_joining_does_not_move_text_between_the_splits(tmp_path, num_documents):
    """Six documents are split by lines, more of them by a hash of the document."""
    texts = [textwrap.fill(text, 50) for text in paragraphs(num_documents)]
    (tmp_path / "a.txt").write_text("\n\n".join(texts))
    for split in ("train", "eval"):
        kept, joined = (read(tmp_path / "a.txt", split, reflow)[0] for reflow in ("no", "auto"))
        assert [text.split() for text in joined] == [text.split() for text in kept]
        assert "\n" not in "".join(joined)


def test_prepare_and_inspect_say_what_was_joined(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("data.__main__.load_tokenizer", lambda folder: Characters())
    text, tokens = tmp_path / "a.txt", tmp_path / "tokens"
    text.write_text("\n\n".join(wrapped(70)))
    note = "the lines of 1 of 1 file, hard-wrapped at 70 columns, are joined to paragraphs"

    def result(*arguments):
        main([*map(str, arguments), "--json"])
        return json.loads(capsys.readouterr().out)

    prepare = ("prepare", text, "--tokenizer", "x", "--out", tokens, "--overwrite")
    shown = result(*prepare)
    assert (shown["reflowed"], shown["num_segments"]) == (note, 30)
    assert result("inspect", tokens)["reflowed"] == note
    assert result("inspect", text)["reflowed"] == note
    assert "reflowed" not in result(*prepare, "--reflow", "no")
    assert "reflowed" not in result("inspect", tokens)
    assert result("filter", text, "--filters", "duplicates", "--out", tmp_path / "kept.jsonl")
    assert "\\n" in (tmp_path / "kept.jsonl").read_text()
