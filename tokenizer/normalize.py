"""Clean up a text before it is cut into words, as BERT does.

The original is BasicTokenizer in google-research/bert, tokenization.py.

Four steps, in this order: drop control characters and turn all white space into ' '; put spaces
around CJK characters; strip accents; convert to lower case. Every character carries the position
that it came from, so that a token can be located in the original text.

Byte-level BPE has no such step: it keeps every byte (see ``pretokenize.py``). Only ModernBERT's
tokenizer changes the text, by composing it first (``nfc``).
"""
import re
import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache

import regex

from tokenizer.utils.unicode_tables import (
    WHITE_SPACE,
    combining_class,
    decomposed,
    is_control,
    is_mark,
    lower,
)

# The blocks of CJK ideographs as BERT lists them. Hiragana, Katakana and Hangul are not among
# them. Google's code starts the sixth block at U+2B820. Hugging Face's starts it at U+2B920,
# and so do we.
CJK_BLOCKS = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)

# Parts of a text that can be normalized separately: printable ASCII; and one other character, or
# any with marks on it, such as accents.
_PARTS = regex.compile(r"[\t\n\r -~]+(?!\p{M})|.\p{M}*", regex.DOTALL)
# Characters that can be normalized one by one, ASCII or other; or marks, whose order may change.
_CHARACTERS_OR_MARKS = regex.compile(r"([\0-\x7f]+|[^\0-\x7f\p{M}]+)|(\p{M}+)")
LONGEST_CACHED_PART = 32  # characters; nearly all parts have one
_ASCII_SPACES = dict.fromkeys(map(ord, "\t\n\r"), " ")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class BertNormalizer:
    """Normalize a text as BERT does. ``strip_accents=None`` strips accents if ``lowercase`` is set.

    >>> BertNormalizer().normalize("É\\0 中x")   # U+0000 is dropped, 中 gets spaces
    ('e  中 x', [0, 2, 3, 3, 3, 4])
    >>> BertNormalizer(lowercase=False).normalize("Élan")[0]
    'Élan'
    """

    lowercase: bool = True
    strip_accents: bool | None = None
    tokenize_chinese_chars: bool = True

    def normalize(self, text):
        """Return the normalized text and, for each of its characters, its position in ``text``.

        Raises ValueError for a lone surrogate, half of a character, which UTF-8 cannot encode.
        """
        if text.isascii() and (plain := self._normalize_plain(text)) is not None:
            return plain, range(len(text))
        refuse_surrogates(text)
        parts = []
        positions = []
        normalize_cached = cached_part(self)
        start = 0
        for part in _PARTS.findall(text):
            if part.isascii() and (plain := self._normalize_plain(part)) is not None:
                parts.append(plain)
                positions += range(start, start + len(part))
            else:
                normalized, part_positions = normalize_cached(part)
                parts.append(normalized)
                positions += [start + position for position in part_positions]
            start += len(part)
        return "".join(parts), positions

    def normalize_text(self, text):
        """Return ``normalize(text)[0]``, about ten times as fast: the positions take most time."""
        refuse_surrogates(text)
        table = character_table(self)
        normalize_cached = cached_part(self)
        return "".join([characters.translate(table) if characters else normalize_cached(marks)[0]
                        for characters, marks in _CHARACTERS_OR_MARKS.findall(text)])

    def _normalize_plain(self, text):
        """Normalize printable ASCII, where there is little to do; return None for other texts."""
        text = text.translate(_ASCII_SPACES)
        if text.isprintable():
            return text.lower() if self.lowercase else text

    def _normalize_part(self, text):
        # Uncased BERT reads Élan, ELAN and elan as the same word.
        strips_accents = self.lowercase if self.strip_accents is None else self.strip_accents
        # Each step is a generator over (character, position), so the text is walked only once.
        chars = clean((char, position) for position, char in enumerate(text))
        if self.tokenize_chinese_chars:
            chars = space_out_cjk(chars)
        if strips_accents:
            chars = strip_accents(chars)
        if self.lowercase:
            chars = lower_case(chars)
        return _text_and_positions(chars)


@cache
def cached_part(normalizer):
    """Return ``_normalize_part`` with a cache of short parts, which equal normalizers share."""
    normalize = normalizer._normalize_part
    cached = lru_cache(maxsize=1 << 16)(normalize)
    return lambda part: (cached if len(part) <= LONGEST_CACHED_PART else normalize)(part)


class CharacterTable(dict):
    """{code point: normalized character} for ``str.translate``, filled as characters occur."""

    def __init__(self, normalizer):
        self.normalizer = normalizer

    def __missing__(self, code_point):
        self[code_point], _ = self.normalizer._normalize_part(chr(code_point))
        return self[code_point]


@cache
def character_table(normalizer):
    """Return the ``CharacterTable`` that equal normalizers share."""
    return CharacterTable(normalizer)


def _text_and_positions(chars):
    chars = list(chars)
    return "".join(char for char, _ in chars), [position for _, position in chars]


# The steps. Each takes and returns an iterable of (character, position).

def clean(chars):
    """Drop control characters and turn white space into ' ': 'a\\x00\\tb' -> 'a b'."""
    for char, position in chars:
        # U+FFFD marks bytes that could not be decoded: it says nothing about the text.
        if char in "\0\ufffd" or is_control(char):
            continue
        yield " " if char in WHITE_SPACE else char, position


def space_out_cjk(chars):
    """Put spaces around each CJK character: 'a中文b' -> 'a 中  文 b'."""
    # Chinese has no spaces between words, so BERT treats each character as a word.
    for char, position in chars:
        # The first test is quick, and false for nearly all characters of most languages.
        if char >= "\u3400" and any(first <= ord(char) <= last for first, last in CJK_BLOCKS):
            yield from ((" ", position), (char, position), (" ", position))
        else:
            yield char, position


def strip_accents(chars):
    """Decompose, then drop the nonspacing marks: 'é' -> 'e' + U+0301 -> 'e'."""
    # A letter with its accent is one character, so only decomposing separates the two.
    return ((char, position) for char, position in decompose(chars) if not is_mark(char))


def lower_case(chars):
    """Convert one character at a time: 'ΣΑΣ' -> 'σασ'."""
    # ``str.lower`` looks at the neighbors and turns the last Σ of a word into 'ς'. Hugging Face
    # does not. One character may give two: İ becomes i and a dot above.
    return ((small, position) for char, position in chars for small in lower(char))


# Unicode's normal forms, written out here because the positions must be kept.

def decompose(chars):
    """Decompose canonically (NFD): 'é' -> 'e' + U+0301, marks in canonical order."""
    # A letter and the marks after it, as (character, position, is the first of its position).
    run = []
    for composed, position in chars:
        for i, char in enumerate(decomposed(composed)):
            if not combining_class(char):  # a letter: the run before it is complete
                yield from in_canonical_order(run)
                run = []
            run.append((char, position, i == 0))
    yield from in_canonical_order(run)


def in_canonical_order(run):
    """Sort marks by their combining class. A letter has class 0, so it stays in front.

    ``a, U+1E000, U+103A -> a at 0, U+103A at 1, U+1E000 at 2``
    """
    # Positions stay ascending, as in Hugging Face's library: a mark does not take its position
    # along. They are assigned again from left to right: a character that was the first of its
    # position takes the next one; any other takes that of the character before it.
    positions = iter([position for _, position, is_first in run if is_first])
    position = run[0][1] if run else None
    for char, _, is_first in sorted(run, key=lambda entry: combining_class(entry[0])):
        if is_first:
            position = next(positions)
        yield char, position


def compose(chars):
    """Compose canonically (NFC): decompose, then join what has a composed character.

    'e' + U+0301 -> 'é'; 'é' + U+0323 -> 'ẹ' + U+0301, since U+0323 has the lower class.
    """
    result = []  # (character, how many positions it absorbed)
    positions = []
    letter = None  # index in result of the last letter
    last_class = 0  # combining class of the mark before this one
    for char, position in decompose(chars):
        is_new = not positions or position != positions[-1]
        if is_new:
            positions.append(position)
        own_class = combining_class(char)
        composed = None
        # A mark joins the last letter, unless a mark of the same or a higher class is between
        # them. A letter joins the letter right before it, as in Hangul.
        if letter is not None and (last_class < own_class or last_class == 0):
            composed = compose_pair(result[letter][0], char)
        if composed:
            result[letter] = (composed, result[letter][1] + is_new)
            continue
        if own_class == 0:
            letter = len(result)
        last_class = own_class
        result.append((char, int(is_new)))

    # Positions stay ascending here, too: each character takes the next position and skips as
    # many as it absorbed.
    num_taken = 0
    for char, num_absorbed in result:
        yield char, positions[num_taken if num_absorbed else max(num_taken - 1, 0)]
        num_taken += num_absorbed


def compose_pair(letter, char):
    """Return the one character that equals these two canonically, or None. 'e', U+0301 -> 'é'"""
    composed = unicodedata.normalize("NFC", letter + char)
    return composed if len(composed) == 1 and decomposed(composed) != composed else None


def nfc(text):
    """Return the composed text and, for each of its characters, its position in ``text``.

    >>> nfc("cafe\u0301s")
    ('cafés', [0, 1, 2, 3, 5])
    """
    if unicodedata.is_normalized("NFC", text):
        return text, range(len(text))
    return _text_and_positions(compose((char, position) for position, char in enumerate(text)))


def nfc_text(text):
    """Return ``nfc(text)[0]``."""
    return nfc(text)[0]


def refuse_surrogates(text):
    """Raise ValueError if a text has a lone surrogate."""
    surrogate = _SURROGATE.search(text)
    if surrogate:
        raise ValueError(surrogate_message(text, surrogate.start()))


def surrogate_message(text, position):
    """Explain a lone surrogate at ``position``, with the text around it."""
    context = text[max(0, position - 20) : position + 20]
    return (
        f"the text holds a lone surrogate U+{ord(text[position]):04X}, half of a character that "
        f"UTF-8 cannot encode, in {context!r}: read the text with errors='replace'"
    )
