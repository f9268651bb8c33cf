"""Save and load; files that are missing, damaged, or from another program."""
import json

import pytest
from format_helpers import bpe, replace, wordpiece
from tokenizer_samples import STORY, random_texts

from tokenizer import ByteLevelBPE, WordPiece, load_tokenizer


@pytest.mark.parametrize("make, names", [
    (bpe, ["merges.txt", "tokenizer.json", "tokenizer_config.json", "tokens.tsv", "vocab.json"]),
    (wordpiece, ["tokenizer.json", "tokenizer_config.json", "tokens.tsv", "vocab.txt"])])
def test_a_saved_tokenizer_loads_as_the_same(tmp_path, make, names):
    tok = make()
    tok.model_max_length = 128
    tok.save(tmp_path / "tok")
    assert sorted(path.name for path in (tmp_path / "tok").iterdir()) == names
    loaded = load_tokenizer(tmp_path / "tok")
    assert type(loaded) is type(tok)
    assert loaded.fingerprint == tok.fingerprint
    assert loaded.special_tokens == tok.special_tokens
    assert loaded.model_max_length == 128
    for text in random_texts(300):
        assert loaded.encode(text) == tok.encode(text)


@pytest.mark.parametrize("make", [
    lambda: wordpiece(lowercase=False),
    lambda: wordpiece(strip_accents=False),
    lambda: WordPiece(["[UNK]", "a", "##a"], ["[UNK]"], max_input_chars_per_word=3),
    lambda: bpe(special_tokens=("<s>", "<pad>", "</s>", "<unk>", "<mask>", "a b", "<x>"))])
def test_settings_survive(tmp_path, make):
    tok = make()
    tok.save(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert loaded.fingerprint == tok.fingerprint
    assert loaded.special_tokens == tok.special_tokens
    for text in ["Café CAFE", "aaaa", "xa b<x>", "isn't"]:
        assert loaded.encode_ids(text) == tok.encode_ids(text)
        plain = tok.encode(text, add_special_tokens=False)
        assert loaded.encode(text, add_special_tokens=False) == plain


@pytest.mark.parametrize("make", [bpe, wordpiece, lambda: wordpiece(lowercase=False)])
def test_a_folder_with_only_a_vocabulary_loads(tmp_path, make):
    tok = make()
    tok.save(tmp_path)
    for name in ("tokenizer_config.json", "tokenizer.json", "tokens.tsv"):
        (tmp_path / name).unlink()
    loaded = load_tokenizer(tmp_path)
    assert loaded.fingerprint == tok.fingerprint
    assert loaded.encode(STORY) == tok.encode(STORY)


def test_a_configuration_of_hugging_face_loads(tmp_path):
    bpe(special_tokens=("<s>", "<pad>", "</s>", "<unk>", "[M]")).save(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "RobertaTokenizer", "add_prefix_space": True, "cls_token": "<s>",
        "model_max_length": int(1e30),
        "mask_token": {"__type": "AddedToken", "content": "[M]", "lstrip": True}}))
    loaded = load_tokenizer(tmp_path)
    assert loaded.mask_token == "[M]"
    assert loaded.add_prefix_space
    assert loaded.model_max_length is None
    assert loaded.encode("x [M]").ids == loaded.encode("x[M]").ids


def test_the_remedy_for_a_missing_role_helps(tmp_path):
    tok = bpe(special_tokens=("<|endoftext|>", "<unk>", "<s>"))  # much as GPT-2's
    tok.save(tmp_path)
    with pytest.raises(ValueError, match="has no sep, mask token: say in its tokenizer_config"):
        load_tokenizer(tmp_path).require("cls", "sep", "mask")
    config = {"sep_token": "<|endoftext|>", "mask_token": "!"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    load_tokenizer(tmp_path).require("cls", "sep", "mask")


def test_files_are_written_as_the_reference_writes_them(tmp_path):
    tok = ByteLevelBPE.train_from_iterator(["ab ab é"], 263, 1, show_progress=False)
    tok.save(tmp_path)
    vocabulary = (tmp_path / "vocab.json").read_text(encoding="utf-8")
    start = '{"<s>":0,"<pad>":1,"</s>":2,"<unk>":3,"<mask>":4,"!":5,"\\"":6,'
    assert vocabulary.startswith(start)
    assert vocabulary.endswith('"Ń":260,"ab":261,"Ã©":262}')
    merges = (tmp_path / "merges.txt").read_bytes()
    assert merges == "#version: 0.2\na b\nÃ ©\n".encode()


def test_saving_replaces_a_tokenizer_and_keeps_other_files(tmp_path):
    folder = tmp_path / "tok"
    bpe().save(folder)
    wordpiece().save(folder)
    assert not (folder / "vocab.json").exists()
    assert load_tokenizer(folder).kind == "wordpiece"
    (folder / "model.safetensors").write_bytes(b"weights")
    bpe().save(folder)
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    assert not (folder / "vocab.txt").exists()
    assert load_tokenizer(folder).kind == "bpe"
    with pytest.raises(NotADirectoryError):
        bpe().save(folder / "model.safetensors")


def test_a_failed_save_leaves_the_old_tokenizer(tmp_path, monkeypatch):
    def fail(path):
        raise OSError("disk full")
    old = bpe()
    old.save(tmp_path / "tok")
    monkeypatch.setattr("tokenizer.utils.files.sync", fail)
    with pytest.raises(OSError, match="disk full"):
        wordpiece().save(tmp_path / "tok")
    assert load_tokenizer(tmp_path / "tok").fingerprint == old.fingerprint
    assert [path.name for path in tmp_path.iterdir()] == ["tok"]


CHANGED = "differs, so a file was changed or cut short"


@pytest.mark.parametrize("make, name, change, message", [
    (bpe, "vocab.json", lambda content: content[:200], "vocab.json: is not valid JSON"),
    (bpe, "vocab.json", lambda content: b"[1]", "vocab.json: is not a JSON object"),
    (bpe, "vocab.json", lambda content: b"\xff" + content, "vocab.json: is not UTF-8"),
    (bpe, "vocab.json", replace(b'"!":5', b'"!":4'), "vocab.json: '!' has the id 4"),
    (bpe, "vocab.json", replace(b'"#"', b'"!"'), "lacks 1 of the 256 bytes .*'#'"),
    (bpe, "merges.txt", replace(b"\n", b"\nabc\n"), "merges.txt: merge ..abc.. is not a pair"),
    (bpe, "merges.txt", replace(b"\n", b"\nqqq x\n"), "merges.txt: merge .* needs 'qqq'"),
    (bpe, "merges.txt", lambda content: content + content.split(b"\n")[1] + b"\n", "occurs twice"),
    (bpe, "merges.txt", lambda content: content[:content.index(b"\n", 100) + 1], CHANGED),
    (bpe, "tokenizer_config.json", lambda content: content[:30], "is not valid JSON"),
    (bpe, "tokenizer_config.json", replace(b'"bpe"', b'"unigram"'), "kind is 'unigram'"),
    (bpe, "tokenizer_config.json", replace(b'"bpe"', b'["bpe"]'), r"kind is \['bpe'\]"),
    (bpe, "tokenizer_config.json", replace(b'"<mask>"', b'["<mask>"]'), "is not a string"),
    (bpe, "tokenizer_config.json", replace(b'space": false', b'space": true'), CHANGED),
    (wordpiece, "vocab.txt", lambda content: content[:-4], CHANGED),
    (wordpiece, "vocab.txt", replace(b"[SEP]\n", b"[CLS]\n"), CHANGED),
    (wordpiece, "vocab.txt", replace(b"[UNK]\n", b"UNK\n"), "no .UNK. token"),
])
def test_a_damaged_file_is_named(tmp_path, make, name, change, message):
    make().save(tmp_path)
    (tmp_path / "tokenizer.json").unlink()  # else its disagreement with the file is reported
    path = tmp_path / name
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=message) as raised:
        load_tokenizer(tmp_path)
    assert str(tmp_path) in str(raised.value)


def test_a_missing_folder_or_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="none: no such folder; a tokenizer folder has"):
        load_tokenizer(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}: has no tokenizer"):
        load_tokenizer(tmp_path)
    bpe().save(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "merges.txt").unlink()
    with pytest.raises(FileNotFoundError, match="merges.txt: no such file"):
        load_tokenizer(tmp_path)


def test_the_fingerprint_changes_with_everything_that_decides_ids():
    fingerprints = [tok.fingerprint for tok in (
        bpe(), bpe(min_frequency=3), wordpiece(), wordpiece(lowercase=False),
        wordpiece(strip_accents=False),
        bpe(special_tokens=("<s>", "<pad>", "</s>", "<unk>", "<MASK>")))]
    assert len(set(fingerprints)) == len(fingerprints)
    assert bpe().fingerprint == bpe().fingerprint
    # The same vocabulary and roles, but one tokenizer searches a text for "he" first.
    tok = bpe()
    special = ByteLevelBPE(tok.get_vocab(), tok.merges, (*tok.special_tokens, "he"))
    assert special.encode("other").ids != tok.encode("other").ids
    assert special.fingerprint != tok.fingerprint
