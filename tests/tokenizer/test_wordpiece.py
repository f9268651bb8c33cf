"""WordPiece: training, greedy longest match against the slow twin, unknown words, decoding."""
import pytest
from tokenizer_samples import STORY, corpus_files, random_texts

from tokenizer import WordPiece, reference
from tokenizer.pretokenize import bert_words

SMALL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "h", "hug", "em", "##s", "##bed", "##ding", "##e", "it", "'", "t", "isn",
         "s", ",", ".", "?", "!", "##", "we", "ll"]


@pytest.fixture(scope="module")
def tok():
    return WordPiece.train_from_iterator([STORY], vocab_size=300, show_progress=False)


def tokens(tok, text):
    return tok.encode(text, add_special_tokens=False).tokens


def test_ids_are_specials_then_characters_then_inner_characters_then_pieces():
    tok = WordPiece.train_from_iterator(["ab ab cab"], vocab_size=20, show_progress=False)
    # ##a ##b once, a ##b twice; so ab is learned, and nothing else stands twice
    assert [tok.id_to_token(i) for i in range(tok.vocab_size)] == [
        "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "##a", "##b", "ab"]
    assert tok.training_summary == "vocabulary: asked for 20, reached 11: no pair occurs 2 times"


def test_greedy_longest_match_by_hand():
    tok = WordPiece(SMALL)
    assert tokens(tok, "Hugs embedding") == ["hug", "##s", "em", "##bed", "##ding"]
    assert tokens(tok, "hums") == ["[UNK]"]      # h fits, ##u does not: the whole word is unknown
    assert tokens(tok, "hug hums") == ["hug", "[UNK]"]
    assert tok.encode("hugs x", add_special_tokens=False).offsets == [(0, 3), (3, 4), (5, 6)]


def test_a_word_of_100_characters_is_spelled_and_one_of_101_is_unknown():
    tok = WordPiece([*SMALL, "a", "##a"])
    assert tokens(tok, "a" * 100) == ["a"] + ["##a"] * 99
    assert tokens(tok, "a" * 101) == ["[UNK]"]
    assert tokens(tok, "A\u0301" * 100) == ["a"] + ["##a"] * 99  # counted after normalizing
    assert tokens(WordPiece([*SMALL, "a", "##a"], max_input_chars_per_word=200), "a" * 101) == ["a"] + ["##a"] * 100


def test_encoding_agrees_with_the_slow_twin(tok):
    vocabulary = set(tok.get_vocab()) - set(tok.special_tokens)
    for text in random_texts(2000, seed=3) + STORY.splitlines():
        normalized, _ = tok.normalizer.normalize(text)
        words = [normalized[start:end] for start, end in bert_words(normalized)]
        slow = [piece for word in words for piece in
                (reference.spell_word(word, vocabulary) if len(word) <= 100 else ["[UNK]"])]
        assert [tok.id_to_token(i) for i in tok.encode_ids(text)] == slow


def test_ids_alone_are_those_of_encode_for_short_texts_and_long_ones(tok, monkeypatch):
    for text in random_texts(700, seed=7):
        ids = tok.encode(text, add_special_tokens=False, split_special_tokens=True).ids
        monkeypatch.setattr("tokenizer.base.SHORT_TEXT", 0)
        assert tok.encode_ids(text) == ids
        monkeypatch.undo()
        assert tok.encode_ids(text) == ids


def test_white_space_is_nothing(tok):
    assert tok.encode_ids("\n") == tok.encode_ids("  \t") == tok.encode_ids("") == []
    assert tok.encode_ids("the cat\n") == tok.encode_ids("\tThe \r\n CAT")


def test_special_tokens_are_found_before_normalizing(tok):
    assert tok.encode("the [MASK]!").tokens == ["[CLS]", "the", "[MASK]", *tokens(tok, "!"), "[SEP]"]
    assert "[MASK]" not in tokens(tok, "[mask]")
    assert not {2, 3, 4} & set(tok.encode_ids("[CLS][SEP][MASK]"))


def test_offsets_point_into_the_text_as_written(tok):
    text = "Ｅ The\x00 CAFÉ, 中文"
    encoding = tok.encode(text, add_special_tokens=False)
    spans = [text[start:end] for start, end in encoding.offsets]
    assert "The" in spans and "," in spans and "中" in spans and "文" in spans
    assert "".join(spans) in ("ＥTheCAFÉ,中文", "ＥTheCAFE,中文")


def test_decoding_joins_pieces_and_cleans_spaces():
    tok = WordPiece(SMALL)
    assert tok.decode(tok.encode("Hugs, embedding.").ids) == "hugs, embedding."
    assert tok.decode(tok.encode("isn't it? it's! we'll").ids) == "isn't it? it's! we'll"
    assert tok.decode([8, 6, 8]) == "##s hugs"  # a piece that continues nothing is shown as it is
    assert tok.decode([2, 6, 3], skip_special_tokens=False) == "[CLS] hug [SEP]"
    assert tok.decode([]) == ""


def test_accents_and_case():
    cased = WordPiece.train_from_iterator(["Café Café"], 30, lowercase=False, show_progress=False)
    assert tokens(cased, "Café") == ["Café"] and tokens(cased, "cafe") == ["[UNK]"]
    uncased = WordPiece.train_from_iterator(["Café Café"], 30, show_progress=False)
    assert tokens(uncased, "CAFE café") == ["cafe", "cafe"]
    accents = WordPiece.train_from_iterator(["Café Café"], 30, strip_accents=False, show_progress=False)
    assert tokens(accents, "CAFÉ cafe") == ["café", "[UNK]"]


def test_only_the_most_frequent_characters_are_kept():
    tok = WordPiece.train_from_iterator(["aaa bb c"], 30, 1, limit_alphabet=2, show_progress=False)
    assert tok.token_to_id("c") is None and tokens(tok, "c") == ["[UNK]"]


@pytest.mark.parametrize("criterion", ["frequency", "likelihood"])
def test_a_minimum_of_none_is_a_minimum_of_one(criterion):
    zero, one = (WordPiece.train_from_iterator(["aab ab caab"], 300, minimum, criterion=criterion, show_progress=False) for minimum in (0, 1))
    assert zero.get_vocab() == one.get_vocab() and zero.training_summary == one.training_summary


def test_order_of_texts_does_not_matter():
    lines = STORY.splitlines()
    one = WordPiece.train_from_iterator(lines, 300, show_progress=False)
    other = WordPiece.train_from_iterator(lines[::-1], 300, show_progress=False)
    assert one.fingerprint == other.fingerprint


def test_bad_options():
    def train(**options):
        return WordPiece.train_from_iterator(["abc"], show_progress=False, **options)
    with pytest.raises(ValueError, match="unknown criterion 'ratio': use 'frequency' or 'likelihood'"):
        train(criterion="ratio")
    with pytest.raises(ValueError, match=r"vocab_size=9 is smaller than the 5 special tokens and the 5 characters.*at least 10"):
        train(vocab_size=9)
    with pytest.raises(ValueError, match=r"must include '\[UNK\]'"):
        train(special_tokens=("[PAD]",))
    with pytest.raises(ValueError, match="corpus is empty"):
        WordPiece.train_from_iterator([" \n", ""], show_progress=False)
    with pytest.raises(ValueError, match="no .UNK. token"):
        WordPiece(["[PAD]", "a"], ["[PAD]"])
    with pytest.raises(ValueError, match="lone surrogate"):
        WordPiece(SMALL).encode_ids("a\ud800")


def test_kant_in_word_pieces():
    tok = WordPiece.train(corpus_files("kant"), vocab_size=8_000, show_progress=False)
    assert tok.encode("The Critique of Pure Reason.").tokens == ["[CLS]", "the", "critique", "of", "pure", "reason", ".", "[SEP]"]
