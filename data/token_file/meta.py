"""meta.json: what a token file consists of, with a checksum of every file and of itself."""
import json
import re
import zlib

import numpy as np

from tokenizer.unknown import UnknownText, describe_unknown
from tokenizer.utils.terminal import plural

FORMAT = "minibert token file"
VERSION = 2
INDEX = ("segments.bin", "documents.bin")
COUNTS = ("num_tokens", "num_segments", "num_documents", "num_bytes")
OWN_FILES = re.compile(r"(ids(-\d+)?|segments|documents)\.bin|meta\.json")  # ids.bin: version 1
REPAIR = ("prepare it again with python -m data prepare "
          "(in a run: remove its folder data/, then train.py --resume)")


def read_meta(folder):
    """Return meta.json as a dict; ValueError if it is missing, damaged or not of a token file."""
    path = folder / "meta.json"
    if folder.is_file():
        raise ValueError(f"{folder} is a file: name the folder of a token file")
    if not path.is_file():  # a run may have been named
        for meant in (folder / "data" / "train", folder.parent / "data" / folder.name):
            if (meant / "meta.json").is_file():
                raise ValueError(f"{folder} is not a token file: did you mean {meant}?")
    if not folder.is_dir():
        # Without --split, train/ would also contain the validation documents.
        split = f" --split {folder.name}" if folder.name in ("train", "eval") else ""
        raise ValueError(f"{folder}: no such folder; make a token file with "
                         f"python -m data prepare{split} --out {folder}")
    if not path.is_file():
        raise ValueError(f"{path} is missing: {folder} is not a complete token file; {REPAIR}")
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
        is_valid = meta == with_checksum(meta) and meta["format"] == FORMAT
        version = meta["version"]
    except (ValueError, KeyError, AttributeError):
        is_valid = False
    if not is_valid:
        raise ValueError(f"{path} is damaged; {REPAIR}")
    if version != VERSION:
        raise ValueError(f"{path} has version {version}, this program reads {VERSION}; {REPAIR}")
    return meta


def with_checksum(entries):
    """Return a dict with the checksum of its other entries.

    >>> with_checksum({"num_tokens": 5})
    {'num_tokens': 5, 'crc32': 'a0b5e0a2'}
    """
    rest = {key: value for key, value in entries.items() if key != "crc32"}
    checksum = zlib.crc32(json.dumps(rest, sort_keys=True).encode())
    return {**rest, "crc32": f"{checksum:08x}"}


def extend_checksum(checksum, data):
    """Return a file's CRC-32 after ``data`` is appended: ``"00000000", b"a" -> "e8b7be43"``."""
    return f"{zlib.crc32(data, int(checksum, 16)):08x}"


def check_ids(ids, vocab_size, source):
    """Raise ValueError if an id is not in the vocabulary."""
    if len(ids) and (ids.max() >= vocab_size or ids.min() < 0):
        wrong = ids.max() if ids.max() >= vocab_size else ids.min()
        raise ValueError(f"{source} contains the id {wrong:,}, but the vocabulary has "
                         f"{vocab_size:,} ids: prepare the corpus again with this tokenizer")


def file_sizes(meta):
    """Return the size in bytes of each file of a token file, except meta.json.

    With 5 ids (uint16), 3 segments and 2 documents:
    ``{"ids-00000.bin": 10, "segments.bin": 32, "documents.bin": 24}``
    """
    bytes_per_id = np.dtype(meta["dtype"]).itemsize
    sizes = {shard["file"]: shard["num_tokens"] * bytes_per_id for shard in meta["shards"]}
    segments, documents = INDEX
    sizes[segments] = 8 * (meta["num_segments"] + 1)
    sizes[documents] = 8 * (meta["num_documents"] + 1)
    return sizes


def describe_amount(meta):
    """``{"num_documents": 12, "num_bytes": 68_600_000} -> "12 documents (68.6 MB of text)"``"""
    num_bytes = meta["num_bytes"]
    size = f"{num_bytes / 1e6:,.1f} MB" if num_bytes >= 1e5 else f"{num_bytes:,} bytes"
    return f"{plural(meta['num_documents'], 'document')} ({size} of text)"


def unknown_text(meta):
    """Return the ``UnknownText`` of a token file; None for BPE."""
    return UnknownText.from_json(meta["unknown"]) if "unknown" in meta else None


def unknown_report(meta):
    """Return the share of [UNK] and its reason as a dict to print; {} if there can be none."""
    unknown = unknown_text(meta)
    if unknown is None:
        return {}
    num_tokens, num_bytes = meta["num_tokens"], meta["num_bytes"]
    return {"unknown_tokens_share": unknown.num_words / num_tokens,
            "unknown_text_share": unknown.num_bytes / num_bytes,
            "unknown": describe_unknown(unknown, num_tokens, num_bytes)}


def check_replaceable(folder):
    """Raise ValueError if replacing the folder would delete other files than a token file's."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: choose a new or empty folder")
    if not folder.is_dir():
        return
    names = [path.name for path in folder.iterdir()]
    if all(OWN_FILES.fullmatch(name) for name in names):
        return  # empty, or a token file that may be damaged or of an older version
    try:
        read_meta(folder)
    except ValueError:
        raise ValueError(f"{folder} contains something other than a token file: "
                         "choose a new or empty folder") from None
