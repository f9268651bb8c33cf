"""Writing a token file: whole or not there, and, after an interruption, not from the beginning.

While it is written, the token file ``tokens`` is the hidden folder ``.tokens.part`` beside its place. Now and then what is there
is brought to the disk and noted in its ``notes.jsonl``: how long the files were, and what the caller wants to know again.
A later writer of the same token file finds the notes (``kept``), says how many of them still hold (``go_on_from``), and
everything after them is cut off.
"""
import contextlib
import errno
import json
import os
from pathlib import Path

import numpy as np

from tokenizer.corpus import dtype_for
from tokenizer.files import locked, put_in_place, remove, sync

from .token_file import COUNTS, FILES, FORMAT, VERSION, check_ids, refuse_foreign

NOTES = "notes.jsonl"


class TokenFileWriter:
    """Writes a token file, batch by batch; the folder appears whole when the ``with`` block ends, or not at all.

    An older token file in ``folder`` is replaced. ValueError where ``folder`` holds something else, where another process writes
    it, or where an id is outside the vocabulary; OSError on a full disk. On an error what was noted stays for a later
    writer; where nothing was noted, nothing stays.

    >>> from data import TokenFile
    >>> with TokenFileWriter("/tmp/example-tokens", vocab_size=10, tokenizer_fingerprint="") as writer:
    ...     writer.add([7, 8, 9], segment_lengths=[2, 1], document_lengths=[2], num_bytes=12)
    >>> TokenFile("/tmp/example-tokens").segment(0).tolist()
    [7, 8]
    """

    def __init__(self, folder, vocab_size, tokenizer_fingerprint):
        self.folder = Path(folder)
        self.part = self.folder.parent / f".{self.folder.name}.part"
        self.dtype = dtype_for(vocab_size)
        self.header = {"format": FORMAT, "version": VERSION, "dtype": self.dtype, "vocab_size": vocab_size,
                       "tokenizer_fingerprint": tokenizer_fingerprint}

    def __enter__(self):
        self._writing = self._write_all()
        return self._writing.__enter__()

    def __exit__(self, *error):
        return self._writing.__exit__(*error)

    @contextlib.contextmanager
    def _write_all(self):
        refuse_foreign(self.folder)
        self.part.mkdir(parents=True, exist_ok=True)
        with locked(self.part, f"{self.folder} is being written by another process: wait for it, or choose another folder"):
            self.kept = self._read_notes()
            try:
                with contextlib.ExitStack() as stack:
                    modes = [("r+b" if self.kept else "wb") for _ in FILES]
                    self._files = [stack.enter_context(open(self.part / name, mode)) for name, mode in zip(FILES, modes)]
                    self.go_on_from(len(self.kept))
                    yield self
                if not self.meta["num_tokens"]:
                    raise ValueError(f"{self.folder}: nothing to write, the corpus has no text")
                (self.part / "meta.json").write_text(json.dumps(self.meta, indent=1) + "\n", encoding="utf-8")
                (self.part / NOTES).unlink()
                put_in_place(self.part, self.folder)
            except BaseException as error:
                kept = self._read_notes()
                if not kept:
                    remove(self.part)
                if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                    then = f"{kept[-1]['num_tokens']:,} of them are kept, and the same command goes on from there" if kept else ""
                    raise OSError(errno.ENOSPC, f"the disk is full after {self.meta['num_tokens']:,} tokens, "
                                  f"{then or 'which are removed again'}: make room, or choose a folder on another disk", str(self.folder)) from error
                raise

    def add(self, ids, segment_lengths, document_lengths, num_bytes):
        """Append documents: their ids end to end, ids in each segment, segments in each document, bytes of text."""
        ids, segments, documents = (np.asarray(a, np.int64) for a in (ids, segment_lengths, document_lengths))
        if segments.sum() != len(ids) or documents.sum() != len(segments):
            raise ValueError(f"{len(ids)} ids in segments of {segments.sum()}, "
                             f"{len(segments)} segments in documents of {documents.sum()}: the lengths do not fit")
        check_ids(ids, self.meta["vocab_size"], "the tokenizer's output")
        meta = self.meta
        new = ids.astype(self.dtype), np.cumsum(segments) + meta["num_tokens"], np.cumsum(documents) + meta["num_segments"]
        for file, array in zip(self._files, new):
            file.write(array.tobytes())
        meta["num_tokens"] += len(ids)
        meta["num_segments"] += len(segments)
        meta["num_documents"] += len(documents)
        meta["num_bytes"] += int(num_bytes)

    # Interruptions

    def note(self, **about):
        """Bring all that was added to the disk, and remember that, with ``about``, which a later writer finds in ``kept``."""
        for file in self._files:
            file.flush()
            os.fsync(file.fileno())
        counts = {name: self.meta[name] for name in COUNTS}
        with open(self.part / NOTES, "a", encoding="utf-8") as notes:
            notes.write(json.dumps({**about, **counts, "sizes": [file.tell() for file in self._files]}) + "\n")
        sync(self.part / NOTES)

    def go_on_from(self, number):
        """Keep what the first ``number`` notes of ``kept`` cover, and cut off the rest."""
        self.kept = self.kept[:number]
        last = self.kept[-1] if self.kept else {**dict.fromkeys(COUNTS, 0), "sizes": [0, 0, 0]}
        self.meta = {**{name: last[name] for name in COUNTS}, **self.header}
        for file, size in zip(self._files, last["sizes"]):
            file.truncate(size)
            file.seek(size)
        if not self.kept:
            for file in self._files[1:]:
                file.write(np.zeros(1, np.int64).tobytes())  # the first segment and document start at 0
        text = "".join(json.dumps(line) + "\n" for line in (self.header, *self.kept))
        (self.part / NOTES).write_text(text, encoding="utf-8")

    def _read_notes(self):
        """The notes of an earlier writing that fit this one and the files; [] where there are none."""
        try:
            header, *lines = (self.part / NOTES).read_text(encoding="utf-8").split("\n")
            if json.loads(header) != self.header:
                return []
            sizes = [(self.part / name).stat().st_size for name in FILES]
            notes = [json.loads(line) for line in lines[:-1]]  # the last is empty, or was cut short
            return [note for note in notes if all(size <= found for size, found in zip(note["sizes"], sizes))]
        except (OSError, ValueError, KeyError, TypeError):
            return []
