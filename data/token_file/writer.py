"""Write a token file: the folder appears when it is complete, and an interrupted writer can resume.

The token file ``tokens`` is written in a hidden folder next to it, ``.tokens.part``, which is
renamed at the end. Now and then ``save_progress`` brings the files to disk and writes
``progress.json``: what meta.json would be if the token file ended here. After an interrupt or a
crash, the next writer of the same token file truncates the files to what it says, and continues.
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
    describe_amount,
    extend_checksum,
    file_sizes,
    unknown_text,
    with_checksum,
)
from data.token_file.shards import SHARD_SIZE, assign_to_shards, shard_name
from tokenizer.fast.corpus_encoder import dtype_for
from tokenizer.unknown import UnknownText
from tokenizer.utils.files import atomic_write, errors_name, locked, remove, replace_folder
from tokenizer.utils.signals import delay_interrupts

PROGRESS = "progress.json"
FIRST_START = np.zeros(1, np.int64).tobytes()  # the first segment and document start at 0


class TokenFileWriter:
    """Write a token file batch by batch, in a ``with`` block.

    The folder appears at the end of the block; an older token file in it is then replaced. If the
    block fails, everything up to the last progress is kept for a later writer. What was added
    without ``resume_data`` is not kept.

    meta              what meta.json will contain, as far as it is written
    resume_data       of the last documents that an interrupted writer has kept, or None
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
        self.real_folder = Path(os.path.realpath(folder))
        self.part = self.real_folder.parent / f".{self.real_folder.name}.part"
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
            self._saved_state = self._state = self._start()
            try:
                with self._open_files():
                    try:
                        yield self
                    finally:
                        # Keep all that was added, also after an error. A full disk may refuse.
                        with delay_interrupts(), contextlib.suppress(OSError):
                            self.save_progress()
                self._move_into_place()
            except BaseException as error:
                if not self._saved_state["num_tokens"]:
                    remove(self.part)
                self._raise_with_hint(error)
                raise

    def _start(self):
        """Return the state to start from, and make the files in the folder agree with it."""
        state = self._read_progress()
        if state is None:
            for path in (self.part / PROGRESS, *self.part.glob("*.bin")):
                remove(path)
            for name in INDEX:
                (self.part / name).write_bytes(FIRST_START)
            index = [{"file": name, "crc32": extend_checksum("0", FIRST_START)} for name in INDEX]
            state = {**self.header, **dict.fromkeys(COUNTS, 0), "shards": [_empty_shard(0)],
                     "index": index, "resume_data": None}
        sizes = file_sizes(state)
        for path in self.part.glob("*.bin"):
            if path.name in sizes:
                os.truncate(path, sizes[path.name])
            else:
                path.unlink()
        return state

    def _read_progress(self):
        """Return the state that an interrupted writer has saved; None if there is none to use."""
        self.unusable_reason = ""
        path = self.part / PROGRESS
        if not path.exists():
            return None
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
            is_usable = self.header.items() <= state.items()
            for name, size in file_sizes(state).items():
                is_usable = is_usable and (self.part / name).stat().st_size >= size
        except (OSError, ValueError, KeyError):
            is_usable = False
        if is_usable:
            return state
        self.unusable_reason = "it is damaged, or made with another tokenizer or version"
        return None

    @contextlib.contextmanager
    def _open_files(self):
        with contextlib.ExitStack() as stack:
            self._index = [stack.enter_context(open(self.part / name, "ab")) for name in INDEX]
            self._shard = open(self.part / self.meta["shards"][-1]["file"], "ab")
            stack.callback(lambda: self._shard.close())  # the last one, not this one
            yield

    def _move_into_place(self):
        if not self.meta["num_tokens"]:
            raise ValueError(f"{self.folder}: nothing to write, the corpus has no text")
        content = json.dumps(with_checksum(self.meta), indent=1) + "\n"
        (self.part / "meta.json").write_text(content, encoding="utf-8")
        with errors_name(self.folder):
            replace_folder(self.part, self.real_folder)
        # Only now: a writer that is killed before this line can still resume.
        (self.folder / PROGRESS).unlink(missing_ok=True)

    def _raise_with_hint(self, error):
        """After Ctrl-C or on a full disk, raise an error that says how much is kept."""
        is_kept = self._saved_state["num_tokens"] > 0
        kept = "nothing is kept"
        if is_kept:
            kept = f"kept: {describe_amount(self._saved_state)}; repeat the command to resume"
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise OSError(errno.ENOSPC, f"the disk is full; {kept}", str(self.folder)) from error
        if isinstance(error, KeyboardInterrupt) and is_kept:
            raise KeyboardInterrupt(kept) from error

    @property
    def meta(self):
        return {key: value for key, value in self._state.items() if key != "resume_data"}

    @property
    def resume_data(self):
        return self._state["resume_data"]

    # -------------------------------------------------------------------------- adding documents

    def add(self, ids, segment_lengths, document_lengths, num_bytes, resume_data=None,
            unknown=None):
        """Append documents.

        ids                the ids of all documents, one after another
        segment_lengths    the number of ids in each segment
        document_lengths   the number of segments in each document
        num_bytes          the size of their text
        resume_data        a dict that is kept for the caller of a later writer
        unknown            the ``UnknownText`` of the documents; None: the tokenizer knows all text
        """
        ids = np.asarray(ids, np.int64)  # (num_ids,)
        segment_lengths = np.asarray(segment_lengths, np.int64)  # (num_segments,)
        document_lengths = np.asarray(document_lengths, np.int64)  # (num_documents,)
        if segment_lengths.sum() != len(ids) or document_lengths.sum() != len(segment_lengths):
            raise ValueError(
                f"the lengths do not fit: {len(ids)} ids in segments of {segment_lengths.sum()}, "
                f"{len(segment_lengths)} segments in documents of {document_lengths.sum()}")
        meta = self.meta
        check_ids(ids, meta["vocab_size"], "the tokenizer's output")

        segment_ends = segment_lengths.cumsum()  # in ids of this batch
        document_ends = document_lengths.cumsum()  # in segments of this batch
        index = [self._append_index(0, segment_ends + meta["num_tokens"]),
                 self._append_index(1, document_ends + meta["num_segments"])]
        ends_in_ids = segment_ends[document_ends - 1].tolist()
        shards = self._append_ids(ids.astype(self.dtype), ends_in_ids)
        counted = {}
        if unknown is not None:
            unknown.add(unknown_text(meta) or UnknownText())
            counted["unknown"] = unknown.to_json()
        # Ctrl-C comes before or after this single assignment, never within it. Before it, the
        # files contain more than the state says, and the next writer truncates them.
        self._state = {
            **meta,
            "resume_data": resume_data,
            "num_tokens": meta["num_tokens"] + len(ids),
            "num_segments": meta["num_segments"] + len(segment_lengths),
            "num_documents": meta["num_documents"] + len(document_lengths),
            "num_bytes": meta["num_bytes"] + int(num_bytes),
            "shards": shards,
            "index": index,
            **counted,
        }

    def describe(self, entries):
        """Add entries (a dict for JSON) to meta.json."""
        self._state = {**self._state, **entries}

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
                self._shard.close()
                self._shard = open(self.part / shard_name(len(shards)), "wb")
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

    def save_progress(self):
        """Bring everything that was added to the disk, for a later writer to resume from.

        Does nothing if the last call of ``add`` came without ``resume_data``.
        """
        if self.resume_data is None or self._state is self._saved_state:
            return
        for file in (self._shard, *self._index):
            _fsync(file)
        atomic_write(self.part / PROGRESS, json.dumps(self._state))
        self._saved_state = self._state


def _empty_shard(index):
    return {"file": shard_name(index), "num_tokens": 0, "crc32": "00000000"}


def _fsync(file):
    file.flush()
    os.fsync(file.fileno())
