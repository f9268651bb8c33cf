import json
import math
import os
import re
import signal

import pytest
from data_helpers import Characters, write_token_file

from data import TokenFile
from data.__main__ import main
from tokenizer.utils.cli import run


@pytest.fixture
def text(tmp_path):
    (tmp_path / "a.txt").write_text("a b\na b\n\nlonger line\n")
    return str(tmp_path / "a.txt")


@pytest.fixture
def fake_tokenizer(monkeypatch):
    """``load_tokenizer`` returns a tokenizer of characters."""
    monkeypatch.setattr("data.__main__.load_tokenizer", lambda folder: Characters())


def output(capsys, *arguments):
    main(list(map(str, arguments)))
    return capsys.readouterr().out


def json_output(capsys, *arguments):
    return json.loads(output(capsys, *arguments, "--json"))


def test_list_names_the_corpora(capsys):
    names = [entry["name"] for entry in json_output(capsys, "list")]
    assert names == ["pydocs", "kant", "wikipedia", "amazon"]
    assert "\n\nname         kant\ndescription  three books" in output(capsys, "list")


def test_prepare_writes_the_chosen_split(capsys, tmp_path, text, fake_tokenizer):
    num_segments = {}
    for split in ("train", "eval", "all"):
        out = tmp_path / split
        result = json_output(capsys, "prepare", text, "--tokenizer", "x", "--out", out,
                             "--split", split)
        num_segments[split] = TokenFile(out).num_segments
        assert (result["num_segments"], result["split"]) == (num_segments[split], split)
    assert num_segments == {"train": 2, "eval": 1, "all": 3}


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_prepare_reports_what_is_kept(tmp_path, text, fake_tokenizer, monkeypatch,
                                                capsys, sent):
    def documents(self, split):
        yield "x\n" * 600_000  # more than a batch
        yield "y"
        os.kill(os.getpid(), sent)
        yield "z"

    monkeypatch.setattr("data.corpora.FileCorpus.documents", documents)
    arguments = ["prepare", text, "--tokenizer", "x", "--out", str(tmp_path / "tokens"),
                 "--workers", "1"]
    term_handler = signal.getsignal(signal.SIGTERM)
    interrupt_handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit) as stopped:
            run(lambda: main(arguments))
    finally:
        signal.signal(signal.SIGINT, interrupt_handler)
    assert stopped.value.code == 130
    assert signal.getsignal(signal.SIGTERM) == term_handler
    message = "stopped; kept: 1 document (1.2 MB of text); repeat the command to resume\n"
    assert capsys.readouterr().err.endswith(message)


def test_inspect_a_corpus_by_hand(capsys, text):
    result = json_output(capsys, "inspect", text)
    assert (result["documents"], result["lines"]) == (2, 3)
    assert (result["words"], result["distinct_words"]) == (6, 4)
    assert result["duplicated_lines_share"] == pytest.approx(1 / 3)
    entropy = -4 / 6 * math.log(2 / 6) - 2 / 6 * math.log(1 / 6)
    assert result["unigram_entropy_of_words"] == pytest.approx(entropy)
    assert result["longest_lines"][0] == {"characters": 11, "begins": "longer line"}


@pytest.mark.parametrize("command", [
    "inspect", "filter --filters short=1 --out {0}/kept.jsonl",
    "prepare --tokenizer x --out {0}/tokens", "prepare --tokenizer x --out {0}/t --filters short=1",
])
def test_replaced_bytes_are_counted_by_each_command(capsys, tmp_path, monkeypatch, command):
    tokenizer = Characters(vocab_size=1 << 16)  # U+FFFD is one of them
    monkeypatch.setattr("data.__main__.load_tokenizer", lambda folder: tokenizer)
    (tmp_path / "a.txt").write_bytes(b"caf\xe9 \xff\n\nb\n")
    (tmp_path / "b.csv").write_bytes(b"text\n\xe9\n")
    sources = [tmp_path / "a.txt", tmp_path / "b.csv"]
    arguments = [*command.format(tmp_path).split(), *sources]
    with pytest.raises(ValueError, match="not UTF-8"):
        main(list(map(str, arguments)))
    shown = output(capsys, *arguments, "--encoding-errors", "replace")
    assert (f"3 characters of invalid UTF-8, in 2 files ({', '.join(map(str, sources))})"
            in re.sub(" +", " ", shown))


def test_inspect_a_token_file_by_hand(capsys, tmp_path):
    folder = write_token_file(tmp_path / "tokens", ["ab\nab", "abab"]).folder
    result = json_output(capsys, "inspect", folder)
    assert (result["documents"], result["segments"], result["tokens"]) == (2, 3, 8)
    assert result["ids_used"] == 2
    assert result["unigram_entropy"] == pytest.approx(math.log(2))
    assert result["duplicated_lines_share"] == pytest.approx(1 / 3)
    assert result["longest_segments"][0] == {"segment": 2, "tokens": 4}
    lines = output(capsys, "inspect", folder).splitlines()
    assert "unigram entropy             0.6931 nats" in lines
    assert "text                        11 bytes" in lines
    start = lines.index("longest segments")
    assert lines[start + 1:start + 3] == ["  segment  tokens", "        2       4"]


def test_inspect_a_run_reports_on_both_of_its_token_files(capsys, tmp_path):
    for split, text in (("train", "abab"), ("eval", "ab")):
        write_token_file(tmp_path / "run" / "data" / split, [text])
    for folder in (tmp_path / "run", tmp_path / "run" / "data"):
        result = json_output(capsys, "inspect", folder)
        assert {split: report["tokens"] for split, report in result.items()} == {
            "train": 4, "eval": 2}


def test_filter_does_not_replace_the_corpus_that_it_reads(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n')
    with pytest.raises(ValueError, match="a.jsonl is read, so it cannot be replaced"):
        main(["filter", str(path), "--filters", "duplicates", "--out", str(path), "--overwrite"])
    assert path.read_text() == '{"text": "a"}\n'


def test_a_run_in_place_of_a_token_file_is_recognized(tmp_path):
    tokens = tmp_path / "run" / "data" / "train"
    write_token_file(tokens, ["abab"])
    for named in (tmp_path / "run", tmp_path / "run" / "train"):
        message = f"^{named} is not a token file: did you mean {tokens}"
        with pytest.raises(ValueError, match=message):
            TokenFile(named)
    with pytest.raises(ValueError, match="meta.json is a file: name the folder of a token file"):
        TokenFile(tokens / "meta.json")


def test_prepare_and_filter_replace_an_existing_output_only_with_overwrite(
        capsys, tmp_path, text, fake_tokenizer):
    tokens = write_token_file(tmp_path / "tokens", ["old"]).folder
    kept = tmp_path / "kept.jsonl"
    kept.write_text("old")
    prepare = ["prepare", text, "--tokenizer", "x", "--out", str(tokens)]
    filtering = ["filter", text, "--filters", "duplicates", "--out", str(kept)]
    for command in (prepare, filtering):
        with pytest.raises(ValueError, match="already exists: add --overwrite to replace it"):
            main(command)
    assert (TokenFile(tokens).num_tokens, kept.read_text()) == (3, "old")
    for command in (prepare, filtering):
        main([*command, "--overwrite"])
    assert TokenFile(tokens).num_segments == 3
    assert len(kept.read_text().splitlines()) == 2


def test_inspect_ignores_no_source_after_a_token_file(tmp_path, text):
    folder = write_token_file(tmp_path / "tokens", ["ab"]).folder
    with pytest.raises(ValueError, match="tokens has no file to read"):
        main(["inspect", str(folder), text])


def test_pydocs_needs_no_download(capsys):
    assert "nothing to download" in output(capsys, "download", "pydocs")


@pytest.mark.parametrize("flags, name, megabytes", [
    ([], "wikipedia", 50),
    (["--language", "de", "--megabytes", "7"], "wikipedia:de", 7),
    (["--megabytes", "0"], "wikipedia", 0),
])
def test_download_a_language(capsys, monkeypatch, tmp_path, flags, name, megabytes):
    calls = []

    def fetch(folder, variant, megabytes, show_progress):
        calls.append((folder, variant, megabytes, show_progress))
        (folder / "a.json.bz2").write_bytes(b"1234")
        return [folder / "a.json.bz2"]

    monkeypatch.setattr("data.sources.wikipedia.fetch", fetch)
    assert json_output(capsys, "download", "wikipedia", *flags, "--out", tmp_path) == {
        "name": name,
        "files": [str(tmp_path / "a.json.bz2")],
        "bytes": 4,
        "train_with": f"train.py --preset wikipedia --corpus {tmp_path}",
    }
    assert calls == [(tmp_path, name.partition(":")[2], megabytes, False)]


@pytest.mark.parametrize("arguments, message", [
    ("download kant --megabytes 0", "error: --megabytes is for wikipedia and amazon, not for kant"),
    ("download amazon --language en", "error: --language is for wikipedia, not for amazon"),
    ("download wikipedia --no-checksum", "error: --no-checksum is for kant, not for wikipedia"),
    ("inspect none.txt", "error: no such file or folder: none.txt"),
    ("download knat", "did you mean kant?"),
])
def test_a_wrong_argument_is_one_line_and_exit_code_1(arguments, message):
    with pytest.raises(SystemExit) as stopped:
        run(lambda: main(arguments.split()))
    assert message in str(stopped.value.code)
    assert "\n" not in str(stopped.value.code)


# ------------------------------------------------------------------------------ filters


@pytest.fixture
def mixed(tmp_path):
    """A good document, the same again, markup, and a short one."""
    (tmp_path / "mixed.txt").write_text(
        "one two three four five\n\nOne two three four five\n\n"
        "<p>one</p> two three four five\n\nshort\n")
    return str(tmp_path / "mixed.txt")


def test_filter_writes_what_is_kept_and_reports_the_rest(capsys, tmp_path, mixed):
    out = tmp_path / "kept.jsonl"
    result = json_output(capsys, "filter", mixed, "--out", out)
    assert out.read_text() == '{"text": "one two three four five"}\n'
    assert (result["documents"], result["kept_documents"]) == (4, 1)
    dropped = {entry["filter"]: entry["documents"] for entry in result["dropped"]}
    assert dropped == {"short": 1, "repetitive": 0, "script": 0, "markup": 1, "duplicates": 1,
                       "near-duplicates": 0}
    screen = output(capsys, "filter", mixed, "--out", out, "--filters", "short,duplicates",
                    "--overwrite")
    assert "kept documents   2\n" in screen
    assert "\n  short               1           5             25.000%" in screen
    assert json_output(capsys, "inspect", out)["documents"] == 2  # the result can be read


@pytest.mark.parametrize("name, filters, message", [
    ("kept.jsonl", "short=100", "dropped all 4 documents"),
    ("kept.jsonl", "shorts", "did you mean short?"),
    ("kept.txt", "all", "give the name of a .jsonl file"),
])
def test_a_filter_that_fails_keeps_the_older_file(tmp_path, mixed, name, filters, message):
    out = tmp_path / "kept.jsonl"
    out.write_text("old")
    with pytest.raises(ValueError, match=message):
        main(["filter", mixed, "--out", str(tmp_path / name), "--filters", filters, "--json",
              "--overwrite"])
    assert out.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept.jsonl", "mixed.txt"]


def test_prepare_can_filter(capsys, tmp_path, mixed, fake_tokenizer):
    arguments = ["prepare", mixed, "--tokenizer", "x", "--out", tmp_path / "tokens", "--overwrite"]
    result = json_output(capsys, *arguments, "--filters", "short,markup")
    assert TokenFile(tmp_path / "tokens").num_documents == result["num_documents"] == 2
    assert result["filters"]["kept_documents"] == 2
    assert json_output(capsys, *arguments)["num_documents"] == 4


def test_inspect_reports_what_each_filter_would_drop_by_itself(capsys, mixed):
    result = json_output(capsys, "inspect", mixed)
    shares = {entry["filter"]: entry["share_of_documents"] for entry in result["would_drop"]}
    assert shares == {"short": 0.25, "repetitive": 0, "script": 0, "markup": 0.25,
                      "duplicates": 0.25, "near-duplicates": 0.25}


def test_each_command_says_what_is_left_out(capsys, tmp_path, text, fake_tokenizer):
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt").write_text("a b")
    (folder / "b.md").write_text("a longer line of markdown")
    commands = [
        ["inspect", folder],
        ["prepare", folder, "--tokenizer", "x", "--out", tmp_path / "tokens", "--overwrite"],
        ["filter", folder, "--filters", "duplicates", "--out", tmp_path / "kept.jsonl",
         "--overwrite"],
    ]
    for command in commands:
        result = json_output(capsys, *command)
        assert result["left_out"] == "1 .md"
        result = json_output(capsys, *command, "--text-suffix", ".md")
        assert result["read_as_plain_text"] == "1 .md"
        assert "left_out" not in result


def test_inspect_and_filter_count_the_same_duplicates(capsys, tmp_path):
    """Letter case and white space make no difference."""
    path = tmp_path / "a.txt"
    path.write_text("One text\n\none  text\n\nONE\ntext\n\nanother\n\nanother\n")
    inspected = json_output(capsys, "inspect", path)
    filtered = json_output(capsys, "filter", path, "--filters", "duplicates",
                           "--out", tmp_path / "kept.jsonl")
    assert inspected["duplicated_documents_share"] == 3 / 5
    assert filtered["dropped"][0]["share_of_documents"] == 3 / 5
