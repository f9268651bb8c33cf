"""The views of ``inspect``, with vocabularies small enough to work everything out by hand."""
import io
import json
import re

import pytest
from tokenizer_samples import STORY, wild_texts

from tokenizer import ByteLevelBPE, WordPiece
from tokenizer.inspect import (
    collect_data,
    match_steps,
    merge_steps,
    render_lines,
    split_text,
    split_words,
    statistics,
    word_steps,
)
from tokenizer.pretokenize import byte_characters
from tokenizer.utils.terminal import ASCII, TextStyle

SPECIALS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
MERGES = [("u", "g"), ("h", "ug"), ("Ġ", "hug"), ("Ċ", "Ċ")]
PLAIN, COLOR = TextStyle(), TextStyle(color=True)


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


def lines(tokenizer, text=None, word=None, style=PLAIN):
    return render_lines(tokenizer, text, word, style)


# A text split into its tokens

def test_text_of_byte_level_bpe(bpe):
    # Of three line ends the last is a word of its own, since a letter follows.
    assert lines(bpe, "hugs hug\n\n\nhé") == [
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
    assert lines(wordpiece, " Embed, hé hx\n한[MASK] ") == [
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
    assert lines(bpe, "hugs\n\n <mask>", style=COLOR)[2:5] == [
        "\033[30;45m<s>\033[0m\033[30;43mhug\033[0m\033[30;46ms\033[0m\033[30;105m↵\033[0m",
        "\033[30;105m↵\033[0m",
        "\033[30;105m·<mask>\033[0m\033[30;45m</s>\033[0m",
    ]
    assert lines(wordpiece, "hug x", style=COLOR)[2] == (
        "\033[30;45m[CLS]\033[0m\033[30;43mhug\033[0m\033[2m·\033[0m"
        "\033[30;41mx\033[0m\033[30;105m[SEP]\033[0m"
    )


def test_texts_with_special_cases(bpe, wordpiece):
    assert lines(bpe, "[h] (x)")[2] == "<s>⟦[⟧⟦h⟧⟦]⟧⟦·⟧⟦(⟧⟦x⟧⟦)⟧</s>"
    assert lines(bpe, "[h]", style=TextStyle(False, ASCII))[2] == "<s>|[||h||]|</s>"
    assert "⟦h⟧·<mask></s>" in lines(bpe, "h <mask>")[2]  # the mask takes the space
    assert lines(bpe, "")[:3] == ["2 tokens, 2 of them added; 0 characters", "", "<s></s>"]
    assert lines(wordpiece, " \t")[2] == "[CLS]·→[SEP]"


def test_a_token_with_two_bytes_of_different_characters():
    tok = ByteLevelBPE([*byte_characters(), "Ġð"], [("Ġ", "ð")], [])
    assert lines(tok, " 🙂")[-4].endswith("bytes 20 f0 of ·🙂")


def test_a_vocabulary_without_template_tokens():
    gpt2 = ByteLevelBPE(["<|endoftext|>", *sorted(byte_characters())], [], ["<|endoftext|>"])
    assert lines(gpt2, "hi")[2] == "⟦h⟧⟦i⟧"
    assert collect_data(gpt2, "hi")["encoding"]["tokens"] == ["h", "i"]


def test_an_unknown_kind_is_an_error(bpe):
    class Unigram(ByteLevelBPE):
        kind = "unigram"

    unigram = Unigram(list(bpe.get_vocab()), MERGES)
    with pytest.raises(ValueError, match="unknown tokenizer kind 'unigram'"):
        lines(unigram)


def test_output_is_safe_for_terminals(bpe, wordpiece):
    """Every character prints or is a line end; the only escape sequences are colors."""
    hostile = ["\x1b[2J\x1b]0;title\x07\x9b31m\x08\r\x7f", "\u202eabc", "\u0301", "a\u2028b"]
    for text in [*wild_texts(300, seed=21), *hostile]:
        for tokenizer in (bpe, wordpiece):
            for style in (PLAIN, COLOR, TextStyle(True, ASCII)):
                shown = "\n".join(lines(tokenizer, text, style=style))
                shown = re.sub("\033\\[[0-9;]*m", "", shown)
                assert all(char.isprintable() or char == "\n" for char in shown), ascii(text)
                if style.signs == ASCII:
                    shown.encode("ascii")


def test_the_pieces_make_up_the_text(bpe, wordpiece):
    for text in [*wild_texts(500, seed=22), STORY]:
        for tokenizer in (bpe, wordpiece):
            pieces = split_text(tokenizer, text)
            tokens = [piece.token for piece in pieces if piece.token]
            assert tokens == tokenizer.encode(text).tokens
            if not any(piece.shared for piece in pieces):
                assert "".join(piece.text for piece in pieces[1:-1]) == text


def test_colors_are_for_terminals_that_want_them(monkeypatch):
    class Stream(io.StringIO):
        terminal, encoding = True, "utf-8"

        def isatty(self):
            return self.terminal

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert TextStyle.of(Stream()) == COLOR
    monkeypatch.setenv("NO_COLOR", "1")
    assert TextStyle.of(Stream()) == PLAIN
    monkeypatch.setenv("NO_COLOR", "")  # no-color.org: "when present and not an empty string"
    assert TextStyle.of(Stream()) == COLOR
    monkeypatch.setenv("TERM", "dumb")
    assert TextStyle.of(Stream()) == PLAIN
    Stream.terminal, Stream.encoding = False, "cp1252"
    assert TextStyle.of(Stream()) == TextStyle(False, ASCII)


def test_visible_text():
    assert PLAIN.visible("\u0301a\u0301") == "◌\u0301a\u0301"  # the first accent needs a letter
    assert TextStyle(False, ASCII).visible("a é\n\u0301") == r"a_\u00e9\n\u0301"


# A word encoded step by step

def test_the_merges_of_a_word(bpe):
    assert lines(bpe, word=" hugs") == [
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
    first = (0, "u", "g", 0, ["ug", "u", "g"])
    second = (0, "u", "g", 1, ["ug", "ug"])
    assert merge_steps(bpe, "ugug") == (["u", "g", "u", "g"], [first, second])


def test_the_candidates_of_a_word(wordpiece):
    assert lines(wordpiece, word="Embeds") == [
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
    assert match_steps(wordpiece, "hum") == [(["hum", "hu"], "h"), (["##um", "##u"], None)]
    assert lines(wordpiece, word="hum")[3:6] == [
        "h        hum hu",
        "nothing  ##um ##u",
        "so the word is unknown",
    ]
    assert lines(wordpiece, word="h" * 13)[2] == "longer than 12 characters, so it is unknown"


def test_candidates_are_wrapped_to_the_terminal(wordpiece, monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    assert lines(wordpiece, word="hugbedding")[3:6] == [
        "hug      hugbedding hugbeddin hugbeddi hugbedd",
        "         hugbed hugbe hugb",
        "##bed    ##bedding ##beddin ##beddi ##bedd",
    ]


def test_words_are_those_that_the_tokenizer_sees(bpe, wordpiece):
    assert split_words(bpe, "hug's é") == ["hug", "'s", " é"]
    assert lines(bpe, word="<mask>") == ["<mask> is token 4, an added token, which is never split"]
    spaced = ByteLevelBPE(list(bpe.get_vocab()), MERGES, add_prefix_space=True, unicode_form="NFC")
    assert split_words(spaced, "hug") == [" hug"]
    assert split_words(spaced, "e\u0301") == [" \xe9"]
    for empty in ("", " ", "\u200b"):
        with pytest.raises(ValueError, match="there is no word in it"):
            lines(wordpiece, word=empty)


def test_the_steps_agree_with_the_encoders():
    texts = wild_texts(200, seed=23) + STORY.split()
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
    assert stats["vocab_size"] == 265 and stats["made_of"] == {"bytes": 256, "merges": 4}
    assert stats["special_tokens"] == dict(zip(SPECIALS, range(5)))
    assert stats["begin_a_word"] == 2  # Ġ and Ġhug
    assert stats["lengths"] == {1: 256, 2: 2, 3: 1, 4: 1}
    assert stats["longest_tokens"][:4] == ["Ġhug", "hug", "ug", "ĊĊ"]
    assert stats["fingerprint"] == bpe.fingerprint


def test_statistics_of_wordpiece(wordpiece):
    stats = statistics(wordpiece)
    # h , ᄒ ## | ##s ##e ##ᅡ ##ᆫ | hug em ##bed ##ding
    assert stats["made_of"] == {
        "characters": 3, "characters inside words": 4, "longer pieces": 5
    }
    assert stats["begin_a_word"] == 6  # h , ᄒ hug em, and ##, which follows nothing
    assert stats["lengths"] == {1: 7, 2: 2, 3: 2, 4: 1}
    assert stats["longest_tokens"][:3] == ["##ding", "##bed", "hug"]


def test_the_longest_tokens_of_letters_are_listed_separately():
    merges = [(".", "."), ("..", ".."), ("Ġ", "h"), ("Ġh", "u")]
    tok = ByteLevelBPE([*byte_characters(), *map("".join, merges)], merges, [])
    stats = statistics(tok)
    assert stats["longest_tokens"][:3] == ["....", "Ġhu", ".."]
    assert stats["longest_of_letters"][:2] == ["Ġhu", "Ġh"]
    shown = lines(tok)
    assert shown[shown.index(f"{'longest':>14}  of letters") + 1].endswith("  ·hu")


def test_the_vocabulary_at_a_glance(bpe):
    assert lines(bpe)[:16] == [
        "          kind  byte-level BPE",
        "        tokens  265",
        "special tokens  <s> 0, <pad> 1, </s> 2, <unk> 3, <mask> 4",
        "       made of  256 bytes, 4 merges",
        "  begin a word  2 (1% of all but added tokens)",
        "      settings  add_prefix_space False",
        f"   fingerprint  {bpe.fingerprint}",
        "",
        "        length  tokens (in bytes, with the space before)",
        "             1      256 " + "█" * 40,
        "             2        2",
        "             3        1",
        "             4        1",
        "",
        "       longest  tokens",
        "           263  ·hug",
    ]


def test_very_long_tokens_share_the_last_row_of_the_histogram():
    tokens = ["[UNK]", *("a" * length for length in (1, 15, 16, 40, 90))]
    shown = lines(WordPiece(tokens, ["[UNK]"]))
    assert shown[-9] == "            15        1 " + "█" * 13
    assert shown[-8] == "           16+        3 " + "█" * 40
    assert shown[-5] == "             5  " + "a" * 60 + "…"
    assert "  begin a word  0" in lines(WordPiece(["[UNK]"], ["[UNK]"]))


def test_data_for_programs(bpe, wordpiece):
    data = json.loads(json.dumps(collect_data(bpe, "hugs", "hug")))
    assert data["encoding"]["ids"] == [0, 262, 87, 2] and data["vocab_size"] == 265
    steps = [
        {"rank": 0, "left": "u", "right": "g", "pieces": ["h", "ug"]},
        {"rank": 1, "left": "h", "right": "ug", "pieces": ["hug"]},
    ]
    assert data["words"] == [{"word": "hug", "tokens": ["hug"], "ids": [262], "steps": steps}]
    assert "words" not in collect_data(bpe, "hugs") and "encoding" not in collect_data(bpe)
    steps = collect_data(wordpiece, None, "hugs")["words"][0]["steps"]
    assert steps == [{"tried": ["hugs"], "found": "hug"}, {"tried": [], "found": "##s"}]
