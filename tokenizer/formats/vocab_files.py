"""Read and write ``vocab.json`` and ``merges.txt`` (BPE), and ``vocab.txt`` (WordPiece).

A tokenizer folder also has

    tokenizer.json           the complete tokenizer in one file (``tokenizer_json_write.py``)
    tokenizer_config.json    special tokens, settings, and a fingerprint that detects changed files
    tokens.tsv               the vocabulary for people to read (``token_table.py``)

A folder from elsewhere may have only some of these. Loading never runs code.
"""
import codecs
import json
from pathlib import Path

from tokenizer.utils.terminal import plural
from tokenizer.utils.unicode_tables import WHITE_SPACE

VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt")
FOLDER_CONTENTS = "a tokenizer folder has tokenizer.json, vocab.json and merges.txt, or vocab.txt"
MERGES_HEADER = "#version: 0.2"
# Takes an id without a token. No text is split into it: a word of BERT never has a bracket next to
# a letter, and no merge of BPE makes it.
UNUSED = "[unused-id-{}]"
MAX_ID = 1 << 22  # the largest published vocabularies have a million tokens


def holds_tokenizer(folder):
    """Return whether there is a tokenizer, or a part of one, in ``folder``."""
    return any((Path(folder) / name).exists() for name in VOCABULARIES)


# Writing

def bpe_files(tokens, merges):
    """Return {name: text} of a byte-level BPE, byte for byte as the reference writes them."""
    ids = {token: i for i, token in enumerate(tokens)}
    vocabulary = json.dumps(ids, ensure_ascii=False, separators=(",", ":"))
    lines = [MERGES_HEADER, *(f"{left} {right}" for left, right in merges)]
    return {"vocab.json": vocabulary, "merges.txt": "\n".join(lines) + "\n"}


def wordpiece_files(tokens, added):
    """Return {name: text} of a WordPiece: one token per line, in order of ids.

    added: tokens that tokenizer.json has as added tokens, so vocab.txt may lack those with a line
    end, and has ``UNUSED`` instead.
    """
    lines = []
    for i, token in enumerate(tokens):
        if "\n" in token or token.endswith("\r"):
            if token not in added:
                raise ValueError(f"token {token!r} contains a line end, which vocab.txt cannot "
                                 "store")
            token = UNUSED.format(i)
        lines.append(token)
    return {"vocab.txt": "\n".join(lines) + "\n"}


# Reading

def read_text(path):
    """Return the text of a UTF-8 file, without the byte-order mark that some editors write."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {FOLDER_CONTENTS}")
    check_downloaded(path)
    content = path.read_bytes()
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError(f"{path}: is UTF-16: save it again as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise damaged(path, "is not UTF-8 text") from None


def check_downloaded(path):
    """Raise ValueError if a download left something else than the file in its place."""
    with open(path, "rb") as file:
        start = file.read(100).lstrip().lower()
    if start.startswith(b"version https://git-lfs"):
        raise ValueError(f"{path}: is a Git LFS pointer, not the file: run git lfs pull in its "
                         "repository")
    if start.startswith((b"<!doctype html", b"<html")):
        raise ValueError(f"{path}: is a web page, not the file: download it again")


def damaged(path, problem):
    """Return the error for a file that cannot be a correct tokenizer file."""
    return ValueError(f"{path}: {problem}: the file is damaged, cut short, or belongs to another "
                      "tokenizer; copy or save the tokenizer again")


def read_json(path):
    """Return the JSON object in a file."""
    text = read_text(path)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise damaged(path, f"is not valid JSON ({error})") from None
    if not isinstance(document, dict):
        raise damaged(path, "is not a JSON object {...}")
    return document


def read_config(path):
    """Return the JSON object in a file; {} if the file does not exist."""
    return read_json(path) if path.exists() else {}


def read_vocab_json(path):
    """Return the tokens of vocab.json in order of their ids."""
    return tokens_by_id(path, read_json(path))


def tokens_by_id(path, vocabulary):
    """Return the tokens in order of their ids, which may have gaps: ``UNUSED`` fills them.

    {"a": 2, "b": 0} -> ["b", "[unused-id-1]", "a"]
    """
    by_id = {}
    for token, token_id in vocabulary.items():
        is_valid = type(token_id) is int and 0 <= token_id < MAX_ID
        if not is_valid or token_id in by_id:
            raise damaged(path, f"{token!r} has the id {token_id!r}, but the ids must be whole "
                                f"numbers from 0 to {MAX_ID:,}, each once")
        by_id[token_id] = token
    return [by_id.get(i, UNUSED.format(i)) for i in range(max(by_id, default=-1) + 1)]


def read_merges(path, tokens):
    """Return the merges of merges.txt as pairs of tokens, in order of rank."""
    lines = [line.rstrip(" \t\r") for line in read_text(path).split("\n")]
    if lines[0].startswith("#version"):
        lines[0] = ""
    return check_merges(path, [line.split(" ") for line in lines if line], tokens)


def check_merges(path, merges, tokens):
    """Return merges as tuples; every part and every result must be a token, every merge unique."""
    vocabulary = set(tokens)
    pairs = {}  # an ordered set
    for merge in merges:
        pair = tuple(merge)
        if len(pair) != 2 or not all(pair):
            raise damaged(path, f"merge {merge!r} is not a pair of tokens")
        for token in (*pair, "".join(pair)):
            if token not in vocabulary:
                raise damaged(path, f"merge {merge!r} needs {token!r}, which is not a token")
        if pair in pairs:
            raise damaged(path, f"merge {merge!r} occurs twice")
        pairs[pair] = None
    return list(pairs)


def read_vocab_txt(path, exact):
    """Return (tokens of vocab.txt in order of ids, which ids have no token or "").

    exact: tokens that may end in white space, because another file has them

    As the tokenizers library reads it: white space at the end of a line is dropped; a blank line
    has an id, but no token; the last of several equal lines has the token. The lines without a
    token become ``UNUSED``.

    "the \\n\\nthe\\n" -> ["[unused-id-0]", "[unused-id-1]", "the"]
    """
    text = read_text(path)
    lines = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
    spaces = "".join(WHITE_SPACE)
    tokens = [line if line in exact else line.rstrip(spaces) for line in lines]
    last_line = {token: i for i, token in enumerate(tokens)}
    repeated = {token for i, token in enumerate(tokens) if token and last_line[token] != i}
    num_blank = tokens.count("")

    found = []
    if repeated:
        found.append(f"{plural(len(repeated), 'token')} more than once, such as "
                     f"{min(repeated)!r}: the last line counts")
    if num_blank:
        found.append(f"{plural(num_blank, 'blank line')}: an id without a token")
    for i, token in enumerate(tokens):
        if not token or last_line[token] != i:
            tokens[i] = UNUSED.format(i)
    return tokens, "; ".join(found)


# tokenizer_config.json

def token_content(token):
    """Return the string of a special token, which may be given as {"content": "<mask>", ...}."""
    if isinstance(token, dict):
        token = token.get("content")
    if token is not None and not isinstance(token, str):
        raise ValueError(f"tokenizer_config.json: special token {token!r} is not a string")
    return token


def max_length(config):
    """Return ``model_max_length``; None if it is unknown, which others write as 1e30."""
    length = config.get("model_max_length")
    return length if isinstance(length, int) and length < 10**9 else None
