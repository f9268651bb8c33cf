"""documents -> token file: tokenize on all cores, in order, in bounded memory.

The parallel part of reading a corpus. ``token_file`` knows the format and nothing of text; this module knows that a
segment is a line and what a tokenizer is.
"""
import hashlib
from collections import deque
from itertools import chain, compress, islice

import numpy as np
from tqdm import tqdm

from tokenizer.corpus import BATCH_CHARACTERS, FIRST_HERE, dtype_for
from tokenizer.counting import batches
from tokenizer.workers import map_in_order

from .token_file import TokenFile
from .token_writer import TokenFileWriter

IN_ONE_PROCESS = ("prepare the text in one process, python -m data prepare CORPUS --tokenizer FOLDER --workers 1 --split train "
                  "--out TOKENS/train, the same with eval for train, then go on with python train.py --data TOKENS --tokenizer FOLDER")
NOTED_BATCHES = 32  # so often what is written is noted, to go on from there: every 16 million characters


def prepare(documents, tokenizer, folder, workers=None, show_progress=True):
    """Tokenize ``documents`` (an iterator of str) into a token file in ``folder``; returns it, opened.

    A document's segments are its lines, stripped; blank lines, and lines that give no ids, are left out.
    ``tokenizer`` needs ``encode_texts(texts) -> (ids, lengths)``, ``vocab_size`` and ``fingerprint``. ``workers``: processes, None
    for one a core; any number gives the same bytes. ``folder`` appears when all is done, an older token file in its place stays until
    then. What an interrupt, ``kill -9`` or a full disk (OSError) leaves unfinished is found by the next call, which goes on from there as far as
    the documents are still the same; an empty corpus (ValueError) leaves nothing behind.

    ``prepare(["One line.\\nAnother.", "A second document."], tokenizer, "tokens")``
    ``-> TokenFile('tokens': 2 documents, 3 segments, 11 tokens)``
    """
    with TokenFileWriter(folder, tokenizer.vocab_size, tokenizer.fingerprint) as writer, \
            tqdm(unit="B", unit_scale=True, desc="tokenize", disable=not show_progress) as bar:
        digests = deque([""])  # of the texts up to each batch: that of the last one written, and those of batches in flight
        new = unwritten(batches(documents, BATCH_CHARACTERS), writer, digests)
        results = map_in_order(encode_batch, new, tokenizer, workers, IN_ONE_PROCESS, first_here=FIRST_HERE)
        for number, encoded in enumerate(results, start=1):
            writer.add(*encoded)
            digests.popleft()
            bar.update(writer.meta["num_bytes"] - bar.n)
            if number % NOTED_BATCHES == 0:
                writer.note(digest=digests[0], batches=NOTED_BATCHES)
    return TokenFile(folder)


def unwritten(batches, writer, digests):
    """Yield the batches that an interrupted preparation has not written, each with its digest put to ``digests``.

    The texts are read again and compared with the notes; the first batch that differs, and all after it, is written anew.
    """
    agreed, digest = 0, digests[0]
    for note in writer.kept:
        held, after = list(islice(batches, note["batches"])), digest
        for batch in held:
            after = next_digest(after, batch)
        if after != note["digest"]:
            break
        agreed, digest, held = agreed + 1, after, []
    else:
        held = []
    writer.go_on_from(agreed)
    digests[0] = digest
    for batch in chain(held, batches):
        digest = next_digest(digest, batch)
        digests.append(digest)
        yield batch


def next_digest(digest, batch):
    """The digest of a sequence of batches, from that of all but the last, and the last."""
    hasher = hashlib.blake2b(digest.encode(), digest_size=16)
    for text in batch:
        hasher.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return hasher.hexdigest()


def encode_batch(tokenizer, documents):
    """What ``TokenFileWriter.add`` takes: ids, ids in each segment, segments in each document, bytes of text.

    ``["one\\n\\n two", "three"]`` with a tokenizer of characters gives lengths [3, 3, 5], [2, 1] and 3+1 + 3+1 + 5+1 bytes.
    """
    lines = [[line for line in map(str.strip, document.split("\n")) if line] for document in documents]
    ids, lengths = tokenizer.encode_texts(list(chain.from_iterable(lines)))  # (N,), (lines,)
    real = lengths > 0  # lines that gave any ids
    of_document = np.repeat(np.arange(len(lines)), [len(some) for some in lines])  # (lines,): whose each line is
    document_lengths = np.bincount(of_document[real], minlength=1)
    num_bytes = sum(len(line.encode("utf-8")) + 1 for line in compress(chain.from_iterable(lines), real))
    if len(ids) and 0 <= ids.min() and ids.max() < tokenizer.vocab_size:
        ids = ids.astype(dtype_for(tokenizer.vocab_size))  # half as much to send back to the parent
    return ids, lengths[real], document_lengths[document_lengths > 0], num_bytes
