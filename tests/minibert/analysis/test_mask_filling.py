"""Filled masks, as a function and as a command, and the passages to ask about."""
import json
import sys

import numpy as np
import pytest
import torch
from reading_models import constant_model, saved

from minibert.analysis.mask_filling import fill_all, fill_each_mask, fill_mask, main
from minibert.analysis.probes import masked_passages
from minibert.config import BertConfig
from minibert.model import BertForMaskedLM, BertModel
from tokenizer import ByteLevelBPE, WordPiece

TEXTS = [
    "Return a new list object.",
    "Return a new dict object.",
    "Human thinking involves human reason.",
]
RETURN = "Return a new <mask> object."
HUMAN = "Human thinking involves human <mask>."


def trained_model(tokenizer_class, family):
    """Return a model that knows the three sentences by heart, and its tokenizer."""
    torch.manual_seed(0)
    tokenizer = tokenizer_class.train_from_iterator(TEXTS * 20, 400, show_progress=False)
    model = BertForMaskedLM(BertConfig(
        family=family,
        vocab_size=tokenizer.vocab_size,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=20,
        pad_token_id=tokenizer.pad_token_id,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    ))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    encodings = tokenizer.encode_batch(TEXTS * 8, padding=True)
    ids = torch.tensor([encoding.ids for encoding in encodings])
    mask = torch.tensor([encoding.attention_mask for encoding in encodings])
    for _ in range(100):
        masked = (torch.rand(ids.shape) < 0.2) & (mask == 1)
        labels = torch.where(masked, ids, -100)
        input_ids = torch.where(masked, tokenizer.mask_token_id, ids)
        optimizer.zero_grad()
        model(input_ids, mask, labels=labels).loss.backward()
        optimizer.step()
    return model, tokenizer


@pytest.fixture(scope="module")
def bpe():
    return trained_model(ByteLevelBPE, "roberta")


@pytest.fixture(scope="module")
def wordpiece():
    return trained_model(WordPiece, "bert")


@pytest.fixture(scope="module")
def run(bpe, tmp_path_factory):
    return saved(tmp_path_factory.mktemp("run"), *bpe)


# The function


def test_answers_are_sorted_by_probability(bpe):
    model, tokenizer = bpe
    model.train()
    answers = fill_mask(model, tokenizer, HUMAN)
    assert model.training
    assert len(answers) == 5
    best = answers[0]
    assert best["score"] > 0.5
    assert best["token"] == tokenizer.token_to_id("Ġreason")
    assert best["token_str"] == " reason"
    assert best["sequence"] == "Human thinking involves human reason."
    scores = [answer["score"] for answer in answers]
    assert scores == sorted(scores, reverse=True)


def test_all_tokens_but_the_special_ones_are_answers(bpe):
    model, tokenizer = bpe
    answers = fill_mask(model, tokenizer, RETURN, top_k=10**6)
    ordinary = set(range(tokenizer.vocab_size)) - set(tokenizer.special_ids)
    assert sorted(answer["token"] for answer in answers) == sorted(ordinary)
    assert 0.99 < sum(answer["score"] for answer in answers) < 1
    assert {answer["token_str"] for answer in answers[:2]} == {" list", " dict"}


def test_the_likeliest_token_is_no_answer_if_it_is_special(wordpiece):
    _, tokenizer = wordpiece
    model = constant_model(tokenizer, {"[SEP]": 0.6, "[UNK]": 0.2, "reason": 0.1})
    answer, = fill_mask(model, tokenizer, "human [MASK]", top_k=1)
    assert answer["token_str"] == "reason"
    assert answer["score"] == pytest.approx(0.1, rel=1e-4)


def test_wordpiece_fills_its_own_mask(wordpiece):
    answer = fill_mask(*wordpiece, "Human thinking involves human [MASK].", top_k=1)[0]
    assert answer["token_str"] == "reason"
    assert answer["sequence"] == "human thinking involves human reason."


def test_all_spellings_of_a_mask_mean_the_same(bpe, wordpiece):
    assert fill_mask(*bpe, RETURN) == fill_mask(*bpe, "Return a new [MASK] object.")
    assert fill_mask(*bpe, RETURN) == fill_mask(*bpe, "Return a new<mask> object.")
    mixed = "human <mask> involves [MASK]."
    same = "human [MASK] involves [MASK]."
    assert fill_mask(*wordpiece, mixed) == fill_mask(*wordpiece, same)


def test_several_masks_get_a_list_each_and_other_masks_stay_visible(bpe, wordpiece):
    first, second = fill_mask(*bpe, "Return a new <mask> <mask>.", top_k=2)
    assert len(first) == len(second) == 2
    assert first[0]["sequence"].endswith(" <mask>.")
    assert second[0]["sequence"] == "Return a new <mask> object."
    first, second = fill_mask(*wordpiece, "human [MASK] involves [MASK] reason.", top_k=1)
    assert first[0]["sequence"] == "human thinking involves [MASK] reason."
    assert second[0]["sequence"] == "human [MASK] involves human reason."


def test_targets_restrict_the_choice_but_not_the_probabilities(bpe, wordpiece):
    answers = fill_mask(*bpe, RETURN, targets=["reason", " dict", "list", "list"])
    assert {answer["token_str"] for answer in answers[:2]} == {" list", " dict"}
    assert [answer["token_str"] for answer in answers[2:]] == [" reason"]
    assert sum(answer["score"] for answer in answers) < 1
    text = "Return a new [MASK] object."
    answers = fill_mask(*wordpiece, text, targets=["Reason", "list"], top_k=1)
    assert [answer["token_str"] for answer in answers] == ["list"]


def test_a_target_without_a_space_is_the_likelier_of_its_two_tokens(bpe):
    text = "Return <mask> new list object."
    scores = {one["token_str"]: one["score"] for one in fill_mask(*bpe, text, top_k=10**6)}
    answer, = fill_mask(*bpe, text, targets=["a"])
    assert answer["score"] == max(scores["a"], scores[" a"])
    answer, = fill_mask(*bpe, text, targets=[" a"])
    assert answer["token_str"] == " a"


def test_targets_that_are_not_one_token_are_named(bpe, wordpiece):
    with pytest.raises(ValueError, match=r"the target 'quack' is not one token .*\(Ġ q u a c k\)"):
        fill_mask(*bpe, "a <mask>", targets=["list", "quack"])
    with pytest.raises(ValueError, match=r"'☃' is not one token .*\(\[UNK\]\)"):
        fill_mask(*wordpiece, "a [MASK]", targets=["☃"])


def test_a_text_without_a_mask_is_rejected_with_an_example(bpe, wordpiece):
    with pytest.raises(ValueError, match='^no <mask> in the text: write e.g. "Return a new <mask>'):
        fill_mask(*bpe, "Return a new MASK object.")
    with pytest.raises(ValueError, match="no .MASK. in the text"):
        fill_mask(*wordpiece, "")


def test_a_model_that_cannot_fill_masks_is_rejected(bpe, wordpiece):
    with pytest.raises(ValueError, match="pads with id 0, model with 1"):
        fill_mask(bpe[0], wordpiece[1], "a [MASK]")
    with pytest.raises(ValueError, match="no head that fills masks"):
        fill_mask(BertModel(bpe[0].config), bpe[1], "a <mask>")
    with pytest.raises(ValueError, match="top_k is 0"):
        fill_mask(*bpe, "a <mask>", top_k=0)


# Passages to ask about


@pytest.mark.parametrize("text, expected", [
    ("##ing . the dog sat on the red mat the dog sat on the red",
     "the dog sat on the red [MASK] the dog sat on the red"),
    ("##ing . the dog sat on", "the dog [MASK] on"),
    ("the dog ##s ##s mat", "[MASK] dogss mat"),  # a word of several tokens is not masked
])
def test_a_passage_begins_with_a_sentence_or_a_word(text, expected):
    words = "[PAD] [UNK] [CLS] [SEP] [MASK] ##ing ##s . the dog sat on red mat".split()
    tokenizer = WordPiece(words)
    example = np.array([words.index(word) for word in ["[CLS]", *text.split(), "[SEP]"]])
    assert masked_passages([example], tokenizer) == [expected]


def test_a_passage_is_part_of_one_text():
    words = "[PAD] [UNK] [CLS] [SEP] [MASK] the dog sat on red mat".split()
    text = "[CLS] red mat [SEP] the dog [UNK] sat on [SEP] red [SEP]"
    example = np.array([words.index(word) for word in text.split()])
    assert masked_passages([example], WordPiece(words)) == ["the [MASK] [UNK] sat on"]


# The command


def test_an_empty_line_separates_masks(run, capsys):
    main([str(run), "Return a <mask> <mask> object.", HUMAN, "--top-k", "2"])
    lines = capsys.readouterr().out.splitlines()
    assert [bool(line) for line in lines] == [True, True, False] * 2 + [True, True]
    score, sequence = lines[-2].split(maxsplit=1)
    assert 50 < float(score.rstrip("%")) <= 100
    assert sequence == "Human thinking involves human reason."


def test_a_predicted_line_end_does_not_break_the_line(run, capsys):
    main([str(run), "Return <mask> list", "--top-k", "100000"])
    lines = capsys.readouterr().out.splitlines()
    assert any(line.endswith("Return↵ list") for line in lines)


def test_json_is_what_the_function_returns_and_flags_may_be_anywhere(run, bpe, capsys):
    main([str(run), "--json", RETURN, "--targets", "list,dict", "<mask> <mask>"])
    one, two = map(json.loads, capsys.readouterr().out.splitlines())
    expected = fill_mask(*bpe, RETURN, targets=["list", "dict"])
    assert [answer["sequence"] for answer in one] == [answer["sequence"] for answer in expected]
    assert [len(answers) for answers in two] == [2, 2]


@pytest.mark.parametrize("texts", [[], ["-"]])
def test_texts_are_read_from_standard_input(texts, run, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", iter(["Return <mask>\n", "\n", "a <mask>\n"]))
    main([str(run), *texts, "--top-k", "1"])
    assert len(capsys.readouterr().out.splitlines()) == 3  # two answers, an empty line between them


def test_a_line_of_standard_input_without_a_mask_is_named(run, monkeypatch):
    monkeypatch.setattr(sys, "stdin", iter(["Return <mask>\n", "\n", "no mask\n"]))
    with pytest.raises(ValueError, match="^standard input:3: no <mask> in the text"):
        main([str(run)])


# All masks of a text, one after another

TWO_MASKS = "Return a <mask> dict <mask>."


def test_the_surest_mask_is_filled_first_and_is_context_for_the_next(bpe):
    model, tokenizer = bpe
    first, second = fill_all(model, tokenizer, TWO_MASKS)
    left, right = (answers[0] for answers in fill_each_mask(model, tokenizer, TWO_MASKS, 1))
    assert first == max(left, right, key=lambda answer: answer["score"])
    assert second == fill_mask(model, tokenizer, first["sequence"], top_k=1)[0]
    assert "<mask>" not in second["sequence"]


def test_filling_all_of_a_text_without_a_mask_is_an_error(bpe):
    with pytest.raises(ValueError, match="no <mask> in the text"):
        fill_all(*bpe, "Return a new dict object.")


def test_the_command_fills_all_masks_of_a_text(run, capsys):
    main([str(run), "--all", TWO_MASKS])
    lines = capsys.readouterr().out.splitlines()
    assert ["<mask>" in line for line in lines] == [True, False]


def test_filling_all_takes_no_other_answers(run, capsys):
    with pytest.raises(SystemExit):
        main([str(run), "--all", TWO_MASKS, "--top-k", "3"])
    assert "leave out --top-k" in capsys.readouterr().err
