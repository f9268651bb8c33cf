"""Shared by the tokenizer's tests: a text written for them, and difficult random strings."""
import os
import random
import unicodedata
from pathlib import Path

import pytest

STORY = """The miller had three sons, a mill, a donkey and a cat. The sons had to grind, the donkey had to carry the flour.
When the miller died, the three sons shared what he had left: the eldest took the mill, the second the donkey, the
third the cat; there was nothing else for him. He was sad, and said to himself: "The worst has come to me after all!"

"My brother can grind, my other brother can ride his donkey. What can I do with a cat? I'll have a pair of gloves made
of its fur, and then that's that." The cat had understood it all, and began: "You needn't kill me for a pair of
bad gloves. Only have boots made for me, so that I can go out and be seen among people, and you'll soon be helped."

In 1,001 nights and 3 days the café served crème brûlée at 5.50 € to the naïve Señor Müller; 日本語 and 中文 too.
"""  # noqa: E501 (the golden files depend on these line ends)

POOLS = [
    "abcdefgh ",
    " 'sdtmrevll",
    " \t\n\r\u2028\x0b\x0c\x1c\x1f\x85\xa0\u3000\u200b",
    "éüñÉß\u0301\u0323İΣσςǅﬁ",
    "日本語中文한국어カナ",
    "0123456789.,!?-€°×№$+<>",
    "😀👨\u200d👩\u200d👧🏽🇩🇪",
    "\x00\ufffd\u0890\U000e0001\ue000",
    "".join(map(chr, range(0x300, 0x370))),
    "<s></s><mask>[MASK][CLS]##",
]


EMOJI = "😀😍👋👍🏳👨👩👧👦💻🚀❤☺1#*"
SPECIALS = "<s> </s> <pad> <unk> <mask> [CLS] [SEP] [PAD] [UNK] [MASK] <mas [MASK [mask]".split()
SPACES = (
    " \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2009\u200a\u200b\u2028\u2029"
    "\u202f\u205f\u2060\u3000\ufeff"
)
ALL_CHARACTERS = list(map(chr, range(0x110000)))
MARKS = [char for char in ALL_CHARACTERS if unicodedata.category(char).startswith("M")]
CONTROLS = [char for char in ALL_CHARACTERS if unicodedata.category(char) in ("Cc", "Cf")]
CJK_STARTS = (0x3040, 0x3400, 0x4E00, 0xAC00, 0xF900, 0x20000, 0x2B800)


def repeated(rng, make, most):
    """Join up to ``most`` results of ``make()``."""
    return "".join(make() for _ in range(rng.randint(1, most)))


def any_characters(rng):
    """Return any code points of all seventeen planes, assigned or not."""
    codes = []
    for _ in range(rng.randint(1, 12)):
        codes.append(rng.randrange(17) * 0x10000 + rng.randrange(0x10000))
    return "".join(chr(code) for code in codes if not 0xD800 <= code < 0xE000)


def mixed_pools(rng):
    pools = rng.sample(POOLS, rng.randint(1, 4))
    return repeated(rng, lambda: rng.choice(rng.choice(pools)), 40)


def one_block(rng):
    """Return neighbors: 128 code points are usually one script."""
    first, end = (0, 0x3400) if rng.random() < 0.6 else (0xA000, 0x20000)
    start = rng.randrange(first, end, 128)
    codes = [start + rng.randrange(128) for _ in range(rng.randint(1, 15))]
    return "".join(chr(code) for code in codes if not 0xD800 <= code < 0xE000)


def emoji(rng):
    """Return families, flags, skin tones, keycaps: sequences with joiners and modifiers."""
    glue = ["\u200d", "\ufe0f", "\ufe0e", "\u20e3", "🏽", "🏿", "🇩", "🇪", "", ""]
    return repeated(rng, lambda: rng.choice(EMOJI) + rng.choice(glue), 8)


def accents(rng):
    def letter():
        return rng.choice("aeéoñ가") + "".join(rng.choices(MARKS, k=rng.randint(0, 4)))
    return repeated(rng, letter, 5)


def long_word(rng):
    unit = rng.choice(["a", "é", "the", "日", "aé", "e\u0301", "1", "-", "😀"])
    return (unit * 110)[: rng.choice((49, 50, 99, 100, 101, 102, 110))]


FRAGMENTS = [
    any_characters,
    mixed_pools,
    one_block,
    emoji,
    accents,
    long_word,
    lambda rng: repeated(rng, lambda: rng.choice(CONTROLS) + rng.choice("ab ."), 5),
    lambda rng: repeated(rng, lambda: chr(rng.choice(CJK_STARTS) + rng.randrange(0x300)), 8),
    lambda rng: "".join(rng.choices(SPACES + " " * 20, k=rng.randint(1, 6))),
    lambda rng: rng.choice(["\r\n", "\n\r", "\n\n", "\r"]).join(
        rng.choices(["a", "the end.", "", " ", "É"], k=rng.randint(2, 5))),
    lambda rng: rng.choice(["", " ", "\n "]).join(rng.choices(SPECIALS, k=rng.randint(1, 3))),
    lambda rng: " ".join(rng.choices(STORY.split(), k=rng.randint(1, 6))),
    lambda rng: "".join(rng.choices("it'sdtrevlmIT S3,.…—’", k=rng.randint(1, 12))),
]


def random_text(rng):
    """Return one to four fragments of any kind, joined or separated by spaces."""
    fragments = [rng.choice(FRAGMENTS)(rng) for _ in range(rng.randint(1, 4))]
    return rng.choice(["", " ", "  "]).join(fragments)


def random_texts(count, seed=0):
    rng = random.Random(seed)
    return [random_text(rng) for _ in range(count)]


def train_on_words(learn, words, alphabet, vocab_size, min_frequency, join=str.__add__):
    """Train on {tuple of tokens: count}, as ``reference.train`` does. -> (tokens, merges)"""
    ids = {token: i for i, token in enumerate(alphabet)}
    words_in_ids = [([ids[token] for token in word], count) for word, count in words.items()]
    learned = learn(words_in_ids, alphabet, vocab_size, min_frequency, join)
    tokens = learned.tokens
    return tokens, [(tokens[left], tokens[right]) for left, right in learned.merges]


def corpus_files(name):
    """Return the files of a corpus under MINIBERT_CORPORA; skip the test if there is none."""
    folder = Path(os.environ.get("MINIBERT_CORPORA", "")) / name
    files = sorted(folder.glob("*.txt")) if os.environ.get("MINIBERT_CORPORA") else []
    if not files:
        pytest.skip(f"no corpus {name!r}: MINIBERT_CORPORA names no folder that contains it")
    return files


def corpus_text(name):
    """Return the text of a corpus under MINIBERT_CORPORA; the files of news are in Latin-1."""
    encoding = "latin-1" if name == "news" else "utf-8"
    return "".join(file.read_text(encoding=encoding) for file in corpus_files(name))
