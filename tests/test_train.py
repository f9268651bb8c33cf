"""train.py as a user runs it: from text to a filled mask."""
import itertools
import json
import math
import random
import re
from types import SimpleNamespace

import pytest
import torch
from train_helpers import (
    PAIRS,
    first_gradients,
    last_state,
    losses,
    make_trainer,
    metrics,
    num_batches,
    resume,
    run,
)

import train
from minibert.config import TrainConfig
from minibert.formats.run_folder import load_run, read_config
from minibert.training import preparation, state
from tokenizer.word_starts import WordStarts


@pytest.mark.parametrize("preset", ["quickstart", "kant", "wikipedia"])
def test_from_text_to_a_filled_mask(text, tmp_path, capsys, preset, pictures):
    """The main job, for each family."""
    out = tmp_path / "run"
    assert run(text, out, "--preset", preset, "--max-steps", "6") == 0
    printed = capsys.readouterr().out
    for words in ("corpus", "parameters", "to predict", "unigram entropy", "first loss",
                  "bits per byte", "masked accuracy", "ask it yourself"):
        assert words in printed
    assert "made from" not in printed  # which the named corpus pydocs is
    for name in ("config.json", "tokenizer", "data/train", "data/eval", "metrics.jsonl",
                 "model/model.safetensors", "checkpoints/step-0000006"):
        assert (out / name).exists()
    assert (out / "loss.png").exists() != ("loss curve  none" in printed)  # without matplotlib
    model, tokenizer = load_run(out)
    assert model.config.vocab_size == tokenizer.vocab_size
    # A fresh model gives all tokens about the same probability.
    assert losses(out)[0][1] == pytest.approx(metrics(out)[0]["ln_vocab"], abs=0.5)


def test_training_goes_below_the_unigram_entropy_if_there_is_something_to_learn(tmp_path):
    """In this text each word follows from its neighbors."""
    words = "zero one two three four five six seven eight nine ten eleven".split()
    rng = random.Random(1)
    lines = []
    for start in rng.choices(range(12), k=600):
        lines.append(" ".join(words[(start + i) % 12] for i in range(rng.randint(6, 14))))
    (tmp_path / "text.txt").write_text("\n\n".join(lines))
    flags = ("--max-steps 100 --hidden-size 32 --num-hidden-layers 2 --batch-size 32 "
             "--learning-rate 1e-2 --vocab-size 400 --examples lines")
    assert run(tmp_path / "text.txt", tmp_path / "run", *flags.split()) == 0
    lines = metrics(tmp_path / "run")
    assert lines[-1]["eval_loss"] < lines[0]["unigram_entropy"] - 1.5


def test_next_sentences_are_told_from_random_ones(tmp_path):
    """Each document has one of four subjects, and a random sentence comes from any document."""
    rng = random.Random(2)
    subjects = ["cat dog fish bird", "red blue green black", "one two three four",
                "north south east west"]
    documents = []
    for i in range(240):
        words = subjects[i % 4].split()
        documents.append("\n".join(" ".join(rng.choices(words, k=4)) for _ in range(12)))
    (tmp_path / "text.txt").write_text("\n\n".join(documents))
    flags = ("--max-steps 200 --hidden-size 32 --batch-size 32 --learning-rate 6e-3 "
             "--tokenizer-kind wordpiece --max-length 32 --max-position-embeddings 32 "
             "--eval-examples 100")
    out = tmp_path / "run"
    assert run(tmp_path / "text.txt", out, *PAIRS, *flags.split()) == 0
    header, first, *_, last = metrics(out)
    assert first["nsp_loss"] == pytest.approx(math.log(2), abs=0.2)
    assert first["loss"] == pytest.approx(header["ln_vocab"], abs=0.5)  # without the NSP loss
    # A random sentence of the same subject, one in four, cannot be told from the next one.
    assert last["eval_nsp_accuracy"] > 0.82 > last["eval_nsp_chance"] + 0.1
    config = json.loads((out / "model/config.json").read_text())
    assert config["architectures"] == ["BertForPreTraining"]
    assert load_run(out)[0].nsp is not None


def test_the_weight_of_the_next_sentence_loss_scales_its_gradient_but_not_the_log(text, tmp_path):
    """The gradient with weight 0.5 is the mean of those with 0 and with 1, the default."""
    outs = [tmp_path / name for name in ("none", "half", "whole")]
    none = first_gradients(text, outs[0], *PAIRS, "--nsp-weight", "0")
    half = first_gradients(text, outs[1], *PAIRS, "--nsp-weight", "0.5")
    whole = first_gradients(text, outs[2], *PAIRS)
    for zero, mean, one in zip(none, half, whole, strict=True):
        assert torch.allclose(mean, (zero + one) / 2, atol=1e-6)
    assert not all(torch.allclose(zero, one, atol=1e-4) for zero, one in zip(none, whole))
    logged = [metrics(out)[1] for out in outs]
    for name in ("loss", "nsp_loss"):
        assert logged[0][name] == logged[1][name] == logged[2][name]


def test_pairs_need_documents_of_several_lines_or_sentences(tmp_path):
    """If each document is one line, no sentence follows another."""
    rng = random.Random(3)
    path = tmp_path / "text.jsonl"
    with path.open("w") as file:
        for _ in range(800):
            text = " ".join(f"Thing {rng.randrange(50)} is red." for _ in range(12))
            file.write(json.dumps({"text": text}) + "\n")
    with pytest.raises(ValueError, match="no pair .* has a sentence that follows.*--sentences"):
        run(path, tmp_path / "run", *PAIRS, "--max-steps", "2")
    assert run(path, tmp_path / "run", *PAIRS, "--max-steps", "2", "--sentences") == 0


def test_a_stream_writes_only_the_validation_set(text, tmp_path):
    assert run(text, tmp_path / "run", "--stream", "--max-steps", "3") == 0
    assert [path.name for path in (tmp_path / "run/data").iterdir()] == ["eval"]


@pytest.mark.parametrize("kind, vocab_size", [("bpe", 264), ("wordpiece", 50)])
@pytest.mark.parametrize("masking", ["words", "spans"])
def test_tokens_of_one_word_are_masked_together(text, tmp_path, kind, vocab_size, masking):
    """In a vocabulary so small that most words are several tokens."""
    flags = ["--masking", masking, "--tokenizer-kind", kind, "--vocab-size", str(vocab_size),
             "--max-steps", "2", "--batch-size", "50"]
    trainer = make_trainer(text, tmp_path / "run", *flags)
    batch = trainer.batches.peek()
    is_selected = (batch.labels != -100).numpy()  # (B, T)
    original_ids = torch.where(batch.labels == -100, batch.input_ids, batch.labels).numpy()
    continues_word = ~WordStarts(trainer.tokenizer)(original_ids, cut_long=True)[:, 1:]
    assert continues_word.any() and is_selected.any()
    assert (is_selected[:, 1:] == is_selected[:, :-1])[continues_word].all()


def test_filters_drop_documents_before_the_tokenizer_and_the_split(text, tmp_path, capsys):
    cyrillic = "\n\n".join(f"слово номер {n} без латиницы вообще" for n in range(100))
    (tmp_path / "mixed.txt").write_text(text.read_text() + "\n\n" + cyrillic)
    clean, filtered = tmp_path / "clean", tmp_path / "filtered"
    assert run(text, clean, "--max-steps", "2") == 0
    assert run(tmp_path / "mixed.txt", filtered, "--max-steps", "2",
               "--filters", "script,duplicates") == 0
    assert "% kept; dropped: script " in capsys.readouterr().out
    for name in ("tokenizer/vocab.json", "data/train/ids-00000.bin", "data/eval/ids-00000.bin"):
        assert (clean / name).read_bytes() == (filtered / name).read_bytes(), name
    with pytest.raises(ValueError, match="filters: script,duplicates in the run, short now"):
        resume(filtered, "--filters", "short")


@pytest.mark.parametrize("stream", [False, True])
def test_filters_of_a_stream_see_only_as_much_validation_text_as_is_used(text, stream):
    """Otherwise the whole corpus would be read before the first window."""
    config = TrainConfig(corpus=str(text), filters="duplicates", stream=stream)
    corpus = preparation.open_training_corpus(SimpleNamespace(config=config))
    expected = preparation.STREAM_EVAL_CHARACTERS if stream else None
    assert corpus.max_eval_characters == expected


def test_a_line_may_fill_a_length_that_is_not_a_multiple_of_8(tmp_path):
    """Padding is rounded up, but not past the last position."""
    path = tmp_path / "text.txt"
    path.write_text("\n".join(["a b c d e f g h i j k l m n", "a b"] * 20))
    flags = ("--family roberta --max-position-embeddings 15 --max-length 13 --examples lines "
             "--max-steps 12 --eval-every 4")
    assert run(path, tmp_path / "run", *flags.split()) == 0


def test_a_run_by_the_clock_ends_in_time_at_learning_rate_zero(text, tmp_path, monkeypatch):
    seconds = itertools.count(step=0.01)  # a clock that does not depend on the machine's load
    monkeypatch.setattr(state, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    assert run(text, tmp_path / "run", "--minutes", "0.02") == 0
    assert 1.2 <= next(seconds) < 1.3
    learning_rates = [line[3] for line in losses(tmp_path / "run")]
    assert 0 <= learning_rates[-1] < 0.1 * max(learning_rates)


def test_a_length_in_epochs_is_counted_in_steps(text, tmp_path):
    """About 290 of the 300 lines are for training."""
    run(text, tmp_path / "run", *"--epochs 0.5 --examples lines --batch-size 10".split())
    assert len(losses(tmp_path / "run")) == pytest.approx(290 / 20, abs=1)


@pytest.mark.parametrize("stream", [[], ["--stream"]])
def test_unknown_text_is_reported_and_not_free(tmp_path, capsys, stream):
    rng = random.Random(3)
    lines = ["".join(rng.choices("acgt", k=rng.choice([5, 40]))) for _ in range(600)]
    text = tmp_path / "genes.txt"
    text.write_text("\n\n".join(lines), encoding="utf-8")

    def report(out, limit):
        flags = ["--tokenizer-kind", "wordpiece", "--max-input-chars-per-word", limit]
        run(text, tmp_path / out, "--max-steps", "1", *flags, *stream)
        return capsys.readouterr().out

    cut = report("cut", "30")
    assert re.search(r"tokenizer   .*% of the tokens are \[UNK\]", cut)
    splits = re.findall(r"unknown     (.*): warning: .* longer than max_input_chars_per_word", cut)
    assert splits == (["validation"] if stream else ["training", "validation"])
    assert "(8 for each byte of [UNK])" in cut
    entire = report("entire", "40")
    assert "unknown     validation: no text is [UNK]" in entire and "each byte of" not in entire
    bits = {out: metrics(tmp_path / out)[-1]["eval_bits_per_byte"] for out in ("cut", "entire")}
    # Nearly all bytes are in the words of 40 letters, and a letter has 2 bits.
    assert bits["cut"] > 6 and bits["entire"] < 3


def test_settings_of_word_pieces_are_recorded_and_used_again(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join(f"Käse süß {i % 7} Öl" for i in range(200)), encoding="utf-8")
    flags = ["--tokenizer-kind", "wordpiece", "--keep-accents", "--limit-alphabet", "12"]
    trainer = make_trainer(text, tmp_path / "run", "--max-steps", "2", *flags)
    assert trainer.tokenizer.encode("KÄSE 1", add_special_tokens=False).tokens[0] == "käse"
    assert len({token[-1] for token in trainer.tokenizer.get_vocab()} - set("]")) == 12
    _, _, config = read_config(tmp_path / "run")
    assert (config.keep_accents, config.limit_alphabet) == (True, 12)


def test_data_and_tokenizer_of_another_run_can_be_used_again(text, tmp_path, capsys):
    run(text, tmp_path / "one", "--max-steps", "4")
    data = ["--data", str(tmp_path / "one/data")]
    tokenizer = ["--tokenizer", str(tmp_path / "one")]
    run("missing.txt", tmp_path / "two", "--max-steps", "4", *data, *tokenizer)
    run("missing.txt", tmp_path / "three", "--max-steps", "4", *data)  # with one/tokenizer
    assert f"corpus      is not read: {tmp_path}/one/data is prepared already" in (
        capsys.readouterr().out)
    resume(tmp_path / "three", "--corpus", "missing.txt", "--max-steps", "5")
    assert losses(tmp_path / "one") == losses(tmp_path / "two") == losses(tmp_path / "three")[:4]


class CountingBackend:
    """Makes torch.compile run each graph as it is.

    num_calls: of each graph. is_dynamic: whether each graph is for more than one shape.
    """

    def __init__(self, monkeypatch):
        self.num_calls, self.is_dynamic = [], []
        compile = torch.compile
        monkeypatch.setattr(torch, "compile",
                            lambda model, **kwargs: compile(model, backend=self, **kwargs))

    def __call__(self, graph, inputs):
        index = len(self.num_calls)
        self.num_calls.append(0)
        self.is_dynamic.append(any(isinstance(value, torch.SymInt) for value in inputs))

        def call(*values):
            self.num_calls[index] += 1
            return graph.forward(*values)
        return call


def test_a_compiled_run_keeps_one_graph_for_each_shape(text, tmp_path, monkeypatch):
    """That of full batches, and that of the short batch at the end of an epoch."""
    backend = CountingBackend(monkeypatch)
    flags = "--epochs 2 --batch-size 60 --eval-every 5".split()
    run(text, tmp_path / "compiled", *flags, "--compile")
    num_steps = len(losses(tmp_path / "compiled"))
    assert backend.num_calls == [num_steps - 2, 2] and not any(backend.is_dynamic)
    run(text, tmp_path / "eager", *flags)
    for one, two in zip(losses(tmp_path / "compiled"), losses(tmp_path / "eager"), strict=True):
        assert one == pytest.approx(two, rel=1e-3)


def test_compiled_pairs_stay_compiled_whatever_their_lengths(text, tmp_path, monkeypatch):
    backend = CountingBackend(monkeypatch)
    flags = "--max-steps 8 --batch-size 7 --max-length 60 --compile".split()
    run(text, tmp_path / "run", *PAIRS, *flags)
    assert sum(backend.num_calls) == 8
    assert any(backend.is_dynamic)
    assert 1 < len(backend.num_calls) < 6 < torch._dynamo.config.recompile_limit


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["quickstart", "kant"])
def test_a_run_compiled_by_inductor_computes_the_same(text, tmp_path, preset):
    flags = ["--preset", preset, "--max-steps", "6", "--eval-every", "3"]
    run(text, tmp_path / "eager", *flags)
    run(text, tmp_path / "compiled", *flags, "--compile")
    for one, two in zip(losses(tmp_path / "eager"), losses(tmp_path / "compiled"), strict=True):
        assert one == pytest.approx(two, rel=1e-3)


@pytest.mark.parametrize("flags, min_logged, max_logged", [
    ("--max-steps 60 --log-every 15", 4, 5),
    ("--max-steps 30 --log-every 1", 2, 29),
])
def test_a_step_without_a_masked_token_does_not_count_in_the_mean_loss(
        text, tmp_path, flags, min_logged, max_logged):
    """Most steps have none: one line of ten tokens, 5 % masked. Each logged loss is ln V."""
    untrained = "--learning-rate 1e-9 --muon-learning-rate 1e-9 --mlm-probability 0.05"
    run(text, tmp_path / "run", *"--examples lines --batch-size 1".split(), *untrained.split(),
        *flags.split())
    logged = [line[1] for line in losses(tmp_path / "run")]
    assert min_logged <= len(logged) <= max_logged
    assert logged == pytest.approx([math.log(300)] * len(logged), rel=0.05)


def test_a_batch_ramp_takes_more_and_more_batches_per_step(text, tmp_path):
    flags = "--max-steps 8 --batch-size 8 --ramp-from 2 --batch-ramp 0.5"
    run(text, tmp_path / "run", *flags.split())
    assert num_batches(last_state(tmp_path / "run")) == 1 + 2 + 3 + 4 + 4 * 4


def test_gradient_checkpointing_reaches_the_model(text, tmp_path):
    trainer = make_trainer(text, tmp_path / "run", "--max-steps", "3", "--gradient-checkpointing")
    assert trainer.model.bert.gradient_checkpointing


@pytest.mark.parametrize("length, adapts", [("--minutes", True), ("--max-steps", False)])
def test_only_a_run_by_the_clock_may_change_its_number_of_threads(
        text, tmp_path, length, adapts, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert make_trainer(text, tmp_path / "run", length, "1").cores.adapt == adapts


def test_a_run_measures_its_cores_at_each_log_step(text, tmp_path):
    steps = []

    class MeasuringTrainer(train.Trainer):
        def __init__(self, *args):
            super().__init__(*args)
            self.cores.update = lambda: steps.append(self.state.step)

    run(text, tmp_path / "run", "--max-steps", "5", "--log-every", "2", trainer=MeasuringTrainer)
    assert steps == [1, 2, 4]
