"""Tokens whose own text is encoded as the token: the fast search against the slow one."""
import random

from tokenizer_samples import STORY

from tokenizer import ByteLevelBPE
from tokenizer.fast.closed_tokens import tokens_that_encode_to_themselves
from tokenizer.pretokenize import byte_characters
from tokenizer.reference import encode_word

BYTES = sorted(byte_characters())


def encoded_as_itself(tok):
    """Encode each token with the slow twin."""
    return {i for i, token in enumerate(tok.get_vocab())
            if set(token) <= set(BYTES) and encode_word(token, tok.merges) == [token]}


def test_by_hand():
    find = tokens_that_encode_to_themselves
    # The ids are a 0, b 1, c 2. The merges a b and ab c make abc.
    assert find([0, 1, 2], [(0, 1, 3), (3, 2, 4)], 5) == {0, 1, 2, 3, 4}
    # b c comes first, so abc becomes a bc.
    assert find([0, 1, 2], [(1, 2, 3), (0, 1, 4), (4, 2, 5)], 6) == {0, 1, 2, 3, 4}
    # aaa becomes aa a, never a aa.
    assert find([0], [(0, 0, 1), (1, 1, 2), (0, 1, 3)], 4) == {0, 1, 2}
    # aaaa becomes aa aa, never aaa a.
    assert find([0], [(0, 0, 1), (1, 0, 2), (2, 0, 3)], 4) == {0, 1, 2}
    assert find([0, 1], [], 4) == {0, 1}


def test_every_trained_token_is_closed():
    texts = [STORY, "aaaaaaa aaaa ababababab"]
    tok = ByteLevelBPE.train_from_iterator(texts, 700, show_progress=False)
    trained = set(range(len(tok.special_tokens), tok.vocab_size))
    assert tok._closed_tokens == encoded_as_itself(tok) == trained


def test_closed_tokens_of_random_merges_encode_to_themselves():
    rng = random.Random(1)
    num_closed = 0
    num_others = 0
    for _ in range(600):
        tokens = list(BYTES)
        merges = []
        for _ in range(rng.randint(1, 14)):
            pair = tuple(rng.choice(["a", "b", *tokens[256:]]) for _ in range(2))
            merged = "".join(pair)
            if len(merged) < 9 and pair not in merges:
                merges.append(pair)
                if merged not in tokens:
                    tokens.append(merged)
        if rng.random() < 0.5:
            rng.shuffle(merges)
        tok = ByteLevelBPE(tokens, merges, ())
        found = tok._closed_tokens
        expected = encoded_as_itself(tok)
        assert found <= expected
        # If every merge makes a new token after those of its parts, as in training, none is missed.
        results = [left + right for left, right in merges]
        parts_first = all(max(tokens.index(left), tokens.index(right)) < tokens.index(left + right)
                          for left, right in merges)
        if results == tokens[256:] and parts_first:
            assert found == expected
        num_closed += len(found) - 256
        num_others += len(tokens) - len(found)
    assert num_closed > 1000 and num_others > 1000
