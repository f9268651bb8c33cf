"""What a run shows of a batch before training, and which masks it fills at the end."""
import pytest
import torch

from minibert.analysis.probes import masked_passages, word_to_mask
from minibert.batches import Batch
from minibert.training.reporting import masked_example
from minibert.training.samples import answer_line
from tokenizer import ByteLevelBPE, WordPiece
from tokenizer.utils.terminal import ASCII, TextStyle

VOCABULARY = "[PAD] [UNK] [CLS] [SEP] [MASK] the cat sat on mat blue ##s".split()


def example_lines(*rows):
    """Return the two lines for a batch of rows, written as words: "input", or "input<label"."""
    all_ids, all_labels = [], []
    longest = max(len(row.split()) for row in rows)
    for row in rows:
        ids, labels = [0] * longest, [-100] * longest
        for i, word in enumerate(row.split()):
            token, _, label = word.partition("<")
            ids[i] = VOCABULARY.index(token)
            labels[i] = VOCABULARY.index(label) if label else -100
        all_ids.append(ids)
        all_labels.append(labels)
    batch = Batch(torch.tensor(all_ids), torch.tensor(all_labels))
    return masked_example(batch, WordPiece(VOCABULARY), TextStyle())


def test_labels_are_shown_below_the_inputs():
    assert example_lines("[CLS] the [MASK]<cat ##s sat blue<on the<the mat [SEP]") == (
        "[CLS] the [MASK] ##s sat blue the mat [SEP]",
        "          cat            on   the")


def test_the_row_with_the_most_cases_is_shown_without_its_padding():
    """A random and an unchanged token are two cases, three masks are one."""
    masks = "[CLS] the [MASK]<cat sat [MASK]<on [MASK]<the mat [SEP]"
    assert example_lines(masks, "[CLS] blue<the cat<cat [SEP]") == (
        "[CLS] blue cat [SEP]",
        "      the  cat")


def test_a_long_row_is_cut_into_pieces():
    inputs, labels = example_lines(
        "[CLS] " + "the cat sat on the mat " * 24 + "[MASK]<cat blue<on the<the [SEP]")
    assert inputs.endswith("the mat [MASK] blue the")
    assert len(inputs) == 95  # " [SEP]" would end past column 96
    assert labels.strip() == "cat    on   the"


class Examples(list):
    lengths = property(lambda self: [len(ids) for ids in self])


@pytest.mark.parametrize("text, passage", [
    ("[CLS] the cat ##s ##s mat [SEP]", "[MASK]catssmat"),  # "cat" continues
    ("[CLS] cat ##s ##s [SEP]", "cat[MASK]s"),  # no word of one token: a piece is masked
])
def test_a_validation_passage_has_a_whole_word_masked_if_possible(text, passage):
    ids = [VOCABULARY.index(token) for token in text.split()]
    masked = masked_passages(Examples([ids]), WordPiece(VOCABULARY))[0]
    assert masked.replace(" ", "") == passage


def test_a_validation_passage_of_byte_pairs_has_a_whole_word_masked():
    """Not a part of "old", which was too rare for a merge."""
    texts = ["the cat the cat sat sat"] * 9 + ["old"]
    tokenizer = ByteLevelBPE.train_from_iterator(texts, vocab_size=300, show_progress=False)
    ids = tokenizer.encode("cat sat the old cat").ids
    assert len(ids) > 2 + 5
    assert masked_passages(Examples([ids]), tokenizer)[0] == "sat <mask> old cat"


@pytest.mark.parametrize("texts, position", [
    ("The|\n|fat| c|at| sat|.", 5),  # neither after a line end nor of two tokens
    ("3|\n|fat| c|at|.", 3),  # of two tokens, which is better than after a line end
    (" 12|\n|fat|\n|x1|.|\n", 2),  # nothing else has letters
    ("\n|.| 7|ing", 3),  # no whole word: a piece
    ("\n|.| 7", None),
])
def test_a_word_of_letters_in_mid_line_is_masked(texts, position):
    texts = texts.split("|")
    starts = [text not in ("at", "ing") for text in texts]
    word = word_to_mask(texts, starts, 0, len(texts))
    assert (word.start if word else None) == position


@pytest.mark.parametrize("text", [
    "one two three four five six seven\neight nine ten\n" * 30,  # no punctuation, hard-wrapped
    "one\ntwo\nthree\nfour\nfive\n" * 50,
])
def test_a_passage_of_any_text_has_a_whole_word_masked(text):
    tokenizer = ByteLevelBPE.train_from_iterator(["one two three four\n" * 9], 290,
                                                 show_progress=False)
    ids = tokenizer.encode(text).ids
    for passage in masked_passages(Examples([ids, ids[:40]]), tokenizer):
        words = set(text.split())
        assert passage.count("<mask>") == 1
        assert set(passage.split()[1:-1]) - {"<mask>"} <= words
        assert " <mask> " in f" {passage} "


@pytest.mark.parametrize("token, style, shown", [
    (" list", TextStyle(), "list"), ("list", TextStyle(), "list"),
    ("\n", TextStyle(), "↵"), (" ", TextStyle(), "·"), ("\x1b", TextStyle(), r"\u001b"),
    ("\n", TextStyle(signs=ASCII), r"\n"), ("é", TextStyle(signs=ASCII), r"\u00e9"),
])
def test_an_answer_is_visible_even_if_it_is_white_space(token, style, shown):
    answer = {"score": 0.314, "token_str": token}
    assert answer_line(answer, style) == f"    31.4%  {shown}"
