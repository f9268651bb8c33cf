"""Score a pair by WordPiece's likelihood criterion (chapter 4).

k: number of occurrences of the pair a b in a corpus; left, right: counts of a and of b, which are
different pieces; total: number of pieces of the corpus

Return by how many nats the log-likelihood of the corpus rises if the pair is merged everywhere.
With f(c) = c ln c and f(0) = 0, the log-likelihood is the sum of f over the counts of all pieces,
minus f of the total.

    k=3, left=3, right=3, total=40 -> 10.66
    k=4, left=8, right=8, total=40 ->  1.91
"""


def score_pair(k, left, right, total):
    raise NotImplementedError
