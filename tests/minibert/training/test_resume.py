"""A run that is stopped and resumed ends like an uninterrupted one."""
import os
import shutil
import signal
import threading
import time

import pytest
import torch
from train_helpers import (
    PAIRS,
    assert_same_runs,
    checkpoint_names,
    first_gradients,
    last_state,
    losses,
    metrics,
    resume,
    run,
    same,
    stopped_in_step,
    weights,
)

import train
from data import prepare
from tokenizer import load_tokenizer


@pytest.fixture
def small_windows(monkeypatch):
    """Windows of a stream with about 30 of the 100 documents."""
    monkeypatch.setattr("data.stream.BATCH_CHARACTERS", 1000)
    monkeypatch.setattr("data.stream.WINDOW_BATCHES", 3)


@pytest.mark.parametrize("flags", [
    "--optimizer adamw --precision fp16",
    "--precision bf16 --hidden-dropout-prob 0.1 --attention-probs-dropout-prob 0.1 --log-every 3 "
    "--micro-batch-size 16",
    " ".join(PAIRS) + " --log-every 3",
    "--masking spans --tokenizer-kind wordpiece --equal-tokens --micro-batch-size 16",
    "--stream --equal-tokens",
    "--stream " + " ".join(PAIRS),
    "--objective causal --hidden-dropout-prob 0.1",
    "--objective span-corruption --vocab-size 420 --micro-batch-size 16",
])
def test_a_stopped_and_resumed_run_equals_an_uninterrupted_one(
        text, tmp_path, small_windows, flags):
    """10 steps; and 5 steps, a stop, and 5 more. An epoch ends after 8 steps."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    flags = ["--max-steps", "10", "--examples", "lines", "--batch-size", "40", *flags.split()]
    assert run(text, whole, *flags) == 0
    assert run(text, parts, *flags, trainer=stopped_in_step(5)) == 130
    assert checkpoint_names(parts)[-1] == "step-0000005"
    assert resume(parts) == 0
    assert_same_runs(whole, parts)
    for name in ("step", "data_state", "scaler"):
        assert last_state(whole)[name] == last_state(parts)[name]


def test_a_stream_refuses_to_resume_in_another_text(text, tmp_path):
    copy = tmp_path / "copy.txt"
    shutil.copy(text, copy)
    stopped = stopped_in_step(2)
    assert run(copy, tmp_path / "run", "--max-steps", "4", "--stream", trainer=stopped) == 130
    copy.write_text(text.read_text().replace("a", "o"))
    with pytest.raises(ValueError, match="the text of the corpus has changed"):
        resume(tmp_path / "run")
    shutil.copy(text, copy)
    assert resume(tmp_path / "run") == 0


@pytest.mark.parametrize("flags", [[], ["--stream", "--sentences", "--filters", "short=1"]])
def test_replaced_bytes_are_counted_and_replaced_again_in_a_resumed_run(
        text, tmp_path, small_windows, capsys, flags):
    damaged = tmp_path / "damaged.txt"
    damaged.write_bytes(b"caf\xe9 \xff\n" + text.read_bytes() + b"\n\xe9\n")
    flags = ["--max-steps", "6", "--encoding-errors", "replace", *flags]
    assert run(damaged, tmp_path / "run", *flags, trainer=stopped_in_step(2)) == 130
    assert f"replaced    3 characters of invalid UTF-8, in 1 file ({damaged})" in (
        capsys.readouterr().out)
    assert resume(tmp_path / "run") == 0
    with pytest.raises(ValueError, match="--encoding-errors: replace in the run, strict now"):
        resume(tmp_path / "run", "--encoding-errors", "strict")


class SlowCorpus:
    """Sends Ctrl-C when the prefetching thread reads document 50; the next take a second each."""

    def __init__(self, corpus):
        self.corpus = corpus
        self.interrupted = None

    def __getattr__(self, name):
        return getattr(self.corpus, name)

    def documents(self, split):
        for i, document in enumerate(self.corpus.documents(split)):
            if i >= 50 and threading.current_thread() is not threading.main_thread():
                time.sleep(1)
                if not self.interrupted:
                    self.interrupted = time.monotonic()
                    os.kill(os.getpid(), signal.SIGINT)
            yield document


def test_ctrl_c_while_a_stream_reads_stops_at_once_and_loses_nothing(
        text, tmp_path, small_windows):
    class SlowReader(train.Trainer):
        def __init__(self, run, data):
            data.train_source.corpus = self.corpus = SlowCorpus(data.train_source.corpus)
            super().__init__(run, data)

        def fit(self):
            code = super().fit()
            assert time.monotonic() - self.corpus.interrupted < 5
            return code

    flags = "--max-steps 20 --batch-size 8 --stream --examples lines".split()
    assert run(text, tmp_path / "whole", *flags) == 0
    assert run(text, tmp_path / "parts", *flags, trainer=SlowReader) == 130
    num_steps = losses(tmp_path / "parts")[-1][0]
    assert 0 < num_steps < 20
    assert last_state(tmp_path / "parts")["step"] == num_steps
    assert resume(tmp_path / "parts") == 0
    assert_same_runs(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("examples", [["--examples", "lines"], PAIRS])
def test_gradients_accumulated_over_micro_batches_are_those_of_the_whole_batch(
        text, tmp_path, examples):
    """Although the micro-batches have different numbers of masked tokens."""
    whole = first_gradients(text, tmp_path / "whole", *examples)
    accumulated = first_gradients(text, tmp_path / "micro", *examples, "--micro-batch-size", "1")
    for one, two in zip(whole, accumulated, strict=True):
        assert torch.allclose(one, two, atol=1e-6)


def test_resuming_a_finished_run_changes_nothing(finished, two_steps):
    assert resume(finished) == 0
    assert metrics(finished) == metrics(two_steps)
    assert same(weights(finished), weights(two_steps))


class Clock:
    """Replaces the module time: an eighth of a second passes between two looks."""

    now = 0.0

    def monotonic(self):
        self.now += 0.125
        return self.now


def test_a_run_by_the_clock_counts_only_the_time_of_training(text, tmp_path, monkeypatch):
    clock = Clock()
    monkeypatch.setattr("minibert.training.state.time", clock)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(text, whole, "--minutes", "0.099")
    assert run(text, parts, "--minutes", "0.099", trainer=stopped_in_step(10)) == 130
    clock.now += 86_400  # a day between stopping and resuming
    assert resume(parts) == 0
    assert losses(parts) == losses(whole)
    assert resume(parts) == 0  # its last step ended a moment after its time, which is no error
    with pytest.raises(ValueError, match=r"has trained for 0\.1.* minutes, more than the 0\.01"):
        resume(parts, "--minutes", "0.01")


def test_an_allowed_change_is_remembered(finished):
    flags = "--max-steps 8 --weight-decay 0.5 --may-differ weight-decay".split()
    assert resume(finished, *flags, trainer=stopped_in_step(4)) == 130
    assert resume(finished) == 0
    state = last_state(finished)
    assert state["step"] == 8
    assert state["config"]["train"]["weight_decay"] == 0.5
    moments = torch.load(finished / "checkpoints/step-0000008/optimizer.pt", weights_only=True)
    # Muon's matrices, AdamW's, and the vectors, which do not decay.
    assert sorted(group["weight_decay"] for group in moments["param_groups"]) == [0.0, 0.5, 0.5]


@pytest.mark.parametrize("flags, batch, next_batch", [
    ([], 5, 10),  # 5 of 8 batches of 40 are 9 of 15 batches of 20, and one step follows
    (["--stream"], 2, 1),  # the window starts again
])
def test_another_batch_size_continues_at_the_same_place(
        text, tmp_path, small_windows, flags, batch, next_batch):
    flags = ["--max-steps", "5", "--examples", "lines", "--batch-size", "40", *flags]
    assert run(text, tmp_path / "run", *flags) == 0
    before = last_state(tmp_path / "run")["data_state"]
    flags = "--batch-size 20 --max-steps 6 --may-differ batch-size".split()
    assert resume(tmp_path / "run", *flags) == 0
    after = last_state(tmp_path / "run")["data_state"]
    assert (before["batch"], after["batch"]) == (batch, next_batch)


def test_another_batch_size_keeps_the_number_of_steps(text, tmp_path):
    flags = ["--epochs", "2", "--examples", "lines", "--batch-size", "40"]
    assert run(text, tmp_path / "run", *flags, trainer=stopped_in_step(12)) == 130
    flags = "--batch-size 80 --may-differ batch-size".split()
    assert resume(tmp_path / "run", *flags) == 0
    assert last_state(tmp_path / "run")["step"] == 16  # 2 epochs of 8


def test_a_refused_change_leaves_the_run_as_it_was(finished):
    before = (finished / "config.json").read_text()
    for change in ("--hidden-size 32 --may-differ hidden_size",
                   "--max-steps 1", "--max-steps 0"):
        with pytest.raises(ValueError):
            resume(finished, *change.split())
    assert (finished / "config.json").read_text() == before
    assert resume(finished) == 0


def test_the_precision_of_a_run_is_chosen_once(text, tmp_path, monkeypatch):
    out = tmp_path / "run"
    monkeypatch.setattr("minibert.device.cpu_has_bf16", lambda: True)
    run(text, out, "--max-steps", "2", "--precision", "auto")
    monkeypatch.setattr("minibert.device.cpu_has_bf16", lambda: False)  # another machine
    assert resume(out) == 0
    assert last_state(out)["config"]["train"]["precision"] == "bf16"
    with pytest.raises(ValueError, match="precision: bf16 in the run, fp16 now"):
        resume(out, "--precision", "fp16")
    assert resume(out, "--precision", "fp16", "--may-differ", "precision") == 0


def test_a_run_resumes_without_its_corpus_and_the_tokenizer_it_was_given(text, tmp_path):
    run(text, tmp_path / "first", "--max-steps", "1")
    copy = tmp_path / "copy.txt"
    shutil.copy(text, copy)
    tokenizer = tmp_path / "first/tokenizer"
    run(copy, tmp_path / "run", "--max-steps", "2", "--tokenizer", str(tokenizer))
    copy.unlink()
    shutil.rmtree(tmp_path / "first")
    assert resume(tmp_path / "run") == 0


def test_only_the_newest_checkpoints_are_kept(text, tmp_path):
    run(text, tmp_path / "run", *"--max-steps 9 --save-every 2 --keep-checkpoints 3".split())
    assert checkpoint_names(tmp_path / "run") == ["step-0000006", "step-0000008", "step-0000009"]


def test_another_token_file_is_refused(finished):
    """``python -m data prepare --out RUN/data/train`` again, on another text."""
    documents = ["The cat sees a dog.\n" * 40] * 9
    prepare(documents, load_tokenizer(finished), finished / "data/train")
    with pytest.raises(ValueError, match="data/train is not the one that the checkpoint was"):
        resume(finished)


def test_fewer_steps_than_were_taken_name_what_is_possible(finished):
    match = "run is at step 2, past the 1 step asked for: ask for at least 2, leave .*new run"
    with pytest.raises(ValueError, match=match):
        resume(finished, "--max-steps", "1")
    assert resume(finished, "--max-steps", "2") == 0


def test_a_finished_run_says_how_to_continue(finished, capsys):
    resume(finished)
    assert f"--resume --out {finished} --max-steps LARGER\n" in capsys.readouterr().out
    with pytest.raises(ValueError, match="or allow the change with --may-differ seed$"):
        resume(finished, "--max-steps", "3", "--seed", "7")


@pytest.mark.parametrize("flags, change, rate", [
    # step 5 of 8, as in a run of 8 from the start: (1 - 4.5 / 8) / 0.9 of the peak of 0.006
    ("--max-steps 8", "max_steps: 4 in the checkpoint, 8 now", "learning rate 0.0029."),
    ("--epochs 0.1", "max_steps: 4 in the checkpoint, 0 now\nchanged     epochs: 0 in the "
     "checkpoint, 0.1 now", "step 5 has the learning rate"),
])
def test_a_run_trains_for_longer_and_says_what_changes(
        text, tmp_path, capsys, flags, change, rate):
    run(text, tmp_path / "run", "--max-steps", "4", "--schedule", "linear")
    capsys.readouterr()
    assert resume(tmp_path / "run", *flags.split()) == 0
    shown = capsys.readouterr().out
    assert f"changed     {change}\n" in shown and rate in shown
    assert resume(tmp_path / "run") == 0
    assert "changed " not in capsys.readouterr().out


def test_a_stream_cannot_be_continued_for_epochs_whose_length_is_unknown(text, tmp_path):
    run(text, tmp_path / "run", "--max-steps", "2", "--stream")
    with pytest.raises(ValueError, match="with --stream the length of an epoch is unknown"):
        resume(tmp_path / "run", "--epochs", "1")
