"""documents -> token file: tokenize on all cores, in order, in bounded memory.

The parallel part of reading a corpus. ``token_file`` knows the format and nothing of text; this module knows that a
segment is a line and what a tokenizer is.
"""
import numpy as np
from tqdm import tqdm

from .token_file import TokenFile, TokenFileWriter, dtype_for
from .workers import map_in_order

BATCH_CHARACTERS = 1 << 19  # what goes to a worker at once: large enough that sending it costs nothing


def prepare(documents, tokenizer, folder, workers=None, show_progress=True):
    """Tokenize ``documents`` (an iterator of str) into a token file in ``folder``; returns it, opened.

    A document's segments are its lines, stripped; blank lines, and lines that give no ids, are left out.
    ``tokenizer`` needs ``encode_ids(text) -> list of int``, ``vocab_size`` and ``fingerprint``. ``workers``: processes, None
    for one a core; any number gives the same bytes. ``folder`` appears when all is done: an interrupt, a full disk (OSError)
    or an empty corpus (ValueError) leaves nothing behind, and an older token file in its place untouched.

    ``prepare(["One line.\\nAnother.", "A second document."], tokenizer, "tokens")``
    ``-> TokenFile('tokens': 2 documents, 3 segments, 11 tokens)``
    """
    with TokenFileWriter(folder, tokenizer.vocab_size, tokenizer.fingerprint) as writer, \
            tqdm(unit="B", unit_scale=True, desc="tokenize", disable=not show_progress) as bar:
        for encoded in map_in_order(encode_batch, batches(documents), shared=tokenizer, workers=workers):
            writer.add(*encoded)
            bar.update(encoded[-1])
    return TokenFile(folder)


def batches(documents, size=BATCH_CHARACTERS):
    """Lists of documents with together about ``size`` characters; a longer document comes alone.

    >>> list(batches(["aa", "b", "cccc", "d"], size=3))
    [['aa', 'b'], ['cccc'], ['d']]
    """
    batch, characters = [], 0
    for document in documents:
        batch.append(document)
        characters += len(document)
        if characters >= size:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def encode_batch(tokenizer, documents):
    """What ``TokenFileWriter.add`` takes: ids, ids in each segment, segments in each document, bytes of text.

    ``["one\\n\\n two", "three"]`` with a tokenizer of characters gives lengths [3, 3, 5], [2, 1] and 3+1 + 3+1 + 5+1 bytes.
    """
    ids, segment_lengths, document_lengths, num_bytes = [], [], [], 0
    for document in documents:
        segments_before = len(segment_lengths)
        for line in document.split("\n"):
            line = line.strip()
            encoded = tokenizer.encode_ids(line) if line else ()
            if len(encoded):
                ids.extend(encoded)
                segment_lengths.append(len(encoded))
                num_bytes += len(line.encode("utf-8")) + 1
        if len(segment_lengths) > segments_before:
            document_lengths.append(len(segment_lengths) - segments_before)
    array = np.array(ids, np.int64)
    if len(array) and 0 <= array.min() and array.max() < tokenizer.vocab_size:
        array = array.astype(dtype_for(tokenizer.vocab_size))  # four times less to send back to the parent
    return array, segment_lengths, document_lengths, num_bytes
