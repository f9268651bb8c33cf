"""Folders of other programs: what is read, and which files are refused."""
import json

import pytest
from format_helpers import (
    PUBLISHED,
    bpe,
    change_json,
    only_tokenizer_json,
    put,
    read,
    replace,
    wordpiece,
)

from tokenizer import ByteLevelBPE, WordPiece, load_tokenizer

# Supported features


@pytest.mark.parametrize("name", ["modernbert", "gpt2", "bert-with-terms"])
def test_published_layouts_give_the_ids_of_transformers(name, tmp_path):
    """make_published.py wrote these folders; ``make parity`` has more layouts and texts."""
    published = load_tokenizer(PUBLISHED / name)
    published.save(tmp_path)
    again = load_tokenizer(tmp_path)
    assert again.fingerprint == published.fingerprint
    assert again.added_tokens == published.added_tokens
    for tok in (published, again):
        for text, ids, pair_ids in read(PUBLISHED / name / "ids.json"):
            assert tok.encode(text).ids == ids, text
            assert tok.encode(text, "the cat").ids == pair_ids, text
            plain = tok.encode(text, add_special_tokens=False, split_special_tokens=True)
            assert tok.encode_ids(text) == plain.ids


def test_parts_of_a_published_tokenizer():
    tok = load_tokenizer(PUBLISHED / "modernbert")
    assert (tok.cls_token, tok.mask_token, tok.model_max_length) == ("[CLS]", "[MASK]", 8192)
    assert tok.encode("a  b", "c").tokens == ["[CLS]", "a", "  ", "b", "[SEP]", "c", "[SEP]"]
    assert tok.encode("a", "c").type_ids == [0, 0, 0, 1, 1]
    assert tok.num_special_tokens_to_add(pair=True) == 3
    tok = load_tokenizer(PUBLISHED / "gpt2")
    assert tok.special_tokens == ("<|endoftext|>",)
    assert tok.num_special_tokens_to_add() == 0
    with pytest.raises(ValueError, match="has no pad, mask token"):
        tok.require("pad", "mask")


def test_both_spellings_of_merges_are_read(tmp_path):
    path = only_tokenizer_json(bpe(), tmp_path)
    merges = [merge.split(" ") for merge in read(path)["model"]["merges"]]
    change_json(path, put(merges, "model", "merges"))
    assert load_tokenizer(tmp_path).fingerprint == bpe().fingerprint


def test_old_files_do_not_name_the_type_of_their_model(tmp_path):
    for tok in (bpe(), wordpiece()):
        path = only_tokenizer_json(tok, tmp_path / tok.kind)
        change_json(path, lambda document: document["model"].pop("type"))
        assert load_tokenizer(path.parent).fingerprint == tok.fingerprint
    change_json(path, put({"vocab": [["a", -1.5]], "unk_id": 0}, "model"))
    with pytest.raises(ValueError, match="model.type is 'Unigram', which is not supported"):
        load_tokenizer(path.parent)


def test_an_unknown_token_may_have_any_name(tmp_path):
    only_tokenizer_json(WordPiece(["<oov>", "a"], ["<oov>"], roles={"unk": "<oov>"}), tmp_path)
    encoding = load_tokenizer(tmp_path).encode("a x", add_special_tokens=False)
    assert encoding.tokens == ["a", "<oov>"]


BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True}
BERT = {"type": "BertProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0]}
ROBERTA = {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0],
           "trim_offsets": True, "add_prefix_space": False}
BERT_PAIR = (["<s>", "a", "</s>", "b", "</s>"], [0, 0, 0, 1, 1])


@pytest.mark.parametrize("post_processor, tokens, type_ids", [
    (ROBERTA, ["<s>", "a", "</s>", "</s>", "b", "</s>"], [0, 0, 0, 0, 0, 0]),
    (BERT, *BERT_PAIR),
    ({"type": "Sequence", "processors": [BYTE_LEVEL, BERT]}, *BERT_PAIR),
    (BYTE_LEVEL, ["a", "b"], [0, 1]),
    (None, ["a", "b"], [0, 1])])
def test_all_spellings_of_templates_are_read(tmp_path, post_processor, tokens, type_ids):
    path = only_tokenizer_json(bpe(), tmp_path)
    change_json(path, put(post_processor, "post_processor"))
    tok = load_tokenizer(tmp_path)
    assert tok.encode("a", "b").tokens == tokens
    assert tok.encode("a", "b").type_ids == type_ids
    is_default = post_processor == ROBERTA
    assert (tok.fingerprint == bpe().fingerprint) == is_default  # templates decide ids, too


def test_offsets_without_the_space_before_a_word_by_hand(tmp_path):
    path = only_tokenizer_json(bpe(), tmp_path / "theirs")
    change_json(path, put(ROBERTA, "post_processor"))
    theirs = load_tokenizer(path.parent)
    theirs.save(tmp_path / "ours")
    ours = load_tokenizer(tmp_path / "ours")
    (tmp_path / "ours/tokenizer.json").unlink()
    for tok in (theirs, ours, load_tokenizer(tmp_path / "ours")):
        assert tok.trim_offsets
        assert tok.fingerprint == bpe().fingerprint
        encoding = tok.encode(" a  b", "a b")
        assert encoding.tokens == ["<s>", "Ġa", "Ġ", "Ġb", "</s>", "</s>", "a", "Ġb", "</s>"]
        assert encoding.offsets == [(0, 0), (1, 2), (3, 3), (4, 5), (0, 0), (0, 0), (0, 1), (2, 3),
                                    (0, 0)]
        assert tok.encode("x <mask>").offsets[2] == (2, 8)  # the token includes the space
    assert bpe().encode(" a  b").offsets == [(0, 0), (0, 2), (2, 3), (3, 5), (0, 0)]
    assert not load_tokenizer(PUBLISHED / "gpt2").trim_offsets


def test_a_space_that_was_added_has_no_offset():
    tok = ByteLevelBPE(bpe().get_vocab(), bpe().merges, add_prefix_space=True, trim_offsets=True)
    assert tok.encode("a b").tokens == ["<s>", "Ġa", "Ġb", "</s>"]
    assert tok.encode("a b").offsets == [(0, 0), (0, 1), (2, 3), (0, 0)]


def test_words_are_split_into_an_added_token_only_if_the_vocabulary_has_it(tmp_path):
    """cat is in the vocabulary and was added. dog was only added."""
    tokens = ["[UNK]", "the", "cat", "##s", "d", "##o", "##g", "dog", "[CLS]", "[SEP]"]
    path = only_tokenizer_json(WordPiece(tokens, ["[UNK]", "[CLS]", "[SEP]"]), tmp_path)

    def add(document):
        flags = dict.fromkeys(["special", "single_word", "lstrip", "rstrip", "normalized"], False)
        del document["model"]["vocab"]["dog"]
        document["added_tokens"] += [{"id": 2, "content": "cat", **flags},
                                     {"id": 7, "content": "dog", **flags}]
    change_json(path, add)
    theirs = load_tokenizer(tmp_path)
    theirs.save(tmp_path / "saved")
    assert "dog" not in read(tmp_path / "saved/tokenizer.json")["model"]["vocab"]
    for tok in (theirs, load_tokenizer(tmp_path / "saved")):
        cats = tok.encode("The Cats CAT cat", add_special_tokens=False)
        assert cats.tokens == ["the", "cat", "##s", "cat", "cat"]
        dogs = tok.encode("dog DOG Dogs", add_special_tokens=False)
        assert dogs.tokens == ["dog", "d", "##o", "##g", "d", "##o", "##g", "##s"]
        assert tok.fingerprint == theirs.fingerprint
        assert tok.id_to_token(7) == "dog"


def test_a_line_end_may_be_an_added_token_of_a_wordpiece(tmp_path):
    path = only_tokenizer_json(wordpiece(), tmp_path)
    size = wordpiece().vocab_size
    change_json(path, lambda document: document["added_tokens"].append(
        {"id": size, "content": "\n", "special": False, "lstrip": False, "normalized": False}))
    theirs = load_tokenizer(tmp_path)
    theirs.save(tmp_path / "saved")
    saved = load_tokenizer(tmp_path / "saved")
    assert saved.fingerprint == theirs.fingerprint != wordpiece().fingerprint
    for tok in (theirs, saved):
        assert tok.encode("the\ncat").tokens == ["[CLS]", "the", "\n", "cat", "[SEP]"]


def test_roles_come_from_the_template_and_the_configuration(tmp_path):
    tok = bpe(special_tokens=("<start>", "<end>", "<gap>", "<|pad|>"))
    tok.cls_token = "<start>"
    tok.sep_token = "<end>"
    only_tokenizer_json(tok, tmp_path)
    named = {"mask_token": {"content": "<gap>", "lstrip": True}, "pad_token": "<|pad|>"}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(named))
    loaded = load_tokenizer(tmp_path)
    assert loaded.encode("a").tokens == ["<start>", "a", "<end>"]
    assert (loaded.mask_token, loaded.pad_token) == ("<gap>", "<|pad|>")
    (tmp_path / "tokenizer_config.json").write_text('{"mask_token": null}')
    assert load_tokenizer(tmp_path).mask_token == "<gap>"
    (tmp_path / "tokenizer_config.json").write_text('{"sep_token": "<gap>"}')
    with pytest.raises(ValueError, match="uses '<end>' as the sep token, but .* has '<gap>'"):
        load_tokenizer(tmp_path)


def test_a_token_that_only_the_configuration_names_is_special(tmp_path):
    only_tokenizer_json(wordpiece(), tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({
        "extra_special_tokens": ["cat"], "eos_token": "the", "bos_token": "none such",
        "add_bos_token": False}))
    loaded = load_tokenizer(tmp_path)
    assert set(loaded.special_tokens) == {*wordpiece().special_tokens, "cat", "the"}
    assert "cat" in loaded.encode("concatenates", add_special_tokens=False).tokens


def test_the_mask_token_takes_the_space_only_if_the_file_says_so(tmp_path):
    path = only_tokenizer_json(bpe(), tmp_path)
    tokens = load_tokenizer(tmp_path).encode("x <mask>").tokens
    assert tokens == ["<s>", "x", "<mask>", "</s>"]
    change_json(path, put(False, "added_tokens", 4, "lstrip"))
    loaded = load_tokenizer(tmp_path)
    assert loaded.encode("x <mask>").tokens == ["<s>", "x", "Ġ", "<mask>", "</s>"]
    assert loaded.fingerprint != bpe().fingerprint


def added_tokens_json(ids):
    return {"added_tokens.json": ids,
            "special_tokens_map.json": {"additional_special_tokens": ["<ent>"]}}


def added_tokens_decoder(ids):
    entries = {}
    for token, token_id in ids.items():
        is_special = token == "<ent>"
        entries[token_id] = {"content": token, "lstrip": False, "normalized": not is_special,
                             "special": is_special}
    return {"tokenizer_config.json": {"added_tokens_decoder": entries}}


@pytest.mark.parametrize("files_of", [added_tokens_json, added_tokens_decoder])
def test_tokens_added_to_the_older_files_are_read(tmp_path, files_of):
    tok = wordpiece()
    size = tok.vocab_size
    vocabulary = "\n".join(tok.get_vocab()) + "\n"
    (tmp_path / "vocab.txt").write_text(vocabulary, encoding="utf-8")
    for name, document in files_of({"donkeys": size, "<ent>": size + 1}).items():
        (tmp_path / name).write_text(json.dumps(document))
    loaded = load_tokenizer(tmp_path)
    ids = loaded.encode("x DONKEYS<ent>[MASK]").ids
    assert ids[2:5] == [size, size + 1, tok.mask_token_id]
    assert "<ent>" in loaded.special_tokens
    assert "donkeys" not in loaded.special_tokens
    for name, document in files_of({"donkeys": size, "<ent>": size + 2}).items():
        (tmp_path / name).write_text(json.dumps(document))
    with pytest.raises(ValueError, match="has ids of more than the .* tokens"):
        load_tokenizer(tmp_path)


def test_gpt2_without_tokenizer_json_adds_nothing_either(tmp_path):
    bpe(special_tokens=("<|endoftext|>",)).save(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    config = {"tokenizer_class": "GPT2Tokenizer", "bos_token": "<|endoftext|>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    tokens = load_tokenizer(tmp_path).encode("a<|endoftext|>", "b").tokens
    assert tokens == ["a", "<|endoftext|>", "b"]


# Unsupported features and damaged files

TWO_PROCESSORS = {"type": "Sequence", "processors": [{"type": "A"}, {"type": "B"}]}


@pytest.mark.parametrize("make, change, message", [
    (bpe, put("Unigram", "model", "type"), "model.type is 'Unigram'"),
    (bpe, put(True, "model", "byte_fallback"), "model.byte_fallback is True"),
    (bpe, put(0.1, "model", "dropout"), "model.dropout is 0.1"),
    (bpe, put({"type": "NFKC"}, "normalizer"), "normalizer is .*'NFKC'"),
    (bpe, put({"type": "Metaspace"}, "pre_tokenizer"), "pre_tokenizer is {'type': 'Metaspace'}"),
    (bpe, put(None, "pre_tokenizer"), "pre_tokenizer is None"),
    (bpe, put(False, "pre_tokenizer", "use_regex"), "pre_tokenizer.use_regex is False"),
    (bpe, put({"type": "Other"}, "post_processor"), "post_processor is 'Other'"),
    (bpe, put(TWO_PROCESSORS, "post_processor"), r"post_processor is \['A', 'B'\]"),
    (bpe, put(True, "added_tokens", 3, "rstrip"), "rstrip of the added token '<unk>'"),
    (bpe, put(True, "added_tokens", 3, "single_word"), "single_word of the added token '<unk>'"),
    (wordpiece, put("@@", "model", "continuing_subword_prefix"), "model.continuing_subword"),
    (wordpiece, put(None, "normalizer"), "normalizer is None"),
    (wordpiece, put({"type": "Lowercase"}, "normalizer"), "normalizer is .*'Lowercase'"),
    (wordpiece, put(False, "normalizer", "clean_text"), "normalizer.clean_text is False"),
    (wordpiece, put({"type": "Whitespace"}, "pre_tokenizer"), "pre_tokenizer is .*'Whitespace'"),
])
def test_an_unsupported_feature_is_refused_by_name(tmp_path, make, change, message):
    path = only_tokenizer_json(make(), tmp_path)
    change_json(path, change)
    with pytest.raises(ValueError, match=f"^{path}: {message}.* is not supported"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("key", ["additional_special_tokens", "extra_special_tokens"])
def test_special_tokens_in_one_string_are_refused(tmp_path, key):
    """Each of its letters would be a special token."""
    path = only_tokenizer_json(bpe(), tmp_path)
    (path.parent / "tokenizer_config.json").write_text(json.dumps({key: "abc"}))
    with pytest.raises(ValueError, match=f"tokenizer_config.json: {key} is 'abc', .* not a list"):
        load_tokenizer(tmp_path)


def test_a_file_that_was_not_fetched_is_not_called_damaged(tmp_path):
    path = only_tokenizer_json(bpe(), tmp_path)
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(ValueError, match=f"^{path}: is a Git LFS pointer.*in its repository$"):
        load_tokenizer(tmp_path)


IDS = '"ids": [\n          2'


@pytest.mark.parametrize("make, change, message", [
    (bpe, lambda text: text[:1000], "is not valid JSON"),
    (bpe, replace('"!": 5', '"!": 4'), "'!' has the id 4, but the ids must be .*, each once"),
    (bpe, replace('"!": 5', '"!": 5000000'), "'!' has the id 5000000, but"),
    (bpe, replace('"#": 7', '"!": 7'), "lacks 1 of the 256 bytes .*'#'"),
    (bpe, replace('"h e"', '"h qqq"'), "merge .*'h', 'qqq'.* needs 'qqq', which is not a token"),
    (bpe, replace('"h e"', '"h a"'), "merge .*'h', 'a'.* occurs twice"),
    (bpe, replace('"h e"', '["h", "e", 1]'), "is not a pair of tokens"),
    (bpe, replace('"h e"', "7"), "has a value of the wrong type"),
    (bpe, replace('"id": 3,', '"id": 2,'), "gives '<unk>' the id 2 in added_tokens, but 3 in"),
    (bpe, replace('"content": "<unk>",', ""), "lacks a key .*'content'"),
    (bpe, replace(IDS, IDS[:-1] + "7"), r"has the ids \[7\] for '</s>' in post_processor"),
    (bpe, replace(IDS, IDS + ", 2"), r"has the ids \[2, 2\] for '</s>'"),
    (wordpiece, replace('"unk_token": "[UNK]"', '"unk_token": "<unk>"'), "the unk_token '<unk>'"),
    (bpe, replace('space": false', 'space": "false"'), "add_prefix_space is 'false': it must be"),
    (bpe, replace('"special": true', '"special": 1'), "special is 1: it must be true or false"),
    (wordpiece, replace('"lowercase": true', '"lowercase": null'), "lowercase is None"),
    (wordpiece, replace('"strip_accents": null', '"strip_accents": 0'), "strip_accents is 0"),
    (wordpiece, replace('per_word": 100', 'per_word": "100"'), "'str' object cannot be"),
    (wordpiece, replace('per_word": 100', 'per_word": -1'), "max_input_chars_per_word=-1 is too"),
    (wordpiece, replace('per_word": 100', 'per_word": null'), "chars_per_word is missing"),
])
def test_a_damaged_tokenizer_json_is_refused(tmp_path, make, change, message):
    path = only_tokenizer_json(make(), tmp_path)
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(ValueError, match=f"^{path}: .*{message}"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("change, message", [
    (put({"Text": {"id": "A", "type_id": 0}}, "post_processor", "single", 1), "must have A once"),
    (put("B", "post_processor", "single", 1, "Sequence", "id"), "must have A once"),
    (put([], "post_processor", "pair"), "must have A and B once"),
    (put("<x>", "post_processor", "single", 0, "SpecialToken", "id"), "not in special_tokens"),
])
def test_a_template_that_does_not_fit_is_refused(tmp_path, change, message):
    path = only_tokenizer_json(bpe(), tmp_path)
    change_json(path, change)
    with pytest.raises(ValueError, match=f"^{path}: .*{message}"):
        load_tokenizer(tmp_path)


# Files that disagree

def without_last_line(text):
    return text[:text.rindex("\n", 0, -1) + 1]


@pytest.mark.parametrize("make, name, change, message", [
    (bpe, "vocab.json", replace('"!":5,"\\"":6', '"\\"":5,"!":6'), "vocab.json disagree"),
    (bpe, "vocab.json", lambda text: text[:text.rindex(",")] + "}", "vocab.json disagree"),
    (bpe, "merges.txt", replace("\nh e\n", "\ne h\n"), "merges.txt: merge .* needs 'eh'"),
    (bpe, "merges.txt", replace("\nh e\n", "\n"), "merges.txt disagree"),
    (wordpiece, "vocab.txt", replace("[UNK]\n[CLS]\n", "[CLS]\n[UNK]\n"), "vocab.txt disagree"),
    (wordpiece, "vocab.txt", without_last_line, "vocab.txt disagree"),
    (bpe, "tokenizer_config.json", replace('space": false', 'space": true'),
     "disagree: add_prefix_space is False in the first, True in the second"),
    (wordpiece, "tokenizer_config.json", replace('case": true', 'case": false'), "do_lower_case"),
    (bpe, "tokenizer_config.json", replace('"fingerprint": "', '"fingerprint": "0'), "fingerprint"),
])
def test_files_that_disagree_are_refused(tmp_path, make, name, change, message):
    make().save(tmp_path)
    path = tmp_path / name
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(ValueError, match=message) as raised:
        load_tokenizer(tmp_path)
    assert str(tmp_path) in str(raised.value)


def test_older_files_may_lack_added_tokens(tmp_path):
    tok = load_tokenizer(PUBLISHED / "bert-with-terms")
    tok.save(tmp_path)
    vocabulary = "\n".join(list(tok.get_vocab())[:-2]) + "\n"
    (tmp_path / "vocab.txt").write_text(vocabulary, encoding="utf-8")
    assert load_tokenizer(tmp_path).fingerprint == tok.fingerprint
