"""--tensorboard: the numbers of metrics.jsonl as curves, with a fake package."""
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from train_helpers import make_trainer, metrics, resume, run, stopped_in_step

from minibert.training.metrics import TensorBoard


@pytest.fixture
def boards(monkeypatch):
    """{folder: [(name, value, step, time)]} of what is written; a new writer of a folder adds."""
    written = {}

    class SummaryWriter:
        def __init__(self, log_dir, purge_step):
            self.path = Path(log_dir) / "events"
            self.path.parent.mkdir()  # the older one has been removed
            written[self.path.parent.parent.name] = self.scalars = []

        def add_scalar(self, name, value, step, walltime):
            self.scalars.append((name, value, step, walltime))

        def flush(self):
            self.path.write_text(str(self.scalars))

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard",
                        SimpleNamespace(SummaryWriter=SummaryWriter))
    return written


def numbers(folder):
    """Return the {(name, step): value} of a run's metrics.jsonl."""
    return {("final/" * ("final" in line) + name, line["step"]): value
            for line in metrics(folder) if "step" in line
            for name, value in line.items() if name not in ("step", "elapsed", "final")}


FLAGS = "--max-steps 6 --eval-every 3 --tensorboard".split()


def test_it_has_the_numbers_of_each_step(text, tmp_path, boards):
    run(text, tmp_path / "run", *FLAGS)
    scalars = boards["run"]
    assert {(name, step): value for name, value, step, _ in scalars} == numbers(tmp_path / "run")
    assert {"loss", "learning_rate", "grad_norm", "eval_loss", "final/eval_loss"} <= {
        name for name, *_ in scalars}
    assert sorted(step for name, _, step, _ in scalars if name == "eval_loss") == [3, 6]
    assert (tmp_path / "run/tensorboard/events").read_text() == str(scalars)


def test_a_resumed_run_has_each_step_once(text, tmp_path, boards):
    flags = [*FLAGS, "--log-every", "1"]
    assert run(text, tmp_path / "run", *flags, trainer=stopped_in_step(4)) == 130
    assert resume(tmp_path / "run") == 0
    assert resume(tmp_path / "run", "--max-steps", "8") == 0
    scalars = boards["run"]
    assert [step for name, _, step, _ in scalars if name == "loss"] == [*range(1, 9)]
    assert [step for name, _, step, _ in scalars if name == "final/eval_loss"] == [8]
    assert {(name, step): value for name, value, step, _ in scalars} == numbers(tmp_path / "run")


def test_times_leave_out_the_pauses_of_a_run(tmp_path, boards, monkeypatch):
    """At 5,000 on the clock a run resumes that has trained for 100 seconds."""
    monkeypatch.setattr("minibert.training.metrics.time", SimpleNamespace(time=lambda: 5000))
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 3.0, "elapsed": 20}\n')
    board = TensorBoard(tmp_path, elapsed=100)
    board.write({"step": 2, "loss": 2.0, "elapsed": 110})
    assert boards[tmp_path.name] == [("loss", 3.0, 1, 4920), ("loss", 2.0, 2, 5010)]


def test_it_can_begin_in_a_resumed_run(text, tmp_path, boards):
    run(text, tmp_path / "run", "--max-steps", "2")
    assert not boards
    resume(tmp_path / "run", "--max-steps", "4", "--tensorboard")
    assert [step for name, _, step, _ in boards["run"] if name == "loss"] == [1, 2, 3, 4]


def test_without_the_package_one_line_says_so_before_anything_is_written(
        text, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ValueError, match=r"^--tensorboard needs .*: pip install -e \"\.\[tensorb"):
        make_trainer(text, tmp_path / "run", *FLAGS)
    assert not (tmp_path / "run").exists()
