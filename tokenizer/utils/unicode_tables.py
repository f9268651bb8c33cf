"""Where Unicode tables of different years disagree: the one place for it.

BERT sorts characters into punctuation, marks (accents) and control characters, and takes composed characters apart;
GPT-2's pattern asks whether a character is a letter or a number. Unicode adds characters every year, so every Python
would cut some rare texts differently. The reference (Hugging Face's tokenizers 0.23) has tables of Unicode 8 for
punctuation, marks and control characters, of 9 for taking apart, of 16 for letters and numbers, of 17 for lower case.
The ranges below are all characters, up to Unicode 18, on which those and other versions disagree. With them the
answers are the reference's, and the same under every version of Python and of the ``regex`` package.

So the list of code points that are treated otherwise than by the reference is empty: of the 1,112,064 that there are,
none. ``make parity`` asks them all, in several contexts, with the tables of the Python and the ``regex`` that are
installed. Should a later Unicode add characters, that test names them, and they belong here.
"""
import unicodedata
from functools import lru_cache


def _in_order(ranges):
    """'41-43 7A' -> ['A', 'B', 'C', 'z'] (hexadecimal code points, ends included)"""
    ends = [[int(end, 16) for end in part.split("-")] for part in ranges.split()]
    return [chr(code) for end in ends for code in range(end[0], end[-1] + 1)]


def _characters(ranges):
    return set(_in_order(ranges))


def _in_brackets(ranges):
    """'41-43 7A' -> 'A-Cz', for a regular expression's [...]"""
    return "".join("-".join(chr(int(end, 16)) for end in part.split("-")) for part in ranges.split())


# Punctuation since Unicode 9, 143 of them; and two that were punctuation once.
PUNCTUATION_LATER = _characters("""
    61D 9FD A76 C77 C84 1B4E-1B4F 1B7D-1B7F 2E43-2E4F 2E52-2E5D 2E60-2E63 10D6E 10EAD 10ED0 10F55-10F59
    10F86-10F89 113D4-113D5 113D7-113D8 1144B-1144F 1145A-1145B 1145D 11660-1166C 116B9 1183B 11944-11946 119E2
    11A3F-11A46 11A9A-11A9C 11A9E-11AA2 11B00-11B09 11BE1 11C41-11C45 11C70-11C71 11EF7-11EF8 11F43-11F4F 11FFF
    12FF1-12FF2 16D6D-16D6F 16E97-16E9A 16FE2 1E5FF 1E95E-1E95F""")
PUNCTUATION_ONCE = _characters("166D 111C9")

# Nonspacing marks since Unicode 9, and two that were marks once.
MARKS_LATER = _characters("""
    5C8-5C9 7FD 897-89F 8CA-8E1 9FE AFA-AFF B53-B55 C04 C3C D00 D3B-D3C D81 EBA ECE 180F 1885-1886 1ABF-1AF0
    1DF6-1DFB A82C A8C5 A8FF A9BD 10D24-10D27 10D69-10D6D 10EAB-10EAC 10ECB-10ECF 10EF0-10EFF 10F46-10F50
    10F82-10F85 11070 11073-11074 110C2 111C9 111CF 1123E 11241 1133B 113BB-113C0 113CE 113D0 113D2 113E1-113E2
    11438-1143F 11442-11444 11446 1145E 1182F-11837 11839-1183A 1193B-1193C 1193E 11943 119D4-119D7 119DA-119DB
    119E0 11A01-11A0A 11A33-11A38 11A3B-11A3E 11A47 11A51-11A56 11A59-11A5B 11A8A-11A96 11A98-11A99 11B60
    11B62-11B64 11B66 11C30-11C36 11C38-11C3D 11C3F 11C92-11CA7 11CAA-11CB0 11CB2-11CB3 11CB5-11CB6 11D31-11D36
    11D3A 11D3C-11D3D 11D3F-11D45 11D47 11D90-11D91 11D95 11D97 11DF0 11EF3-11EF4 11F00-11F01 11F36-11F3A 11F40
    11F42 11F5A 13440 13447-13455 1611E-16129 1612D-1612F 16F4F 16FE4 1CF00-1CF2D 1CF30-1CF46 1D127-1D128
    1D25B-1D25C 1E000-1E006 1E008-1E018 1E01B-1E021 1E023-1E024 1E026-1E02A 1E08F 1E130-1E136 1E2AE 1E2EC-1E2EF
    1E4EC-1E4EF 1E5EE-1E5EF 1E6E3 1E6E6 1E6EE-1E6EF 1E6F5 1E944-1E94A""")
MARKS_ONCE = _characters("1734 1171E")

# Format characters since Unicode 9.
CONTROLS_LATER = _characters("890-891 8E2 110CD 13430-1343F")

# Characters that can be decomposed since Unicode 13 and 16; and those that take part in the order of marks since
# Unicode 10.
COMPOSED_LATER = _characters("""
    11938 105C9 105E4 11383 11385 1138E 11391 113C5 113C7-113C8 16121-16128 16D68-16D6A""")
ORDERED_LATER = _characters("""
    5C8-5C9 7FD 897-89F 8CA-8D3 9FE C3C D3B-D3C EBA 1715 1ABF-1AF0 1DF6-1DFA A82C 10D24-10D27 10D69-10D6D
    10EAB-10EAC 10ECB-10ECF 10EF0-10EFB 10EFD-10EFF 10F46-10F50 10F82-10F85 11070 1133B 113CE-113D0 1145E
    11839-1183A 1193D-1193E 11943 119E0 11A34 11A47 11A99 11D42 11D44-11D45 11D97 11F41-11F42 1612F
    16FF0-16FF1 1D127-1D128 1D250-1D252 1D25B-1D25C 1D25F 1D280-1D281 1E08F 1E130-1E136 1E2AE 1E2EC-1E2EF
    1E4EC-1E4EF 1E5EE-1E5EF 1E6E3 1E6E6 1E6EE-1E6EF 1E6F5""")

# Capital letters since Unicode 14 to 17, with their small ones; and those since 18, which stay as they are.
LOWER_LATER = dict(zip(
    _in_order("1C89 2C2F A7C0 A7CB A7CC A7CE A7D0 A7D2 A7D4 A7D6 A7D8 A7DA A7DC 10570-1057A 1057C-1058A 1058C-10592 "
              "10594-10595 10D50-10D65 16EA0-16EB8"),
    _in_order("1C8A 2C5F A7C1 264  A7CD A7CF A7D1 A7D3 A7D5 A7D7 A7D9 A7DB 19B  10597-105A1 105A3-105B1 105B3-105B9 "
              "105BB-105BC 10D70-10D85 16EBB-16ED3")))
LOWER_LATER.update({char: char for char in _in_order(
    "A7DD A7E2 AB6C-AB6D 1DF40 1DF48 1DF4A 1DF4D 1DF51 1DF68 1DF6A 1DF6C 1DF6E 1DF72 1DF74 1DF76 1DF78 1DF7A 1DF7C 1DF7E")})

# Letters and numbers since Unicode 17, which a pattern leaves out of its \p{L} and \p{N}.
LETTERS_LATER = _in_brackets("""
    558 58B-58C 88F C5C CDC 208F 209D-209F A7CE-A7CF A7D2 A7D4 A7DD A7E2 A7F1 AB6C-AB6D 107BB-107BF 10940-10959
    10EC5-10EC7 10ED9-10EEE 11B0A 11DB0-11DDB 11DF1 16EA0-16EB8 16EBB-16ED3 16FF2-16FF3 187F8-187FF 18CD6-18CDA
    18D09-18D20 18D80-18DF2 18E00-19191 191A0-191D2 1B123-1B128 1B168 1D6A6 1DF1F-1DF24 1DF2B-1DF81 1DF90-1DF96
    1DFCD-1DFFF 1E6C0-1E6DE 1E6E0-1E6E2 1E6E4-1E6E5 1E6E7-1E6ED 1E6F0-1E6F4 1E6FE-1E6FF 2B73A-2B73F 2B81E
    2CEA2-2CEAD 323B0-33479 3D000-3FC3F""")
NUMBERS_LATER = _in_brackets("11DE0-11DE9 1246F 12475-1247F 12550-12686 16FF4-16FF6")

# White space of the Unicode property White_Space. Python's str.isspace also counts U+001C to U+001F, and so does
# its `re` with \s: this set does not.
WHITE_SPACE = _characters("9-D 20 85 A0 1680 2000-200A 2028-2029 202F 205F 3000")


@lru_cache(maxsize=1 << 16)
def is_punctuation(char):
    """ASCII symbols such as $ + < ^ ` count too, as BERT has it; € ° № × do not. ',' -> True; '€' -> False"""
    if char.isascii():
        return "!" <= char <= "/" or ":" <= char <= "@" or "[" <= char <= "`" or "{" <= char <= "~"
    if unicodedata.category(char).startswith("P"):
        return char not in PUNCTUATION_LATER
    return char in PUNCTUATION_ONCE


@lru_cache(maxsize=1 << 16)
def is_mark(char):
    """Nonspacing marks (category Mn), such as the accents that a decomposition sets free: 'U+0301' -> True"""
    if unicodedata.category(char) == "Mn":
        return char not in MARKS_LATER
    return char in MARKS_ONCE


@lru_cache(maxsize=1 << 16)
def is_control(char):
    """Control, format and private-use characters, except tab and line ends: 'U+200B' -> True; 'tab' -> False"""
    return (char not in "\t\n\r" and unicodedata.category(char) in ("Cc", "Cf", "Co")
            and char not in CONTROLS_LATER)


def decomposed(char):
    """The canonical decomposition of one character: 'é' -> 'e' + U+0301; 'e' -> 'e'"""
    return char if char in COMPOSED_LATER else unicodedata.normalize("NFD", char)


def combining_class(char):
    """By which marks on one letter are put in order; 0 for letters and all that stays in place: U+0301 -> 230"""
    return 0 if char in ORDERED_LATER else unicodedata.combining(char)


def lower(char):
    """Lower case of one character: 'É' -> 'é'; 'İ' -> 'i' + U+0307"""
    return LOWER_LATER.get(char) or char.lower()


def in_unicode_16(pattern):
    """A pattern for the ``regex`` package (flag V1, which has sets of sets) -> the same with Unicode 16's letters and numbers.

    ASCII stands before the rest so that most characters are found without a walk through the list.
    """
    return (pattern.replace(r"\p{L}", rf"[A-Za-z[\p{{L}}--[{LETTERS_LATER}]]]")
            .replace(r"\p{N}", rf"[0-9[\p{{N}}--[{NUMBERS_LATER}]]]"))
