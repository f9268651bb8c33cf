"""Folders that others wrote, and what is said about tokenizer.json when it is damaged, at odds with its neighbours, or of another kind."""
import json
from pathlib import Path

import pytest
from tokenizer_samples import STORY

from tokenizer import ByteLevelBPE, WordPiece, load_tokenizer

PUBLISHED = Path(__file__).parents[1] / "golden" / "published"


def bpe(**options):
    return ByteLevelBPE.train_from_iterator([STORY], 400, show_progress=False, **options)


def wordpiece(**options):
    return WordPiece.train_from_iterator([STORY], 300, show_progress=False, **options)


def change_json(path, change):
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    path.write_text(json.dumps(document, ensure_ascii=False, indent=2), encoding="utf-8")


def only_tokenizer_json(tok, folder):
    """A folder with that file alone, as published models often have it. -> its path"""
    tok.save(folder)
    for path in folder.iterdir():
        if path.name != "tokenizer.json":
            path.unlink()
    return folder / "tokenizer.json"


# What can be read

@pytest.mark.parametrize("name", ["modernbert", "gpt2", "bert-with-terms"])
def test_folders_in_the_layouts_of_published_models_give_the_ids_of_transformers(name):
    """``make_published.py`` made them and asked transformers; `make parity` asks again, for more layouts and texts."""
    tok = load_tokenizer(PUBLISHED / name)
    for text, ids, pair_ids in json.loads((PUBLISHED / name / "ids.json").read_text()):
        assert tok.encode(text).ids == ids, text
        assert tok.encode(text, "the cat").ids == pair_ids, text
        assert tok.encode_ids(text) == tok.encode(text, add_special_tokens=False, split_special_tokens=True).ids


def test_a_published_tokenizer_that_is_saved_here_comes_back_the_same(tmp_path):
    for name in ("modernbert", "gpt2", "bert-with-terms"):
        tok = load_tokenizer(PUBLISHED / name)
        tok.save(tmp_path / name)
        again = load_tokenizer(tmp_path / name)
        assert again.fingerprint == tok.fingerprint and again.added_tokens == tok.added_tokens
        for text, ids, pair_ids in json.loads((PUBLISHED / name / "ids.json").read_text()):
            assert again.encode(text).ids == ids and again.encode(text, "the cat").ids == pair_ids


def test_parts_of_a_published_tokenizer():
    tok = load_tokenizer(PUBLISHED / "modernbert")
    assert (tok.cls_token, tok.mask_token, tok.model_max_length) == ("[CLS]", "[MASK]", 8192)
    assert tok.encode("a  b", "c").tokens == ["[CLS]", "a", "  ", "b", "[SEP]", "c", "[SEP]"]
    assert tok.encode("a", "c").type_ids == [0, 0, 0, 1, 1] and tok.num_special_tokens_to_add(pair=True) == 3
    tok = load_tokenizer(PUBLISHED / "gpt2")
    assert tok.special_tokens == ("<|endoftext|>",) and tok.num_special_tokens_to_add() == 0
    with pytest.raises(ValueError, match="has no pad, mask token"):
        tok.require("pad", "mask")


def test_both_spellings_of_merges_are_read(tmp_path):
    path = only_tokenizer_json(bpe(), tmp_path)
    change_json(path, lambda d: d["model"].update(merges=[merge.split(" ") for merge in d["model"]["merges"]]))
    assert load_tokenizer(tmp_path).fingerprint == bpe().fingerprint


def test_files_of_old_do_not_say_of_what_type_their_model_is(tmp_path):
    for tok in (bpe(), wordpiece()):
        path = only_tokenizer_json(tok, tmp_path / tok.kind)
        change_json(path, lambda d: d["model"].pop("type"))
        assert load_tokenizer(path.parent).fingerprint == tok.fingerprint
    change_json(path, lambda d: d.update(model={"vocab": [["a", -1.5]], "unk_id": 0}))
    with pytest.raises(ValueError, match="model.type is 'Unigram', which is not supported"):
        load_tokenizer(path.parent)


def test_an_unknown_token_by_any_name(tmp_path):
    tok = WordPiece(["<oov>", "a"], ["<oov>"], roles={"unk": "<oov>"})
    only_tokenizer_json(tok, tmp_path)
    assert load_tokenizer(tmp_path).encode("a x", add_special_tokens=False).tokens == ["a", "<oov>"]


@pytest.mark.parametrize("post, tokens, types", [
    ({"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0], "trim_offsets": True, "add_prefix_space": False},
     ["<s>", "a", "</s>", "</s>", "b", "</s>"], [0, 0, 0, 0, 0, 0]),
    ({"type": "BertProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0]}, ["<s>", "a", "</s>", "b", "</s>"], [0, 0, 0, 1, 1]),
    ({"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}, ["a", "b"], [0, 1]),
    ({"type": "Sequence", "processors": [{"type": "ByteLevel"}, {"type": "BertProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0]}]},
     ["<s>", "a", "</s>", "b", "</s>"], [0, 0, 0, 1, 1]),
    (None, ["a", "b"], [0, 1])])
def test_every_way_to_write_a_template_is_read(tmp_path, post, tokens, types):
    change_json(only_tokenizer_json(bpe(), tmp_path), lambda d: d.update(post_processor=post))
    tok = load_tokenizer(tmp_path)
    assert tok.encode("a", "b").tokens == tokens and tok.encode("a", "b").type_ids == types
    assert (tok.fingerprint == bpe().fingerprint) == (tokens.count("</s>") == 3)  # the template decides ids, too


def test_offsets_without_the_space_before_a_word_worked_by_hand(tmp_path):
    """As the tokenizers library has it: a space that was put before a text is not there to be left out."""
    roberta = {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0], "trim_offsets": True, "add_prefix_space": False}
    path = only_tokenizer_json(bpe(), tmp_path / "theirs")
    change_json(path, lambda d: d.update(post_processor=roberta))
    loaded = load_tokenizer(path.parent)
    loaded.save(tmp_path / "ours")
    for tok in (loaded, load_tokenizer(tmp_path / "ours")):
        assert tok.trim_offsets and tok.fingerprint == bpe().fingerprint
        assert tok.encode(" a  b", "a b").tokens == ["<s>", "Ġa", "Ġ", "Ġb", "</s>", "</s>", "a", "Ġb", "</s>"]
        assert tok.encode(" a  b", "a b").offsets == [(0, 0), (1, 2), (3, 3), (4, 5), (0, 0), (0, 0), (0, 1), (2, 3), (0, 0)]
        assert tok.encode("x <mask>").offsets[2] == (2, 8)  # the space belongs to the token, but not to its offsets
    assert bpe().encode(" a  b").offsets == [(0, 0), (0, 2), (2, 3), (3, 5), (0, 0)]
    spaced = ByteLevelBPE(bpe().get_vocab(), bpe().merges, add_prefix_space=True, trim_offsets=True)
    assert spaced.encode("a b").tokens == ["<s>", "Ġa", "Ġb", "</s>"] and spaced.encode("a b").offsets == [(0, 0), (0, 1), (2, 3), (0, 0)]
    for name in ("tokenizer.json",):
        (tmp_path / "ours" / name).unlink()
    assert load_tokenizer(tmp_path / "ours").trim_offsets and not load_tokenizer(PUBLISHED / "gpt2").trim_offsets


def test_an_added_token_is_a_piece_of_words_if_the_vocabulary_has_it_and_else_not(tmp_path):
    """'cat' is in the vocabulary and was added: words are spelled with it. 'dog' was only added: it is found, but no word is spelled with it."""
    tokens = ["[UNK]", "the", "cat", "##s", "d", "##o", "##g", "dog", "[CLS]", "[SEP]"]
    path = only_tokenizer_json(WordPiece(tokens, ["[UNK]", "[CLS]", "[SEP]"]), tmp_path)

    def add(document):
        flags = {"special": False, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
        del document["model"]["vocab"]["dog"]
        document["added_tokens"] += [{"id": 2, "content": "cat", **flags}, {"id": 7, "content": "dog", **flags}]
    change_json(path, add)
    theirs = load_tokenizer(tmp_path)
    theirs.save(tmp_path / "saved")
    for tok in (theirs, load_tokenizer(tmp_path / "saved")):
        assert tok.encode("The Cats CAT cat", add_special_tokens=False).tokens == ["the", "cat", "##s", "cat", "cat"]
        assert tok.encode("dog DOG Dogs", add_special_tokens=False).tokens == ["dog", "d", "##o", "##g", "d", "##o", "##g", "##s"]
        assert tok.fingerprint == theirs.fingerprint and tok.id_to_token(7) == "dog"
    assert "dog" not in json.loads((tmp_path / "saved" / "tokenizer.json").read_text())["model"]["vocab"]


def test_the_roles_of_unusual_tokens_come_from_the_template_and_the_configuration(tmp_path):
    tok = bpe(special_tokens=("<start>", "<end>", "<gap>", "<|pad|>"))
    tok.cls_token, tok.sep_token = "<start>", "<end>"
    only_tokenizer_json(tok, tmp_path)
    (tmp_path / "special_tokens_map.json").write_text('{"mask_token": {"content": "<gap>", "lstrip": true}, "pad_token": "<|pad|>"}')
    loaded = load_tokenizer(tmp_path)
    assert loaded.encode("a").tokens == ["<start>", "a", "<end>"] and (loaded.mask_token, loaded.pad_token) == ("<gap>", "<|pad|>")
    (tmp_path / "tokenizer_config.json").write_text('{"mask_token": null}')
    assert load_tokenizer(tmp_path).mask_token == "<gap>"
    (tmp_path / "tokenizer_config.json").write_text('{"sep_token": "<gap>"}')
    with pytest.raises(ValueError, match="uses '<end>' as the sep token, but .* has '<gap>'"):
        load_tokenizer(tmp_path)


def test_a_special_token_that_only_the_configuration_names_is_special(tmp_path):
    only_tokenizer_json(wordpiece(), tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"extra_special_tokens": ["cat"], "eos_token": "the", "bos_token": "none such", '
                                                     '"add_bos_token": false}')
    loaded = load_tokenizer(tmp_path)
    assert set(loaded.special_tokens) == {*wordpiece().special_tokens, "cat", "the"}
    assert loaded.encode("concatenates", add_special_tokens=False).tokens.count("cat") == 1


def test_the_mask_token_takes_the_space_only_if_the_file_says_so(tmp_path):
    path = only_tokenizer_json(bpe(), tmp_path)
    assert load_tokenizer(tmp_path).encode("x <mask>").tokens == ["<s>", "x", "<mask>", "</s>"]
    change_json(path, lambda d: d["added_tokens"][4].update(lstrip=False))
    assert load_tokenizer(tmp_path).encode("x <mask>").tokens == ["<s>", "x", "Ġ", "<mask>", "</s>"]
    assert load_tokenizer(tmp_path).fingerprint != bpe().fingerprint


@pytest.mark.parametrize("name, text", [
    ("added_tokens.json", '{"donkeys": %d, "<ent>": %d}'),
    ("tokenizer_config.json", '{"added_tokens_decoder": {"%d": {"content": "donkeys", "lstrip": false, "normalized": true, "special": false},'
                              ' "%d": {"content": "<ent>", "lstrip": false, "normalized": false, "special": true}}}')])
def test_tokens_added_to_the_older_files_are_read(tmp_path, name, text):
    tok = wordpiece()
    (tmp_path / "vocab.txt").write_text("\n".join(tok.get_vocab()) + "\n", encoding="utf-8")
    (tmp_path / name).write_text(text % (tok.vocab_size, tok.vocab_size + 1))
    if name == "added_tokens.json":
        (tmp_path / "special_tokens_map.json").write_text('{"additional_special_tokens": ["<ent>"]}')
    loaded = load_tokenizer(tmp_path)
    assert loaded.encode("x DONKEYS<ent>[MASK]").ids[2:5] == [tok.vocab_size, tok.vocab_size + 1, tok.mask_token_id]
    assert "<ent>" in loaded.special_tokens and "donkeys" not in loaded.special_tokens
    (tmp_path / name).write_text(text % (tok.vocab_size, tok.vocab_size + 2))
    with pytest.raises(ValueError, match=f"{name}: '<ent>' has the id .* must be 0 to"):
        load_tokenizer(tmp_path)


def test_gpt2_without_tokenizer_json_adds_nothing_either(tmp_path):
    bpe(special_tokens=("<|endoftext|>",)).save(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "GPT2Tokenizer", "bos_token": "<|endoftext|>"}')
    assert load_tokenizer(tmp_path).encode("a<|endoftext|>", "b").tokens == ["a", "<|endoftext|>", "b"]


# Unsupported features

def put(value, *keys):
    """Return a function that sets ``document[key][key]... = value``."""
    def change(document):
        for key in keys[:-1]:
            document = document[key]
        document[keys[-1]] = value
    return change


TWO_PROCESSORS = {"type": "Sequence", "processors": [{"type": "A"}, {"type": "B"}]}


@pytest.mark.parametrize("make, change, message", [
    (bpe, put("Unigram", "model", "type"), "model.type is 'Unigram'"),
    (bpe, put(True, "model", "byte_fallback"), "model.byte_fallback is True"),
    (bpe, put(True, "model", "ignore_merges"), "model.ignore_merges is True"),
    (bpe, put(0.1, "model", "dropout"), "model.dropout is 0.1"),
    (bpe, put("</w>", "model", "end_of_word_suffix"), "model.end_of_word_suffix is '</w>'"),
    (bpe, put("##", "model", "continuing_subword_prefix"), "model.continuing_subword_prefix is"),
    (bpe, put({"type": "NFKC"}, "normalizer"), "normalizer is 'NFKC'"),
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


# Damaged files

def replace(old, new):
    return lambda text: text.replace(old, new, 1)


IDS = '"ids": [\n          2'


@pytest.mark.parametrize("change, message", [
    (lambda text: text[:1000], "is not valid JSON"),
    (lambda text: "[]", "is not a JSON object"),
    (replace('"!": 5', '"!": 4'), "'!' has the id 4, but the ids must be 0 to 354, each once"),
    (replace('"!": 5', '"!": null'), "'!' has the id None"),
    (replace('"#": 7', '"!": 7'), "a key occurs twice"),
    (replace('"h e"', '"h qqq"'), "merge .*'h', 'qqq'.* needs 'qqq', which is not a token"),
    (replace('"h e"', '"h a"'), "merge .*'h', 'a'.* occurs twice"),
    (replace('"h e"', '"he"'), "merge .*'he'.* is not a pair of tokens"),
    (replace('"h e"', '["h", "e", 1]'), "is not a pair of tokens"),
    (replace('"h e"', "7"), "has a value of the wrong type"),
    (replace('"id": 3,', '"id": 2,'), "gives '<unk>' the id 2 in added_tokens, but 3 in model.vocab"),
    (replace('"content": "<unk>",', ""), "lacks the key 'content'"),
    (replace('"model": {', '"modle": {'), "lacks the key 'model'"),
    (replace(IDS, IDS[:-1] + "7"), r"has the ids \[7\] for '</s>' in post_processor"),
    (replace(IDS, IDS + ", 2"), r"has the ids \[2, 2\] for '</s>'"),
    (replace(IDS, IDS[:-1] + "355"), r"has the ids \[355\] for '</s>'"),  # one past the end
    (replace(IDS, IDS[:-1] + "-353"), r"ids\[0\] is -353"),
    (replace('"!": 5', '"!!": 5'), "lacks 1 of the 256 bytes .*'!'"),
])
def test_a_damaged_tokenizer_json_is_refused(tmp_path, change, message):
    path = only_tokenizer_json(bpe(), tmp_path)
    text = path.read_text(encoding="utf-8")
    assert change(text) != text
    path.write_text(change(text), encoding="utf-8")
    with pytest.raises(ValueError, match=f"^{path}: .*{message}"):
        load_tokenizer(tmp_path)


def test_an_unknown_token_that_is_not_in_the_vocabulary_is_refused(tmp_path):
    change_json(only_tokenizer_json(wordpiece(), tmp_path), put("<unk>", "model", "unk_token"))
    with pytest.raises(ValueError, match="has the unk_token '<unk>', which is not in the vocab"):
        load_tokenizer(tmp_path)


# Files that disagree

def without_last_line(text):
    return text[:text.rindex("\n", 0, -1) + 1]


@pytest.mark.parametrize("make, name, change, message", [
    (bpe, "vocab.json", replace('"!":5,"\\"":6', '"\\"":5,"!":6'), "vocab.json .* disagree on the id"),
    (bpe, "vocab.json", lambda text: text[:text.rindex(",")] + "}", "vocab.json .* disagree on the id"),
    (bpe, "merges.txt", replace("\nh e\n", "\ne h\n"), "merges.txt: merge .* needs 'eh'"),
    (bpe, "merges.txt", replace("\nh e\n", "\n"), "merges.txt .* disagree on the merges"),
    (bpe, "merges.txt", without_last_line, "merges.txt .* disagree on the merges"),
    (wordpiece, "vocab.txt", replace("[UNK]\n[CLS]\n", "[CLS]\n[UNK]\n"), r"the id of '\[CLS\]'"),
    (wordpiece, "vocab.txt", without_last_line, "vocab.txt .* disagree on the id"),
    (bpe, "tokenizer_config.json", replace('space": false', 'space": true'),
     "disagree: add_prefix_space is False in the first, True in the second"),
    (wordpiece, "tokenizer_config.json", replace('case": true', 'case": false'), "do_lower_case"),
    (bpe, "tokenizer_config.json", replace('"fingerprint": "', '"fingerprint": "0'), "fingerprint"),
])
def test_files_that_disagree_are_refused(tmp_path, make, name, change, message):
    make().save(tmp_path)
    text = (tmp_path / name).read_text(encoding="utf-8")
    assert change(text) != text
    (tmp_path / name).write_text(change(text), encoding="utf-8")
    with pytest.raises(ValueError, match=message) as raised:
        load_tokenizer(tmp_path)
    assert str(tmp_path) in str(raised.value)


def test_older_files_may_lack_added_tokens(tmp_path):
    """As in folders where a program added tokens and wrote tokenizer.json anew, or wrote the model's vocabulary without them."""
    tok = load_tokenizer(PUBLISHED / "bert-with-terms")
    tok.save(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(list(tok.get_vocab())[:-2]) + "\n", encoding="utf-8")
    assert load_tokenizer(tmp_path).fingerprint == tok.fingerprint
