"""What may stand where in the files of a tokenizer: two tables, and the check. What is missing is another matter, and so is what is unknown.

A file may come from anywhere. Whatever is in it, the answer is a tokenizer or one clear error, never a value that is taken for another:
"false" would be true.
"""
from collections import namedtuple

Shape = namedtuple("Shape", "words fits")  # how an error calls it; value -> whether it is one


def _whole(value, limit=1 << 31):
    return type(value) is int and 0 <= value < limit


def _text(value):
    return isinstance(value, str) and not any("\ud800" <= char <= "\udfff" for char in value)


FLAG = Shape("true or false", lambda value: isinstance(value, bool))
FLAG_OR_NULL = Shape("true, false or null", lambda value: value is None or isinstance(value, bool))
WHOLE = Shape("a whole number", _whole)
TYPE_ID = Shape("a whole number from 0 to 255", lambda value: _whole(value, 256))
NUMBER = Shape("a number", lambda value: isinstance(value, (int, float)) and not isinstance(value, bool))
TEXT = Shape("a string, without halves of characters", _text)
OBJECT = Shape("an object {...}", lambda value: isinstance(value, dict))
OBJECT_OR_NULL = Shape("an object {...} or null", lambda value: value is None or isinstance(value, dict))
LIST = Shape("a list [...]", lambda value: isinstance(value, list))
VOCABULARY = Shape("an object of tokens without halves of characters", lambda value: isinstance(value, dict) and _text("".join(value)))
BY_ID = Shape("an object with ids as keys", lambda value: isinstance(value, dict) and all(
    key.isascii() and key.isdigit() and len(key) < 10 for key in value))
TOKEN_AND_ID = Shape("a token and its id, such as ['</s>', 2]", lambda value: (
    isinstance(value, list) and len(value) == 2 and _text(value[0]) and _whole(value[1])))
TEMPLATE_PART = Shape("{'SpecialToken': {...}} or {'Sequence': {...}}", lambda value: (
    isinstance(value, dict) and len(value) == 1 and all(part in ("SpecialToken", "Sequence") and isinstance(entry, dict)
                                                                    for part, entry in value.items())))
SEQUENCE = Shape("'A' or 'B'", lambda value: value in ("A", "B"))

ADDED_TOKEN = {"content": TEXT, **dict.fromkeys(("special", "lstrip", "rstrip", "normalized", "single_word"), FLAG)}
TEMPLATE = {"": TEMPLATE_PART, ".SpecialToken.id": TEXT, ".SpecialToken.type_id": TYPE_ID, ".Sequence.id": SEQUENCE,
            ".Sequence.type_id": TYPE_ID}
POST_PROCESSOR = {
    "type": TEXT, "sep": TOKEN_AND_ID, "cls": TOKEN_AND_ID, "trim_offsets": FLAG, "special_tokens": OBJECT, "special_tokens.*": OBJECT,
    "special_tokens.*.ids": LIST, "special_tokens.*.ids[]": WHOLE, "single": LIST, "pair": LIST,
    **{f"{template}[]{part}": shape for template in ("single", "pair") for part, shape in TEMPLATE.items()}}

# "a.b": b of a;  "a[]": each of a list;  "a.*": each value of an object
TOKENIZER_JSON = {
    "model": OBJECT, "model.vocab": VOCABULARY, "model.merges": LIST, "model.max_input_chars_per_word": WHOLE,
    "added_tokens": LIST, "added_tokens[]": OBJECT, "added_tokens[].id": WHOLE,
    **{f"added_tokens[].{name}": shape for name, shape in ADDED_TOKEN.items()},
    "normalizer": OBJECT_OR_NULL, "normalizer.clean_text": FLAG, "normalizer.handle_chinese_chars": FLAG, "normalizer.lowercase": FLAG,
    "normalizer.strip_accents": FLAG_OR_NULL,
    "pre_tokenizer": OBJECT_OR_NULL, "pre_tokenizer.add_prefix_space": FLAG, "pre_tokenizer.use_regex": FLAG,
    "post_processor": OBJECT_OR_NULL, "post_processor.processors": LIST, "post_processor.processors[]": OBJECT,
    **{f"post_processor.{inner}{name}": shape for inner in ("", "processors[].") for name, shape in POST_PROCESSOR.items()}}
TOKENIZER_CONFIG = {
    **dict.fromkeys(("do_lower_case", "tokenize_chinese_chars", "add_prefix_space", "trim_offsets"), FLAG), "strip_accents": FLAG_OR_NULL,
    "max_input_chars_per_word": WHOLE, "model_max_length": NUMBER,
    "added_tokens_decoder": BY_ID, "added_tokens_decoder.*": OBJECT,
    **{f"added_tokens_decoder.*.{name}": shape for name, shape in ADDED_TOKEN.items()}}


def check_shapes(path, document, table):
    """ValueError that names the file, the place in it and what belongs there, for the first value of a document that has another shape.

    with {"a[].b": FLAG}: {"a": [{"b": "no"}]} -> tok.json: a[0].b is 'no', a value of the wrong type: it must be true or false
    """
    for place, shape in table.items():
        for where, value in values_at(document, place):
            if not shape.fits(value):
                raise ValueError(f"{path}: {where} is {ascii(value)[:60]}, a value of the wrong type: it must be {shape.words}")


def values_at(document, place):
    """[(where, value), ...] of all that stands at a place of a table. {"a": [5, 6]}, "a[]" -> [("a[0]", 5), ("a[1]", 6)]"""
    found = [("", document)]
    for part in place.split("."):
        name = part.removesuffix("[]")
        objects = [(where, value) for where, value in found if isinstance(value, dict)]
        found = [(f"{where}.{key}".removeprefix("."), value[key]) for where, value in objects
                 for key in (value if name == "*" else [name] if name in value else [])]
        if part.endswith("[]"):
            found = [(f"{where}[{i}]", item) for where, value in found if isinstance(value, list) for i, item in enumerate(value)]
    return found
