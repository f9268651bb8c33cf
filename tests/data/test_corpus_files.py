"""Which files of a folder are read, and what is printed about the others."""
import errno
import os
import socket

import pytest

from data import open_corpus
from data.corpus_files import select_files

CODE = "def f():\n    return 1\n"


def write(folder, names, content="one\n\ntwo\n"):
    """Write a file of each name; its folders are made."""
    for name in names.split():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return folder


def names_of(selection, folder):
    return " ".join(path.relative_to(folder).as_posix() for path in selection.files)


def test_a_folder_gives_its_readable_files_in_sorted_order(tmp_path):
    readable = "B.TXT a/b.jsonl.gz a/c.json.bz2 a/z.csv b.txt"
    write(tmp_path, f"{readable} .hidden/x.txt a/.x.txt readme.md settings.json b.txt.part "
                    "b.txt.part.json")
    assert names_of(select_files([tmp_path]), tmp_path) == readable


def test_what_is_left_out_is_counted_by_extension(tmp_path):
    write(tmp_path, "a.txt a.json b.log sub/c.LOG d.log.gz Makefile .hidden.py")
    assert open_corpus(tmp_path).notes["left_out"] == "3 .log, 1 .json, 1 without extension"


def test_links_and_pipes_are_counted_too(tmp_path):
    write(tmp_path / "texts", "a.txt")
    write(tmp_path / "elsewhere", "b.txt")
    (tmp_path / "texts/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "texts/b.txt").symlink_to(tmp_path / "elsewhere/b.txt")
    (tmp_path / "texts/c.txt").symlink_to("nothing")
    os.mkfifo(tmp_path / "texts/d.txt")
    selection = select_files([tmp_path / "texts"])
    assert names_of(selection, tmp_path / "texts") == "a.txt b.txt"
    assert {kind: len(paths) for kind, paths in selection.left_out.items()} == {
        "linked folder": 1, "broken link or pipe": 2}


def test_a_folder_of_which_most_is_left_out_is_a_warning_on_a_line_of_its_own(tmp_path, capsys):
    """400 of 1,000 bytes are read. The flag names what is text, and that by its size."""
    write(tmp_path, "a.txt", "x" * 400)
    write(tmp_path, "a.md b.md", "x" * 50)
    write(tmp_path, "a.tex", "x" * 200)
    write(tmp_path, "a.png", b"\0" * 300)
    corpus = open_corpus(tmp_path)
    assert capsys.readouterr().err == (
        "warning: 60% of the bytes are left out: to read such files add --text-suffix .tex,.md\n")
    assert "warning" not in corpus.description
    open_corpus(tmp_path, text_suffix=".tex,.md")
    assert not capsys.readouterr().err
    write(write(tmp_path / "b", "a.txt"), "a.png", b"\0" * 300)
    open_corpus(tmp_path / "b")
    assert capsys.readouterr().err.endswith("% of the bytes are left out\n")


@pytest.mark.parametrize("suffixes, names", [
    (".md", "a.md a.txt"), ("md, LOG", "a.md a.txt b.log.gz"), ("none", "a.txt wiki_00"),
    (".json", "a.json a.txt"),
])
def test_text_suffixes_are_read_as_well(tmp_path, suffixes, names):
    write(tmp_path, "a.txt a.md b.log.gz wiki_00 a.json")
    assert names_of(select_files([tmp_path], suffixes), tmp_path) == names


def test_a_text_suffix_without_a_file_is_an_error(tmp_path):
    write(tmp_path, "a.txt b.md c.log")
    with pytest.raises(ValueError, match=r"--text-suffix .mkd: no .*found: .log, .md, .txt\)"):
        select_files([tmp_path], ".mkd")
    with pytest.raises(ValueError, match="--text-suffix .md has no effect on pydocs"):
        open_corpus("pydocs", text_suffix=".md")


def test_a_folder_without_other_files_is_read_as_text(tmp_path):
    write(tmp_path, "a.tex sub/b.rst AA/wiki_00")
    write(tmp_path, "c.pyc", b"\0\1")
    corpus = open_corpus(tmp_path)
    assert list(corpus.documents("all")) == ["one", "two"] * 3
    assert corpus.notes == {"read_as_plain_text": "1 .rst, 1 .tex, 1 without extension",
                            "left_out": "1 .pyc"}


@pytest.mark.parametrize("names, binary", [
    ("", ""),
    ("readme.md vocab.txt config.json", ""),
    ("readme.md merges.txt vocab.json", "model.safetensors"),
    ("metrics.jsonl page.html tokenizer/tokens.tsv tokenizer/merges.txt config.json", "loss.png"),
    ("settings.json book.txt.part", ""),
])
def test_a_folder_of_other_things_is_an_error(tmp_path, names, binary):
    write(write(tmp_path, names), binary, b"\0" * 1000)
    with pytest.raises(ValueError, match="has no file to read: supported are .txt"):
        open_corpus(tmp_path)


def test_the_files_of_a_tokenizer_are_left_out(tmp_path):
    write(tmp_path, "a.txt run/tokenizer/merges.txt run/metrics.jsonl")
    assert names_of(select_files([tmp_path]), tmp_path) == "a.txt"
    assert names_of(select_files([tmp_path / "run/tokenizer/merges.txt"]), tmp_path) == (
        "run/tokenizer/merges.txt")


def test_an_array_of_objects_is_read_if_there_is_nothing_else(tmp_path):
    write(tmp_path, "a.json", '[\n  {"text": "one"},\n  {"text": "two"}\n]\n')
    write(tmp_path, "settings.json", '{"text": "three"}')
    write(tmp_path, "readme.md")
    corpus = open_corpus(tmp_path)
    assert list(corpus.documents("all")) == ["one", "two"]
    assert corpus.notes["left_out"] == "1 .json, 1 .md"


@pytest.mark.parametrize("pattern, names", [
    ("*.py", "a.py"), ("**/*.py", "a.py sub/b.py"), ("?.txt", "a.txt"), ("s*", "sub/c.txt"),
    ("**", "a.txt sub/c.txt"), ("[[]1].txt", "[1].txt"), ("[1].txt", "[1].txt"),
])
def test_a_pattern_is_expanded(tmp_path, pattern, names):
    write(tmp_path, "a.py a.txt [1].txt" if "1" in pattern else "a.py a.txt sub/b.py sub/c.txt")
    assert names_of(select_files([tmp_path / pattern]), tmp_path) == names


def test_a_corpus_of_a_pattern_is_named_after_its_folder(tmp_path):
    write(tmp_path / "code", "a.py")
    assert open_corpus(tmp_path / "code/**/*.py").name == "code"
    assert open_corpus([tmp_path / "code/*.py", tmp_path / "code"]).name == "code, code"
    assert open_corpus([tmp_path / "code"] * 7).name == "code, code, code, code, code and 2 others"
    with pytest.raises(FileNotFoundError, match="no file or folder matches .*rst"):
        open_corpus(tmp_path / "code/*.rst")


def test_a_binary_file_is_an_error_and_a_text_is_read_whatever_its_name(tmp_path):
    write(tmp_path, "a.py", CODE)
    write(tmp_path, "a.parquet", b"PAR1\0")
    assert list(open_corpus(tmp_path / "a.py").documents("all")) == [CODE.strip()]
    with pytest.raises(ValueError, match="a.parquet: unknown extension .parquet: supported are"):
        open_corpus(tmp_path / "a.parquet")


def test_what_is_no_regular_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.txt"))
    for path in (tmp_path / "pipe.txt", tmp_path / "socket.txt", "/dev/zero"):
        with pytest.raises(ValueError, match="is not a regular file but a folder, pipe, device"):
            open_corpus(path)


@pytest.mark.parametrize("secret", ["secret", "secret/b.txt"])
def test_what_may_not_be_read_is_an_error(tmp_path, secret):
    write(tmp_path, "a.txt secret/b.txt")
    (tmp_path / secret).chmod(0)
    if os.access(tmp_path / secret, os.R_OK):
        pytest.skip("this user may read everything")
    try:
        for source in (tmp_path, tmp_path / "secret/b.txt"):
            with pytest.raises(PermissionError, match=f"(?i)permission denied: .*{secret}"):
                open_corpus(source)
    finally:
        (tmp_path / secret).chmod(0o700)


def test_a_folder_that_may_not_be_listed_is_an_error_for_folders_and_patterns(
        tmp_path, monkeypatch):
    """As the test above, but also for root, who may list everything."""
    def scandir(path, scandir=os.scandir):
        if os.path.basename(path) == "secret":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    write(tmp_path, "a.txt secret/b.txt")
    monkeypatch.setattr(os, "scandir", scandir)
    for source in (tmp_path, tmp_path / "**/*.txt"):
        with pytest.raises(PermissionError, match="Permission denied: .*secret"):
            open_corpus(source)


def test_a_pattern_follows_no_links_and_counts_files_of_other_kinds(tmp_path):
    write(tmp_path, "a.txt sub/b.txt .hidden/c.txt")
    write(tmp_path, "pictures/c.png", b"\0")
    (tmp_path / "sub/up").symlink_to(tmp_path)  # a circle
    selection = select_files([tmp_path / "**/*"])
    assert names_of(selection, tmp_path) == "a.txt sub/b.txt"
    assert selection.notes()["left_out"] == "1 .png, 1 linked folder"
    selection = select_files([tmp_path / "**/*.txt"])
    assert names_of(selection, tmp_path) == "a.txt sub/b.txt"
    with pytest.raises(ValueError, match="pict.* has no file to read.*found: 1 .png"):
        select_files([tmp_path / "pict*"])
    assert names_of(select_files([tmp_path / "sub/up/*.txt"]), tmp_path) == "sub/up/a.txt"
