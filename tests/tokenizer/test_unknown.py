"""What becomes [UNK] is counted: how much, and why."""
import random

import pytest

from tokenizer import ByteLevelBPE, WordPiece
from tokenizer.unknown import UnknownText, describe_unknown

VOWELS = ["[UNK]", *"aeiou", *("##" + char for char in "aeiou")]


def train(texts, **options):
    return WordPiece.train_from_iterator(texts, 300, show_progress=False, **options)


def unknown_of(tokenizer, *texts):
    tokenizer.take_unknown()
    tokenizer.encode_texts(list(texts))
    return tokenizer.take_unknown()


def test_words_with_unknown_characters_and_long_words_are_counted():
    tok = WordPiece(VOWELS, ["[UNK]"], max_input_chars_per_word=4)
    unknown = unknown_of(tok, "aei oux é日", "aeiou ux", "AEIOU a")
    assert unknown == UnknownText(num_words=5, num_bytes=3 + 3 + 5 + 2 + 5, num_long=2,
                                  characters={"x", "日"})
    assert tok.take_unknown() == UnknownText()


def test_an_accent_that_is_stripped_counts_as_one_composed_character():
    tok = WordPiece(VOWELS, ["[UNK]"])
    assert unknown_of(tok, "강").num_bytes == len("강".encode())  # three letters in its NFD form


def test_a_character_that_is_known_only_at_the_start_of_words_is_unknown_inside():
    tok = WordPiece(["[UNK]", "a", "b", "##b"], ["[UNK]"])
    assert unknown_of(tok, "aba").characters == {"a"}


def test_the_counts_are_those_of_the_slow_way():
    """Each word of each text by itself, also if the cache knows it already."""
    rng = random.Random(2)
    tok = WordPiece(VOWELS, ["[UNK]"], max_input_chars_per_word=5)
    for _ in range(300):
        texts = ["".join(rng.choices("aeioux日é  ", k=rng.randint(0, 20))) for _ in range(3)]
        words = [word for text in texts for word in tok._words(text)]
        words = [word for word in words if tok._encode_word(word) == [tok.unk_token_id]]
        unknown = unknown_of(tok, *texts)
        assert unknown.num_words == len(words)
        assert unknown.num_long == sum(len(word) > 5 for word in words)
        missing = {char for word in words if len(word) <= 5 for char in word}
        assert unknown.characters == missing - set("aeiou")


def test_byte_level_bpe_has_no_unknown_text():
    tok = ByteLevelBPE.train_from_iterator(["ab ab"], 270, show_progress=False)
    assert tok.take_unknown() is None and tok.training_unknown is None


def test_the_summary_of_a_training_names_the_limit_of_the_alphabet():
    text = "жук жук жук чай щи"  # without ч, а, й and щ, two words in five are unknown
    tok = train([text], limit_alphabet=3)
    assert tok.training_summary == (
        "vocabulary: asked for 300, reached 12: no pair occurs 2 times; limit_alphabet=3 left out "
        "4 of the 7 characters; 40.00% of the tokens are [UNK]")
    assert "2 words with 4 characters that the vocabulary lacks" in tok.training_unknown
    assert "a --limit-alphabet larger by 4" in tok.training_unknown
    full = train([text], limit_alphabet=7)
    assert "limit" not in full.training_summary and full.training_unknown == "no text is [UNK]"


def test_long_words_have_other_remedies():
    rng = random.Random(1)
    genome = " ".join("".join(rng.choices("acgt", k=rng.choice([8, 150]))) for _ in range(100))
    unknown = train([genome]).training_unknown
    assert "longer than max_input_chars_per_word" in unknown and "warning" in unknown
    assert "--max-input-chars-per-word, or spaces between the letters" in unknown
    assert "alphabet" not in unknown
    assert train([genome], max_input_chars_per_word=150).training_unknown == "no text is [UNK]"


@pytest.mark.parametrize("num_words, is_warning", [(10, False), (11, True)])
def test_more_than_one_percent_is_a_warning(num_words, is_warning):
    text = describe_unknown(UnknownText(num_words, 20, 0, {"x"}), 1000, 4000)
    assert text.startswith("warning: ") == ("byte-level BPE" in text) == is_warning
    assert "0.50% of the text" in text
