"""Fine-tuning, from files to a saved model and its predictions, on a task that a tiny model learns in seconds: is the word good in the text?"""
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from finetune_helpers import QUICK, flags, make_run, parts, sentences, silent, table

from minibert.batches import epoch_order
from minibert.config import FAMILIES
from minibert.finetuning import command
from minibert.finetuning.adapters import Tuning
from minibert.finetuning.command import choose_examples, finetune, new_classifier
from minibert.finetuning.labeled_files import Layout, class_labels
from minibert.finetuning.loop import EncodedTexts, FinetuneConfig, best_epoch, compute_metrics, fit, predict
from minibert.formats.huggingface import from_pretrained, save_pretrained
from minibert.heads import BertForSequenceClassification


@pytest.fixture(scope="module", params=FAMILIES)
def run(request, tmp_path_factory):
    return make_run(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return make_run("bert", tmp_path_factory.mktemp("one"))


@pytest.mark.parametrize("load_encoder_from", [True, False])
def test_the_encoder_drops_numbers_though_it_was_pretrained_without(run, load_encoder_from):
    pretrained = from_pretrained(run / "model")
    assert pretrained.config.hidden_dropout_prob == 0
    model = new_classifier(pretrained, ("0", "1"), FinetuneConfig(hidden_dropout_prob=0.25, device="cpu"), Tuning(), 0, load_encoder_from)
    shares = {name: module.p for name, module in model.named_modules() if isinstance(module, torch.nn.Dropout)}
    assert model.config.attention_probs_dropout_prob == pretrained.config.attention_probs_dropout_prob == 0
    assert shares.pop("dropout") == 0.1 and len(shares) == 3 and set(shares.values()) == {0.25}  # embeddings, attention, MLP of the one block
    ids = torch.tensor([[5, 6, 7, 8]])
    assert not model(ids).logits.equal(model(ids).logits) and model.eval()(ids).logits.equal(model(ids).logits)


def test_an_easy_task_is_learned_saved_and_predicted(run, tmp_path, capsys):
    out = tmp_path / "out"
    files = ["--train", str(run / "train.tsv"), "--dev", str(run / "dev.tsv"), "--out", str(out)]
    command.main([str(run), *files, "--json", *flags(epochs=4, patience=4)])
    results = json.loads(capsys.readouterr().out)
    assert results["pretrained"]["mean"] >= 0.9 and results["constant"] == 0.5 and results["labels"] == ["0", "1"]
    asked = tmp_path / "asked.tsv"
    asked.write_text(table([("a very good plot", "x"), ("", "y"), ("the bad actor", "z")], ["sentence", "more"]))
    command.main([str(out), "--predict", str(asked)])
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["index", "prediction", "probability"] and [line[0] for line in lines[1:]] == ["0", "1", "2"]
    assert lines[1][1] == "1" and lines[3][1] == "0"
    command.main([str(out), "--predict", str(run / "dev.tsv"), "--json"])
    given = [json.loads(line)["prediction"] for line in capsys.readouterr().out.splitlines()]
    right = [label for _, label in sentences(40, 2)]
    assert np.mean([a == b for a, b in zip(given, right)]) == results["pretrained"]["mean"]  # the saved model is the one that was scored


def test_from_scratch_stands_beside_it(bert):
    """What the pre-trained model knows is made here by fine-tuning it first: then a second round needs no learning."""
    model, tokenizer, train, dev = parts(bert)
    taught = []
    finetune(model, tokenizer, train, dev, FinetuneConfig(epochs=4, patience=4, **QUICK), say=silent, on_best=lambda best, score: taught.append(best))
    config = FinetuneConfig(epochs=1, from_scratch=True, **{**QUICK, "learning_rate": 1e-3, "seeds": 2})
    results = finetune(taught[-1], tokenizer, train, dev, config, say=silent)
    assert results["gain"] == pytest.approx(results["pretrained"]["mean"] - results["from_scratch"]["mean"]) and results["gain"] > 0.2
    assert len(results["from_scratch"]["scores"]) == 2


def test_seeds_differ_and_repeat(bert):
    model, tokenizer, train, dev = parts(bert)
    config = FinetuneConfig(epochs=1, **{**QUICK, "seeds": 2})
    first, again = (finetune(model, tokenizer, train, dev, config, say=silent) for _ in range(2))
    losses = [history[0]["train_loss"] for history in first["pretrained"]["epochs"]]
    assert first == again and losses[0] != losses[1]


def test_the_model_of_the_best_seed_is_kept(bert, monkeypatch):
    def scripted_fit(model, train, dev, config, seed, bar, stop, on_best):
        score = (0.7, 0.6, 0.8)[seed]
        on_best(score)
        return [{"epoch": 1, "accuracy": score}]

    monkeypatch.setattr(command, "fit", scripted_fit)
    told, config = [], FinetuneConfig(from_scratch=True, **{**QUICK, "seeds": 3})
    results = finetune(*parts(bert), config, say=silent, on_best=lambda model, score: told.append(score))
    assert told == [0.7, 0.8] and results["pretrained"]["mean"] == 0.7 and results["pretrained"]["deviation"] == 0.1 and results["gain"] == 0.0


def test_a_regression_learns_a_number(bert, tmp_path, capsys):
    for name, seed in (("train", 1), ("dev", 2)):
        rows = [(text, "a film", str(2.5 if label == "1" else -1)) for text, label in sentences(160, seed)]
        (tmp_path / f"{name}.tsv").write_text(table(rows, ["one", "two", "score"]))
    files = ["--train", str(tmp_path / "train.tsv"), "--dev", str(tmp_path / "dev.tsv"), "--predict", str(tmp_path / "dev.tsv")]
    names = ["--text", "one", "--pair", "two", "--label", "score", "--task", "regression"]
    command.main([str(bert), *files, *names, "--out", str(tmp_path / "out"), *flags(epochs=8, patience=8)])
    shown = capsys.readouterr().out
    assert re.search(r"^pre-trained  pearson (0.9|1.0)", shown, re.M) and "constant     pearson 0.0000" in shown
    lines = (tmp_path / "out" / "predictions.tsv").read_text().splitlines()
    assert lines[0] == "index\tprediction" and float(lines[2].split("\t")[1]) > 1 > float(lines[1].split("\t")[1])
    assert json.loads((tmp_path / "out" / "finetune.json").read_text())["layout"]["pair"] == "two"


def test_a_second_text_of_bert_has_types_of_its_own(run):
    model, tokenizer, *_ = parts(run)
    batch = EncodedTexts(tokenizer, [("a film", "the plot"), ("a", "b")], model.config, 32).batch([0])
    if model.config.segments < 2:
        assert "token_type_ids" not in batch
    else:
        assert batch["token_type_ids"][0].tolist() == tokenizer.encode("a film", "the plot", pad_to_multiple_of=8).type_ids
    assert batch["input_ids"].shape[1] % 8 == 0 and batch["attention_mask"].sum() == len(tokenizer.encode("a film", "the plot"))


def test_long_texts_are_cut_and_counted(bert):
    model, tokenizer, train, dev = parts(bert)
    said = []
    finetune(model, tokenizer, train, dev, FinetuneConfig(epochs=1, max_length=6, **QUICK), say=said.append)
    assert any("have 6 tokens, the most there may be, and may have been cut" in line for line in said)
    with pytest.raises(ValueError, match="max_length 35 is more than the 34 tokens"):
        finetune(model, tokenizer, train, dev, FinetuneConfig(max_length=35), say=silent)


def test_predictions_do_not_depend_on_the_batch(run):
    model, tokenizer, train, dev = parts(run)
    config = FinetuneConfig(device="cpu", precision="fp32")
    classifier = BertForSequenceClassification(model.config, ("0", "1")).load_encoder_from(model)
    texts = EncodedTexts(tokenizer, dev.texts, model.config, 32)
    torch.testing.assert_close(predict(classifier, texts, config, 64), predict(classifier, texts, config, 1), atol=1e-5, rtol=0)
    assert classifier.training


def test_scores_are_of_the_largest_output_or_of_the_number():
    metrics = FinetuneConfig().metrics
    assert compute_metrics(torch.tensor([[1.0, 2.0], [3.0, 0.0]]), torch.tensor([1, 1]), metrics)["accuracy"] == 0.5
    assert compute_metrics(torch.tensor([[1.0], [2.0], [6.0]]), torch.tensor([1.0, 2.0, 3.0]), {"n": lambda a, b: (a, b)})["n"] == ([1, 2, 3], [1, 2, 6])


class Scripted(torch.nn.Module):
    """A model with one number, which each step raises by 1, and which its output is: dev scores then follow a script."""

    def __init__(self):
        super().__init__()
        self.count = torch.nn.Parameter(torch.zeros(()))
        self.classifier = SimpleNamespace(out_features=1)

    def forward(self, input_ids, attention_mask, labels=None):
        self.count.data += self.training
        return SimpleNamespace(logits=self.count.expand(len(input_ids), 1), loss=0 * self.count)


def scripted(monkeypatch, bert, scores, stop_after=None, **options):
    """``fit`` where the n-th epoch, of one step, scores scores[n - 1] -> (history, the model's number at the end, what on_best was told)."""
    model, tokenizer, train, dev = parts(bert)
    texts = EncodedTexts(tokenizer, ["a", "b"], model.config, 32, np.zeros(2, np.float32))
    config = FinetuneConfig(task="regression", epochs=len(scores), **{**QUICK, **options})
    monkeypatch.setattr(FinetuneConfig, "metrics", {"pearson": lambda right, given: scores[round(given[0]) - 1]})
    counter, told = Scripted(), []
    bar = SimpleNamespace(set_postfix_str=lambda *_, **__: None, update=lambda n=1: None)

    class Stop:
        requested = property(lambda self: stop_after is not None and round(counter.count.item()) >= stop_after)

    history = fit(counter, texts, texts, config, 0, bar, Stop(), told.append)
    return history, round(counter.count.item()), told


def test_the_best_epoch_is_kept_and_patience_ends_the_rest(monkeypatch, bert):
    history, number, told = scripted(monkeypatch, bert, [0.3, 0.6, 0.5, 0.6, 0.9], patience=2)
    assert [epoch["pearson"] for epoch in history] == [0.3, 0.6, 0.5, 0.6] and number == 2 and told == [0.3, 0.6]
    assert best_epoch(history, "pearson")["epoch"] == 2
    history, number, _ = scripted(monkeypatch, bert, [0.3, 0.6, 0.5, 0.6, 0.9], patience=3)
    assert len(history) == 5 and number == 5


def test_the_dev_set_is_looked_at_as_often_as_asked(monkeypatch, bert):
    history, number, told = scripted(monkeypatch, bert, [0.3, 0.6, 0.5, 0.4, 0.2], judge_every=2, patience=5)
    assert [epoch["epoch"] for epoch in history] == [2, 4, 5] and number == 2 and told == [0.6]


def test_a_stop_keeps_the_best_so_far(monkeypatch, bert):
    history, number, _ = scripted(monkeypatch, bert, [0.6, 0.5, 0.7], stop_after=3)
    assert len(history) == 2 and number == 1  # the third epoch was cut short and is not judged
    history, number, told = scripted(monkeypatch, bert, [0.6, 0.5, 0.7], stop_after=1)
    assert len(history) == 1 and told == [0.6]  # the first one is: it is all there is


def test_ctrl_c_leaves_a_model_and_says_so(bert, tmp_path, monkeypatch, capsys):
    out, steps = tmp_path / "out", []

    def interrupted(model, train, dev, config, seed, bar, stop, on_best):
        steps.append(seed)
        stop.requested = len(steps) == 2
        return fit(model, train, dev, config, seed, bar, stop, on_best)

    monkeypatch.setattr(command, "fit", interrupted)
    args = [str(bert), "--train", str(bert / "train.tsv"), "--dev", str(bert / "dev.tsv"), "--out", str(out), *flags(seeds=3, from_scratch="true")]
    assert command.main(args) == 130
    assert "stopped      what was best so far is kept" in capsys.readouterr().out
    assert isinstance(from_pretrained(out), BertForSequenceClassification) and steps == [0, 1]
    assert len(json.loads((out / "finetune.json").read_text())["pretrained"]["scores"]) == 1


def test_every_example_is_learned_from_once_an_epoch(bert):
    model, tokenizer, train, dev = parts(bert)
    texts = EncodedTexts(tokenizer, train.texts, model.config, 32)
    for epoch in (0, 1):
        order = epoch_order(texts.lengths, 8, 0, epoch)
        assert sorted(np.concatenate(order)) == list(range(160))


def test_examples_are_drawn_once_for_all_seeds():
    assert choose_examples(10, 0).tolist() == list(range(10)) == choose_examples(10, 99).tolist()
    assert len(choose_examples(100, 7)) == 7 and choose_examples(100, 7).tolist() == choose_examples(100, 7).tolist() == sorted(set(choose_examples(100, 7)))


def test_without_dev_a_tenth_is_held_out_and_empty_texts_are_counted(bert, tmp_path, capsys):
    (tmp_path / "train.tsv").write_text(table([*sentences(30, 1), ("", "1")]))
    command.main([str(bert), "--train", str(tmp_path / "train.tsv"), "--out", str(tmp_path / "out"), *flags(epochs=1)])
    shown = capsys.readouterr().out
    assert "left out     1 rows" in shown and "no --dev     3 of the 30 training examples are held out" in shown
    (tmp_path / "dev.tsv").write_text(table([*sentences(4, 1), ("", "1")]))
    command.main([str(bert), "--train", str(tmp_path / "train.tsv"), "--dev", str(tmp_path / "dev.tsv"), "--out", str(tmp_path / "2"),
                  *flags(epochs=1)])
    assert "kept         1 rows" in capsys.readouterr().out


def test_a_label_that_occurs_once_stays_in_training_and_is_printed_safely(bert, tmp_path):
    rows, config = [*sentences(10, 1), *sentences(10, 2)], FinetuneConfig(device="cpu", precision="fp32")
    for rare in range(20):  # two of them are in the tenth that would be held out
        (tmp_path / "train.tsv").write_text(table([(text, "2\x1b[31m" if n == rare else label) for n, (text, label) in enumerate(rows)]))
        train, dev = command.read_files(SimpleNamespace(train=tmp_path / "train.tsv", dev=None), Layout(), config, silent)
        assert len(train) == 18 and len(dev) == 2 and len(set(train.labels)) == 3
    model, tokenizer, *_ = parts(bert)
    said = []
    command.encode_files(model.config, tokenizer, train, dev, class_labels(train), config, said.append)
    assert re.fullmatch(r"labels       0: \d+%, 1: \d+%, 2\\x1b\[31m: 6%", said[2])


def test_labels_that_are_refused_are_counted_in_the_whole_file(bert, tmp_path):
    for labels, message in ((["1"] * 40, "all 40 examples have the label '1'"), ([f"{n}.5" for n in range(40)], "of 40 examples: .*regression?")):
        (tmp_path / "train.tsv").write_text(table([("a", label) for label in labels]))
        with pytest.raises(ValueError, match=message):
            command.main([str(bert), "--train", str(tmp_path / "train.tsv"), "--out", str(tmp_path / "out"), *flags()])


@pytest.mark.parametrize("flag, remedy", [
    ("--lr", "it is --learning-rate"), ("--dropout-prob", "it is --hidden-dropout-prob, of the encoder, or --dropout, of the head"),
    ("--attention-probs-dropout-prob", "the dropout of the attention weights stays as pre-trained"),
])
def test_a_flag_of_another_name_is_explained(flag, remedy, capsys):
    with pytest.raises(SystemExit):
        command.main(["runs/a", flag, "0.1"])
    assert f"error: unknown flag {flag}: {remedy}\n" in capsys.readouterr().err


def test_what_cannot_be_done_is_said_and_leaves_nothing_behind(bert, tmp_path):
    train, out = str(bert / "train.tsv"), tmp_path / "out"
    (tmp_path / "dev.tsv").write_text(table([("a", "0"), ("b", "2")]))
    (tmp_path / "one.tsv").write_text(table([("a", "0"), ("b", "0")]))
    save_pretrained(from_pretrained(bert / "model"), tmp_path / "full")
    for args, message in (
            ([bert], "nothing to do: give --train FILE"),
            ([tmp_path / "absent", "--train", train], "absent: no such folder"),
            ([tmp_path, "--train", train], "no run directory"),
            ([bert, "--predict", train], "has not been fine-tuned"),
            ([bert, "--train", tmp_path / "absent.tsv"], "no such file"),
            ([bert, "--train", train, "--text", "text"], "train.tsv:1: no column 'text'; there are: sentence, label"),
            ([bert, "--train", train, "--dev", tmp_path / "dev.tsv"], "dev.tsv:3: label '2' does not occur in training, where there are 0, 1"),
            ([bert, "--train", tmp_path / "one.tsv", "--dev", train], "all 2 examples have the label '0'"),
            ([bert, "--train", train, "--dev", train, "--examples", "1"], "have one label only: raise --examples"),
            ([bert, "--train", train, "--out", tmp_path / "full"], "holds a model already"),
            ([bert, "--train", train, "--metric", "pearson"], "metric is 'pearson': a classification has accuracy, f1, matthews"),
            ([bert, "--train", train, "--task", "clasification"], "did you mean classification"),
            ([bert, "--train", train, "--epochs", "0"], "epochs is 0: it must be at least 1"),
            ([bert, "--train", train, "--dropout", "1"], r"dropout is 1.0: it must lie in \[0, 1\)"),
            ([bert, "--train", train, "--hidden-dropout-prob", "-0.1"], r"hidden_dropout_prob is -0.1: it must lie in \[0, 1\)"),
            ([bert, "--train", train, "--learning-rate", "0"], "learning_rate is 0.0")):
        extra = [] if "--out" in args else ["--out", str(out)]
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            command.main([*map(str, args), *extra])
        assert not out.exists()


def test_a_loss_that_is_no_number_says_what_to_try(bert):
    model, tokenizer, train, dev = parts(bert)
    with torch.no_grad():
        model.bert.embeddings.token.weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="the loss is nan at step 1: try a lower --learning-rate"):
        finetune(model, tokenizer, train, dev, FinetuneConfig(epochs=1, **QUICK), say=silent)


def test_the_folder_is_the_next_free_one(bert, tmp_path):
    arguments = SimpleNamespace(out=None, run=str(tmp_path))
    assert command.out_folder(arguments) == tmp_path / "finetuned"
    (tmp_path / "finetuned").mkdir()
    assert command.out_folder(arguments) == tmp_path / "finetuned-2"
    (tmp_path / "finetuned-2").write_text("")
    assert command.out_folder(arguments) == tmp_path / "finetuned-3"


def test_what_is_to_come_is_said_before_it_begins_and_a_poor_result_has_a_hint(bert, tmp_path, capsys):
    files = ["--train", str(bert / "train.tsv"), "--dev", str(bert / "dev.tsv")]
    command.main([str(bert), *files, "--out", str(tmp_path / "a"), *flags(epochs=2, learning_rate=1e-9, examples=500)])
    shown = capsys.readouterr().out
    assert "length       2 epochs of 20 steps, 8 examples each; rate 1e-09, 1 seed\n" in shown
    assert shown.index("length  ") < shown.index("pre-trained  seed 0")
    assert "examples     500 were asked for, and there are 160: all are learned from" in shown
    assert re.search(r"^pre-trained  accuracy 0\.\d{4}, of 1 seed$", shown, re.M) and re.search(r"^learns       all: [\d,]+ numbers$", shown, re.M)


def test_a_hint_follows_what_is_no_better_than_a_constant():
    said, results = [], {"metric": "f1", "constant": 0.5, "config": {"learning_rate": 5e-5, "epochs": 3, "warmup": 0.1},
                         "pretrained": {"mean": 0.5, "deviation": 0.01, "scores": [0.49, 0.51]}}
    command.show(results, said.append)
    assert said[0] == "pre-trained  f1 0.5000, deviation 0.0100 over 2 seeds"
    assert said[-1].endswith("try --learning-rate 0.0005 (it was 5e-05), more --epochs (3), --warmup 0.3 (0.1)")
    command.show(results | {"constant": 0.4}, said.append)
    assert sum("hint" in line for line in said) == 1


def test_help_shows_the_defaults(capsys):
    with pytest.raises(SystemExit):
        command.main(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "the column or field of the label [label]" in shown and "at most [3]" in shown and "--tune lora: 0.0005" in shown
    assert "after embeddings, attention and MLP while" in shown and "that of the attention weights stays as pre-trained" in shown
