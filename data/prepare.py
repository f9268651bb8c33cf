"""documents -> token file: tokenize on all cores, in order, in bounded memory.

The parallel part of reading a corpus. ``token_file`` knows the format and nothing of text; this module knows that a
segment is a line and what a tokenizer is.
"""
from itertools import chain, compress

import numpy as np
from tqdm import tqdm

from tokenizer.corpus import BATCH_CHARACTERS, dtype_for
from tokenizer.counting import batches
from tokenizer.workers import map_in_order

from .token_file import TokenFile, TokenFileWriter

IN_ONE_PROCESS = ("prepare the text in one process, python -m data prepare CORPUS --tokenizer FOLDER --workers 1 --split train "
                  "--out TOKENS/train, the same with eval for train, then go on with python train.py --data TOKENS --tokenizer FOLDER")


def prepare(documents, tokenizer, folder, workers=None, show_progress=True):
    """Tokenize ``documents`` (an iterator of str) into a token file in ``folder``; returns it, opened.

    A document's segments are its lines, stripped; blank lines, and lines that give no ids, are left out.
    ``tokenizer`` needs ``encode_lines(texts) -> (ids, lengths)``, ``vocab_size`` and ``fingerprint``. ``workers``: processes, None
    for one a core; any number gives the same bytes. ``folder`` appears when all is done: an interrupt, a full disk (OSError)
    or an empty corpus (ValueError) leaves nothing behind, and an older token file in its place untouched.

    ``prepare(["One line.\\nAnother.", "A second document."], tokenizer, "tokens")``
    ``-> TokenFile('tokens': 2 documents, 3 segments, 11 tokens)``
    """
    with TokenFileWriter(folder, tokenizer.vocab_size, tokenizer.fingerprint) as writer, \
            tqdm(unit="B", unit_scale=True, desc="tokenize", disable=not show_progress) as bar:
        for encoded in map_in_order(encode_batch, batches(documents, BATCH_CHARACTERS), shared=tokenizer, workers=workers, advice=IN_ONE_PROCESS):
            writer.add(*encoded)
            bar.update(encoded[-1])
    return TokenFile(folder)


def encode_batch(tokenizer, documents):
    """What ``TokenFileWriter.add`` takes: ids, ids in each segment, segments in each document, bytes of text.

    ``["one\\n\\n two", "three"]`` with a tokenizer of characters gives lengths [3, 3, 5], [2, 1] and 3+1 + 3+1 + 5+1 bytes.
    """
    lines = [[line for line in map(str.strip, document.split("\n")) if line] for document in documents]
    ids, lengths = tokenizer.encode_lines(list(chain.from_iterable(lines)))  # (N,), (lines,)
    real = lengths > 0  # lines that gave any ids
    of_document = np.repeat(np.arange(len(lines)), [len(some) for some in lines])  # (lines,): whose each line is
    document_lengths = np.bincount(of_document[real], minlength=1)
    num_bytes = sum(len(line.encode("utf-8")) + 1 for line in compress(chain.from_iterable(lines), real))
    if len(ids) and 0 <= ids.min() and ids.max() < tokenizer.vocab_size:
        ids = ids.astype(dtype_for(tokenizer.vocab_size))  # half as much to send back to the parent
    return ids, lengths[real], document_lengths[document_lengths > 0], num_bytes
