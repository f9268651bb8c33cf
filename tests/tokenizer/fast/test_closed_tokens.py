"""Tokens that their own text is encoded as: found all at once, and found one by one, by encoding each."""
import random

from tokenizer_samples import STORY

from tokenizer import ByteLevelBPE
from tokenizer.fast.closed_tokens import tokens_that_encode_to_themselves
from tokenizer.pretokenize import byte_characters
from tokenizer.reference import encode_word

BYTES = sorted(byte_characters())


def encoded_as_itself(tok):
    """By the slow twin, each token anew."""
    return {i for i, token in enumerate(tok.get_vocab()) if set(token) <= set(BYTES) and encode_word(token, tok.merges) == [token]}


def test_by_hand():
    # a 0, b 1, c 2
    assert tokens_that_encode_to_themselves([0, 1, 2], [(0, 1, 3), (3, 2, 4)], 5) == {0, 1, 2, 3, 4}          # a b, ab c: abc is made so
    assert tokens_that_encode_to_themselves([0, 1, 2], [(1, 2, 3), (0, 1, 4), (4, 2, 5)], 6) == {0, 1, 2, 3, 4}  # b c first: a bc, never abc
    assert tokens_that_encode_to_themselves([0], [(0, 0, 1), (1, 1, 2), (0, 1, 3)], 4) == {0, 1, 2}            # aaa is aa a, never a aa
    assert tokens_that_encode_to_themselves([0], [(0, 0, 1), (1, 0, 2), (2, 0, 3)], 4) == {0, 1, 2}            # aaaa is aa aa, never aaa a
    assert tokens_that_encode_to_themselves([0, 1], [], 4) == {0, 1}


def test_all_that_training_made_is_whole():
    tok = ByteLevelBPE.train_from_iterator([STORY, "aaaaaaa aaaa ababababab"], 700, show_progress=False)
    assert tok._closed_tokens == encoded_as_itself(tok) == set(range(len(tok.special_tokens), tok.vocab_size))


def test_of_merges_in_any_order_those_are_whole_that_encoding_gives_back():
    rng, whole, others = random.Random(1), 0, 0
    for _ in range(600):
        tokens, merges = list(BYTES), {}
        for _ in range(rng.randint(1, 14)):
            pair = tuple(rng.choice(["a", "b", *tokens[256:]]) for _ in range(2))
            if len("".join(pair)) < 9 and pair not in merges:
                merges[pair] = "".join(pair)
                tokens += [merges[pair]] * (merges[pair] not in tokens)
        merges = list(merges)
        if rng.random() < 0.5:
            rng.shuffle(merges)
        tok = ByteLevelBPE(tokens, merges, ())
        found, true = tok._closed_tokens, encoded_as_itself(tok)
        assert found <= true
        if len(merges) == len(tokens) - 256 and all(tokens.index(a) < tokens.index(a + b) > tokens.index(b) for a, b in merges):
            ascending = merges == sorted(merges, key=lambda pair: tokens.index("".join(pair)))
            assert not ascending or found == true
        whole, others = whole + len(found) - 256, others + len(tokens) - len(found)
    assert whole > 1000 and others > 1000
