"""The views of ``inspect``, with vocabularies small enough to work everything out by hand."""
import re

import pytest
from tokenizer_samples import STORY, random_texts

from tokenizer import ByteLevelBPE, WordPiece
from tokenizer.inspect.statistics import render_statistics, statistics
from tokenizer.inspect.text import render_text, split_text
from tokenizer.inspect.word import render_words, split_words, word_steps
from tokenizer.pretokenize import byte_characters
from tokenizer.utils.terminal import ASCII, TextStyle

SPECIALS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
MERGES = [("u", "g"), ("h", "ug"), ("Ġ", "hug"), ("Ċ", "Ċ")]
PLAIN = TextStyle()
COLOR = TextStyle(color=True)


@pytest.fixture(scope="module")
def bpe():
    """Ids: special tokens 0-4, bytes 5-260 (h 76, s 87), ug 261, hug 262, Ġhug 263, ĊĊ 264."""
    tokens = [*SPECIALS, *sorted(byte_characters()), *map("".join, MERGES)]
    return ByteLevelBPE(tokens, MERGES)


@pytest.fixture(scope="module")
def wordpiece():
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = "h hug em ##s ##bed ##ding ##e ## , ᄒ ##ᅡ ##ᆫ".split()
    return WordPiece([*special, *pieces], max_input_chars_per_word=12)


# A text split into its tokens

def test_text_of_byte_level_bpe(bpe):
    # Of three line ends the last is a word of its own, since a letter follows.
    assert render_text(bpe, "hugs hug\n\n\nhé", PLAIN) == [
        "10 tokens, 2 of them added; 13 characters, 1.62 per token",
        "",
        "<s>⟦hug⟧⟦s⟧⟦·hug⟧⟦↵",
        "↵⟧",
        "⟦↵⟧",
        r"⟦h⟧⟦\xc3⟧⟦\xa9⟧</s>",
        "",
        "      id  token  text",
        "       0  <s>    added",
        "     262  hug    hug",
        "      87  s      s",
        "     263  Ġhug   ·hug",
        "     264  ĊĊ     ↵↵",
        "     203  Ċ      ↵",
        "      76  h      h",
        "     132  Ã      byte c3 of é",
        "     107  ©      byte a9 of é",
        "       2  </s>   added",
    ]


def test_text_of_wordpiece(wordpiece):
    # x is not in the vocabulary, so hx is unknown; 한 is decomposed into three letters.
    assert render_text(wordpiece, " Embed, hé hx\n한[MASK] ", PLAIN) == [
        "12 tokens, 2 of them added; 22 characters, 2.20 per token; 1 unknown (10%), marked ?",
        "",
        "[CLS]·⟦Em⟧⟦bed⟧⟦,⟧·⟦h⟧⟦é⟧·⟦hx⟧?↵",
        "⟦ᄒ⟧⟦ᅡ⟧⟦ᆫ⟧[MASK]·[SEP]",
        "",
        "      id  token   text",
        "       2  [CLS]   added",
        "       7  em      Em",
        "       9  ##bed   bed",
        "      13  ,       ,",
        "       5  h       h",
        "      11  ##e     é",
        "       1  [UNK]   hx",
        "      14  ᄒ      part of 한",
        "      15  ##ᅡ     part of 한",
        "      16  ##ᆫ     part of 한",
        "       4  [MASK]  [MASK]",
        "       3  [SEP]   added",
    ]


def test_colors_alternate_and_end_with_the_line(bpe, wordpiece):
    assert render_text(bpe, "hugs\n\n <mask>", COLOR)[2:5] == [
        "\033[30;45m<s>\033[0m\033[30;43mhug\033[0m\033[30;46ms\033[0m\033[30;105m↵\033[0m",
        "\033[30;105m↵\033[0m",
        "\033[30;105m·<mask>\033[0m\033[30;45m</s>\033[0m",
    ]
    assert render_text(wordpiece, "hug x", COLOR)[2] == (
        "\033[30;45m[CLS]\033[0m\033[30;43mhug\033[0m\033[2m·\033[0m"
        "\033[30;41mx\033[0m\033[30;105m[SEP]\033[0m"
    )


def test_texts_with_special_cases(bpe, wordpiece):
    assert render_text(bpe, "h]", TextStyle(False, ASCII))[2] == "<s>|h||]|</s>"
    assert "⟦h⟧·<mask></s>" in render_text(bpe, "h <mask>", PLAIN)[2]  # the mask takes the space
    summary = "2 tokens, 2 of them added; 0 characters"
    assert render_text(bpe, "", PLAIN)[:3] == [summary, "", "<s></s>"]
    assert render_text(wordpiece, " \t", PLAIN)[2] == "[CLS]·→[SEP]"
    two_bytes = ByteLevelBPE([*byte_characters(), "Ġð"], [("Ġ", "ð")], [])
    assert render_text(two_bytes, " 🙂", PLAIN)[-4].endswith("bytes 20 f0 of ·🙂")
    gpt2 = ByteLevelBPE(["<|endoftext|>", *sorted(byte_characters())], [], ["<|endoftext|>"])
    assert render_text(gpt2, "hi", PLAIN)[2] == "⟦h⟧⟦i⟧"  # no tokens of a template


def test_output_is_safe_for_terminals(bpe, wordpiece):
    """Every character prints or is a line end; the only escape sequences are colors."""
    hostile = ["\x1b[2J\x1b]0;title\x07\x9b31m\x08\r\x7f", "\u202eabc", "\u0301", "a\u2028b"]
    for text in [*random_texts(60, seed=21), *hostile]:
        for tokenizer in (bpe, wordpiece):
            for style in (PLAIN, COLOR, TextStyle(True, ASCII)):
                shown = "\n".join(render_text(tokenizer, text, style))
                shown = re.sub("\033\\[[0-9;]*m", "", shown)
                assert all(char.isprintable() or char == "\n" for char in shown), ascii(text)
                if style.signs == ASCII:
                    shown.encode("ascii")


def test_the_pieces_make_up_the_text(bpe, wordpiece):
    for text in [*random_texts(150, seed=22), STORY]:
        for tokenizer in (bpe, wordpiece):
            pieces = split_text(tokenizer, text)
            tokens = [piece.token for piece in pieces if piece.token]
            assert tokens == tokenizer.encode(text).tokens
            if not any(piece.shared for piece in pieces):
                assert "".join(piece.text for piece in pieces[1:-1]) == text


# A word encoded step by step

def test_the_merges_of_a_word(bpe):
    assert render_words(bpe, " hugs", PLAIN) == [
        "·hugs  (5 bytes, 2 tokens)",
        "",
        "    rank  merge    pieces",
        "                   · h u g s",
        "       0  u + g    · h ⟦ug⟧ s",
        "       1  h + ug   · ⟦hug⟧ s",
        "       2  · + hug  ⟦·hug⟧ s",
        "          no merge applies to what is left",
        "",
        "     263  Ġhug",
        "      87  s",
    ]
    # Of equal pairs, the leftmost is merged first.
    (word,) = word_steps(bpe, "ugug")
    assert [step["pieces"] for step in word["steps"]] == [["ug", "u", "g"], ["ug", "ug"]]


def test_the_candidates_of_a_word(wordpiece):
    assert render_words(wordpiece, "Embeds", PLAIN) == [
        "embeds  (6 characters, 3 tokens)",
        "",
        "found    tried before it, the longest first",
        "em       embeds embed embe emb",
        "##bed    ##beds",
        "##s      -",
        "",
        "       7  em",
        "       9  ##bed",
        "       8  ##s",
    ]


def test_a_word_is_unknown_if_nothing_fits_or_it_is_too_long(wordpiece):
    assert render_words(wordpiece, "hum", PLAIN)[3:] == [
        "h        hum hu",
        "nothing  ##um ##u",
        "so the word is unknown",
        "",
        "       1  [UNK]",
    ]
    too_long = render_words(wordpiece, "h" * 13, PLAIN)
    assert too_long[2] == "longer than 12 characters, so it is unknown"


def test_words_are_those_that_the_tokenizer_sees(bpe, wordpiece):
    assert split_words(bpe, "hug's é") == ["hug", "'s", " é"]
    shown = render_words(bpe, "<mask>", PLAIN)
    assert shown == ["<mask> is token 4, an added token, which is never split"]
    spaced = ByteLevelBPE(list(bpe.get_vocab()), MERGES, add_prefix_space=True, unicode_form="NFC")
    assert split_words(spaced, "hug") == [" hug"]
    assert split_words(spaced, "e\u0301") == [" \xe9"]
    for empty in ("", " ", "\u200b"):
        with pytest.raises(ValueError, match="there is no word in it"):
            split_words(wordpiece, empty)


def test_the_steps_agree_with_the_encoders():
    texts = random_texts(100, seed=23) + STORY.split()
    bpe = ByteLevelBPE.train_from_iterator(texts, 1000, show_progress=False)
    wordpiece = WordPiece.train_from_iterator(texts, 3000, show_progress=False)
    for tokenizer in (bpe, wordpiece):
        for text in texts:
            if tokenizer._words(text):
                ids = [i for word in word_steps(tokenizer, text) for i in word["ids"]]
                assert ids == tokenizer.encode_ids(text)


# The statistics of a vocabulary

def test_statistics_of_byte_level_bpe(bpe):
    stats = statistics(bpe)
    assert stats["vocab_size"] == 265
    assert stats["made_of"] == {"bytes": 256, "merges": 4}
    assert stats["special_tokens"] == dict(zip(SPECIALS, range(5)))
    assert stats["begin_a_word"] == 2  # Ġ and Ġhug
    assert stats["lengths"] == {1: 256, 2: 2, 3: 1, 4: 1}
    assert stats["longest_tokens"][:4] == ["Ġhug", "hug", "ug", "ĊĊ"]
    assert stats["longest_of_letters"][:3] == ["Ġhug", "hug", "ug"]


def test_statistics_of_wordpiece(wordpiece):
    stats = statistics(wordpiece)
    # h , ᄒ ## | ##s ##e ##ᅡ ##ᆫ | hug em ##bed ##ding
    made_of = {"characters": 3, "characters inside words": 4, "longer pieces": 5}
    assert stats["made_of"] == made_of
    assert stats["begin_a_word"] == 6  # h , ᄒ hug em, and ##, which follows nothing
    assert stats["lengths"] == {1: 7, 2: 2, 3: 2, 4: 1}
    assert stats["longest_tokens"][:3] == ["##ding", "##bed", "hug"]


def test_the_vocabulary_at_a_glance(bpe):
    lines = render_statistics(bpe, PLAIN)
    assert lines[:7] == [
        "          kind  byte-level BPE",
        "        tokens  265",
        "special tokens  <s> 0, <pad> 1, </s> 2, <unk> 3, <mask> 4",
        "       made of  256 bytes, 4 merges",
        "  begin a word  2",
        "       lengths  1: 256, 2: 2, 3: 1, 4: 1 (in bytes, with the space before)",
        "       longest  ·hug hug ug A B C D E F G",
    ]
    assert render_statistics(WordPiece(["[UNK]"], ["[UNK]"]), PLAIN)  # no ordinary token at all
