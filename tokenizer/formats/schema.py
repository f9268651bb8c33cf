"""The types of the settings in tokenizer.json and tokenizer_config.json.

A setting of a wrong type must raise an error and not be read as another value: the string "false"
would count as true. Python itself refuses most other wrong types, such as a list for an object.
"""
FLAGS = {
    "special", "lstrip", "rstrip", "normalized", "single_word",           # of an added token
    "clean_text", "handle_chinese_chars", "lowercase", "strip_accents",   # of a normalizer
    "do_lower_case", "tokenize_chinese_chars",                            # the same in a config
    "add_prefix_space", "use_regex", "trim_offsets",                      # of byte-level BPE
}
NATURAL_NUMBERS = {"max_input_chars_per_word", "type_id"}
OPTIONAL = {"strip_accents"}  # may be null
NAMED_BY_TOKENS = {"vocab", "merges", "special_tokens"}  # their keys are no settings


def check_types(path, value, name=""):
    """Raise ValueError for the first setting in a JSON document that has a wrong type.

    {"a": [{"special": "no"}]} -> tok.json: a[0].special is 'no', but must be true or false
    """
    if isinstance(value, list):
        for i, item in enumerate(value):
            check_types(path, item, f"{name}[{i}]")
    if not isinstance(value, dict):
        return
    for key, item in value.items():
        if key in NAMED_BY_TOKENS:
            continue
        full_name = f"{name}.{key}".removeprefix(".")
        expected = None
        if key in FLAGS and not isinstance(item, bool):
            expected = "true or false"
        if key in NATURAL_NUMBERS and (type(item) is not int or item < 0):
            expected = "an integer of at least 0"
        if expected and not (item is None and key in OPTIONAL):
            raise ValueError(f"{path}: {full_name} is {item!r:.60}, but must be {expected}")
        check_types(path, item, full_name)
