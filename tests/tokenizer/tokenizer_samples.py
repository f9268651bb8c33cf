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


def random_text(rng):
    """Return mixed scripts, controls, marks, emoji; sometimes any code points, or a long word."""
    kind = rng.random()
    if kind < 0.15:
        codes = [rng.randrange(0x110000) for _ in range(rng.randint(1, 30))]
        return "".join(
            char for char in map(chr, codes) if unicodedata.category(char) not in ("Cs", "Cn")
        )
    if kind < 0.2:
        return rng.choice(["a", "é", "word", "日", "aé"]) * rng.choice(
            [49, 50, 51, 99, 100, 101, 102, 300]
        )
    pools = rng.sample(POOLS, rng.randint(1, 4))
    extra = ["<mask>", "<s>", "[MASK]", "donkey", "The"]
    return "".join(
        rng.choice(rng.choice(pools)) if rng.random() < 0.95 else rng.choice(extra)
        for _ in range(rng.randint(0, 40))
    )


def random_texts(number, seed=0):
    rng = random.Random(seed)
    return [random_text(rng) for _ in range(number)]


EMOJI = "😀😍👋👍🏳👨👩👧👦💻🚀❤☺1#*"
SPECIALS = "<s> </s> <pad> <unk> <mask> [CLS] [SEP] [PAD] [UNK] [MASK] <mas [MASK [mask]".split()
SPACES = (
    " \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2009\u200a\u200b\u2028\u2029"
    "\u202f\u205f\u2060\u3000\ufeff"
)
MARKS = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)).startswith("M")]
CONTROLS = [
    chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) in ("Cc", "Cf")
]


def any_characters(rng):
    """Return any code points of all seventeen planes, assigned or not."""
    codes = [
        rng.randrange(17) * 0x10000 + rng.randrange(0x10000) for _ in range(rng.randint(1, 12))
    ]
    return "".join(chr(code) for code in codes if not 0xD800 <= code < 0xE000)


def one_block(rng):
    """Return neighbors: 128 code points are usually one script."""
    start = (
        rng.randrange(0, 0x3400, 128) if rng.random() < 0.6 else rng.randrange(0xA000, 0x20000, 128)
    )
    codes = [start + rng.randrange(128) for _ in range(rng.randint(1, 15))]
    return "".join(chr(code) for code in codes if not 0xD800 <= code < 0xE000)


def emoji(rng):
    """Return families, flags, skin tones, keycaps: sequences with joiners and modifiers."""
    glue = ["\u200d", "\ufe0f", "\ufe0e", "\u20e3", "🏽", "🏿", "🇩", "🇪", "", ""]
    return "".join(rng.choice(EMOJI) + rng.choice(glue) for _ in range(rng.randint(1, 8)))


FRAGMENTS = [
    any_characters,
    one_block,
    emoji,
    lambda rng: "".join(
        rng.choice("aeéoñ가") + "".join(rng.choices(MARKS, k=rng.randint(0, 4)))
        for _ in range(rng.randint(1, 5))
    ),
    lambda rng: "".join(
        rng.choice(CONTROLS) + rng.choice("ab .") for _ in range(rng.randint(1, 5))
    ),
    lambda rng: "".join(
        chr(
            rng.choice((0x3040, 0x3400, 0x4E00, 0xAC00, 0xF900, 0x20000, 0x2B800))
            + rng.randrange(0x300)
        )
        for _ in range(rng.randint(1, 8))
    ),
    lambda rng: (rng.choice(["a", "é", "the", "日", "aé", "e\u0301", "1", "-", "😀"]) * 110)[
        : rng.choice((49, 50, 99, 100, 101, 102, 110))
    ],
    lambda rng: "".join(rng.choices(SPACES + " " * 20, k=rng.randint(1, 6))),
    lambda rng: rng.choice(["\r\n", "\n\r", "\n\n", "\r"]).join(
        rng.choices(["a", "the end.", "", " ", "É"], k=rng.randint(2, 5))
    ),
    lambda rng: rng.choice(["", " ", "\n "]).join(rng.choices(SPECIALS, k=rng.randint(1, 3))),
    lambda rng: " ".join(rng.choices(STORY.split(), k=rng.randint(1, 6))),
    lambda rng: "".join(rng.choices("it'sdtrevlmIT S3,.…—’", k=rng.randint(1, 12))),
]


def wild_text(rng):
    """Return one to four fragments of any kind, joined or separated by spaces."""
    return rng.choice(["", " ", "  "]).join(
        rng.choice(FRAGMENTS)(rng) for _ in range(rng.randint(1, 4))
    )


def wild_texts(number, seed=0):
    rng = random.Random(seed)
    return [wild_text(rng) for _ in range(number)]


def corpus_files(name):
    """The files of a corpus under MINIBERT_CORPORA; the test is skipped where there is none."""
    folder = Path(os.environ.get("MINIBERT_CORPORA", "")) / name
    files = sorted(folder.glob("*.txt")) if os.environ.get("MINIBERT_CORPORA") else []
    if not files:
        pytest.skip(f"no corpus {name!r}: MINIBERT_CORPORA names no folder that holds it")
    return files
