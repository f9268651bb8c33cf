"""The command line, as a user meets it."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tokenizer_samples import STORY

ROOT = Path(__file__).parents[2]


def tokenizer(*args, text="", **environment):
    done = subprocess.run([sys.executable, "-m", "tokenizer", *map(str, args)], cwd=ROOT, capture_output=True,
                          input=text.encode(), env={**os.environ, **environment})
    return done.returncode, done.stdout.decode(), done.stderr.decode()


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
        return json.loads(tokenizer("train", "--kind", "wordpiece", "--vocab-size", 200, *options, "--json", "--out",
                                    folder / "criterion", folder / "story.txt")[1])["fingerprint"]
    assert fingerprint() == fingerprint("--criterion", "frequency") != fingerprint("--criterion", "likelihood")


def test_inspect_shows_the_vocabulary_and_the_cut(folder):
    code, out, _ = tokenizer("inspect", folder / "bpe", "The <mask>")
    assert code == 0 and "<mask> 4" in out and "' <mask>'" in out


def test_under_a_narrow_encoding_what_it_lacks_is_escaped_and_json_is_still_json(folder):
    code, out, error = tokenizer("inspect", folder / "bpe", "a café", PYTHONIOENCODING="ascii")
    assert (code, error) == (0, "") and "\\u0120" in out and "Ġ" not in out
    code, out, error = tokenizer("inspect", folder / "bpe", "a café", "--json", PYTHONIOENCODING="ascii")
    assert code == 0 and "".join(json.loads(out)["encoding"]["tokens"]) == "<s>aĠcafÃ©</s>"
    code, out, error = tokenizer("encode", folder / "bpe", "--json", text="a café\n", PYTHONIOENCODING="ascii")
    assert code == 0 and "".join(json.loads(out)["tokens"]) == "<s>aĠcafÃ©</s>"


@pytest.mark.parametrize("args, text, message, expected", [
    (["train", "--out", "x", "no-such-file.txt"], "", "error: no-such-file.txt: no such file", 1),
    (["train", "--vocab-size", 10, "--out", "x", "README.md"], "", "error: vocab_size=10 is smaller than", 1),
    (["train", "--vocab-sise", 10, "--out", "x", "README.md"], "", "unknown flag --vocab-sise: did you mean --vocab-size?", 2),
    (["train", "--kind", "unigram", "--out", "x", "README.md"], "", "unigram", 2),
    (["train", "--cased", "--out", "x", "README.md"], "", "error: --cased is for --kind wordpiece", 1),
    (["train", "--criterion", "likelihood", "--out", "x", "README.md"], "", "error: --criterion is for --kind wordpiece", 1),
    (["train", "--kind", "wordpiece", "--criterion", "ratio", "--out", "x", "README.md"], "", "ratio", 2),
    (["encode", "no-such-folder"], "", "error: no-such-folder: no such folder", 1),
    ([], "", "train", 2),
])
def test_bad_input_is_one_clear_line(args, text, message, expected):
    code, out, error = tokenizer(*args, text=text)
    assert code == expected and message in error and "Traceback" not in error and out == ""


def test_bad_ids_are_named(folder):
    code, _, error = tokenizer("decode", folder / "bpe", text="0 2\n0 x\n")
    assert code == 1 and "line 2 of the input must be ids" in error
    code, _, error = tokenizer("decode", folder / "bpe", text="100000\n")
    assert code == 1 and "id 100000 is not in the vocabulary" in error


def test_a_failed_training_leaves_what_was_there(folder):
    before = sorted((path.name, path.read_bytes()) for path in (folder / "bpe").iterdir())
    (folder / "binary.bin").write_bytes(b"\xff\xfe\x00")
    code, _, error = tokenizer("train", "--out", folder / "bpe", folder / "binary.bin")
    assert code == 1 and "line 1 is not UTF-8" in error
    assert sorted((path.name, path.read_bytes()) for path in (folder / "bpe").iterdir()) == before
