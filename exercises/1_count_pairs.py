"""Count the pairs: the first half of a step of byte-pair encoding (chapter 3).

words: {word as a tuple of tokens: how often the word occurs}

Return {pair of neighboring tokens: how often it occurs in all words}. Each occurrence in a word
counts as often as the word. Occurrences may overlap: a a a has the pair (a, a) twice.

    {("n", "e", "t"): 4, ("n", "e", "t", "s"): 2} -> {("n", "e"): 6, ("e", "t"): 6, ("t", "s"): 2}
    {("a", "a", "a"): 5}                          -> {("a", "a"): 10}
"""


def count_pairs(words):
    raise NotImplementedError
