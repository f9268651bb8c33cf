"""Words that are encoded in a batch have the ids of ``reference.encode_word``."""
import random

import numpy as np
import pytest

from tokenizer import ByteLevelBPE, reference
from tokenizer.fast.token_boundaries import TokenBoundaries
from tokenizer.pretokenize import byte_characters

ALPHABETS = ["abc", "ab", "a", "的一是", "中é😀a", "👩\u200d🚀é"]


def random_bpe(rng, alphabet, in_order):
    """Return a BPE with random merges of bytes. in_order: as training gives them."""
    usable = sorted({symbol for char in alphabet for symbol in reference.byte_symbols(char)})
    tokens = dict.fromkeys(byte_characters())
    merges = {}
    for _ in range(rng.randint(0, 40)):
        pair = (rng.choice(usable), rng.choice(usable))
        merged = "".join(pair)
        # Training makes each token once. Published files may make one from several pairs.
        if len(merged) <= 24 and not (in_order and merged in tokens):
            merges[pair] = None
            tokens[merged] = None
            usable.append(merged)
    merges = list(merges)
    if not in_order:
        rng.shuffle(merges)
    return ByteLevelBPE(tokens, merges, special_tokens=())


def random_word(rng, alphabet):
    word = "".join(rng.choices(alphabet, k=rng.randint(1, 40)))
    return word * rng.choice([1, 1, 1, 5])  # sometimes periodic


def batch_encode(tok, words):
    ids, lengths = tok._batch_encoder.encode([word.encode() for word in words])
    return [part.tolist() for part in np.split(ids, lengths.cumsum()[:-1])]


def reference_ids(tok, word):
    tokens = reference.encode_word(reference.byte_symbols(word), tok.merges)
    return [tok.token_to_id(token) for token in tokens]


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("setting", [
    None,
    ("token_boundaries.HASH_BITS", 3),  # nearly all texts share a hash with a token
    ("token_boundaries.MAX_PREFIX", 2),  # most tokens are not read to their end
    ("batch_merges.HASH_BITS", 3),  # nearly all pairs share a hash with another
    ("batch_encoder.LONG_FRAGMENT", 6),  # most fragments are too long for a batch
])
def test_random_vocabularies_and_words(monkeypatch, setting, in_order):
    if setting:
        name, value = setting
        monkeypatch.setattr(f"tokenizer.fast.{name}", value)
    rng = random.Random(1)
    for _ in range(20):
        alphabet = rng.choice(ALPHABETS)
        tok = random_bpe(rng, alphabet, in_order)
        words = [random_word(rng, alphabet) for _ in range(rng.randint(1, 12))]
        expected = [reference_ids(tok, word) for word in words]
        assert batch_encode(tok, words) == expected
        assert batch_encode(tok, words[::-1]) == expected[::-1]  # all fragments are cached


def test_a_trained_vocabulary_and_texts_without_spaces(monkeypatch):
    monkeypatch.setattr("tokenizer.bpe.MANY_BYTES", 0)
    rng = random.Random(2)
    lexicon = ["".join(rng.choices("天地玄黄宇宙洪荒日月", k=rng.randint(1, 4))) for _ in range(30)]
    clauses = ["".join(rng.choices(lexicon, k=rng.randint(1, 9))) for _ in range(80)]
    tok = ByteLevelBPE.train_from_iterator([*clauses, "thequickbrownfox"], 400, workers=1,
                                           show_progress=False)
    hostile = ["=" * 600, "ab" * 200, "😀" * 50, "\u3000天\u3000 地", "é\u3000 ", "\0\0", " " * 99]
    text = "，".join(clauses + hostile)
    ids, lengths = tok.encode_texts([text, *hostile])
    texts = np.split(ids, lengths.cumsum()[:-1])
    for part, expected in zip(texts, [text, *hostile]):
        slow = [i for word in tok._words(expected) for i in reference_ids(tok, word)]
        assert part.tolist() == slow


def test_no_merge_crosses_the_words_of_a_unit(monkeypatch):
    monkeypatch.setattr("tokenizer.bpe.MANY_BYTES", 0)
    *_, last = reference.byte_symbols("\u3000")  # a wide space: one unit, but not one word
    first, *_ = reference.byte_symbols("天")
    tok = ByteLevelBPE([*byte_characters(), last + first], [(last, first)], special_tokens=())
    expected = [i for word in "天\u3000天" for i in reference_ids(tok, word)]
    assert tok.encode_texts(["天\u3000天"])[0].tolist() == expected


def test_fragments_begin_where_no_token_lies_across():
    rng = random.Random(3)
    for _ in range(200):
        tokens = {b"a", b"b", b"c"}
        for _ in range(rng.randint(0, 8)):
            tokens.add(bytes(rng.choices(b"abc", k=rng.randint(2, 5))))
        words = [bytes(rng.choices(b"abc", k=rng.randint(1, 12))) for _ in range(3)]
        data = np.frombuffer(b"".join(words), np.uint8)
        word_starts = np.zeros(len(data), bool)
        word_starts[np.cumsum([0, *map(len, words)])[:-1]] = True
        expected = []
        for word in words:
            for cut in range(len(word)):
                across = [word[start:end] in tokens for start in range(cut)
                          for end in range(cut + 1, len(word) + 1)]
                expected.append(not any(across))
        assert TokenBoundaries(sorted(tokens))(data, word_starts).tolist() == expected


def test_half_a_character_is_refused(monkeypatch):
    monkeypatch.setattr("tokenizer.bpe.MANY_BYTES", 0)
    tok = ByteLevelBPE.train_from_iterator(["中文中文"], 270, workers=1, show_progress=False)
    with pytest.raises(ValueError, match="lone surrogate"):
        tok.encode_texts(["中文", "中\udc80文"])
    assert tok.encode_texts(["中文"])[0].tolist() == tok.encode_ids("中文")
