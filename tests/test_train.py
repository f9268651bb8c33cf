"""train.py as a user runs it: from text to a filled mask, stopped and resumed, and with whatever goes wrong on the way."""
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import train
from minibert import BertConfig, checkpoint, from_pretrained
from minibert.config import PRESETS, TrainConfig
from minibert.fill_mask import load_run
from minibert.running import StopRequest
from minibert.words import WordStarts
from tokenizer import WordPiece

SMALL = ("--hidden-size 16 --num-hidden-layers 1 --num-attention-heads 2 --intermediate-size 16 --vocab-size 300 --max-length 16 "
         "--batch-size 4 --warmup 0.1 --device cpu --precision fp32 --log-every 1 --eval-every 0 --eval-examples 8").split()

PAIRS = "--examples pairs --family bert --type-vocab-size 2".split()


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """A small corpus of made-up sentences."""
    rng = random.Random(0)
    words = "the cat dog sees eats a red small fish house and or not under over tree old new".split()
    lines = [" ".join(rng.choices(words, k=rng.randint(3, 12))) + "." for _ in range(300)]
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("\n\n".join("\n".join(lines[i : i + 3]) for i in range(0, 300, 3)))
    return path


def run(text, out, *flags):
    return train.main([*SMALL, "--corpus", str(text), "--out", str(out), *flags])


def losses(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], line["loss"], line["grad_norm"], line["learning_rate"]) for line in lines if "loss" in line]


def weights(run):
    return from_pretrained(run / "model").state_dict()


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("preset", ["quickstart", "kant", "wikipedia"])
def test_from_text_to_a_filled_mask(text, tmp_path, capsys, preset):
    """The main job, for each family: the screen says what to expect, the run directory is whole, the model fills masks."""
    assert run(text, tmp_path / "run", "--preset", preset, "--max-steps", "6") == 0
    screen = capsys.readouterr().out
    for what in ("corpus", "vocabulary", "parameters", "unigram entropy", "ln(", "first loss", "held out", "bits a byte", "masked accuracy"):
        assert what in screen
    for name in ("config.json", "tokenizer", "data/train", "data/eval", "metrics.jsonl", "model/config.json", "model/model.safetensors",
                 "checkpoints/step-0000006"):
        assert (tmp_path / "run" / name).exists()
    model, tokenizer = load_run(tmp_path / "run")
    assert model.config.vocab_size == tokenizer.vocab_size
    first = losses(tmp_path / "run")[0][1]
    expected = json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[0])
    assert abs(first - expected["ln_vocab"]) < 0.5  # a fresh model guesses evenly


def test_training_goes_below_the_unigram_entropy_where_there_is_something_to_learn(tmp_path):
    """Sentences of which every word follows from its neighbours: a model that reads context comes far below the plateau."""
    words = "zero one two three four five six seven eight nine ten eleven".split()
    rng = random.Random(1)
    texts = [" ".join(words[(start + i) % 12] for i in range(rng.randint(6, 14))) for start in rng.choices(range(12), k=600)]
    path = tmp_path / "count.txt"
    path.write_text("\n\n".join(texts))
    assert run(path, tmp_path / "run", "--max-steps", "300", "--hidden-size", "32", "--num-hidden-layers", "2", "--batch-size", "32",
               "--learning-rate", "3e-3", "--vocab-size", "400", "--examples", "lines") == 0
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["eval_loss"] < lines[0]["unigram_entropy"] - 1.5


# ------------------------------------------------------------------------------------------------ objectives


def test_next_sentences_are_told_from_random_ones_where_that_can_be_told(tmp_path):
    """Each document keeps to a subject of its own. The two losses are logged apart, and the pairs end far above chance."""
    rng = random.Random(2)
    subjects = ["cat dog fish bird".split(), "red blue green black".split(), "one two three four".split(), "north south east west".split()]
    documents = ["\n".join(" ".join(rng.choices(subjects[n % 4], k=4)) for _ in range(12)) for n in range(240)]
    (tmp_path / "text.txt").write_text("\n\n".join(documents))
    assert run(tmp_path / "text.txt", tmp_path / "run", *PAIRS, "--max-steps", "400", "--hidden-size", "32", "--batch-size", "32",
               "--learning-rate", "3e-3", "--tokenizer-kind", "wordpiece", "--max-length", "32",
               "--max-position-embeddings", "32", "--eval-examples", "100") == 0
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    assert abs(steps[0]["nsp_loss"] - 0.69) < 0.2 and abs(steps[0]["loss"] - lines[0]["ln_vocab"]) < 0.5
    # a quarter of the documents has the same subject: a random sentence from there cannot be told
    assert lines[-1]["eval_nsp_accuracy"] > 0.82 > lines[-1]["eval_nsp_chance"] + 0.1
    assert json.loads((tmp_path / "run/model/config.json").read_text())["architectures"] == ["BertForPreTraining"]
    assert load_run(tmp_path / "run")[0].nsp is not None


def test_a_stream_prepares_what_is_held_out_and_nothing_else(text, tmp_path, capsys):
    assert run(text, tmp_path / "run", "--stream", "--max-steps", "3") == 0
    assert [path.name for path in (tmp_path / "run/data").iterdir()] == ["eval"]
    assert "a stream for training" in capsys.readouterr().out
    for flags, message in ((["--epochs", "1"], "cannot know how long an epoch is"), (["--max-steps", "2", "--data", "x"], "leave out --data x")):
        with pytest.raises(ValueError, match=message):
            run(text, tmp_path / "other", "--stream", *flags)


def test_pairs_need_a_model_that_tells_two_sentences_apart(text, tmp_path):
    with pytest.raises(ValueError, match="--family bert with --type-vocab-size 2"):
        run(text, tmp_path / "run", "--examples", "pairs", "--max-steps", "2")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
@pytest.mark.parametrize("masking", ["words", "spans"])
def test_what_is_masked_together_is_what_was_asked_for(text, tmp_path, monkeypatch, kind, masking):
    made = {}
    monkeypatch.setattr(train.Trainer, "run", lambda self: made.update(batch=self.batches[0], starts=WordStarts(self.tokenizer)) or 0)
    small = "50" if kind == "wordpiece" else "264"  # a vocabulary in which most words are several tokens
    assert run(text, tmp_path / "run", "--masking", masking, "--tokenizer-kind", kind, "--vocab-size", small, "--max-steps", "2",
               "--batch-size", "50") == 0
    labels, ids = made["batch"].labels, made["batch"].input_ids
    original = torch.where(labels == -100, ids, labels).numpy()
    selected, starts = (labels != -100).numpy(), made["starts"](original)
    inside = ~starts[:, 1:]
    assert inside.any() and selected.any()
    assert (selected[:, 1:] == selected[:, :-1])[inside].all()  # what continues a word is masked if the word is


def test_filters_leave_documents_out_of_training_and_of_what_is_held_out(text, tmp_path, capsys):
    """Text in another script is in neither part, the tokenizer has not seen it, and a resumed run stays as it was."""
    path = tmp_path / "mixed.txt"
    path.write_text(text.read_text() + "\n\n" + "\n\n".join(f"слово номер {n} без латиницы вообще" for n in range(100)))
    flags = ["--preset", "quickstart", "--max-steps", "2"]
    assert run(text, tmp_path / "clean", *flags) == 0
    assert run(path, tmp_path / "filtered", *flags, "--filters", "script,duplicates") == 0
    screen = capsys.readouterr().out
    assert "; filters: script, duplicates\n" in screen and "% kept; dropped: script " in screen and ", duplicates 0.0%\n" in screen
    for name in ("tokenizer/vocab.json", "data/train/ids-00000.bin", "data/eval/ids-00000.bin"):
        assert (tmp_path / "clean" / name).read_bytes() == (tmp_path / "filtered" / name).read_bytes(), name
    assert train.main(["--resume", "--out", str(tmp_path / "filtered"), "--max-steps", "3", "--may-differ", "max-steps"]) == 0
    with pytest.raises(ValueError, match="filters: script,duplicates in the run, short now"):
        train.main(["--resume", "--out", str(tmp_path / "filtered"), "--filters", "short"])


def test_filters_that_cannot_work_leave_no_run_behind(text, tmp_path):
    for flags, message in ((["--filters", "shrot"], "did you mean short"), (["--filters", "short=99"], "dropped all"),
                           (["--filters", "short", "--data", "tokens"], "--filters short would filter nothing: tokens is prepared already")):
        with pytest.raises(ValueError, match=message):
            run(text, tmp_path / "run", *flags)
        assert not (tmp_path / "run").exists()


# ------------------------------------------------------------------------------------------------ stopped and resumed


def test_a_line_that_fills_a_length_that_is_no_multiple_of_8(tmp_path):
    """Padding is rounded up, but not past the positions: 13 tokens in a model for 13."""
    path = tmp_path / "text.txt"
    path.write_text("\n".join(["a b c d e f g h i j k l m n", "a b"] * 20))
    assert run(path, tmp_path / "run", "--family", "roberta", "--max-position-embeddings", "15", "--max-length", "13", "--examples", "lines",
               "--max-steps", "12", "--eval-every", "4") == 0


class StopAfter(StopRequest):
    """Ctrl-C after so many looks at ``requested``: one look a step."""

    looks = 0

    @property
    def requested(self):
        self.count = getattr(self, "count", 0) + 1
        return self.count > self.looks

    @requested.setter
    def requested(self, value):
        pass


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
    monkeypatch.setattr(train, "StopRequest", type("Stop", (StopAfter,), {"looks": 20}))
    assert run(text, tmp_path / "parts", *flags) == 130
    assert checkpoint.checkpoints(tmp_path / "parts")[-1].name == "step-0000020"
    monkeypatch.setattr(train, "StopRequest", StopRequest)
    assert train.main(["--resume", "--out", str(tmp_path / "parts")]) == 0
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert same(weights(tmp_path / "parts"), weights(tmp_path / "whole"))
    one, two = (json.loads((tmp_path / name / "checkpoints/step-0000040/state.json").read_text()) for name in ("whole", "parts"))
    assert one["scaler"] == two["scaler"] and (one["step"], one["batches"]) == (two["step"], two["batches"])


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


def test_a_change_that_was_allowed_is_remembered(text, tmp_path, monkeypatch):
    run(text, tmp_path / "run", "--max-steps", "2")
    resume = ["--resume", "--out", str(tmp_path / "run")]
    monkeypatch.setattr(train, "StopRequest", type("Stop", (StopAfter,), {"looks": 2}))
    assert train.main([*resume, "--max-steps", "8", "--may-differ", "max-steps,weight-decay", "--weight-decay", "0.5"]) == 130
    monkeypatch.setattr(train, "StopRequest", StopRequest)
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


def test_a_run_goes_on_without_its_corpus(text, tmp_path):
    copy = tmp_path / "copy.txt"
    copy.write_text(text.read_text())
    run(copy, tmp_path / "run", "--max-steps", "2")
    copy.unlink()
    assert train.main(["--resume", "--out", str(tmp_path / "run")]) == 0


def test_a_run_by_the_clock_ends_in_time_at_rate_zero(text, tmp_path):
    assert run(text, tmp_path / "run", "--minutes", "0.02") == 0
    lines = losses(tmp_path / "run")
    assert 0 <= lines[-1][3] < 0.1 * max(line[3] for line in lines)


def test_a_length_in_epochs_is_counted_in_steps(text, tmp_path):
    run(text, tmp_path / "run", "--epochs", "0.5", "--examples", "lines", "--batch-size", "10")
    examples = 10 * 29  # nearly 300 lines, 15 of them held out
    assert abs(len(losses(tmp_path / "run")) - examples / 20) <= 1


# ------------------------------------------------------------------------------------------------ fp16


class Overflowing(torch.amp.GradScaler):
    """A GradScaler whose first gradients are infinite."""

    overflows = 2

    def unscale_(self, optimizer):
        if self.overflows:
            self.overflows -= 1
            next(p for group in optimizer.param_groups for p in group["params"]).grad.fill_(float("inf"))
        super().unscale_(optimizer)


def test_an_overflow_is_skipped_counted_and_does_not_advance_the_schedule(text, tmp_path, monkeypatch):
    run(text, tmp_path / "calm", "--max-steps", "5", "--precision", "fp16")
    monkeypatch.setattr(torch.amp, "GradScaler", Overflowing)
    run(text, tmp_path / "run", "--max-steps", "5", "--precision", "fp16")
    assert [line[3] for line in losses(tmp_path / "run")] == [line[3] for line in losses(tmp_path / "calm")]
    state = json.loads((tmp_path / "run/checkpoints/step-0000005/state.json").read_text())
    assert (state["step"], state["batches"], state["skipped"], state["scaler"]["scale"]) == (5, 7, 2, 65536 / 4)


def test_too_many_overflows_in_a_row_stop_with_advice(text, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.amp, "GradScaler", type("Always", (Overflowing,), {"overflows": 10**9}))
    with pytest.raises(ValueError, match="use --precision bf16 or fp32"):
        run(text, tmp_path / "run", "--max-steps", "50", "--precision", "fp16")


def test_clipping_measures_unscaled_gradients(text, tmp_path):
    """The norm in the metrics of an fp16 run is that of the fp32 run, not 65,536 times as much."""
    for precision in ("fp32", "fp16"):
        run(text, tmp_path / precision, "--max-steps", "2", "--precision", precision)
    assert losses(tmp_path / "fp16")[0][2] == pytest.approx(losses(tmp_path / "fp32")[0][2], rel=0.02)


# ------------------------------------------------------------------------------------------------ what goes wrong


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


@pytest.mark.parametrize("preset, lines", [
    ("wikipedia", [line for n in range(99) for line in (
        {"index": {"_id": n}}, {"title": f"Cat {n}", "namespace": 0, "text": f"The cat sees {n} dogs. The dogs see a cat. " * 4})]),
    ("amazon", [{"asin": "B0", "rating": 5.0, "text": "A red fish is a good fish. " * 40}])])
def test_a_preset_with_a_public_dump_needs_no_corpus(tmp_path, monkeypatch, preset, lines):
    (tmp_path / preset).mkdir()
    (tmp_path / preset / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.setenv("MINIBERT_CORPORA", str(tmp_path))
    assert train.main([*SMALL, "--preset", preset, "--out", str(tmp_path / "run"), "--max-steps", "2"]) == 0
    assert (tmp_path / "run" / "model").is_dir()


def test_a_vocabulary_smaller_than_the_alphabet_is_refused(text, tmp_path):
    with pytest.raises(ValueError, match="100"):
        run(text, tmp_path / "run", "--max-steps", "2", "--vocab-size", "100")


@pytest.mark.parametrize("criterion", ["frequency", "likelihood"])
def test_the_criterion_of_word_pieces_is_the_trainers(text, criterion):
    corpus = SimpleNamespace(documents=lambda part: [text.read_text()])
    config = TrainConfig(max_steps=1, tokenizer_kind="wordpiece", tokenizer_criterion=criterion)
    tokenizer = train.train_tokenizer(corpus, BertConfig(vocab_size=80), config)
    expected = {name: WordPiece.train([text], 80, criterion=name, show_progress=False).fingerprint for name in ("frequency", "likelihood")}
    assert tokenizer.fingerprint == expected[criterion] and len(set(expected.values())) == 2


def test_a_length_past_the_positions_is_refused(text, tmp_path):
    with pytest.raises(ValueError, match="takes max_length 8 .max_position_embeddings 8."):
        run(text, tmp_path / "run", "--max-steps", "2", "--max-position-embeddings", "8")


def test_a_tokenizer_that_did_not_write_the_token_file_is_refused(text, tmp_path):
    run(text, tmp_path / "one", "--max-steps", "1")
    run(text, tmp_path / "two", "--max-steps", "1", "--vocab-size", "310")
    with pytest.raises(ValueError, match="another tokenizer"):
        run(text, tmp_path / "three", "--max-steps", "1", "--data", str(tmp_path / "one/data"), "--tokenizer", str(tmp_path / "two/tokenizer"))


def test_a_tokenizer_without_a_mask_token_is_refused(text, tmp_path):
    train.ByteLevelBPE.train([text], vocab_size=300, special_tokens=("<s>", "<pad>", "</s>", "<unk>")).save(tmp_path / "tokenizer")
    with pytest.raises(ValueError, match="mask"):
        run(text, tmp_path / "run", "--max-steps", "1", "--tokenizer", str(tmp_path / "tokenizer"))


def test_data_and_tokenizer_of_another_run_can_be_used_again(text, tmp_path):
    run(text, tmp_path / "one", "--max-steps", "4")
    run("nowhere", tmp_path / "two", "--max-steps", "4", "--data", str(tmp_path / "one/data"), "--tokenizer", str(tmp_path / "one/tokenizer"))
    assert losses(tmp_path / "one") == losses(tmp_path / "two")


def test_a_failed_start_removes_what_it_made_and_nothing_else(text, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/.git").mkdir()
    with pytest.raises(ValueError, match="not empty"):
        run(text, tmp_path / "mine", "--max-steps", "2")
    (tmp_path / "empty").mkdir()
    for out in ("empty", "new"):
        with pytest.raises(ValueError, match="positions"):
            run(text, tmp_path / out, "--max-steps", "2", "--max-position-embeddings", "8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "mine"] and (tmp_path / "mine/.git").is_dir()


def test_ctrl_c_while_preparing_keeps_what_is_done_and_says_how_to_go_on(text, tmp_path, monkeypatch, capsys):
    real = train.prepare

    def interrupted(documents, tokenizer, place):
        if place.name == "eval":
            raise KeyboardInterrupt
        return real(documents, tokenizer, place)

    monkeypatch.setattr(train, "prepare", interrupted)
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


def test_only_the_newest_checkpoints_stay(text, tmp_path):
    run(text, tmp_path / "run", "--max-steps", "9", "--save-every", "2", "--keep-checkpoints", "3")
    assert [folder.name for folder in checkpoint.checkpoints(tmp_path / "run")] == ["step-0000006", "step-0000008", "step-0000009"]


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
    with pytest.raises(OSError, match="^cannot write to .*/step-0{6}[0-9]: no space left on device$"):
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
    with pytest.raises(OSError, match="^cannot write to .*/step-0{6}[0-9]: no space left on device$"):
        run(text, tmp_path / "run", "--max-steps", "6", "--save-every", "2")
    monkeypatch.undo()
    assert [path.name for path in (tmp_path / "run/checkpoints").iterdir()] == ["step-0000002"]
    assert train.main(["--resume", "--out", str(tmp_path / "run")]) == 0


@pytest.mark.parametrize("log_every", ["1", "100"])
def test_a_loss_that_is_not_finite_stops_the_run_and_is_not_saved(text, tmp_path, monkeypatch, log_every):
    real = train.Trainer.optimiser_step

    def broken(self, batch):
        losses, norm, skipped = real(self, batch)
        return {"loss": losses["loss"] * (float("nan") if self.state["step"] >= 3 else 1)}, norm, skipped

    monkeypatch.setattr(train.Trainer, "optimiser_step", broken)
    with pytest.raises(ValueError, match="lower --learning-rate"):
        run(text, tmp_path / "run", "--max-steps", "10", "--log-every", log_every, "--save-every", "2")
    assert [folder.name for folder in checkpoint.checkpoints(tmp_path / "run")] == ["step-0000002"]


def test_out_of_memory_names_a_micro_batch_that_would_fit(text, tmp_path, monkeypatch):
    def greedy(self, *arguments, **named):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(train.BertForMaskedLM, "forward", greedy)
    with pytest.raises(ValueError, match="--micro-batch-size 2"):
        run(text, tmp_path / "run", "--max-steps", "3")
    with pytest.raises(ValueError, match="a smaller model"):
        run(text, tmp_path / "run2", "--max-steps", "3", "--micro-batch-size", "1")


def test_an_unknown_device_says_which_there_are(text, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(ValueError, match="--device cpu"):
        run(text, tmp_path / "run", "--max-steps", "1", "--device", "cuda")


def test_a_corpus_of_ones_own_is_asked_about_its_own_passages(text, tmp_path, capsys):
    run(text, tmp_path / "run", "--max-steps", "1")
    screen = capsys.readouterr().out
    asked = [line for line in screen.splitlines() if "<mask>" in line and "ask it yourself" not in line]
    words = set("the cat dog sees eats a red small fish house and or not under over tree old new".split())
    assert len(asked) == 2 and all(len(words & set(line.replace(".", " ").split())) > 2 for line in asked)


def test_a_mistake_on_the_command_line_is_one_line_and_an_exit_code():
    """As a user sees it, in a process of its own."""
    for flags, code, last in ((["--preset", "kantt"], 1, f"error: unknown preset 'kantt', there are {', '.join(PRESETS)}: did you mean kant?"),
                              (["--batchsize", "3"], 2, "(train.py --help lists what there is)")):
        done = subprocess.run([sys.executable, train.__file__, *flags], capture_output=True, text=True)
        assert done.returncode == code and done.stderr.splitlines()[-1] == last and "Traceback" not in done.stderr


def test_a_refused_change_leaves_the_run_as_it_was(text, tmp_path):
    run(text, tmp_path / "run", "--max-steps", "2")
    before = (tmp_path / "run/config.json").read_text()
    resume = ["--resume", "--out", str(tmp_path / "run")]
    for flags in (["--hidden-size", "32", "--may-differ", "hidden_size"], ["--max-steps", "1", "--may-differ", "max_steps"]):
        with pytest.raises(ValueError):
            train.main([*resume, *flags])
    assert (tmp_path / "run/config.json").read_text() == before and train.main(resume) == 0


def test_two_processes_do_not_train_in_one_folder(text, tmp_path):
    fcntl = pytest.importorskip("fcntl")
    run(text, tmp_path / "run", "--max-steps", "1")
    descriptor = os.open(tmp_path / "run", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(ValueError, match="another process is training"):
        train.main(["--resume", "--out", str(tmp_path / "run")])
    os.close(descriptor)
    assert train.main(["--resume", "--out", str(tmp_path / "run")]) == 0


def test_a_screen_that_is_closed_early_does_not_end_the_run(text, tmp_path):
    """`train.py ... | head -1`: the rest of the run happens, and says so by its files."""
    flags = [*SMALL, "--corpus", str(text), "--out", str(tmp_path / "run"), "--max-steps", "3"]
    process = subprocess.Popen([sys.executable, train.__file__, *flags], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=120) == 0 and (tmp_path / "run/model/model.safetensors").exists()


def test_a_finished_run_that_is_resumed_has_one_final_evaluation(text, tmp_path):
    run(text, tmp_path / "run", "--max-steps", "2")
    before = (tmp_path / "run/metrics.jsonl").read_text()
    train.main(["--resume", "--out", str(tmp_path / "run")])
    assert (tmp_path / "run/metrics.jsonl").read_text() == before


def test_importing_train_does_nothing(capsys):
    import importlib

    importlib.reload(train)
    assert capsys.readouterr().out == ""
