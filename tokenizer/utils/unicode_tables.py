"""Where the Unicode tables of different versions disagree.

BERT classifies characters as punctuation, marks (accents) or control characters, and decomposes
composed characters. GPT-2's pattern asks whether a character is a letter or a number. Unicode adds
characters every year, so every version of Python would split some rare texts differently.

The reference (Hugging Face's tokenizers 0.23) uses Unicode 8 for punctuation, marks and control
characters, 9 for decomposition, 16 for letters and numbers, and 17 for lower case. The ranges below
are all characters, up to Unicode 18, on which these and other versions disagree. With them the
results equal the reference's for all 1,112,064 code points, under every version of Python and of
the ``regex`` package. ``make parity`` checks all of them with the installed versions; if a later
Unicode adds characters, that test names the ones to add here.

Names: X_LATER are characters that newer tables count as X and the reference does not; X_ONCE are
those that only the reference counts.
"""
import unicodedata
from functools import lru_cache


def _in_order(ranges):
    """'41-43 7A' -> ['A', 'B', 'C', 'z'] (hexadecimal code points, ends included)"""
    chars = []
    for part in ranges.split():
        ends = [int(end, 16) for end in part.split("-")]
        chars += map(chr, range(ends[0], ends[-1] + 1))
    return chars


def _characters(ranges):
    return set(_in_order(ranges))


def _in_brackets(ranges):
    """'41-43 7A' -> 'A-Cz', for a regular expression's [...]"""
    chars = [[chr(int(end, 16)) for end in part.split("-")] for part in ranges.split()]
    return "".join("-".join(ends) for ends in chars)


# Punctuation since Unicode 9, 143 of them; and two that were punctuation once.
PUNCTUATION_LATER = _in_brackets("""
    61D 9FD A76 C77 C84 1B4E-1B4F 1B7D-1B7F 2E43-2E4F 2E52-2E5D 2E60-2E63 10D6E 10EAD 10ED0
    10F55-10F59 10F86-10F89 113D4-113D5 113D7-113D8 1144B-1144F 1145A-1145B 1145D 11660-1166C
    116B9 1183B 11944-11946 119E2 11A3F-11A46 11A9A-11A9C 11A9E-11AA2 11B00-11B09 11BE1
    11C41-11C45 11C70-11C71 11EF7-11EF8 11F43-11F4F 11FFF 12FF1-12FF2 16D6D-16D6F 16E97-16E9A
    16FE2 1E5FF 1E95E-1E95F""")
PUNCTUATION_ONCE = _in_brackets("166D 111C9")

# Nonspacing marks since Unicode 9, and two that were marks once.
MARKS_LATER = _characters("""
    5C8-5C9 7FD 897-89F 8CA-8E1 9FE AFA-AFF B53-B55 C04 C3C D00 D3B-D3C D81 EBA ECE 180F
    1885-1886 1ABF-1AF0 1DF6-1DFB A82C A8C5 A8FF A9BD 10D24-10D27 10D69-10D6D 10EAB-10EAC
    10ECB-10ECF 10EF0-10EFF 10F46-10F50 10F82-10F85 11070 11073-11074 110C2 111C9 111CF 1123E
    11241 1133B 113BB-113C0 113CE 113D0 113D2 113E1-113E2 11438-1143F 11442-11444 11446 1145E
    1182F-11837 11839-1183A 1193B-1193C 1193E 11943 119D4-119D7 119DA-119DB 119E0 11A01-11A0A
    11A33-11A38 11A3B-11A3E 11A47 11A51-11A56 11A59-11A5B 11A8A-11A96 11A98-11A99 11B60
    11B62-11B64 11B66 11C30-11C36 11C38-11C3D 11C3F 11C92-11CA7 11CAA-11CB0 11CB2-11CB3
    11CB5-11CB6 11D31-11D36 11D3A 11D3C-11D3D 11D3F-11D45 11D47 11D90-11D91 11D95 11D97 11DF0
    11EF3-11EF4 11F00-11F01 11F36-11F3A 11F40 11F42 11F5A 13440 13447-13455 1611E-16129
    1612D-1612F 16F4F 16FE4 1CF00-1CF2D 1CF30-1CF46 1D127-1D128 1D25B-1D25C 1E000-1E006
    1E008-1E018 1E01B-1E021 1E023-1E024 1E026-1E02A 1E08F 1E130-1E136 1E2AE 1E2EC-1E2EF
    1E4EC-1E4EF 1E5EE-1E5EF 1E6E3 1E6E6 1E6EE-1E6EF 1E6F5 1E944-1E94A""")
MARKS_ONCE = _characters("1734 1171E")

# Format characters since Unicode 9.
CONTROLS_LATER = _characters("890-891 8E2 110CD 13430-1343F")

# Characters that can be decomposed since Unicode 13 and 16; and marks that have a combining class
# since Unicode 10.
COMPOSED_LATER = _characters("""
    11938 105C9 105E4 11383 11385 1138E 11391 113C5 113C7-113C8 16121-16128 16D68-16D6A""")
ORDERED_LATER = _characters("""
    5C8-5C9 7FD 897-89F 8CA-8D3 9FE C3C D3B-D3C EBA 1715 1ABF-1AF0 1DF6-1DFA A82C 10D24-10D27
    10D69-10D6D 10EAB-10EAC 10ECB-10ECF 10EF0-10EFB 10EFD-10EFF 10F46-10F50 10F82-10F85 11070
    1133B 113CE-113D0 1145E 11839-1183A 1193D-1193E 11943 119E0 11A34 11A47 11A99 11D42
    11D44-11D45 11D97 11F41-11F42 1612F 16FF0-16FF1 1D127-1D128 1D250-1D252 1D25B-1D25C 1D25F
    1D280-1D281 1E08F 1E130-1E136 1E2AE 1E2EC-1E2EF 1E4EC-1E4EF 1E5EE-1E5EF 1E6E3 1E6E6
    1E6EE-1E6EF 1E6F5""")

# Capital letters since Unicode 14 to 17, with their lower case; and those since 18, which have none
# in the reference.
CAPITALS = _in_order("""
    1C89 2C2F A7C0 A7CB A7CC A7CE A7D0 A7D2 A7D4 A7D6 A7D8 A7DA A7DC 10570-1057A 1057C-1058A
    1058C-10592 10594-10595 10D50-10D65 16EA0-16EB8""")
SMALL = _in_order("""
    1C8A 2C5F A7C1 264 A7CD A7CF A7D1 A7D3 A7D5 A7D7 A7D9 A7DB 19B 10597-105A1 105A3-105B1
    105B3-105B9 105BB-105BC 10D70-10D85 16EBB-16ED3""")
WITHOUT_LOWER_CASE = _in_order("""
    A7DD A7E2 AB6C-AB6D 1DF40 1DF48 1DF4A 1DF4D 1DF51 1DF68 1DF6A 1DF6C 1DF6E 1DF72 1DF74 1DF76
    1DF78 1DF7A 1DF7C 1DF7E""")
LOWER_LATER = dict(zip(CAPITALS + WITHOUT_LOWER_CASE, SMALL + WITHOUT_LOWER_CASE))

# Letters and numbers since Unicode 17, which a pattern leaves out of its \p{L} and \p{N}.
LETTERS_LATER = _in_brackets("""
    558 58B-58C 88F C5C CDC 208F 209D-209F A7CE-A7CF A7D2 A7D4 A7DD A7E2 A7F1 AB6C-AB6D
    107BB-107BF 10940-10959 10EC5-10EC7 10ED9-10EEE 11B0A 11DB0-11DDB 11DF1 16EA0-16EB8
    16EBB-16ED3 16FF2-16FF3 187F8-187FF 18CD6-18CDA 18D09-18D20 18D80-18DF2 18E00-19191
    191A0-191D2 1B123-1B128 1B168 1D6A6 1DF1F-1DF24 1DF2B-1DF81 1DF90-1DF96 1DFCD-1DFFF
    1E6C0-1E6DE 1E6E0-1E6E2 1E6E4-1E6E5 1E6E7-1E6ED 1E6F0-1E6F4 1E6FE-1E6FF 2B73A-2B73F 2B81E
    2CEA2-2CEAD 323B0-33479 3D000-3FC3F""")
NUMBERS_LATER = _in_brackets("11DE0-11DE9 1246F 12475-1247F 12550-12686 16FF4-16FF6")

# The Unicode property White_Space. (Python's str.isspace and its `re` with \s also count U+001C to
# U+001F.)
WHITE_SPACE = _characters("9-D 20 85 A0 1680 2000-200A 2028-2029 202F 205F 3000")

# What BERT treats as punctuation, for the [...] of a pattern of the ``regex`` package (flag V1).
# ASCII symbols such as $ + < ^ ` count too; € ° № × do not.
PUNCTUATION = rf"!-/:-@\[-`{{-~{PUNCTUATION_ONCE}[\p{{P}}--[{PUNCTUATION_LATER}]]"


@lru_cache(maxsize=1 << 16)
def is_mark(char):
    """Return whether a character is a nonspacing mark, such as an accent: U+0301 -> True"""
    if unicodedata.category(char) == "Mn":
        return char not in MARKS_LATER
    return char in MARKS_ONCE


@lru_cache(maxsize=1 << 16)
def is_control(char):
    """Return whether BERT removes a character: U+200B -> True; tab and line ends -> False"""
    if char in "\t\n\r" or char in CONTROLS_LATER:
        return False
    return unicodedata.category(char) in ("Cc", "Cf", "Co")  # control, format, private use


def decomposed(char):
    """Return the canonical decomposition of a character: 'é' -> 'e' + U+0301; 'e' -> 'e'"""
    return char if char in COMPOSED_LATER else unicodedata.normalize("NFD", char)


def combining_class(char):
    """Return the key that orders the marks on a letter: U+0301 -> 230; 0 for other characters."""
    return 0 if char in ORDERED_LATER else unicodedata.combining(char)


def lower(char):
    """Return the lower case of a character: 'É' -> 'é'; 'İ' -> 'i' + U+0307"""
    return LOWER_LATER.get(char) or char.lower()


def in_unicode_16(pattern):
    """Return a pattern for the ``regex`` package (flag V1) with Unicode 16's letters and numbers.

    ASCII comes first, so that most characters match without a search through the ranges.
    """
    pattern = pattern.replace(r"\p{L}", rf"[A-Za-z[\p{{L}}--[{LETTERS_LATER}]]]")
    return pattern.replace(r"\p{N}", rf"[0-9[\p{{N}}--[{NUMBERS_LATER}]]]")
