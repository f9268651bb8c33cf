"""Not needed to understand BERT. The same as: ``ByteLevelBPE._merge`` for each word of a list.

Words are cut into fragments that can be encoded independently (``token_boundaries.py``), each
distinct fragment is encoded once (``corpus_encoder.py``), and all new fragments are merged together
(``batch_merges.py``).
"""
import numpy as np

from tokenizer.fast.batch_merges import BatchMerges
from tokenizer.fast.corpus_encoder import CorpusEncoder
from tokenizer.fast.token_boundaries import TokenBoundaries
from tokenizer.fast.unit_table import join_bytes
from tokenizer.pretokenize import token_bytes

LONG_FRAGMENT = 256  # bytes; the number of rounds in ``BatchMerges`` grows with the length


class BatchEncoder:
    """Encodes many words at once.

    ranks, merged_ids, byte_ids   as in ``BatchMerges``
    tokens                        all tokens, in order of their ids
    merge_long                    function from the ids of a word's bytes to the ids of its tokens,
                                  for words of any length
    """

    def __init__(self, ranks, merged_ids, byte_ids, tokens, merge_long):
        self.byte_ids = byte_ids
        self.merge_long = merge_long
        self.batch_merges = BatchMerges(ranks, merged_ids, byte_ids, len(tokens))
        usable = {*merged_ids, *(token_id for token_id in byte_ids if token_id is not None)}
        boundaries = TokenBoundaries([token_bytes(tokens[token_id]) for token_id in usable])
        self.fragments = CorpusEncoder(boundaries, self._encode_fragments)

    def encode(self, words):
        """Return (ids of all words joined (N,), number of ids of each word (W,)).

        words: list of bytes
        """
        return self.fragments.encode_joined(*join_bytes(words))

    def _encode_fragments(self, fragments):
        short = [fragment for fragment in fragments if len(fragment) <= LONG_FRAGMENT]
        ids, lengths = self.batch_merges.encode(short)
        if len(short) == len(fragments):
            return ids, lengths
        # Rare: a run of one character, or random letters of which any few are a token.
        encoded_short = iter(np.split(ids, lengths.cumsum()[:-1]))
        encoded = []
        for fragment in fragments:
            if len(fragment) <= LONG_FRAGMENT:
                encoded.append(next(encoded_short))
            else:
                encoded.append(self.merge_long([self.byte_ids[byte] for byte in fragment]))
        return np.concatenate(encoded), np.array([len(ids) for ids in encoded])
