"""Lines, cut documents and packed blocks of one small token file, each worked by hand."""
import numpy as np
import pytest
from helpers import Letters, Tokens

from minibert.examples import make_examples

CORPUS = Tokens(["abc", "de"], ["fghijkl"], ["m", "", "no"])


def show(examples):
    """Examples as text: '<' [CLS], '>' [SEP], '/' line end."""
    return ["".join({0: "<", 2: ">", 31: "/"}.get(i, chr(i + 92)) for i in row) for row in examples]


def test_a_line_is_an_example_cut_at_the_length_and_empty_ones_are_left_out():
    lines = make_examples("lines", CORPUS, Letters(), max_length=6)
    assert show(lines) == ["<abc>", "<de>", "<fghi>", "<m>", "<no>"]
    assert list(lines.lengths) == [5, 4, 6, 3, 4]


def test_a_document_is_cut_to_length_and_nothing_of_it_is_lost():
    documents = make_examples("documents", CORPUS, Letters(), max_length=6)
    assert show(documents) == ["<abc/>", "<de>", "<fghi>", "<jkl>", "<m//n>", "<o>"]
    assert list(documents.lengths) == [6, 4, 6, 5, 6, 3]


def test_blocks_are_one_row_cut_into_equal_pieces():
    blocks = make_examples("blocks", CORPUS, Letters(), max_length=6)
    #          abc/de>fghijkl>m//no>  cut after every four
    assert show(blocks) == ["<abc/>", "<de>f>", "<ghij>", "<kl>m>", "<//no>"]
    assert list(blocks.lengths) == [6] * 5


def test_without_a_token_for_the_line_end_lines_follow_directly():
    blocks = make_examples("blocks", CORPUS, Letters(line_end=False), max_length=6)
    assert show(blocks) == ["<abcd>", "<e>fg>", "<hijk>", "<l>mn>"]
    assert show(make_examples("documents", CORPUS, Letters(line_end=False), max_length=6))[0] == "<abcd>"


@pytest.mark.parametrize("line_end", [True, False])
def test_packing_loses_less_than_one_block(line_end):
    rng = np.random.default_rng(0)
    corpus = Tokens(*[["x" * rng.integers(0, 30) for _ in range(rng.integers(1, 6))] for _ in range(200)])
    for length in (3, 16, 128):
        blocks = make_examples("blocks", corpus, Letters(line_end), max_length=length)
        row = len(corpus.ids) + 200 + (corpus.num_segments - 200 if line_end else 0)
        assert 0 <= row - len(blocks) * (length - 2) < length - 2
        assert all(len(block) == length and block[0] == 0 and block[-1] == 2 for block in blocks)


def test_the_row_of_blocks_is_the_joined_text():
    rng = np.random.default_rng(1)
    documents = [["".join(rng.choice(list("abcdef"), rng.integers(0, 9))) for _ in range(rng.integers(1, 5))] for _ in range(50)]
    joined = ">".join("/".join(document) for document in documents) + ">"
    blocks = make_examples("blocks", Tokens(*documents), Letters(), max_length=9)
    assert "".join(block[1:-1] for block in show(blocks)) == joined[: len(blocks) * 7]


def test_a_corpus_shorter_than_a_block_is_one_short_block():
    blocks = make_examples("blocks", Tokens(["ab"]), Letters(), max_length=128)
    assert show(blocks) == ["<ab>>"]


def test_a_corpus_without_tokens_has_no_example():
    for kind in ("lines", "documents", "blocks"):
        assert len(make_examples(kind, Tokens(), Letters(), max_length=8)) == 0


def test_a_tokenizer_that_adds_a_space_before_the_line_end_packs_alike():
    spaced = Letters()
    spaced.encode_ids = lambda text: [30, 31] if text == "\n" else Letters().encode_ids(text)
    assert show(make_examples("blocks", CORPUS, spaced, 6)) == show(make_examples("blocks", CORPUS, Letters(), 6))


def test_examples_can_be_read_in_any_order():
    blocks = make_examples("blocks", CORPUS, Letters(), max_length=6)
    forward = [row.tolist() for row in blocks]
    assert [blocks[i].tolist() for i in reversed(range(5))] == forward[::-1]
    with pytest.raises(IndexError):
        blocks[5]


def test_another_tokenizer_is_refused():
    other = Letters()
    other.fingerprint = "other"
    with pytest.raises(ValueError, match="another tokenizer"):
        make_examples("lines", CORPUS, other, max_length=8)


def test_a_length_without_room_for_text_is_refused():
    with pytest.raises(ValueError, match="no room"):
        make_examples("lines", CORPUS, Letters(), max_length=2)
