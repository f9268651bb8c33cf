"""What is in a corpus or a token file, so that trouble is seen before training: above all duplicated lines.

The unigram entropy is what to hold a training loss against: a model that stays there has learned word frequencies and
nothing of context. Of a token file it counts ids; of a corpus, which has no ids yet, words between white space.
"""
import heapq
from array import array
from collections import Counter

import numpy as np
from tqdm import tqdm

from data.quality.filters import MAKERS, SHOWN, Filters
from data.quality.near_duplicates import GOLDEN, mixed
from data.splits import stable_hash
from data.token_file.reader import TokenFile, entropy, iter_lengths

LONGEST = 5
AT_ONCE = 1 << 20  # ids that are hashed at once: some 60 bytes for each
RARE_ONE_IN = 100_000  # a character is rare that makes up less than this of the text


def inspect_corpus(corpus, show_progress=False):
    """Counts of a corpus, as a dict: documents, lines, characters, words, duplicates, entropy of the words (nats), longest lines;
    the share of rare characters (each less than a 100,000th of the text); and what each quality filter alone would drop.

    Memory grows with the number of distinct words, and by eight bytes for each line and document: a 64-bit hash.

    a corpus of "a b\\na b" -> {"documents": 1, "lines": 2, "duplicated_lines_share": 0.5, "unigram_entropy_of_words": 0.693, ...}
    """
    documents = characters = 0
    lines, words, texts = array("Q"), Counter(), array("Q")
    longest, kinds = [], Counter()
    filters = {name: Filters(name) for name in MAKERS}
    for document in tqdm(corpus.documents("all"), desc="inspect", unit=" documents", disable=not show_progress):
        kinds.update(document)
        for alone in filters.values():
            alone.drops(document)
        documents += 1
        texts.append(stable_hash(document))
        for line in filter(None, map(str.strip, document.split("\n"))):
            characters += len(line)
            lines.append(stable_hash(line))
            words.update(line.split())
            _keep_longest(longest, (len(line), line[:SHOWN]))
    return {
        "name": corpus.name, "documents": documents, "lines": len(lines), "characters": characters, "words": words.total(),
        "distinct_words": len(words),
        "duplicated_documents_share": duplicated_share(np.frombuffer(texts, np.uint64)),
        "duplicated_lines_share": duplicated_share(np.frombuffer(lines, np.uint64)),
        "unigram_entropy_of_words": entropy(np.fromiter(words.values(), np.int64)),
        "distinct_characters": len(kinds), "rare_characters_share": rare_share(kinds),
        "would_drop": [alone.report()["dropped"][0] for alone in filters.values()],
        "longest_lines": [{"characters": length, "begins": text} for length, text in sorted(longest, reverse=True)],
    }


def inspect_tokens(folder, show_progress=False):
    """Counts of a token file, as a dict: as for a corpus, with ids for words; ``longest_segments`` in ids; the ids in each of its shards.

    Also the check of every file against its checksum and of every id against the vocabulary: ValueError where one is wrong.
    Memory grows by eight bytes for each segment.
    """
    tokens = TokenFile(folder)
    counts = tokens.unigram_counts(show_progress=show_progress)
    longest = []
    for first, lengths in iter_lengths(tokens.segments):
        top = np.argsort(-lengths, kind="stable")[:LONGEST]
        longest = sorted(longest + [(-int(lengths[i]), first + int(i)) for i in top])[:LONGEST]
    return {
        "folder": str(folder), "documents": tokens.num_documents, "segments": tokens.num_segments, "tokens": tokens.num_tokens,
        "bytes": tokens.num_bytes, "bytes_per_token": tokens.num_bytes / tokens.num_tokens, "dtype": tokens.meta["dtype"],
        "tokens_per_segment": tokens.num_tokens / tokens.num_segments,
        "vocab_size": tokens.vocab_size, "ids_used": int((counts > 0).sum()),
        "duplicated_lines_share": duplicated_share(segment_hashes(tokens, show_progress)),
        "unigram_entropy": entropy(counts), "entropy_of_a_uniform_guess": float(np.log(tokens.vocab_size)),
        "longest_segments": [{"segment": i, "tokens": -length} for length, i in longest],
        "shards": [{"file": shard["file"], "tokens": shard["num_tokens"]} for shard in tokens.meta["shards"]],
        "checksums": f"all {len(tokens.meta['shards']) + len(tokens.meta['index']) + 1} files are as written",
        "tokenizer_fingerprint": tokens.tokenizer_fingerprint,
    }


def segment_hashes(tokens, show_progress=False):
    """A 64-bit hash of each segment's ids, (num_segments,) uint64: the sum of its ids, each scrambled together with its place in the segment.

    Two segments differ and have one hash with a chance of 2^-64; among 20 million that happens once in 100,000 token files.
    """
    hashes = np.empty(tokens.num_segments, np.uint64)
    with tqdm(total=tokens.num_tokens, desc="duplicates", unit=" tokens", unit_scale=True, delay=2, leave=False, disable=not show_progress) as bar:
        first = 0
        while first < tokens.num_segments:
            # As many segments as have AT_ONCE ids together, one at least.
            last = max(int(np.searchsorted(tokens.segments, tokens.segments[first] + AT_ONCE, side="right")) - 1, first + 1)
            starts = np.asarray(tokens.segments[first:last + 1])  # (some + 1,)
            ids = tokens.ids.read(int(starts[0]), int(starts[-1])).astype(np.uint64)  # (N,)
            starts = starts - starts[0]
            place = np.arange(1, len(ids) + 1) - np.repeat(starts[:-1], np.diff(starts))  # (N,): 1, 2, ... within its segment
            sums = np.concatenate((np.zeros(1, np.uint64), mixed(ids + place.astype(np.uint64) * GOLDEN).cumsum()))  # modulo 2^64
            hashes[first:last] = np.diff(sums[starts])
            first = last
            bar.update(len(ids))
    return hashes


def duplicated_share(hashes):
    """The share of texts that have stood before, from their hashes (N,) uint64, which are sorted in place; 0 of none. ``[7, 5, 7, 7] -> 0.5``"""
    hashes.sort()
    return float((hashes[1:] == hashes[:-1]).sum() / max(len(hashes), 1))


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
