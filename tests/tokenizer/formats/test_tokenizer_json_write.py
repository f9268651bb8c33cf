"""tokenizer.json and tokens.tsv as they are written. (``make parity`` asks transformers.)"""
import random

import pytest
from format_helpers import bpe, odd_text, random_tokenizer, read, wordpiece
from tokenizer_samples import random_text

from tokenizer import ByteLevelBPE, WordPiece, load_tokenizer
from tokenizer.formats.tokenizer_json_write import post_processor, tokenizer_json
from tokenizer.pretokenize import byte_characters


def results(tokenizer, texts):
    """Return all that a tokenizer gives for the texts, errors for missing tokens included."""
    found = [tokenizer.fingerprint, tokenizer.special_tokens, tokenizer.model_max_length]
    for text in texts:
        encoding = tokenizer.encode(text, add_special_tokens=False)
        found += [encoding, tokenizer.encode_ids(text)]
        found.append(tokenizer.decode(encoding.ids, skip_special_tokens=False))
        for pair in (None, texts[0]):
            try:
                found.append(tokenizer.encode(text, pair))
            except ValueError as error:
                found.append(str(error))
    return found


def test_any_tokenizer_loads_as_the_same_from_all_its_files_and_from_either_half(
        tmp_path, monkeypatch):
    monkeypatch.setattr("tokenizer.utils.files.sync", lambda path: None)  # faster
    rng = random.Random(0)
    for i in range(40):
        tok = random_tokenizer(rng)
        texts = [*(odd_text(rng) for _ in range(5)), random_text(rng), ""]
        expected = results(tok, texts)
        folder = tmp_path / str(i)
        tok.save(folder)
        assert results(load_tokenizer(folder), texts) == expected
        (folder / "tokenizer.json").unlink()
        assert results(load_tokenizer(folder), texts) == expected
        tok.save(folder)
        for name in ("vocab.json", "merges.txt", "vocab.txt", "tokens.tsv"):
            (folder / name).unlink(missing_ok=True)
        assert results(load_tokenizer(folder), texts) == expected


@pytest.mark.parametrize("token", ["a\nb", "a\r"])
def test_a_line_end_in_a_token_is_stored_if_the_token_is_an_added_one(tmp_path, token):
    with pytest.raises(ValueError, match="which vocab.txt cannot store"):
        WordPiece(["[UNK]", token], ["[UNK]"]).save(tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
    WordPiece(["x", "[UNK]", token], ["[UNK]", token]).save(tmp_path / "wordpiece")
    ByteLevelBPE([token, *byte_characters()], [], [token]).save(tmp_path / "bpe")
    for name in ("wordpiece", "bpe"):
        encoding = load_tokenizer(tmp_path / name).encode("x" + token, add_special_tokens=False)
        assert encoding.tokens == ["x", token]


def test_the_parts_of_tokenizer_json():
    tok = ByteLevelBPE.train_from_iterator(["ab ab é"], 263, 1, show_progress=False)
    document = tokenizer_json(tok)
    assert [token["lstrip"] for token in document["added_tokens"]] == [False] * 4 + [True]
    assert document["added_tokens"][4] == {
        "id": 4, "content": "<mask>", "special": True, "lstrip": True, "normalized": False,
        "single_word": False, "rstrip": False}
    assert document["normalizer"] is None
    assert document["pre_tokenizer"]["type"] == "ByteLevel"
    assert document["model"]["merges"] == ["a b", "Ã ©"]
    assert document["model"]["vocab"]["Ã©"] == 262
    ids = [entry["id"] for piece in document["post_processor"]["pair"] for entry in piece.values()]
    assert ids == ["<s>", "A", "</s>", "</s>", "B", "</s>"]


def test_the_settings_of_wordpiece_are_in_tokenizer_json():
    tok = WordPiece(["[UNK]", "a"], ["[UNK]"], lowercase=False, strip_accents=True,
                    tokenize_chinese_chars=False, max_input_chars_per_word=7)
    document = tokenizer_json(tok)
    assert document["normalizer"] == {
        "type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": False,
        "strip_accents": True, "lowercase": False}
    assert document["model"]["max_input_chars_per_word"] == 7
    assert document["model"]["unk_token"] == "[UNK]"
    assert post_processor(tok) is None  # there is no [CLS] and no [SEP]


def test_auto_tokenizer_finds_what_it_needs(tmp_path):
    for tok, inputs in ((wordpiece(), ["input_ids", "token_type_ids", "attention_mask"]),
                        (bpe(), ["input_ids", "attention_mask"])):
        tok.save(tmp_path)
        config = read(tmp_path / "tokenizer_config.json")
        assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
        assert config["model_input_names"] == inputs


# tokens.tsv

def rows(folder):
    lines = (folder / "tokens.tsv").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    return [line.split("\t") for line in lines]


def test_tokens_tsv_names_parents_and_counts_by_hand(tmp_path):
    # ab occurs three times. Then abab could be merged, but occurs only once.
    tok = ByteLevelBPE.train_from_iterator(["ab abab"], 263, 2, show_progress=False)
    tok.save(tmp_path)
    table = rows(tmp_path)
    assert table[0] == ["id", "token", "rank", "left parent", "right parent", "count"]
    assert table[1] == ["0", "<s>", "", "", "", ""]
    assert table[-1] == ["261", "ab", "0", "a", "b", "3"]
    assert len(table) == 1 + tok.vocab_size
    WordPiece.train_from_iterator(["abc abc"], 20, 2, show_progress=False).save(tmp_path)
    assert rows(tmp_path)[-2:] == [["10", "ab", "0", "a", "##b", "2"],
                                   ["11", "abc", "1", "ab", "##c", "2"]]


@pytest.mark.parametrize("make", [bpe, wordpiece])
def test_a_loaded_tokenizer_copies_its_table(tmp_path, make):
    make().save(tmp_path / "old")
    table = rows(tmp_path / "old")
    loaded = load_tokenizer(tmp_path / "old")
    loaded.save(tmp_path / "new")
    loaded.save(tmp_path / "old")  # into the folder from which it was loaded
    assert rows(tmp_path / "new") == rows(tmp_path / "old") == table


def test_without_a_table_the_merges_of_bpe_are_known_but_not_their_counts(tmp_path):
    for tok in (bpe(), wordpiece()):
        folder = tmp_path / tok.kind
        tok.save(folder)
        (folder / "tokens.tsv").unlink()
        load_tokenizer(folder).save(folder)
    assert rows(tmp_path / "bpe")[-1][2:] == [str(len(bpe().merges) - 1), *bpe().merges[-1], ""]
    assert not (tmp_path / "wordpiece/tokens.tsv").exists()


def test_a_token_of_two_merges_has_two_lines_and_a_tab_does_not_break_the_table(tmp_path):
    merges = [("a", "b"), ("b", "c"), ("ab", "c"), ("a", "bc")]
    tokens = ["x\ty", *byte_characters(), "ab", "bc", "abc"]
    ByteLevelBPE(tokens, merges, ["x\ty"]).save(tmp_path)
    table = rows(tmp_path)
    assert table[1] == ["0", r"x\ty", "", "", "", ""]
    assert table[-2:] == [["259", "abc", "2", "ab", "c", ""], ["259", "abc", "3", "a", "bc", ""]]
