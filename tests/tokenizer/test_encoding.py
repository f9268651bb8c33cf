"""Templates, truncation, padding, batches: what both tokenizers share."""
import pickle
import random

import pytest
from tokenizer_samples import STORY

from tokenizer import ByteLevelBPE, WordPiece
from tokenizer.encoding import longest_first, padded_length


@pytest.fixture(scope="module")
def bpe():
    return ByteLevelBPE.train_from_iterator([STORY], 300, show_progress=False)


@pytest.fixture(scope="module")
def wordpiece():
    return WordPiece.train_from_iterator([STORY], 300, show_progress=False)


def test_bert_template(wordpiece):
    encoding = wordpiece.encode("a", "i a")
    assert encoding.tokens == ["[CLS]", "a", "[SEP]", "i", "a", "[SEP]"]
    assert encoding.type_ids == [0, 0, 0, 1, 1, 1]
    assert encoding.offsets == [(0, 0), (0, 1), (0, 0), (0, 1), (2, 3), (0, 0)]
    assert encoding.special_tokens_mask == [1, 0, 1, 0, 0, 1]
    assert encoding.attention_mask == [1] * 6
    assert wordpiece.num_special_tokens_to_add() == 2
    assert wordpiece.num_special_tokens_to_add(pair=True) == 3


def test_roberta_template(bpe):
    encoding = bpe.encode("a", "b")
    assert encoding.tokens == ["<s>", "a", "</s>", "</s>", "b", "</s>"]
    assert encoding.ids == [0, bpe.token_to_id("a"), 2, 2, bpe.token_to_id("b"), 2]
    assert encoding.type_ids == [0] * 6
    assert bpe.num_special_tokens_to_add() == 2 and bpe.num_special_tokens_to_add(pair=True) == 4


def test_names_of_special_tokens(bpe, wordpiece):
    roles = ("cls", "pad", "sep", "unk", "mask")
    assert [getattr(bpe, f"{role}_token_id") for role in roles] == [0, 1, 2, 3, 4]
    assert tuple(getattr(bpe, f"{role}_token") for role in roles) == bpe.special_tokens
    assert bpe.special_tokens == ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    assert (wordpiece.cls_token, wordpiece.mask_token_id, wordpiece.pad_token_id) == ("[CLS]", 4, 0)
    assert bpe.token_to_id("nothing like it") is None
    assert bpe.id_to_token(10**6) is None and bpe.id_to_token(-1) is None
    assert repr(bpe).endswith(f"({bpe.vocab_size:,} tokens, 5 of them special)")


def test_longest_first_by_hand():
    assert longest_first(10, 3, 8) == (5, 3)  # the short one stays whole
    assert longest_first(3, 10, 8) == (3, 5)
    assert longest_first(10, 9, 9) == (5, 4)  # both give; the odd one goes to the longer
    assert longest_first(9, 9, 9) == (4, 5)
    assert longest_first(2, 2, 0) == (0, 0)


def test_longest_first_fills_the_room_and_evens_the_lengths():
    rng = random.Random(0)
    for _ in range(2000):
        first, second, room = (rng.randint(0, 20) for _ in range(3))
        a, b = longest_first(first, second, room)
        assert a + b == min(first + second, room) and a <= first and b <= second
        is_even = abs(a - b) <= 1
        shorter_is_complete = (a == first and a < b) or (b == second and b < a)
        assert is_even or shorter_is_complete or a + b == first + second


def test_truncation_counts_special_tokens(bpe):
    first_two = bpe.encode_ids("a b c d")[:2]
    assert bpe.encode("a b c d", max_length=4).ids == [0, *first_two, 2]
    assert bpe.encode("a b c d", max_length=2, add_special_tokens=False).ids == first_two
    assert len(bpe.encode("a b c d e f", "g h i", max_length=9)) == 9
    assert bpe.encode("a", max_length=2).ids == [0, 2]
    with pytest.raises(ValueError, match="max_length=3 has no room for the 4 special tokens"):
        bpe.encode("a", "b", max_length=3)


def test_padding(bpe):
    encoding = bpe.encode("a", pad_to_multiple_of=8)
    assert encoding.ids == [0, bpe.token_to_id("a"), 2, 1, 1, 1, 1, 1]
    assert encoding.attention_mask == [1, 1, 1, 0, 0, 0, 0, 0]
    assert encoding.special_tokens_mask == [1, 0, 1, 1, 1, 1, 1, 1]
    assert len(bpe.encode("a", pad_to_length=5)) == 5
    assert len(bpe.encode("a", pad_to_length=2)) == 3  # padding never cuts
    assert padded_length(13, 20, 8) == 24 and padded_length(16, None, 8) == 16


def test_batches(bpe):
    texts = ["a", "a b c", ("a", "b")]
    plain = bpe.encode_batch(texts)
    assert plain == [bpe.encode("a"), bpe.encode("a b c"), bpe.encode("a", "b")]
    padded = bpe.encode_batch(texts, padding=True)
    assert {len(e) for e in padded} == {max(map(len, plain))}
    assert {len(e) for e in bpe.encode_batch(texts, padding=True, pad_to_multiple_of=8)} == {8}
    assert {len(e) for e in bpe.encode_batch(texts, max_length=4, pad_to_length=4)} == {4}
    assert bpe.encode_batch([]) == []
    with pytest.raises(TypeError, match="pass \\[text\\]"):
        bpe.encode_batch("text")
    with pytest.raises(TypeError, match="pass \\[text\\]"):
        bpe.encode_texts("text")


def test_a_vocabulary_without_the_tokens_of_the_template():
    tok = ByteLevelBPE.train_from_iterator(["a"], 300, 1, special_tokens=(), show_progress=False)
    assert tok.cls_token is tok.mask_token_id is None
    assert tok.encode("a", add_special_tokens=False).tokens == ["a"]
    with pytest.raises(ValueError, match="has no cls token"):
        tok.encode("a")
    with pytest.raises(ValueError, match="has no pad token"):
        tok.encode("a", add_special_tokens=False, pad_to_length=3)


def test_a_pickled_tokenizer_has_empty_caches(bpe, wordpiece):
    for tok in (bpe, wordpiece):
        tok.encode_ids(STORY)
        copy = pickle.loads(pickle.dumps(tok))
        assert not {"_word_ids", "_corpus"} & set(tok.__getstate__())
        assert len(tok._word_ids) > 0 and len(tok._corpus.units) > 0
        assert len(copy._word_ids) == len(copy._corpus.units) == 0
        assert copy.encode_ids(STORY) == tok.encode_ids(STORY)
        assert copy.fingerprint == tok.fingerprint
