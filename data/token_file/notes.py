"""notes.jsonl: what of an unfinished token file is safely on disk, for resuming after an interrupt.

The first line is a header: format, version, vocabulary size and tokenizer. Every further line is a
note: the counts, the shards (with length and checksum) and the index files at that moment, what
the caller needs to resume, and a checksum of the note. A note lists only the shards since the one
that was current at the previous note, so a reader needs all notes in order.
"""
import json

import numpy as np

from data.token_file.meta import INDEX, VERSION, with_checksum

NOTES = "notes.jsonl"


def read_notes(folder, header):
    """Return (notes, reason) for an unfinished token file.

    notes    the notes, as dicts, that agree with the header and with the files in the folder
    reason   why there are none, a clause for the user; "" if the folder is new
    """
    path = folder / NOTES
    if not path.exists():
        return [], ""
    try:
        found_header, *lines = path.read_text(encoding="utf-8").split("\n")
        found_header = json.loads(found_header)
        if found_header != header:
            is_dict = isinstance(found_header, dict)
            if is_dict and found_header.get("version") != VERSION:
                return [], "it was made with another version of this program"
            return [], "it was made with another tokenizer"
        notes = _usable_notes(folder, header["dtype"], lines)
    except (OSError, ValueError):
        return [], "it is damaged"
    if not notes and lines:
        return [], "it is damaged"
    return notes, ""


def _usable_notes(folder, dtype, lines):
    """Return the notes up to the first that disagrees with the files."""
    sizes_on_disk = {path.name: path.stat().st_size for path in folder.iterdir()}
    notes = []
    num_shards = 1
    for line in lines:
        note = _parse(line)
        if note is None:
            continue
        if note["first_shard"] != num_shards - 1:
            break  # a note with other shards is missing
        sizes = file_sizes(note, note["shards"], dtype)
        if any(sizes_on_disk.get(name, -1) < size for name, size in sizes.items()):
            break  # a file is missing or shorter than it was
        notes.append(note)
        num_shards = note["first_shard"] + len(note["shards"])
    return notes


def _parse(line):
    """Return a line as a dict; None if it is not a note or was cut short by a crash."""
    try:
        note = json.loads(line)
        return note if note == with_checksum(note) else None
    except (ValueError, AttributeError):
        return None


def file_sizes(counts, shards, dtype):
    """Return the size in bytes of each file of a token file.

    With 5 ids (uint16), 3 segments and 2 documents:
    ``{"ids-00000.bin": 10, "segments.bin": 32, "documents.bin": 24}``
    """
    sizes = {shard["file"]: shard["num_tokens"] * np.dtype(dtype).itemsize for shard in shards}
    segments, documents = INDEX
    sizes[segments] = 8 * (counts["num_segments"] + 1)
    sizes[documents] = 8 * (counts["num_documents"] + 1)
    return sizes


def describe_amount(counts):
    """``{"num_documents": 12, "num_bytes": 68_600_000} -> "12 documents (68.6 MB of text)"``"""
    num_documents = counts["num_documents"]
    num_bytes = counts["num_bytes"]
    size = f"{num_bytes / 1e6:,.1f} MB" if num_bytes >= 1e5 else f"{num_bytes:,} bytes"
    return f"{num_documents:,} document{'s' if num_documents != 1 else ''} ({size} of text)"
