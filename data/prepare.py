"""Tokenize documents into a token file: on all cores, in order, in bounded memory.

    documents -> batches of text -> worker processes (encode_batch) -> TokenFileWriter

A preparation that was interrupted resumes. For this the writer keeps a digest of the text so far
(``extend_digest``), which is compared with the text when it is read again.
"""
import hashlib
import sys
from collections import deque
from itertools import compress, islice

import numpy as np
from tqdm import tqdm

from data.token_file.meta import describe_amount
from data.token_file.reader import TokenFile
from data.token_file.writer import TokenFileWriter
from tokenizer.fast.corpus_encoder import INLINE_SECONDS, dtype_for
from tokenizer.utils.workers import batch_texts, map_in_order

MEMORY_ADVICE = ("use one process: python -m data prepare CORPUS --tokenizer FOLDER --workers 1 "
                 "--split train --out TOKENS/train (and the same for eval), "
                 "then train.py --data TOKENS --tokenizer FOLDER")
BATCH_CHARACTERS = 1 << 19  # resuming counts in batches, so older folders need the same size
SAVE_EVERY = 32  # batches, 16 million characters; after kill -9 what comes after is lost
EMPTY_DIGEST = {"batches": 0, "digest": ""}  # before the first text, see extend_digest
RECORDED_NOTES = ("reflowed", "split_into")  # what train.py --data should know of the text


def prepare(documents, tokenizer, folder, workers=None, show_progress=True, corpus=None):
    """Tokenize documents (an iterable of str) into a token file in ``folder``; return it, open.

    The segments of a document are its lines, stripped; lines that give no ids are left out.

    tokenizer   has ``encode_texts(texts) -> (ids, lengths)``, ``vocab_size``, ``fingerprint``,
                and, if it has an unknown token, ``take_unknown()``
    workers     number of processes; None means one per core. The bytes written are the same.
    corpus      where the documents come from; meta.json then says if it has joined their lines

    The folder appears when the token file is complete; until then an older one stays in it.
    After an interrupt, a full disk (OSError) or ``kill -9``, the next call resumes, as far as the
    documents are the same. An empty corpus is a ValueError.

    ``prepare(["One line.\\nAnother.", "A second document."], tokenizer, "tokens")``
    ``-> TokenFile('tokens': 2 documents, 3 segments, 11 tokens)``
    """
    def report(line):
        if show_progress:
            tqdm.write(line, file=sys.stderr)  # above the bar

    bar = tqdm(unit="B", unit_scale=True, desc="tokenize", disable=not show_progress)
    with TokenFileWriter(folder, tokenizer.vocab_size, tokenizer.fingerprint) as writer, bar:
        text_batches = batch_texts(documents, BATCH_CHARACTERS)
        digest = skip_finished(text_batches, writer, report)
        # The workers are several batches ahead of the writer; results come in order.
        digests = deque()  # of the batches that the workers have
        tracked = track_digests(text_batches, digest, digests)
        results = map_in_order(encode_and_count_unknown, tracked, tokenizer, workers, MEMORY_ADVICE,
                               inline_seconds=INLINE_SECONDS)
        for num_batches, (encoded, unknown) in enumerate(results, start=1):
            # With the ids goes the digest of the text up to them: how far a later call can skip.
            writer.add(*encoded, resume_data=digests.popleft(), unknown=unknown)
            bar.update(writer.meta["num_bytes"] - bar.n)
            if num_batches % SAVE_EVERY == 0:
                writer.save_progress()
        notes = corpus.notes if corpus else {}
        writer.describe({name: notes[name] for name in RECORDED_NOTES if name in notes})
    return TokenFile(folder)


def skip_finished(text_batches, writer, report):
    """Skip the batches that an interrupted call has written; return the digest of their text.

    Raises ValueError if their text has changed.
    """
    if writer.unusable_reason:
        report(f"cannot resume: {writer.unusable_reason}. Starting over")
    if writer.resume_data is None:
        return EMPTY_DIGEST
    finished = describe_amount(writer.meta)
    report(f"reading the first {finished} again, to check that nothing has changed")
    digest = EMPTY_DIGEST
    # Reading is cheap. What the later call saves is the tokenization.
    for batch in islice(text_batches, writer.resume_data["batches"]):
        digest = extend_digest(digest, batch)
    if digest != writer.resume_data:
        raise ValueError(f"cannot resume {writer.folder}: the text has changed since the "
                         f"interrupt. To start over, remove {writer.part}")
    report(f"resuming after {finished}")
    return digest


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
        # The zero marks the end of a text, so that ["ab", "c"] differs from ["a", "bc"].
        hasher.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return {"batches": digest["batches"] + 1, "digest": hasher.hexdigest()}


def encode_and_count_unknown(tokenizer, documents):
    """Return the results of ``encode_batch``, and the ``UnknownText`` in them or None."""
    take_unknown = getattr(tokenizer, "take_unknown", lambda: None)
    take_unknown()  # forget what was encoded before
    encoded = encode_batch(tokenizer, documents)
    return encoded, take_unknown()


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
    has_ids = segment_lengths > 0  # (num_lines,): a tokenizer may remove all of a line
    document_of_segment = np.array(document_of_line, np.int64)[has_ids]  # (num_segments,)
    document_lengths = np.bincount(document_of_segment, minlength=1)
    num_bytes = sum(len(line.encode("utf-8")) + 1 for line in compress(lines, has_ids))

    # A smaller dtype halves what a worker sends to the parent. Ids outside the vocabulary stay
    # as they are: the writer reports them.
    if len(ids) and 0 <= ids.min() and ids.max() < tokenizer.vocab_size:
        ids = ids.astype(dtype_for(tokenizer.vocab_size))
    return ids, segment_lengths[has_ids], document_lengths[document_lengths > 0], num_bytes
