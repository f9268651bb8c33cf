"""The command line, as a user meets it."""
import gzip
import io
import json
import os
import shutil
import subprocess
import sys
from unittest import mock

import pytest
from commands import ROOT, run_command
from tokenizer_samples import STORY

from tokenizer import WordPiece, load_tokenizer
from tokenizer.__main__ import main
from tokenizer.utils import cli


@pytest.fixture(autouse=True)
def in_the_checkout(monkeypatch):
    monkeypatch.chdir(ROOT)


def run(*args, text="", encoding="utf-8"):
    """Do what ``python -m tokenizer`` does. Return (exit code, stdout, stderr)."""
    files = [io.TextIOWrapper(io.BytesIO(content), encoding, write_through=True)
             for content in (text.encode(), b"", b"")]
    with mock.patch.multiple(sys, **dict(zip(("stdin", "stdout", "stderr"), files))):
        with pytest.raises(SystemExit) as ended:
            cli.run(lambda: main([str(arg) for arg in args]))
        code = ended.value.code or 0
        if isinstance(code, str):
            print(code, file=sys.stderr)
            code = 1
    return code, *(file.buffer.getvalue().decode() for file in files[1:])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with story.txt and a tokenizer in bpe/."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "story.txt").write_text(STORY, encoding="utf-8")
    code, out, error = run(
        "train", "--vocab-size", 400, "--out", folder / "bpe", folder / "story.txt"
    )
    assert code == 0 and out.startswith("vocabulary: asked for 400, reached ")
    assert error.startswith("corpus: story: 1 file, 0.0 MB\n")
    return folder


# train

def test_train_passes_all_flags_on(folder):
    def train(*flags):
        story, out = folder / "story.txt", folder / "flags"
        code, _, error = run(
            "train", "--vocab-size", 300, "--out", out, story, "--overwrite", *flags
        )
        assert code == 0, error
        return load_tokenizer(out)

    assert train("--special-tokens", "<s> [MASK]").special_tokens == ("<s>", "[MASK]")
    tok = train("--kind", "wordpiece", "--keep-accents", "--limit-alphabet", 40)
    assert (tok.normalizer.lowercase, tok.normalizer.strip_accents) == (True, False)
    twin = WordPiece.train_from_iterator(
        STORY.splitlines(), 300, strip_accents=False, limit_alphabet=40, show_progress=False
    )
    assert tok.fingerprint == twin.fingerprint


def test_train_prints_json_and_takes_a_limit_of_words(folder):
    def train(*flags):
        out = ("--out", folder / "again", folder / "story.txt", "--json", "--overwrite")
        return json.loads(run("train", "--vocab-size", 400, *out, *flags)[1])

    plain = train()
    assert plain["kind"] == "bpe" and plain["vocab_size"] == 355
    limited = train("--max-words", 20, "--workers", 2)
    assert limited["fingerprint"] != plain["fingerprint"] and "20" in limited["summary"]


def test_a_failed_training_leaves_the_old_tokenizer(folder):
    before = {path.name: path.read_bytes() for path in (folder / "bpe").iterdir()}
    (folder / "latin.txt").write_bytes(b"good\n" * 2000 + b"caf\xe9 au lait\n")
    code, _, error = run("train", "--out", folder / "bpe", "--overwrite", folder / "latin.txt")
    assert code == 1 and "line 2001 is not UTF-8 text" in error
    assert "--encoding-errors replace" in error
    assert {path.name: path.read_bytes() for path in (folder / "bpe").iterdir()} == before


def test_a_run_does_not_get_a_second_tokenizer(folder, tmp_path):
    out, story = tmp_path / "run", folder / "story.txt"
    assert run("train", "--vocab-size", 300, "--out", out / "tokenizer", story)[0] == 0
    code, _, error = run("train", "--out", out, story, "--overwrite")
    assert code == 1 and f"{out} is a run, whose tokenizer is in {out / 'tokenizer'}" in error
    assert [path.name for path in out.iterdir()] == ["tokenizer"]


def test_a_tokenizer_is_only_replaced_with_overwrite(folder):
    def train(*flags):
        out = folder / "twice"
        return run("train", "--vocab-size", 300, "--out", out, folder / "story.txt", *flags)

    assert train()[1].splitlines()[-1] == f"written to {folder / 'twice'}"
    (folder / "twice" / "notes.md").write_text("mine")
    code, out, error = train()
    assert (code, out) == (1, "") and "--overwrite" in error
    assert train("--overwrite")[0] == 0
    assert (folder / "twice" / "notes.md").read_text() == "mine"


def test_a_bad_output_folder_is_reported_before_the_corpus_is_read(folder):
    for out in ("", folder / "story.txt", folder / "story.txt" / "tok"):
        code, _, error = run("train", "--out", out, folder / "no-such-file.txt")
        assert code == 1 and error.startswith("error: ") and error.count("\n") == 1
        assert "no-such-file" not in error  # that would be the second error


def test_a_folder_stands_for_its_texts_and_what_is_left_out_is_counted(folder):
    (folder / "corpus" / "more").mkdir(parents=True)
    (folder / "corpus" / "more" / "a.txt").write_text(STORY, encoding="utf-8")
    (folder / "corpus" / "notes.md").write_text("not a text")
    train = ("train", "--vocab-size", 400, "--out")
    of_file = json.loads(run(*train, folder / "of-file", folder / "story.txt", "--json")[1])
    of_folder = json.loads(run(*train, folder / "of-folder", folder / "corpus", "--json")[1])
    assert of_folder["fingerprint"] == of_file["fingerprint"]
    assert of_folder["corpus"] == {"name": "corpus", "left_out": "1 .md"}
    _, _, shown = run(*train, folder / "with-notes", folder / "corpus", "--text-suffix", ".md")
    assert shown.startswith("corpus: corpus: 2 files, 0.0 MB; read as plain text: 1 .md\n")
    (folder / "empty").mkdir()
    code, _, error = run(*train, folder / "none", folder / "empty")
    assert code == 1 and "has no file to read" in error and "--text-suffix" in error


@pytest.mark.parametrize("name, content", [
    ("a.jsonl", json.dumps({"review": STORY}).encode()),
    ("a.txt.gz", gzip.compress(STORY.encode())),
    ("a.txt", STORY.encode() + b"\n\xff"),
])
def test_all_formats_of_a_corpus_are_read_and_the_pattern_may_be_quoted(folder, tmp_path, name,
                                                                        content):
    """Bytes that are not UTF-8 are replaced on request, and the replaced characters counted."""
    (tmp_path / name).write_bytes(content)
    code, out, error = run("train", "--vocab-size", 400, "--out", tmp_path / "out",
                           f"{tmp_path}/a.*", "--text-field", "review", "--encoding-errors",
                           "replace")
    assert code == 0, error
    assert load_tokenizer(tmp_path / "out").token_to_id("Ġthe") is not None
    assert ("replaced: 1 character of invalid UTF-8" in out) == (name == "a.txt")


def test_the_boilerplate_of_a_book_is_left_out_whatever_is_beside_it(folder, tmp_path):
    start, end = (f"*** {word} OF THE PROJECT GUTENBERG EBOOK X ***\n" for word in ("START", "END"))
    (tmp_path / "book.txt").write_text("License\n" * 50 + start + STORY + end + "License\n" * 50)
    (tmp_path / "more.jsonl").write_text(json.dumps({"text": "x"}))
    for files in ("book.txt", "*"):
        run("train", "--vocab-size", 400, "--out", tmp_path / "out", f"{tmp_path}/{files}",
            "--overwrite")
        tokenizer = load_tokenizer(tmp_path / "out")
        assert tokenizer.token_to_id("Ġthe") is not None
        assert tokenizer.token_to_id("License") is None


def test_the_current_folder_can_be_the_output(folder):
    (folder / "used").mkdir()
    (folder / "used" / "a.txt").write_text("other things")
    done = run_command(
        "tokenizer", "train", "--vocab-size", 300, "--out", ".", folder / "story.txt",
        cwd=folder / "used",
    )
    assert done.returncode == 0 and done.stdout.endswith(f"written to {folder / 'used'}\n")
    assert {"tokenizer.json", "a.txt"} <= set(os.listdir(folder / "used"))


# extend

@pytest.fixture(scope="module")
def domain(folder):
    """A text of 400 lines whose words the tokenizer does not know."""
    path = folder / "domain.txt"
    path.write_text("ohmic ohms in a rheostat\n" * 200 + "volts, ohms; a rheostat\n" * 200)
    return path


def test_extend_adds_entries_and_measures_them_on_lines_that_it_did_not_learn_from(folder, domain):
    extend = ("extend", folder / "bpe", "--files", domain, "--add", 2, "--overwrite", "--out")
    code, out, error = run(*extend, folder / "extended")
    assert code == 0 and error.startswith("corpus: domain: 1 file, 0.0 MB\n")
    old, new = load_tokenizer(folder / "bpe"), load_tokenizer(folder / "extended")
    assert list(new.get_vocab())[:-2] == list(old.get_vocab())
    validation = "\n".join(["volts, ohms; a rheostat"] * 20)  # a twentieth of the lines
    before, after = (len(kind.encode_ids(validation)) / 80 for kind in (old, new))
    assert f"added: 2 entries; {before:.3f} tokens per word before and {after:.3f} after" in out
    measured = json.loads(run(*extend, folder / "extended", "--json")[1])
    assert measured["tokens_per_word"] == {"before": before, "after": after}
    assert measured["validation_words"] == 20 * 4


def test_extend_says_when_the_text_has_fewer_entries(folder, domain):
    code, out, _ = run("extend", folder / "bpe", "--files", domain, "--add", 500, "--out",
                       folder / "fewer", "--min-frequency", 100)
    size = load_tokenizer(folder / "fewer").vocab_size
    assert code == 0
    assert f"asked for {355 + 500}, reached {size}: no pair occurs 100 times\n" in out


def test_extend_reports_what_stays_unknown(folder):
    wordpiece, text = folder / "wordpiece", folder / "greek.txt"
    run("train", "--kind", "wordpiece", "--vocab-size", 300, "--out", wordpiece,
        folder / "story.txt")
    text.write_text("the millers Ω\n" * 40, encoding="utf-8")
    code, out, _ = run("extend", wordpiece, "--files", text, "--add", 1, "--out", folder / "greek")
    assert code == 0 and "unknown: warning: " in out and "1 character that the vocabulary" in out


# encode and decode

def test_decode_inverts_encode(folder):
    text = "The cat’s café\n\n  two spaces\r\n"
    code, ids, _ = run("encode", folder / "bpe", text=text)
    assert code == 0 and ids.split("\n")[1] == "0 2"
    assert run("decode", folder / "bpe", text=ids)[:2] == (0, text)
    _, as_json, _ = run("encode", folder / "bpe", "--json", text=text)
    assert run("decode", folder / "bpe", text=as_json)[:2] == (0, text)


def test_texts_and_ids_can_be_arguments(folder):
    _, piped, _ = run("encode", folder / "bpe", text="The cat\n-5 cats\n")
    assert run("encode", folder / "bpe", "The cat", "-5 cats")[:2] == (0, piped)
    ids = piped.split("\n")[0]
    for words in (ids.split(), [ids], ["[" + ids.replace(" ", ", ") + "]"]):
        assert run("decode", folder / "bpe", *words)[:2] == (0, "The cat\n")
    code, out, _ = run("encode", folder / "bpe", "--json", "The cat", "😀")  # after a flag
    assert code == 0
    assert [len(json.loads(line)["offsets"]) for line in out.splitlines()] == [4, 6]


def test_encode_passes_all_flags_on(folder):
    tok = load_tokenizer(folder / "bpe")
    text = "The <mask> cat"

    def ids(*flags):
        return list(map(int, run("encode", folder / "bpe", text, *flags)[1].split()))

    pair = tok.encode(text, "a cat", max_length=9)
    assert ids("--pair", "a cat", "--max-length", 9) == pair.ids
    assert ids("--pad-to-multiple-of", 8) == tok.encode(text, pad_to_multiple_of=8).ids
    assert ids("--split-special-tokens") == tok.encode(text, split_special_tokens=True).ids
    assert ids("--no-special-tokens") == tok.encode(text, add_special_tokens=False).ids
    code, _, error = run("encode", folder / "bpe", "a", "--max-length", 1)
    assert code == 1 and error.startswith("error: --max-length 1 has no room")
    assert "or --no-special-tokens" in error


def test_a_vocabulary_without_special_tokens_needs_a_flag(folder):
    (folder / "gpt2").mkdir()
    for name in ("vocab.json", "merges.txt"):
        data = (folder / "bpe" / name).read_bytes()
        (folder / "gpt2" / name).write_bytes(data.replace(b'"<s>":0', b'"<|endoftext|>":0'))
    code, _, error = run("encode", folder / "gpt2", "The cat")
    assert code == 1 and "encode with --no-special-tokens" in error
    code, out, _ = run("encode", folder / "gpt2", "The cat", "--no-special-tokens")
    assert code == 0 and out == run("encode", folder / "bpe", "The cat", "--no-special-tokens")[1]


# inspect

def test_inspect_shows_the_vocabulary_a_text_or_a_word(folder):
    code, out, _ = run("inspect", folder / "bpe")
    assert code == 0 and "<mask> 4" in out and "made of  256 bytes, 94 merges" in out
    code, out, _ = run("inspect", folder / "bpe", "The <mask>")
    assert code == 0 and "<s>⟦The⟧·<mask></s>" in out and "made of" not in out
    assert out == run("inspect", folder / "bpe", "-", text="The <mask>\n")[1]
    code, out, _ = run("inspect", folder / "bpe", "--word", " the")
    assert code == 0 and "⟦·the⟧" in out.splitlines()[-3]
    _, out, _ = run("inspect", folder / "bpe", "The donkey", "--word", "the", "--json")
    data = json.loads(out)
    assert data["vocab_size"] == 355 and data["encoding"]["tokens"][0] == "<s>"
    assert data["words"][0]["tokens"] == ["t", "he"]


def test_the_folder_of_a_run_means_its_tokenizer(folder):
    shutil.copytree(folder / "bpe", folder / "run" / "tokenizer")
    for command in ("inspect", "encode"):
        expected = run(command, folder / "bpe", "The cat")
        assert expected[0] == 0 and run(command, folder / "run", "The cat") == expected


@pytest.mark.skipif(os.name == "nt", reason="no pseudo-terminals")
def test_inspect_uses_colors_only_in_a_terminal(folder):
    import pty

    def in_a_terminal(**environment):
        ours, theirs = pty.openpty()
        env = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        command = [sys.executable, "-m", "tokenizer", "inspect", str(folder / "bpe"), "The"]
        env = {**env, "TERM": "xterm", **environment}
        subprocess.run(command, cwd=ROOT, stdout=theirs, env=env, check=True)
        os.close(theirs)
        return os.read(ours, 100_000).decode()

    assert "\033[30;43mThe\033[0m" in in_a_terminal()
    assert "⟦The⟧" in in_a_terminal(NO_COLOR="1")


def test_an_ascii_terminal_gets_escapes_and_valid_json(folder):
    def ascii_only(*args, **options):
        code, out, error = run(*args, encoding="ascii", **options)
        assert (code, error) == (0, "")
        return out

    assert "\\u0120" in ascii_only("inspect", folder / "bpe", "a café")
    data = json.loads(ascii_only("inspect", folder / "bpe", "a café", "--json"))
    assert "".join(data["encoding"]["tokens"]) == "<s>aĠcafÃ©</s>"
    data = json.loads(ascii_only("encode", folder / "bpe", "--json", text="a café\n"))
    assert "".join(data["tokens"]) == "<s>aĠcafÃ©</s>"


# Errors

WORDPIECE = ["train", "--kind", "wordpiece", "--out", "x", "README.md"]
BPE = ["train", "--out", "x", "README.md"]
EXTEND = ["extend", "--add", "5", "--out", "x", "--files", "README.md", "--json"]


@pytest.mark.parametrize("args, message, expected", [
    (["train", "--out", "x", "no-such-file.txt"], "no such file or folder: no-such-file.txt", 1),
    ([*BPE, "--vocab-size", 10], "--vocab-size 10 is smaller than", 1),
    ([*BPE, "--workers", 0], "--workers: 0 is too small", 2),
    ([*BPE, "--max-words", 10**23], f"--max-words: {10**23} is too large", 2),
    (["encode", "x", "a", "--pad-to-multiple-of", 10**9], "--pad-to-multiple-of: 1000000000 is", 2),
    ([*BPE, "--vocab-sise", 10], "did you mean --vocab-size?", 2),
    (["encode", "x", "--kind", "bpe"], "--kind\n(python -m tokenizer encode --help lists all ", 2),
    ([*BPE, "--kind", "unigram"], "unigram", 2),
    ([*BPE, "--cased"], "--cased is for --kind wordpiece", 1),
    ([*BPE, "--keep-accents"], "--keep-accents is for --kind wordpiece", 1),
    ([*BPE, "--limit-alphabet", 9], "--limit-alphabet is for --kind wordpiece", 1),
    ([*WORDPIECE, "--vocab-size", 30], "or a smaller --limit-alphabet\n", 1),
    ([*WORDPIECE, "--special-tokens", "[PAD]"], "--special-tokens must include '[UNK]'", 1),
    (["train", "--out", "x", "/dev/null"], "/dev/null is not a regular file", 1),
    ([*EXTEND, "no-such-folder"], "no-such-folder: no such folder", 1),
    ([*EXTEND, "tests", "--add", "0"], "--add: 0 is too small: it must be at least 1", 2),
    ([*EXTEND, "tests"], "tests: has no tokenizer", 1),
    (["encode", "no-such-folder"], "error: no-such-folder: no such folder", 1),
    (["inspect", "README.md"], "error: README.md: ", 1),
    (["inspect"], "FOLDER", 2),
    (["inspect", 300 * "x"], "xxx/tokenizer/tokenizer.json: File name too long\n", 1),
])
def test_bad_arguments_are_one_clear_line(args, message, expected):
    code, out, error = run(*args)
    assert code == expected and message in error and "Traceback" not in error and out == ""


@pytest.mark.parametrize("content, message", [
    (b"", "the corpus is empty"),
    (b"\n \n", "the corpus is empty"),
    (b"one line", "a corpus of one line cannot be split"),
    (b"ab\ncd\nef\n", "adds nothing to the vocabulary: no pair occurs 2 times"),
    (b"caf\xe9 ohms\n" * 40, "--encoding-errors replace"),
])
def test_a_text_that_cannot_extend_is_one_clear_line_and_writes_nothing(
        folder, tmp_path, content, message):
    (tmp_path / "a.txt").write_bytes(content)
    code, out, error = run("extend", folder / "bpe", "--files", tmp_path / "a.txt", "--add", 5,
                           "--out", tmp_path / "out")
    assert code == 1 and "\nerror: " in error and message in error and out == ""
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_bad_ids_are_named_by_their_line(folder):
    code, _, error = run("decode", folder / "bpe", text="0 2\n0 x\n")
    assert code == 1 and "line 2 of the input must be ids" in error
    for line in ('{"ids": "0 2"}', '{"id": [0]}', '{"ids": [0.5]}', "{" * 100_000):
        code, _, error = run("decode", folder / "bpe", text=line)
        assert code == 1 and "line 1 of the input must be ids" in error
    code, _, error = run("decode", folder / "bpe", "100000")
    assert code == 1 and "id 100000 is not in the vocabulary" in error


def test_input_that_is_not_utf8_is_refused_with_a_remedy(folder):
    done = run_command("tokenizer", "encode", folder / "bpe", input=b"a\nb\ncaf\xe9\n")
    assert done.returncode == 1 and done.stdout.count("\n") == 2
    assert "line 3 of standard input is not UTF-8" in done.stderr and "iconv" in done.stderr
