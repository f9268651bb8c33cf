"""Filled masks: from Python, from a run directory, and from the command line."""
import json
import sys

import pytest
import torch

from minibert.analysis.mask_filling import fill_mask, main
from minibert.config import BertConfig
from minibert.formats.huggingface import save_pretrained
from minibert.formats.run_folder import load_run
from minibert.model import BertForMaskedLM, BertModel
from tokenizer import ByteLevelBPE, WordPiece
from tokenizer.utils import cli

TEXTS = ["Return a new list object.", "Return a new dict object.", "Human thinking involves human reason."] * 20
FAMILY = {"bpe": "roberta", "wordpiece": "bert"}


def tiny(kind):
    """A tokenizer of these words, and a model that has learned the three sentences by heart."""
    torch.manual_seed(0)
    train = ByteLevelBPE.train_from_iterator if kind == "bpe" else WordPiece.train_from_iterator
    tokenizer = train(TEXTS, vocab_size=400, show_progress=False)
    model = BertForMaskedLM(BertConfig(family=FAMILY[kind], vocab_size=tokenizer.vocab_size, hidden_size=32, num_hidden_layers=1,
                                       num_attention_heads=2, intermediate_size=64, max_position_embeddings=20, pad_token_id=tokenizer.pad_token_id,
                                       hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    encodings = tokenizer.encode_batch(TEXTS[:3] * 8, padding=True)
    ids, mask = (torch.tensor([getattr(e, name) for e in encodings]) for name in ("ids", "attention_mask"))
    for _ in range(100):
        labels = torch.where((torch.rand(ids.shape) < 0.2) & (mask == 1), ids, -100)
        optimizer.zero_grad()
        model(torch.where(labels == -100, ids, tokenizer.mask_token_id), mask, labels=labels).loss.backward()
        optimizer.step()
    return model, tokenizer


@pytest.fixture(scope="module")
def bpe():
    return tiny("bpe")


@pytest.fixture(scope="module")
def wordpiece():
    return tiny("wordpiece")


@pytest.fixture(scope="module")
def run(bpe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    save_pretrained(bpe[0], folder / "model")
    bpe[1].save(folder / "tokenizer")
    return folder


# From Python


def test_the_answers_are_sorted_probabilities_with_their_sentences(bpe):
    model, tokenizer = bpe
    answers = fill_mask(model, tokenizer, "Human thinking involves human <mask>.")
    assert len(answers) == 5 and list(answers[0]) == ["score", "token", "token_str", "sequence"]
    assert answers[0]["token_str"] == " reason" and answers[0]["sequence"] == "Human thinking involves human reason."
    assert tokenizer.token_to_id("Ġreason") == answers[0]["token"] and answers[0]["score"] > 0.5
    scores = [answer["score"] for answer in answers]
    assert scores == sorted(scores, reverse=True)
    everything = fill_mask(model, tokenizer, "Return a new <mask> object.", top_k=10**6)
    assert len(everything) == tokenizer.vocab_size and sum(answer["score"] for answer in everything) == pytest.approx(1, abs=1e-4)
    assert {answer["token_str"] for answer in everything[:2]} == {" list", " dict"}


def test_wordpiece_fills_its_own_mask(wordpiece):
    answer = fill_mask(*wordpiece, "Human thinking involves human [MASK].", top_k=1)[0]
    assert answer["token_str"] == "reason" and answer["sequence"] == "human thinking involves human reason."


def test_a_space_before_the_mask_makes_no_difference(bpe):
    assert fill_mask(*bpe, "Return a new<mask> object.") == fill_mask(*bpe, "Return a new <mask> object.")


def test_a_mask_may_be_written_as_any_tokenizer_writes_it(bpe, wordpiece):
    assert fill_mask(*bpe, "Return a new [MASK] object.") == fill_mask(*bpe, "Return a new <mask> object.")
    assert fill_mask(*wordpiece, "human <mask> involves [MASK].") == fill_mask(*wordpiece, "human [MASK] involves [MASK].")


def test_several_masks_get_a_list_each_and_stay_visible_in_the_others(bpe, wordpiece):
    first, second = fill_mask(*bpe, "Return a new <mask> <mask>.", top_k=2)
    assert len(first) == len(second) == 2
    assert second[0]["sequence"] == "Return a new <mask> object." and first[0]["sequence"].endswith(" <mask>.")
    first, second = fill_mask(*wordpiece, "human [MASK] involves [MASK] reason.", top_k=1)
    assert first[0]["sequence"] == "human thinking involves [MASK] reason." and second[0]["sequence"] == "human [MASK] involves human reason."


def test_targets_restrict_the_choice(bpe, wordpiece):
    answers = fill_mask(*bpe, "Return a new <mask> object.", targets=["reason", " dict", "list", "list"])
    assert {answer["token_str"] for answer in answers[:2]} == {" list", " dict"} and answers[2]["token_str"] == " reason"
    assert len(answers) == 3 and sum(answer["score"] for answer in answers) < 1  # probabilities of the whole vocabulary
    answers = fill_mask(*wordpiece, "Return a new [MASK] object.", targets=["Reason", "list"], top_k=1)
    assert [answer["token_str"] for answer in answers] == ["list"]


def test_a_target_without_a_space_is_the_likelier_of_its_two_tokens(bpe):
    model, tokenizer = bpe
    assert {tokenizer.token_to_id("R"), tokenizer.token_to_id("a"), tokenizer.token_to_id("Ġa")}.isdisjoint({None})
    every = {a["token_str"]: a["score"] for a in fill_mask(model, tokenizer, "Return <mask> new list object.", top_k=10**6)}
    answer = fill_mask(model, tokenizer, "Return <mask> new list object.", targets=["a"])
    assert len(answer) == 1 and answer[0]["score"] == max(every["a"], every[" a"])
    assert fill_mask(model, tokenizer, "Return <mask> new list object.", targets=[" a"])[0]["token_str"] == " a"


def test_unknown_targets_are_named(bpe, wordpiece):
    with pytest.raises(ValueError, match="not one token of the vocabulary: 'quack' .Ġ q u a c k., '<mask>'"):
        fill_mask(*bpe, "a <mask>", targets=["list", "quack", "<mask>"])
    with pytest.raises(ValueError, match=r"not one token of the vocabulary: '☃' \(\[UNK\]\)"):
        fill_mask(*wordpiece, "a [MASK]", targets=["☃"])
    with pytest.raises(ValueError, match="targets is empty"):
        fill_mask(*bpe, "a <mask>", targets=[])


def test_a_text_without_a_mask_is_told_what_one_looks_like(bpe, wordpiece):
    with pytest.raises(ValueError, match='^no <mask> in the text: write e.g. "Return a new <mask> object."$'):
        fill_mask(*bpe, "Return a new MASK object.")
    with pytest.raises(ValueError, match="no .MASK. in the text"):
        fill_mask(*wordpiece, "")


def test_a_text_too_long_for_the_model_is_refused(bpe):
    limit = bpe[0].config.max_length
    assert fill_mask(*bpe, " a" * (limit - 3) + " <mask>")
    with pytest.raises(ValueError, match=f"the text has {limit + 1} tokens, the model takes {limit} at most"):
        fill_mask(*bpe, " a" * (limit - 2) + " <mask>")


def test_wrong_partners_are_refused(bpe, wordpiece):
    with pytest.raises(ValueError, match="tokenizer has .* ids, model was built for"):
        fill_mask(bpe[0], wordpiece[1], "a [MASK]")
    with pytest.raises(ValueError, match="no head that fills masks"):
        fill_mask(BertModel(bpe[0].config), bpe[1], "a <mask>")
    with pytest.raises(ValueError, match="top_k is 0"):
        fill_mask(*bpe, "a <mask>", top_k=0)


def test_a_model_in_training_stays_so(bpe):
    bpe[0].train()
    fill_mask(*bpe, "a <mask>")
    assert bpe[0].training
    bpe[0].eval()


# A run directory


def test_a_run_directory_a_plain_folder_and_a_checkpoint_load(run, bpe, tmp_path):
    text = "Return a new <mask> object."
    expected = fill_mask(*bpe, text)
    plain = tmp_path / "plain"
    save_pretrained(bpe[0], plain, bpe[1])
    unfinished = tmp_path / "unfinished"
    bpe[1].save(unfinished / "tokenizer")
    (unfinished / "model").mkdir()  # an empty one is as good as none
    for step, broken in ((5, True), (90, True), (1000, False)):
        folder = unfinished / "checkpoints" / f"step-{step:07d}"
        save_pretrained(BertForMaskedLM(bpe[0].config) if broken else bpe[0], folder)
    (unfinished / "checkpoints" / "step-0002000").mkdir()  # without weights: passed over
    for folder in (run, run / "model", plain, unfinished, unfinished / "checkpoints" / "step-0001000"):
        assert fill_mask(*load_run(folder), text) == expected, folder


# The command


def test_the_command_prints_five_lines_for_each_mask(run, capsys):
    main([str(run), "Human thinking involves human <mask>."])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5 and lines[0].endswith("  Human thinking involves human reason.") and 0.5 < float(lines[0].split()[0]) <= 1
    main([str(run), "Return a <mask> <mask> object.", "Return <mask>", "--top-k", "2"])
    assert [bool(line) for line in capsys.readouterr().out.splitlines()] == [True, True, False] * 2 + [True, True]
    main([str(run), "--top-k", "1", "Return <mask>", "--json", "a <mask>"])  # flags may stand anywhere
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_every_answer_is_one_line_even_where_a_line_end_is_predicted(run, bpe, capsys):
    main([str(run), "Return <mask> list", "--top-k", "100000"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == bpe[1].vocab_size and any(line.endswith(r"Return\n list") for line in lines)


def test_json_is_what_the_function_returns(run, bpe, capsys):
    main([str(run), "--json", "Return a new <mask> object.", "<mask> <mask>", "--targets", "list,dict"])
    one, two = map(json.loads, capsys.readouterr().out.splitlines())
    expected = fill_mask(*bpe, "Return a new <mask> object.", targets=["list", "dict"])
    assert [answer["sequence"] for answer in one] == [answer["sequence"] for answer in expected]
    assert len(two) == 2 and len(two[0]) == 2


@pytest.mark.parametrize("texts", [[], ["-"]])
def test_lines_of_standard_input_are_texts(texts, run, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", iter(["Return <mask>\n", "\n", "a <mask>\n"]))
    main([str(run), *texts, "--top-k", "1"])
    assert len(capsys.readouterr().out.splitlines()) == 3  # two answers, an empty line between them


def test_a_line_without_a_mask_is_named(run, monkeypatch):
    monkeypatch.setattr(sys, "stdin", iter(["Return <mask>\n", "\n", "no mask\n"]))
    with pytest.raises(ValueError, match="^standard input:3: no <mask> in the text"):
        main([str(run)])


def test_the_command_ends_with_one_line_on_bad_input(run, tmp_path, capsys, monkeypatch):
    def call(*args):
        monkeypatch.setattr(sys, "argv", ["fill_mask", *args])
        with pytest.raises(SystemExit) as end:
            cli.run(main)
        return end.value.code, capsys.readouterr().err

    assert call(str(run), "no mask") == ('error: no <mask> in the text: write e.g. "Return a new <mask> object."', "")
    error, _ = call(str(tmp_path), "a <mask>")
    assert error.startswith("error: ") and "\n" not in error
    for args in (("a <mask>", "--topk", "2"), ("--json", "a <mask>", "--topk", "2")):
        code, error = call(str(run), *args)
        assert code == 2 and error.startswith("error: unknown flag --topk: did you mean --top-k?")
