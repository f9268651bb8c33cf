"""If something goes wrong there is one clear error, and a checkpoint from which the run resumes."""
import math
import os
import pickle
import signal
import subprocess
from pathlib import Path

import pytest
from commands import run_command, start_command
from train_helpers import (
    PAIRS,
    SMALL,
    assert_same_runs,
    checkpoint_names,
    last_state,
    losses,
    num_batches,
    resume,
    run,
    same,
    weights,
    with_bad_gradients,
)

import train
from minibert import from_pretrained
from minibert.formats.model_files import write_checksums
from minibert.training import checkpoint, preparation
from tokenizer import ByteLevelBPE

# ------------------------------------------------------------------------------ bad gradients


@pytest.mark.parametrize("precision, value", [("fp32", math.nan), ("bf16", math.inf)])
def test_a_step_with_a_bad_gradient_changes_nothing_and_is_not_counted(
        text, tmp_path, precision, value):
    """The weights are those of a run that never saw the two batches."""
    class WithoutTwoBatches(train.Trainer):
        def step_batches(self, stop):
            for i, batch in enumerate(super().step_batches(stop)):
                if i not in (2, 3):
                    yield batch

    flags = ["--max-steps", "5", "--precision", precision]
    bad_gradients = with_bad_gradients(3, 4, value=value)
    run(text, tmp_path / "run", *flags, trainer=bad_gradients)
    state = last_state(tmp_path / "run")
    assert (state["step"], num_batches(state), state["skipped"]) == (5, 7, 2)
    run(text, tmp_path / "without", *flags, trainer=WithoutTwoBatches)
    assert same(weights(tmp_path / "run"), weights(tmp_path / "without"))


def test_an_fp16_overflow_halves_the_loss_scale_and_does_not_advance_the_schedule(text, tmp_path):
    flags = ["--max-steps", "5", "--precision", "fp16"]
    run(text, tmp_path / "good", *flags)
    run(text, tmp_path / "bad", *flags, trainer=with_bad_gradients(1, 2))
    state = last_state(tmp_path / "bad")
    assert (state["step"], num_batches(state), state["skipped"]) == (5, 7, 2)
    assert state["scaler"]["scale"] == 65536 / 4
    for good, bad in zip(losses(tmp_path / "good"), losses(tmp_path / "bad"), strict=True):
        assert good[3] == bad[3]  # the learning rate


def test_clipping_measures_unscaled_gradients(text, tmp_path):
    """The norm of an fp16 run is that of the fp32 run, not 65,536 times as much."""
    norms = []
    for precision in ("fp32", "fp16"):
        run(text, tmp_path / precision, "--max-steps", "2", "--precision", precision)
        norms.append(losses(tmp_path / precision)[0][2])
    assert norms[1] == pytest.approx(norms[0], rel=0.02)


def test_too_many_bad_gradients_in_a_row_end_the_run_with_a_checkpoint(text, tmp_path):
    flags = ["--max-steps", "10", "--save-every", "2", "--precision", "fp16"]
    with pytest.raises(ValueError, match="20 fp16 steps in a row.*--precision bf16 or fp32"):
        run(text, tmp_path / "run", *flags, trainer=with_bad_gradients(*range(5, 50)))
    assert checkpoint_names(tmp_path / "run") == ["step-0000002", "step-0000004"]
    assert resume(tmp_path / "run") == 0


@pytest.mark.parametrize("log_every", ["1", "100"])
def test_an_infinite_loss_ends_the_run_and_is_not_saved(text, tmp_path, log_every):
    class InfiniteLoss(train.Trainer):
        def step(self, micro_batches):
            losses, grad_norm = super().step(micro_batches)
            if self.state.step >= 3:
                losses.totals["loss"] += math.inf
            return losses, grad_norm

    flags = ["--max-steps", "10", "--save-every", "2", "--log-every", log_every]
    with pytest.raises(ValueError, match="try a lower --learning-rate"):
        run(text, tmp_path / "run", *flags, trainer=InfiniteLoss)
    assert checkpoint_names(tmp_path / "run") == ["step-0000002"]


# ----------------------------------------------------------------------------- a refused start


@pytest.mark.parametrize("content, message", [
    (b"", "empty"),
    (b"\n \n\n", "empty"),
    (b"\x00\x01\x02" * 100, "binary|NUL|UTF-8|text"),
    (b"a", "one line"),
    (b"a\na", "not one masked token"),
])
def test_a_useless_corpus_is_refused_and_leaves_nothing(tmp_path, content, message):
    (tmp_path / "text.txt").write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        run(tmp_path / "text.txt", tmp_path / "run", "--max-steps", "2")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("flags, message", [
    (["--vocab-size", "100"], "^--vocab-size 100 is smaller than the 256 bytes"),
    (["--max-length", "2"], "^--max-length 2 leaves no room for a token of text"),
    (["--max-length", "4", *PAIRS], "leaves no room for two sentences"),
    (["--max-position-embeddings", "8"], "--max-length 16 is more than the 8 tokens"),
    (["--filters", "shrot"], "did you mean short"),
    (["--filters", "short=99"], "dropped all"),
    (["--filters", "short", "--data", "d", "--tokenizer", "t"], "--filters has no effect with"),
    (["--data", "missing"], "--data missing: no such folder"),
    (["--text-field", "body"], "--text-field body has no effect: .* is plain text"),
    (["--nsp-weight", "2"], "--nsp-weight has no effect without --examples pairs"),
    (["--device", "cuda"], "--device cpu"),
    (["--corpus", "missing.txt"], "missing.txt"),
    (["--corpus", "pydoc"], "pydocs"),
    (["--corpus", "", "--preset", "bert-base"], "needs a text"),
])
def test_a_run_that_cannot_work_is_refused_and_leaves_nothing(text, tmp_path, flags, message):
    with pytest.raises((ValueError, OSError), match=message):
        run(text, tmp_path / "run", "--max-steps", "2", *flags)
    assert not (tmp_path / "run").exists()


def test_a_refused_start_leaves_other_folders_alone(text, tmp_path):
    (tmp_path / "mine/.git").mkdir(parents=True)
    with pytest.raises(ValueError, match="not empty"):
        run(text, tmp_path / "mine", "--max-steps", "2")
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="file is a file, and a run needs a folder"):
        run(text, tmp_path / "file", "--max-steps", "2")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="max.length"):
        run(text, tmp_path / "empty", "--max-steps", "2", "--max-position-embeddings", "8")
    assert (tmp_path / "mine/.git").is_dir()
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_tokenizer_without_a_mask_token_is_refused(text, tmp_path):
    special = ("<s>", "<pad>", "</s>", "<unk>")
    tokenizer = ByteLevelBPE.train([text], vocab_size=300, special_tokens=special)
    tokenizer.save(tmp_path / "tokenizer")
    with pytest.raises(ValueError, match="mask"):
        run(text, tmp_path / "run", "--max-steps", "1", "--tokenizer", str(tmp_path / "tokenizer"))


@pytest.mark.parametrize("flags, code, last_line", [
    (["--preset", "kant", "--batch-size", "0"], 1, "error: --batch-size is 0: it must be at least"),
    (["--batchsize", "3"], 2, "(train.py --help lists all flags)"),
])
def test_a_mistake_on_the_command_line_is_one_line_and_an_exit_code(flags, code, last_line):
    done = run_command(train.__file__, *flags)
    assert done.returncode == code
    assert done.stderr.splitlines()[-1].startswith(last_line)
    assert "Traceback" not in done.stderr


def test_two_processes_do_not_train_in_one_folder(finished):
    fcntl = pytest.importorskip("fcntl")
    descriptor = os.open(finished, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(ValueError, match="another process is training"):
        resume(finished)
    os.close(descriptor)
    assert resume(finished) == 0


# ------------------------------------------------------------------------------- interruptions


def test_ctrl_c_while_preparing_keeps_what_is_done_and_says_how_to_resume(
        text, tmp_path, monkeypatch, capsys):
    prepare = preparation.prepare

    def interrupted(documents, tokenizer, folder, **options):
        if folder.name == "eval":
            raise KeyboardInterrupt
        return prepare(documents, tokenizer, folder, **options)

    monkeypatch.setattr(preparation, "prepare", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(text, tmp_path / "run", "--max-steps", "2")
    assert f"--resume --out {tmp_path / 'run'}" in capsys.readouterr().err
    monkeypatch.undo()
    assert resume(tmp_path / "run") == 0


def test_sigterm_in_the_middle_of_a_step_finishes_it_and_saves(text, tmp_path):
    class Terminated(train.Trainer):
        def __init__(self, *args):
            super().__init__(*args)
            self.optimizer.register_step_pre_hook(self.terminate)

        def terminate(self, *args):
            if self.state.step == 2:
                os.kill(os.getpid(), signal.SIGTERM)

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(text, whole, "--max-steps", "5")
    assert run(text, parts, "--max-steps", "5", "--save-every", "0", trainer=Terminated) == 130
    assert checkpoint_names(parts) == ["step-0000003"]
    assert resume(parts) == 0
    assert_same_runs(parts, whole)


def test_a_reader_that_leaves_early_does_not_end_the_run(text, tmp_path):
    """``train.py ... | head -1``"""
    process, output = start_command(
        train.__file__, *SMALL, "--corpus", text, "--out", tmp_path / "run", "--max-steps", 3)
    output.readline()
    output.close()
    process.join()
    assert process.exitcode == 0
    assert (tmp_path / "run/model/model.safetensors").exists()


# --------------------------------------------------------------------------------- broken files


def test_a_damaged_token_file_is_found_before_training(finished):
    path = finished / "data/train/ids-00000.bin"
    path.write_bytes(b"\xff\xff" + path.read_bytes()[2:])
    with pytest.raises(ValueError, match="ids-00000.bin is damaged: its checksum is"):
        resume(finished)


class Code:
    def __reduce__(self):
        return (pytest.fail, ("code from a checkpoint was run",))


def test_code_in_a_checkpoint_is_not_run(finished, capsys):
    path = finished / "checkpoints/step-0000002/optimizer.pt"
    path.write_bytes(pickle.dumps(Code(), protocol=2))
    (path.parent / "checksums.json").unlink()
    write_checksums(path.parent)
    with pytest.raises(ValueError, match="no checkpoint in .* can be read"):
        resume(finished)
    assert "UnpicklingError: Unsupported " in capsys.readouterr().err


NO_SPACE = "No space left on device: .*/step-0{6}[0-9]'$"


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 300 kB, if this process may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a tmpfs is not allowed here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)  # also if a file is still open


def test_a_full_disk_leaves_a_checkpoint_that_loads(text, small_disk):
    flags = "--max-steps 50 --save-every 1 --keep-checkpoints 50"
    with pytest.raises(OSError, match=NO_SPACE):
        run(text, small_disk / "run", *flags.split())
    assert not list((small_disk / "run/checkpoints").glob(".*"))
    newest = checkpoint.checkpoints(small_disk / "run")[-1]
    assert from_pretrained(newest).num_parameters() > 0


def test_a_disk_that_is_full_while_saving_keeps_the_checkpoint_before(
        text, tmp_path, monkeypatch):
    write_bytes = Path.write_bytes

    def full(path, content):
        if "step-0000004" in str(path):
            raise OSError(28, "No space left on device", str(path))
        return write_bytes(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=NO_SPACE):
        run(text, tmp_path / "run", "--max-steps", "6", "--save-every", "2")
    monkeypatch.undo()
    assert checkpoint_names(tmp_path / "run") == ["step-0000002"]
    assert resume(tmp_path / "run") == 0
