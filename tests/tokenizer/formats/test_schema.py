"""Wrong values in a tokenizer's files: the result is a correct tokenizer or one clear error."""
import json
import random

import pytest
from format_helpers import bpe, change_json, only_tokenizer_json, put, read, wordpiece

from tokenizer import load_tokenizer
from tokenizer.formats.schema import check_types


def test_a_setting_must_have_its_type():
    good = {"a": [{"special": True, "x": "no"}, {}], "strip_accents": None, "type_id": 0}
    check_types("f.json", good | {"vocab": {"special": 7}})
    with pytest.raises(ValueError, match=r"^f.json: a\[1\].special is 'no', but must be true or"):
        check_types("f.json", {"a": [{"special": True}, {"special": "no"}]})
    for type_id in (-1, "0", None, True, 0.0):
        with pytest.raises(ValueError, match="^f.json: type_id is .* an integer of at least 0"):
            check_types("f.json", {"type_id": type_id})


@pytest.mark.parametrize("make, change, message", [
    (bpe, put("false", "added_tokens", 2, "special"), r"added_tokens\[2\].special is 'false'"),
    (bpe, put("false", "pre_tokenizer", "add_prefix_space"), "pre_tokenizer.add_prefix_space is"),
    (bpe, put({"Text": {"id": "A", "type_id": 0}}, "post_processor", "single", 1), "have A once"),
    (bpe, put("B", "post_processor", "single", 1, "Sequence", "id"), "must have A once"),
    (bpe, put([], "post_processor", "pair"), "must have A and B once"),
    (bpe, put("<x>", "post_processor", "single", 0, "SpecialToken", "id"), "not in special_tokens"),
    (wordpiece, put("x", "model", "max_input_chars_per_word"), "model.max_input_chars_per_word is"),
    (wordpiece, put("false", "normalizer", "lowercase"), "normalizer.lowercase is 'false'"),
    (wordpiece, put("no", "normalizer", "strip_accents"), "normalizer.strip_accents is 'no'"),
])
def test_a_wrong_value_in_tokenizer_json_is_named(tmp_path, make, change, message):
    path = only_tokenizer_json(make(), tmp_path)
    change_json(path, change)
    with pytest.raises(ValueError, match=f"^{path}: .*{message}"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("without", ["", "tokenizer.json"])
@pytest.mark.parametrize("change, message", [
    ({"do_lower_case": "false"}, "do_lower_case is 'false'"),
    ({"max_input_chars_per_word": "x"}, "max_input_chars_per_word is 'x'"),
    ({"added_tokens_decoder": {"7": {"special": "false"}}}, "added_tokens_decoder.7.special is")])
def test_a_wrong_value_in_tokenizer_config_json_is_named(tmp_path, change, message, without):
    wordpiece().save(tmp_path)
    if without:
        (tmp_path / without).unlink()
    path = tmp_path / "tokenizer_config.json"
    change_json(path, lambda document: document.update(change))
    with pytest.raises(ValueError, match=f"^{path}: {message}"):
        load_tokenizer(tmp_path)


def test_any_wrong_value_gives_a_tokenizer_or_an_error_that_names_the_file(tmp_path):
    rng = random.Random(0)
    values = [None, True, False, -1, 0, 1, 2.5, 10**30, "", "x", "\ud800", [], ["x"], [["x"]],
              {}, {"x": {}}, {"x": []}]
    for tok in (bpe(), wordpiece()):
        path = only_tokenizer_json(tok, tmp_path / tok.kind)
        correct = read(path)
        for _ in range(150):
            document = json.loads(json.dumps(correct))
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
                loaded = load_tokenizer(path.parent)
                loaded.encode("The <mask> [MASK] a", "b", add_special_tokens=False)
            except ValueError as error:
                assert str(path) in str(error) and "\n" not in str(error)
