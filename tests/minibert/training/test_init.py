"""train.py --init: a run that starts from the weights of another model."""
import json
import shutil

import pytest
import torch
from train_helpers import (
    PAIRS,
    assert_close_runs,
    assert_same_runs,
    failing_in_step,
    losses,
    metrics,
    resume,
    run,
    run_ranks,
    same,
    start,
    weights,
)

import train
from minibert import from_pretrained, save_pretrained
from minibert.formats.run_folder import load_run
from minibert.model import BertModel
from tokenizer import load_tokenizer
from tokenizer.trainers.extend import extend

SHORT = ("--examples lines --max-length 16 --batch-size 4 --device cpu --precision fp32 "
         "--log-every 1 --eval-every 0 --eval-examples 8").split()


@pytest.fixture(scope="module")
def source(text, tmp_path_factory):
    """A run that has learned a little."""
    folder = tmp_path_factory.mktemp("source") / "run"
    flags = "--max-steps 20 --learning-rate 1e-2 --examples lines --family bert --type-vocab-size 2"
    assert run(text, folder, *flags.split()) == 0
    return folder


def run_from(source, text, out, *flags, trainer=None):
    argv = [*SHORT, "--init", str(source), "--corpus", str(text), "--out", str(out), *flags]
    return start(argv, trainer)


def test_a_run_starts_with_the_weights_of_another_and_a_new_optimizer(
        text, source, tmp_path, capsys):
    out = tmp_path / "run"
    assert run_from(source, text, out, "--max-steps", "4", "--hidden-dropout-prob", "0.2") == 0
    step_0 = out / "checkpoints/step-0000000"
    assert same(from_pretrained(step_0).state_dict(), weights(source))
    assert not torch.load(step_0 / "optimizer.pt", weights_only=True)["state"]
    assert not same(weights(out), weights(source))
    model, tokenizer = load_run(out)
    assert model.config.hidden_dropout_prob == 0.2
    assert tokenizer.fingerprint == load_tokenizer(source / "tokenizer").fingerprint
    assert losses(out)[0][1] < metrics(out)[0]["ln_vocab"] - 0.5  # it knows what the other learned
    assert "a first loss far below the unigram entropy" in capsys.readouterr().out


def test_a_first_step_moves_large_and_small_matrices_by_the_same_share(text, source, tmp_path):
    """Adam's first step moves each weight by its learning rate: here in proportion to its size."""
    model, tokenizer = load_run(source)
    mlp = model.bert.blocks[0].mlp
    mlp.up_proj.weight.data *= 10
    save_pretrained(model, tmp_path / "init", tokenizer)
    flags = "--max-steps 1 --warmup 0 --learning-rate 1e-4 --weight-decay 0 --adam-epsilon 1e-30"
    shares = {}
    for relative in ("--relative-rates", "--no-relative-rates"):
        out = tmp_path / relative
        assert run_from(tmp_path / "init", text, out, *flags.split(), relative) == 0
        after = from_pretrained(out / "model").bert.blocks[0].mlp
        for name in ("up_proj", "down_proj"):
            before = getattr(mlp, name).weight
            change = (getattr(after, name).weight - before).square().mean().sqrt()
            shares[relative, name] = (change / before.square().mean().sqrt()).item()
    # The middle of the only step: half of the peak, which is for a size of 0.02
    for name in ("up_proj", "down_proj"):
        assert shares["--relative-rates", name] == pytest.approx(0.5e-4 / 0.02, rel=0.02)
    plain = shares["--no-relative-rates", "down_proj"] / shares["--no-relative-rates", "up_proj"]
    assert plain > 5


def test_relative_rates_are_for_adamw_and_for_trained_weights(text, source, tmp_path):
    with pytest.raises(ValueError, match="^--relative-rates needs --optimizer adamw"):
        run_from(source, text, tmp_path / "run", "--max-steps", "1", "--optimizer", "muon",
                 "--relative-rates")
    with pytest.raises(ValueError, match="^--relative-rates has no effect without --init"):
        run(text, tmp_path / "run", "--max-steps", "1", "--optimizer", "adamw", "--relative-rates")


def test_a_resumed_run_keeps_its_relative_rates(text, source, tmp_path):
    assert run_from(source, text, tmp_path / "run", "--max-steps", "1") == 0
    flags = [tmp_path / "run", "--no-relative-rates", "--max-steps", "2"]
    with pytest.raises(ValueError, match="True in the run, False now. Leave these flags out$"):
        resume(*flags)
    with pytest.raises(ValueError, match="^--relative-rates has no effect on .* is stored already"):
        resume(*flags, "--may-differ", "relative-rates")


def test_an_interrupted_run_resumes_without_the_folder_that_it_started_from(
        text, source, tmp_path):
    init, out = tmp_path / "init", tmp_path / "run"
    shutil.copytree(source, init)
    flags = ["--max-steps", "3"]
    assert run_from(init, text, tmp_path / "whole", *flags) == 0
    with pytest.raises(KeyboardInterrupt):
        run_from(init, text, out, *flags, trainer=failing_in_step(1, KeyboardInterrupt()))
    shutil.rmtree(init)
    assert resume(out) == 0
    assert_same_runs(out, tmp_path / "whole")
    with pytest.raises(ValueError, match=f"init: {init} in the run, {source} now"):
        resume(out, "--init", str(source))


def test_a_published_encoder_without_a_head_starts_pairs(text, source, tmp_path, capsys):
    """As such a model is published: no head, and a tokenizer.json without other files."""
    model, tokenizer = load_run(source)
    encoder = BertModel(model.config)
    encoder.load_state_dict(model.bert.state_dict())
    folder = tmp_path / "encoder"
    save_pretrained(encoder, folder, tokenizer)
    (folder / "vocab.json").unlink()
    (folder / "merges.txt").unlink()
    assert run_from(folder, text, tmp_path / "run", "--max-steps", "2", *PAIRS) == 0
    printed = capsys.readouterr().out
    assert "; fresh: the pooler, the MLM head, the next-sentence head\n" in printed
    assert load_run(tmp_path / "run")[0].nsp is not None


def test_an_unnamed_run_is_called_init_and_has_plain_training_defaults(
        source, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="how long should it train. Add --max-steps"):
        train.main(["--init", str(source), "--show"])
    assert train.main(["--init", str(source), "--max-steps", "2", "--show"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["preset"] == "init"
    assert shown["model"]["hidden_size"] == 16
    layers = shown["model"]["num_hidden_layers"]
    assert shown["train"]["learning_rate"] == pytest.approx(0.1 / 16 / layers**0.5, rel=0.05)
    assert shown["train"]["optimizer"] == "adamw"


def test_the_loss_before_the_first_step_is_printed_and_kept_by_a_resumed_run(
        text, source, tmp_path, capsys):
    out = tmp_path / "run"
    assert run_from(source, text, out, "--max-steps", "2") == 0
    assert resume(out, "--max-steps", "3", "--may-differ", "max-steps") == 0
    printed = capsys.readouterr().out
    at_start = [line for line in metrics(out) if line.get("step") == 0]
    assert len(at_start) == 1 and printed.count("at step 0   loss ") == 1
    assert f"at step 0   loss {at_start[0]['eval_loss']:.3f} nats" in printed


def test_an_extended_tokenizer_adds_rows_to_the_model_of_a_run(text, source, tmp_path, capsys):
    old = load_tokenizer(source / "tokenizer")
    extend(old, ["volts and ohms"] * 3, 4, show_progress=False).save(tmp_path / "extended")
    flags = ["--max-steps", "2", "--tokenizer", str(tmp_path / "extended")]
    assert run_from(source, text, tmp_path / "run", *flags) == 0
    assert "; 4 new tokens start as the mean of their pieces\n" in capsys.readouterr().out
    model, tokenizer = load_run(tmp_path / "run")
    assert model.config.vocab_size == tokenizer.vocab_size == old.vocab_size + 4
    assert resume(tmp_path / "run", "--max-steps", "3", "--may-differ", "max-steps") == 0


def test_two_ranks_start_with_the_same_weights(text, source, tmp_path):
    no_dropout = "--hidden-dropout-prob 0 --attention-probs-dropout-prob 0".split()
    flags = ["--max-steps", "3", *no_dropout]
    assert run_from(source, text, tmp_path / "one", *flags) == 0
    run_ranks(2, lambda rank: run_from(source, text, tmp_path / "two", *flags))
    assert_close_runs(tmp_path / "one", tmp_path / "two")
