"""Apply a merge: the second half of a step of byte-pair encoding (chapter 3).

Return ``word``, a tuple of tokens, as a list in which ``merged`` stands wherever ``pair`` stood, two tokens side by side. Go from the left, and
use no token twice.

    ("k", "n", "o", "t"), ("o", "t"), "ot" -> ["k", "n", "ot"]
    ("a", "a", "a"),      ("a", "a"), "aa" -> ["aa", "a"]
"""


def apply_merge(word, pair, merged):
    raise NotImplementedError
