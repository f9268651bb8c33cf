"""Metrics survive crashes, signals ask for an orderly end, the bar and the loss curve are drawn."""
import json
import os
import signal
import time

import pytest

from minibert.analysis.plots import (
    label_ends,
    new_figure,
    plot_loss,
    read_metrics,
    smooth,
)
from minibert.device import SharedCores
from minibert.training.metrics import Metrics
from minibert.training.progress import ProgressBar
from minibert.training.run import locked_run
from minibert.training.state import TrainState
from tokenizer.utils.signals import StopRequest


def test_a_resumed_run_drops_the_lines_that_it_will_write_again(tmp_path):
    path = tmp_path / "metrics.jsonl"
    metrics = Metrics(path, step=0, header={"ln_vocab": 9.0})
    for step in (0, 10, 20, 30):
        metrics.write({"step": step, "loss": 1.0})
    with path.open("a") as file:
        file.write('[1]\n{"step": 40, "lo')  # killed while writing
    Metrics(path, step=20, header={"ln_vocab": 9.0})
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line.get("step") for line in lines] == [None, 0, 10, 20]


@pytest.fixture
def hangup_not_ignored():
    """Without this, the tests would fail under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hangup_not_ignored")
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_requests_a_stop_and_a_second_one_interrupts(signum):
    before = signal.getsignal(signum)
    with StopRequest() as stop:
        assert not stop.requested
        os.kill(os.getpid(), signum)
        assert stop.requested
        os.kill(os.getpid(), signum)  # within a second: a duplicate, passed on by torchrun
        stop.since -= 1
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signum)
    assert signal.getsignal(signum) is before


@pytest.mark.usefixtures("hangup_not_ignored")
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_a_termination_signal_while_a_run_is_prepared_acts_like_ctrl_c(tmp_path, signum):
    before = signal.getsignal(signum)
    with pytest.raises(KeyboardInterrupt), locked_run(tmp_path):
        os.kill(os.getpid(), signum)
    assert signal.getsignal(signum) is before
    with locked_run(tmp_path):  # the folder is free again
        pass


def test_nohup_keeps_a_run_alive_after_a_hangup(tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with locked_run(tmp_path), StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.requested
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_stop_request_ends_an_interruptible_wait():
    def slow():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)

    with StopRequest() as stop:
        assert stop.interruptible(lambda: 3) == 3
        start = time.monotonic()
        assert stop.interruptible(slow) is None
        assert time.monotonic() - start < 10
        assert stop.requested
        assert stop.interruptible(lambda: 3) is None  # a stop was requested already


@pytest.mark.parametrize("total_steps, minutes, expected", [(100, 0, 41), (0, 2, 120)])
def test_the_bar_counts_steps_or_seconds(total_steps, minutes, expected):
    bar = ProgressBar.of(total_steps, minutes, TrainState(step=40, elapsed=9.0))
    bar.advance(TrainState(step=41, elapsed=130.0), tokens=5)
    bar.close()
    assert bar.n == expected


@pytest.mark.parametrize("data_state, ending", [
    ({"pass": 1, "read": [38_200_000, 1_120_000_000]}, "tokens/s pass 2, 38.2 of 1,120.0 MB"),
    ({"pass": 0, "read": None}, "tokens/s pass 1"),
    ({"epoch": 0, "first": 0}, "tokens/s"),
])
def test_the_bar_of_a_stream_shows_how_much_it_has_read(data_state, ending):
    bar = ProgressBar.of(100, 0, TrainState())
    bar.show(10, {"loss": 5.0}, 1e-3, data_state, SharedCores())
    bar.close()
    assert bar.postfix.endswith(ending)


@pytest.mark.parametrize("used, ending", [
    (1.04, "tokens/s (other programs use 1.0 of 2 cores)"),
    (0.19, "tokens/s"),  # less than a tenth of the cores
])
def test_the_bar_shows_that_other_programs_use_the_cores(used, ending):
    cores = SharedCores()
    cores.used_by_others, cores.total = used, 2
    bar = ProgressBar.of(100, 0, TrainState())
    bar.show(10, {"loss": 5.0}, 1e-3, {}, cores)
    bar.close()
    assert bar.postfix.endswith(ending)


def write_metrics(folder, label="bert"):
    folder.mkdir()
    header = {"label": label, "ln_vocab": 9.0, "unigram_entropy": 6.0, "mlm_probability": 0.4,
              "eval_mlm_probability": 0.15}
    metrics = Metrics(folder / "metrics.jsonl", 0, header)
    for step in range(1, 30):
        metrics.write({"step": step, "loss": 9 - step / 10, "elapsed": step * 2.0})
    metrics.write({"step": 29, "eval_loss": 6.5, "elapsed": 58.0})
    return folder


def test_metrics_are_read_back_by_kind(tmp_path):
    training, evaluations, expected = read_metrics(write_metrics(tmp_path / "run"))
    assert len(training) == 29
    assert evaluations[0]["eval_loss"] == 6.5
    assert expected["unigram_entropy"] == 6.0
    with pytest.raises(ValueError, match="metrics.jsonl"):
        read_metrics(tmp_path / "missing")


def test_the_loss_curves_of_several_runs_are_one_picture(tmp_path):
    pytest.importorskip("matplotlib")
    runs = [write_metrics(tmp_path / name) for name in ("a", "b")]
    plot_loss(runs, tmp_path / "loss.png", by="minutes")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("labels, shown", [
    (["bert"], [""]), (["bert", "$\\x_$"], ["bert: ", "$\\x_$: "]),  # no formula
    (["bert", "bert"], ["FOLDER/0: ", "FOLDER/1: "]),  # equal labels would not tell them apart
])
def test_every_line_is_labeled_at_its_end(tmp_path, labels, shown):
    matplotlib = pytest.importorskip("matplotlib")
    runs = [write_metrics(tmp_path / str(i), label) for i, label in enumerate(labels)]
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        plot_loss(runs, tmp_path / "loss.svg")
    picture = (tmp_path / "loss.svg").read_text()
    for run in shown:
        for name in ("training, 40% masked", "validation, 15% masked"):
            assert picture.count(f">{run.replace('FOLDER', str(tmp_path))}{name}<") == 1
    assert picture.count(">unigram entropy: context ignored<") == 1


def test_labels_move_apart_only_where_they_would_meet():
    pytest.importorskip("matplotlib")
    axes = new_figure(4, 3).subplots()
    axes.set(xlim=(0, 100), ylim=(0, 20))
    label_ends(axes, [(10, 1, "short", "r"), (99, 5, "long", "b"), (98, 5.5, "longer", "g")])
    assert [text.xyann[1] for text in axes.texts] == [1, 5, 6]


def test_labels_are_right_of_all_dots_and_point_to_the_ends_of_their_lines():
    """Training is logged before the last evaluation here: its label was drawn over the dot."""
    Text = pytest.importorskip("matplotlib.text").Text
    figure = new_figure(8, 4)
    axes = figure.subplots()
    axes.plot([1, 90], [9, 5.0])
    axes.plot([50, 99], [7, 5.05], "o-")
    label_ends(axes, [(90, 5.0, "training", "r"), (99, 5.05, "validation", "r")])
    figure.draw_without_rendering()
    training, validation = axes.texts
    for label, end in ((training, (90, 5.0)), (validation, (99, 5.05))):
        assert Text.get_window_extent(label).x0 > axes.bbox.x1
        pointer = label.arrow_patch.get_path().vertices
        assert pointer[-1] == pytest.approx(axes.transData.transform(end), abs=1)
    assert Text.get_window_extent(validation).y0 > Text.get_window_extent(training).y1


def test_a_short_run_is_not_smoothed():
    losses = [9.0, 7.5, 6.0, 5.9, 5.0] * 19
    assert smooth(losses) == losses


def test_the_smoothed_curve_of_a_long_run_is_not_late():
    """A line stays a line; noise of period two nearly vanishes in a window of 21 of 1,000."""
    line = [10 - i / 200 for i in range(1000)]
    assert smooth(line)[:990] == pytest.approx(line[:990])
    assert smooth(line)[-1] == pytest.approx(line[-1], abs=0.03)
    noisy = [value + (-1) ** i for i, value in enumerate(line)]
    assert smooth(noisy)[10:990] == pytest.approx(line[10:990], abs=0.05)
