"""What is said where memory or a disk is too small, and after Ctrl-C: one line that is true, and a command that is taken."""
import pytest
import torch
from commands import run_command
from train_helpers import SMALL, losses, run

import train
from minibert.training import checkpoint


def on_a_gpu(*arguments, **named):
    raise torch.OutOfMemoryError("CUDA out of memory")


def on_a_cpu(*arguments, **named):
    """RuntimeError, in the words of torch itself: more than a processor can address."""
    return torch.empty(10**15)


PLACES = pytest.mark.parametrize("greedy", [on_a_gpu, on_a_cpu])


@PLACES
@pytest.mark.parametrize("owner, name", [(train.BertForMaskedLM, "forward"), (torch.Tensor, "backward")], ids=["forward", "backward"])
def test_a_step_s_examples_name_a_micro_batch_that_takes_less(text, tmp_path, monkeypatch, greedy, owner, name):
    monkeypatch.setattr(owner, name, greedy)
    with pytest.raises(ValueError, match="^out of memory with 4 examples at once: .*--micro-batch-size 2$"):
        run(text, tmp_path / "run", "--max-steps", "3")
    monkeypatch.undo()
    assert train.main(["--resume", "--out", str(tmp_path / "run"), "--micro-batch-size", "2"]) == 0


@PLACES
def test_one_example_names_a_command_that_is_taken(text, tmp_path, monkeypatch, greedy):
    monkeypatch.setattr(train.BertForMaskedLM, "forward", greedy)
    with pytest.raises(ValueError, match="with one example: begin anew with a smaller model") as error:
        run(text, tmp_path / "run", "--max-steps", "3", "--micro-batch-size", "1")
    monkeypatch.undo()
    words = str(error.value).partition("train.py ")[2].split()
    assert words[-3:] == ["--gradient-checkpointing", "--may-differ", "gradient-checkpointing"]
    assert train.main(words) == 0


def test_with_checkpointing_it_is_not_named_again(text, tmp_path, monkeypatch):
    monkeypatch.setattr(train.BertForMaskedLM, "forward", on_a_gpu)
    with pytest.raises(ValueError, match="a smaller --max-length$"):
        run(text, tmp_path / "run", "--max-steps", "3", "--micro-batch-size", "1", "--gradient-checkpointing")


@PLACES
@pytest.mark.parametrize("owner, name", [(torch.optim.AdamW, "step"), (torch.nn.utils, "clip_grad_norm_"), (train.BertForMaskedLM, "to")],
                         ids=["optimiser", "clipping", "model"])
def test_what_no_smaller_batch_would_help_names_a_smaller_model(text, tmp_path, monkeypatch, greedy, owner, name):
    monkeypatch.setattr(owner, name, greedy)
    with pytest.raises(ValueError, match="^out of memory, and not for a batch's examples.* a smaller model: .* take 16 bytes.$"):
        run(text, tmp_path / "run", "--max-steps", "3")
    monkeypatch.undo()
    assert train.main(["--resume", "--out", str(tmp_path / "run")]) == 0  # what is prepared is kept: memory may be free again


@PLACES
def test_an_evaluation_goes_on_with_fewer_examples(text, tmp_path, monkeypatch, greedy):
    monkeypatch.setattr(train, "evaluate", greedy)
    with pytest.raises(ValueError, match="^out of memory with 4 examples at once: .*--micro-batch-size 2$"):
        run(text, tmp_path / "run", "--max-steps", "3")
    monkeypatch.undo()
    assert checkpoint.checkpoints(tmp_path / "run")[-1].name == "step-0000003"
    assert train.main(["--resume", "--out", str(tmp_path / "run"), "--micro-batch-size", "2"]) == 0
    monkeypatch.setattr(train, "evaluate", greedy)
    with pytest.raises(ValueError, match="with one example: .* a smaller --max-length$"):  # it stores nothing for a backward pass
        run(text, tmp_path / "one", "--max-steps", "1", "--micro-batch-size", "1")


def test_a_user_sees_one_line(text, tmp_path):
    """In a process of its own: a vector of 2 * 10**12 numbers for each entry of the vocabulary."""
    flags = [*SMALL, "--corpus", text, "--out", tmp_path / "run", "--max-steps", "3", "--hidden-size", str(2 * 10**12), "--intermediate-size", "16"]
    done = run_command(train.__file__, *flags)
    assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith("error: out of memory") and "Traceback" not in done.stderr


@pytest.mark.parametrize("save_every, left", [("0", "There is no checkpoint yet: training begins again at step 1."),
                                              ("2", "The last checkpoint (step 2) is kept.")])
def test_a_full_disk_at_a_line_of_metrics_names_the_file_and_what_is_left(text, tmp_path, monkeypatch, capsys, save_every, left):
    real = train.Metrics.write

    def full(self, values):
        if values["step"] == 3:
            self.path = tmp_path / "metrics.jsonl"
            self.path.symlink_to("/dev/full")
        real(self, values)

    monkeypatch.setattr(train.Metrics, "write", full)
    with pytest.raises(OSError, match="^cannot write to .*metrics.jsonl: no space left on device$"):
        run(text, tmp_path / "run", "--max-steps", "6", "--save-every", save_every)
    assert f"stopped. {left} Go on with:  python train.py --resume --out" in capsys.readouterr().err
    monkeypatch.undo()
    assert train.main(["--resume", "--out", str(tmp_path / "run")]) == 0
    assert [line[0] for line in losses(tmp_path / "run")] == [1, 2, 3, 4, 5, 6]


def test_ctrl_c_twice_before_the_first_checkpoint_promises_none(text, tmp_path, monkeypatch, capsys):
    def interrupted(self, micros):
        raise KeyboardInterrupt

    monkeypatch.setattr(train.Trainer, "optimiser_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(text, tmp_path / "run", "--max-steps", "6")
    assert "stopped. There is no checkpoint yet: training begins again at step 1. Go on with:" in capsys.readouterr().err
    monkeypatch.undo()
    assert train.main(["--resume", "--out", str(tmp_path / "run")]) == 0
