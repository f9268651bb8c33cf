"""Whatever goes wrong: one clear error, and a checkpoint that goes on."""
import json
import math
import os
import signal
import subprocess
from pathlib import Path

import pytest
import torch
from commands import Running, run_command
from train_helpers import PAIRS, SMALL, losses, num_batches, run, same, weights

import train
from minibert import from_pretrained
from minibert.batches import Batches
from minibert.presets import PRESETS
from minibert.training import checkpoint, preparation
from tokenizer import ByteLevelBPE


class Overflowing(torch.amp.GradScaler):
    """A GradScaler whose first gradients are infinite."""

    overflows = 2

    def unscale_(self, optimizer):
        if self.overflows:
            self.overflows -= 1
            next(p for group in optimizer.param_groups for p in group["params"]).grad.fill_(float("inf"))
        super().unscale_(optimizer)


def test_filters_that_cannot_work_leave_no_run_behind(text, tmp_path):
    for flags, message in ((["--filters", "shrot"], "did you mean short"), (["--filters", "short=99"], "dropped all"),
                           (["--filters", "short", "--data", "tokens", "--tokenizer", "t"], "have no effect on tokens, which is prepared already"),
                           (["--data", "tokens"], "needs the tokenizer it was made with, but tokenizer does not exist: add --tokenizer")):
        with pytest.raises(ValueError, match=message):
            run(text, tmp_path / "run", *flags)
        assert not (tmp_path / "run").exists()


def test_an_overflow_is_skipped_counted_and_does_not_advance_the_schedule(text, tmp_path, monkeypatch):
    run(text, tmp_path / "calm", "--max-steps", "5", "--precision", "fp16")
    monkeypatch.setattr(torch.amp, "GradScaler", Overflowing)
    run(text, tmp_path / "run", "--max-steps", "5", "--precision", "fp16")
    assert [line[3] for line in losses(tmp_path / "run")] == [line[3] for line in losses(tmp_path / "calm")]
    state = json.loads((tmp_path / "run/checkpoints/step-0000005/state.json").read_text())
    assert (state["step"], num_batches(state), state["skipped"], state["scaler"]["scale"]) == (5, 7, 2, 65536 / 4)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_gradient_that_is_no_number_changes_nothing_and_is_counted(text, tmp_path, monkeypatch, precision, value):
    """The weights of a run in which two of seven batches were broken are those of a run that never saw these two."""
    seen, real = [], torch.nn.utils.clip_grad_norm_

    def broken(parameters, limit):
        parameters = list(parameters)
        seen.append(1)
        if len(seen) in (3, 4):
            parameters[-1].grad.fill_(value)
        return real(parameters, limit)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", broken)
    run(text, tmp_path / "run", "--max-steps", "5", "--precision", precision)
    state = json.loads((tmp_path / "run/checkpoints/step-0000005/state.json").read_text())
    assert (state["step"], num_batches(state), state["skipped"]) == (5, 7, 2)
    monkeypatch.undo()
    real_next, batches = Batches.__next__, []

    def next_unbroken(self):
        if len(batches) == 2:  # leave out the third and the fourth batch
            real_next(self)
            real_next(self)
        batches.append(1)
        return real_next(self)

    monkeypatch.setattr(Batches, "__next__", next_unbroken)
    run(text, tmp_path / "without", "--max-steps", "5", "--precision", precision)
    assert same(weights(tmp_path / "run"), weights(tmp_path / "without"))


def test_too_many_broken_gradients_in_a_row_stop_with_advice_and_a_checkpoint_that_goes_on(text, tmp_path, monkeypatch):
    real = train.Trainer.step

    def broken(self, micro_batches):
        losses, grad_norm = real(self, micro_batches)
        return losses, grad_norm * (math.nan if self.state.step >= 4 else 1)

    monkeypatch.setattr(train.Trainer, "step", broken)
    with pytest.raises(ValueError, match="inf or NaN for 20 fp32 steps in a row: try a longer --warmup"):
        run(text, tmp_path / "run", "--max-steps", "10", "--save-every", "2")
    monkeypatch.undo()
    assert train.main(["--resume", "--out", str(tmp_path / "run")]) == 0
    assert losses(tmp_path / "run")[-1][0] == 10


def test_too_many_overflows_in_a_row_stop_with_advice(text, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.amp, "GradScaler", type("Always", (Overflowing,), {"overflows": 10**9}))
    with pytest.raises(ValueError, match="use --precision bf16 or fp32"):
        run(text, tmp_path / "run", "--max-steps", "50", "--precision", "fp16")


def test_clipping_measures_unscaled_gradients(text, tmp_path):
    """The norm in the metrics of an fp16 run is that of the fp32 run, not 65,536 times as much."""
    for precision in ("fp32", "fp16"):
        run(text, tmp_path / precision, "--max-steps", "2", "--precision", precision)
    assert losses(tmp_path / "fp16")[0][2] == pytest.approx(losses(tmp_path / "fp32")[0][2], rel=0.02)


@pytest.mark.parametrize("content, message", [
    (b"", "empty"),
    (b"\n \n\n", "empty"),
    (b"\x00\x01\x02" * 100, "binary|NUL|UTF-8|text"),
    (b"a", "one line"),
    (b"a\na", "not one masked token"),
])
def test_a_useless_corpus_is_one_clear_error_and_leaves_nothing(tmp_path, content, message):
    (tmp_path / "text.txt").write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        run(tmp_path / "text.txt", tmp_path / "run", "--max-steps", "2")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_missing_corpus_and_an_unknown_name(tmp_path):
    with pytest.raises((ValueError, OSError), match="nothing.txt"):
        run(tmp_path / "nothing.txt", tmp_path / "run", "--max-steps", "2")
    with pytest.raises((ValueError, OSError), match="pydocs"):
        run("pydoc", tmp_path / "run", "--max-steps", "2")
    with pytest.raises(ValueError, match="needs a text"):
        train.main(["--preset", "bert-base", "--out", str(tmp_path / "run")])


def test_a_vocabulary_smaller_than_the_alphabet_is_refused(text, tmp_path):
    with pytest.raises(ValueError, match="100"):
        run(text, tmp_path / "run", "--max-steps", "2", "--vocab-size", "100")


@pytest.mark.parametrize("flags", [["--max-length", "2"], ["--max-length", "4", *PAIRS]])
def test_a_length_without_room_is_refused_before_the_text_is_prepared(text, tmp_path, monkeypatch, flags):
    monkeypatch.setattr("minibert.training.preparation.prepare", None)
    with pytest.raises(ValueError, match="leaves no room for (a token of text|two sentences)"):
        run(text, tmp_path / "run", "--max-steps", "2", *flags)


def test_a_length_past_the_positions_is_refused(text, tmp_path):
    with pytest.raises(ValueError, match="takes max_length 8 .max_position_embeddings 8."):
        run(text, tmp_path / "run", "--max-steps", "2", "--max-position-embeddings", "8")


def test_a_tokenizer_that_did_not_write_the_token_file_is_refused(text, tmp_path):
    run(text, tmp_path / "one", "--max-steps", "1")
    run(text, tmp_path / "two", "--max-steps", "1", "--vocab-size", "310")
    with pytest.raises(ValueError, match="another tokenizer"):
        run(text, tmp_path / "three", "--max-steps", "1", "--data", str(tmp_path / "one/data"), "--tokenizer", str(tmp_path / "two/tokenizer"))


def test_a_tokenizer_without_a_mask_token_is_refused(text, tmp_path):
    ByteLevelBPE.train([text], vocab_size=300, special_tokens=("<s>", "<pad>", "</s>", "<unk>")).save(tmp_path / "tokenizer")
    with pytest.raises(ValueError, match="mask"):
        run(text, tmp_path / "run", "--max-steps", "1", "--tokenizer", str(tmp_path / "tokenizer"))


def test_a_failed_start_removes_what_it_made_and_nothing_else(text, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/.git").mkdir()
    with pytest.raises(ValueError, match="not empty"):
        run(text, tmp_path / "mine", "--max-steps", "2")
    (tmp_path / "empty").mkdir()
    for out in ("empty", "new"):
        with pytest.raises(ValueError, match="max_length 8"):
            run(text, tmp_path / out, "--max-steps", "2", "--max-position-embeddings", "8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "mine"] and (tmp_path / "mine/.git").is_dir()


def test_ctrl_c_while_preparing_keeps_what_is_done_and_says_how_to_go_on(text, tmp_path, monkeypatch, capsys):
    real = preparation.prepare

    def interrupted(documents, tokenizer, place):
        if place.name == "eval":
            raise KeyboardInterrupt
        return real(documents, tokenizer, place)

    monkeypatch.setattr("minibert.training.preparation.prepare", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(text, tmp_path / "run", "--max-steps", "2")
    assert f"--resume --out {tmp_path / 'run'}" in capsys.readouterr().err
    monkeypatch.undo()
    assert train.main(["--resume", "--out", str(tmp_path / "run")]) == 0


def test_a_damaged_shard_is_found_before_training(text, tmp_path):
    run(text, tmp_path / "run", "--max-steps", "1")
    path = tmp_path / "run/data/train/ids-00000.bin"
    path.write_bytes(b"\xff\xff" + path.read_bytes()[2:])
    with pytest.raises(ValueError, match="ids-00000.bin is damaged: its checksum is"):
        train.main(["--resume", "--out", str(tmp_path / "run")])


def test_a_truncated_checkpoint_is_reported_and_kept_and_the_one_before_is_used(text, tmp_path, capsys):
    run(text, tmp_path / "run", "--max-steps", "6", "--save-every", "3")
    expected = weights(tmp_path / "run")
    newest = tmp_path / "run/checkpoints/step-0000006"
    for n, name in enumerate(("model.safetensors", "optimizer.pt", "state.json"), start=1):
        whole = (newest / name).read_bytes()
        (newest / name).write_bytes(whole[: len(whole) // 2])
        assert train.main(["--resume", "--out", str(tmp_path / "run")]) == 0
        assert "step-0000006 cannot be read" in capsys.readouterr().err
        assert same(weights(tmp_path / "run"), expected)  # steps 4 to 6 were done again, alike
        assert checkpoint.checkpoints(tmp_path / "run")[-1] == newest
        assert abs((newest / name).stat().st_size - len(whole)) < 40  # whole again; seconds in state.json have more or fewer digits
        kept = tmp_path / f"run/checkpoints/unreadable-step-0000006-{n}" / name
        assert kept.read_bytes() == whole[: len(whole) // 2]


def test_checkpoints_none_of_which_can_be_read_are_not_overwritten(text, tmp_path):
    run(text, tmp_path / "run", "--max-steps", "2")
    (tmp_path / "run/checkpoints/step-0000002/state.json").unlink()
    with pytest.raises(ValueError, match="move them away"):
        train.main(["--resume", "--out", str(tmp_path / "run")])


def test_a_checkpoint_with_code_in_it_is_refused(text, tmp_path, monkeypatch):
    import pickle

    class Code:
        def __reduce__(self):
            return (pytest.fail, ("code from a checkpoint was run",))

    run(text, tmp_path / "run", "--max-steps", "2")
    (tmp_path / "run/checkpoints/step-0000002/optimizer.pt").write_bytes(pickle.dumps(Code()))
    with pytest.raises(ValueError, match="none of the 1 checkpoints"):
        train.main(["--resume", "--out", str(tmp_path / "run")])


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 300 kB, where the system lets us mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(place)], capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs is not allowed here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_is_really_full_is_an_oserror_and_leaves_a_checkpoint_that_loads(text, small_disk):
    with pytest.raises(OSError, match="No space left on device: .*/step-0{6}[0-9]'$"):
        run(text, small_disk / "run", "--max-steps", "50", "--save-every", "1", "--keep-checkpoints", "50")
    found = checkpoint.checkpoints(small_disk / "run")
    assert found and not list((small_disk / "run/checkpoints").glob(".*"))
    assert from_pretrained(found[-1]).num_parameters() > 0


def test_a_full_disk_while_saving_leaves_the_checkpoint_before(text, tmp_path, monkeypatch):
    real = Path.write_bytes

    def full(path, content):
        if "step-0000004" in str(path):
            raise OSError(28, "No space left on device", str(path))
        return real(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left on device: .*/step-0{6}[0-9]'$"):
        run(text, tmp_path / "run", "--max-steps", "6", "--save-every", "2")
    monkeypatch.undo()
    assert [path.name for path in (tmp_path / "run/checkpoints").iterdir()] == ["step-0000002"]
    assert train.main(["--resume", "--out", str(tmp_path / "run")]) == 0


@pytest.mark.parametrize("log_every", ["1", "100"])
def test_a_loss_that_is_not_finite_stops_the_run_and_is_not_saved(text, tmp_path, monkeypatch, log_every):
    real = train.Trainer.step

    def broken(self, micro_batches):
        losses, grad_norm = real(self, micro_batches)
        if self.state.step >= 3:
            losses.totals["loss"] *= math.nan
        return losses, grad_norm

    monkeypatch.setattr(train.Trainer, "step", broken)
    with pytest.raises(ValueError, match="try a lower --learning-rate"):
        run(text, tmp_path / "run", "--max-steps", "10", "--log-every", log_every, "--save-every", "2")
    assert [folder.name for folder in checkpoint.checkpoints(tmp_path / "run")] == ["step-0000002"]


def test_an_unknown_device_says_which_there_are(text, tmp_path):
    with pytest.raises(ValueError, match="--device cpu"):
        run(text, tmp_path / "run", "--max-steps", "1", "--device", "cuda")


def test_a_mistake_on_the_command_line_is_one_line_and_an_exit_code():
    """As a user sees it, in a process of its own."""
    for flags, code, last in ((["--preset", "kantt"], 1, f"error: unknown preset 'kantt': did you mean kant? (presets: {', '.join(PRESETS)})"),
                              (["--batchsize", "3"], 2, "(train.py --help lists all flags)")):
        done = run_command(train.__file__, *flags)
        assert done.returncode == code and done.stderr.splitlines()[-1] == last and "Traceback" not in done.stderr


def test_two_processes_do_not_train_in_one_folder(text, tmp_path):
    fcntl = pytest.importorskip("fcntl")
    run(text, tmp_path / "run", "--max-steps", "1")
    descriptor = os.open(tmp_path / "run", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(ValueError, match="another process is training"):
        train.main(["--resume", "--out", str(tmp_path / "run")])
    os.close(descriptor)
    assert train.main(["--resume", "--out", str(tmp_path / "run")]) == 0


@pytest.mark.parametrize("place", ["backward", "step"])
def test_sigterm_in_the_middle_of_a_step_finishes_it_and_saves(text, tmp_path, monkeypatch, place):
    """After the gradients, before the weights; and in between two parameters: what is saved is the whole step, and goes on bit for bit."""
    calls, owner, name = [], *{"backward": (torch.nn.utils, "clip_grad_norm_"), "step": (torch.optim.AdamW, "_init_group")}[place]
    real = getattr(owner, name)

    def terminated(*arguments):
        calls.append(1)
        if len(calls) == {"backward": 3, "step": 8}[place]:  # the optimiser has three groups
            os.kill(os.getpid(), signal.SIGTERM)
        return real(*arguments)

    run(text, tmp_path / "whole", "--max-steps", "5")
    monkeypatch.setattr(owner, name, terminated)
    assert run(text, tmp_path / "run", "--max-steps", "5", "--save-every", "0") == 130
    assert [folder.name for folder in checkpoint.checkpoints(tmp_path / "run")] == ["step-0000003"]
    assert train.main(["--resume", "--out", str(tmp_path / "run")]) == 0
    assert losses(tmp_path / "run") == losses(tmp_path / "whole") and same(weights(tmp_path / "run"), weights(tmp_path / "whole"))


def test_a_screen_that_is_closed_early_does_not_end_the_run(text, tmp_path):
    """`train.py ... | head -1`: the rest of the run happens, and says so by its files."""
    flags = [*SMALL, "--corpus", str(text), "--out", str(tmp_path / "run"), "--max-steps", "3"]
    process = Running(train.__file__, *flags, with_errors=False)
    process.stdout.readline()
    assert process.wait() == 0 and (tmp_path / "run/model/model.safetensors").exists()
