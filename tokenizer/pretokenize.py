"""Text -> words, before any vocabulary: merges and word pieces never cross the borders that are drawn here.

Two ways. GPT-2's (Radford et al. 2019, section 2.2; also RoBERTa's) keeps everything: a word holds the space before
it, and is written in 256 printable characters, one for each byte, because vocabulary files are text in which spaces and line ends
stand between the tokens. BERT's (Devlin et al. 2018) throws white space away
and makes each punctuation mark a word of its own; it comes after ``normalize.py``.
"""
import re
from functools import lru_cache

import regex

from tokenizer.normalize import surrogate_message
from tokenizer.utils.unicode_tables import WHITE_SPACE, in_unicode_16, is_punctuation

# English contractions (lower case only, as published) | letters | numbers | anything else that is not white space, each
# with one space before it | white space up to the last one, which belongs to the next word | white space.
GPT2_PATTERN = regex.compile(in_unicode_16(
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"), regex.V1)

# The same where all is ASCII, by Python's own `re`, which is several times as fast.
_GPT2_ASCII = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+", re.ASCII)


def gpt2_words(text):
    """The words of a text; nothing is lost: joined they are the text. Of two spaces the second belongs to the word after it.

    >>> gpt2_words("it's  3rd\\n")
    ['it', "'s", ' ', ' 3', 'rd', '\\n']
    """
    return (_GPT2_ASCII if text.isascii() else GPT2_PATTERN).findall(text)


@lru_cache(maxsize=1)
def byte_characters():
    """The 256 printable characters that stand for the 256 bytes in vocabulary files, as one string in order of bytes.

    Bytes that print well stand for themselves; the other 68, in order, take the characters from U+0100 on.

    >>> byte_characters()[ord("a")], byte_characters()[ord(" ")], byte_characters()[ord("\\n")]
    ('a', 'Ġ', 'Ċ')
    """
    prints_well = {*range(33, 127), *range(161, 173), *range(174, 256)}
    spare = iter(range(256, 512))
    return "".join(chr(byte if byte in prints_well else next(spare)) for byte in range(256))


@lru_cache(maxsize=1)
def _byte_of_character():
    return {char: byte for byte, char in enumerate(byte_characters())}


def token_bytes(token):
    """Return the bytes of a byte-level token: the inverse of ``byte_characters``.

    >>> token_bytes("Ġhug"), token_bytes("Ã©").decode("utf-8")
    (b' hug', 'é')
    """
    byte_of = _byte_of_character()
    return bytes(byte_of[char] for char in token)


def utf8(text):
    """``text.encode("utf-8")`` whose error says what is wrong with the text. 'é' -> b'\\xc3\\xa9'"""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(surrogate_message(text, error.start)) from None


def bert_words(text):
    """Where the words of a normalized text are, as (start, end): "isn't it?" -> isn | ' | t | it | ?

    >>> bert_words("isn't it?")
    [(0, 3), (3, 4), (4, 5), (6, 8), (8, 9)]
    """
    words, start = [], None  # start: where the word began that we are in
    for position, char in enumerate(text):
        space = char in WHITE_SPACE
        if space or is_punctuation(char):
            if start is not None:
                words.append((start, position))
                start = None
            if not space:
                words.append((position, position + 1))
        elif start is None:
            start = position
    if start is not None:
        words.append((start, len(text)))
    return words
