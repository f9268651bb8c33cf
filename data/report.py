"""What is in a corpus or a token file, so that trouble is seen before training: above all duplicated lines.

The unigram entropy is what to hold a training loss against: a model that stays there has learned word frequencies and
nothing of context. Of a token file it counts ids; of a corpus, which has no ids yet, words between white space.
"""
import heapq
from collections import Counter

import numpy as np
from tqdm import tqdm

from .corpora import hash_of
from .filters import MAKERS, SHOWN, Filters
from .token_file import TokenFile, entropy

LONGEST = 5
RARE_ONE_IN = 100_000  # a character is rare that makes up less than this of the text


def inspect_corpus(corpus, show_progress=False):
    """Counts of a corpus, as a dict: documents, lines, characters, words, duplicates, entropy of the words (nats), longest lines;
    the share of rare characters (each less than a 100,000th of the text); and what each quality filter alone would drop.

    Memory grows with the number of distinct lines and words.

    a corpus of "a b\\na b" -> {"documents": 1, "lines": 2, "duplicated_lines_share": 0.5, "unigram_entropy_of_words": 0.693, ...}
    """
    documents = characters = duplicated_documents = 0
    lines, words, seen = Counter(), Counter(), set()
    longest, kinds = [], Counter()
    filters = {name: Filters(name) for name in MAKERS}
    for document in tqdm(corpus.documents("all"), desc="inspect", unit=" documents", disable=not show_progress):
        kinds.update(document)
        for alone in filters.values():
            alone.drops(document)
        documents += 1
        key = hash_of(document)
        duplicated_documents += key in seen
        seen.add(key)
        for line in filter(None, map(str.strip, document.split("\n"))):
            characters += len(line)
            lines[hash_of(line)] += 1
            words.update(line.split())
            _keep_longest(longest, (len(line), line[:SHOWN]))
    total = lines.total()
    return {
        "name": corpus.name, "documents": documents, "lines": total, "characters": characters, "words": words.total(),
        "distinct_words": len(words),
        "duplicated_documents_share": duplicated_documents / documents,
        "duplicated_lines_share": 1 - len(lines) / total,
        "unigram_entropy_of_words": entropy(np.fromiter(words.values(), np.int64)),
        "distinct_characters": len(kinds), "rare_characters_share": rare_share(kinds),
        "would_drop": [alone.report()["dropped"][0] for alone in filters.values()],
        "longest_lines": [{"characters": length, "begins": text} for length, text in sorted(longest, reverse=True)],
    }


def inspect_tokens(folder):
    """Counts of a token file, as a dict: as for a corpus, with ids for words; ``longest_segments`` in ids.

    Also the check of every id against the vocabulary: ValueError where one is past it.
    """
    tokens = TokenFile(folder)
    counts = tokens.unigram_counts()
    lengths = np.diff(tokens.segments)
    longest = np.argsort(-lengths, kind="stable")[:LONGEST]
    distinct = len({tokens.segment(i).tobytes() for i in range(tokens.num_segments)})
    return {
        "folder": str(folder), "documents": tokens.num_documents, "segments": tokens.num_segments, "tokens": tokens.num_tokens,
        "bytes": tokens.num_bytes, "bytes_per_token": tokens.num_bytes / tokens.num_tokens, "dtype": tokens.meta["dtype"],
        "tokens_per_segment": tokens.num_tokens / tokens.num_segments,
        "vocab_size": tokens.vocab_size, "ids_used": int((counts > 0).sum()),
        "duplicated_lines_share": 1 - distinct / tokens.num_segments,
        "unigram_entropy": entropy(counts), "entropy_of_a_uniform_guess": float(np.log(tokens.vocab_size)),
        "longest_segments": [{"segment": int(i), "tokens": int(lengths[i])} for i in longest],
        "tokenizer_fingerprint": tokens.tokenizer_fingerprint,
    }


def rare_share(kinds):
    """The share of a text that is rare characters, from its characters' counts: what a limited alphabet would lose.

    ``{"a": 500_000, "ß": 5} -> 1e-05``: 5 of 500,005 are less than one in 100,000
    """
    total = kinds.total()
    return sum(count for count in kinds.values() if count * RARE_ONE_IN < total) / total


def _keep_longest(heap, item):
    if len(heap) < LONGEST:
        heapq.heappush(heap, item)
    else:
        heapq.heappushpop(heap, item)
