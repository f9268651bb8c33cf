"""Saving, loading, and what is said about files that are missing, cut short or wrong."""
import json

import pytest
from tokenizer_samples import STORY, random_texts

from tokenizer import ByteLevelBPE, WordPiece, load_tokenizer


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


def replace(old, new):
    return lambda content: content.replace(old, new, 1)


CUT = "differs, so a file was changed or cut short"
BROKEN_BPE = [
    ("vocab.json", lambda content: content[:200], "vocab.json: is not valid JSON"),
    ("vocab.json", lambda content: b"[1]", "vocab.json: is not a JSON object"),
    ("vocab.json", lambda content: b"\xff" + content, "vocab.json: is not UTF-8"),
    ("vocab.json", replace(b'"!":5', b'"!":4'), "vocab.json: '!' has the id 4"),
    ("vocab.json", replace(b'"!":5', b'"!":"5"'), "vocab.json: '!' has the id '5'"),
    ("vocab.json", replace(b'"#"', b'"!"'), "vocab.json: .*a key occurs twice"),
    ("vocab.json", replace(b'"!"', b'"!!"'), "lacks 1 of the 256 bytes .*'!'"),
    ("merges.txt", replace(b"\n", b"\nabc\n"), "merges.txt: merge ..abc.. is not a pair"),
    ("merges.txt", replace(b"\n", b"\nqqq x\n"), "merges.txt: merge .* needs 'qqq'"),
    ("merges.txt", lambda content: content + content.split(b"\n")[1] + b"\n", "occurs twice"),
    ("merges.txt", lambda content: content[:content.index(b"\n", 100) + 1], CUT),
    ("merges.txt", lambda content: b"", CUT),
    ("tokenizer_config.json", lambda content: content[:30], "is not valid JSON"),
    ("tokenizer_config.json", replace(b'"bpe"', b'"unigram"'), "kind is 'unigram'"),
    ("tokenizer_config.json", replace(b'"<mask>"', b'["<mask>"]'), "'<mask>'.* is not a string"),
    ("tokenizer_config.json", replace(b'space": false', b'space": true'), CUT),
]
BROKEN_WORDPIECE = [
    ("vocab.txt", lambda content: content[:-4], CUT),
    ("vocab.txt", replace(b"[SEP]\n", b"\n"), "vocab.txt: line 4 is empty"),
    ("vocab.txt", replace(b"[SEP]\n", b"[CLS]\n"), "vocab.txt: line 4 repeats"),
    ("vocab.txt", replace(b"[UNK]\n", b"UNK\n"), "no .UNK. token"),
    ("vocab.txt", lambda content: content + b"\xff", "vocab.txt: is not UTF-8"),
]


@pytest.mark.parametrize("make, name, change, message", [
    *[(bpe, *case) for case in BROKEN_BPE], *[(wordpiece, *case) for case in BROKEN_WORDPIECE]])
def test_a_broken_file_is_named(tmp_path, make, name, change, message):
    tok = make()
    tok.model_max_length = 128
    tok.save(tmp_path)
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
    with pytest.raises(ValueError, match="vocab.json: is a file, not a folder"):
        load_tokenizer(tmp_path / "vocab.json")
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "merges.txt").unlink()
    with pytest.raises(FileNotFoundError, match="merges.txt: no such file"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").mkdir()
    with pytest.raises(OSError, match="tokenizer.json: is a folder, not a file"):
        load_tokenizer(tmp_path)


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
