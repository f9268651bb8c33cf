"""The learner's window, with vocabularies small enough to work everything out by hand."""
import io
import json
import re

import pytest
from tokenizer_samples import STORY, wild_texts

from tokenizer import ByteLevelBPE, WordPiece
from tokenizer.inspect import collect_data, match_steps, merge_steps, render_lines, split_text, split_words, statistics, word_steps
from tokenizer.pretokenize import byte_characters
from tokenizer.utils.terminal import ASCII, TextStyle

SPECIALS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
MERGES = [("u", "g"), ("h", "ug"), ("Ġ", "hug"), ("Ċ", "Ċ")]
PLAIN, COLOUR = TextStyle(), TextStyle(color=True)


@pytest.fixture(scope="module")
def bpe():
    """Ids: special tokens 0 to 4, bytes 5 to 260 by their characters (h is 76, s is 87), ug 261, hug 262, Ġhug 263, ĊĊ 264."""
    return ByteLevelBPE([*SPECIALS, *sorted(byte_characters()), *map("".join, MERGES)], MERGES)


@pytest.fixture(scope="module")
def wordpiece():
    return WordPiece(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "h", "hug", "em", "##s", "##bed", "##ding", "##e", "##", ",",
                      "ᄒ", "##ᅡ", "##ᆫ"], max_input_chars_per_word=12)


def lines(tokenizer, text=None, word=None, style=PLAIN):
    return render_lines(tokenizer, text, word, style)


# A text cut into its tokens

def test_byte_level_tokens_in_borders_with_their_ids(bpe):
    # of the three line ends the last is a word of its own, as it stands before a letter
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
        "       2  </s>   added"]


def test_word_pieces_with_what_is_dropped_between_them(wordpiece):
    # x is not in the vocabulary, so hé is spelled, and hx is unknown; 한 is taken apart into three letters, one token each
    assert lines(wordpiece, " Embedding, hé hx\n한[MASK] ") == [
        "13 tokens, 2 of them added; 26 characters, 2.36 per token; 1 unknown (9%), marked ?",
        "",
        "[CLS]·⟦Em⟧⟦bed⟧⟦ding⟧⟦,⟧·⟦h⟧⟦é⟧·⟦hx⟧?↵",
        "⟦ᄒ⟧⟦ᅡ⟧⟦ᆫ⟧[MASK]·[SEP]",
        "",
        "      id  token   text",
        "       2  [CLS]   added",
        "       7  em      Em",
        "       9  ##bed   bed",
        "      10  ##ding  ding",
        "      13  ,       ,",
        "       5  h       h",
        "      11  ##e     é",
        "       1  [UNK]   hx",
        "      14  ᄒ      part of 한",
        "      15  ##ᅡ     part of 한",
        "      16  ##ᆫ     part of 한",
        "       4  [MASK]  [MASK]",
        "       3  [SEP]   added"]


def test_colours_change_where_tokens_meet_and_end_with_the_line(bpe):
    assert lines(bpe, "hugs\n\n <mask>", style=COLOUR)[2:5] == [
        "\033[30;45m<s>\033[0m\033[30;43mhug\033[0m\033[30;46ms\033[0m\033[30;105m↵\033[0m",
        "\033[30;105m↵\033[0m",
        "\033[30;105m·<mask>\033[0m\033[30;45m</s>\033[0m"]
    assert lines(bpe, "h\n\n", style=COLOUR)[2:4] == ["\033[30;45m<s>\033[0m\033[30;43mh\033[0m\033[30;46m↵\033[0m", "\033[30;46m↵\033[0m"]


def test_unknown_words_and_what_lies_between_have_colours_of_their_own(wordpiece):
    assert lines(wordpiece, "hug x", style=COLOUR)[2] == (
        "\033[30;45m[CLS]\033[0m\033[30;43mhug\033[0m\033[2m·\033[0m\033[30;41mx\033[0m\033[30;105m[SEP]\033[0m")


def test_brackets_in_a_text_are_no_borders(bpe):
    assert lines(bpe, "[h] (x)")[2] == "<s>⟦[⟧⟦h⟧⟦]⟧⟦·⟧⟦(⟧⟦x⟧⟦)⟧</s>"
    assert lines(bpe, "[h]", style=TextStyle(False, ASCII))[2] == "<s>|[||h||]|</s>"


def test_the_bytes_of_a_character_are_named(bpe):
    rows = zip("ðŁĻĤ", ("f0", "9f", "99", "82"))
    assert lines(bpe, "🙂")[6:10] == [f"{bpe.token_to_id(token):>8}  {token}      byte {byte} of 🙂" for token, byte in rows]
    tok = ByteLevelBPE([*byte_characters(), "Ġð"], [("Ġ", "ð")], [])
    assert lines(tok, " 🙂")[-4].endswith("bytes 20 f0 of ·🙂")


def test_a_tokenizer_says_what_it_is(bpe, wordpiece):
    assert repr(bpe) == "ByteLevelBPE(265 tokens, 5 of them special)" and repr(wordpiece) == "WordPiece(17 tokens, 5 of them special)"


def test_the_longest_tokens_of_letters_stand_beside_rows_of_dots():
    merges = [(".", "."), ("..", ".."), ("Ġ", "h"), ("Ġh", "u")]
    tok = ByteLevelBPE([*byte_characters(), *map("".join, merges)], merges, [])
    facts = statistics(tok)
    assert facts["longest_tokens"][:3] == ["....", "Ġhu", ".."] and facts["longest_of_letters"][:2] == ["Ġhu", "Ġh"]
    shown = lines(tok)
    assert shown[shown.index(f"{'longest':>14}  of letters") + 1].endswith("  ·hu")


def test_the_mask_shows_the_space_that_it_takes(bpe):
    assert "⟦h⟧·<mask></s>" in lines(bpe, "h <mask>")[2]


def test_an_empty_text_and_one_that_is_dropped_whole(bpe, wordpiece):
    assert lines(bpe, "")[:3] == ["2 tokens, 2 of them added; 0 characters", "", "<s></s>"]
    assert lines(wordpiece, " \t")[2] == "[CLS]·→[SEP]"


def test_a_vocabulary_without_the_templates_tokens_shows_what_it_has():
    gpt2 = ByteLevelBPE(["<|endoftext|>", *sorted(byte_characters())], [], ["<|endoftext|>"])
    assert lines(gpt2, "hi")[2] == "⟦h⟧⟦i⟧"
    assert collect_data(gpt2, "hi")["encoding"]["tokens"] == ["h", "i"]


def test_what_is_shown_cannot_upset_a_terminal(bpe, wordpiece):
    """Every character prints or is a line end; with colours, the only escape sequences are those of colours."""
    for text in [*wild_texts(300, seed=21), "\x1b[2J\x1b]0;title\x07\x9b31m\x08\r\x7f", "\u202eabc", "\u0301", "a\u2028b"]:
        for tokenizer in (bpe, wordpiece):
            for style in (PLAIN, COLOUR, TextStyle(True, ASCII)):
                shown = re.sub("\033\\[[0-9;]*m", "", "\n".join(lines(tokenizer, text, style=style)))
                assert all(char.isprintable() or char == "\n" for char in shown), ascii(text)
                if style.signs == ASCII:
                    shown.encode("ascii")


def test_the_pieces_are_the_text(bpe, wordpiece):
    for text in [*wild_texts(500, seed=22), STORY]:
        for tokenizer in (bpe, wordpiece):
            pieces = split_text(tokenizer, text)
            assert [piece.token for piece in pieces if piece.token] == tokenizer.encode(text).tokens
            if not any(piece.shared for piece in pieces):
                assert "".join(piece.text for piece in pieces[1:-1]) == text


def test_an_accent_by_itself_gets_a_letter_to_sit_on():
    assert PLAIN.visible("\u0301a\u0301") == "◌\u0301a\u0301"


def test_colours_are_for_terminals_that_want_them(monkeypatch):
    class Stream(io.StringIO):
        terminal, encoding = True, "utf-8"

        def isatty(self):
            return self.terminal
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    assert TextStyle.of(Stream()) == COLOUR
    monkeypatch.setenv("NO_COLOR", "1")
    assert TextStyle.of(Stream()) == PLAIN
    monkeypatch.setenv("NO_COLOR", "")  # no-color.org: "when present and not an empty string"
    assert TextStyle.of(Stream()) == COLOUR
    monkeypatch.setenv("TERM", "dumb")
    assert TextStyle.of(Stream()) == PLAIN
    Stream.terminal, Stream.encoding = False, "cp1252"
    assert TextStyle.of(Stream()) == TextStyle(False, ASCII)
    assert TextStyle.of(Stream()).visible("a é\n\u0301") == r"a_\u00e9\n\u0301"


# A word made step by step

def test_the_merges_of_a_word_by_hand(bpe):
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
        "      87  s"]
    assert merge_steps(bpe, "ugug") == (["u", "g", "u", "g"], [
        (0, "u", "g", 0, ["ug", "u", "g"]), (0, "u", "g", 1, ["ug", "ug"])])  # of equal ones the leftmost first


def test_each_word_of_a_text_is_made_apart(bpe):
    assert split_words(bpe, "hug's é") == ["hug", "'s", " é"]
    shown = lines(bpe, word="hug é")
    assert shown[0] == "hug  (3 bytes, 1 token)" and shown[9] == "·é  (3 bytes, 3 tokens)" and shown[12].split() == ["·", r"\xc3", r"\xa9"]


def test_the_tries_of_a_word_by_hand(wordpiece, monkeypatch):
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
        "       8  ##s"]


def test_a_word_is_unknown_where_nothing_fits_or_it_is_too_long(wordpiece):
    assert match_steps(wordpiece, "hum") == [(["hum", "hu"], "h"), (["##um", "##u"], None)]
    assert lines(wordpiece, word="hum")[2:] == [
        "found    tried before it, the longest first",
        "h        hum hu",
        "nothing  ##um ##u",
        "so the word is unknown",
        "",
        "       1  [UNK]"]
    assert lines(wordpiece, word="h" * 13)[2] == "longer than 12 characters, so it is unknown"


def test_tries_are_wrapped_to_the_terminal(wordpiece, monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    assert lines(wordpiece, word="hugbedding")[2:6] == [
        "found    tried before it, the longest first",
        "hug      hugbedding hugbeddin hugbeddi hugbedd",
        "         hugbed hugbe hugb",
        "##bed    ##bedding ##beddin ##beddi ##bedd"]


def test_an_added_token_is_never_cut(bpe):
    assert lines(bpe, word="<mask>") == ["<mask> is token 4, an added token, which is never split"]


@pytest.mark.parametrize("word", ["", " ", "\u200b"])
def test_where_there_is_no_word_the_error_says_so(wordpiece, word):
    with pytest.raises(ValueError, match="there is no word in it"):
        lines(wordpiece, word=word)


def test_the_steps_lead_where_the_encoders_go():
    texts = wild_texts(200, seed=23) + STORY.split()
    for tokenizer in (ByteLevelBPE.train_from_iterator(texts, 1000, show_progress=False),
                      WordPiece.train_from_iterator(texts, 3000, show_progress=False)):
        for text in texts:
            if words_or_none(tokenizer, text):
                assert [i for word in word_steps(tokenizer, text) for i in word["ids"]] == tokenizer.encode_ids(text)


def words_or_none(tokenizer, text):
    try:
        return split_words(tokenizer, text)
    except ValueError:
        return None


def test_the_word_is_what_the_tokenizer_makes_of_it_a_space_before_or_a_composed_letter(bpe):
    spaced = ByteLevelBPE(list(bpe.get_vocab()), MERGES, add_prefix_space=True, unicode_form="NFC")
    assert split_words(spaced, "hug") == [" hug"] and word_steps(spaced, "hug")[0]["tokens"] == ["Ġhug"]
    assert split_words(spaced, "e\u0301") == [" \xe9"]


# The statistics of a vocabulary

def test_statistics_of_a_byte_level_vocabulary_by_hand(bpe):
    facts = statistics(bpe)
    assert facts["vocab_size"] == 265 and facts["made_of"] == {"bytes": 256, "merges": 4}
    assert facts["special_tokens"] == {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": 4}
    assert facts["begin_a_word"] == 2  # Ġ and Ġhug
    assert facts["lengths"] == {1: 256, 2: 2, 3: 1, 4: 1}
    assert facts["longest_tokens"][:4] == ["Ġhug", "hug", "ug", "ĊĊ"]
    assert facts["fingerprint"] == bpe.fingerprint


def test_statistics_of_word_pieces_by_hand(wordpiece):
    facts = statistics(wordpiece)
    # h , ᄒ ## | ##s ##e ##ᅡ ##ᆫ | hug em ##bed ##ding
    assert facts["made_of"] == {"characters": 3, "characters inside words": 4, "longer pieces": 5}
    assert facts["begin_a_word"] == 6  # h , ᄒ hug em, and ##, which nothing stands before
    assert facts["lengths"] == {1: 7, 2: 2, 3: 2, 4: 1} and facts["longest_tokens"][:3] == ["##ding", "##bed", "hug"]


def test_the_vocabulary_at_a_glance(bpe):
    assert lines(bpe)[:8] == [
        "          kind  byte-level BPE",
        "        tokens  265",
        "special tokens  <s> 0, <pad> 1, </s> 2, <unk> 3, <mask> 4",
        "       made of  256 bytes, 4 merges",
        "  begin a word  2 (1% of all but added tokens)",
        "      settings  add_prefix_space False",
        f"   fingerprint  {bpe.fingerprint}",
        ""]
    assert lines(bpe)[8:15] == [
        "        length  tokens (in bytes, with the space before)",
        "             1      256 " + "█" * 40,
        "             2        2",
        "             3        1",
        "             4        1",
        "",
        "       longest  tokens"]
    assert lines(bpe)[15] == "           263  ·hug"


def test_tokens_longer_than_the_histogram_are_in_its_last_row():
    tok = WordPiece(["[UNK]", *("a" * length for length in (1, 15, 16, 40, 90))], ["[UNK]"])
    assert lines(tok)[-9:-7] == ["            15        1 " + "█" * 13, "           16+        3 " + "█" * 40]
    assert lines(tok)[-5] == "             5  " + "a" * 60 + "…"


def test_a_vocabulary_of_nothing_but_an_unknown_token():
    tok = WordPiece(["[UNK]"], ["[UNK]"])
    assert lines(tok)[3:5] == ["       made of  0 characters, 0 characters inside words, 0 longer pieces", "  begin a word  0"]
    assert lines(tok, "a b")[2] == "⟦a⟧?·⟦b⟧?"


def test_all_of_it_for_programs(bpe, wordpiece):
    data = json.loads(json.dumps(collect_data(bpe, "hugs", "hug")))
    assert data["encoding"]["ids"] == [0, 262, 87, 2] and data["vocab_size"] == 265
    assert data["words"] == [{"word": "hug", "tokens": ["hug"], "ids": [262], "steps": [
        {"rank": 0, "left": "u", "right": "g", "pieces": ["h", "ug"]}, {"rank": 1, "left": "h", "right": "ug", "pieces": ["hug"]}]}]
    assert "words" not in collect_data(bpe, "hugs") and "encoding" not in collect_data(bpe)
    assert collect_data(wordpiece, None, "hugs")["words"][0]["steps"] == [{"tried": ["hugs"], "found": "hug"}, {"tried": [], "found": "##s"}]
