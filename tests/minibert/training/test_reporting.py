"""What a run shows of a batch before training, and which masks it fills at the end."""
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from train_helpers import start

import train
from minibert.analysis.probes import masked_passages, word_to_mask
from minibert.batches import Batch
from minibert.presets import PRESETS, override
from minibert.training.reporting import (
    masked_example,
    print_expectations,
    recorded_result,
)
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


MADE_FROM = "Python 3.11.7, torch 2.13.0, numpy 2.4.6"


@pytest.fixture
def recorded(monkeypatch):
    """The result on record, and the notes of the corpus that it came from."""
    notes = {"text_fingerprint": "b0a1c8f2", "made_from": MADE_FROM}
    result = {"loss": 2.914, "accuracy": 0.4862, "steps": 2507, "date": "2026-11-30",
              "machine": "two cores of a laptop", **notes}
    monkeypatch.setattr("minibert.training.reporting.QUICKSTART_RESULT", result)
    return notes


def quickstart(**changes):
    model_config, config = PRESETS["quickstart"]
    return SimpleNamespace(model_config=model_config, config=replace(config, **changes))


def test_the_quickstart_on_the_recorded_text_names_the_recorded_result(recorded):
    assert recorded_result(quickstart(), recorded) == [
        "At the end about 2.91 nats and a masked accuracy of 48.6%: the result of 2,507 steps",
        "on two cores of a laptop (2026-11-30). More steps give a lower loss."]


@pytest.mark.parametrize("made_from, difference", [
    ("Python 3.12.4, torch 2.13.0, numpy 2.3.1",
     "Python 3.12.4 instead of 3.11.7, numpy 2.3.1 instead of 2.4.6."),
    (MADE_FROM, "the same versions with other files."),
])
def test_the_quickstart_on_another_text_says_what_differs(recorded, made_from, difference):
    notes = {"text_fingerprint": "00000000", "made_from": made_from}
    lines = recorded_result(quickstart(precision="fp32", device="cpu"), notes)
    assert lines[:2] == recorded_result(quickstart(), recorded)
    assert lines[2:] == [f"Your text differs slightly, and so will your result: {difference}"]


def test_other_settings_and_own_corpora_have_no_recorded_result(recorded):
    assert recorded_result(quickstart(minutes=1), recorded) == []
    assert recorded_result(quickstart(corpus="kant"), {"left_out": "40 .py"}) == []


class PreparedTrainer(train.Trainer):
    """Prints what it would print before training, and stops."""

    def fit(self):
        print_expectations(self)


def test_a_plain_run_prints_what_its_text_is_made_from(tmp_path, monkeypatch, capsys):
    (tmp_path / "modules").mkdir()
    for i in range(60):
        source = f'"""Return the number {i} as it was given by the caller."""'
        (tmp_path / f"modules/m{i}.py").write_text(source)
    monkeypatch.setattr("data.sources.pydocs.module_paths", lambda: [tmp_path / "modules"])
    monkeypatch.setattr("minibert.training.preparation.CACHE", tmp_path)
    model, config = PRESETS["quickstart"]
    small = (replace(model, hidden_size=16, num_hidden_layers=1, vocab_size=300),
             override(config, {"max_steps": 1, "max_length": 16}))
    monkeypatch.setitem(PRESETS, "quickstart", small)
    start(["--out", str(tmp_path / "run")], PreparedTrainer)
    printed = capsys.readouterr().out
    for line in ("made from   Python ", "            At the end about ",
                 "            Your text differs slightly, and so will your result: "):
        assert f"\n{line}" in printed
