"""``tokenizer.json`` and ``tokenizer_config.json``, as Hugging Face's tokenizers and transformers read them: writing.

``tokenizer.json`` holds a whole tokenizer as a line of stations that a text passes. Its parts, in that order:

    added_tokens     strings that are looked for before all else, '<mask>' say, with how each is looked for (``added.py``)
    normalizer       text -> cleaner text: null for byte-level BPE, BertNormalizer for BERT (``normalize.py``)
    pre_tokenizer    text -> words: ByteLevel is GPT-2's pattern and alphabet, BertPreTokenizer punctuation (``pretokenize.py``)
    model            word -> tokens -> ids: the vocabulary; for BPE the merges in order of rank, for WordPiece its prefix
    post_processor   puts '[CLS]' and '[SEP]' around a text or a pair, and numbers the two: TemplateProcessing spells it out
    decoder          tokens -> text, the way back
    truncation, padding    what to do with lengths; here that is said when encoding, so: null

``AutoTokenizer.from_pretrained(folder)`` first asks the configuration for ``tokenizer_class``. "PreTrainedTokenizerFast" means:
take tokenizer.json as it is. Naming RobertaTokenizer or BertTokenizer instead would have the tokenizer rebuilt from the vocabulary,
by rules of that class and with defaults for what it does not ask. Special tokens keep their parts by ``mask_token`` and so on.

One thing cannot be said in these files: that WordPiece never makes a special token from plain text. Where a special token could be a
word or a piece of one ("ab" or "##b", not "[MASK]"), transformers may take it for that, in an uncased "AB" say, and we do not.

``published.py`` is the way back.
"""
import json
from dataclasses import asdict

ROLE_NAMES = ("cls", "pad", "sep", "unk", "mask")


def tokenizer_json_files(tokenizer):
    """The two files of a tokenizer. -> {"tokenizer.json": text, "tokenizer_config.json": text}"""
    return {"tokenizer.json": as_text(tokenizer_json(tokenizer)), "tokenizer_config.json": as_text(configuration(tokenizer))}


def as_text(document):
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def configuration(tokenizer):
    """tokenizer_config.json as a dict: what kind it is, its settings, the parts that special tokens play, the fingerprint."""
    roles = {f"{role}_token": getattr(tokenizer, f"{role}_token") for role in ROLE_NAMES}
    config = {"kind": tokenizer.kind, **tokenizer._settings(), **roles}
    config["additional_special_tokens"] = [token for token in tokenizer.special_tokens if token not in roles.values()]
    if trims_offsets(tokenizer):
        config["trim_offsets"] = True
    if tokenizer.model_max_length is not None:
        config["model_max_length"] = tokenizer.model_max_length
    types = {type_id for _, type_id in tokenizer.pair_template}
    config["model_input_names"] = ["input_ids", *(["token_type_ids"] if 1 in types else []), "attention_mask"]
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    config["fingerprint"] = tokenizer.fingerprint
    return config


def tokenizer_json(tokenizer):
    """tokenizer.json as a dict. Nothing in it is asked of anyone else: ids, flags and templates are the tokenizer's own."""
    stations = byte_level_stations if tokenizer.kind == "bpe" else wordpiece_stations
    normalizer, pre_tokenizer, decoder, model = stations(tokenizer)
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added_tokens(tokenizer),
            "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": post_processor(tokenizer),
            "decoder": decoder, "model": model}


def added_tokens(tokenizer):
    """[{"id": 4, "content": "<mask>", "single_word": False, "lstrip": True, ...}, ...] in order of ids."""
    tokens = sorted(tokenizer.added_tokens, key=lambda token: tokenizer.token_to_id(token.content))
    return [{"id": tokenizer.token_to_id(token.content), **asdict(token), "single_word": False, "rstrip": False}
            for token in tokens]


def byte_level_stations(tokenizer):
    """Byte-level BPE. Here trim_offsets says nothing: the post-processor's does."""
    byte_level = {"type": "ByteLevel", "add_prefix_space": tokenizer.add_prefix_space, "trim_offsets": False, "use_regex": True}
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "", "end_of_word_suffix": "",
             "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": tokenizer.get_vocab(),
             "merges": [f"{left} {right}" for left, right in tokenizer.merges]}  # the older spelling, which all versions read
    normalizer = {"type": tokenizer.unicode_form} if tokenizer.unicode_form else None
    return normalizer, byte_level, byte_level, model


def wordpiece_stations(tokenizer):
    """WordPiece. clean_text, the removal of control characters, is always on; the rest of the clean-up has settings."""
    normalizer = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": tokenizer.normalizer.tokenize_chinese_chars,
                  "strip_accents": tokenizer.normalizer.strip_accents, "lowercase": tokenizer.normalizer.lowercase}
    vocabulary = {token: token_id for token, token_id in tokenizer.get_vocab().items() if token not in tokenizer.not_pieces}
    model = {"type": "WordPiece", "unk_token": tokenizer.unk_token, "continuing_subword_prefix": "##",
             "max_input_chars_per_word": tokenizer.max_input_chars_per_word, "vocab": vocabulary}
    return normalizer, {"type": "BertPreTokenizer"}, {"type": "WordPiece", "prefix": "##", "cleanup": True}, model


def trims_offsets(tokenizer):
    return tokenizer.kind == "bpe" and tokenizer.trim_offsets


def post_processor(tokenizer):
    """What trims offsets, if anything does, then the templates. A part that has nothing to do is left out; None where both have not."""
    parts = [template_processing(tokenizer)]
    if trims_offsets(tokenizer):
        parts.insert(0, {"type": "ByteLevel", "add_prefix_space": tokenizer.add_prefix_space, "trim_offsets": True, "use_regex": True})
    parts = [part for part in parts if part]
    return {"type": "Sequence", "processors": parts} if len(parts) > 1 else parts[0] if parts else None


def template_processing(tokenizer):
    """The templates; None, which adds nothing, where the vocabulary has not the tokens for them.

    (("cls", 0), ("A", 0), ("sep", 0)) -> "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", ...
    """
    def spelled_out(template):
        return [{"Sequence": {"id": part, "type_id": type_id}} if part in ("A", "B") else
                {"SpecialToken": {"id": getattr(tokenizer, f"{part}_token"), "type_id": type_id}} for part, type_id in template]
    used = {getattr(tokenizer, f"{part}_token") for part, _ in tokenizer.template + tokenizer.pair_template if part not in ("A", "B")}
    if None in used:
        return None
    return {"type": "TemplateProcessing", "single": spelled_out(tokenizer.template), "pair": spelled_out(tokenizer.pair_template),
            "special_tokens": {token: {"id": token, "ids": [tokenizer.token_to_id(token)], "tokens": [token]} for token in sorted(used)}}
