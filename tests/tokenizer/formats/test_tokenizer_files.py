"""Saving, loading, and what is said about files that are missing, cut short or wrong."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tokenizer_samples import STORY, random_texts

from tokenizer import ByteLevelBPE, WordPiece, load_tokenizer

ROOT = Path(__file__).parents[3]


def bpe(**options):
    return ByteLevelBPE.train_from_iterator([STORY], 400, show_progress=False, **options)


def wordpiece(**options):
    return WordPiece.train_from_iterator([STORY], 300, show_progress=False, **options)


@pytest.mark.parametrize("make, names", [
    (bpe, ["merges.txt", "tokenizer.json", "tokenizer_config.json", "tokens.tsv", "vocab.json"]),
    (wordpiece, ["tokenizer.json", "tokenizer_config.json", "tokens.tsv", "vocab.txt"])])
def test_what_is_saved_is_what_is_loaded(tmp_path, make, names):
    tok = make()
    tok.model_max_length = 128
    tok.save(tmp_path / "tok")
    assert sorted(path.name for path in (tmp_path / "tok").iterdir()) == names
    loaded = load_tokenizer(tmp_path / "tok")
    assert type(loaded) is type(tok) and loaded.fingerprint == tok.fingerprint
    assert loaded.special_tokens == tok.special_tokens and loaded.model_max_length == 128
    for text in random_texts(300):
        assert loaded.encode(text) == tok.encode(text)


def test_settings_survive(tmp_path):
    for number, tok in enumerate([wordpiece(lowercase=False), wordpiece(strip_accents=False),
                                  WordPiece(["[UNK]", "a", "##a"], ["[UNK]"], max_input_chars_per_word=3),
                                  bpe(special_tokens=("<s>", "<pad>", "</s>", "<unk>", "<mask>", "a b", "<x>"))]):
        tok.save(tmp_path / str(number))
        loaded = load_tokenizer(tmp_path / str(number))
        assert loaded.fingerprint == tok.fingerprint and loaded.special_tokens == tok.special_tokens
        for text in ["Café CAFE", "aaaa", "xa b<x>", "isn't"]:
            assert loaded.encode_ids(text) == tok.encode_ids(text)
            assert loaded.encode(text, add_special_tokens=False) == tok.encode(text, add_special_tokens=False)


def test_a_folder_with_nothing_but_a_vocabulary_loads(tmp_path):
    for name, tok in [("bpe", bpe()), ("cased", wordpiece(lowercase=False)), ("uncased", wordpiece())]:
        tok.save(tmp_path / name)
        for file in ("tokenizer_config.json", "tokenizer.json", "tokens.tsv"):
            (tmp_path / name / file).unlink()
        loaded = load_tokenizer(tmp_path / name)
        assert loaded.fingerprint == tok.fingerprint and loaded.encode(STORY) == tok.encode(STORY)


def test_hugging_faces_way_of_writing_a_configuration_loads(tmp_path):
    tok = bpe(special_tokens=("<s>", "<pad>", "</s>", "<unk>", "[M]"))
    tok.save(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "RobertaTokenizer", "add_prefix_space": True, "model_max_length": int(1e30),
        "mask_token": {"__type": "AddedToken", "content": "[M]", "lstrip": True}, "cls_token": "<s>"}))
    loaded = load_tokenizer(tmp_path)
    assert loaded.mask_token == "[M]" and loaded.add_prefix_space and loaded.model_max_length is None
    assert loaded.encode("x [M]").ids == loaded.encode("x[M]").ids


def test_a_role_that_a_folder_lacks_is_named_with_the_remedy_and_the_remedy_helps(tmp_path):
    tok = bpe(special_tokens=("<|endoftext|>", "<unk>", "<s>"))  # much as GPT-2's
    tok.require("cls", "unk")
    with pytest.raises(ValueError, match="^the tokenizer has no mask token"):
        tok.require("mask")
    tok.save(tmp_path)
    with pytest.raises(ValueError, match="has no sep, mask token: say in its tokenizer_config.json .*\"sep_token\".*tokenizer train") as raised:
        load_tokenizer(tmp_path).require("cls", "sep", "mask")
    assert f"the tokenizer in {tmp_path} has" in str(raised.value)
    (tmp_path / "tokenizer_config.json").write_text('{"sep_token": "<|endoftext|>", "mask_token": "!"}')
    load_tokenizer(tmp_path).require("cls", "sep", "mask")


def test_files_are_written_as_the_reference_writes_them(tmp_path):
    tok = ByteLevelBPE.train_from_iterator(["ab ab é"], 263, 1, show_progress=False)
    tok.save(tmp_path)
    vocabulary, merges = (tmp_path / "vocab.json").read_bytes(), (tmp_path / "merges.txt").read_bytes()
    assert vocabulary.startswith(b'{"<s>":0,"<pad>":1,"</s>":2,"<unk>":3,"<mask>":4,"!":5,"\\"":6,')
    assert vocabulary.endswith('"Ń":260,"ab":261,"Ã©":262}'.encode())
    assert merges == "#version: 0.2\na b\nÃ ©\n".encode()


def test_saving_replaces_a_tokenizer_and_leaves_other_files_alone(tmp_path):
    bpe().save(tmp_path / "tok")
    wordpiece().save(tmp_path / "tok")
    assert not (tmp_path / "tok" / "vocab.json").exists() and load_tokenizer(tmp_path / "tok").kind == "wordpiece"
    (tmp_path / "tok" / "model.safetensors").write_bytes(b"weights")
    bpe().save(tmp_path / "tok")
    assert (tmp_path / "tok" / "model.safetensors").read_bytes() == b"weights"
    assert load_tokenizer(tmp_path / "tok").kind == "bpe" and not (tmp_path / "tok" / "vocab.txt").exists()
    with pytest.raises(ValueError, match="is a file"):
        bpe().save(tmp_path / "tok" / "model.safetensors")


def test_a_failed_save_leaves_the_old_tokenizer(tmp_path, monkeypatch):
    old = bpe()
    old.save(tmp_path / "tok")
    monkeypatch.setattr("tokenizer.utils.files.sync", lambda path: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        wordpiece().save(tmp_path / "tok")
    assert load_tokenizer(tmp_path / "tok").fingerprint == old.fingerprint
    assert [path.name for path in tmp_path.iterdir()] == ["tok"]


def edit(path, change):
    path.write_bytes(change(path.read_bytes()))


BROKEN_BPE = [
    ("vocab.json", lambda b: b[:200], "vocab.json: line 1 column .* is not JSON.*cut short"),
    ("vocab.json", lambda b: b"[1]", "vocab.json: must be a JSON object"),
    ("vocab.json", lambda b: b"\xff" + b, "vocab.json: byte 0 is not UTF-8"),
    ("vocab.json", lambda b: b.replace(b'"!":5', b'"!":4'), "vocab.json: '!' has the id 4 .line 1 column 50.,"),
    ("vocab.json", lambda b: b.replace(b'"!":5', b'"!":"5"'), "vocab.json: '!' has the id '5'"),
    ("vocab.json", lambda b: b.replace(b'"#"', b'"!"'), "vocab.json: '!' stands there twice .line 1 column 63."),
    ("vocab.json", lambda b: b.replace(b'"!"', b'"!!"'), "lacks 1 of the 256 bytes .*'!'"),
    ("merges.txt", lambda b: b.replace(b"\n", b"\nabc\n", 1), "merges.txt: line 2 must be two tokens"),
    ("merges.txt", lambda b: b.replace(b"\n", b"\nqqq x\n", 1), "merges.txt: line 2 needs 'qqq', which is not in vocab.json"),
    ("merges.txt", lambda b: b + b.split(b"\n")[1] + b"\n", "merges.txt: line .* repeats the merge"),
    ("merges.txt", lambda b: b[:b.index(b"\n", 100) + 1], "do not fit the fingerprint"),
    ("merges.txt", lambda b: b"", "do not fit the fingerprint"),
    ("tokenizer_config.json", lambda b: b[:30], "tokenizer_config.json: line .* is not JSON"),
    ("tokenizer_config.json", lambda b: b.replace(b'"bpe"', b'"unigram"'), "kind is 'unigram'"),
    ("tokenizer_config.json", lambda b: b.replace(b'"<mask>"', b'["<mask>"]'), "a special token must be a string .*, but one is \\['<mask>'"),
    ("tokenizer_config.json", lambda b: b.replace(b'"model_max_length": 128', b'"added_tokens_decoder": [1]'), "value of the wrong type"),
    ("tokenizer_config.json", lambda b: b.replace(b'space": false', b'space": true'), "do not fit the fingerprint"),
]
BROKEN_WORDPIECE = [
    ("vocab.txt", lambda b: b[:-4], "do not fit the fingerprint"),
    ("vocab.txt", lambda b: b.replace(b"[SEP]\n", b"\n"), "vocab.txt: line 4 is empty"),
    ("vocab.txt", lambda b: b.replace(b"[SEP]\n", b"[CLS]\n"), "vocab.txt: line 4 repeats .*of line 3"),
    ("vocab.txt", lambda b: b.replace(b"[UNK]\n", b"UNK\n"), "no .UNK. token"),
    ("vocab.txt", lambda b: b + b"\xff", "vocab.txt: byte .* is not UTF-8"),
    ("tokenizer_config.json", lambda b: b.replace(b'word": 100', b'word": "100"'), "max_input_chars_per_word is .100., a value of the wrong type"),
]


@pytest.mark.parametrize("make, name, change, message", [(bpe, *case) for case in BROKEN_BPE]
                         + [(wordpiece, *case) for case in BROKEN_WORDPIECE])
def test_a_broken_file_is_named(tmp_path, make, name, change, message):
    """In a folder without tokenizer.json, which would know better in some cases: ``test_published.py``."""
    tok = make()
    tok.model_max_length = 128
    tok.save(tmp_path / "tok")
    (tmp_path / "tok" / "tokenizer.json").unlink()
    edit(tmp_path / "tok" / name, change)
    with pytest.raises(ValueError, match=message) as raised:
        load_tokenizer(tmp_path / "tok")
    assert str(tmp_path) in str(raised.value) and "\n" not in str(raised.value)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="none: no such folder; a tokenizer is a folder with"):
        load_tokenizer(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="there is no tokenizer in it"):
        load_tokenizer(tmp_path)
    bpe().save(tmp_path / "tok")
    (tmp_path / "tok" / "tokenizer.json").unlink()
    (tmp_path / "tok" / "merges.txt").unlink()
    with pytest.raises(FileNotFoundError, match="merges.txt: no such file"):
        load_tokenizer(tmp_path / "tok")


def test_the_fingerprint_changes_with_all_that_decides_ids():
    prints = [tok.fingerprint for tok in (
        bpe(), bpe(min_frequency=3), bpe(special_tokens=("<s>", "<pad>", "</s>", "<unk>", "<MASK>")), wordpiece(),
        wordpiece(lowercase=False), wordpiece(strip_accents=False))]
    assert len(set(prints)) == len(prints)
    assert bpe().fingerprint == bpe().fingerprint
    # the same vocabulary and the same parts to play: in one of them "he" is looked for in a text before all else
    tok = bpe()
    tokens = [tok.id_to_token(i) for i in range(tok.vocab_size)]
    special = ByteLevelBPE(tokens, tok.merges, (*tok.special_tokens, "he"))
    assert special.encode("other").ids != tok.encode("other").ids and special.fingerprint != tok.fingerprint


def test_training_does_not_depend_on_the_hash_seed():
    program = ("import sys; sys.path.insert(0, sys.argv[1] + '/tests/tokenizer')\n"
               "from tokenizer_samples import STORY\nfrom tokenizer import ByteLevelBPE, WordPiece\n"
               "for kind in (ByteLevelBPE, WordPiece):\n"
               "    print(kind.train_from_iterator(STORY.splitlines(), 400, show_progress=False).fingerprint)")
    outputs = {subprocess.run([sys.executable, "-c", program, str(ROOT)], cwd=ROOT, capture_output=True, text=True,
                              check=True, env={**os.environ, "PYTHONHASHSEED": seed}).stdout for seed in ("0", "1", "42")}
    assert len(outputs) == 1 and len(outputs.pop().split()) == 2
