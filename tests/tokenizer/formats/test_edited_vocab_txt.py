"""vocab.txt as editors and scripts leave it: read as the tokenizers library reads it."""
import json

import pytest
from format_helpers import bpe, wordpiece

from tokenizer import load_tokenizer

SPECIAL = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n"
UNUSUAL = {  # what the note says: the file
    "2 tokens more than once, such as 'barks'": SPECIAL + "dog\nbarks\ndog\nbarks\ndog\n",
    "1 token more than once, such as '[MASK]'": SPECIAL + "[MASK]\ndog\nbarks\n",
    "3 blank lines: an id without a token": SPECIAL + "\ndog\n\nbarks\u00a0\u3000\n \n",
}


def write(folder, text):
    (folder / "vocab.txt").write_bytes(text.encode())
    return load_tokenizer(folder)


@pytest.mark.parametrize("note", UNUSUAL)
def test_an_edited_vocabulary_is_read_and_a_note_says_what_was_found(tmp_path, capsys, note):
    tok = write(tmp_path, UNUSUAL[note])
    assert note in capsys.readouterr().err
    ids = tok.encode("Dog barks?").ids
    assert tok.decode(ids[1:3]) == "dog barks"
    assert ids[3] == tok.unk_token_id == 1
    assert (tok.pad_token_id, tok.mask_token) == (0, "[MASK]")


@pytest.mark.parity
@pytest.mark.parametrize("note", UNUSUAL)
def test_ids_are_those_of_the_reference(tmp_path, note):
    from tokenizers.models import WordPiece
    tok = write(tmp_path, UNUSUAL[note])
    theirs = WordPiece.read_file(str(tmp_path / "vocab.txt"))
    ours = {token: i for token, i in tok.get_vocab().items() if "unused" not in token}
    assert ours == {token: i for token, i in theirs.items() if token}


def test_an_ordinary_vocabulary_gets_no_note(tmp_path, capsys):
    write(tmp_path, SPECIAL + "dog\nbarks")
    assert capsys.readouterr().err == ""


def test_a_line_without_a_token_is_never_found_and_survives_saving(tmp_path, capsys):
    tok = write(tmp_path, SPECIAL + "dog\n\ndog\n")
    tok.save(tmp_path / "saved")
    loaded = load_tokenizer(tmp_path / "saved")
    assert loaded.fingerprint == tok.fingerprint and loaded.vocab_size == 8
    unused = [5, 6]
    for token_id in unused:
        assert not set(unused) & set(loaded.encode_ids(loaded.id_to_token(token_id)))


def test_an_edited_vocab_txt_may_be_beside_tokenizer_json(tmp_path):
    tok = wordpiece()
    tok.save(tmp_path)
    edited = (tmp_path / "vocab.txt").read_text(encoding="utf-8").replace("\n", " \r\n")
    assert write(tmp_path, "\ufeff" + edited).fingerprint == tok.fingerprint


def test_a_byte_order_mark_and_trailing_spaces_do_not_change_a_bpe(tmp_path):
    tok = bpe()
    tok.save(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    for name in ("vocab.json", "tokenizer_config.json"):
        content = (tmp_path / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text("\ufeff" + json.dumps(json.loads(content)), encoding="utf-8")
    merges = (tmp_path / "merges.txt").read_text(encoding="utf-8")
    (tmp_path / "merges.txt").write_text("\ufeff" + merges.replace("\n", " \n"), encoding="utf-8")
    assert load_tokenizer(tmp_path).fingerprint == tok.fingerprint


@pytest.mark.parametrize("content, message", [
    ("[PAD]\n[UNK]\nthe\n".encode("utf-16"), "is UTF-16: save it again as UTF-8"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
    (b"<!DOCTYPE html>\n<html>Not found</html>", "is a web page"),
])
def test_what_is_no_list_of_tokens_is_named_for_what_it_is(content, message, tmp_path):
    (tmp_path / "vocab.txt").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_tokenizer(tmp_path)
