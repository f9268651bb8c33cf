"""Metrics survive crashes, signals ask for an orderly end, pictures are drawn."""
import json
import os
import signal
import time

import pytest

from minibert.analysis.plots import plot_loss, read_metrics, smooth
from minibert.interrupts import StopRequest
from minibert.training.progress import Metrics, ProgressBar, locked_run
from minibert.training.state import TrainState


def test_a_resumed_run_drops_the_lines_it_will_write_again(tmp_path):
    path = tmp_path / "metrics.jsonl"
    metrics = Metrics(path, step=0, header={"ln_vocab": 9.0})
    for step in (10, 20, 30):
        metrics.write({"step": step, "loss": 1.0})
    with path.open("a") as file:
        file.write('[1]\n{"step": 40, "lo')  # killed while writing
    assert [line.get("step") for line in read_metrics(tmp_path)[0]] == [10, 20, 30]
    Metrics(path, step=20, header={"ln_vocab": 9.0})
    assert [json.loads(line).get("step") for line in path.read_text().splitlines()] == [None, 10, 20]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_asks_for_an_orderly_end_and_a_second_one_stops_at_once(number):
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert not stop.requested
        os.kill(os.getpid(), number)
        assert stop.requested
        os.kill(os.getpid(), number)  # torchrun passes on at once what the terminal has sent already: the same request
        stop.since -= 1
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_while_a_run_is_prepared_sigterm_is_as_ctrl_c(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        with locked_run(tmp_path):
            os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
    with locked_run(tmp_path):  # the folder is free again
        pass


def test_the_bar_counts_steps_or_seconds():
    steps = ProgressBar.of(100, 0, TrainState(step=40, elapsed=9.0))
    steps.advance(TrainState(step=41, elapsed=9.5), tokens=5)
    clock = ProgressBar.of(0, 2, TrainState(step=40, elapsed=9.0))
    clock.advance(TrainState(step=41, elapsed=130.0), tokens=5)
    assert (steps.n, steps.total) == (41, 100) and (clock.n, clock.total) == (120, 120)
    steps.close(), clock.close()


def test_of_a_stream_the_bar_says_how_far_it_has_read():
    bar = ProgressBar.of(100, 0, TrainState())
    for position, expected in (({"pass": 1, "read": [38_200_000, 1_120_000_000]}, "tokens/s pass 2, 38.2 of 1,120.0 MB"),
                               ({"pass": 0, "read": None}, "tokens/s pass 1"), ({"epoch": 0, "first": 0}, "tokens/s")):
        bar.show(10, {"loss": 5.0}, 1e-3, position)
        assert bar.postfix.endswith(expected)
    bar.close()


def test_what_is_waited_for_is_broken_off_by_a_request_and_what_is_not_waited_for_is_not():
    with StopRequest() as stop:
        assert stop.interruptible(lambda: 3) == 3
        start = time.monotonic()
        assert stop.interruptible(lambda: (os.kill(os.getpid(), signal.SIGINT), time.sleep(60))) is None
        assert stop.requested and time.monotonic() - start < 10
        assert stop.interruptible(lambda: 3) is None  # it is known already


def run_directory(folder):
    metrics = Metrics(folder / "metrics.jsonl", 0, {"label": "bert", "unigram_entropy": 6.0})
    for step in range(1, 30):
        metrics.write({"step": step, "loss": 9 - step / 10, "elapsed": step * 2.0})
    metrics.write({"step": 29, "eval_loss": 6.5, "elapsed": 58.0})
    return folder


def test_metrics_are_read_back_by_kind(tmp_path):
    training, evaluations, expected = read_metrics(run_directory(tmp_path))
    assert len(training) == 29 and evaluations[0]["eval_loss"] == 6.5 and expected["unigram_entropy"] == 6.0
    with pytest.raises(ValueError, match="metrics.jsonl"):
        read_metrics(tmp_path / "nothing")


@pytest.mark.parametrize("by", ["step", "minutes"])
def test_a_picture_of_several_runs_is_drawn(tmp_path, by):
    pytest.importorskip("matplotlib")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        run_directory(tmp_path / name)
    plot_loss([tmp_path / "a", tmp_path / "b"], tmp_path / "loss.png", by=by)
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_smoothing_starts_without_a_bias_towards_zero():
    assert smooth([5.0, 5.0, 5.0]) == pytest.approx([5.0, 5.0, 5.0])
