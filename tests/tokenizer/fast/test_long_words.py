"""Words of any length are merged as the plain loop merges them."""
import random
import time

import pytest

from tokenizer import ByteLevelBPE, WordPiece
from tokenizer.fast import long_words
from tokenizer.pretokenize import byte_characters


def random_bpe(rng, letters="abc"):
    """Return a BPE whose merges are in a random order, which no training would give."""
    tokens = dict.fromkeys(byte_characters())
    usable = [*letters]
    merges = {}
    for _ in range(rng.randint(1, 25)):
        pair = (rng.choice(usable), rng.choice(usable))
        if len(pair[0] + pair[1]) <= 24:
            merges[pair] = None
            tokens["".join(pair)] = None
            usable.append("".join(pair))
    merges = rng.sample(list(merges), len(merges))
    return ByteLevelBPE(tokens, merges, special_tokens=())


@pytest.mark.parametrize("piece, longest_window", [(1, 1000), (3, 1000), (32, 1000), (3, 8)])
def test_pieces_give_the_ids_of_the_plain_loop(monkeypatch, piece, longest_window):
    monkeypatch.setattr(long_words, "PIECE", piece)
    monkeypatch.setattr(long_words, "LONGEST_WINDOW", longest_window)
    monkeypatch.setattr(long_words, "FEW", 10)  # longer windows use the heap
    rng = random.Random(piece * longest_window)
    for _ in range(100):
        tok = random_bpe(rng)
        word = "".join(rng.choices("abc", [1, 1, rng.random()], k=rng.randint(1, 150)))
        if rng.random() < 0.2:
            word = rng.choice(["a", "ab", "aab"]) * rng.randint(1, 100)
        letters = [tok.token_to_id(char) for char in word]
        assert tok._merge_long(letters) == tok._merge(letters)


def test_a_character_may_be_cut_between_pieces(monkeypatch):
    text = "".join(random.Random(5).choices("日本語é", k=2000))
    tok = ByteLevelBPE.train_from_iterator([text], 300, show_progress=False)
    assert tok.encode_ids(text) == tok._merge([tok._byte_ids[byte] for byte in text.encode()])
    assert tok.decode(tok.encode_ids(text)) == text


@pytest.mark.parametrize("letters", ["etaoinshrdlu", "n", "aQx09/Zk"])
def test_a_long_text_without_a_space_takes_seconds(letters):
    """The plain loop would take minutes; for a single letter, tokens are up to 8,192 letters."""
    text = "".join(random.Random(6).choices(letters, k=100_000))
    bpe = ByteLevelBPE.train_from_iterator([text[:20_000]], 1000, show_progress=False)
    wordpiece = WordPiece.train_from_iterator([text[:20_000]], 1000, show_progress=False,
                                              lowercase=False, max_input_chars_per_word=100_000)
    for tokenizer in (bpe, wordpiece):
        start = time.process_time()
        ids = tokenizer.encode_ids(text)
        assert time.process_time() - start < 5  # a third of a second is usual
        assert tokenizer.decode(ids).replace(" ", "") == text
