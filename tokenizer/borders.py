"""Where words begin, for a batch of texts at once: the patterns of ``pretokenize.py`` as a few operations on whole arrays of bytes.

A pattern walks from character to character; here every byte is given its kind by a table, and whether a word begins at a byte follows from
its kind and its neighbours', for all bytes in one comparison. That is enough for ASCII, for the letters of Western and Central Europe (two bytes
each) and for typographers' quotes and dashes (three). A stretch with any other byte in it is left whole, for the pattern: it
ends where a known character is followed by white space, which no word goes across.

So what comes out are units: mostly words with the space before them, and some longer stretches. Each can be treated without the others.
"""
import numpy as np

from .unicode_versions import WHITE_SPACE

SPACE, OTHER_SPACE, LETTER, NUMBER, OTHER, FOREIGN = range(6)  # kinds of bytes; BERT knows letters and numbers as one


def _table(kind_of):
    return np.array([kind_of(chr(byte)) if byte < 128 else FOREIGN for byte in range(256)], np.uint8)


def _gpt2_kind(char):
    if char in WHITE_SPACE:
        return SPACE if char == " " else OTHER_SPACE
    return LETTER if char.isalpha() else NUMBER if char.isdigit() else OTHER


def _bert_kind(char):
    if char in " \t\n\r":
        return SPACE
    return (LETTER if char.isalnum() else OTHER) if char.isprintable() else FOREIGN  # BERT deletes control characters: no border


_GPT2, _BERT = _table(_gpt2_kind), _table(_bert_kind)
_ONE_LETTER = np.isin(np.arange(256), list(b"stmd"))  # 's 't 'm 'd


def _kinds(table, data):
    """-> (the kinds of all bytes, where known characters of three bytes begin)"""
    kind = table[data]
    high = np.flatnonzero(data > 127)
    lead, second = data[high], data[high + 1]
    letters = high[(lead >= 0xC3) & (lead <= 0xC5) & ~((lead == 0xC3) & ((second == 0x97) | (second == 0xB7)))]  # U+C0 to U+17F but × ÷
    marks = high[(lead == 0xE2) & (second == 0x80)]
    marks = marks[(data[marks + 2] >= 0x90) & (data[marks + 2] <= 0xA7)]  # U+2010 to U+2027
    kind[letters] = kind[letters + 1] = LETTER
    kind[marks] = kind[marks + 1] = kind[marks + 2] = OTHER
    return kind, marks


def gpt2_borders(data, begins):
    """Where GPT-2's words begin (``pretokenize.GPT2_PATTERN``).

    data (N,) uint8: texts in UTF-8, end to end, with at least two more bytes after them; begins (N,) bool: where a text begins,
    and where the last one ends. -> (N,) bool

    "it's 3\\n" -> i, ', the space, the line end; "a  b" -> a, both spaces
    """
    kind, _ = _kinds(_GPT2, data)
    before, here = kind[:-1], kind[1:]
    starts = begins.copy()
    starts[1:] |= (here != before) & (before != SPACE)  # a space belongs to what follows
    space = kind <= OTHER_SPACE
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


def bert_borders(data, begins):
    """Where BERT's words begin, each with the white space before it; arguments and result as of ``gpt2_borders``. "it's 3" -> i, ', s, the space"""
    kind, marks = _kinds(_BERT, data)
    starts = begins.copy()
    starts[1:] |= (kind[:-1] != SPACE) & ((kind[1:] != LETTER) | (kind[:-1] != LETTER))
    starts[marks + 1] = starts[marks + 2] = False  # within a character
    return _whole_where_foreign(starts, kind, kind == SPACE, begins)


def _whole_where_foreign(starts, kind, space, begins):
    foreign = np.flatnonzero(kind == FOREIGN)
    if not len(foreign):
        return starts
    sure = begins.copy()  # borders whatever the foreign characters may be
    sure[1:] |= space[1:] & ~space[:-1] & (kind[:-1] != FOREIGN)
    stretch = np.cumsum(sure, dtype=np.int32)
    whole = np.zeros(stretch[-1] + 1, bool)
    whole[stretch[foreign]] = True
    return starts & ~whole[stretch] | sure
