"""Apply a merge: the second half of a step of byte-pair encoding (chapter 3).

word: a tuple of tokens; pair: two tokens; merged: the token that replaces them

Return the word as a list in which ``merged`` replaces each occurrence of ``pair``. Go from left to
right, and use no token twice.

    ("k", "n", "o", "t"), ("o", "t"), "ot" -> ["k", "n", "ot"]
    ("a", "a", "a"),      ("a", "a"), "aa" -> ["aa", "a"]
"""


def apply_merge(word, pair, merged):
    raise NotImplementedError
