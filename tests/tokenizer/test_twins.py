"""The tokenizers, from text to ids, against the functions of ``reference.py``.

Small alphabets and few words make ties, runs of one letter and overlapping pairs common.
"""
import random
from collections import Counter

import pytest

from tokenizer import ByteLevelBPE, WordPiece, reference
from tokenizer.pretokenize import GPT2_PATTERN, byte_characters
from tokenizer.wordpiece import SPECIAL_TOKENS

POOLS = ["ab", "a ", "ab ", "abc  ", "aé 1", "a\n ", "it's "]


def random_texts(rng, pool):
    texts = ["".join(rng.choices(pool, k=rng.randint(0, 14))) for _ in range(rng.randint(1, 6))]
    return [*texts, pool]


def gpt2_symbols(texts):
    """Return the words of texts, in bytes."""
    words = (word for text in texts for word in GPT2_PATTERN.findall(text))
    return [reference.byte_symbols(word) for word in words]


# With 0, every word is encoded as if it were long.
@pytest.mark.parametrize("long_word, num_vocabularies", [(64, 100), (0, 40)])
def test_byte_level_bpe(monkeypatch, long_word, num_vocabularies):
    monkeypatch.setattr("tokenizer.bpe.LONG_WORD", long_word)
    rng = random.Random(long_word)
    for _ in range(num_vocabularies):
        pool = rng.choice(POOLS)
        texts = random_texts(rng, pool)
        size = 257 + rng.randint(0, 12)
        minimum = rng.choice([1, 2, 2, 3])
        tok = ByteLevelBPE.train_from_iterator(
            texts, size, minimum, ("<unk>",), workers=1, show_progress=False
        )
        alphabet = ["<unk>", *sorted(byte_characters())]
        words = Counter(gpt2_symbols(texts))
        tokens, merges = reference.train(words, alphabet, size, minimum)
        assert list(tok.get_vocab()) == tokens and tok.merges == merges
        for text in random_texts(rng, pool):
            slow = [reference.encode_word(word, merges) for word in gpt2_symbols([text])]
            assert [tok.id_to_token(i) for i in tok.encode_ids(text)] == sum(slow, [])


def test_wordpiece_training():
    rng = random.Random(1)
    for _ in range(200):
        texts = random_texts(rng, rng.choice(["ab ", "abc  ", "a b"]))
        words = Counter(reference.wordpiece_symbols(w) for text in texts for w in text.split())
        characters = {char for text in texts for char in text} - {" "}
        inside = {symbol for word in words for symbol in word[1:]}
        alphabet = [*SPECIAL_TOKENS, *sorted(characters), *sorted(inside)]
        minimum = rng.choice([1, 2, 3])
        size = len(alphabet) + rng.randint(0, 8)
        tok = WordPiece.train_from_iterator(texts, size, minimum, workers=1, show_progress=False)
        tokens, _ = reference.train(words, alphabet, size, minimum, reference.join_pieces)
        assert list(tok.get_vocab()) == tokens


def test_wordpiece_encoding():
    rng = random.Random(2)
    num_unknown = 0
    for _ in range(300):
        pieces = set()
        for _ in range(rng.randint(1, 20)):
            prefix = rng.choice(["", "##"])
            pieces.add(prefix + "".join(rng.choices("abc", k=rng.randint(1, 4))))
        tok = WordPiece([*SPECIAL_TOKENS, *sorted(pieces)])
        for text in random_texts(rng, "abc "):
            slow = sum([reference.spell_word(word, pieces) for word in text.split()], [])
            assert [tok.id_to_token(i) for i in tok.encode_ids(text)] == slow
            num_unknown += slow.count("[UNK]")
    assert num_unknown > 150
