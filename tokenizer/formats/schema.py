"""The types of the values in tokenizer.json and tokenizer_config.json.

A file may come from anywhere, and a wrong value must raise an error and not be read as another one:
the string "false" would be true. Missing and unknown keys are not checked here.
"""
from collections import namedtuple

Shape = namedtuple("Shape", "name fits")  # fits: function from a value to whether it is valid


def is_natural(value, limit=1 << 31):
    return type(value) is int and 0 <= value < limit


def is_text(value):
    """Surrogates are halves of characters, which UTF-8 cannot encode."""
    return isinstance(value, str) and not any("\ud800" <= char <= "\udfff" for char in value)


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_dict_by_id(value):
    """{"7": ...}"""
    return isinstance(value, dict) and all(
        key.isascii() and key.isdigit() and len(key) < 10 for key in value)


def is_token_and_id(value):
    """["</s>", 2]"""
    is_pair = isinstance(value, list) and len(value) == 2
    return is_pair and is_text(value[0]) and is_natural(value[1])


def is_template_piece(value):
    """{"SpecialToken": {...}} or {"Sequence": {...}}"""
    if not isinstance(value, dict) or len(value) != 1:
        return False
    (name, entry), = value.items()
    return name in ("SpecialToken", "Sequence") and isinstance(entry, dict)


FLAG = Shape("true or false", lambda value: isinstance(value, bool))
FLAG_OR_NULL = Shape("true, false or null", lambda value: value is None or isinstance(value, bool))
NATURAL = Shape("an integer of at least 0", is_natural)
TYPE_ID = Shape("an integer from 0 to 255", lambda value: is_natural(value, 256))
NUMBER = Shape("a number", is_number)
TEXT = Shape("a string", is_text)
OBJECT = Shape("an object", lambda value: isinstance(value, dict))
OBJECT_OR_NULL = Shape("an object or null", lambda value: value is None or isinstance(value, dict))
LIST = Shape("a list", lambda value: isinstance(value, list))
VOCABULARY = Shape("an object with tokens as keys",
                   lambda value: isinstance(value, dict) and is_text("".join(value)))
BY_ID = Shape("an object with ids as keys", is_dict_by_id)
TOKEN_AND_ID = Shape("a token and its id", is_token_and_id)
TEMPLATE_PIECE = Shape("a SpecialToken or a Sequence", is_template_piece)
SEQUENCE = Shape("'A' or 'B'", lambda value: value in ("A", "B"))


def under(prefix, table):
    """Put a prefix before all paths of a table."""
    return {prefix + path: shape for path, shape in table.items()}


# Paths: "a.b" is the value b of a, "a[]" each item of the list a, "a.*" each value of the object a.
ADDED_TOKEN = {"content": TEXT, "special": FLAG, "lstrip": FLAG, "rstrip": FLAG,
               "normalized": FLAG, "single_word": FLAG}
TEMPLATE = {
    "": LIST, "[]": TEMPLATE_PIECE,
    "[].SpecialToken.id": TEXT, "[].SpecialToken.type_id": TYPE_ID,
    "[].Sequence.id": SEQUENCE, "[].Sequence.type_id": TYPE_ID,
}
POST_PROCESSOR = {
    "type": TEXT, "sep": TOKEN_AND_ID, "cls": TOKEN_AND_ID, "trim_offsets": FLAG,
    "special_tokens": OBJECT, "special_tokens.*": OBJECT,
    "special_tokens.*.ids": LIST, "special_tokens.*.ids[]": NATURAL,
    **under("single", TEMPLATE), **under("pair", TEMPLATE),
}
TOKENIZER_JSON = {
    "model": OBJECT, "model.vocab": VOCABULARY, "model.merges": LIST,
    "model.max_input_chars_per_word": NATURAL,
    "added_tokens": LIST, "added_tokens[]": OBJECT, "added_tokens[].id": NATURAL,
    **under("added_tokens[].", ADDED_TOKEN),
    "normalizer": OBJECT_OR_NULL, "normalizer.clean_text": FLAG,
    "normalizer.handle_chinese_chars": FLAG, "normalizer.lowercase": FLAG,
    "normalizer.strip_accents": FLAG_OR_NULL,
    "pre_tokenizer": OBJECT_OR_NULL, "pre_tokenizer.add_prefix_space": FLAG,
    "pre_tokenizer.use_regex": FLAG,
    "post_processor": OBJECT_OR_NULL, "post_processor.processors": LIST,
    "post_processor.processors[]": OBJECT,
    **under("post_processor.", POST_PROCESSOR),
    **under("post_processor.processors[].", POST_PROCESSOR),
}
TOKENIZER_CONFIG = {
    "do_lower_case": FLAG, "tokenize_chinese_chars": FLAG, "add_prefix_space": FLAG,
    "trim_offsets": FLAG, "strip_accents": FLAG_OR_NULL,
    "max_input_chars_per_word": NATURAL, "model_max_length": NUMBER,
    "added_tokens_decoder": BY_ID, "added_tokens_decoder.*": OBJECT,
    **under("added_tokens_decoder.*.", ADDED_TOKEN),
}


def check_types(file, document, table):
    """Raise ValueError for the first value in ``document`` that does not fit the table.

    {"a": [{"b": "no"}]} with {"a[].b": FLAG} -> tok.json: a[0].b is 'no', but must be true or false
    """
    for path, shape in table.items():
        for name, value in values_at(document, path):
            if not shape.fits(value):
                shown = ascii(value)[:60]
                raise ValueError(f"{file}: {name} is {shown}, but must be {shape.name}")


def values_at(document, path):
    """Return [(name, value), ...]: {"a": [5, 6]}, "a[]" -> [("a[0]", 5), ("a[1]", 6)]"""
    found = [("", document)]
    for part in path.split("."):
        key = part.removesuffix("[]")
        inner = []
        for name, value in found:
            if not isinstance(value, dict):
                continue
            keys = value if key == "*" else [key] if key in value else []
            inner += [(f"{name}.{k}".removeprefix("."), value[k]) for k in keys]
        if part.endswith("[]"):
            inner = [(f"{name}[{i}]", item) for name, value in inner if isinstance(value, list)
                     for i, item in enumerate(value)]
        found = inner
    return found
