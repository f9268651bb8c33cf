"""Writing a token file: whole or not there, and, after an interruption, not from the beginning.

While it is written, the token file ``tokens`` is the hidden folder ``.tokens.part`` beside its place. Now and then what is there
is brought to the disk and noted in its ``notes.jsonl``: how long the files were, their checksums so far, and what the caller wants to
know again. A later writer of the same token file finds the notes (``kept``, or in ``unusable`` why they are of no use), says how many of
them still hold (``resume_after``), and everything after them is cut off. A note names the shards since the one in which the note before it stood,
so the notes together name all.
"""
import contextlib
import errno
import json
import os
import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np

from data.token_file.reader import COUNTS, FORMAT, INDEX, VERSION, check_ids, refuse_foreign, with_checksum
from data.token_file.shards import SHARD, borders, shard_name
from tokenizer.fast.corpus_encoder import dtype_for
from tokenizer.utils.files import atomic_write, errors_name, locked, remove, replace_folder, sync
from tokenizer.utils.workers import delay_interrupts

NOTES = "notes.jsonl"
FIRST = np.zeros(1, np.int64).tobytes()  # the first segment and the first document start at 0


class TokenFileWriter:
    """Writes a token file, batch by batch; the folder appears whole when the ``with`` block ends, or not at all.

    An older token file in ``folder`` is replaced. ValueError where ``folder`` holds something else, where another process writes
    it, or where an id is outside the vocabulary; OSError on a full disk. On an error what was added ``about`` something stays for a
    later writer; where nothing was, nothing stays.

    >>> from data import TokenFile
    >>> import tempfile; folder = tempfile.mkdtemp()
    >>> with TokenFileWriter(folder, vocab_size=10, tokenizer_fingerprint="") as writer:
    ...     writer.add([7, 8, 9], segment_lengths=[2, 1], document_lengths=[2], num_bytes=12)
    >>> TokenFile(folder).segment(0).tolist()
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
        with errors_name(self.folder):
            self.part.mkdir(parents=True, exist_ok=True)
        with locked(self.part, f"{self.folder} is being written by another process: wait for it, or choose another folder"):
            self.notes, self.unusable_reason = self._read_notes()
            try:
                with contextlib.ExitStack() as stack:
                    mode = "r+b" if self.notes else "wb"
                    self._index = [stack.enter_context(open(self.part / name, mode)) for name in INDEX]
                    self._shard = None
                    stack.callback(lambda: self._shard and self._shard.close())
                    self.resume_after(len(self.notes))
                    try:
                        yield self
                    finally:
                        with delay_interrupts(), contextlib.suppress(OSError):
                            self.write_note()
                if not self.meta["num_tokens"]:
                    raise ValueError(f"{self.folder}: nothing to write, the corpus has no text")
                (self.part / "meta.json").write_text(json.dumps(with_checksum(self.meta), indent=1) + "\n", encoding="utf-8")
                with errors_name(self.folder):
                    replace_folder(self.part, self.folder)
                (self.folder / NOTES).unlink(missing_ok=True)  # only now: whoever is killed before goes on from them
            except BaseException as error:
                self._clean_up()
                if self._told(error):
                    raise self._told(error) from error  # in no variable: its traceback would keep the files open
                raise

    def _clean_up(self):
        """Where nothing was noted, nothing stays."""
        self.notes, _ = self._read_notes()
        if not self.notes:
            remove(self.part)

    def _told(self, error):
        """For Ctrl-C and a full disk an error that says how much the next writer need not do again; None for others."""
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            then = f"{self.notes[-1]['num_tokens']:,} of them are kept, and the same command goes on from there" if self.notes else ""
            return OSError(errno.ENOSPC, f"the disk is full after {self.meta['num_tokens']:,} tokens, "
                           f"{then or 'which are removed again'}: make room, or choose a folder on another disk", str(self.folder))
        if isinstance(error, KeyboardInterrupt) and self.notes:
            return KeyboardInterrupt(f"kept: {describe_amount(self.notes[-1])}; preparing the same again goes on from there")
        return None

    @property
    def meta(self):
        """The dict that becomes meta.json, as far as was written."""
        return self._state[0]

    def add(self, ids, segment_lengths, document_lengths, num_bytes, resume_data=None):
        """Append documents: their ids end to end, ids in each segment, segments in each document, bytes of text.

        about: a dict of what a later writer has to know in order to go on after these, kept by the next ``note``.
        """
        ids, segments, documents = (np.asarray(a, np.int64) for a in (ids, segment_lengths, document_lengths))
        if segments.sum() != len(ids) or documents.sum() != len(segments) or not documents.all():
            raise ValueError(f"{len(ids)} ids in segments of {segments.sum()}, {len(segments)} segments in documents of {documents.sum()}, "
                             f"{(documents == 0).sum()} documents without a segment: the lengths do not fit")
        check_ids(ids, self.meta["vocab_size"], "the tokenizer's output")
        meta = self.meta
        ends = segments.cumsum()  # (segments,): where each ends in ids
        index = []
        for file, entry, starts in zip(self._index, meta["index"], (ends + meta["num_tokens"], documents.cumsum() + meta["num_segments"])):
            data = starts.tobytes()
            file.write(data)
            index.append({**entry, "crc32": continued(entry["crc32"], data)})
        written = self._write_ids(ids.astype(self.dtype), ends[documents.cumsum() - 1].tolist())
        more = {"num_tokens": len(ids), "num_segments": len(segments), "num_documents": len(documents), "num_bytes": int(num_bytes)}
        # One assignment: Ctrl-C comes before it or after it, and what the files hold beyond it will be cut off.
        self._state = {**meta, **{name: meta[name] + number for name, number in more.items()}, "shards": written, "index": index}, resume_data

    def _write_ids(self, ids, ends):
        """Append documents that end at ``ends``; a new shard begins where one would not fit. -> all shards, as meta.json has them"""
        written = list(self.meta["shards"])
        parts = borders(ends, written[-1]["num_tokens"], SHARD) if ends else []
        for number, (start, end) in enumerate(pairwise([0, *parts])):
            if number:  # the one before is full
                fsync_all(self._shard)
                self._open_shard(len(written), "wb")
                written.append(empty_shard(len(written)))
            data, last = ids[start:end].tobytes(), written[-1]
            self._shard.write(data)
            written[-1] = {**last, "num_tokens": last["num_tokens"] + end - start, "crc32": continued(last["crc32"], data)}
        return written

    def _open_shard(self, number, mode):
        if self._shard:
            self._shard.close()
        self._shard = open(self.part / shard_name(number), mode)

    # Interruptions

    def write_note(self):
        """Bring all that was added to the disk, and remember that, with the last ``about``, which a later writer finds in ``kept``."""
        meta, resume_data = state = self._state
        if resume_data is None or not meta["num_tokens"] or state is self._noted:
            return
        for file in (self._shard, *self._index):
            fsync_all(file)
        first = len(self._noted[0]["shards"]) - 1
        note = {**resume_data, **{name: meta[name] for name in COUNTS}, "first_shard": first, "shards": meta["shards"][first:], "index": meta["index"]}
        with open(self.part / NOTES, "a", encoding="utf-8") as notes:  # a line end first: the line before may have been cut short
            notes.write("\n" + json.dumps(with_checksum(note)))
        sync(self.part / NOTES)
        self._noted = state

    def resume_after(self, number):
        """Keep what the first ``number`` notes of ``kept`` cover, and cut off the rest."""
        self.notes = self.notes[:number]
        atomic_write(self.part / NOTES, "\n".join(map(json.dumps, (self.header, *self.notes))))
        written = [empty_shard(0)]
        for note in self.notes:
            written[note["first_shard"]:] = note["shards"]
        index = [{"file": name, "crc32": continued("0", FIRST)} for name in INDEX]
        last = self.notes[-1] if self.notes else {**dict.fromkeys(COUNTS, 0), "index": index}
        self._state = self._noted = {**{name: last[name] for name in COUNTS}, **self.header, "shards": written, "index": last["index"]}, None
        self._open_shard(len(written) - 1, "r+b" if self.notes else "wb")
        sizes = sizes_of({**last, "shards": written}, self.dtype)
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
                file.write(FIRST)

    def _read_notes(self):
        """(The notes of an earlier writing that fit this one and the files, why there is none); '' where there was no earlier one."""
        if not (self.part / NOTES).exists():
            return [], ""
        try:
            header, *lines = (self.part / NOTES).read_text(encoding="utf-8").split("\n")
            header = json.loads(header)
            if header != self.header:
                older = isinstance(header, dict) and header.get("version") != VERSION
                return [], f"it was made with another {'version of this program' if older else 'tokenizer'}"
            found = {path.name: path.stat().st_size for path in self.part.iterdir()}
            notes, number = [], 1  # of shards so far
            for note in filter(None, map(valid_note, lines)):
                sizes = sizes_of(note, self.dtype)
                if note["first_shard"] != number - 1 or any(found.get(name, -1) < size for name, size in sizes.items()):
                    break  # a note is missing that named other shards, or a file is shorter
                notes.append(note)
                number = note["first_shard"] + len(note["shards"])
            return notes, "" if notes or not lines else "it is damaged"
        except (OSError, ValueError):
            return [], "it is damaged"


def empty_shard(number):
    return {"file": shard_name(number), "num_tokens": 0, "crc32": "00000000"}


def continued(checksum, data):
    """The CRC-32 of a file that grows by ``data``. ``"00000000", b"a" -> "e8b7be43"``"""
    return f"{zlib.crc32(data, int(checksum, 16)):08x}"


def sizes_of(note, dtype):
    """Bytes of each file that a note names. 5 ids, 3 segments, 2 documents -> {"ids-00000.bin": 10, "segments.bin": 32, "documents.bin": 24}"""
    ids = {shard["file"]: shard["num_tokens"] * np.dtype(dtype).itemsize for shard in note["shards"]}
    return {**ids, **dict(zip(INDEX, (8 * (note["num_segments"] + 1), 8 * (note["num_documents"] + 1))))}


def fsync_all(file):
    file.flush()
    os.fsync(file.fileno())


def valid_note(line):
    """A line of notes.jsonl as a dict; None where it was cut short or is no note."""
    try:
        note = json.loads(line)
        return note if note == with_checksum(note) else None
    except (ValueError, AttributeError):
        return None


def describe_amount(meta):
    """{"num_documents": 12, "num_bytes": 68_600_000, ...} -> '12 documents (68.6 MB of text)'"""
    size = f"{meta['num_bytes'] / 1e6:,.1f} MB" if meta["num_bytes"] >= 1e5 else f"{meta['num_bytes']:,} bytes"
    return f"{meta['num_documents']:,} document{'s' * (meta['num_documents'] != 1)} ({size} of text)"
