"""Load a tokenizer folder, saved by this project or another."""
import sys
from pathlib import Path

from tokenizer.added_tokens import ROLES
from tokenizer.bpe import ByteLevelBPE
from tokenizer.formats.other_kinds import describe_other_kind
from tokenizer.formats.tokenizer_json_read import (
    NO_TEMPLATES,
    all_tokens,
    load_tokenizer_json,
    named_tokens,
)
from tokenizer.formats.vocab_files import (
    FOLDER_CONTENTS,
    VOCABULARIES,
    damaged,
    holds_tokenizer,
    max_length,
    read_config,
    read_merges,
    read_vocab_json,
    read_vocab_txt,
    token_content,
)
from tokenizer.wordpiece import WordPiece


def load_tokenizer(folder):
    """Return the tokenizer that was saved in ``folder``, by this project or another.

    ``tokenizer.json`` is read if it exists, and must agree with the other files. Without it and
    without ``tokenizer_config.json``, the usual special tokens are searched for in the vocabulary,
    and a WordPiece is uncased if no token has a capital letter.

    Raises FileNotFoundError or ValueError, which name the file.

    The folder may also be a run of train.py, whose tokenizer/ is loaded.

    load_tokenizer("runs/kant/tokenizer") -> a ByteLevelBPE
    """
    folder = Path(folder)
    if holds_tokenizer(folder / "tokenizer") and not holds_tokenizer(folder):
        folder = folder / "tokenizer"
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; {FOLDER_CONTENTS}")
    if problem := describe_other_kind(folder):
        raise ValueError(problem)
    if not holds_tokenizer(folder):
        raise FileNotFoundError(f"{folder}: has no tokenizer; {FOLDER_CONTENTS}")
    vocabulary = next(folder / name for name in VOCABULARIES if (folder / name).exists())

    config = _read_configs(folder)
    load = _choose_loader(folder, config)
    try:
        tokenizer = load(folder, config)
    except ValueError as error:
        if str(folder) in str(error):
            raise
        raise ValueError(f"{vocabulary}: {error}") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise damaged(vocabulary, "or tokenizer_config.json lacks a key or has a value of the "
                                  f"wrong type ({error!r})") from error
    tokenizer.folder = folder

    if config.get("fingerprint", tokenizer.fingerprint) != tokenizer.fingerprint:
        raise ValueError(f"{folder}: the fingerprint in tokenizer_config.json differs, so a file "
                         "was changed or cut short: copy or save the tokenizer again, or, if you "
                         "meant the change, delete the fingerprint")
    return tokenizer


def _read_configs(folder):
    """Return the settings and special tokens of both configuration files as one dict."""
    config = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        values = read_config(folder / name)
        config |= {key: value for key, value in values.items() if value is not None}
    return config


def _choose_loader(folder, config):
    is_wordpiece = (folder / "vocab.txt").exists() and not (folder / "merges.txt").exists()
    kind = config.get("kind") or ("wordpiece" if is_wordpiece else "bpe")
    loaders = {"bpe": _load_bpe, "wordpiece": _load_wordpiece}
    if str(kind) not in loaders:
        path = folder / "tokenizer_config.json"
        raise ValueError(f"{path}: kind is {kind!r}, but must be 'bpe' or 'wordpiece'")
    if (folder / "tokenizer.json").exists():
        return load_tokenizer_json
    return loaders[kind]


def _load_bpe(folder, config):
    """Load vocab.json and merges.txt."""
    vocabulary = read_vocab_json(folder / "vocab.json")
    merges = read_merges(folder / "merges.txt", vocabulary)
    # These classes of transformers have defaults that are not in the files.
    tokenizer_class = str(config.get("tokenizer_class"))
    templates = NO_TEMPLATES if tokenizer_class.startswith("GPT2") else None
    trim_offsets = config.get("trim_offsets", tokenizer_class.startswith("Roberta"))
    return ByteLevelBPE(merges=merges, add_prefix_space=config.get("add_prefix_space", False),
                        templates=templates, trim_offsets=trim_offsets,
                        **_shared_arguments(folder, config, vocabulary))


def _load_wordpiece(folder, config):
    """Load vocab.txt."""
    vocabulary, unusual = read_vocab_txt(
        folder / "vocab.txt", exact={token.content for token in named_tokens(config)})
    if unusual:
        print(f"note: {folder / 'vocab.txt'} has {unusual}", file=sys.stderr)
    shared = _shared_arguments(folder, config, vocabulary)
    special_tokens = set(shared["special_tokens"])
    ordinary = (token for token in shared["tokens"]
                if token not in special_tokens and not token.startswith("["))
    is_cased = any(char.isupper() for token in ordinary for char in token)
    added = {token.content for token in shared["added"]}
    return WordPiece(lowercase=config.get("do_lower_case", not is_cased),
                     strip_accents=config.get("strip_accents"),
                     tokenize_chinese_chars=config.get("tokenize_chinese_chars", True),
                     max_input_chars_per_word=config.get("max_input_chars_per_word", 100),
                     not_pieces=added - set(vocabulary), **shared)


def _shared_arguments(folder, config, vocabulary):
    """Return the arguments that both tokenizer classes take, as a dict."""
    tokens, added = _with_added_tokens(folder, config, vocabulary)
    special_tokens, roles = _special_tokens(config, tokens, added)
    return {"tokens": tokens, "special_tokens": special_tokens,
            "model_max_length": max_length(config), "roles": roles, "added": added}


def _with_added_tokens(folder, config, vocabulary):
    """Return (all tokens, added tokens).

    Added tokens are in tokenizer_config.json, under "added_tokens_decoder":
        {"50265": {"content": "<ent>", "special": false, "normalized": true, "lstrip": false}}
    or, in older folders, in added_tokens.json:
        {"<ent>": 50265}
    """
    path = folder / "tokenizer_config.json"
    entries = []
    for token_id, entry in config.get("added_tokens_decoder", {}).items():
        entries.append({**entry, "id": int(token_id)})
    if not entries:
        path = folder / "added_tokens.json"
        special = {token.content for token in named_tokens(config)}
        for token, token_id in read_config(path).items():
            entries.append({"content": token, "id": token_id, "special": token in special,
                            "normalized": token not in special, "lstrip": False})
    ids = {token: i for i, token in enumerate(vocabulary)}
    tokens, added = all_tokens(path, {"model": {"vocab": ids}, "added_tokens": entries}, {})
    if len(tokens) > len(ids.keys() | {token.content for token in added}):
        raise damaged(path, f"has ids of more than the {len(ids):,} tokens of the vocabulary and "
                            "its own")
    return tokens, added


def _special_tokens(config, tokens, added):
    """Return (special tokens, {role: token})."""
    vocabulary = set(tokens)
    roles = {}
    usual = []
    for role, names in ROLES.items():
        token = token_content(config.get(f"{role}_token"))
        if token in vocabulary:
            roles[role] = token
        else:
            usual += names
    marked = [token.content for token in [*added, *named_tokens(config)] if token.special]
    candidates = dict.fromkeys([*roles.values(), *usual, *marked])
    return [token for token in candidates if token in vocabulary], roles
