"""documents -> token file: tokenize on all cores, in order, in bounded memory.

The parallel part of reading a corpus. ``token_file`` knows the format and nothing of text; this module knows that a
segment is a line and what a tokenizer is.
"""
import hashlib
import sys
from collections import deque
from itertools import chain, compress, islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.token_file.reader import TokenFile
from data.token_file.writer import TokenFileWriter, amount
from tokenizer.fast.corpus_encoder import BATCH_CHARACTERS, FIRST_HERE, dtype_for
from tokenizer.trainers.counting import batches
from tokenizer.utils.workers import map_in_order

IN_ONE_PROCESS = ("prepare the text in one process, python -m data prepare CORPUS --tokenizer FOLDER --workers 1 --split train "
                  "--out TOKENS/train, the same with eval for train, then go on with python train.py --data TOKENS --tokenizer FOLDER")
NOTED_BATCHES = 32  # so often, and sooner at first, what is written is noted, to go on from there: every 16 million characters
EMPTY_DIGEST = {"batches": 0, "digest": ""}  # how far the texts reach before the first one: see ``extend_digest``


def prepare(documents, tokenizer, folder, workers=None, show_progress=True):
    """Tokenize ``documents`` (an iterator of str) into a token file in ``folder``; returns it, opened.

    A document's segments are its lines, stripped; blank lines, and lines that give no ids, are left out.
    ``tokenizer`` needs ``encode_texts(texts) -> (ids, lengths)``, ``vocab_size`` and ``fingerprint``. ``workers``: processes, None
    for one a core; any number gives the same bytes. ``folder`` appears when all is done, an older token file in its place stays until
    then. What an interrupt, ``kill -9`` or a full disk (OSError) leaves unfinished is found by the next call, which goes on from there as far as
    the documents are still the same, and says so; an empty corpus (ValueError) leaves nothing behind.

    ``prepare(["One line.\\nAnother.", "A second document."], tokenizer, "tokens")``
    ``-> TokenFile('tokens': 2 documents, 3 segments, 11 tokens)``
    """
    def say(line):
        if show_progress:
            tqdm.write(line, file=sys.stderr)
    if (Path(folder) / "meta.json").exists():
        say(f"{folder} holds a token file already: it is made anew, and replaced when that is done")
    with TokenFileWriter(folder, tokenizer.vocab_size, tokenizer.fingerprint) as writer, \
            tqdm(unit="B", unit_scale=True, desc="tokenize", disable=not show_progress) as bar:
        reached = deque()  # of each batch in flight: the texts up to its end
        new = unwritten(batches(documents, BATCH_CHARACTERS), writer, reached, say)
        results = map_in_order(encode_batch, new, tokenizer, workers, IN_ONE_PROCESS, first_here=FIRST_HERE)
        for number, encoded in enumerate(results, start=1):
            writer.add(*encoded, about=reached.popleft())
            bar.update(writer.meta["num_bytes"] - bar.n)
            if number % NOTED_BATCHES == 0 or number < NOTED_BATCHES and number & (number - 1) == 0:  # 1, 2, 4, 8, ... of the first
                writer.note()
    return TokenFile(folder)


def unwritten(batches, writer, reached, say):
    """Yield the batches that an interrupted preparation has not written; how far each one reaches is put to ``reached``.

    The texts are read again and compared with the notes; the first batch that differs, and all after it, is written anew.
    """
    if writer.unusable:
        say(f"what was left unfinished here cannot be used: {writer.unusable}. Beginning anew")
    if writer.kept:
        say(f"reading the first {amount(writer.kept[-1])} again, to see whether they are still as they were when they were prepared")
    kept, agreed, here, held = writer.kept, 0, EMPTY_DIGEST, []
    for note in kept:
        held, after = list(islice(batches, max(0, note.get("batches", 0) - here["batches"]))), here
        for batch in held:
            after = extend_digest(after, batch)
        if after != {name: note.get(name) for name in after}:
            break
        agreed, here, held = agreed + 1, after, []
    writer.go_on_from(agreed)
    if agreed:
        say(f"going on after {amount(kept[agreed - 1])}" + ": from there on the texts have changed" * (agreed < len(kept)))
    elif kept:
        say("what was left unfinished here cannot be used: the texts have changed. Beginning anew")
    yield from with_digests(chain(held, batches), here, reached)


def with_digests(batches, here, reached):
    """Yield the batches; how far the text reaches with each, as ``extend_digest`` says it, is put to ``reached``."""
    for batch in batches:
        here = extend_digest(here, batch)
        reached.append(here)
        yield batch


def extend_digest(here, batch):
    """How far the texts reach after one more batch: their number of batches, and a digest of all.

    ``{"batches": 0, "digest": ""}, ["a"] -> {"batches": 1, "digest": "ac6b..."}``
    """
    hasher = hashlib.blake2b(here["digest"].encode(), digest_size=16)
    for text in batch:
        hasher.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return {"batches": here["batches"] + 1, "digest": hasher.hexdigest()}


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
