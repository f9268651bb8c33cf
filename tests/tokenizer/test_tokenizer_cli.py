"""The command line, as a user meets it."""
import gzip
import json
import os
import subprocess
import sys

import pytest
from commands import ROOT, run_command
from tokenizer_samples import STORY

from tokenizer import WordPiece, load_tokenizer


def tokenizer(*args, text="", **environment):
    done = run_command("tokenizer", *args, input=text.encode(), **environment)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    (folder / "story.txt").write_text(STORY, encoding="utf-8")
    code, out, _ = tokenizer("train", "--kind", "bpe", "--vocab-size", 400, "--out", folder / "bpe", folder / "story.txt")
    assert code == 0 and out.startswith("vocabulary: asked for 400, reached ")
    return folder


def test_encode_and_decode_are_inverse(folder):
    text = "The cat’s café\n\n  two spaces\r\n"
    code, ids, _ = tokenizer("encode", folder / "bpe", text=text)
    assert code == 0 and ids.split("\n")[1] == "0 2"
    code, back, _ = tokenizer("decode", folder / "bpe", text=ids)
    assert (code, back) == (0, text)


def test_json_for_programs(folder):
    _, out, _ = tokenizer("encode", folder / "bpe", "--json", text="The cat\n")
    encoding = json.loads(out)
    assert encoding["tokens"][0] == "<s>" and encoding["offsets"][1][0] == 0 and len(encoding["ids"]) == len(encoding["tokens"])
    code, out, _ = tokenizer("train", "--kind", "wordpiece", "--vocab-size", 300, "--cased", "--json", "--out",
                             folder / "wp", folder / "story.txt")
    assert code == 0 and json.loads(out)["requested"] == 300 and json.loads(out)["kind"] == "wordpiece"
    _, out, _ = tokenizer("inspect", folder / "wp", "The donkey", "--json")
    assert json.loads(out)["settings"]["do_lower_case"] is False and json.loads(out)["encoding"]["tokens"][0] == "[CLS]"


def test_the_criterion_is_passed_on(folder):
    def fingerprint(*options):
        return json.loads(tokenizer("train", "--kind", "wordpiece", "--vocab-size", 200, *options, "--json", "--overwrite", "--out",
                                    folder / "criterion", folder / "story.txt")[1])["fingerprint"]
    assert fingerprint() == fingerprint("--criterion", "frequency") != fingerprint("--criterion", "likelihood")


def test_texts_and_ids_can_stand_on_the_command_line(folder):
    _, piped, _ = tokenizer("encode", folder / "bpe", text="The cat\n-5 cats\n")
    code, out, _ = tokenizer("encode", folder / "bpe", "The cat", "-5 cats")
    assert (code, out) == (0, piped)
    assert tokenizer("encode", folder / "bpe", "--no-special-tokens", "The cat")[1] == out.split("\n")[0][2:-2] + "\n"
    assert tokenizer("encode", folder / "bpe", "-", text="The cat\n-5 cats\n")[1] == piped
    for ids in (out.split("\n")[0].split(), [out.split("\n")[0]], ["[" + out.split("\n")[0].replace(" ", ", ") + "]"]):
        assert tokenizer("decode", folder / "bpe", *ids)[:2] == (0, "The cat\n")


def test_texts_may_stand_after_flags(folder):
    code, out, _ = tokenizer("encode", folder / "bpe", "--json", "The cat", "😀")
    assert code == 0 and [len(json.loads(line)["offsets"]) for line in out.splitlines()] == [4, 6]
    code, out, _ = tokenizer("inspect", folder / "bpe", "--word", "cat", "The", "cat")
    assert code == 0 and "⟦The⟧⟦·cat⟧" in out and "cat  (3 bytes" in out
    code, _, error = tokenizer("encode", folder / "bpe", "--json", "The cat", "--jsn")
    assert code == 2 and "unknown flag --jsn: did you mean --json?" in error


def test_inspect_shows_the_vocabulary_or_the_cut_or_a_word(folder):
    code, out, _ = tokenizer("inspect", folder / "bpe")
    assert code == 0 and "<mask> 4" in out and "made of  256 bytes, 94 merges" in out
    code, out, _ = tokenizer("inspect", folder / "bpe", "The <mask>")
    assert code == 0 and "<s>⟦The⟧·<mask></s>" in out and "made of" not in out
    code, out, _ = tokenizer("inspect", folder / "bpe", "--word", " the")
    assert code == 0 and "⟦·the⟧" in out.splitlines()[-3]


@pytest.mark.skipif(os.name == "nt", reason="no pseudo-terminals")
def test_inspect_is_in_colour_in_a_terminal_alone(folder):
    def in_a_terminal(**environment):
        import pty
        ours, theirs = pty.openpty()
        subprocess.run([sys.executable, "-m", "tokenizer", "inspect", str(folder / "bpe"), "The"], cwd=ROOT, stdout=theirs,
                       env={**{k: v for k, v in os.environ.items() if k != "NO_COLOR"}, "TERM": "xterm", **environment}, check=True)
        os.close(theirs)
        return os.read(ours, 100_000).decode()
    assert "\033[30;43mThe\033[0m" in in_a_terminal()
    assert "⟦The⟧" in in_a_terminal(NO_COLOR="1")


def test_workers_do_not_change_the_result_and_a_cap_on_words_is_stated(folder):
    def train(*flags):
        _, out, _ = tokenizer("train", "--vocab-size", 400, "--out", folder / "again", folder / "story.txt", "--json", "--overwrite", *flags)
        return json.loads(out)
    assert train("--workers", 1)["fingerprint"] == train("--workers", 3)["fingerprint"] == train()["fingerprint"]
    capped = train("--max-words", 20)
    assert capped["fingerprint"] != train()["fingerprint"] and "20" in capped["summary"]


def test_help_says_units_and_gives_examples():
    for command in ("train", "encode", "decode", "inspect"):
        code, out, _ = tokenizer(command, "--help")
        assert code == 0 and f"\n  python -m tokenizer {command} " in out and "None)" not in out and "False)" not in out
    assert "(default: 30000 for bpe, 30522 for wordpiece)" in " ".join(tokenizer("train", "--help")[1].split())


def test_under_a_narrow_encoding_what_it_lacks_is_escaped_and_json_is_still_json(folder):
    code, out, error = tokenizer("inspect", folder / "bpe", "a café", PYTHONIOENCODING="ascii")
    assert (code, error) == (0, "") and "\\u0120" in out and "Ġ" not in out
    code, out, error = tokenizer("inspect", folder / "bpe", "a café", "--json", PYTHONIOENCODING="ascii")
    assert code == 0 and "".join(json.loads(out)["encoding"]["tokens"]) == "<s>aĠcafÃ©</s>"
    code, out, error = tokenizer("encode", folder / "bpe", "--json", text="a café\n", PYTHONIOENCODING="ascii")
    assert code == 0 and "".join(json.loads(out)["tokens"]) == "<s>aĠcafÃ©</s>"


@pytest.mark.parametrize("args, text, message, expected", [
    (["train", "--out", "x", "no-such-file.txt"], "", "error: no-such-file.txt: no such file", 1),
    (["train", "--vocab-size", 10, "--out", "x", "README.md"], "", "error: --vocab-size 10 is smaller than", 1),
    (["train", "--workers", 0, "--out", "x", "README.md"], "", "error: argument --workers: 0 is too small: it must be at least 1", 2),
    (["train", "--vocab-sise", 10, "--out", "x", "README.md"], "", "unknown flag --vocab-sise: did you mean --vocab-size?", 2),
    (["train", "--kind", "unigram", "--out", "x", "README.md"], "", "unigram", 2),
    (["train", "--cased", "--out", "x", "README.md"], "", "error: --cased is for --kind wordpiece", 1),
    (["train", "--keep-accents", "--out", "x", "README.md"], "", "error: --keep-accents is for --kind wordpiece", 1),
    (["train", "--limit-alphabet", 9, "--out", "x", "README.md"], "", "error: --limit-alphabet is for --kind wordpiece", 1),
    (["train", "--max-words", 1, "--out", "x", "README.md"], "", "--max-words: 1 is too small: it must be at least 2", 2),
    (["train", "--kind", "wordpiece", "--vocab-size", 30, "--out", "x", "README.md"], "", "characters of this corpus (each with and "
     "without ##): use at least ", 1),
    (["train", "--kind", "wordpiece", "--vocab-size", 30, "--out", "x", "README.md"], "", "or a smaller --limit-alphabet\n", 1),
    (["train", "--kind", "wordpiece", "--special-tokens", "[PAD]", "--out", "x", "README.md"], "", "error: --special-tokens must include '[UNK]'", 1),
    (["train", "--lowercase", "--out", "x", "README.md"], "", "unknown flag --lowercase: wordpiece is lower case unless --cased is given", 2),
    (["train", "--out", "x", "-"], "a text", "error: - is not a file", 1),
    (["train", "--out", "x", "/dev/null"], "", "error: /dev/null is not a file", 1),
    (["encode"], "", "the following arguments are required: FOLDER\n", 2),
    (["train", "--criterion", "likelihood", "--out", "x", "README.md"], "", "error: --criterion is for --kind wordpiece", 1),
    (["train", "--kind", "wordpiece", "--criterion", "ratio", "--out", "x", "README.md"], "", "ratio", 2),
    (["encode", "no-such-folder"], "", "error: no-such-folder: no such folder", 1),
    (["inspect", "README.md"], "", "error: README.md: ", 1),
    (["inspect"], "", "FOLDER", 2),
    ([], "", "train", 2),
])
def test_bad_input_is_one_clear_line(args, text, message, expected):
    code, out, error = tokenizer(*args, text=text)
    assert code == expected and message in error and "Traceback" not in error and out == ""


def test_bad_ids_are_named(folder):
    code, _, error = tokenizer("decode", folder / "bpe", text="0 2\n0 x\n")
    assert code == 1 and "line 2 of the input must be ids" in error
    code, _, error = tokenizer("decode", folder / "bpe", "0", "x")
    assert code == 1 and "line 1 of the input must be ids" in error
    code, _, error = tokenizer("decode", folder / "bpe", text="100000\n")
    assert code == 1 and "id 100000 is not in the vocabulary" in error


def test_a_vocabulary_without_special_tokens_names_the_flag(folder):
    (folder / "gpt2").mkdir()
    for name in ("vocab.json", "merges.txt"):
        (folder / "gpt2" / name).write_bytes((folder / "bpe" / name).read_bytes().replace(b'"<s>":0', b'"<|endoftext|>":0'))
    code, _, error = tokenizer("encode", folder / "gpt2", "The cat")
    assert code == 1 and "encode with --no-special-tokens" in error and "Traceback" not in error
    code, out, _ = tokenizer("encode", folder / "gpt2", "The cat", "--no-special-tokens")
    assert code == 0 and out == tokenizer("encode", folder / "bpe", "The cat", "--no-special-tokens")[1]
    assert "⟦The⟧⟦·cat⟧" in tokenizer("inspect", folder / "gpt2", "The cat")[1]


def test_a_failed_training_leaves_what_was_there(folder):
    before = sorted((path.name, path.read_bytes()) for path in (folder / "bpe").iterdir())
    (folder / "binary.bin").write_bytes(b"\xff\xfe\x00")
    code, _, error = tokenizer("train", "--out", folder / "bpe", "--overwrite", folder / "binary.bin")
    assert code == 1 and "line 1 is not UTF-8" in error
    assert sorted((path.name, path.read_bytes()) for path in (folder / "bpe").iterdir()) == before


def test_a_trained_tokenizer_is_replaced_only_when_that_is_said(folder):
    def train(*flags):
        return tokenizer("train", "--vocab-size", 300, "--out", folder / "twice", folder / "story.txt", *flags)
    assert train()[1].splitlines()[-1] == f"written to {folder / 'twice'}"
    (folder / "twice" / "notes.md").write_text("mine")
    before = {path.name: path.read_bytes() for path in (folder / "twice").iterdir()}
    code, out, error = train()
    assert (code, out, error) == (1, "", f"error: {folder / 'twice'} already has a tokenizer: choose another folder, "
                                         "or replace it with --overwrite\n")
    assert {path.name: path.read_bytes() for path in (folder / "twice").iterdir()} == before
    assert train("--overwrite")[1].splitlines()[-1] == f"written to {folder / 'twice'}, replaced the tokenizer that was there"
    assert (folder / "twice" / "notes.md").read_text() == "mine"


def test_a_place_that_cannot_be_is_told_before_the_corpus_is_read(folder):
    for out, message in (("", "the name of the folder is empty"), (folder / "story.txt", "story.txt: is a file"),
                         (folder / "story.txt" / "tok", f"cannot write to {folder / 'story.txt' / 'tok'}: {folder / 'story.txt'} is a file")):
        code, _, error = tokenizer("train", "--out", out, folder / "no-such-file.txt")  # which would be the second error
        assert code == 1 and error.startswith("error: ") and message in error and "no-such-file" not in error and error.count("\n") == 1


def test_the_current_folder_is_filled_and_named_by_its_path(folder):
    for name in ("empty", "used"):
        (folder / name).mkdir()
    (folder / "used" / "a.txt").write_text("other things")
    for name in ("empty", "used"):
        done = run_command("tokenizer", "train", "--vocab-size", 300, "--out", ".", folder / "story.txt", cwd=folder / name)
        assert done.returncode == 0 and done.stdout.endswith(f"written to {folder / name}\n"), done.stderr
        assert (folder / name / "tokenizer.json").exists() and os.listdir(folder)
    assert (folder / "used" / "a.txt").exists()


def test_what_is_packed_is_refused_with_the_way_to_unpack_it(folder):
    with gzip.open(folder / "story.txt.gz", "wt") as file:
        file.write(STORY)
    code, _, error = tokenizer("train", "--out", folder / "packed", folder / "story.txt.gz")
    assert code == 1 and error.count("\n") == 1 and f"unpack it first (gzip -dk {folder / 'story.txt.gz'})" in error


def test_standard_input_that_is_no_text_is_named_by_its_line(folder):
    done = run_command("tokenizer", "encode", folder / "bpe", input=b"a\nb\ncaf\xe9\n")
    assert done.returncode == 1 and done.stdout.count("\n") == 2
    assert done.stderr.startswith("error: line 3 of standard input is not UTF-8 text (") and "at byte 4): convert it (iconv -f" in done.stderr


def test_the_flags_of_encode_are_those_of_python(folder):
    tok = load_tokenizer(folder / "bpe")

    def ids(*flags):
        return list(map(int, tokenizer("encode", folder / "bpe", "The <mask> cat", *flags)[1].split()))
    assert ids("--pair", "a cat", "--max-length", 9) == tok.encode("The <mask> cat", "a cat", max_length=9).ids
    assert ids("--pad-to-multiple-of", 8) == tok.encode("The <mask> cat", pad_to_multiple_of=8).ids != ids()
    assert ids("--split-special-tokens") == tok.encode("The <mask> cat", split_special_tokens=True).ids != ids()
    code, _, error = tokenizer("encode", folder / "bpe", "a", "--max-length", 1)
    assert (code, error) == (1, "error: --max-length 1 has no room for the 2 special tokens that are added: use at least 2, or --no-special-tokens\n")


def test_what_encode_prints_as_json_decode_reads(folder):
    text = "The cat's café\n{a}\n"
    assert tokenizer("decode", folder / "bpe", text=tokenizer("encode", folder / "bpe", "--json", text=text)[1])[:2] == (0, text)
    for line in ('{"ids": "0 2"}', '{"id": [0]}', '{"ids": [0.5]}', "{" * 100_000):
        code, _, error = tokenizer("decode", folder / "bpe", text=line)
        assert code == 1 and "line 1 of the input must be ids" in error and "Traceback" not in error


def test_inspect_reads_standard_input_where_that_is_said(folder):
    assert tokenizer("inspect", folder / "bpe", "-", text="The cat\n")[1] == tokenizer("inspect", folder / "bpe", "The cat")[1]


def test_the_flags_of_train_are_those_of_python(folder):
    def train(*flags):
        code, _, error = tokenizer("train", "--vocab-size", 300, "--out", folder / "flags", folder / "story.txt", "--overwrite", *flags)
        assert code == 0, error
        return load_tokenizer(folder / "flags")
    assert train("--special-tokens", "<s> [MASK]").special_tokens == ("<s>", "[MASK]")
    tok = train("--kind", "wordpiece", "--keep-accents", "--limit-alphabet", 40)
    twin = WordPiece.train_from_iterator(STORY.splitlines(), 300, strip_accents=False, limit_alphabet=40, show_progress=False)
    assert tok.fingerprint == twin.fingerprint and (tok.normalizer.lowercase, tok.normalizer.strip_accents) == (True, False)
