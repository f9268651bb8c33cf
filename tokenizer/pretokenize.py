"""Cut a text into words, before any vocabulary. No token crosses a boundary between two words.

There are two ways. GPT-2's, which is also RoBERTa's (Radford et al. 2019, section 2.2), keeps
everything: a word includes the space before it. Vocabulary files need spaces and line ends
between tokens, so each byte of a word is written as one of 256 printable characters. BERT's way
(Devlin et al. 2018) throws white space away and makes each punctuation mark a word; it comes
after ``normalize.py``.
"""
import re
from functools import lru_cache

import regex

from tokenizer.normalize import surrogate_message
from tokenizer.utils.unicode_tables import PUNCTUATION, WHITE_SPACE, in_unicode_16

# GPT-2's pattern, one alternative a line.
GPT2_PATTERN = regex.compile(in_unicode_16(
    r"'s|'t|'re|'ve|'m|'ll|'d"  # English contractions, in lower case only
    r"| ?\p{L}+"  # letters, with one space before them
    r"| ?\p{N}+"  # numbers
    r"| ?[^\s\p{L}\p{N}]+"  # other characters that are not white space
    r"|\s+(?!\S)"  # white space, except the last one before a word
    r"|\s+"  # that last one, if the word did not take it
), regex.V1)

# The same for ASCII, where Python's own `re` is several times faster.
GPT2_ASCII_PATTERN = re.compile(
    r"'s|'t|'re|'ve|'m|'ll|'d| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+", re.ASCII
)

# BERT's words: characters that are neither white space nor punctuation, or one punctuation mark.
BERT_PATTERN = regex.compile(
    rf"[^{''.join(WHITE_SPACE)}{PUNCTUATION}]+|[{PUNCTUATION}]", regex.V1)


def gpt2_words(text):
    """Return the words of a text. Nothing is lost: joined, the words are the text.

    >>> gpt2_words("it's  3rd\\n")   # of two spaces, the second belongs to the next word
    ['it', "'s", ' ', ' 3', 'rd', '\\n']
    """
    return (GPT2_ASCII_PATTERN if text.isascii() else GPT2_PATTERN).findall(text)


def bert_words(text):
    """Return the words of a normalized text as (start, end). Punctuation marks are words.

    >>> bert_words("isn't it?")   # isn | ' | t | it | ?
    [(0, 3), (3, 4), (4, 5), (6, 8), (8, 9)]
    """
    return [match.span() for match in BERT_PATTERN.finditer(text)]


# Bytes and the characters that represent them in vocabulary files

@lru_cache(maxsize=1)
def byte_characters():
    """Return a string of 256 printable characters: the i-th represents byte i.

    A byte that is a printable character represents itself. The other 68 bytes, in order, take the
    characters from U+0100 on.

    >>> byte_characters()[ord("a")], byte_characters()[ord(" ")], byte_characters()[ord("\\n")]
    ('a', 'Ġ', 'Ċ')
    """
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    spare = iter(range(256, 512))
    return "".join(chr(byte if byte in printable else next(spare)) for byte in range(256))


@lru_cache(maxsize=1)
def _byte_of_character():
    return {char: byte for byte, char in enumerate(byte_characters())}


def token_bytes(token):
    """Return the bytes of a byte-level token: the inverse of ``byte_characters``.

    >>> token_bytes("Ġhug"), token_bytes("Ã©").decode("utf-8")
    (b' hug', 'é')
    """
    return bytes(map(_byte_of_character().__getitem__, token))


def utf8(text):
    """Encode as ``text.encode("utf-8")`` does, with a clear error. 'é' -> b'\\xc3\\xa9'"""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(surrogate_message(text, error.start)) from None
