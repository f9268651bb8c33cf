"""BERT's clean-up of a text before it is cut into words (google-research/bert, tokenization.py, BasicTokenizer).

Four steps, in this order: drop control characters and make all white space one kind; put spaces around CJK
characters, so that each becomes a word; strip accents; lower case. Every character carries the position it
came from, so that a token can be found again in the text as it was written.

Byte-level BPE has no such step: it keeps every byte (see ``pretokenize.py``). Only ModernBERT's tokenizer changes the
text: it composes it first (``nfc``).
"""
import re
import unicodedata
from dataclasses import dataclass

from tokenizer.utils.unicode_tables import WHITE_SPACE, combining_class, decomposed, is_control, is_mark, lower

# CJK ideographs, the blocks as BERT lists them: neither Hiragana and Katakana nor Hangul, which are written with spaces
# or are alphabets. Google's code starts the sixth at U+2B820; the reference, and so this, at U+2B920.
CJK_BLOCKS = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
              (0x2B920, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F))

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class BertNormalizer:
    """The clean-up as a function with settings. ``strip_accents=None`` means: as ``lowercase`` says.

    >>> BertNormalizer().normalize("É\\0 中x")         # E, U+0000, a space, 中, x: U+0000 goes, 中 gets spaces
    ('e  中 x', [0, 2, 3, 3, 3, 4])
    >>> BertNormalizer(lowercase=False).normalize("Élan")[0]
    'Élan'
    """
    lowercase: bool = True
    strip_accents: bool | None = None
    tokenize_chinese_chars: bool = True

    def normalize(self, text):
        """The normalized text, and for each of its characters the position in ``text`` that it came from.

        Raises ValueError for a lone surrogate, half of a character, which no UTF-8 file can hold.
        """
        surrogate = _SURROGATE.search(text)
        if surrogate:
            raise ValueError(surrogate_message(text, surrogate.start()))
        chars = clean((char, position) for position, char in enumerate(text))
        if self.tokenize_chinese_chars:
            chars = space_out_cjk(chars)
        without_accents = self.lowercase if self.strip_accents is None else self.strip_accents
        if without_accents:
            chars = strip_accents(chars)
        if self.lowercase:
            chars = lower_case(chars)
        chars = list(chars)
        return "".join(char for char, _ in chars), [position for _, position in chars]


# Each step takes and gives (character, position) pairs.

def clean(chars):
    """Drop U+0000, U+FFFD and control characters; every white space becomes ' '. 'a\\x00\\tb' -> 'a b'"""
    for char, position in chars:
        if char in "\0\ufffd" or is_control(char):
            continue
        yield " " if char in WHITE_SPACE else char, position


def space_out_cjk(chars):
    """'a中文b' -> 'a 中  文 b'"""
    for char, position in chars:
        if char >= "\u3400" and any(first <= ord(char) <= last for first, last in CJK_BLOCKS):
            yield from ((" ", position), (char, position), (" ", position))
        else:
            yield char, position


def strip_accents(chars):
    """Decompose, then drop the nonspacing marks. 'é' -> 'e' + U+0301 -> 'e'; 'ß' stays, it does not decompose."""
    return ((char, position) for char, position in decompose(chars) if not is_mark(char))


def decompose(chars):
    """Unicode's canonical decomposition (NFD): each character apart, then the marks after a letter in their order."""
    run = []  # a letter and the marks that follow it, as (character, position, whether it is the first that its position gave)
    for composed, position in chars:
        for number, char in enumerate(decomposed(composed)):
            if not combining_class(char):
                yield from in_canonical_order(run)
                run = []
            run.append((char, position, number == 0))
    yield from in_canonical_order(run)


def in_canonical_order(run):
    """Marks sorted by their combining class; the sort is stable, and a letter, whose class is 0, stays in front.

    Positions do not go with the marks but stay ascending, as the reference has it. The run's positions are dealt out anew, from left to
    right: to each character that was the first of its position the next one, to every other that of the character before it.

    ``a, U+1E000, U+103A -> a at 0, U+103A at 1, U+1E000 at 2``
    """
    position = run[0][1] if run else None
    positions = iter([position for _, position, first in run if first])
    for char, _, first in sorted(run, key=lambda entry: combining_class(entry[0])):
        position = next(positions) if first else position
        yield char, position


def compose(chars):
    """Unicode's canonical composition (NFC): taken apart, then put together where there is a character for it.

    A mark joins the last letter unless a mark of the same or a higher combining class stands between, and a letter joins the one that
    it follows at once (as in Hangul): 'e' + U+0301 -> 'é'; 'é' + U+0323 -> 'ẹ' + U+0301, for the mark below, of the lower class, comes first.

    As in ``in_canonical_order`` positions stay ascending: each character takes the next, and leaves out as many as it absorbed.
    """
    result, sources, letter, last_class = [], [], None, 0  # letter: where the latest one stands; last_class: of the mark before this one
    for char, position in decompose(chars):
        own_class, new = combining_class(char), not sources or position != sources[-1]
        if new:
            sources.append(position)
        composed = letter is not None and (last_class < own_class or not last_class) and together(result[letter][0], char)
        if composed:
            result[letter] = composed, result[letter][1] + new
            continue
        if not own_class:
            letter = len(result)
        last_class = own_class
        result.append((char, new))
    taken = 0
    for char, absorbed in result:
        yield char, sources[taken if absorbed else max(taken - 1, 0)]
        taken += absorbed


def together(letter, char):
    """The one character that is canonically equal to these two, None if there is none. 'e', U+0301 -> 'é'"""
    composed = unicodedata.normalize("NFC", letter + char)
    return composed if len(composed) == 1 and decomposed(composed) != composed else None


def nfc(text):
    """The composed form of a text, and for each of its characters the position in ``text`` that it came from.

    >>> nfc("cafe\u0301s")
    ('cafés', [0, 1, 2, 3, 5])
    """
    if unicodedata.is_normalized("NFC", text):
        return text, range(len(text))
    chars = list(compose((char, position) for position, char in enumerate(text)))
    return "".join(char for char, _ in chars), [position for _, position in chars]


def lower_case(chars):
    """'ΣΑΣ' -> 'σασ'. One character at a time: ``str.lower`` would make the last Σ of a word 'ς'; the reference always makes 'σ'."""
    return ((small, position) for char, position in chars for small in lower(char))


def surrogate_message(text, position):
    """What is said about half of a character, which stands at ``position``, with the text around it."""
    return (f"the text holds a lone surrogate U+{ord(text[position]):04X}, half of a character that UTF-8 cannot hold, in "
            f"{text[max(0, position - 20):position + 20]!r}: read the text with errors='replace', or repair it")
