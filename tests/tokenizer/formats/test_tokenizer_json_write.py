"""tokenizer.json and tokens.tsv as they are written, and that whatever is saved comes back the same. ``make parity`` asks transformers."""
import json
import random

import pytest
from tokenizer_samples import STORY, random_text

from tokenizer import ByteLevelBPE, WordPiece, load_tokenizer
from tokenizer.formats.tokenizer_json_write import post_processor, tokenizer_json
from tokenizer.pretokenize import byte_characters

ODD = [" x y ", "a\tb", "é\u0301", 'q"\\', "[CLS]", "</s>", "<unk>", "ab", "#", "##b", "日本", "  ", "😀\u200d", "A", "bpe", "#version: 0.2",
       "\u0301", "Ġa", "null", "İ", "</s> </s>", "$A"]


def random_tokenizer(rng, odd=ODD):
    """Any kind, with special tokens that look for trouble: often tiny, often without merges, sometimes without roles."""
    specials = rng.sample(odd, rng.randint(0, 5))
    roles = {role: rng.choice(specials) for role in ("cls", "sep", "mask", "pad") if specials and rng.random() < 0.7}
    if rng.random() < 0.5:
        merges = [("a", "b"), ("Ġ", "a"), ("ab", "ab"), ("Ã", "©"), ("Ġ", "Ġ"), ("#", "#")][:rng.randint(0, 6)]
        tokens = list(dict.fromkeys([*byte_characters(), *(left + right for left, right in merges)]))
        tokens = [*(token for token in specials if token not in tokens), *tokens]
        return ByteLevelBPE(tokens, merges, specials, rng.random() < 0.5, rng.choice([None, 128]), roles)
    pieces = rng.sample(["a", "b", "##a", "##b", "ab", "##ab", "é", "e", "日", "##", "1", "x", "##y", "A"], rng.randint(0, 14))
    specials = list(dict.fromkeys(["[UNK]", *specials]))
    return WordPiece(list(dict.fromkeys([*specials, *pieces])), specials, rng.random() < 0.5, rng.choice([None, True, False]),
                     rng.random() < 0.5, rng.choice([1, 3, 100]), None, roles)


def everything(tokenizer, texts):
    """All ids that a tokenizer gives for these texts, or that it cannot: it may lack the tokens that a template wants."""
    result = [tokenizer.fingerprint, tokenizer.special_tokens, tokenizer.model_max_length]
    for text in texts:
        result += [tokenizer.encode(text, add_special_tokens=False), tokenizer.encode_ids(text)]
        result.append(tokenizer.decode(result[-2].ids, skip_special_tokens=False))
        for pair in (None, texts[0]):
            try:
                result.append(tokenizer.encode(text, pair))
            except ValueError as error:
                result.append(str(error))
    return result


def test_any_tokenizer_comes_back_the_same_from_all_its_files_and_from_either_half(tmp_path, monkeypatch):
    monkeypatch.setattr("tokenizer.utils.files.sync", lambda path: None)  # to wait for the disk is not what is tested
    rng = random.Random(0)
    for number in range(150):
        tok, folder = random_tokenizer(rng), tmp_path / str(number)
        tok.save(folder)
        texts = ["ab " + "".join(rng.choices([*ODD, "a", "b", " ", "é"], k=rng.randint(0, 8))) for _ in range(5)] + [random_text(rng), ""]
        expected = everything(tok, texts)
        assert everything(load_tokenizer(folder), texts) == expected
        for half in (["tokenizer.json"], ["vocab.json", "merges.txt", "vocab.txt", "tokens.tsv"]):
            kept = {name: (folder / name).read_bytes() for name in half if (folder / name).exists()}
            for name in kept:
                (folder / name).unlink()
            assert everything(load_tokenizer(folder), texts) == expected
            for name, content in kept.items():
                (folder / name).write_bytes(content)


def test_a_special_token_that_vocab_txt_cannot_hold_is_refused_before_anything_is_written(tmp_path):
    for token in ("a\nb", "a\r"):
        tok = WordPiece(["[UNK]", token], ["[UNK]", token])
        with pytest.raises(ValueError, match="which vocab.txt cannot store"):
            tok.save(tmp_path / "tok")
        assert not (tmp_path / "tok").exists()
    tok = ByteLevelBPE(["a\nb", *byte_characters()], [], ["a\nb"])
    tok.save(tmp_path / "bpe")
    assert load_tokenizer(tmp_path / "bpe").encode("xa\nb", add_special_tokens=False).tokens == ["x", "a\nb"]


def test_the_stations_of_tokenizer_json():
    """Compare the list in ``ecosystem.py``; the ids, flags and templates are the tokenizer's own."""
    document = tokenizer_json(ByteLevelBPE.train_from_iterator(["ab ab é"], 263, 1, show_progress=False))
    assert list(document) == ["version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder",
                              "model"]
    assert document["added_tokens"][4] == {"id": 4, "content": "<mask>", "special": True, "lstrip": True, "normalized": False,
                                           "single_word": False, "rstrip": False}
    assert [token["lstrip"] for token in document["added_tokens"]] == [False, False, False, False, True]
    assert document["normalizer"] is None and document["pre_tokenizer"]["type"] == "ByteLevel"
    assert document["model"]["merges"] == ["a b", "Ã ©"] and document["model"]["vocab"]["Ã©"] == 262
    types = [(piece.popitem()[1].values()) for piece in document["post_processor"]["pair"]]
    assert [list(values) for values in types] == [["<s>", 0], ["A", 0], ["</s>", 0], ["</s>", 0], ["B", 0], ["</s>", 0]]


def test_settings_of_wordpiece_stand_in_tokenizer_json():
    tok = WordPiece(["[UNK]", "a"], ["[UNK]"], lowercase=False, strip_accents=True, tokenize_chinese_chars=False, max_input_chars_per_word=7)
    document = tokenizer_json(tok)
    assert document["normalizer"] == {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": False, "strip_accents": True,
                                      "lowercase": False}
    assert document["model"]["max_input_chars_per_word"] == 7 and document["model"]["unk_token"] == "[UNK]"
    assert post_processor(tok) is None  # there is no [CLS] and no [SEP]


def test_auto_tokenizer_is_told_what_it_needs(tmp_path):
    WordPiece.train_from_iterator([STORY], 300, show_progress=False).save(tmp_path / "wordpiece")
    ByteLevelBPE.train_from_iterator([STORY], 300, show_progress=False).save(tmp_path / "bpe")
    configs = [json.loads((tmp_path / name / "tokenizer_config.json").read_text()) for name in ("wordpiece", "bpe")]
    assert [config["tokenizer_class"] for config in configs] == ["PreTrainedTokenizerFast"] * 2
    assert [config["model_input_names"] for config in configs] == [["input_ids", "token_type_ids", "attention_mask"],
                                                                   ["input_ids", "attention_mask"]]


# tokens.tsv

def rows(folder):
    return [line.split("\t") for line in (folder / "tokens.tsv").read_text(encoding="utf-8").removesuffix("\n").split("\n")]


def test_tokens_tsv_names_parents_and_counts(tmp_path):
    """Worked by hand: 'ab' stands three times; then 'abab' (once) could be merged, but once is too rare."""
    tok = ByteLevelBPE.train_from_iterator(["ab abab"], 263, 2, show_progress=False)
    tok.save(tmp_path)
    table = rows(tmp_path)
    assert table[0] == ["id", "token", "rank", "left parent", "right parent", "count"]
    assert table[1] == ["0", "<s>", "", "", "", ""] and len(table) == 1 + tok.vocab_size
    assert table[-1] == ["261", "ab", "0", "a", "b", "3"]
    WordPiece.train_from_iterator(["abc abc"], 20, 2, show_progress=False).save(tmp_path)
    assert rows(tmp_path)[-2:] == [["10", "ab", "0", "a", "##b", "2"], ["11", "abc", "1", "ab", "##c", "2"]]


def test_a_loaded_tokenizer_hands_its_table_on_and_never_one_of_another_vocabulary(tmp_path):
    for number, kind in enumerate((ByteLevelBPE, WordPiece)):
        old, new = tmp_path / f"old{number}", tmp_path / f"new{number}"
        kind.train_from_iterator([STORY], 400, show_progress=False).save(old)
        loaded = load_tokenizer(old)
        loaded.save(new)
        assert (new / "tokens.tsv").read_bytes() == (old / "tokens.tsv").read_bytes()
        loaded.save(old)  # into the folder that it came from
        assert (new / "tokens.tsv").read_bytes() == (old / "tokens.tsv").read_bytes()
        kind.train_from_iterator([STORY[:200]], 300, show_progress=False).save(old)
        loaded.save(new)
        if kind is WordPiece:  # nothing is known that vocab.txt does not say
            assert not (new / "tokens.tsv").exists()
        else:  # parents and ranks stand in merges.txt; counts stand nowhere any more
            assert rows(new)[-1][2:] == [str(len(loaded.merges) - 1), *loaded.merges[-1], ""]


def test_a_token_that_two_merges_make_has_two_lines_and_a_tab_does_not_break_the_table(tmp_path):
    tok = ByteLevelBPE(["x\ty", *byte_characters(), "ab", "bc", "abc"], [("a", "b"), ("b", "c"), ("ab", "c"), ("a", "bc")], ["x\ty"])
    tok.save(tmp_path / "one")
    assert rows(tmp_path / "one")[1] == ["0", r"x\ty", "", "", "", ""]
    assert rows(tmp_path / "one")[-2:] == [["259", "abc", "2", "ab", "c", ""], ["259", "abc", "3", "a", "bc", ""]]
    table = (tmp_path / "one" / "tokens.tsv").read_text(encoding="utf-8")
    (tmp_path / "one" / "tokens.tsv").write_text(table.replace("bc\t\n", "bc\t7\n"), encoding="utf-8")
    load_tokenizer(tmp_path / "one").save(tmp_path / "two")
    assert rows(tmp_path / "two")[-1] == ["259", "abc", "3", "a", "bc", "7"]
