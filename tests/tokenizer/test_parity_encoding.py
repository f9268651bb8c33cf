"""Compare ids, offsets, templates, truncation, padding and decoding with the tokenizers library.

Run by `make parity`. Each of our tokenizers has the same vocabulary as one of the library's. The
texts are those of ``random_text``: any code points, and other things that are hard to tokenize.
"""
import random

import pytest
from tokenizer_samples import STORY, corpus_text, random_texts

from tokenizer import ByteLevelBPE, WordPiece, load_tokenizer

pytestmark = pytest.mark.parity


@pytest.fixture(scope="module")
def library():
    return pytest.importorskip("tokenizers")


def library_bpe(library, folder, special_tokens, add_prefix_space=False):
    from tokenizers.implementations import ByteLevelBPETokenizer
    files = (str(folder / "vocab.json"), str(folder / "merges.txt"))
    tok = ByteLevelBPETokenizer(*files, add_prefix_space=add_prefix_space)
    tok.add_special_tokens([*special_tokens[:-1], library.AddedToken("<mask>", lstrip=True)])
    # trim_offsets=False: as ours, offsets include the space before a word
    tok.post_processor = library.processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=False, add_prefix_space=False)
    return tok


@pytest.fixture(scope="module")
def pairs(library, tmp_path_factory):
    """{name: (our tokenizer, the library's with the same vocabulary)}"""
    from tokenizers.implementations import BertWordPieceTokenizer
    folder = tmp_path_factory.mktemp("pairs")
    texts = [STORY, *random_texts(4000, seed=99)]
    bpe = ByteLevelBPE.train_from_iterator(texts, 2000, show_progress=False)
    bpe.save(folder)
    spaced = ByteLevelBPE(list(bpe.get_vocab()), bpe.merges, add_prefix_space=True)
    special = bpe.special_tokens
    result = {
        "bpe": (bpe, library_bpe(library, folder, special)),
        "bpe with a space before": (spaced, library_bpe(library, folder, special, True)),
    }
    for name, lowercase, strip_accents in [
        ("uncased", True, None),
        ("cased", False, None),
        ("lower case with accents", True, False),
        ("cased without accents", False, True),
    ]:
        options = {"lowercase": lowercase, "strip_accents": strip_accents}
        ours = WordPiece.train_from_iterator(texts, 6000, show_progress=False, **options)
        ours.save(folder / name)
        theirs = BertWordPieceTokenizer(str(folder / name / "vocab.txt"), **options)
        result[name] = (ours, theirs)
    return result


@pytest.fixture(params=["bpe", "uncased"])
def pair(request, pairs):
    """The two most used tokenizers, and the library's without truncation and padding."""
    ours, theirs = pairs[request.param]
    yield ours, theirs
    theirs.no_truncation()
    theirs.no_padding()
    theirs._tokenizer.encode_special_tokens = False


def assert_same_encoding(ours, theirs, text):
    mine = ours.encode(text, add_special_tokens=False)
    their = theirs.encode(text, add_special_tokens=False)
    assert mine.ids == their.ids, ascii(text)
    assert mine.offsets == their.offsets, ascii(text)


@pytest.mark.parametrize("name, num_texts", [
    ("bpe", 100_000),
    ("uncased", 100_000),
    ("cased", 20_000),
    ("bpe with a space before", 20_000),
    ("lower case with accents", 20_000),
    ("cased without accents", 20_000),
])
def test_ids_and_offsets_are_equal_on_random_texts(pairs, name, num_texts):
    for text in random_texts(num_texts, seed=11):
        assert_same_encoding(*pairs[name], text)


def test_ids_are_equal_if_special_tokens_are_split(pair):
    """Neither ``encode_ids`` nor ``split_special_tokens`` recognizes special tokens in a text."""
    ours, theirs = pair
    theirs._tokenizer.encode_special_tokens = True
    for text in random_texts(10_000, seed=12):
        ids = theirs.encode(text, add_special_tokens=False).ids
        split = ours.encode(text, add_special_tokens=False, split_special_tokens=True)
        assert ours.encode_ids(text) == split.ids == ids, ascii(text)


@pytest.mark.parametrize("corpus", ["kant", "books", "news"])
def test_ids_and_offsets_are_equal_on_corpora(pair, pairs, corpus):
    text = corpus_text(corpus)
    for line in text.splitlines(keepends=True)[:40_000]:
        assert_same_encoding(*pair, line)
    for ours, theirs in pairs.values():
        book = text[:500_000]
        assert ours.encode_ids(book) == theirs.encode(book, add_special_tokens=False).ids


@pytest.mark.parametrize("name", ["bpe", "uncased"])
def test_thousands_of_added_terms_are_found_as_in_the_library(library, pairs, tmp_path, name):
    """As ``add_tokens`` leaves them: words, parts of words, several words, other characters."""
    pairs[name][0].save(tmp_path)
    theirs = library.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    rng = random.Random(17)
    text = corpus_text("kant")[:300_000]
    terms = random_texts(300, seed=18)
    for length in range(1, 20):
        starts = rng.sample(range(len(text)), 150 if length > 2 else 5)
        terms += [text[start : start + length] for start in starts]
    terms = [term for term in terms if "\n" not in term and term.strip()]
    theirs.add_tokens([library.AddedToken(term, normalized=rng.random() < 0.5) for term in terms])
    (tmp_path / "tokenizer_config.json").unlink()  # has the fingerprint without the terms
    theirs.save(str(tmp_path / "tokenizer.json"))
    ours = load_tokenizer(tmp_path)
    lines = [*text.splitlines()[:3000], *random_texts(3000, seed=19), text]
    for line in lines:
        assert_same_encoding(ours, theirs, line)
    ids, lengths = ours.encode_texts(lines)
    theirs.encode_special_tokens = True
    expected = [theirs.encode(line, add_special_tokens=False).ids for line in lines]
    assert lengths.tolist() == list(map(len, expected)) and ids.tolist() == sum(expected, [])


def assert_same_fields(mine, their, inputs):
    """Compare all fields except ``tokens``: the library writes a mask token with its space."""
    for field in ("ids", "type_ids", "offsets", "attention_mask", "special_tokens_mask"):
        assert getattr(mine, field) == getattr(their, field), (field, ascii(inputs))


def test_pairs_truncation_and_padding_are_equal_on_random_texts(pair):
    ours, theirs = pair
    rng = random.Random(13)
    texts = random_texts(20_000, seed=14)
    for first, second in zip(texts[::2], texts[1::2]):
        second = rng.choice([None, second])
        max_length = rng.choice([None, *range(5, 40)])
        length, multiple = rng.choice([(None, None), (24, None), (None, 8)])
        theirs.no_truncation()
        if max_length is not None:
            theirs.enable_truncation(max_length, strategy="longest_first")
        theirs.no_padding()
        if length or multiple:
            theirs.enable_padding(pad_id=ours.pad_token_id, pad_token=ours.pad_token,
                                  length=length, pad_to_multiple_of=multiple)
        mine = ours.encode(first, second, max_length=max_length, pad_to_length=length,
                           pad_to_multiple_of=multiple)
        inputs = (first, second, max_length, length, multiple)
        assert_same_fields(mine, theirs.encode(first, second), inputs)


def test_padded_batches_are_equal(pair):
    ours, theirs = pair
    rng = random.Random(15)
    texts = random_texts(2000, seed=16)
    for start in range(0, len(texts), 8):
        multiple = rng.choice([None, 8])
        theirs.enable_padding(pad_id=ours.pad_token_id, pad_token=ours.pad_token,
                              pad_to_multiple_of=multiple)
        batch = texts[start : start + 8]
        padded = ours.encode_batch(batch, padding=True, pad_to_multiple_of=multiple)
        for mine, their in zip(padded, theirs.encode_batch(batch)):
            assert_same_fields(mine, their, batch)


def test_every_way_to_truncate_a_pair_is_equal(pair):
    ours, theirs = pair
    texts = [" ".join("abcdefghij"[:length]) for length in range(9)]
    for max_length in range(5, 22):
        theirs.enable_truncation(max_length)
        for first in texts:
            for second in [None, *texts]:
                mine = ours.encode(first, second, max_length=max_length)
                inputs = (first, second, max_length)
                assert_same_fields(mine, theirs.encode(first, second), inputs)


def test_decoding_is_equal(pairs):
    for ours, theirs in pairs.values():
        for text in random_texts(3000, seed=17):
            ids = ours.encode_ids(text.replace("'", ""))  # we join isn't, they write isn ' t
            assert ours.decode(ids) == theirs.decode(ids), ascii(text)
