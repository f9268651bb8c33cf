"""Write a token file: the folder appears when it is complete, and an interrupted writer can resume.

The token file ``tokens`` is written in a hidden folder next to it, ``.tokens.part``, which is
renamed at the end. ``write_note`` makes sure that everything written so far is on disk and
appends a line to ``notes.jsonl`` (see notes.py). After an interrupt or a crash, the next writer
of the same token file reads these notes, the caller decides how many of them are still valid
(``resume_after``), and the files are truncated to what the last valid note says.
"""
import contextlib
import errno
import json
import os
from itertools import pairwise
from pathlib import Path

import numpy as np

from data.token_file.meta import (
    COUNTS,
    FORMAT,
    INDEX,
    VERSION,
    check_ids,
    check_replaceable,
    extend_checksum,
    with_checksum,
)
from data.token_file.notes import NOTES, describe_amount, file_sizes, read_notes
from data.token_file.shards import SHARD_SIZE, assign_to_shards, shard_name
from tokenizer.fast.corpus_encoder import dtype_for
from tokenizer.utils.files import atomic_write, errors_name, locked, remove, replace_folder, sync
from tokenizer.utils.workers import delay_interrupts

FIRST_START = np.zeros(1, np.int64).tobytes()  # the first segment and document start at 0


class TokenFileWriter:
    """Write a token file batch by batch, in a ``with`` block.

    The folder appears at the end of the block; an older token file in it is then replaced. If the
    block fails, everything up to the last note is kept for a later writer. Without a note nothing
    is kept.

    notes             of an interrupted writer of the same token file, oldest first, as dicts
    unusable_reason   why the work of an interrupted writer cannot be used, or ""

    Raises ValueError if ``folder`` contains something else, another process writes it, or an id
    is outside the vocabulary; OSError if the disk is full.

    >>> from data import TokenFile
    >>> import tempfile; folder = tempfile.mkdtemp()
    >>> with TokenFileWriter(folder, vocab_size=10, tokenizer_fingerprint="") as writer:
    ...     writer.add([7, 8, 9], segment_lengths=[2, 1], document_lengths=[2], num_bytes=12)
    >>> TokenFile(folder).segment(0).tolist()
    [7, 8]
    """

    def __init__(self, folder, vocab_size, tokenizer_fingerprint, shard_size=SHARD_SIZE):
        self.folder = Path(folder)
        self.part = self.folder.parent / f".{self.folder.name}.part"
        self.shard_size = shard_size
        self.dtype = dtype_for(vocab_size)
        self.header = {
            "format": FORMAT,
            "version": VERSION,
            "dtype": self.dtype,
            "vocab_size": vocab_size,
            "tokenizer_fingerprint": tokenizer_fingerprint,
        }

    def __enter__(self):
        self._context = self._write_folder()
        return self._context.__enter__()

    def __exit__(self, *error):
        return self._context.__exit__(*error)

    @contextlib.contextmanager
    def _write_folder(self):
        check_replaceable(self.folder)
        with errors_name(self.folder):
            self.part.mkdir(parents=True, exist_ok=True)
        with locked(self.part, f"{self.folder} is being written by another process: "
                               "wait for it, or choose another folder"):
            self.notes, self.unusable_reason = read_notes(self.part, self.header)
            try:
                with self._open_files():
                    try:
                        yield self
                    finally:
                        # Keep all that was added, also after an error. A full disk may refuse.
                        with delay_interrupts(), contextlib.suppress(OSError):
                            self.write_note()
                self._move_into_place()
            except BaseException as error:
                self.notes, _ = read_notes(self.part, self.header)
                if not self.notes:
                    remove(self.part)
                self._raise_with_hint(error)
                raise

    @contextlib.contextmanager
    def _open_files(self):
        """Open all files, truncated to what the notes say, and close them at the end."""
        mode = "r+b" if self.notes else "wb"
        with contextlib.ExitStack() as stack:
            self._index = [stack.enter_context(open(self.part / name, mode)) for name in INDEX]
            self._shard = None
            stack.callback(lambda: self._shard and self._shard.close())
            self.resume_after(len(self.notes))
            yield

    def _move_into_place(self):
        if not self.meta["num_tokens"]:
            raise ValueError(f"{self.folder}: nothing to write, the corpus has no text")
        content = json.dumps(with_checksum(self.meta), indent=1) + "\n"
        (self.part / "meta.json").write_text(content, encoding="utf-8")
        with errors_name(self.folder):
            replace_folder(self.part, self.folder)
        # Only now: a writer that is killed before this line can still resume from the notes.
        (self.folder / NOTES).unlink(missing_ok=True)

    def _raise_with_hint(self, error):
        """After Ctrl-C or on a full disk, raise an error that says how much is kept."""
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            kept = "nothing is kept"
            if self.notes:
                kept = (f"the first {self.notes[-1]['num_tokens']:,} are kept, "
                        "and the same command resumes after them")
            raise OSError(errno.ENOSPC,
                          f"the disk is full after {self.meta['num_tokens']:,} tokens; {kept}: "
                          "free some space or choose another disk", str(self.folder)) from error
        if isinstance(error, KeyboardInterrupt) and self.notes:
            raise KeyboardInterrupt(f"kept: {describe_amount(self.notes[-1])}; "
                                    "repeat the command to resume") from error

    @property
    def meta(self):
        """What meta.json will contain, as far as it is written."""
        return self._state[0]

    # -------------------------------------------------------------------------- adding documents

    def add(self, ids, segment_lengths, document_lengths, num_bytes, resume_data=None):
        """Append documents.

        ids                the ids of all documents, one after another
        segment_lengths    the number of ids in each segment
        document_lengths   the number of segments in each document
        num_bytes          the size of their text
        resume_data        a dict that the next note keeps for a later writer's caller
        """
        ids = np.asarray(ids, np.int64)  # (num_ids,)
        segment_lengths = np.asarray(segment_lengths, np.int64)  # (num_segments,)
        document_lengths = np.asarray(document_lengths, np.int64)  # (num_documents,)
        if segment_lengths.sum() != len(ids) or document_lengths.sum() != len(segment_lengths):
            raise ValueError(
                f"the lengths do not fit: {len(ids)} ids in segments of {segment_lengths.sum()}, "
                f"{len(segment_lengths)} segments in documents of {document_lengths.sum()}")
        if not document_lengths.all():
            raise ValueError("a document has no segments")
        meta = self.meta
        check_ids(ids, meta["vocab_size"], "the tokenizer's output")

        segment_ends = segment_lengths.cumsum()  # in ids of this batch
        document_ends = document_lengths.cumsum()  # in segments of this batch
        index = [self._append_index(0, segment_ends + meta["num_tokens"]),
                 self._append_index(1, document_ends + meta["num_segments"])]
        ends_in_ids = segment_ends[document_ends - 1].tolist()
        shards = self._append_ids(ids.astype(self.dtype), ends_in_ids)
        # Ctrl-C comes before or after this single assignment, never within it. Before it, the
        # files contain more than the state says, and the next writer truncates them.
        self._state = {
            **meta,
            "num_tokens": meta["num_tokens"] + len(ids),
            "num_segments": meta["num_segments"] + len(segment_lengths),
            "num_documents": meta["num_documents"] + len(document_lengths),
            "num_bytes": meta["num_bytes"] + int(num_bytes),
            "shards": shards,
            "index": index,
        }, resume_data

    def _append_index(self, i, starts):
        """Append to an index file; return its new entry for meta.json."""
        data = starts.tobytes()
        self._index[i].write(data)
        entry = self.meta["index"][i]
        return {**entry, "crc32": extend_checksum(entry["crc32"], data)}

    def _append_ids(self, ids, ends):
        """Append documents that end at ``ends``; return the new list of shards for meta.json."""
        shards = list(self.meta["shards"])
        if not ends:
            return shards
        parts = assign_to_shards(ends, shards[-1]["num_tokens"], self.shard_size)
        for i, (start, end) in enumerate(pairwise([0, *parts])):
            if i > 0:  # the current shard is full
                _fsync(self._shard)
                self._open_shard(len(shards), "wb")
                shards.append(_empty_shard(len(shards)))
            data = ids[start:end].tobytes()
            self._shard.write(data)
            last = shards[-1]
            shards[-1] = {
                "file": last["file"],
                "num_tokens": last["num_tokens"] + end - start,
                "crc32": extend_checksum(last["crc32"], data),
            }
        return shards

    def _open_shard(self, index, mode):
        if self._shard:
            self._shard.close()
        self._shard = open(self.part / shard_name(index), mode)

    # -------------------------------------------------------------------------- resuming

    def write_note(self):
        """Bring everything that was added to the disk and write a note for a later writer.

        Does nothing if the last call of ``add`` came without ``resume_data``.
        """
        meta, resume_data = self._state
        if resume_data is None or not meta["num_tokens"] or self._state is self._noted_state:
            return
        for file in (self._shard, *self._index):
            _fsync(file)
        noted_meta, _ = self._noted_state
        first_shard = len(noted_meta["shards"]) - 1
        note = with_checksum({
            **resume_data,
            **{name: meta[name] for name in COUNTS},
            "first_shard": first_shard,
            "shards": meta["shards"][first_shard:],
            "index": meta["index"],
        })
        # Start with a line end, because a crash may have cut the previous note short.
        with open(self.part / NOTES, "a", encoding="utf-8") as file:
            file.write("\n" + json.dumps(note))
        sync(self.part / NOTES)
        self._noted_state = self._state

    def resume_after(self, num_notes):
        """Keep what the first ``num_notes`` notes cover; discard everything after them."""
        self.notes = self.notes[:num_notes]
        lines = [json.dumps(entry) for entry in (self.header, *self.notes)]
        atomic_write(self.part / NOTES, "\n".join(lines))

        shards = [_empty_shard(0)]
        counts = dict.fromkeys(COUNTS, 0)
        index = [{"file": name, "crc32": extend_checksum("0", FIRST_START)} for name in INDEX]
        for note in self.notes:
            shards[note["first_shard"]:] = note["shards"]
            counts = {name: note[name] for name in COUNTS}
            index = note["index"]
        self._state = {**self.header, **counts, "shards": shards, "index": index}, None
        self._noted_state = self._state

        self._open_shard(len(shards) - 1, "r+b" if self.notes else "wb")
        self._truncate_files(file_sizes(counts, shards, self.dtype))

    def _truncate_files(self, sizes):
        for path in self.part.glob("ids*.bin"):
            if path.name not in sizes:
                path.unlink()
            elif path.stat().st_size > sizes[path.name]:
                os.truncate(path, sizes[path.name])
        self._shard.seek(0, os.SEEK_END)
        for file, name in zip(self._index, INDEX):
            file.truncate(sizes[name] if self.notes else 0)
            file.seek(0, os.SEEK_END)
            if not self.notes:
                file.write(FIRST_START)


def _empty_shard(index):
    return {"file": shard_name(index), "num_tokens": 0, "crc32": "00000000"}


def _fsync(file):
    file.flush()
    os.fsync(file.fileno())
