"""Lines, cut documents and packed sequences of one small token file, each worked by hand."""
import numpy as np
import pytest
from helpers import Letters, Tokens

from data.token_file.shards import Shards
from minibert.examples import TokenStream, make_examples

CORPUS = Tokens(["abc", "de"], ["fghijkl"], ["m", "", "no"])


def show(examples):
    """Examples as text: '<' [CLS], '>' [SEP], '/' line end."""
    special = {0: "<", 2: ">", 31: "/"}
    return ["".join(special.get(i, chr(i + 92)) for i in example) for example in examples]


def random_documents(rng, documents=20, longest=8, shortest=0):
    def segment():
        return "".join(rng.choice(list("abcdef"), rng.integers(shortest, longest + 1)))

    return [[segment() for _ in range(rng.integers(1, 6))] for _ in range(documents)]


def test_a_line_is_an_example_and_empty_lines_are_left_out():
    lines = make_examples("lines", CORPUS, Letters(), max_length=6)
    assert show(lines) == ["<abc>", "<de>", "<fghi>", "<m>", "<no>"]
    assert list(lines.lengths) == [5, 4, 6, 3, 4]


def test_a_document_is_cut_into_pieces_and_nothing_is_lost():
    documents = make_examples("documents", CORPUS, Letters(), max_length=6)
    assert show(documents) == ["<abc/>", "<de>", "<fghi>", "<jkl>", "<m//n>", "<o>"]
    assert list(documents.lengths) == [6, 4, 6, 5, 6, 3]


def test_packed_sequences_are_the_joined_documents_cut_to_one_length():
    packed = make_examples("blocks", CORPUS, Letters(), max_length=6)
    #                        abc/de>fghijkl>m//no>  cut after every four
    assert show(packed) == ["<abc/>", "<de>f>", "<ghij>", "<kl>m>", "<//no>"]
    assert list(packed.lengths) == [6] * 5


def test_packed_sequences_of_later_epochs_are_cut_at_other_tokens():
    stream = "abc/de>fghijkl>m//no>"
    packed = make_examples("blocks", CORPUS, Letters(), max_length=6)
    assert show(packed.at(seed=5, epoch=0)) == show(packed)
    first_cuts = set()
    for epoch in range(1, 40):
        shown = show(packed.at(seed=5, epoch=epoch))
        assert shown == show(packed.at(seed=5, epoch=epoch))  # for a run that is resumed
        text = "".join(example[1:-1] for example in shown)
        cut = stream.index(text)
        assert len(stream) - cut - len(text) < 4  # nothing but an incomplete sequence is left out
        assert list(packed.at(seed=5, epoch=epoch).lengths) == [6] * len(shown)
        first_cuts.add(cut)
    assert first_cuts == {0, 1, 2, 3}
    other_seeds = {show(packed.at(seed, epoch=1))[0] for seed in range(20)}
    assert len(other_seeds) == 4


@pytest.mark.parametrize("num_ids, most_cuts", [(3, 1), (4, 1), (5, 2), (7, 4), (9, 4)])
def test_a_short_corpus_is_at_least_one_packed_sequence_in_every_epoch(num_ids, most_cuts):
    """Of four ids, so five ids can begin at the first or the second."""
    corpus = Tokens(["abcdefgh"[: num_ids - 1]])  # and [SEP]
    packed = make_examples("blocks", corpus, Letters(), max_length=6)
    epochs = [show(packed.at(0, epoch)) for epoch in range(40)]
    assert all(epochs)
    assert len({shown[0] for shown in epochs}) == most_cuts


def test_without_a_line_end_token_lines_follow_each_other_directly():
    tokenizer = Letters(line_end=False)
    packed = make_examples("blocks", CORPUS, tokenizer, max_length=6)
    assert show(packed) == ["<abcd>", "<e>fg>", "<hijk>", "<l>mn>"]
    documents = make_examples("documents", CORPUS, tokenizer, max_length=6)
    assert show(documents)[:2] == ["<abcd>", "<e>"]


def test_a_tokenizer_that_adds_a_space_before_the_line_end_packs_the_same_way():
    spaced = Letters()
    spaced.encode_ids = lambda text: [30, 31] if text == "\n" else Letters().encode_ids(text)
    expected = make_examples("blocks", CORPUS, Letters(), max_length=6)
    assert show(make_examples("blocks", CORPUS, spaced, max_length=6)) == show(expected)


@pytest.mark.parametrize("max_length", [3, 9, 128])
def test_packing_loses_less_than_one_sequence(max_length):
    documents = random_documents(np.random.default_rng(0), documents=200)
    joined = "".join("/".join(document) + ">" for document in documents)
    packed = make_examples("blocks", Tokens(*documents), Letters(), max_length)
    text = "".join(example[1:-1] for example in show(packed))
    assert joined.startswith(text)
    assert 0 <= len(joined) - len(text) < max_length - 2


def test_a_corpus_shorter_than_a_packed_sequence_is_one_short_sequence():
    assert show(make_examples("blocks", Tokens(["ab"]), Letters(), max_length=128)) == ["<ab>>"]


@pytest.mark.parametrize("kind", ["lines", "documents", "blocks"])
def test_a_corpus_without_tokens_has_no_example(kind):
    assert len(make_examples(kind, Tokens(), Letters(), max_length=8)) == 0


def test_a_small_numpy_integer_is_a_valid_index():
    """As uint16, 250 x 300 would overflow."""
    packed = make_examples("blocks", Tokens(["a" * 298 + "b"] * 300), Letters(), max_length=302)
    assert packed[np.uint16(250)].tolist() == packed[250].tolist()
    with pytest.raises(IndexError):
        packed[1000]


def test_another_tokenizer_is_refused():
    other = Letters()
    other.fingerprint = "other"
    with pytest.raises(ValueError, match="another tokenizer"):
        make_examples("lines", CORPUS, other, max_length=8)


def test_a_length_without_room_for_text_is_refused():
    with pytest.raises(ValueError, match="no room"):
        make_examples("lines", CORPUS, Letters(), max_length=2)


def slow_stream(token_file, line_end):
    """Return the stream of a token file as a list, and where each of its segments starts."""
    stream, starts = [], []
    last_segments = set((token_file.documents[1:] - 1).tolist())
    for segment in range(token_file.num_segments):
        starts.append(len(stream))
        stream += token_file.ids[slice(*token_file.segments[segment : segment + 2])].tolist()
        if segment in last_segments:
            stream.append(2)
        elif line_end:
            stream.append(31)
    return stream, [*starts, len(stream)]


@pytest.mark.parametrize("line_end", [True, False])
def test_every_part_of_the_stream_is_that_of_the_slow_twin(line_end):
    rng = np.random.default_rng(2)
    for _ in range(12):
        tokens = Tokens(*random_documents(rng, documents=rng.integers(1, 9), longest=4))
        stream = TokenStream(tokens, Letters(line_end))
        expected, starts = slow_stream(tokens, line_end)
        assert len(stream) == len(expected)
        for document, segment in enumerate(tokens.documents):
            assert stream.document_start(document) == starts[segment]
        for start in range(len(expected)):
            for end in range(start, min(start + 20, len(expected)) + 1):
                assert stream.read(start, end).tolist() == expected[start:end]


@pytest.mark.parametrize("line_end", [True, False])
@pytest.mark.parametrize("max_ids", [1, 2, 5, 40])
def test_lines_and_documents_are_cut_from_the_slow_stream(line_end, max_ids, monkeypatch):
    monkeypatch.setattr("data.token_file.reader.LENGTHS_PER_CHUNK", 3)
    tokens = Tokens(*random_documents(np.random.default_rng(3), documents=8, longest=4))
    stream, starts = slow_stream(tokens, line_end)
    expected = []
    for first, end in zip(tokens.documents, tokens.documents[1:]):
        document = stream[starts[first] : starts[end] - 1]  # without its [SEP]
        for start in range(0, len(document), max_ids):
            expected.append([0, *document[start : start + max_ids], 2])
    documents = make_examples("documents", tokens, Letters(line_end), max_ids + 2)
    assert [example.tolist() for example in documents] == expected
    assert documents.lengths.tolist() == [len(example) for example in expected]
    lines = make_examples("lines", tokens, Letters(line_end), max_ids + 2)
    segments = np.split(tokens.ids, tokens.segments[1:-1])
    expected = [[0, *segment[:max_ids].tolist(), 2] for segment in segments if len(segment)]
    assert [example.tolist() for example in lines] == expected


@pytest.mark.parametrize("kind", ["lines", "documents", "blocks", "pairs"])
def test_examples_of_shards_are_those_of_one_array(kind, tmp_path):
    tokens = Tokens(*random_documents(np.random.default_rng(4), shortest=1))
    expected = show(make_examples(kind, tokens, Letters(), 9).at(0, 0))
    ends = [0, *tokens.segments[tokens.documents[[5, 6, 13, 20]]].tolist()]
    paths = [tmp_path / str(shard) for shard in range(4)]
    for path, start, end in zip(paths, ends, ends[1:]):
        tokens.ids[start:end].tofile(path)
    tokens.ids = Shards(paths, np.diff(ends).tolist(), "uint16")
    assert show(make_examples(kind, tokens, Letters(), 9).at(0, 0)) == expected


def test_examples_need_little_memory_besides_the_token_file():
    """Four bytes for a line or a piece of a document, nothing for packed sequences."""
    tokens = Tokens(*[["abc", "de"]] * 1000)
    lines, documents, packed = (make_examples(kind, tokens, Letters(), 4)
                                for kind in ("lines", "documents", "blocks"))
    assert lines.lengths.nbytes == 4 * 2000 and lines.not_empty is None
    assert documents.lengths.nbytes == 4 * 3000
    assert packed.lengths.strides == (0,)
