"""Tokenizers on disk: the files of the ecosystem, ``vocab.json`` + ``merges.txt`` or ``vocab.txt``, written and read.

``tokenizer_config.json`` beside them says which kind it is, names the special tokens and holds the settings and a
fingerprint, by which files that are cut short, changed or mixed up are found out. A folder from elsewhere may lack it.
Nothing that is loaded runs code.
"""
import json
from pathlib import Path

from .files import atomic_folder, atomic_write

OWN_FILES = {"vocab.json", "merges.txt", "vocab.txt", "tokenizer_config.json"}
MERGES_HEADER = "#version: 0.2"
DAMAGED = "the file is damaged or cut short: copy or save the tokenizer again"


# Writing

def bpe_files(tokens, merges):
    """The two files of a byte-level BPE, byte for byte as the reference writes them."""
    vocabulary = json.dumps({token: i for i, token in enumerate(tokens)}, ensure_ascii=False, separators=(",", ":"))
    lines = [MERGES_HEADER] + [f"{left} {right}" for left, right in merges]
    return {"vocab.json": vocabulary, "merges.txt": "\n".join(lines) + "\n"}


def wordpiece_files(tokens):
    """One token a line; the line is the id."""
    return {"vocab.txt": "\n".join(tokens) + "\n"}


def save_files(folder, files):
    """Write {name: text} into ``folder``: all at once, or file by file where the folder holds other things too."""
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: is a file; a tokenizer is saved as a folder")
    if folder.exists() and {path.name for path in folder.iterdir()} - OWN_FILES:
        for name, text in files.items():
            atomic_write(folder / name, text)
        return
    with atomic_folder(folder) as temporary:
        for name, text in files.items():
            (temporary / name).write_bytes(text.encode("utf-8"))


# Reading

def load_tokenizer(folder):
    """The tokenizer that was saved in ``folder``, by this project or another.

    Without a ``tokenizer_config.json`` the customary special tokens are looked for in the vocabulary, and WordPiece is
    taken to be uncased if no token has a capital letter. Raises FileNotFoundError or ValueError that names the file,
    the line and what to do.

    load_tokenizer("runs/kant/tokenizer") -> a ByteLevelBPE
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; a tokenizer is a folder with vocab.json and merges.txt, or "
                                f"with vocab.txt")
    config = read_config(folder / "tokenizer_config.json")
    kind = config.get("kind") or ("wordpiece" if (folder / "vocab.txt").exists()
                                  and not (folder / "merges.txt").exists() else "bpe")
    if kind not in ("bpe", "wordpiece"):
        raise ValueError(f"{folder / 'tokenizer_config.json'}: kind is {kind!r}, but must be 'bpe' or 'wordpiece'")
    try:
        tokenizer = _load_bpe(folder, config) if kind == "bpe" else _load_wordpiece(folder, config)
    except ValueError as error:
        raise (error if str(folder) in str(error) else ValueError(f"{folder}: {error}")) from None
    except (TypeError, AttributeError):
        raise ValueError(f"{folder / 'tokenizer_config.json'}: a setting has a value of the wrong type: "
                         f"{DAMAGED}") from None
    tokenizer.folder = folder
    if config.get("fingerprint", tokenizer.fingerprint) != tokenizer.fingerprint:
        raise ValueError(f"{folder}: the files do not fit the fingerprint in tokenizer_config.json: one of them was cut "
                         f"short, changed, or comes from another tokenizer. Copy or save the tokenizer again; if the "
                         f"change was meant, delete the fingerprint from tokenizer_config.json")
    return tokenizer


def _load_bpe(folder, config):
    from .bpe import ByteLevelBPE
    tokens = read_vocab_json(folder / "vocab.json")
    merges = read_merges(folder / "merges.txt", tokens)
    specials, roles = _special_tokens(config, tokens)
    return ByteLevelBPE(tokens, merges, specials, bool(config.get("add_prefix_space", False)),
                        _max_length(config), roles)


def _load_wordpiece(folder, config):
    from .wordpiece import WordPiece
    tokens = read_vocab_txt(folder / "vocab.txt")
    specials, roles = _special_tokens(config, tokens)
    uncased = not any(char.isupper() for token in tokens if token not in specials and not token.startswith("[")
                      for char in token)
    return WordPiece(tokens, specials, config.get("do_lower_case", uncased), config.get("strip_accents"),
                     config.get("tokenize_chinese_chars", True), config.get("max_input_chars_per_word", 100),
                     _max_length(config), roles)


def _special_tokens(config, tokens):
    """Which tokens are special, and the roles that the configuration names. -> (list of tokens, {role: token})"""
    from .base import ROLES
    vocabulary = set(tokens)
    roles = {role: _content(config.get(f"{role}_token")) for role in ROLES}
    roles = {role: token for role, token in roles.items() if token in vocabulary}
    names = [name for role, names in ROLES.items() if role not in roles for name in names]
    more = config.get("additional_special_tokens") or []
    return list(dict.fromkeys([*roles.values(), *(token for token in [*names, *map(_content, more)]
                                                  if token in vocabulary)])), roles


def _content(token):
    """Hugging Face writes a special token as a string, or as {"content": "<mask>", "lstrip": true, ...}."""
    return token.get("content") if isinstance(token, dict) else token


def _max_length(config):
    length = config.get("model_max_length")
    return length if isinstance(length, int) and length < 10**9 else None  # theirs may be 1e30, for 'not known'


def read_text(path):
    """The text of a UTF-8 file, with errors that say what to do."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; a tokenizer is a folder with vocab.json and merges.txt, or with "
                                f"vocab.txt")
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: byte {error.start} is not UTF-8: {DAMAGED}") from None


def read_json(path):
    """A JSON object from ``path``; a key that stands there twice is an error."""
    def unique(pairs):
        keys = dict(pairs)
        if len(keys) < len(pairs):
            seen = set()
            twice = next(key for key, _ in pairs if key in seen or seen.add(key))
            raise ValueError(f"{path}: {twice!r} stands there twice: {DAMAGED}")
        return keys
    try:
        content = json.loads(read_text(path), object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: line {error.lineno} column {error.colno} is not JSON ({error.msg}): "
                         f"{DAMAGED}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: must be a JSON object {{...}}, but is a {type(content).__name__}")
    return content


def read_config(path):
    """tokenizer_config.json, {} where there is none."""
    return read_json(path) if path.exists() else {}


def read_vocab_json(path):
    """{"token": id, ...} -> the tokens in order of ids, which must be 0, 1, 2, ... without a gap."""
    vocabulary = read_json(path)
    tokens = [None] * len(vocabulary)
    for token, i in vocabulary.items():
        if type(i) is not int or not 0 <= i < len(tokens) or tokens[i] is not None:
            raise ValueError(f"{path}: {token!r} has the id {i!r}, but the {len(tokens):,} tokens must have the ids 0 to "
                             f"{len(tokens) - 1:,}, each once: {DAMAGED}")
        tokens[i] = token
    return tokens


def read_merges(path, tokens):
    """merges.txt -> pairs of tokens in order of rank; every part and every result must be in the vocabulary."""
    vocabulary, merges, seen = set(tokens), [], set()
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        line = line.removesuffix("\r")
        if not line or number == 1 and line.startswith("#version"):
            continue
        parts = line.split(" ")
        if len(parts) != 2 or not all(parts):
            raise ValueError(f"{path}: line {number} must be two tokens with a space between, but is {line!r}: {DAMAGED}")
        unknown = [token for token in (*parts, "".join(parts)) if token not in vocabulary]
        if unknown:
            raise ValueError(f"{path}: line {number} needs {unknown[0]!r}, which is not in vocab.json: {DAMAGED}, or it "
                             f"belongs to another vocabulary")
        if tuple(parts) in seen:
            raise ValueError(f"{path}: line {number} repeats the merge {line!r}: {DAMAGED}")
        seen.add(tuple(parts))
        merges.append(tuple(parts))
    return merges


def read_vocab_txt(path):
    """vocab.txt -> tokens, one a line."""
    lines = [line.removesuffix("\r") for line in read_text(path).removesuffix("\n").split("\n")]
    seen = {}
    for number, token in enumerate(lines, start=1):
        if not token:
            raise ValueError(f"{path}: line {number} is empty, but each line must hold a token: {DAMAGED}")
        if token in seen:
            raise ValueError(f"{path}: line {number} repeats {token!r} of line {seen[token]}: {DAMAGED}")
        seen[token] = number
    return lines
