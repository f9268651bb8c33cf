"""Count the pairs: the first half of a step of byte-pair encoding (chapter 3).

``words``: {word as a tuple of tokens: how often the word occurs}. Return {pair of neighbours: how often it occurs in all words}. A pair counts
once for each place where it stands, times the count of its word; places may overlap, as in a a a, which holds the pair a a twice.

    {("n", "e", "t"): 4, ("n", "e", "t", "s"): 2} -> {("n", "e"): 6, ("e", "t"): 6, ("t", "s"): 2}
    {("a", "a", "a"): 5}                          -> {("a", "a"): 10}
"""


def count_pairs(words):
    raise NotImplementedError
