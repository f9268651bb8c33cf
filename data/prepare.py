"""Tokenize documents into a token file: on all cores, in order, in bounded memory.

    documents -> batches of text -> worker processes (encode_batch) -> TokenFileWriter

A preparation that was interrupted resumes. For this the writer's notes have a digest of the text
so far (``extend_digest``), which is compared with the text when it is read again.
"""
import hashlib
import sys
from collections import deque
from itertools import chain, compress, islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.token_file.notes import describe_amount
from data.token_file.reader import TokenFile
from data.token_file.writer import TokenFileWriter
from tokenizer.fast.corpus_encoder import BATCH_CHARACTERS, NUM_INLINE_BATCHES, dtype_for
from tokenizer.utils.workers import batch_texts, map_in_order

MEMORY_ADVICE = ("use one process: python -m data prepare CORPUS --tokenizer FOLDER --workers 1 "
                 "--split train --out TOKENS/train (and the same for eval), "
                 "then train.py --data TOKENS --tokenizer FOLDER")
NOTED_BATCHES = 32  # write a note to resume from after so many batches, 16 million characters
EMPTY_DIGEST = {"batches": 0, "digest": ""}  # before the first text, see extend_digest


def prepare(documents, tokenizer, folder, workers=None, show_progress=True):
    """Tokenize documents (an iterable of str) into a token file in ``folder``; return it, open.

    The segments of a document are its lines, stripped; lines that give no ids are left out.

    tokenizer   has ``encode_texts(texts) -> (ids, lengths)``, ``vocab_size``, ``fingerprint``
    workers     number of processes; None means one per core. The bytes written are the same.

    The folder appears when the token file is complete; until then an older one stays in it.
    After an interrupt, a full disk (OSError) or ``kill -9``, the next call resumes, as far as the
    documents are the same. An empty corpus is a ValueError.

    ``prepare(["One line.\\nAnother.", "A second document."], tokenizer, "tokens")``
    ``-> TokenFile('tokens': 2 documents, 3 segments, 11 tokens)``
    """
    def report(line):
        if show_progress:
            tqdm.write(line, file=sys.stderr)

    # meta.json is written last, so a folder that has it holds a complete token file.
    if (Path(folder) / "meta.json").exists():
        report(f"the token file in {folder} will be replaced when the new one is complete")
    bar = tqdm(unit="B", unit_scale=True, desc="tokenize", disable=not show_progress)
    with TokenFileWriter(folder, tokenizer.vocab_size, tokenizer.fingerprint) as writer, bar:
        text_batches, digest = resume(batch_texts(documents, BATCH_CHARACTERS), writer, report)
        # The workers are several batches ahead of the writer; results come in order.
        digests = deque()  # of the batches that the workers have
        tracked = track_digests(text_batches, digest, digests)
        results = map_in_order(encode_batch, tracked, tokenizer, workers, MEMORY_ADVICE,
                               num_inline=NUM_INLINE_BATCHES)
        for num_batches, encoded in enumerate(results, start=1):
            writer.add(*encoded, resume_data=digests.popleft())
            bar.update(writer.meta["num_bytes"] - bar.n)
            # The first notes come after 1, 2, 4, 8, ... batches, so short runs have some too.
            is_early = num_batches < NOTED_BATCHES and num_batches & (num_batches - 1) == 0
            if is_early or num_batches % NOTED_BATCHES == 0:
                writer.write_note()
    return TokenFile(folder)


def resume(text_batches, writer, report):
    """Skip the batches that an interrupted call has written.

    Returns the remaining batches, and the digest of the skipped ones. The text is read again and
    compared with the writer's notes; everything written after the first difference is discarded.
    """
    notes = writer.notes
    if writer.unusable_reason:
        report(f"cannot resume: {writer.unusable_reason}. Starting over")
    if notes:
        report(f"reading the first {describe_amount(notes[-1])} again, "
               "to check that nothing has changed")

    num_valid = 0
    digest = EMPTY_DIGEST
    unskipped = []  # batches read for a note that does not match
    for note in notes:
        # Read the batches between the last note and this one.
        num_new = max(0, note.get("batches", 0) - digest["batches"])
        new_batches = list(islice(text_batches, num_new))
        new_digest = digest
        for batch in new_batches:
            new_digest = extend_digest(new_digest, batch)
        if new_digest != {key: note.get(key) for key in EMPTY_DIGEST}:
            unskipped = new_batches
            break
        num_valid += 1
        digest = new_digest

    writer.resume_after(num_valid)
    if num_valid:
        changed = "; the text after that has changed" if num_valid < len(notes) else ""
        report(f"resuming after {describe_amount(notes[num_valid - 1])}{changed}")
    elif notes:
        report("cannot resume: the text has changed. Starting over")
    return chain(unskipped, text_batches), digest


def track_digests(text_batches, digest, digests):
    """Yield the batches; append the digest of the text up to the end of each to ``digests``."""
    for batch in text_batches:
        digest = extend_digest(digest, batch)
        digests.append(digest)
        yield batch


def extend_digest(digest, batch):
    """Return the digest of a text that is continued by a batch, a list of str.

    ``{"batches": 0, "digest": ""}, ["a"] -> {"batches": 1, "digest": "ac6b..."}``
    """
    hasher = hashlib.blake2b(digest["digest"].encode(), digest_size=16)
    for text in batch:
        hasher.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return {"batches": digest["batches"] + 1, "digest": hasher.hexdigest()}


def encode_batch(tokenizer, documents):
    """Return ids, segment lengths (in ids), document lengths (in segments) and bytes of text.

    With a tokenizer of characters, ``["one\\n\\n two", "three"]`` gives 11 ids, lengths [3, 3, 5]
    and [2, 1], and 3+1 + 3+1 + 5+1 bytes.
    """
    lines = []
    document_of_line = []  # the index of the document that a line belongs to
    for i, document in enumerate(documents):
        document_lines = [line for line in map(str.strip, document.split("\n")) if line]
        lines += document_lines
        document_of_line += [i] * len(document_lines)

    ids, segment_lengths = tokenizer.encode_texts(lines)  # (num_tokens,), (num_lines,)
    has_ids = segment_lengths > 0
    document_of_segment = np.array(document_of_line, np.int64)[has_ids]  # (num_segments,)
    document_lengths = np.bincount(document_of_segment, minlength=1)
    num_bytes = sum(len(line.encode("utf-8")) + 1 for line in compress(lines, has_ids))

    # A smaller dtype halves what a worker sends to the parent. Ids outside the vocabulary stay
    # as they are: the writer reports them.
    if len(ids) and 0 <= ids.min() and ids.max() < tokenizer.vocab_size:
        ids = ids.astype(dtype_for(tokenizer.vocab_size))
    return ids, segment_lengths[has_ids], document_lengths[document_lengths > 0], num_bytes
