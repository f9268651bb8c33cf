"""--average: the averaged weights are evaluated and saved, the last ones are trained on."""
import pytest
import torch
from train_helpers import (
    assert_same_runs,
    checkpoint_names,
    losses,
    metrics,
    resume,
    run,
    same,
    start,
    stopped_in_step,
    weights,
    with_bad_gradients,
)

import train
from minibert import from_pretrained
from minibert.config import TrainConfig
from minibert.optim import update_average

STEPS = ["--max-steps", "12"]
AVERAGE = [*STEPS, "--average", "2"]


def trained_weights(folder):
    """Return the weights in the newest checkpoint that training continues from."""
    path = folder / "checkpoints" / checkpoint_names(folder)[-1] / "optimizer.pt"
    return torch.load(path, weights_only=True)["weights"]


def averaged(values, n):
    """Return the average of a weight that has these values after each step."""
    model, average = torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False)
    for step, value in enumerate(values):
        model.weight.data.fill_(value)
        update_average(average, model, n, step, is_finite=torch.tensor(value < 100))
    return average.weight.item()


def test_the_average_moves_towards_the_weights_of_each_step():
    assert averaged([8.0], 10) == 8.0  # no initial weights
    assert averaged([8.0, 19.0], 10) == pytest.approx(18.0)  # 8 / 11 + 19 * 10 / 11
    assert averaged([8.0, 19.0, 6.0], 10) == pytest.approx(8.0)  # 18 / 6 + 6 * 5 / 6
    assert averaged([8.0, 19.0, 6.0], 1) == pytest.approx(11.0)  # the plain mean


def test_the_weight_of_a_step_grows_linearly_for_two():
    """The steps have the weights 1/10 to 4/10, so ones in the last two give 0.7."""
    assert averaged([0.0, 0.0, 1.0, 1.0], 2) == pytest.approx(0.7)


def test_an_average_of_an_older_version_is_refused():
    """Before, 0.999 was the decay of an exponential moving average."""
    with pytest.raises(ValueError, match="average is 0.999: it must be at least 1"):
        TrainConfig(max_steps=1, average=0.999)


def test_a_skipped_step_does_not_move_the_average():
    assert averaged([8.0, 19.0, 500.0], 10) == averaged([8.0, 19.0], 10)


def test_the_final_model_is_the_average_and_training_does_not_notice(text, tmp_path):
    history = []

    class RecordingTrainer(train.Trainer):
        def step(self, micro_batches):
            result = super().step(micro_batches)
            history.append({name: w.double() for name, w in self.model.state_dict().items()})
            return result

    run(text, tmp_path / "last", *STEPS)
    run(text, tmp_path / "run", *AVERAGE, trainer=RecordingTrainer)
    assert losses(tmp_path / "run") == losses(tmp_path / "last")
    assert same(trained_weights(tmp_path / "run"), weights(tmp_path / "last"))
    for name, weight in weights(tmp_path / "run").items():
        mean = 0.0
        for step, values in enumerate(history):
            mean += 2 / (step + 2) * (values[name] - mean)
        assert torch.allclose(weight.double(), mean, atol=1e-6)
        assert not torch.allclose(weight.double(), history[-1][name], atol=1e-6)


def test_the_average_is_evaluated(text, tmp_path):
    """Also for best/: the loss of each evaluation is that of the model saved with it."""
    class Evaluated(train.Trainer):
        def keep_best(self, scores):
            super().keep_best(scores)
            again = self.data.validation.evaluate(from_pretrained(self.run.folder / "best"))
            assert again["loss"] == scores["loss"]

    run(text, tmp_path / "run", *AVERAGE, *"--eval-every 12 --patience 1".split(),
        trainer=Evaluated)
    assert same(weights(tmp_path / "run"),
                from_pretrained(tmp_path / "run/best").state_dict())


@pytest.mark.parametrize("flags", [
    "--precision fp16", "--hidden-dropout-prob 0.1 --objective span-corruption --vocab-size 420"])
def test_a_resumed_run_has_the_same_average(text, tmp_path, flags):
    flags = [*AVERAGE, *flags.split()]
    run(text, tmp_path / "whole", *flags)
    assert run(text, tmp_path / "parts", *flags, trainer=stopped_in_step(7)) == 130
    assert resume(tmp_path / "parts") == 0
    assert_same_runs(tmp_path / "whole", tmp_path / "parts")
    assert same(trained_weights(tmp_path / "whole"), trained_weights(tmp_path / "parts"))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_steps_without_finite_gradients_leave_no_trace_in_the_average(text, tmp_path, precision):
    flags = [*AVERAGE, "--precision", precision, "--log-every", "4"]

    class Checked(with_bad_gradients(1, 6)):
        def step(self, micro_batches):
            before = {name: w.clone() for name, w in self.eval_model.state_dict().items()}
            result = super().step(micro_batches)
            assert same(before, self.eval_model.state_dict()) == (self.num_calls in (1, 6))
            return result

    assert run(text, tmp_path / "run", *flags, trainer=Checked) == 0
    assert all(w.isfinite().all() for w in weights(tmp_path / "run").values())


def test_the_average_of_a_continued_model_starts_with_its_weights(text, tmp_path):
    run(text, tmp_path / "first", *STEPS)
    init = ["--init", str(tmp_path / "first"), "--corpus", str(text), "--max-steps", "1"]
    for name, flags in (("last", []), ("run", ["--average", "2"])):
        start([*init, "--out", str(tmp_path / name), *flags])
    at_0 = [metrics(tmp_path / name)[1] for name in ("last", "run")]
    assert at_0[0]["step"] == 0
    assert at_0[0]["eval_loss"] == at_0[1]["eval_loss"]


def test_averaging_can_begin_and_end_in_a_run(text, tmp_path):
    out = tmp_path / "run"
    constant = "--schedule stable --warmup 0 --decay 0".split()
    run(text, tmp_path / "last", "--max-steps", "6", *constant)
    run(text, out, "--max-steps", "2", *constant)
    assert resume(out, *"--max-steps 4 --average 2 --may-differ average".split()) == 0
    assert not same(trained_weights(out), weights(out))
    assert resume(out, *"--max-steps 6 --average 0 --may-differ average".split()) == 0
    assert same(weights(out), weights(tmp_path / "last"))
