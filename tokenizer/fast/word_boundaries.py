"""Not needed to understand BERT. The same as: where ``gpt2_words`` or ``bert_words`` begin a word.

The patterns of ``pretokenize.py`` walk from character to character. Here a table gives each byte
the class of its character, and whether a word begins at a byte follows from its class and those of
its neighbors: a few comparisons of whole arrays, for a batch of texts at once.

The patterns themselves define the classes: each character is tried once, when it first occurs. A
few characters fit no class, such as white space of several bytes in GPT-2's pattern. A stretch of
text with such a FOREIGN character is not cut; it ends where another character is followed by white
space, which no word crosses.

So the results are *units*: words with the space before them, and a few longer stretches. Each unit
can be split into words independently of the others.
"""
import re
from functools import cache
from itertools import pairwise

import numpy as np

from tokenizer.normalize import BertNormalizer
from tokenizer.pretokenize import bert_words, gpt2_words

# Character classes. BERT's words are runs of LETTERs (with numbers) or one OTHER character.
UNKNOWN, SPACE, OTHER_SPACE, LETTER, NUMBER, OTHER, FOREIGN = range(7)

# Positions where a long text can be cut into parts that are processed separately: between a visible
# ASCII character and white space, and between a Chinese comma or full stop and a Chinese character.
SAFE_CUT = re.compile(r"[!-~](?=[ \n])|[。，](?=[\u5000-\u9fff])")
SAFE_CUT_BYTES = re.compile(rb"[!-~](?=[ \n])|(?:\xe3\x80\x82|\xef\xbc\x8c)(?=[\xe5-\xe9])")

IS_S_T_M_D = np.isin(np.arange(256), list(b"stmd"))  # the contractions 's 't 'm 'd


def split_text(text, size):
    """Split a text at safe cuts into parts of about ``size`` characters, longer if there is none.

    >>> split_text("one two three", size=2)
    ['one', ' two', ' three']
    """
    cuts = [0]
    while cuts[-1] < len(text):
        match = SAFE_CUT.search(text, cuts[-1] + size - 1)
        cuts.append(match.end() if match else len(text))
    return [text[start:end] for start, end in pairwise(cuts)]


def gpt2_class(char):
    """Return the class of a character in GPT-2's pattern.

    The pattern makes one word of three characters only if all are of the same class.

    >>> [gpt2_class(char) for char in "é1+\\n"] == [LETTER, NUMBER, OTHER, OTHER_SPACE]
    True
    >>> gpt2_class("\u3000") == FOREIGN
    True
    """
    if char == " ":
        return SPACE
    for side, char_class in (("a", LETTER), ("1", NUMBER), ("+", OTHER)):
        if len(gpt2_words(side + char + side)) == 1:
            return char_class
    return OTHER_SPACE if char.isascii() else FOREIGN


def bert_class(char, **options):
    """Return the class of a character for BERT: what it does between two letters.

    A LETTER makes one word of them, a SPACE two, OTHER three. If that depends on the settings, the
    character is FOREIGN.

    >>> [bert_class(char) for char in "é\u3000€,中"] == [LETTER, SPACE, LETTER, OTHER, OTHER]
    True
    """
    classes = set()
    for lowercase in (True, False):
        for strip_accents in (True, False):
            normalizer = BertNormalizer(lowercase, strip_accents, **options)
            text, _ = normalizer.normalize(f"a{char}a")
            words = [text[start:end] for start, end in bert_words(text)]
            if words[0][0] == words[-1][-1] == "a":
                classes.add({1: LETTER, 2: SPACE, 3: OTHER}.get(len(words), FOREIGN))
            else:
                classes.add(FOREIGN)
    return classes.pop() if len(classes) == 1 else FOREIGN


def bert_class_without_cjk(char):
    """The same with tokenize_chinese_chars=False: Chinese characters are letters."""
    return bert_class(char, tokenize_chinese_chars=False)


@cache
def class_table(class_of):
    """Return the table code point -> class, UNKNOWN until a character occurs. (1114112,) uint8"""
    table = np.zeros(0x110000, np.uint8)
    table[:128] = [class_of(chr(code)) for code in range(128)]
    return table


def byte_classes(class_of, data):
    """Return for each byte the class of the character to which it belongs. -> (N,) uint8

    data: UTF-8 with at least three more bytes after it, (N,) uint8
    """
    table = class_table(class_of)
    classes = table[data]
    first = np.flatnonzero(data >= 0xC0)  # the first bytes of characters of two to four bytes
    if not len(first):
        return classes
    lengths = 2 + (data[first] >= 0xE0) + (data[first] >= 0xF0)
    # Decode: 5, 4 or 3 bits of the first byte, then 6 bits of each byte after it.
    codes = data[first] & (0x7F >> lengths)
    for i in range(1, 4):
        longer = lengths > i
        codes[longer] = codes[longer] << 6 | data[first[longer] + i] & 0x3F
    for code in np.unique(codes[table[codes] == UNKNOWN]).tolist():
        table[code] = class_of(chr(code))
    for i in range(4):
        longer = lengths > i
        classes[first[longer] + i] = table[codes[longer]]
    return classes


def gpt2_boundaries(data, text_starts):
    """Return where GPT-2's words begin (``pretokenize.GPT2_PATTERN``). -> (N,) bool

    data          UTF-8 of all texts, with at least three more bytes after it, (N,) uint8
    text_starts   where texts begin, and where the last one ends, (N,) bool

    "it's 3\\n" -> i, ', the space, the line end; "a  b" -> a, both spaces
    """
    classes = byte_classes(gpt2_class, data)
    previous = classes[:-1]
    starts = text_starts.copy()
    # A new class begins a new word, but a space belongs to the word after it.
    starts[1:] |= (classes[1:] != previous) & (previous != SPACE)

    # In a run of white space only the last character begins a word, and only if something visible
    # follows in the same text.
    is_space = (classes == SPACE) | (classes == OTHER_SPACE)
    inside = np.flatnonzero(is_space[1:] & is_space[:-1]) + 1
    starts[inside] = text_starts[inside]
    inside = inside[inside + 1 < len(data)]
    starts[inside] |= ~is_space[inside + 1] & ~text_starts[inside + 1]

    # Contractions: 's 't 'm 'd, and 're 've 'll. 'real is 're and al.
    quotes = np.flatnonzero((data[:-2] == ord("'")) & starts[:-2])
    quotes = quotes[~text_starts[quotes + 1]]
    second = data[quotes + 1]
    third = data[quotes + 2]
    is_re_ve = ((second == ord("r")) | (second == ord("v"))) & (third == ord("e"))
    is_ll = (second == ord("l")) & (third == ord("l"))
    two_letters = quotes[~text_starts[quotes + 2] & (is_re_ve | is_ll)]
    one_letter = quotes[IS_S_T_M_D[second]]
    for contractions, length in ((one_letter, 2), (two_letters, 3)):
        starts[contractions + 1] = False
        starts[contractions + length] = True
    return _uncut_foreign(starts, classes, is_space, text_starts)


def bert_boundaries(data, text_starts, class_of=bert_class):
    """Return where BERT's words begin, each with the white space before it. -> (N,) bool

    Arguments as ``gpt2_boundaries``. "it's 3" -> i, ', s, the space
    """
    classes = byte_classes(class_of, data)
    previous = classes[:-1]
    starts = text_starts.copy()
    starts[1:] |= (previous != SPACE) & ((classes[1:] != LETTER) | (previous != LETTER))
    starts &= (data & 0xC0) != 0x80  # not inside a character
    return _uncut_foreign(starts, classes, classes == SPACE, text_starts)


def bert_boundaries_without_cjk(data, text_starts):
    """The same with tokenize_chinese_chars=False: Chinese characters are letters."""
    return bert_boundaries(data, text_starts, bert_class_without_cjk)


def _uncut_foreign(starts, classes, is_space, text_starts):
    """Remove the boundaries inside stretches with a foreign character, which are uncertain.

    GPT-2: "a b\\u3000c d" -> 'a', ' b\\u3000c', ' d'
    """
    foreign = np.flatnonzero(classes == FOREIGN)
    if not len(foreign):
        return starts
    # Boundaries that are certain whatever the foreign characters are.
    certain = text_starts.copy()
    certain[1:] |= is_space[1:] & ~is_space[:-1] & (classes[:-1] != FOREIGN)
    stretch = np.cumsum(certain, dtype=np.int32)  # index of the stretch of each byte
    is_foreign = np.zeros(stretch[-1] + 1, bool)
    is_foreign[stretch[foreign]] = True
    return (starts & ~is_foreign[stretch]) | certain
