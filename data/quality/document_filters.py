"""Filters of single documents: each returns True if the text should be dropped.

``filters`` applies lists of them to a corpus.
"""
import re
import unicodedata
from collections import Counter
from functools import cache

from data.quality.near_duplicates import fold
from data.splits import stable_hash

MIN_WORDS = 5
MAX_FOREIGN = 0.5  # share of the letters
MAX_MARKUP = 0.1  # share of the characters
# Limits on repetition, from Rae et al. 2021 (Gopher), table A1.
MAX_REPEATED_LINES = 0.30  # share of the lines
MAX_REPEATED_LINE_CHARACTERS = 0.20  # share of the characters
MAX_TOP_NGRAM = {2: 0.20, 3: 0.18, 4: 0.16}  # n -> share of the characters
MAX_REPEATED_NGRAMS = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
MIN_WORDS_FOR_NGRAMS = 50


def is_short(text, min_words=MIN_WORDS):
    """Return whether a text has fewer than ``min_words`` words.

    Raffel et al. 2020 (C4, section 2.2) keep lines of 5 words or more. Rae et al. 2021 require 50
    words for a web page, but here a document may be a single paragraph.

    >>> is_short("Yes, he said."), is_short("one two three four five")
    (True, False)
    """
    return len(text.split(None, min_words)) < min_words


def is_repetitive(text):
    """Return whether a text repeats itself more than Rae et al. 2021 (Gopher, table A1) allow.

    >>> is_repetitive("More\\nMore\\nA line"), is_repetitive("The cat sat.\\nThe dog sat.")
    (True, False)
    """
    return any(share > limit for _, share, limit in repetition(text))


def repetition(text):
    """Yield (measure, share, limit) as in Rae et al. 2021, table A1, but not for paragraphs.

    A line or n-gram (n words in a row) counts as repeated from its second occurrence on. n-grams
    are counted only in texts of 50 words or more, as in Gopher's data: in a text of five words
    each 2-gram would be more than a fifth of it.

    For "a b\\na b\\nc d": ``("lines", 1/3, 0.3), ("characters of lines", 1/3, 0.2)``
    """
    lines = [" ".join(line.split()) for line in text.split("\n")]
    lines = [line for line in lines if line]
    seen = set()
    num_repeated = 0
    repeated_characters = 0
    for line in lines:
        if line in seen:
            num_repeated += 1
            repeated_characters += len(line)
        seen.add(line)
    num_characters = sum(map(len, lines))
    yield "lines", num_repeated / max(len(lines), 1), MAX_REPEATED_LINES
    line_share = repeated_characters / max(num_characters, 1)
    yield "characters of lines", line_share, MAX_REPEATED_LINE_CHARACTERS

    words = text.split()
    if len(words) < MIN_WORDS_FOR_NGRAMS:
        return
    num_characters = sum(map(len, words))
    for n, limit in MAX_TOP_NGRAM.items():
        yield f"top {n}-gram", top_ngram_characters(words, n) / num_characters, limit
    for n, limit in MAX_REPEATED_NGRAMS.items():
        share = repeated_ngram_characters(words, n) / num_characters
        yield f"repeated {n}-grams", share, limit
        if share == 0:
            return  # no n-gram is repeated, so no longer one is


def ngrams(words, n):
    """``["a", "b", "c"], 2 -> [("a", "b"), ("b", "c")]``"""
    return [tuple(words[start:start + n]) for start in range(len(words) - n + 1)]


def top_ngram_characters(words, n):
    """Return the characters in all occurrences of the most frequent n-gram; 0 if it occurs once.

    ``["a", "b", "a", "b", "c"], 2 -> 4``
    """
    counts = Counter(ngrams(words, n))
    top_count = max(counts.values())
    if top_count == 1:
        return 0
    # Of equally frequent n-grams, the longest one.
    lengths = [sum(map(len, ngram)) for ngram, count in counts.items() if count == top_count]
    return top_count * max(lengths)


def repeated_ngram_characters(words, n):
    """Return the characters within n-grams that occurred before, each character counted once.

    ``["a", "b", "a", "b", "a"], 2 -> 3``: "a b" is repeated at the third word, "b a" at the fourth
    """
    seen = set()
    num_characters = 0
    counted_end = 0  # words before this one are already counted
    for start, ngram in enumerate(ngrams(words, n)):
        if ngram in seen:
            new_words = words[max(start, counted_end):start + n]
            num_characters += sum(map(len, new_words))
            counted_end = start + n
        seen.add(ngram)
    return num_characters


def is_foreign(text, scripts=("LATIN",)):
    """Return whether most letters are of other scripts. (The threshold of 0.5 is our own.)

    >>> is_foreign("Привет, world"), is_foreign("Hello, мир"), is_foreign("1788")
    (True, False, False)
    """
    num_letters = 0
    num_foreign = 0
    for character, count in Counter(text).items():
        if character.isalpha():
            num_letters += count
            if script_of(character) not in scripts:
                num_foreign += count
    return num_foreign > MAX_FOREIGN * num_letters


@cache  # at most 1.1 million entries
def script_of(letter):
    """Return the first word of a letter's Unicode name: ``"ж" -> "CYRILLIC"``."""
    name = unicodedata.name(letter, "")
    name = name.removeprefix("FULLWIDTH ").removeprefix("HALFWIDTH ")
    return name.split(" ")[0]


@cache
def known_scripts():
    """Return {"LATIN", "GREEK", ...} (takes 0.2 seconds)."""
    return {script_of(letter) for letter in map(chr, range(0x110000)) if letter.isalpha()}


MARKUP = re.compile(r"""
    </?[a-zA-Z][^<>]{0,1000}>           # HTML: <a href="..."> </p>
    | <!-- | --> | &\#?\w{2,10};        # comments; entities: &nbsp; &#160;
    | \[\[ | \]\] | '{2,3} | ={2,}      # wiki syntax: [[link]] ''italic'' == Heading ==
    | [{}|]                             # {{templates}}, {| tables, code
""", re.VERBOSE)


def is_markup(text, max_share=MAX_MARKUP):
    """Return whether too many characters are HTML tags and entities, wiki syntax or braces.

    Raffel et al. 2020 (C4) drop every page with a brace; here they are counted. (The threshold of
    0.1 is our own.)

    >>> is_markup("<p>See <a href='x'>this</a>.</p>"), is_markup("The set {1, 2, 3} is finite.")
    (True, False)
    """
    return sum(map(len, MARKUP.findall(text))) > max_share * len(text)


class Duplicates:
    """Called with one text after another: did the same text occur before?

    White space and what ``fold`` removes make no difference. Keeps a 64-bit hash of each text,
    about 80 MB for a million texts.

    >>> seen = Duplicates()
    >>> seen("One  text"), seen("one\\ntext"), seen("another")
    (False, True, False)
    """

    def __init__(self):
        self.seen = set()

    def __call__(self, text):
        key = stable_hash(" ".join(fold(text).split()))
        is_duplicate = key in self.seen
        self.seen.add(key)
        return is_duplicate
