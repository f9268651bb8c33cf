"""A run that is stopped goes on as if it had not been, and nothing changes by accident."""
import json
import os
import re
import shutil
import signal
import threading
import time

import pytest
import torch
from train_helpers import PAIRS, losses, run, same, stop_after, weights

import train
from data.corpora import FileCorpus
from minibert.training import checkpoint


@pytest.mark.parametrize("flags", [
    pytest.param([], id="plain"),
    pytest.param(["--micro-batch-size", "3"], id="accumulation"),
    pytest.param(["--hidden-dropout-prob", "0.1", "--attention-probs-dropout-prob", "0.1"], id="dropout"),
    pytest.param(["--precision", "fp16"], id="fp16"),
    pytest.param(["--optimizer", "muon"], id="muon"),
    pytest.param(["--optimizer", "muon", "--precision", "fp16"], id="muon-fp16"),
    pytest.param(["--precision", "bf16", "--log-every", "3"], id="bf16"),
    pytest.param([*PAIRS, "--log-every", "3"], id="pairs"),
    pytest.param(["--masking", "spans", "--tokenizer-kind", "wordpiece"], id="spans"),
    pytest.param(["--stream"], id="stream"),
    pytest.param(["--stream", *PAIRS], id="stream-pairs"),
])
def test_a_run_that_was_stopped_and_resumed_equals_an_uninterrupted_one(text, tmp_path, monkeypatch, flags):
    """40 steps, and 20 + stop + 20: losses, gradient norms, rates and weights agree bit for bit."""
    monkeypatch.setattr("data.stream.BATCH_CHARACTERS", 1000)  # of a stream the window is small, too
    monkeypatch.setattr("data.stream.WINDOW_BATCHES", 3)
    flags = ["--max-steps", "40", "--preset", "quickstart", "--examples", "lines", "--batch-size", "10", *flags]  # an epoch ends after 29 steps
    assert run(text, tmp_path / "whole", *flags) == 0
    stop_after(monkeypatch, 20)
    assert run(text, tmp_path / "parts", *flags) == 130
    assert checkpoint.checkpoints(tmp_path / "parts")[-1].name == "step-0000020"
    stop_after(monkeypatch, None)
    assert train.main(["--resume", "--out", str(tmp_path / "parts")]) == 0
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert same(weights(tmp_path / "parts"), weights(tmp_path / "whole"))
    one, two = (json.loads((tmp_path / name / "checkpoints/step-0000040/state.json").read_text()) for name in ("whole", "parts"))
    assert one["scaler"] == two["scaler"] and (one["step"], one["data_state"]) == (two["step"], two["data_state"])


def test_a_stream_goes_on_in_the_same_text_alone(text, tmp_path, monkeypatch):
    copy = tmp_path / "copy.txt"
    copy.write_text(text.read_text())
    stop_after(monkeypatch, 2)
    assert run(copy, tmp_path / "run", "--max-steps", "4", "--stream") == 130
    stop_after(monkeypatch, None)
    copy.write_text(text.read_text().replace("a", "o"))
    resume = ["--resume", "--out", str(tmp_path / "run")]
    with pytest.raises(ValueError, match="the text of the corpus has changed"):
        train.main(resume)
    copy.write_text(text.read_text())
    assert train.main(resume) == 0


def test_ctrl_c_while_a_stream_reads_on_stops_at_once_and_loses_nothing(text, tmp_path, monkeypatch, capsys):
    """The second window takes ten seconds to read, and the steps of the first are done when the signal comes."""
    monkeypatch.setattr("data.stream.BATCH_CHARACTERS", 1000)
    monkeypatch.setattr("data.stream.WINDOW_BATCHES", 3)
    flags = ["--max-steps", "40", "--stream", "--examples", "lines"]
    assert run(text, tmp_path / "whole", *flags) == 0
    real, sent = FileCorpus.documents, []

    def documents(self, split):
        for number, document in enumerate(real(self, split)):
            if number > 50 and threading.current_thread() is not threading.main_thread():
                time.sleep(0.3 if sent else 0.6)
                if not sent:
                    sent.append(time.monotonic())
                    os.kill(os.getpid(), signal.SIGINT)
            yield document

    monkeypatch.setattr(FileCorpus, "documents", documents)
    assert run(text, tmp_path / "parts", *flags) == 130
    assert time.monotonic() - sent[0] < 0.9
    done = losses(tmp_path / "parts")[-1][0]
    assert 0 < done < 40 and checkpoint.checkpoints(tmp_path / "parts")[-1].name == f"step-{done:07}"
    monkeypatch.setattr(FileCorpus, "documents", real)
    assert train.main(["--resume", "--out", str(tmp_path / "parts")]) == 0
    assert re.search(rf"resuming    at step {done} after .* minutes, at pass 1, 0.0 of 0.0 MB of the text\n", capsys.readouterr().out)
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole") and same(weights(tmp_path / "parts"), weights(tmp_path / "whole"))


def test_micro_batches_do_not_change_the_result(text, tmp_path):
    for size in ("0", "1"):
        run(text, tmp_path / size, "--max-steps", "5", "--micro-batch-size", size)
    for (_, one, norm_one, _), (_, two, norm_two, _) in zip(losses(tmp_path / "0"), losses(tmp_path / "1")):
        assert one == pytest.approx(two, rel=1e-5) and norm_one == pytest.approx(norm_two, rel=1e-4)


@pytest.mark.parametrize("examples", [["--examples", "lines"], PAIRS])
def test_gradients_of_micro_batches_are_those_of_the_whole_batch(text, tmp_path, monkeypatch, examples):
    """K micro-batches of B against one batch of K x B, to 1e-6, though their masked counts differ."""
    gradients = []

    def keep(parameters, limit):
        gradients.append([p.grad.clone() for p in parameters])
        return torch.tensor(0.0)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", keep)
    for size in ("0", "1"):
        run(text, tmp_path / size, "--max-steps", "1", "--micro-batch-size", size, *examples)
    for one, two in zip(*gradients):
        assert torch.allclose(one, two, atol=1e-6)


def test_resuming_a_finished_run_trains_no_further(text, tmp_path):
    run(text, tmp_path / "run", "--max-steps", "3")
    before = losses(tmp_path / "run"), weights(tmp_path / "run")
    assert train.main(["--resume", "--out", str(tmp_path / "run")]) == 0
    assert losses(tmp_path / "run") == before[0] and same(weights(tmp_path / "run"), before[1])


class Clock:
    """In the place of the module time: an eighth of a second passes from one look to the next."""

    now = 0.0

    def monotonic(self):
        self.now += 0.125
        return self.now


def test_minutes_are_counted_on_where_a_run_goes_on(text, tmp_path, monkeypatch):
    """Rates follow the seconds that were trained, not those that passed in between; a length that is over already is refused."""
    clock = Clock()
    monkeypatch.setattr("minibert.training.state.time", clock)
    run(text, tmp_path / "whole", "--minutes", "0.099")
    stop_after(monkeypatch, 10)
    assert run(text, tmp_path / "parts", "--minutes", "0.099") == 130
    clock.now += 86_400
    resume = ["--resume", "--out", str(tmp_path / "parts")]
    with pytest.raises(ValueError, match=r"has trained for 0\.04 minutes, more than the 0\.01 asked for"):
        train.main([*resume, "--minutes", "0.01", "--may-differ", "minutes"])
    stop_after(monkeypatch, None)
    assert train.main(resume) == 0
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole") and losses(tmp_path / "whole")[-1][3] < 1e-3
    assert train.main(resume) == 0  # its last step ended a moment after its time: that is not too long
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")


def test_a_change_that_was_allowed_is_remembered(text, tmp_path, monkeypatch):
    run(text, tmp_path / "run", "--max-steps", "2")
    resume = ["--resume", "--out", str(tmp_path / "run")]
    stop_after(monkeypatch, 2)
    assert train.main([*resume, "--max-steps", "8", "--may-differ", "max-steps,weight-decay", "--weight-decay", "0.5"]) == 130
    stop_after(monkeypatch, None)
    assert train.main(resume) == 0
    state = json.loads((tmp_path / "run/checkpoints/step-0000008/state.json").read_text())
    assert state["step"] == 8 and state["config"]["train"]["weight_decay"] == 0.5
    moments = torch.load(tmp_path / "run/checkpoints/step-0000008/optimizer.pt", weights_only=True)
    assert [group["weight_decay"] for group in moments["param_groups"]] == [0.5, 0.0, 0.5]  # matrices, vectors, and what Muon moves
    with pytest.raises(ValueError, match="how long"):
        train.main([*resume, "--max-steps", "0", "--may-differ", "max-steps"])


def test_the_precision_of_a_run_is_decided_once(text, tmp_path, monkeypatch):
    monkeypatch.setattr("minibert.device.cpu_has_bf16", lambda: True)
    run(text, tmp_path / "run", "--max-steps", "2", "--precision", "auto")
    monkeypatch.setattr("minibert.device.cpu_has_bf16", lambda: False)  # another machine
    resume = ["--resume", "--out", str(tmp_path / "run")]
    train.main(resume)
    assert json.loads((tmp_path / "run/config.json").read_text())["train"]["precision"] == "bf16"
    with pytest.raises(ValueError, match="precision: bf16 in the run, fp16 now"):
        train.main([*resume, "--precision", "fp16"])
    assert train.main([*resume, "--precision", "fp16", "--may-differ", "precision"]) == 0  # a scaler starts anew


def test_a_run_goes_on_without_the_tokenizer_folder_that_it_was_given(text, tmp_path):
    run(text, tmp_path / "first", "--max-steps", "1")
    run(text, tmp_path / "run", "--max-steps", "2", "--tokenizer", str(tmp_path / "first" / "tokenizer"))
    shutil.rmtree(tmp_path / "first")
    assert train.main(["--resume", "--out", str(tmp_path / "run")]) == 0


def test_a_run_goes_on_without_its_corpus(text, tmp_path):
    copy = tmp_path / "copy.txt"
    copy.write_text(text.read_text())
    run(copy, tmp_path / "run", "--max-steps", "2")
    copy.unlink()
    assert train.main(["--resume", "--out", str(tmp_path / "run")]) == 0


def test_a_refused_change_leaves_the_run_as_it_was(text, tmp_path):
    run(text, tmp_path / "run", "--max-steps", "2")
    before = (tmp_path / "run/config.json").read_text()
    resume = ["--resume", "--out", str(tmp_path / "run")]
    for flags in (["--hidden-size", "32", "--may-differ", "hidden_size"], ["--max-steps", "1", "--may-differ", "max_steps"]):
        with pytest.raises(ValueError):
            train.main([*resume, *flags])
    assert (tmp_path / "run/config.json").read_text() == before and train.main(resume) == 0


def test_a_finished_run_that_is_resumed_has_one_final_evaluation(text, tmp_path):
    run(text, tmp_path / "run", "--max-steps", "2")
    before = (tmp_path / "run/metrics.jsonl").read_text()
    train.main(["--resume", "--out", str(tmp_path / "run")])
    assert (tmp_path / "run/metrics.jsonl").read_text() == before


def test_only_the_newest_checkpoints_stay(text, tmp_path):
    run(text, tmp_path / "run", "--max-steps", "9", "--save-every", "2", "--keep-checkpoints", "3")
    assert [folder.name for folder in checkpoint.checkpoints(tmp_path / "run")] == ["step-0000006", "step-0000008", "step-0000009"]
