"""Whatever stands in a tokenizer's files, the answer is a tokenizer or one error that names the file and the place."""
import json
import random

import pytest
from test_tokenizer_json_read import bpe, only_tokenizer_json, wordpiece

from tokenizer import load_tokenizer
from tokenizer.formats.schema import FLAG, check_shapes, values_at


def test_places_worked_by_hand():
    document = {"a": [{"b": 1}, {"c": 2}, 5], "d": {"x": {"b": 3}, "y": 4}}
    assert values_at(document, "a") == [("a", document["a"])]
    assert values_at(document, "a[].b") == [("a[0].b", 1)]
    assert values_at(document, "d.*") == [("d.x", {"b": 3}), ("d.y", 4)] and values_at(document, "d.*.b") == [("d.x.b", 3)]
    assert values_at(document, "none.b") == values_at([], "a") == []
    check_shapes("f.json", {"a": [{"b": True}, {}]}, {"a[].b": FLAG})
    with pytest.raises(ValueError, match=r"^f.json: a\[1\].b is 'no', a value of the wrong type: it must be true or false$"):
        check_shapes("f.json", {"a": [{"b": True}, {"b": "no"}]}, {"a[].b": FLAG})


def part(entry):
    return lambda d: d["post_processor"]["single"].append(entry)


WRONG = [
    (bpe, lambda d: d["model"].update(vocab=["a"]), r"model.vocab is \['a'\], a value of the wrong type: it must be an object"),
    (bpe, lambda d: d.update(model=[]), r"model is \[\], .* must be an object"),
    (bpe, lambda d: d["model"].update(merges="a b"), "model.merges is 'a b', .* must be a list"),
    (bpe, lambda d: d.update(added_tokens={"a": 1}), "added_tokens is .* must be a list"),
    (bpe, lambda d: d["added_tokens"][2].update(special="false"), r"added_tokens\[2\].special is 'false', .* must be true or false"),
    (bpe, lambda d: d["added_tokens"][2].update(lstrip=0), r"added_tokens\[2\].lstrip is 0, .* must be true or false"),
    (bpe, lambda d: d["added_tokens"][2].update(content="\ud800"), r"added_tokens\[2\].content is '.ud800', .* without halves of characters"),
    (bpe, lambda d: d["added_tokens"][2].update(id=2.0), r"added_tokens\[2\].id is 2.0, .* must be a whole number"),
    (bpe, lambda d: d["pre_tokenizer"].update(add_prefix_space="false"), "pre_tokenizer.add_prefix_space is 'false'"),
    (bpe, lambda d: d.update(pre_tokenizer="ByteLevel"), "pre_tokenizer is 'ByteLevel', .* must be an object"),
    (bpe, part({"SpecialToken": {"id": "<x>", "type_id": 0}}), "post_processor.single has the special token '<x>', which its special_tokens lack"),
    (bpe, part({"Sequence": {"id": "C", "type_id": 0}}), r"post_processor.single\[3\].Sequence.id is 'C', .* must be 'A' or 'B'"),
    (bpe, part({"Sequence": {"id": "A", "type_id": 0}}), "post_processor.single must hold the sequence A once"),
    (bpe, part({"Sequence": {"id": "B", "type_id": 0}}), "post_processor.single must hold the sequence A once"),
    (bpe, lambda d: d["post_processor"]["pair"].pop(4), "post_processor.pair must hold the sequences A and B once"),
    (bpe, part({"Text": {"id": "A", "type_id": 0}}), r"post_processor.single\[3\] is .* must be {'SpecialToken': {...}} or {'Sequence'"),
    (bpe, part({}), r"post_processor.single\[3\] is {}"), (bpe, part("A"), r"post_processor.single\[3\] is 'A'"),
    *[(bpe, lambda d, wrong=wrong: d["post_processor"]["single"][1]["Sequence"].update(type_id=wrong),
       r"post_processor.single\[1\].Sequence.type_id is .* must be a whole number from 0 to 255") for wrong in (-1, 1000, "0", None, True, 0.0)],
    *[(bpe, lambda d, wrong=wrong: d.update(post_processor={"type": "RobertaProcessing", "sep": wrong, "cls": ["<s>", 0]}),
       "post_processor.sep is .* must be a token and its id") for wrong in ("</s>", ["</s>"], ["</s>", 2, 3], ["</s>", "2"], [2, "</s>"], None)],
    *[(wordpiece, lambda d, wrong=wrong: d["model"].update(max_input_chars_per_word=wrong),
       "model.max_input_chars_per_word is .* must be a whole number") for wrong in ("x", None, -3, True)],
    (wordpiece, lambda d: d["normalizer"].update(lowercase="false"), "normalizer.lowercase is 'false'"),
    (wordpiece, lambda d: d["normalizer"].update(strip_accents="no"), "normalizer.strip_accents is 'no', .* true, false or null"),
]


@pytest.mark.parametrize("make, change, message", WRONG)
def test_a_wrong_value_in_tokenizer_json_is_named_with_its_place(tmp_path, make, change, message):
    path = only_tokenizer_json(make(), tmp_path)
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=f"^{path}: {message}") as raised:
        load_tokenizer(tmp_path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("change, message", [
    ({"do_lower_case": "false"}, "do_lower_case is 'false', .* must be true or false"), ({"strip_accents": 0}, "strip_accents is 0"),
    ({"max_input_chars_per_word": "x"}, "max_input_chars_per_word is 'x', .* must be a whole number"),
    ({"model_max_length": "512"}, "model_max_length is"),
    ({"added_tokens_decoder": {"inf": {"content": "a"}}}, "added_tokens_decoder is .* must be an object with ids as keys"),
    ({"added_tokens_decoder": {"7": []}}, r"added_tokens_decoder.7 is \[\], .* must be an object"),
    ({"added_tokens_decoder": {"7": {"content": "\ud800"}}}, "added_tokens_decoder.7.content is"),
    ({"added_tokens_decoder": {"7": {"content": "a", "special": "false"}}}, "added_tokens_decoder.7.special is 'false', .* must be true or false")])
def test_a_wrong_value_in_tokenizer_config_json_is_named_with_its_place(tmp_path, change, message):
    wordpiece().save(tmp_path)
    for without in ((), ("tokenizer.json",)):
        for name in without:
            (tmp_path / name).unlink()
        config = json.loads((tmp_path / "tokenizer_config.json").read_text())
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(ValueError, match=f"^{tmp_path / 'tokenizer_config.json'}: {message}"):
            load_tokenizer(tmp_path)


@pytest.mark.parametrize("text, message", [("[" * 100_000, "brackets are nested too deeply"), ('{"a": ' * 100_000, "brackets are nested too deeply"),
                                           ('{"a": ' + "9" * 6000 + "}", "a number of too many digits")])
def test_json_that_looks_for_trouble_is_one_error(tmp_path, text, message):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        bpe().save(tmp_path)
        (tmp_path / name).write_text(text)
        with pytest.raises(ValueError, match=f"^{tmp_path / name}: .*{message}"):
            load_tokenizer(tmp_path)


def test_what_is_no_tokenizer_is_told_what_one_is(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"^{tmp_path}: there is no tokenizer in it; a tokenizer is a folder with tokenizer.json, with "
                                                "vocab.json and merges.txt, or with vocab.txt$"):
        load_tokenizer(tmp_path)
    (tmp_path / "vocab.txt").write_text("a\n##b\n")
    with pytest.raises(ValueError, match=f"^{tmp_path / 'vocab.txt'}: the vocabulary has no .UNK. token"):
        load_tokenizer(tmp_path)
    with pytest.raises(ValueError, match=f"^{tmp_path / 'vocab.txt'}: is a file; name its folder"):
        load_tokenizer(tmp_path / "vocab.txt")
    (tmp_path / "tokenizer.json").mkdir()
    with pytest.raises(OSError, match=f"^{tmp_path / 'tokenizer.json'}: is a folder, where a file belongs"):
        load_tokenizer(tmp_path)


def test_no_value_anywhere_makes_a_traceback(tmp_path):
    """Any one value of a good file, exchanged for any other: a tokenizer that encodes, or a ValueError that names the file."""
    rng = random.Random(0)
    for tok in (bpe(), wordpiece()):
        path = only_tokenizer_json(tok, tmp_path / tok.kind)
        good = path.read_text(encoding="utf-8")
        for _ in range(150):
            document = json.loads(good)
            document["model"]["vocab"] = {**document["model"]["vocab"]}
            place = document
            while True:
                keys = [key for key in (place if isinstance(place, dict) else range(len(place)))]
                key = rng.choice(keys)
                if not isinstance(place[key], (dict, list)) or not place[key] or rng.random() < 0.2:
                    break
                place = place[key]
            place[key] = rng.choice([None, True, False, -1, 0, 1, 2.5, 10**30, "", "x", "\ud800", [], ["x"], [["x"]], {}, {"x": {}}, {"x": []}])
            path.write_text(json.dumps(document))
            try:
                load_tokenizer(path.parent).encode("The <mask> [MASK] a", "b", add_special_tokens=False)
            except ValueError as error:
                assert str(path) in str(error) and "\n" not in str(error)
