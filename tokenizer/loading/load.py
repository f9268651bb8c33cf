"""Load a tokenizer folder, saved by this project or another."""
from pathlib import Path

from tokenizer.base import ROLES
from tokenizer.bpe import ByteLevelBPE
from tokenizer.formats.schema import TOKENIZER_CONFIG, TOKENIZER_JSON, check_shapes
from tokenizer.formats.vocab_files import (
    A_TOKENIZER_IS,
    DAMAGED,
    VOCABULARIES,
    content,
    holds_tokenizer,
    max_length,
    read_config,
    read_merges,
    read_vocab_json,
    read_vocab_txt,
)
from tokenizer.loading.tokenizer_json_read import NO_TEMPLATES, all_tokens, load_tokenizer_json, named_tokens
from tokenizer.wordpiece import WordPiece


def load_tokenizer(folder):
    """The tokenizer that was saved in ``folder``, by this project or another.

    ``tokenizer.json`` is taken where there is one, and must agree with the other files. Without it and without a
    ``tokenizer_config.json`` the customary special tokens are looked for in the vocabulary, and WordPiece is taken to be uncased
    if no token has a capital letter. Raises FileNotFoundError or ValueError that names the file, the line and what to do.

    load_tokenizer("runs/kant/tokenizer") -> a ByteLevelBPE
    """
    folder = Path(folder)
    if folder.is_file():
        raise ValueError(f"{folder}: is a file; name its folder: {A_TOKENIZER_IS}")
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; {A_TOKENIZER_IS}")
    if not holds_tokenizer(folder):
        raise FileNotFoundError(f"{folder}: there is no tokenizer in it; {A_TOKENIZER_IS}")
    config = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        known = {key: value for key, value in read_config(folder / name).items() if value is not None}
        check_shapes(folder / name, known, TOKENIZER_CONFIG)
        config.update(known)
    kind = config.get("kind") or ("wordpiece" if (folder / "vocab.txt").exists()
                                  and not (folder / "merges.txt").exists() else "bpe")
    if kind not in ("bpe", "wordpiece"):
        raise ValueError(f"{folder / 'tokenizer_config.json'}: kind is {kind!r}, but must be 'bpe' or 'wordpiece'")
    load = load_tokenizer_json if (folder / "tokenizer.json").exists() else _load_bpe if kind == "bpe" else _load_wordpiece
    try:
        tokenizer = load(folder, config)
    except ValueError as error:
        vocabulary = next(folder / name for name in VOCABULARIES if (folder / name).exists())
        raise (error if str(folder) in str(error) else ValueError(f"{vocabulary}: {error}")) from None
    except (TypeError, AttributeError, KeyError):
        raise ValueError(f"{folder / 'tokenizer_config.json'}: a setting has a value of the wrong type: "
                         f"{DAMAGED}") from None
    tokenizer.folder = folder
    if config.get("fingerprint", tokenizer.fingerprint) != tokenizer.fingerprint:
        raise ValueError(f"{folder}: the files do not fit the fingerprint in tokenizer_config.json: one of them was cut "
                         f"short, changed, or comes from another tokenizer. Copy or save the tokenizer again; if the "
                         f"change was meant, delete the fingerprint from tokenizer_config.json")
    return tokenizer


def _load_bpe(folder, config):
    """vocab.json and merges.txt, with what tokenizer_config.json says, if anything -> ByteLevelBPE"""
    vocabulary = read_vocab_json(folder / "vocab.json")
    tokens, added = _with_added_tokens(folder, config, vocabulary)
    merges = read_merges(folder / "merges.txt", vocabulary)
    specials, roles = _special_tokens(config, tokens, added)
    made_for = str(config.get("tokenizer_class"))
    return ByteLevelBPE(tokens, merges, specials, config.get("add_prefix_space", False), max_length(config), roles, added=added,
                        templates=NO_TEMPLATES if made_for.startswith("GPT2") else None,
                        trim_offsets=config.get("trim_offsets", made_for.startswith("Roberta")))  # that class's default


def _load_wordpiece(folder, config):
    """vocab.txt, with what tokenizer_config.json says -> WordPiece; without it, cased if a capital letter stands in the vocabulary."""
    vocabulary = read_vocab_txt(folder / "vocab.txt")
    tokens, added = _with_added_tokens(folder, config, vocabulary)
    specials, roles = _special_tokens(config, tokens, added)
    uncased = not any(char.isupper() for token in tokens if token not in specials and not token.startswith("[")
                      for char in token)
    return WordPiece(tokens, specials, config.get("do_lower_case", uncased), config.get("strip_accents"),
                     config.get("tokenize_chinese_chars", True), config.get("max_input_chars_per_word", 100),
                     max_length(config), roles, added=added, not_pieces={token.content for token in added} - set(vocabulary))


def _with_added_tokens(folder, config, tokens):
    """The tokens, and those that were added to them: in ``added_tokens_decoder`` of the configuration, or, older, added_tokens.json.

    {"50265": {"content": "<ent>", "special": false, "normalized": true, "lstrip": false, ...}}; {"<ent>": 50265}
    """
    path, entries = folder / "tokenizer_config.json", config.get("added_tokens_decoder") or {}
    entries = [{**entry, "id": int(token_id)} for token_id, entry in entries.items()]
    if not entries:
        path = folder / "added_tokens.json"
        special = {token.content for token in named_tokens(config)}
        entries = [{"content": token, "id": token_id, "special": token in special, "normalized": token not in special, "lstrip": False}
                   for token, token_id in read_config(path).items()]
    document = {"model": {"vocab": {token: i for i, token in enumerate(tokens)}}, "added_tokens": entries}
    check_shapes(path, document, TOKENIZER_JSON)
    return all_tokens(path, document, {})


def _special_tokens(config, tokens, added):
    """Which tokens are special, and the parts that the configuration gives them. -> (list of tokens, {role: token})"""
    vocabulary = set(tokens)
    roles = {role: content(config.get(f"{role}_token")) for role in ROLES}
    roles = {role: token for role, token in roles.items() if token in vocabulary}
    customary = [name for role, names in ROLES.items() if role not in roles for name in names]
    named = [*roles.values(), *customary, *(token.content for token in [*added, *named_tokens(config)] if token.special)]
    return list(dict.fromkeys(token for token in named if token in vocabulary)), roles
