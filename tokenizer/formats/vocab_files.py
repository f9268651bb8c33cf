"""Tokenizers on disk: the vocabulary's files, ``vocab.json`` + ``merges.txt`` or ``vocab.txt``, and folders as a whole.

Beside them stand ``tokenizer.json``, the whole tokenizer in one file (``ecosystem.py`` writes it, ``published.py`` reads it), and
``tokenizer_config.json``, which names the special tokens and holds the settings and a fingerprint, by which files that are
cut short, changed or mixed up are found out. ``tokens.tsv`` is for the eye (``token_table.py``). A folder from elsewhere may have
only some of these. Nothing that is loaded runs code.
"""
import json
import re
from pathlib import Path

VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt")
A_TOKENIZER_IS = "a tokenizer is a folder with tokenizer.json, with vocab.json and merges.txt, or with vocab.txt"
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
    unfit = next((token for token in tokens if "\n" in token or token.endswith("\r")), None)
    if unfit is not None:
        raise ValueError(f"token {unfit!r} holds a line end, but vocab.txt has one token a line: leave it out")
    return {"vocab.txt": "\n".join(tokens) + "\n"}


def holds_tokenizer(folder):
    """Whether there is a tokenizer in ``folder``, or what is left of one."""
    return any((Path(folder) / name).exists() for name in VOCABULARIES)


# Reading

# Folders without tokenizer.json

def content(token):
    """Hugging Face writes a special token as a string, or as {"content": "<mask>", "lstrip": true, ...}."""
    token = token.get("content") if isinstance(token, dict) else token
    if token is not None and not isinstance(token, str):
        raise ValueError(f'tokenizer_config.json: a special token must be a string or {{"content": "<mask>", ...}}, but one is {token!r}')
    return token


def max_length(config):
    length = config.get("model_max_length")
    return length if isinstance(length, int) and length < 10**9 else None  # theirs may be 1e30, for 'not known'


# Single files

def read_text(path):
    """The text of a UTF-8 file, with errors that say what to do."""
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder, where a file belongs; {A_TOKENIZER_IS}")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {A_TOKENIZER_IS}")
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
            raise ValueError(f"{path}: {twice!r} stands there twice{place(path, twice, key=True)}: {DAMAGED}")
        return keys
    try:
        content = json.loads(read_text(path), object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: line {error.lineno} column {error.colno} is not JSON ({error.msg}): "
                         f"{DAMAGED}") from None
    except RecursionError:
        raise ValueError(f"{path}: its brackets are nested too deeply for a tokenizer: {DAMAGED}") from None
    except ValueError as error:
        if str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path}: it holds a number of too many digits ({error}): {DAMAGED}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: must be a JSON object {{...}}, but is a {type(content).__name__}")
    return content


def place(path, *strings, key=False):
    """Where a file holds a string, or several one after the other, for the last time: ' (line 3 column 5)', '' where it does not.

    In JSON files strings are searched for as such, {"!": 5} for '!', and if ``key`` only before a colon; else whole lines.
    """
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".json":
        lines = text.split("\n")
        return f" (line {lines.index(strings[0]) + 1})" if strings[0] in lines else ""
    found = [(match[1], match.start()) for match in re.finditer(r'("(?:[^"\\]|\\.)*")(\s*:)?', text) if match[2] or not key]
    spelled = [(json.dumps(string), json.dumps(string, ensure_ascii=False)) for string in strings]
    for i in range(len(found) - len(strings), -1, -1):
        if all(found[i + j][0] in spellings for j, spellings in enumerate(spelled)):
            line_begins = text.rfind("\n", 0, found[i][1]) + 1
            return f" (line {text.count(chr(10), 0, line_begins) + 1} column {found[i][1] - line_begins + 1})"
    return ""


def read_config(path):
    """A file that a folder may lack, such as tokenizer_config.json; then {}."""
    return read_json(path) if path.exists() else {}


def read_vocab_json(path):
    """{"token": id, ...} -> the tokens in order of ids, which must be 0, 1, 2, ... without a gap."""
    return tokens_by_id(path, read_json(path))


def tokens_by_id(path, vocabulary):
    """{"a": 1, "b": 0} -> ["b", "a"]; ``path`` is the file to name where an id is missing or there twice."""
    tokens = [None] * len(vocabulary)
    for token, i in vocabulary.items():
        if type(i) is not int or not 0 <= i < len(tokens) or tokens[i] is not None:
            raise ValueError(f"{path}: {token!r} has the id {i!r}{place(path, token, key=True)}, but the {len(tokens):,} tokens must have "
                             f"the ids 0 to {len(tokens) - 1:,}, each once: {DAMAGED}")
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
