"""A tokenizer.json from which tokens were removed, so that some ids have no token."""
import pytest
from format_helpers import bpe, change_json, only_tokenizer_json, wordpiece
from tokenizer_samples import STORY

from tokenizer import load_tokenizer

GAPS = (20, 21, 22)


def with_gaps(document):
    """Give every token from id 20 on an id that is 3 larger."""
    ids = document["model"]["vocab"]
    document["model"]["vocab"] = {token: i + 3 * (i >= 20) for token, i in ids.items()}


@pytest.fixture(params=[bpe, wordpiece])
def pair(request, tmp_path):
    """(a tokenizer, the same one with gaps in its ids)"""
    tok = request.param()
    change_json(only_tokenizer_json(tok, tmp_path), with_gaps)
    return tok, load_tokenizer(tmp_path)


def test_ids_are_those_of_the_file_and_the_size_is_the_largest_id_and_one(capsys, pair):
    tok, loaded = pair
    assert capsys.readouterr().err.endswith("tokenizer.json has 3 ids without a token\n")
    assert loaded.unused_ids == GAPS and loaded.vocab_size == tok.vocab_size + 3
    shifted = [i + 3 * (i >= 20) for i in tok.encode(STORY).ids]
    assert loaded.encode(STORY).ids == shifted
    assert loaded.decode(shifted) == loaded.decode([*GAPS, *shifted]) == tok.decode(
        tok.encode(STORY).ids)


def test_no_text_is_split_into_an_id_without_a_token(pair):
    _, loaded = pair
    texts = [loaded.id_to_token(i) for i in GAPS]
    assert not set(GAPS) & set(loaded.encode(" ".join([*texts, *"".join(texts)])).ids)


def test_a_saved_copy_is_equal_and_quiet(pair, tmp_path, capsys):
    _, loaded = pair
    loaded.save(tmp_path / "saved")
    capsys.readouterr()
    again = load_tokenizer(tmp_path / "saved")
    assert again.fingerprint == loaded.fingerprint and again.unused_ids == GAPS
    assert capsys.readouterr().err == ""
    (tmp_path / "saved" / "tokenizer.json").unlink()  # vocab.json or vocab.txt, as others read it
    assert load_tokenizer(tmp_path / "saved").encode(STORY).ids == loaded.encode(STORY).ids


@pytest.mark.parity
def test_ids_and_texts_are_those_of_the_reference_also_after_saving(pair, tmp_path):
    from tokenizers import Tokenizer
    _, loaded = pair
    loaded.save(tmp_path / "saved")
    for folder in (tmp_path, tmp_path / "saved"):
        theirs = Tokenizer.from_file(str(folder / "tokenizer.json"))
        ids = loaded.encode(STORY).ids
        assert theirs.encode(STORY).ids == ids
        assert max(theirs.get_vocab().values()) + 1 == loaded.vocab_size
    theirs = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert theirs.decode([*GAPS, *ids]) == theirs.decode(ids)  # nothing, as ours
