"""train.py as a user runs it: from text to a filled mask."""
import json
import math
import random
from types import SimpleNamespace

import pytest
import torch
from torch.utils.checkpoint import checkpoint as checkpointed
from train_helpers import PAIRS, SMALL, losses, num_batches, run

import train
from minibert import BertConfig
from minibert.config import TrainConfig
from minibert.formats.run_folder import load_run
from minibert.training import preparation
from tokenizer import WordPiece
from tokenizer.word_starts import WordStarts


@pytest.mark.parametrize("preset", ["quickstart", "kant", "wikipedia"])
def test_from_text_to_a_filled_mask(text, tmp_path, capsys, preset, pictures):
    """The main job, for each family: the screen says what to expect, the run directory is whole, the model fills masks."""
    assert run(text, tmp_path / "run", "--preset", preset, "--max-steps", "6") == 0
    screen = capsys.readouterr().out
    for what in ("corpus", "vocabulary", "parameters", "input", "to predict", "unigram entropy", "ln(", "first loss", "validation", "bits per byte",
                 "masked accuracy"):
        assert what in screen
    for name in ("config.json", "tokenizer", "data/train", "data/eval", "metrics.jsonl", "model/config.json", "model/model.safetensors",
                 "checkpoints/step-0000006"):
        assert (tmp_path / "run" / name).exists()
    assert (tmp_path / "run/loss.png").exists() != ("loss curve  none" in screen)  # drawn where there is matplotlib
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
    assert run(path, tmp_path / "run", "--max-steps", "150", "--hidden-size", "32", "--num-hidden-layers", "2", "--batch-size", "32",
               "--learning-rate", "1e-2", "--vocab-size", "400", "--examples", "lines") == 0
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["eval_loss"] < lines[0]["unigram_entropy"] - 1.5


def test_next_sentences_are_told_from_random_ones_where_that_can_be_told(tmp_path):
    """Each document keeps to a subject of its own. The two losses are logged apart, and the pairs end far above chance."""
    rng = random.Random(2)
    subjects = ["cat dog fish bird".split(), "red blue green black".split(), "one two three four".split(), "north south east west".split()]
    documents = ["\n".join(" ".join(rng.choices(subjects[n % 4], k=4)) for _ in range(12)) for n in range(240)]
    (tmp_path / "text.txt").write_text("\n\n".join(documents))
    assert run(tmp_path / "text.txt", tmp_path / "run", *PAIRS, "--max-steps", "200", "--hidden-size", "32", "--batch-size", "32",
               "--learning-rate", "6e-3", "--tokenizer-kind", "wordpiece", "--max-length", "32",
               "--max-position-embeddings", "32", "--eval-examples", "100") == 0
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    assert abs(steps[0]["nsp_loss"] - 0.69) < 0.2 and abs(steps[0]["loss"] - lines[0]["ln_vocab"]) < 0.5
    # a quarter of the documents has the same subject: a random sentence from there cannot be told
    assert lines[-1]["eval_nsp_accuracy"] > 0.82 > lines[-1]["eval_nsp_chance"] + 0.1
    assert json.loads((tmp_path / "run/model/config.json").read_text())["architectures"] == ["BertForPreTraining"]
    assert load_run(tmp_path / "run")[0].nsp is not None


def test_the_weight_of_next_sentences_is_in_the_gradient_and_not_in_what_is_logged(text, tmp_path, monkeypatch, capsys):
    """The gradient is that of the masked tokens and weight times that of the pairs: with 0.5 the mean of those with 0 and 1."""
    gradients, logged = [], []
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_",
                        lambda parameters, limit: (gradients.append([p.grad.clone() for p in parameters]), torch.tensor(0.0))[1])
    for flags in (["--nsp-weight", "0"], ["--nsp-weight", "0.5"], []):  # 1 where nothing is said, as in BERT
        out = tmp_path / "-".join(["run", *flags])
        run(text, out, "--max-steps", "1", *flags, *PAIRS)
        logged.append([json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()][1])
    assert all(torch.allclose(half, (none + whole) / 2, atol=1e-6) for none, half, whole in zip(*gradients))
    assert sum(not torch.allclose(none, whole, atol=1e-4) for none, _, whole in zip(*gradients)) > 4
    assert [line["loss"] for line in logged] == [logged[0]["loss"]] * 3 and [line["nsp_loss"] for line in logged] == [logged[0]["nsp_loss"]] * 3
    assert "ln 2 = 0.69, weighted by 0.5.\n" in capsys.readouterr().out


def test_pairs_of_documents_of_one_line_need_sentences(tmp_path, capsys):
    """One paragraph a line: nothing follows a document's only line, so that all pairs would be random. Cut into sentences they are not."""
    path, rng = tmp_path / "text.jsonl", random.Random(3)
    path.write_text("".join(json.dumps({"text": " ".join(f"Thing {rng.randrange(50)} is red." for _ in range(12))}) + "\n" for _ in range(800)))
    with pytest.raises(ValueError, match="no pair .* has a sentence that follows.*--sentences"):
        run(path, tmp_path / "run", *PAIRS, "--max-steps", "2")
    assert run(path, tmp_path / "run", *PAIRS, "--max-steps", "2", "--sentences") == 0
    assert "split into sentences" in capsys.readouterr().out


def test_a_stream_prepares_what_is_held_out_and_nothing_else(text, tmp_path, capsys):
    assert run(text, tmp_path / "run", "--stream", "--max-steps", "3") == 0
    assert [path.name for path in (tmp_path / "run/data").iterdir()] == ["eval"]
    assert "a stream for training" in capsys.readouterr().out
    for flags, message in ((["--epochs", "1"], "length of an epoch is unknown"), (["--max-steps", "2", "--data", "x"], "leave out --data x")):
        with pytest.raises(ValueError, match=message):
            run(text, tmp_path / "other", "--stream", *flags)


def test_pairs_need_a_model_that_tells_two_sentences_apart(text, tmp_path):
    with pytest.raises(ValueError, match="--family bert --type-vocab-size 2"):
        run(text, tmp_path / "run", "--examples", "pairs", "--max-steps", "2")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
@pytest.mark.parametrize("masking", ["words", "spans"])
def test_what_is_masked_together_is_what_was_asked_for(text, tmp_path, monkeypatch, kind, masking):
    made = {}
    monkeypatch.setattr(train.Trainer, "fit", lambda self: made.update(batch=self.batches.peek(), starts=WordStarts(self.tokenizer)) or 0)
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


def test_a_filtered_stream_says_at_the_end_what_was_dropped(text, tmp_path, capsys):
    path = tmp_path / "mixed.txt"
    path.write_text("\n\n".join(f"слово номер {n} без латиницы вообще" for n in range(100)) + "\n\n" + text.read_text())
    assert run(path, tmp_path / "run", "--max-steps", "2", "--stream", "--filters", "script") == 0
    assert "% kept; dropped: script " in capsys.readouterr().out


def test_a_line_that_fills_a_length_that_is_no_multiple_of_8(tmp_path):
    """Padding is rounded up, but not past the positions: 13 tokens in a model for 13."""
    path = tmp_path / "text.txt"
    path.write_text("\n".join(["a b c d e f g h i j k l m n", "a b"] * 20))
    assert run(path, tmp_path / "run", "--family", "roberta", "--max-position-embeddings", "15", "--max-length", "13", "--examples", "lines",
               "--max-steps", "12", "--eval-every", "4") == 0


def test_a_run_by_the_clock_ends_in_time_at_rate_zero(text, tmp_path):
    assert run(text, tmp_path / "run", "--minutes", "0.02") == 0
    lines = losses(tmp_path / "run")
    assert 0 <= lines[-1][3] < 0.1 * max(line[3] for line in lines)


def test_a_length_in_epochs_is_counted_in_steps(text, tmp_path):
    run(text, tmp_path / "run", "--epochs", "0.5", "--examples", "lines", "--batch-size", "10")
    examples = 10 * 29  # nearly 300 lines, 15 of them held out
    assert abs(len(losses(tmp_path / "run")) - examples / 20) <= 1


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


@pytest.mark.parametrize("criterion", ["frequency", "likelihood"])
def test_the_criterion_of_word_pieces_is_the_trainers(text, criterion):
    corpus = SimpleNamespace(documents=lambda part: [text.read_text()])
    config = TrainConfig(max_steps=1, tokenizer_kind="wordpiece", tokenizer_criterion=criterion)
    tokenizer = preparation.train_tokenizer(corpus, BertConfig(vocab_size=80), config)
    expected = {name: WordPiece.train([text], 80, criterion=name, show_progress=False).fingerprint for name in ("frequency", "likelihood")}
    assert tokenizer.fingerprint == expected[criterion] and len(set(expected.values())) == 2


def test_data_and_tokenizer_of_another_run_can_be_used_again(text, tmp_path):
    run(text, tmp_path / "one", "--max-steps", "4")
    run("nowhere", tmp_path / "two", "--max-steps", "4", "--data", str(tmp_path / "one/data"), "--tokenizer", str(tmp_path / "one/tokenizer"))
    run("nowhere", tmp_path / "three", "--max-steps", "4", "--data", str(tmp_path / "one/data"))  # its tokenizer stands beside it
    assert losses(tmp_path / "one") == losses(tmp_path / "two") == losses(tmp_path / "three")


def test_a_corpus_of_ones_own_is_asked_about_its_own_passages(text, tmp_path, capsys):
    run(text, tmp_path / "run", "--max-steps", "1")
    screen = capsys.readouterr().out
    asked = [line for line in screen.splitlines() if "<mask>" in line and not line.startswith(("input", "ask it yourself"))]
    words = set("the cat dog sees eats a red small fish house and or not under over tree old new".split())
    assert len(asked) == 2 and all(len(words & set(line.replace(".", " ").split())) > 2 for line in asked)


class Graphs:
    """In the place of torch.compile: with a backend that computes a graph as it is, and counts how often each is called."""

    def __init__(self, monkeypatch):
        self.calls, real = [], torch.compile
        monkeypatch.setattr(torch, "compile", lambda model, **how: real(model, backend=self.backend, **how))

    def backend(self, graph, inputs):
        number = len(self.calls)
        self.calls.append(0)

        def call(*values):
            self.calls[number] += 1
            return graph.forward(*values)
        return call


def test_compiled_blocks_keep_the_graph_of_their_shape_over_epochs_and_evaluations(text, tmp_path, monkeypatch):
    """Two graphs: of the whole batches and of the short one at the end of an epoch, which must not make torch give up the first."""
    graphs = Graphs(monkeypatch)
    run(text, tmp_path / "run", "--epochs", "2", "--batch-size", "16", "--eval-every", "10", "--compile")
    steps = len(losses(tmp_path / "run"))
    assert graphs.calls == [steps - 2, 2]
    run(text, tmp_path / "eager", "--epochs", "2", "--batch-size", "16", "--eval-every", "10")
    assert len(graphs.calls) == 2
    for one, two in zip(losses(tmp_path / "run"), losses(tmp_path / "eager"), strict=True):
        assert one == pytest.approx(two, rel=1e-3)


def test_compiled_pairs_stay_compiled_whatever_their_lengths(text, tmp_path, monkeypatch):
    graphs = Graphs(monkeypatch)
    run(text, tmp_path / "run", *PAIRS, "--max-steps", "40", "--batch-size", "7", "--max-length", "60", "--compile")
    assert sum(graphs.calls) == 40 and 1 < len(graphs.calls) < 8 < torch._dynamo.config.recompile_limit


def test_a_step_that_asks_for_nothing_is_not_in_the_mean_of_the_losses(text, tmp_path):
    """One line of some ten tokens a step, 5 % masked: most steps have nothing to predict, and an untrained model's loss is ln V all the same."""
    flags = ["--examples", "lines", "--batch-size", "1", "--mlm-probability", "0.05", "--learning-rate", "1e-9", "--muon-learning-rate", "1e-9"]
    run(text, tmp_path / "run", *flags, "--max-steps", "200", "--log-every", "50")
    run(text, tmp_path / "each", *flags, "--max-steps", "30")
    for found, fewest, most in ((losses(tmp_path / "run"), 4, 5), (losses(tmp_path / "each"), 2, 29)):
        assert fewest <= len(found) <= most and all(loss == pytest.approx(math.log(300), rel=0.05) for _, loss, *_ in found)


def test_filters_of_a_stream_look_at_no_more_held_out_text_than_is_measured_on(text, tmp_path, monkeypatch):
    """Else the whole corpus would be read before the first window."""
    seen, real = [], preparation.FilteredCorpus
    monkeypatch.setattr(preparation, "FilteredCorpus", lambda *how: (seen.append(how[2]), real(*how))[1])
    for flags in ([], ["--stream"]):
        run(text, tmp_path / f"run{len(flags)}", "--max-steps", "1", "--filters", "duplicates", *flags)
    assert seen == [None, preparation.STREAM_EVAL_CHARACTERS]


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["quickstart", "kant"])
def test_a_compiled_run_computes_the_same(text, tmp_path, preset):
    flags = ["--preset", preset, "--max-steps", "6", "--eval-every", "3"]
    run(text, tmp_path / "eager", *flags)
    run(text, tmp_path / "compiled", *flags, "--compile")
    for one, two in zip(losses(tmp_path / "eager"), losses(tmp_path / "compiled"), strict=True):
        assert one == pytest.approx(two, rel=1e-3)


def test_a_batch_ramp_takes_more_batches_as_it_goes(text, tmp_path):
    run(text, tmp_path / "run", "--max-steps", "8", "--batch-size", "8", "--ramp-from", "2", "--batch-ramp", "0.5")
    state = json.loads((tmp_path / "run/checkpoints/step-0000008/state.json").read_text())
    assert num_batches(state) == 1 + 2 + 3 + 4 + 4 * 4  # of two examples each


@pytest.mark.parametrize("flags", [["--batch-ramp", "0.5"], ["--batch-ramp", "0.5", "--ramp-from", "3"], ["--batch-ramp", "2", "--ramp-from", "2"]])
def test_a_batch_ramp_that_does_not_fit_is_refused(text, tmp_path, flags):
    with pytest.raises(ValueError, match="batch_ramp"):
        run(text, tmp_path / "run", "--max-steps", "4", *flags)


def test_gradient_checkpointing_is_done_and_changes_no_loss(text, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr("minibert.model.checkpoint", lambda *how, **named: (calls.append(1), checkpointed(*how, **named))[1])
    for name in ("false", "true"):
        run(text, tmp_path / name, "--max-steps", "3", "--gradient-checkpointing", name)
        assert len(calls) == (3 if name == "true" else 0)  # one block, three steps
    assert [line[1] for line in losses(tmp_path / "true")] == pytest.approx([line[1] for line in losses(tmp_path / "false")], abs=1e-5)


def test_importing_train_does_nothing(capsys):
    import importlib

    importlib.reload(train)
    assert capsys.readouterr().out == ""
