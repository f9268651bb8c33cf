"""Errors name a remedy that works: too little memory, a full disk, Ctrl-C."""
import os
import subprocess
import sys

import pytest
import torch
from commands import ROOT
from train_helpers import failing_in_step, losses, resume, run

import train
from minibert.training.metrics import Metrics

RESUME = "Resume with:  python train.py --resume --out"


def cpu_out_of_memory():
    """Return the RuntimeError that torch raises for more memory than a CPU can address."""
    with pytest.raises(RuntimeError) as error:
        torch.empty(10**15)
    return error.value


CUDA_OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize("error", [CUDA_OUT_OF_MEMORY, cpu_out_of_memory()], ids=["cuda", "cpu"])
def test_out_of_memory_names_a_smaller_micro_batch_that_resumes(text, tmp_path, error):
    with pytest.raises(ValueError, match="out of memory with 4 examples.*--micro-batch-size 2"):
        run(text, tmp_path / "run", "--max-steps", "3", trainer=failing_in_step(2, error))
    assert resume(tmp_path / "run", "--micro-batch-size", "2") == 0


def test_out_of_memory_with_one_example_names_gradient_checkpointing(text, tmp_path):
    flags = ["--max-steps", "3", "--micro-batch-size", "1"]
    with pytest.raises(ValueError, match="out of memory with 1 example") as error:
        run(text, tmp_path / "run", *flags, trainer=failing_in_step(1, CUDA_OUT_OF_MEMORY))
    command = str(error.value).splitlines()[0].partition("train.py ")[2]
    assert "--gradient-checkpointing" in command
    assert train.main(command.split()) == 0  # the command works as printed


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
    assert f"{hint} {RESUME}" in capsys.readouterr().err
    monkeypatch.undo()
    assert resume(tmp_path / "run") == 0
    assert [line[0] for line in losses(tmp_path / "run")] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("words", [
    [train.__file__], ["-m", "minibert"], ["-m", "tokenizer"], ["-m", "data"]])
def test_ctrl_c_during_the_imports_prints_one_word(tmp_path, words):
    """Also where an exception would be lost: in a callback, or in numpy's import of its C part."""
    interrupted = "import signal\ntry: signal.raise_signal(signal.SIGINT)\nexcept BaseException: 1"
    for name in ("torch", "regex"):  # instead of the real packages
        (tmp_path / f"{name}.py").write_text(interrupted)
    done = subprocess.run([sys.executable, *words, "--help"], capture_output=True, text=True,
                          cwd=ROOT, env=os.environ | {"PYTHONPATH": str(tmp_path)})
    assert (done.returncode, done.stderr) == (130, "stopped\n")
