"""Wrong values in a tokenizer's files: the result is a correct tokenizer or one clear error."""
import json
import random

import pytest
from test_tokenizer_json_read import bpe, only_tokenizer_json, wordpiece

from tokenizer import load_tokenizer
from tokenizer.formats.schema import FLAG, check_types, values_at


def test_values_at_by_hand():
    document = {"a": [{"b": 1}, {"c": 2}, 5], "d": {"x": {"b": 3}, "y": 4}}
    assert values_at(document, "a") == [("a", document["a"])]
    assert values_at(document, "a[].b") == [("a[0].b", 1)]
    assert values_at(document, "d.*") == [("d.x", {"b": 3}), ("d.y", 4)]
    assert values_at(document, "d.*.b") == [("d.x.b", 3)]
    assert values_at(document, "none.b") == values_at([], "a") == []


def test_the_error_names_the_path_of_the_value():
    check_types("f.json", {"a": [{"b": True}, {}]}, {"a[].b": FLAG})
    with pytest.raises(ValueError, match=r"^f.json: a\[1\].b is 'no', but must be true or false$"):
        check_types("f.json", {"a": [{"b": True}, {"b": "no"}]}, {"a[].b": FLAG})


def put(value, *keys):
    """Return a function that sets ``document[key][key]... = value``."""
    def change(document):
        for key in keys[:-1]:
            document = document[key]
        document[keys[-1]] = value
    return change


WRONG = [
    (bpe, put(["a"], "model", "vocab"), "model.vocab is"),
    (bpe, put([], "model"), "model is"),
    (bpe, put("a b", "model", "merges"), "model.merges is"),
    (bpe, put({"a": 1}, "added_tokens"), "added_tokens is"),
    (bpe, put("false", "added_tokens", 2, "special"), r"added_tokens\[2\].special is 'false'"),
    (bpe, put(0, "added_tokens", 2, "lstrip"), r"added_tokens\[2\].lstrip is 0"),
    (bpe, put("\ud800", "added_tokens", 2, "content"), r"added_tokens\[2\].content is"),
    (bpe, put(2.0, "added_tokens", 2, "id"), r"added_tokens\[2\].id is 2.0"),
    (bpe, put("false", "pre_tokenizer", "add_prefix_space"), "pre_tokenizer.add_prefix_space is"),
    (bpe, put("ByteLevel", "pre_tokenizer"), "pre_tokenizer is 'ByteLevel'"),
    (bpe, put({}, "post_processor", "single", 1), r"post_processor.single\[1\] is {}"),
    (bpe, put({"Text": {}}, "post_processor", "single", 1), r"post_processor.single\[1\] is"),
    (bpe, put("C", "post_processor", "single", 1, "Sequence", "id"), "Sequence.id is 'C'"),
    (bpe, put("B", "post_processor", "single", 1, "Sequence", "id"), "single must have A once"),
    (bpe, put([], "post_processor", "pair"), "post_processor.pair must have A and B once"),
    (bpe, put("<x>", "post_processor", "single", 0, "SpecialToken", "id"), "has '<x>' in post_proc"),
    *[(bpe, put(type_id, "post_processor", "single", 1, "Sequence", "type_id"), ".*type_id is")
      for type_id in (-1, 1000, "0", None, True, 0.0)],
    *[(bpe, put({"type": "RobertaProcessing", "sep": sep, "cls": ["<s>", 0]}, "post_processor"),
       "post_processor.sep is") for sep in ("</s>", ["</s>"], ["</s>", "2"], [2, "</s>"], None)],
    *[(wordpiece, put(length, "model", "max_input_chars_per_word"), "model.max_input_chars") for
      length in ("x", None, -3, True)],
    (wordpiece, put("false", "normalizer", "lowercase"), "normalizer.lowercase is 'false'"),
    (wordpiece, put("no", "normalizer", "strip_accents"), "normalizer.strip_accents is 'no'"),
]


@pytest.mark.parametrize("make, change, message", WRONG)
def test_a_wrong_value_in_tokenizer_json_is_named(tmp_path, make, change, message):
    path = only_tokenizer_json(make(), tmp_path)
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=f"^{path}: .*{message}"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("without", ["", "tokenizer.json"])
@pytest.mark.parametrize("change, message", [
    ({"do_lower_case": "false"}, "do_lower_case is 'false'"),
    ({"strip_accents": 0}, "strip_accents is 0"),
    ({"max_input_chars_per_word": "x"}, "max_input_chars_per_word is 'x'"),
    ({"model_max_length": "512"}, "model_max_length is"),
    ({"added_tokens_decoder": {"inf": {"content": "a"}}}, "added_tokens_decoder is"),
    ({"added_tokens_decoder": {"7": []}}, "added_tokens_decoder.7 is"),
    ({"added_tokens_decoder": {"7": {"content": "\ud800"}}}, "added_tokens_decoder.7.content is"),
    ({"added_tokens_decoder": {"7": {"special": "false"}}}, "added_tokens_decoder.7.special is")])
def test_a_wrong_value_in_tokenizer_config_json_is_named(tmp_path, change, message, without):
    wordpiece().save(tmp_path)
    if without:
        (tmp_path / without).unlink()
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=f"^{path}: {message}"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ' * 100_000, '{"a": ' + "9" * 6000 + "}"])
def test_json_that_exceeds_the_parsers_limits_is_one_error(tmp_path, name, text):
    bpe().save(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=f"^{tmp_path / name}: is "):
        load_tokenizer(tmp_path)


def test_any_wrong_value_gives_a_tokenizer_or_an_error_that_names_the_file(tmp_path):
    rng = random.Random(0)
    values = [None, True, False, -1, 0, 1, 2.5, 10**30, "", "x", "\ud800", [], ["x"], [["x"]],
              {}, {"x": {}}, {"x": []}]
    for tok in (bpe(), wordpiece()):
        path = only_tokenizer_json(tok, tmp_path / tok.kind)
        correct = path.read_text(encoding="utf-8")
        for _ in range(150):
            document = json.loads(correct)
            inner = document
            while True:  # go down to a random value
                key = rng.choice(list(inner) if isinstance(inner, dict) else range(len(inner)))
                is_leaf = not isinstance(inner[key], (dict, list)) or not inner[key]
                if is_leaf or rng.random() < 0.2:
                    break
                inner = inner[key]
            inner[key] = rng.choice(values)
            path.write_text(json.dumps(document))
            try:
                load_tokenizer(path.parent).encode("The <mask> [MASK] a", "b", add_special_tokens=False)
            except ValueError as error:
                assert str(path) in str(error) and "\n" not in str(error)
