import json
import math
import os
import signal
import sys
import types
from collections import Counter

import pytest
from data_helpers import Characters

from data import TokenFile, prepare
from data.__main__ import DESCRIPTIONS, main
from data.quality.report import rare_share
from tokenizer.utils.cli import run


@pytest.fixture
def text(tmp_path):
    (tmp_path / "a.txt").write_text("a b\na b\n\nlonger line\n")
    return str(tmp_path / "a.txt")


@pytest.fixture
def fake_tokenizer(monkeypatch):
    """The command loads its tokenizer by ``tokenizer.load_tokenizer``: here the one of characters."""
    module = sys.modules.get("tokenizer") or types.ModuleType("tokenizer")
    monkeypatch.setattr(module, "load_tokenizer", lambda folder: Characters(), raising=False)


def output(capsys, *arguments):
    main(list(arguments))
    return capsys.readouterr().out


def test_list_names_the_corpora(capsys):
    assert [entry["name"] for entry in json.loads(output(capsys, "list", "--json"))] == ["pydocs", "kant", "wikipedia", "amazon"]
    assert "\n\nname         kant\ndescription  three books" in output(capsys, "list")


def test_prepare_makes_a_token_file_of_the_chosen_part(capsys, tmp_path, text, fake_tokenizer):
    lengths = {}
    for split in ("train", "eval", "all"):
        out = tmp_path / split
        result = json.loads(output(capsys, "prepare", text, "--tokenizer", "x", "--out", str(out), "--split", split, "--json"))
        lengths[split] = TokenFile(out).num_segments
        assert result["num_segments"] == lengths[split] and result["split"] == split
    assert lengths == {"train": 2, "eval": 1, "all": 3}


def test_inspect_of_a_corpus_worked_by_hand(capsys, text):
    result = json.loads(output(capsys, "inspect", text, "--json"))
    assert (result["documents"], result["lines"], result["words"], result["distinct_words"]) == (2, 3, 6, 4)
    assert result["duplicated_lines_share"] == pytest.approx(1 / 3)
    assert result["unigram_entropy_of_words"] == pytest.approx(-4 / 6 * math.log(2 / 6) - 2 / 6 * math.log(1 / 6))
    assert result["longest_lines"][0] == {"characters": 11, "begins": "longer line"}


def test_inspect_of_a_token_file_worked_by_hand(capsys, tmp_path):
    prepare(["ab\nab", "abab"], Characters(), tmp_path / "tokens", show_progress=False)
    result = json.loads(output(capsys, "inspect", str(tmp_path / "tokens"), "--json"))
    assert (result["documents"], result["segments"], result["tokens"], result["ids_used"]) == (2, 3, 8, 2)
    assert result["unigram_entropy"] == pytest.approx(math.log(2)) and result["duplicated_lines_share"] == pytest.approx(1 / 3)
    assert result["longest_segments"][0] == {"segment": 2, "tokens": 4}
    lines = output(capsys, "inspect", str(tmp_path / "tokens")).splitlines()
    assert "unigram entropy             0.6931 nats" in lines and "duplicated lines            33.333%" in lines
    assert "text                        11 bytes" in lines
    assert lines[lines.index("longest segments"):][1:3] == ["  segment  tokens", "        2       4"]


def test_inspect_of_a_token_file_and_more_does_not_leave_out_the_rest(tmp_path, text):
    prepare(["ab"], Characters(), tmp_path / "tokens", show_progress=False)
    with pytest.raises(ValueError, match="tokens has no file to read"):
        main(["inspect", str(tmp_path / "tokens"), text])


def test_the_number_of_workers_holds_for_the_parsing_of_pydocs_too(monkeypatch, tmp_path, fake_tokenizer):
    asked = []
    monkeypatch.setattr("data.sources.pydocs.python_roots", lambda: [tmp_path])
    monkeypatch.setattr("data.sources.pydocs.map_in_order", lambda *_, workers: asked.append(workers) or iter(()))
    with pytest.raises(ValueError, match="documentation"):
        main(["prepare", "pydocs", "--tokenizer", "x", "--out", str(tmp_path / "tokens"), "--workers", "1"])
    assert asked == [1]


@pytest.mark.parametrize("workers, message", [("0", "argument --workers: 0 is too small: it must be at least 1"),
                                              ("two", "argument --workers: 'two' is not an integer")])
def test_a_wrong_number_of_workers_is_told_before_anything_is_read(capsys, workers, message):
    with pytest.raises(SystemExit) as stopped:
        main(["prepare", "none.txt", "--tokenizer", "none", "--out", "x", "--workers", workers])
    assert stopped.value.code == 2 and message in capsys.readouterr().err


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_prepare_says_what_is_kept_when_it_is_stopped(tmp_path, text, fake_tokenizer, monkeypatch, capsys, sign):
    def documents(self, split):
        yield "x\n" * 600_000  # more than a batch
        yield "y"
        os.kill(os.getpid(), sign)
        yield "z"
    monkeypatch.setattr("data.corpora.FileCorpus.documents", documents)
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit) as stopped:
            run(lambda: main(["prepare", text, "--tokenizer", "x", "--out", str(tmp_path / "tokens"), "--workers", "1"]))
    finally:
        signal.signal(signal.SIGINT, before[1])
    assert stopped.value.code == 130 and signal.getsignal(signal.SIGTERM) == before[0]
    assert capsys.readouterr().err.endswith(
        "stopped; kept: 1 document (1.2 MB of text); repeat the command to resume\n")


def test_help_says_that_prepare_goes_on(capsys):
    with pytest.raises(SystemExit):
        main(["prepare", "--help"])
    assert "the same command goes on where it was" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["list", "download", "prepare", "filter", "inspect"])
def test_help_says_what_a_command_does(capsys, command):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    shown = capsys.readouterr().out
    assert DESCRIPTIONS[command][:50] in " ".join(shown.split()) and "(default: )" not in shown


def test_prepare_takes_the_tokenizer_of_a_run(capsys, tmp_path, text, monkeypatch):
    asked = []
    monkeypatch.setattr(sys.modules["tokenizer"], "load_tokenizer", lambda folder: asked.append(folder) or Characters())
    (tmp_path / "run" / "tokenizer").mkdir(parents=True)
    (tmp_path / "run" / "tokenizer" / "vocab.txt").write_text("[PAD]\n")
    for number, folder in enumerate((tmp_path / "run", tmp_path / "run" / "tokenizer")):
        main(["prepare", text, "--tokenizer", str(folder), "--out", str(tmp_path / str(number)), "--workers", "1", "--json"])
    assert [str(folder) for folder in asked] == [str(tmp_path / "run" / "tokenizer")] * 2


def test_pydocs_needs_no_download(capsys):
    assert "nothing to download" in output(capsys, "download", "pydocs")


@pytest.mark.parametrize("flags, name, megabytes", [
    ([], "wikipedia", 50), (["--language", "de", "--megabytes", "7"], "wikipedia:de", 7), (["--megabytes", "0"], "wikipedia", 0)])
def test_download_of_so_much_in_a_language(capsys, monkeypatch, tmp_path, flags, name, megabytes):
    def fetch(folder, variant, asked, show_progress):
        assert (folder, variant, asked) == (tmp_path, name.partition(":")[2], megabytes) and not show_progress
        (folder / "a.json.bz2").write_bytes(b"1234")
        return [folder / "a.json.bz2"]
    monkeypatch.setattr("data.sources.wikipedia.fetch", fetch)
    assert json.loads(output(capsys, "download", "wikipedia", *flags, "--out", str(tmp_path), "--json")) == {
        "name": name, "files": [str(tmp_path / "a.json.bz2")], "bytes": 4, "train_with": f"train.py --preset wikipedia --corpus {tmp_path}"}


@pytest.mark.parametrize("arguments, message", [
    (["download", "kant", "--megabytes", "5"], "error: --megabytes belongs to wikipedia and amazon, not to kant"),
    (["download", "amazon", "--language", "en"], "error: --language belongs to wikipedia, not to amazon"),
    (["download", "wikipedia", "--category", "Books"], "error: --category belongs to amazon, not to wikipedia"),
    (["download", "wikipedia", "--no-checksum"], "error: --no-checksum belongs to kant, not to wikipedia"),
    (["download", "kant", "--megabytes", "0"], "error: --megabytes belongs to"),
    (["download", "wikipedia", "--megabytes", "-1"], "error: --megabytes -1: a number from 0 (all of it)"),
    (["download", "amazon", "--category", "Boks", "--json"], "did you mean Books?"),
    (["inspect", "none.txt"], "error: no such file or folder: none.txt"),
    (["inspect", "knat"], "did you mean kant?"),
    (["download", "knat"], "did you mean kant?"),
])
def test_bad_input_is_one_line_and_exit_code_1(arguments, message):
    with pytest.raises(SystemExit) as stopped:
        run(lambda: main(arguments))
    assert message in str(stopped.value.code) and "\n" not in str(stopped.value.code)


def test_a_wrong_command_line_is_exit_code_2(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["inspct"])
    assert stopped.value.code == 2 and "did you mean inspect?" in capsys.readouterr().err


# Filters


@pytest.fixture
def mixed(tmp_path):
    """A good document, the same again, markup, and one that is too short."""
    (tmp_path / "mixed.txt").write_text("one two three four five\n\nOne two three four five\n\n<p>one</p> two three four five\n\nshort\n")
    return str(tmp_path / "mixed.txt")


def test_filter_writes_what_is_kept_and_reports_the_rest(capsys, tmp_path, mixed):
    out = tmp_path / "kept.jsonl"
    result = json.loads(output(capsys, "filter", mixed, "--out", str(out), "--json"))
    assert out.read_text() == '{"text": "one two three four five"}\n'
    assert (result["file"], result["documents"], result["kept_documents"]) == (str(out), 4, 1)
    assert {account["filter"]: account["documents"] for account in result["dropped"] if account["documents"]} == {
        "short": 1, "markup": 1, "duplicates": 1}
    screen = output(capsys, "filter", mixed, "--out", str(out), "--filters", "short,duplicates")
    assert "kept documents   2 (50.000%)\n" in screen
    assert "\n  short               1           5             25.000%               6.173%  short\n" in screen
    assert json.loads(output(capsys, "inspect", str(out), "--json"))["documents"] == 2  # what was written can be read


def test_a_filtering_that_fails_leaves_the_old_file(tmp_path, mixed):
    out = tmp_path / "kept.jsonl"
    out.write_text("old")
    with pytest.raises(ValueError, match="dropped all 4 documents"):
        main(["filter", mixed, "--out", str(out), "--filters", "short=100", "--json"])
    assert out.read_text() == "old" and sorted(path.name for path in tmp_path.iterdir()) == ["kept.jsonl", "mixed.txt"]
    for wrong in (tmp_path / "kept.txt", tmp_path):
        with pytest.raises(ValueError, match="give the name of a .jsonl file"):
            main(["filter", mixed, "--out", str(wrong)])
    with pytest.raises(ValueError, match="did you mean short?"):
        main(["filter", mixed, "--out", str(out), "--filters", "shorts"])


def test_prepare_takes_only_what_the_filters_keep(capsys, tmp_path, mixed, fake_tokenizer):
    arguments = ["prepare", mixed, "--tokenizer", "x", "--out", str(tmp_path / "tokens")]
    result = json.loads(output(capsys, *arguments, "--filters", "short,markup", "--json"))
    assert TokenFile(tmp_path / "tokens").num_documents == result["num_documents"] == result["filters"]["kept_documents"] == 2
    assert "filters\n  documents        4\n" in output(capsys, *arguments, "--filters", "short,markup")
    assert json.loads(output(capsys, *arguments, "--json"))["num_documents"] == 4


def test_inspect_says_what_each_filter_alone_would_drop(capsys, mixed):
    result = json.loads(output(capsys, "inspect", mixed, "--json"))
    assert {account["filter"]: account["share_of_documents"] for account in result["would_drop"]} == {
        "short": 0.25, "repetitive": 0, "script": 0, "markup": 0.25, "duplicates": 0.25, "near-duplicates": 0.25}
    assert result["rare_characters_share"] == 0 and result["distinct_characters"] == len(set("one two three four five O <p>/ sh"))


def test_rare_characters_are_less_than_one_in_a_hundred_thousand():
    assert rare_share(Counter({"a": 500_000, "ß": 5, "é": 6})) == 5 / 500_011
    assert rare_share(Counter({"a": 99_999, "ß": 1})) == 0 and rare_share(Counter({"a": 100_000, "ß": 1})) == 1 / 100_001
