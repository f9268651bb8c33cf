"""Inspect a corpus or a token file before training: counts, duplicates, entropy, longest lines.

Compare the training loss with the unigram entropy: a model whose loss stays there has learned how
frequent each token is and nothing about context. It is computed from ids for a token file, and
from words between white space for a corpus, which has no ids yet.
"""
import heapq
from array import array
from collections import Counter

import numpy as np
from tqdm import tqdm

from data.quality.filters import EXAMPLE_LENGTH, FILTERS, Filters
from data.token_file.meta import unknown_report
from data.token_file.reader import TokenFile, entropy
from tokenizer.utils.terminal import plural

NUM_LONGEST = 5
RARE_ONE_IN = 100_000  # a character is rare if it is less than this share of the text


def inspect_corpus(corpus, show_progress):
    """Return a dict with counts of a corpus and what each quality filter would drop by itself.

    Memory grows with the number of distinct words, and by 8 bytes for each line and document.

    For "a b\\na b": ``{"documents": 1, "lines": 2, "duplicated_lines_share": 0.5,
    "unigram_entropy_of_words": 0.693, ...}``
    """
    num_documents = 0
    num_characters = 0
    line_hashes = array("q")
    words = Counter()
    characters = Counter()
    longest = []  # a heap of (length, beginning)
    filters = {name: Filters(name) for name in FILTERS}
    documents = tqdm(corpus.documents("all"), desc="inspect", unit=" documents",
                     disable=not show_progress)
    for document in documents:
        num_documents += 1
        characters.update(document)
        for single_filter in filters.values():
            single_filter.drops(document)
        for line in map(str.strip, document.split("\n")):
            if not line:
                continue
            num_characters += len(line)
            line_hashes.append(hash(line))
            words.update(line.split())
            heapq.heappush(longest, (len(line), line[:EXAMPLE_LENGTH]))
            if len(longest) > NUM_LONGEST:
                heapq.heappop(longest)

    longest.sort(reverse=True)
    return {
        "name": corpus.name,
        "documents": num_documents,
        "lines": len(line_hashes),
        "characters": num_characters,
        "words": words.total(),
        "distinct_words": len(words),
        # As the filter counts them: white space and letter case make no difference.
        "duplicated_documents_share": filters["duplicates"].report()["dropped"][0][
            "share_of_documents"],
        "duplicated_lines_share": duplicated_share(np.asarray(line_hashes)),
        "unigram_entropy_of_words": entropy(np.fromiter(words.values(), np.int64)),
        "distinct_characters": len(characters),
        "rare_characters_share": rare_share(characters),
        "would_drop": [single.report()["dropped"][0] for single in filters.values()],
        "longest_lines": [{"characters": length, "begins": text} for length, text in longest],
    }


def inspect_tokens(folder, show_progress=False):
    """Return a dict with counts of a token file, after a check of all its files and ids.

    Raises ValueError if a file is damaged or an id is not in the vocabulary. Memory grows by 24
    bytes for each segment.
    """
    tokens = TokenFile(folder)
    counts = tokens.unigram_counts(show_progress=show_progress)  # checks every file
    num_files = len(tokens.meta["shards"]) + len(tokens.meta["index"]) + 1

    indices = tqdm(range(tokens.num_segments), desc="duplicates", unit=" segments", delay=2,
                   leave=False, disable=not show_progress)
    hashes = (hash(tokens.segment(i).tobytes()) for i in indices)
    duplicated = duplicated_share(np.fromiter(hashes, np.int64))
    lengths = np.diff(tokens.segments)  # (num_segments,)
    longest = np.argsort(-lengths, kind="stable")[:NUM_LONGEST].tolist()

    shards = tokens.meta["shards"]
    return {
        "folder": str(folder),
        "documents": tokens.num_documents,
        "segments": tokens.num_segments,
        "tokens": tokens.num_tokens,
        "bytes": tokens.num_bytes,
        "bytes_per_token": tokens.num_bytes / tokens.num_tokens,
        "dtype": tokens.meta["dtype"],
        "tokens_per_segment": tokens.num_tokens / tokens.num_segments,
        "vocab_size": tokens.vocab_size,
        "ids_used": int((counts > 0).sum()),
        **unknown_report(tokens.meta),
        **({"reflowed": note} if (note := tokens.meta.get("reflowed")) else {}),
        "duplicated_lines_share": duplicated,
        "unigram_entropy": entropy(counts),
        "entropy_of_a_uniform_guess": float(np.log(tokens.vocab_size)),
        "longest_segments": [{"segment": i, "tokens": int(lengths[i])} for i in longest],
        "shards": [{"file": shard["file"], "tokens": shard["num_tokens"]} for shard in shards],
        "checksums": plural(num_files, "file is", "files are") + " intact",
        "tokenizer_fingerprint": tokens.tokenizer_fingerprint,
    }


def duplicated_share(hashes):
    """Return the share of texts that occurred before, from their hashes, (N,) int64.

    ``[7, 5, 7, 7] -> 0.5``
    """
    hashes = np.sort(hashes)
    num_duplicates = (hashes[1:] == hashes[:-1]).sum()
    return float(num_duplicates / max(len(hashes), 1))


def rare_share(counts):
    """Return the share of a text that is rare characters: what a limited alphabet would lose.

    ``{"a": 500_000, "ß": 5} -> 1e-05``: 5 of 500,005 is less than one in 100,000
    """
    total = counts.total()
    return sum(count for count in counts.values() if count * RARE_ONE_IN < total) / total
