"""Lines, cut documents and packed blocks of one small token file, each worked by hand."""
import numpy as np
import pytest
from helpers import Letters, Tokens

from data.token_file.shards import Shards
from minibert.examples import TokenStream, make_examples

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


def test_the_number_of_a_block_may_be_a_small_integer_of_numpy():
    """300 blocks of 300 ids: as uint16, 250 x 300 would run over."""
    blocks = make_examples("blocks", Tokens(["a" * 298 + "b"] * 300), Letters(), max_length=302)
    assert len(blocks) == 300 and blocks[np.uint16(250)].tolist() == blocks[250].tolist()


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


class SlowRow:
    """``TokenStream`` written out: where each segment begins, and what stands between it and the next, as arrays."""

    def __init__(self, token_file, tokenizer):
        line_end = tokenizer.encode_ids("\n")[-1:]
        self.ids, self.starts = token_file.ids, token_file.segments
        last = token_file.documents[1:] - 1  # the last segment of each document
        self.gap = np.full(token_file.num_segments, len(line_end))  # ids between this segment and the next
        self.gap[last] = 1
        self.filler = np.full(token_file.num_segments, line_end[0] if line_end else -1)
        self.filler[last] = tokenizer.sep_token_id
        self.position = self.starts + np.concatenate([[0], np.cumsum(self.gap)])

    def all(self):
        row = []
        for segment, (gap, filler) in enumerate(zip(self.gap, self.filler)):
            row += [*self.ids[self.starts[segment]:self.starts[segment + 1]].tolist(), *[filler] * gap]
        return row


def random_corpus(rng):
    return Tokens(*[["".join(rng.choice(list("abcdef"), rng.integers(0, 5))) for _ in range(rng.integers(1, 5))] for _ in range(rng.integers(1, 9))])


@pytest.mark.parametrize("line_end", [True, False])
def test_the_row_is_that_of_its_slow_twin_wherever_it_is_read(line_end):
    rng = np.random.default_rng(2)
    for _ in range(12):
        corpus = random_corpus(rng)
        row, slow = TokenStream(corpus, Letters(line_end)), SlowRow(corpus, Letters(line_end))
        whole = slow.all()
        for document, segment in enumerate(corpus.documents):
            assert row.begin(document) == slow.position[segment]
        for start in range(len(whole)):
            for end in range(start, min(start + 20, len(whole)) + 1):
                assert row.read(start, end).tolist() == whole[start:end]


@pytest.mark.parametrize("line_end", [True, False])
def test_pieces_of_documents_are_those_cut_from_the_slow_row(line_end, monkeypatch):
    monkeypatch.setattr("data.token_file.reader.LENGTHS_PER_CHUNK", 3)  # so that the index is read in parts
    rng = np.random.default_rng(3)
    for room in (1, 2, 5, 40):
        corpus = random_corpus(rng)
        slow, expected = SlowRow(corpus, Letters(line_end)), []
        whole = slow.all()
        for first, after in zip(corpus.documents, corpus.documents[1:]):
            document = whole[slow.position[first]:slow.position[after] - 1]  # without the [SEP] behind it
            expected += [[0, *document[start:start + room], 2] for start in range(0, len(document), room)]
        documents = make_examples("documents", corpus, Letters(line_end), room + 2)
        assert [piece.tolist() for piece in documents] == expected and documents.lengths.tolist() == list(map(len, expected))
        lines = make_examples("lines", corpus, Letters(line_end), room + 2)
        segments = [corpus.ids[start:end].tolist() for start, end in zip(corpus.segments, corpus.segments[1:])]
        assert [line.tolist() for line in lines] == [[0, *segment[:room], 2] for segment in segments if segment]


@pytest.mark.parametrize("kind", ["lines", "documents", "blocks", "pairs"])
def test_examples_of_shards_are_those_of_one_array(kind, tmp_path):
    rng = np.random.default_rng(4)
    corpus = Tokens(*[["".join(rng.choice(list("abcdef"), rng.integers(1, 9))) for _ in range(rng.integers(1, 5))] for _ in range(20)])
    one = make_examples(kind, corpus, Letters(), 9).at(0, 0)
    ends = [0, *corpus.segments[corpus.documents[[5, 6, 13, 20]]].tolist()]
    for number, (start, end) in enumerate(zip(ends, ends[1:])):
        corpus.ids[start:end].tofile(tmp_path / str(number))
    corpus.ids = Shards([tmp_path / str(number) for number in range(4)], np.diff(ends).tolist(), "uint16")
    many = make_examples(kind, corpus, Letters(), 9).at(0, 0)
    assert [example.tolist() for example in one] == [example.tolist() for example in many] and len(many) > 20


def test_examples_keep_little_beside_the_maps():
    """Four bytes a line or a piece, nothing for blocks."""
    corpus = Tokens(*[["abc", "de"]] * 1000)
    lines, documents, blocks = (make_examples(kind, corpus, Letters(), 4) for kind in ("lines", "documents", "blocks"))
    assert lines.lengths.nbytes == 4 * 2000 and lines.kept is None
    assert documents.lengths.nbytes == 4 * 3000 and documents.first.nbytes == 8 * 1001
    assert blocks.lengths.strides == (0,)
    assert all(vars(examples.row).keys() == {"ids", "starts", "documents", "line_end", "sep"} for examples in (documents, blocks))
