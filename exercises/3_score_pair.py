"""Score a pair as WordPiece's criterion of likelihood does (chapter 4).

A corpus of ``total`` pieces, of which ``left`` are a and ``right`` are b, holds the pair a b in ``k`` places. Return by how many nats the
log-likelihood of the corpus rises when the pair is merged everywhere. With f(c) = c ln c, and f(0) = 0, the log-likelihood is the sum of f
over the counts of all pieces, less f of their total. a and b are different pieces.

    k=3, left=3, right=3, total=40 -> 10.66
    k=4, left=8, right=8, total=40 ->  1.91
"""


def score_pair(k, left, right, total):
    raise NotImplementedError
