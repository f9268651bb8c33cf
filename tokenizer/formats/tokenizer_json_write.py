"""Write ``tokenizer.json`` and ``tokenizer_config.json``, which transformers reads.

``tokenizer.json`` describes a tokenizer as a pipeline. Its parts, in the order in which a text
passes through them:

    added_tokens     strings that are searched for first, such as '<mask>' (``added_tokens.py``)
    normalizer       text -> cleaner text: null for byte-level BPE, BertNormalizer for BERT
    pre_tokenizer    text -> words: ByteLevel (GPT-2's pattern) or BertPreTokenizer
    model            word -> tokens -> ids: the vocabulary; merges (BPE) or prefix (WordPiece)
    post_processor   adds '[CLS]' and '[SEP]' to a text or a pair, and sets the type ids
    decoder          tokens -> text
    truncation, padding    null: here these are arguments of ``encode``

``AutoTokenizer.from_pretrained(folder)`` reads ``tokenizer_class`` first. "PreTrainedTokenizerFast"
makes it use tokenizer.json as it is. With RobertaTokenizer or BertTokenizer it would rebuild the
tokenizer from the vocabulary, with that class's defaults.

One difference remains. Our WordPiece never makes a special token from plain text. If a special
token could also be a word or a piece ("ab" or "##b", not "[MASK]"), transformers may make it.

``tokenizer_json_read.py`` reads these files.
"""
import json
from dataclasses import asdict

from tokenizer.added_tokens import ROLES


def tokenizer_json_files(tokenizer):
    """Return {"tokenizer.json": text, "tokenizer_config.json": text}."""
    return {"tokenizer.json": to_text(tokenizer_json(tokenizer)),
            "tokenizer_config.json": to_text(tokenizer_config(tokenizer))}


def to_text(document):
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def tokenizer_config(tokenizer):
    """Return tokenizer_config.json as a dict: settings, roles of special tokens, fingerprint."""
    roles = {f"{role}_token": getattr(tokenizer, f"{role}_token") for role in ROLES}
    config = {"kind": tokenizer.kind, **tokenizer._settings(), **roles}
    config["additional_special_tokens"] = [
        token for token in tokenizer.special_tokens if token not in roles.values()]
    if trims_offsets(tokenizer):
        config["trim_offsets"] = True
    if tokenizer.model_max_length is not None:
        config["model_max_length"] = tokenizer.model_max_length
    uses_type_ids = any(type_id == 1 for _, type_id in tokenizer.pair_template)
    config["model_input_names"] = ["input_ids", "attention_mask"]
    if uses_type_ids:
        config["model_input_names"].insert(1, "token_type_ids")
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    config["fingerprint"] = tokenizer.fingerprint
    return config


def tokenizer_json(tokenizer):
    """Return tokenizer.json as a dict."""
    parts_of = {"bpe": byte_level_parts, "wordpiece": wordpiece_parts}[tokenizer.kind]
    parts = parts_of(tokenizer)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added_tokens(tokenizer),
        "normalizer": parts["normalizer"],
        "pre_tokenizer": parts["pre_tokenizer"],
        "post_processor": post_processor(tokenizer),
        "decoder": parts["decoder"],
        "model": parts["model"],
    }


def added_tokens(tokenizer):
    """Return [{"id": 4, "content": "<mask>", "lstrip": True, ...}, ...] in order of ids."""
    entries = []
    for token in tokenizer.added_tokens:
        token_id = tokenizer.token_to_id(token.content)
        entries.append({"id": token_id, **asdict(token), "single_word": False, "rstrip": False})
    return sorted(entries, key=lambda entry: entry["id"])


def byte_level(tokenizer, trim_offsets):
    return {"type": "ByteLevel", "add_prefix_space": tokenizer.add_prefix_space,
            "trim_offsets": trim_offsets, "use_regex": True}


def byte_level_parts(tokenizer):
    """Return the parts of a byte-level BPE. trim_offsets matters in the post-processor only."""
    return {
        "normalizer": {"type": tokenizer.unicode_form} if tokenizer.unicode_form else None,
        "pre_tokenizer": byte_level(tokenizer, trim_offsets=False),
        "decoder": byte_level(tokenizer, trim_offsets=False),
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": tokenizer.get_vocab(),
            # the older spelling, which all versions read
            "merges": [f"{left} {right}" for left, right in tokenizer.merges],
        },
    }


def wordpiece_parts(tokenizer):
    """Return the parts of a WordPiece. clean_text, removing control characters, is always on."""
    vocabulary = {token: i for token, i in tokenizer.get_vocab().items()
                  if token not in tokenizer.not_pieces}
    return {
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": tokenizer.normalizer.tokenize_chinese_chars,
            "strip_accents": tokenizer.normalizer.strip_accents,
            "lowercase": tokenizer.normalizer.lowercase,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": tokenizer.unk_token,
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": tokenizer.max_input_chars_per_word,
            "vocab": vocabulary,
        },
    }


def trims_offsets(tokenizer):
    return tokenizer.kind == "bpe" and tokenizer.trim_offsets


def post_processor(tokenizer):
    """Return the part that trims offsets and the one that adds special tokens, as far as needed."""
    parts = []
    if trims_offsets(tokenizer):
        parts.append(byte_level(tokenizer, trim_offsets=True))
    templates = template_processing(tokenizer)
    if templates:
        parts.append(templates)
    if len(parts) > 1:
        return {"type": "Sequence", "processors": parts}
    return parts[0] if parts else None


def template_processing(tokenizer):
    """Return the templates; None, which adds nothing, if the vocabulary lacks their tokens.

    (("cls", 0), ("A", 0), ("sep", 0))
    -> [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", ...}}, ...
    """
    def piece(part, type_id):
        if part in ("A", "B"):
            return {"Sequence": {"id": part, "type_id": type_id}}
        return {"SpecialToken": {"id": getattr(tokenizer, f"{part}_token"), "type_id": type_id}}

    single = [piece(*part) for part in tokenizer.template]
    pair = [piece(*part) for part in tokenizer.pair_template]
    used = {entry["SpecialToken"]["id"] for entry in [*single, *pair] if "SpecialToken" in entry}
    if None in used:
        return None
    special_tokens = {}
    for token in sorted(used):
        ids = [tokenizer.token_to_id(token)]
        special_tokens[token] = {"id": token, "ids": ids, "tokens": [token]}
    return {"type": "TemplateProcessing", "single": single, "pair": pair,
            "special_tokens": special_tokens}
