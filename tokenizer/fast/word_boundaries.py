"""Where words begin, for a batch of texts at once: the patterns of ``pretokenize.py`` as a few operations on whole arrays of bytes.

A pattern walks from character to character. Here every byte is given the kind of the character that it belongs to, by a table;
and whether a word begins at a byte follows from its kind and its neighbours', for all bytes in one comparison.

The patterns themselves say which kind a character is: each is asked once, when it is first met. A few characters do not fit, such as the
white space of more than one byte for GPT-2's. A stretch with one of these in it is left whole, for the pattern: it ends where
another character is followed by white space, which no word goes across.

So what comes out are units: words with the space before them, and some longer stretches. Each can be treated without the others.
"""
import re
from functools import cache
from itertools import pairwise

import numpy as np

from tokenizer.normalize import BertNormalizer
from tokenizer.pretokenize import bert_words, gpt2_words

# Kinds. A word of BERT's is a run of letters (numbers among them) or a single other character.
UNKNOWN, SPACE, OTHER_SPACE, LETTER, NUMBER, OTHER, FOREIGN = range(7)

# Where a long text can be cut and each part treated without the other: between a visible character of ASCII and white space, and after a
# Chinese comma or full stop that a Chinese character follows.
SAFE_CUT = re.compile(r"[!-~](?=[ \n])|[。，](?=[\u5000-\u9fff])")
SAFE_CUT_BYTES = re.compile(rb"[!-~](?=[ \n])|(?:\xe3\x80\x82|\xef\xbc\x8c)(?=[\xe5-\xe9])")

_ONE_LETTER = np.isin(np.arange(256), list(b"stmd"))  # 's 't 'm 'd


def gpt2_kind(char):
    """Of two equal characters with another between, GPT-2's pattern makes one word if all three are of one kind.

    >>> [gpt2_kind(char) for char in "é1+\\n"] == [LETTER, NUMBER, OTHER, OTHER_SPACE], gpt2_kind("\u3000") == FOREIGN
    (True, True)
    """
    if char == " ":
        return SPACE
    kinds = [kind for side, kind in (("a", LETTER), ("1", NUMBER), ("+", OTHER)) if len(gpt2_words(side + char + side)) == 1]
    return kinds[0] if kinds else OTHER_SPACE if char.isascii() else FOREIGN


def bert_kind(char, **options):
    """What a character between two letters makes of them with BERT: one word, two words, or three. FOREIGN if it depends on the settings.

    >>> [bert_kind(char) for char in "é\u3000€,中"] == [LETTER, SPACE, LETTER, OTHER, OTHER]
    True
    """
    kinds = set()
    for lowercase, strip_accents in ((True, True), (True, False), (False, True), (False, False)):
        normal, _ = BertNormalizer(lowercase, strip_accents, **options).normalize(f"a{char}a")
        words = [normal[start:end] for start, end in bert_words(normal)]
        kinds.add({1: LETTER, 2: SPACE, 3: OTHER}.get(len(words) if words[0][0] == words[-1][-1] == "a" else None))
    return kinds.pop() if len(kinds) == 1 and None not in kinds else FOREIGN


def bert_kind_without_cjk(char):
    """The same where Chinese characters are letters: tokenize_chinese_chars=False."""
    return bert_kind(char, tokenize_chinese_chars=False)


def split_text(text, size):
    """A text in parts of about ``size`` characters, cut at sure borders, so that its units are the parts' units; longer where there is none.

    >>> split_text("one two three", size=2)
    ['one', ' two', ' three']
    """
    cuts = [0]
    while cuts[-1] < len(text):
        border = SAFE_CUT.search(text, cuts[-1] + size - 1)
        cuts.append(border.end() if border else len(text))
    return [text[start:end] for start, end in pairwise(cuts)]


@cache
def known_kinds(kind_of):
    """The kinds of all characters, by code point; UNKNOWN until a character is first met. -> (1114112,) uint8"""
    table = np.zeros(0x110000, np.uint8)
    table[:128] = [kind_of(chr(point)) for point in range(128)]
    return table


def kinds(kind_of, data):
    """data (N,) uint8: UTF-8, at least three more bytes after it. -> the kind of the character that each byte belongs to (N,)"""
    table = known_kinds(kind_of)
    kind = table[data]
    first = np.flatnonzero(data >= 0xC0)  # of the bytes of a character that has more than one
    if len(first):
        length = 2 + (data[first] >= 0xE0) + (data[first] >= 0xF0)
        points = data[first] & (0x7F >> length)  # the bits that belong to the code point: 5, 4 or 3; six more in each byte that follows
        for place in range(1, 4):
            more = length > place
            points[more] = points[more] << 6 | data[first[more] + place] & 0x3F
        for point in np.unique(points[table[points] == UNKNOWN]).tolist():
            table[point] = kind_of(chr(point))
        for place in range(4):
            kind[first[length > place] + place] = table[points[length > place]]
    return kind


def gpt2_boundaries(data, begins):
    """Where GPT-2's words begin (``pretokenize.GPT2_PATTERN``).

    data (N,) uint8: texts in UTF-8, end to end, with at least three more bytes after them; begins (N,) bool: where a text begins,
    and where the last one ends. -> (N,) bool

    "it's 3\\n" -> i, ', the space, the line end; "a  b" -> a, both spaces
    """
    kind = kinds(gpt2_kind, data)
    before, here = kind[:-1], kind[1:]
    starts = begins.copy()
    starts[1:] |= (here != before) & (before != SPACE)  # a space belongs to what follows
    space = (kind == SPACE) | (kind == OTHER_SPACE)
    inside = np.flatnonzero(space[1:] & space[:-1]) + 1  # within a run of white space only its last character begins a word,
    starts[inside] = begins[inside]                      # and that only if something visible follows in the same text
    inside = inside[inside + 1 < len(data)]
    starts[inside] |= ~space[inside + 1] & ~begins[inside + 1]

    quote = np.flatnonzero((data[:-2] == ord("'")) & starts[:-2])
    quote = quote[~begins[quote + 1]]
    second, third = data[quote + 1], data[quote + 2]
    one = quote[_ONE_LETTER[second]]
    two = quote[~begins[quote + 2] & (np.isin(second, list(b"rv")) & (third == ord("e")) | (second == ord("l")) & (third == ord("l")))]
    for contractions, length in ((one, 2), (two, 3)):
        starts[contractions + 1] = False
        starts[contractions + length] = True  # 'real is 're and al
    return _whole_where_foreign(starts, kind, space, begins)


def bert_boundaries(data, begins, kind_of=bert_kind):
    """Where BERT's words begin, each with the white space before it; arguments and result as of ``gpt2_boundaries``. "it's 3" -> i, ', s, the space"""
    kind = kinds(kind_of, data)
    starts = begins.copy()
    starts[1:] |= (kind[:-1] != SPACE) & ((kind[1:] != LETTER) | (kind[:-1] != LETTER))
    starts &= (data & 0xC0) != 0x80  # not within a character
    return _whole_where_foreign(starts, kind, kind == SPACE, begins)


def bert_boundaries_without_cjk(data, begins):
    """The same where Chinese characters are letters: tokenize_chinese_chars=False."""
    return bert_boundaries(data, begins, bert_kind_without_cjk)


def _whole_where_foreign(starts, kind, space, begins):
    """Take out the borders inside a stretch with a foreign character, which are in doubt: of GPT-2's "a b\\u3000c d" -> 'a', ' b\\u3000c', ' d'"""
    foreign = np.flatnonzero(kind == FOREIGN)
    if not len(foreign):
        return starts
    sure = begins.copy()  # borders whatever the foreign characters may be
    sure[1:] |= space[1:] & ~space[:-1] & (kind[:-1] != FOREIGN)
    stretch = np.cumsum(sure, dtype=np.int32)
    whole = np.zeros(stretch[-1] + 1, bool)
    whole[stretch[foreign]] = True
    return (starts & ~whole[stretch]) | sure
