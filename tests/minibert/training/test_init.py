"""train.py --init: a run that goes on from a model that is there, as a user starts it."""
import json
import shutil

import pytest
import torch
from test_distributed import together
from train_helpers import PAIRS, losses, run, same, stop_after, weights

import train
from minibert import from_pretrained, save_pretrained
from minibert.formats.run_folder import load_run
from minibert.model import BertModel
from tokenizer import load_tokenizer

SMALL = "--max-length 16 --batch-size 4 --device cpu --precision fp32 --log-every 1 --eval-every 0 --eval-examples 8".split()


@pytest.fixture(scope="module")
def first(text, tmp_path_factory):
    """A run that has learned a little."""
    folder = tmp_path_factory.mktemp("first") / "run"
    assert run(text, folder, "--max-steps", "40", "--learning-rate", "1e-2", "--examples", "lines", "--family", "bert",
               "--type-vocab-size", "2") == 0
    return folder


def start(text, init, out, *flags):
    return train.main([*SMALL, "--init", str(init), "--corpus", str(text), "--out", str(out), "--examples", "lines", *flags])


def test_a_run_begins_with_the_weights_of_another_and_a_new_optimiser(text, first, tmp_path, capsys):
    assert start(text, first, tmp_path / "run", "--max-steps", "4", "--hidden-dropout-prob", "0.2") == 0
    begin = tmp_path / "run/checkpoints/step-0000000"
    assert same(from_pretrained(begin).state_dict(), weights(first))
    assert not torch.load(begin / "optimizer.pt", weights_only=True)["state"] and json.loads((begin / "state.json").read_text())["elapsed"] == 0
    assert not same(weights(tmp_path / "run"), weights(first)) and load_run(tmp_path / "run")[0].config.hidden_dropout_prob == 0.2
    assert load_tokenizer(tmp_path / "run/tokenizer").fingerprint == load_tokenizer(first / "tokenizer").fingerprint
    assert losses(tmp_path / "run")[0][1] < losses(first)[0][1] - 0.5  # it knows what the first run has learned
    screen = capsys.readouterr().out
    assert f"(from {first})" in screen and f"\nweights     from {first}\n" in screen
    assert "a first loss far below the unigram entropy" in screen and "expected about" not in screen


def test_a_run_that_was_stopped_goes_on_without_the_folder_that_it_began_with(text, first, tmp_path, monkeypatch):
    """Even before its first step: then the same as one that was never stopped."""
    init = tmp_path / "init"
    shutil.copytree(first, init)
    assert start(text, init, tmp_path / "whole", "--max-steps", "3") == 0
    for steps in (0, 2):
        stop_after(monkeypatch, steps)
        assert start(text, init, tmp_path / f"stopped-{steps}", "--max-steps", "3") == 130
    stop_after(monkeypatch, None)
    shutil.rmtree(init)
    for steps in (0, 2):
        out = tmp_path / f"stopped-{steps}"
        assert train.main(["--resume", "--out", str(out)]) == 0
        assert losses(out) == losses(tmp_path / "whole") and same(weights(out), weights(tmp_path / "whole"))
    with pytest.raises(ValueError, match=f"init: {init} in the run, {first} now"):
        train.main(["--resume", "--out", str(out), "--init", str(first)])


def test_an_encoder_without_a_head_starts_pairs(text, first, tmp_path, capsys):
    """As one is published: no head, and of the tokenizer tokenizer.json alone."""
    model, tokenizer = load_run(first)
    encoder = BertModel(model.config)
    encoder.load_state_dict(model.bert.state_dict())
    save_pretrained(encoder, tmp_path / "encoder", tokenizer)
    (tmp_path / "encoder/vocab.json").unlink()
    (tmp_path / "encoder/merges.txt").unlink()
    assert start(text, tmp_path / "encoder", tmp_path / "run", "--max-steps", "2", *PAIRS) == 0
    assert "; fresh: the pooler, the MLM head, the next-sentence head\n" in capsys.readouterr().out
    assert load_run(tmp_path / "run")[0].nsp is not None


@pytest.mark.parametrize("flags, message", [
    (["--max-steps", "2", "--hidden-size", "32", "--family", "roberta"],
     "family: bert in the folder, roberta now; hidden_size: 16 in the folder, 32 now"),
    (["--max-steps", "2", "--tokenizer-kind", "wordpiece"], "tokenizer_kind: bpe in the folder, wordpiece now"),
    (["--max-steps", "2", "--preset", "kant"], "--preset kant starts from fresh weights"),
    ([], "how long"),
    (["--max-steps", "2", "--max-length", "1000"], "max_length: at most 128 in the folder, 1000 now. Leave"),
])
def test_what_contradicts_the_folder_is_refused_and_leaves_no_run(text, first, tmp_path, flags, message):
    with pytest.raises(ValueError, match=message):
        start(text, first, tmp_path / "run", *flags)
    assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_no_model_is_refused(text, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: not a run directory"):
        start(text, tmp_path / "empty", tmp_path / "run", "--max-steps", "2")
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        start(text, tmp_path / "nowhere", tmp_path / "run", "--max-steps", "2")
    assert not (tmp_path / "run").exists()


def test_a_run_without_a_name_is_called_init(first, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert train.main(["--init", str(first), "--max-steps", "2", "--show"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["preset"] == "init" and shown["model"]["hidden_size"] == 16
    assert (shown["train"]["learning_rate"], shown["train"]["optimizer"]) == (1e-4, "adamw")


def test_two_ranks_begin_with_the_same_weights(text, first, tmp_path):
    flags = ["--max-steps", "3", "--hidden-dropout-prob", "0", "--attention-probs-dropout-prob", "0"]
    assert start(text, first, tmp_path / "one", *flags) == 0
    codes, failed = together(2, lambda rank: start(text, first, tmp_path / "two", *flags))
    assert codes == [0, 0], failed
    for one, two in zip(losses(tmp_path / "one"), losses(tmp_path / "two"), strict=True):
        assert two == pytest.approx(one, rel=1e-5, abs=1e-5)
