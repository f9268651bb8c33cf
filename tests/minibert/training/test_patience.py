"""--patience: a run stops when its validation loss improves no more, and keeps its best model."""
import json

import pytest
from train_helpers import (
    assert_same_runs,
    checkpoint_names,
    last_state,
    losses,
    make_trainer,
    metrics,
    resume,
    run,
    run_ranks,
    same,
    stopped_in_step,
    weights,
)

import train
from minibert import from_pretrained
from minibert.formats.model_files import write_checksums
from minibert.formats.run_folder import load_run

LOSSES = {2: 5.0, 4: 3.0, 6: 3.5, 8: 3.0, 10: 2.0, 12: 1.0}  # step -> validation loss
FLAGS = "--max-steps 12 --eval-every 2 --save-every 3".split()


class ScriptedTrainer(train.Trainer):
    """Has the validation losses of LOSSES; the final evaluation is a real one."""

    def __init__(self, run, data):
        super().__init__(run, data)
        evaluate = data.validation.evaluate

        def scripted(model, final=False):
            scores = evaluate(model, final)
            return scores if final else scores | {"loss": LOSSES[self.state.step]}
        data.validation.evaluate = scripted


class StoppedTrainer(ScriptedTrainer, stopped_in_step(7)):
    """After the first evaluation that is not better, and before the second."""


def best(folder):
    """Return (step, loss) of the evaluation of RUN/best."""
    evaluation = json.loads((folder / "best/evaluation.json").read_text())
    return evaluation["step"], evaluation["loss"]


def test_a_run_stops_after_so_many_evaluations_in_a_row_without_a_better_loss(
        text, tmp_path, capsys):
    """An equal loss, that of step 8, is not better."""
    out = tmp_path / "run"
    assert run(text, out, *FLAGS, "--patience", "2", trainer=ScriptedTrainer) == 0
    assert losses(out)[-1][0] == 8 and checkpoint_names(out)[-1] == "step-0000008"
    assert best(out) == (4, 3.0)
    shown = capsys.readouterr().out
    assert "stopped early: 2 evaluations without a better loss since step 4\n" in shown
    assert f"best        {out}/best, of step 4 with a validation loss of 3.000\n" in shown


def test_a_better_loss_starts_the_count_again(text, tmp_path, capsys):
    run(text, tmp_path / "run", *FLAGS, "--patience", "3", trainer=ScriptedTrainer)
    assert losses(tmp_path / "run")[-1][0] == 12
    assert best(tmp_path / "run") == (12, 1.0)
    assert "stopped early" not in capsys.readouterr().out


def test_the_best_model_has_the_weights_of_its_step_and_loads_with_its_tokenizer(text, tmp_path):
    constant = "--schedule stable --warmup 0 --decay 0".split()
    run(text, tmp_path / "early", *FLAGS, "--patience", "2", *constant, trainer=ScriptedTrainer)
    run(text, tmp_path / "four", "--max-steps", "4", *constant)
    model, tokenizer = load_run(tmp_path / "early/best")
    assert same(model.state_dict(), weights(tmp_path / "four"))
    assert not same(model.state_dict(), weights(tmp_path / "early"))
    assert tokenizer.vocab_size == model.config.vocab_size


def test_a_resumed_run_goes_on_with_the_count(text, tmp_path):
    flags = [*FLAGS, "--patience", "2"]
    run(text, tmp_path / "whole", *flags, trainer=ScriptedTrainer)
    assert run(text, tmp_path / "parts", *flags, trainer=StoppedTrainer) == 130
    assert last_state(tmp_path / "parts")["evals_since_best"] == 1
    assert resume(tmp_path / "parts", trainer=ScriptedTrainer) == 0
    assert_same_runs(tmp_path / "whole", tmp_path / "parts")
    assert same(*(from_pretrained(tmp_path / name / "best").state_dict()
                  for name in ("whole", "parts")))


def test_a_run_that_stopped_early_trains_on_with_more_patience(text, tmp_path, capsys):
    out = tmp_path / "run"
    run(text, out, *FLAGS, "--patience", "2", trainer=ScriptedTrainer)
    lines = metrics(out)
    capsys.readouterr()
    assert resume(out, trainer=ScriptedTrainer) == 0
    assert metrics(out) == lines  # nothing was trained
    shown = capsys.readouterr().out
    assert f"--resume --out {out} --patience LARGER\n" in shown
    (out / "best/finetuned").mkdir()  # where finetune RUN/best writes by default
    assert resume(out, "--patience", "3", trainer=ScriptedTrainer) == 0
    assert losses(out)[-1][0] == 12 and best(out) == (12, 1.0)
    assert (out / "best/finetuned").is_dir()


def test_all_ranks_stop_together(text, tmp_path):
    flags = [*FLAGS, "--patience", "2"]
    run_ranks(2, lambda rank: run(text, tmp_path / "run", *flags, trainer=ScriptedTrainer))
    assert losses(tmp_path / "run")[-1][0] == 8
    assert best(tmp_path / "run") == (4, last_state(tmp_path / "run")["best_loss"]) == (4, 3.0)


def test_a_checkpoint_without_these_fields_is_resumed(finished):
    """One of an older version."""
    folder = finished / "checkpoints/step-0000002"
    state = json.loads((folder / "state.json").read_text())
    for name in ("best_loss", "best_step", "evals_since_best"):
        del state[name]
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "checksums.json").unlink()
    write_checksums(folder)
    assert resume(finished, "--max-steps", "3") == 0


def test_a_run_too_short_for_an_evaluation_says_that_it_has_no_best_model(text, tmp_path, capsys):
    """An epoch has 76 steps, which is known only when the text has been read."""
    run(text, tmp_path / "run", *"--epochs 0.1 --eval-every 90 --patience 1".split())
    assert "best        none: --eval-every left no evaluation" in capsys.readouterr().out
    assert not (tmp_path / "run/best").exists()


def test_a_run_without_patience_keeps_no_best_model(text, tmp_path):
    run(text, tmp_path / "run", *FLAGS)
    assert not (tmp_path / "run/best").exists()


@pytest.mark.parametrize("flags", ["--eval-every 0", "--eval-every 500 --max-steps 100"])
def test_patience_without_evaluations_is_an_error(text, tmp_path, flags):
    match = r"^--patience 3 needs evaluations .* --eval-every \d+ there are none: set --eval-every$"
    with pytest.raises(ValueError, match=match):
        make_trainer(text, tmp_path / "run", "--patience", "3", *flags.split())
    assert not (tmp_path / "run").exists()
