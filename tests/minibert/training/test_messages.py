"""Errors that a user can act on: too little memory, a full disk, Ctrl-C."""
import pytest
import torch
from commands import run_command
from train_helpers import SMALL, losses, run

import train
from minibert.training.progress import Metrics

RESUME = "Resume with:  python train.py --resume --out"


def cuda_out_of_memory(*args, **kwargs):
    raise torch.OutOfMemoryError("CUDA out of memory")


def cpu_out_of_memory(*args, **kwargs):
    """Raise torch's own RuntimeError: more memory than a processor can address."""
    return torch.empty(10**15)


@pytest.mark.parametrize("fail", [cuda_out_of_memory, cpu_out_of_memory])
@pytest.mark.parametrize("owner, name", [
    (train.BertForMaskedLM, "forward"), (torch.Tensor, "backward"), (torch.optim.AdamW, "step")])
def test_out_of_memory_names_a_smaller_micro_batch_that_resumes(
        text, tmp_path, monkeypatch, fail, owner, name):
    monkeypatch.setattr(owner, name, fail)
    message = "^out of memory with 4 examples at once. .*--micro-batch-size 2\n.*a smaller model"
    with pytest.raises(ValueError, match="(?s)" + message):
        run(text, tmp_path / "run", "--max-steps", "3")
    monkeypatch.undo()
    resume = ["--resume", "--out", str(tmp_path / "run"), "--micro-batch-size", "2"]
    assert train.main(resume) == 0


def test_out_of_memory_with_one_example_names_gradient_checkpointing(text, tmp_path, monkeypatch):
    monkeypatch.setattr(train.BertForMaskedLM, "forward", cuda_out_of_memory)
    with pytest.raises(ValueError, match="out of memory with 1 example") as error:
        run(text, tmp_path / "run", "--max-steps", "3", "--micro-batch-size", "1")
    monkeypatch.undo()
    assert "--micro-batch-size" not in str(error.value)
    command = str(error.value).splitlines()[0].partition("train.py ")[2]
    assert command.endswith("--gradient-checkpointing --may-differ gradient-checkpointing")
    assert train.main(command.split()) == 0  # the command works as printed


def test_a_model_that_is_too_large_is_one_line(text, tmp_path):
    """In a process of its own: 2 * 10**12 dimensions for each token."""
    huge = ["--hidden-size", str(2 * 10**12), "--intermediate-size", "16", "--micro-batch-size", "1",
            "--gradient-checkpointing"]
    done = run_command(train.__file__, *SMALL, "--corpus", text, "--out", tmp_path / "run",
                       "--max-steps", "3", *huge)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: out of memory")


@pytest.mark.parametrize("save_every, hint", [
    ("0", "There is no checkpoint yet: training starts again at step 1."),
    ("2", "The last checkpoint (step 2) is kept."),
])
def test_a_full_disk_names_the_file_and_how_to_resume(
        text, tmp_path, monkeypatch, capsys, save_every, hint):
    real_write = Metrics.write

    def write(self, values):
        if values["step"] == 3:
            self.path = tmp_path / "metrics.jsonl"
            self.path.symlink_to("/dev/full")
        real_write(self, values)

    monkeypatch.setattr(Metrics, "write", write)
    with pytest.raises(OSError, match="No space left on device: .*metrics.jsonl"):
        run(text, tmp_path / "run", "--max-steps", "6", "--save-every", save_every)
    assert f"stopped. {hint} {RESUME}" in capsys.readouterr().err
    monkeypatch.undo()
    assert train.main(["--resume", "--out", str(tmp_path / "run")]) == 0
    assert [line[0] for line in losses(tmp_path / "run")] == [1, 2, 3, 4, 5, 6]


def test_ctrl_c_before_the_first_checkpoint_says_that_there_is_none(
        text, tmp_path, monkeypatch, capsys):
    def interrupted(self, micro_batches):
        raise KeyboardInterrupt

    monkeypatch.setattr(train.Trainer, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(text, tmp_path / "run", "--max-steps", "6")
    expected = f"stopped. There is no checkpoint yet: training starts again at step 1. {RESUME}"
    assert expected in capsys.readouterr().err
    monkeypatch.undo()
    assert train.main(["--resume", "--out", str(tmp_path / "run")]) == 0
