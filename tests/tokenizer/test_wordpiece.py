"""WordPiece: training, longest match against the reference, unknown words, decoding."""
import pytest
from tokenizer_samples import STORY, corpus_files, random_texts

from tokenizer import WordPiece, reference
from tokenizer.pretokenize import bert_words

SMALL = (
    "[PAD] [UNK] [CLS] [SEP] [MASK] h hug em ##s ##bed ##ding ##e it ' t isn s , . ? ! ## we ll"
).split()


def train(texts, *args, **options):
    return WordPiece.train_from_iterator(texts, *args, show_progress=False, **options)


def tokens(tok, text):
    return tok.encode(text, add_special_tokens=False).tokens


@pytest.fixture(scope="module")
def tok():
    return train([STORY], 300)


# Training

def test_ids_are_specials_then_characters_then_inner_characters_then_pieces():
    tok = train(["ab ab cab"], 20)
    # a ##b occurs twice, ##a ##b once. So ab is learned, and nothing else occurs twice.
    assert list(tok.get_vocab()) == [*SMALL[:5], "a", "b", "c", "##a", "##b", "ab"]
    assert tok.training_summary == "vocabulary: asked for 20, reached 11: no pair occurs 2 times"


def test_accents_and_case():
    cased = train(["Café Café"], 30, lowercase=False)
    assert tokens(cased, "Café") == ["Café"] and tokens(cased, "cafe") == ["[UNK]"]
    uncased = train(["Café Café"], 30)
    assert tokens(uncased, "CAFE café") == ["cafe", "cafe"]
    accents = train(["Café Café"], 30, strip_accents=False)
    assert tokens(accents, "CAFÉ cafe") == ["café", "[UNK]"]


def test_only_the_most_frequent_characters_are_kept():
    tok = train(["aaa bb c"], 30, 1, limit_alphabet=2)
    assert tok.token_to_id("c") is None and tokens(tok, "c") == ["[UNK]"]


def test_a_minimum_frequency_of_zero_means_one():
    zero, one = (train(["aab ab caab"], 300, n) for n in (0, 1))
    assert zero.get_vocab() == one.get_vocab() and zero.training_summary == one.training_summary


@pytest.mark.parametrize("options, message", [
    ({"vocab_size": 9}, "smaller than the 5 special tokens and the 5 characters.*at least 10"),
    ({"special_tokens": ("[PAD]",)}, r"must include '\[UNK\]'"),
    ({"special_tokens": ("[UNK]", "a")}, "'a' could be a character of the text"),
    ({"special_tokens": ("[UNK]", "##a")}, "'##a' could be a character of the text"),
    ({"special_tokens": ("[UNK]", "[\ud800]")}, "has half a character"),
])
def test_bad_training_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        train(["abc"], **options)


def test_bad_texts_and_vocabularies_are_refused():
    with pytest.raises(ValueError, match="corpus is empty"):
        train([" \n", ""])
    with pytest.raises(ValueError, match="no .UNK. token"):
        WordPiece(["[PAD]", "a"], ["[PAD]"])
    with pytest.raises(ValueError, match="lone surrogate"):
        WordPiece(SMALL).encode_ids("a\ud800")


def test_kant_in_word_pieces():
    tok = WordPiece.train(corpus_files("kant"), vocab_size=8_000, show_progress=False)
    assert tokens(tok, "The Critique of Pure Reason.") == "the critique of pure reason .".split()


# Encoding

def test_the_longest_piece_is_matched():
    tok = WordPiece(SMALL)
    assert tokens(tok, "Hugs embedding") == ["hug", "##s", "em", "##bed", "##ding"]
    assert tokens(tok, "hug hums") == ["hug", "[UNK]"]  # h fits, ##u does not: all is unknown
    assert tok.encode("hugs x", add_special_tokens=False).offsets == [(0, 3), (3, 4), (5, 6)]


def test_a_word_of_more_than_100_characters_is_unknown():
    tok = WordPiece([*SMALL, "a", "##a"])
    assert tokens(tok, "a" * 100) == ["a"] + ["##a"] * 99
    assert tokens(tok, "a" * 101) == ["[UNK]"]
    assert tokens(tok, "A\u0301" * 100) == ["a"] + ["##a"] * 99  # counted after normalizing
    tok = WordPiece([*SMALL, "a", "##a"], max_input_chars_per_word=200)
    assert tokens(tok, "a" * 101) == ["a"] + ["##a"] * 100


def test_encoding_agrees_with_the_reference(tok):
    vocabulary = set(tok.get_vocab()) - set(tok.special_tokens)
    for text in random_texts(500, seed=3) + STORY.splitlines():
        normalized, _ = tok.normalizer.normalize(text)
        slow = []
        for start, end in bert_words(normalized):
            if end - start > 100:
                slow.append("[UNK]")
            else:
                slow += reference.spell_word(normalized[start:end], vocabulary)
        assert [tok.id_to_token(i) for i in tok.encode_ids(text)] == slow


def test_white_space_has_no_tokens(tok):
    assert tok.encode_ids("\n") == tok.encode_ids("  \t") == tok.encode_ids("") == []
    assert tok.encode_ids("the cat\n") == tok.encode_ids("\tThe \r\n CAT")


def test_special_tokens_are_found_before_normalizing(tok):
    assert tokens(tok, "the [MASK]!") == ["the", "[MASK]", *tokens(tok, "!")]
    assert "[MASK]" not in tokens(tok, "[mask]")
    assert not {2, 3, 4} & set(tok.encode_ids("[CLS][SEP][MASK]"))


def test_offsets_point_into_the_original_text(tok):
    text = "Ｅ The\x00 CAFÉ, 中文"
    offsets = tok.encode(text, add_special_tokens=False).offsets
    spans = [text[start:end] for start, end in offsets]
    assert {"The", ",", "中", "文"} <= set(spans)
    assert "".join(spans) in ("ＥTheCAFÉ,中文", "ＥTheCAFE,中文")


# Decoding

def test_decoding_joins_pieces_and_removes_spaces():
    tok = WordPiece(SMALL)
    assert tok.decode(tok.encode("Hugs, embedding.").ids) == "hugs, embedding."
    assert tok.decode(tok.encode("isn't it? it's! we'll").ids) == "isn't it? it's! we'll"
    assert tok.decode([8, 6, 8]) == "##s hugs"  # a piece that continues nothing keeps its ##
    assert tok.decode([2, 6, 3], skip_special_tokens=False) == "[CLS] hug [SEP]"
    assert tok.decode([]) == ""
    assert [tok.token_text(token) for token in ("##s", "##", "[SEP]")] == ["s", "##", "[SEP]"]
