"""The tokenizers as a user calls them, from text to ids, against the slow twins that a lecture would show.

Small alphabets and few words: ties, runs of one letter and overlapping pairs are common there, and rare in real text.
"""
import random
from collections import Counter

import pytest

from tokenizer import ByteLevelBPE, WordPiece, reference
from tokenizer.pretokenize import GPT2_PATTERN, byte_characters
from tokenizer.wordpiece import SPECIAL_TOKENS

POOLS = ["ab", "a ", "ab ", "abc  ", "aé 1", "a\n ", "it's "]


def random_texts(rng, pool):
    return ["".join(rng.choices(pool, k=rng.randint(0, 14))) for _ in range(rng.randint(1, 6))] + [pool]


@pytest.mark.parametrize("long_word", [64, 0])
def test_byte_level_bpe_from_text_to_ids(monkeypatch, long_word):
    monkeypatch.setattr("tokenizer.bpe.LONG_WORD", long_word)  # 0: every word is encoded as if it were a long one
    rng = random.Random(long_word)
    for _ in range(500):
        pool = rng.choice(POOLS)
        texts, size, min_frequency = random_texts(rng, pool), 257 + rng.randint(0, 12), rng.choice([1, 2, 2, 3])
        tok = ByteLevelBPE.train_from_iterator(texts, size, min_frequency, ("<unk>",), workers=1, show_progress=False)
        words = Counter(reference.byte_symbols(word) for text in texts for word in GPT2_PATTERN.findall(text))
        alphabet = ["<unk>", *sorted(byte_characters())]
        tokens, merges = reference.train(words, alphabet, size, min_frequency)
        assert [tok.id_to_token(i) for i in range(tok.vocab_size)] == tokens and tok.merges == merges
        for text in random_texts(rng, pool):
            assert [tok.id_to_token(i) for i in tok.encode_ids(text)] == [
                token for word in GPT2_PATTERN.findall(text) for token in reference.encode_word(reference.byte_symbols(word), merges)]


@pytest.mark.parametrize("criterion, train", [("frequency", reference.train), ("likelihood", reference.train_by_likelihood)])
def test_wordpiece_from_text_to_vocabulary(criterion, train):
    rng = random.Random(1)
    for _ in range(1000):
        texts = random_texts(rng, rng.choice(["ab ", "abc  ", "a b"]))
        words = Counter(reference.wordpiece_symbols(word) for text in texts for word in text.split())
        first = {letter for text in texts for letter in text} - {" "}
        inside = {letter for word in words for letter in word[1:]}
        alphabet, min_frequency = [*SPECIAL_TOKENS, *sorted(first), *sorted(inside)], rng.choice([1, 2, 3])
        size = len(alphabet) + rng.randint(0, 8)
        tok = WordPiece.train_from_iterator(texts, size, min_frequency, criterion=criterion, workers=1, show_progress=False)
        tokens, _ = train(words, alphabet, size, min_frequency, reference.join_pieces)
        assert [tok.id_to_token(i) for i in range(tok.vocab_size)] == tokens


def test_wordpiece_from_text_to_ids():
    rng = random.Random(2)
    unknown = 0
    for _ in range(1000):
        pieces = {"##" * rng.randint(0, 1) + "".join(rng.choices("abc", k=rng.randint(1, 4))) for _ in range(rng.randint(1, 20))}
        tok = WordPiece([*SPECIAL_TOKENS, *sorted(pieces)])
        for text in random_texts(rng, "abc "):
            slow = [piece for word in text.split() for piece in reference.spell_word(word, pieces)]
            assert [tok.id_to_token(i) for i in tok.encode_ids(text)] == slow
            unknown += slow.count("[UNK]")
    assert unknown > 500
