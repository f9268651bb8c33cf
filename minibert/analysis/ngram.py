"""An n-gram model: how far do counts of the training text get, without a neural network?

Interpolated Kneser-Ney smoothing (Kneser and Ney 1995; Chen and Goodman 1999, section 2.7). For a
token w after a history h, where h' is h without its first token, and D = 0.75:

    p(w | h) = (max(c(h w) - D, 0) + D * N(h) * p(w | h')) / c(h)

c(h w) counts an n-gram, c(h) is its sum over all w, and N(h) the number of different w after h. Of
shorter n-grams, c counts the different tokens before them: "Francisco" may be frequent, but if it
only follows "San", it is unlikely elsewhere. Below single tokens, all tokens are equally likely.
"""
import numpy as np

from tokenizer.utils.progress import progress_bar

DISCOUNT = 0.75


class NGramModel:
    """An n-gram model of documents.

    ids         (N,) their tokens, with a separator after each document
    separator   its id. n - 1 of them are the history of a document's first token
    order       n, the number of tokens of the longest n-grams; 1: token frequencies

    >>> model = NGramModel(np.array([0, 1, 2, 0, 2]), separator=2, vocab_size=3, order=2)
    >>> np.exp(model.log_likelihoods([[0], [0, 1], [1]])).round(3)
    array([0.719, 0.225, 0.094])
    """

    def __init__(self, ids, separator, vocab_size, order):
        self.vocab_size = vocab_size
        self.history = [separator] * (order - 1)
        self.tables = []  # for 1-grams, 2-grams, ...: see ``add_table``
        ids = np.concatenate(([separator], ids)).astype(np.int64)
        ids = np.repeat(ids, np.where(ids == separator, max(order - 1, 1), 1))
        # An n-gram is its rank among the different ones. Its key combines the rank of its first
        # n - 1 tokens with its last token.
        ranks = np.zeros(len(ids) + 1, dtype=np.int64)
        lower_keys = lower_ranks = None
        with progress_bar(order, "counting", "n-gram lengths") as bar:
            for n in range(1, order + 1):
                keys = ranks[:-1] * vocab_size + ids[n - 1:]  # of the n-gram ending at each token
                keys, first, ranks, counts = np.unique(
                    keys, return_index=True, return_inverse=True, return_counts=True)
                if n > 1:
                    # Each different n-gram has one (n-1)-gram at its end, which counts once for it.
                    continuations = np.bincount(lower_ranks[first + 1], minlength=len(lower_keys))
                    self.add_table(lower_keys, continuations)
                lower_keys, lower_ranks = keys, ranks
                bar.update()
        self.add_table(keys, counts)

    def add_table(self, keys, counts):
        """Add the n-grams of the next length, with c(h w) for each and c(h), N(h) for histories."""
        histories = keys // self.vocab_size
        num_histories = len(self.tables[-1][0]) if self.tables else 1
        totals = np.bincount(histories, weights=counts, minlength=num_histories)
        distinct = np.bincount(histories[counts > 0], minlength=num_histories)
        self.tables.append((keys, counts, totals, distinct))

    def log_likelihoods(self, sequences):
        """Return ln p of each sequence of ids, as a document's beginning: (len(sequences),)."""
        sequences = [[*self.history, *ids] for ids in sequences]
        lengths = np.array([len(ids) for ids in sequences])
        starts = lengths.cumsum() - lengths
        ids = np.concatenate(sequences).astype(np.int64)  # (N,) of all sequences
        p = np.full(len(ids), 1 / self.vocab_size)
        ranks = np.zeros(len(ids), dtype=np.int64)  # of the histories; -1: not in the text
        for keys, counts, totals, distinct in self.tables:
            wanted = ranks * self.vocab_size + ids
            index = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
            found = (ranks >= 0) & (keys[index] == wanted)
            counted = np.where(found, np.maximum(counts[index] - DISCOUNT, 0), 0)
            known = (ranks >= 0) & (totals[ranks] > 0)
            np.divide(counted + DISCOUNT * distinct[ranks] * p, totals[ranks], out=p, where=known)
            ranks[1:] = np.where(found, index, -1)[:-1]
        is_history = np.arange(len(ids)) - np.repeat(starts, lengths) < len(self.history)
        return np.add.reduceat(np.where(is_history, 0, np.log(p)), starts)
