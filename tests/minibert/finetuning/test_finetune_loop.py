"""Batches of texts, predictions, and which epoch ``fit`` keeps."""
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from finetune_helpers import QUICK, load_parts

from minibert.config import BertConfig
from minibert.finetuning.config import TASKS, FinetuneConfig
from minibert.finetuning.loop import (
    EncodedRows,
    EncodedTexts,
    best_epoch,
    finetuning_optimizer,
    fit,
    predict,
    training_step,
)
from minibert.finetuning.text_tasks import Regression
from minibert.heads import BertForSequenceClassification


def test_pairs_have_token_types_only_for_bert(any_run):
    model, tokenizer, *_ = load_parts(any_run)
    texts = EncodedTexts(tokenizer, [("a film", "the plot"), ("a", "b")], model.config, 32)
    batch = texts.batch([0])
    encoding = tokenizer.encode("a film", "the plot", pad_to_multiple_of=8)
    assert batch["input_ids"][0].tolist() == encoding.ids
    assert batch["attention_mask"][0].tolist() == encoding.attention_mask
    if model.config.segments > 1:
        assert batch["token_type_ids"][0].tolist() == encoding.type_ids
    else:
        assert "token_type_ids" not in batch


def test_predictions_do_not_depend_on_the_batch_size(any_run):
    model, tokenizer, _, dev = load_parts(any_run)
    config = FinetuneConfig(device="cpu", precision="fp32")
    classifier = BertForSequenceClassification(model.config, ("0", "1")).load_encoder_from(model)
    texts = EncodedTexts(tokenizer, dev.texts, model.config, 32)
    one_by_one = predict(classifier, texts, config, batch_size=1)
    together = predict(classifier, texts, config, batch_size=64)
    torch.testing.assert_close(together, one_by_one, atol=1e-5, rtol=0)
    assert classifier.training


def test_answers_are_the_label_of_the_largest_logit_or_the_value():
    classes = [torch.tensor([0.0, math.log(3)]), torch.tensor([9.0, -99.0])]
    answers = TASKS["classification"].answers(classes, None, ("bad", "good"), None)
    assert answers[0] == {"prediction": "good", "probability": pytest.approx(0.75)}
    assert answers[1]["prediction"] == "bad"
    values = [torch.tensor([1.5]), torch.tensor([-2.0])]
    assert TASKS["regression"].answers(values, None, (), None) == [
        {"prediction": 1.5}, {"prediction": -2.0}]


class CountingModel(torch.nn.Module):
    """Its only parameter counts the training steps, and is its output."""

    def __init__(self):
        super().__init__()
        self.count = torch.nn.Parameter(torch.zeros(()))
        self.labels = ()

    def forward(self, input_ids, attention_mask, labels=None):
        self.count.data += self.training
        return SimpleNamespace(logits=self.count.expand(len(input_ids), 1), loss=0 * self.count)


@pytest.fixture
def scripted_fit(monkeypatch, bert):
    """Return ``fit`` for epochs of one step with given dev scores.

    It returns (history, the epoch whose weights the model has, the scores that on_best saw), and
    has the number of steps that the bar shows at the end.
    """
    def run_script(scores, stop_after=None, **options):
        pretrained, tokenizer, *_ = load_parts(bert)
        labels = np.zeros(2, np.float32)
        texts = EncodedTexts(tokenizer, ["a", "b"], pretrained.config, 32, labels)
        config = FinetuneConfig(task="regression", epochs=len(scores), **{**QUICK, **options})

        def score(task, answers, examples, labels, config):
            return {"pearson": scores[round(answers[0]["prediction"]) - 1]}

        monkeypatch.setattr(Regression, "score", score)
        model = CountingModel()
        shown = []
        bar = SimpleNamespace(set_postfix_str=lambda *_, **__: None,
                              update=lambda n=1: shown.append(n) or True)

        class Stop:
            @property
            def requested(self):
                return stop_after is not None and round(model.count.item()) >= stop_after

        best_scores = []
        history = fit(model, texts, texts, config, 0, bar, Stop(),
                      lambda score, chosen: best_scores.append(score))
        run_script.steps_shown = sum(shown)
        return history, round(model.count.item()), best_scores
    return run_script


def test_the_best_epoch_is_kept_and_patience_ends_the_training(scripted_fit):
    scores = [0.3, 0.6, 0.5, 0.6, 0.9]
    history, kept_epoch, best_scores = scripted_fit(scores, patience=2)
    assert [entry["pearson"] for entry in history] == [0.3, 0.6, 0.5, 0.6]
    assert kept_epoch == best_epoch(history, "pearson")["epoch"] == 2
    assert best_scores == [0.3, 0.6]
    assert scripted_fit.steps_shown == 5  # with the epoch that was not needed
    history, kept_epoch, _ = scripted_fit(scores, patience=3)
    assert len(history) == kept_epoch == 5


def test_an_undefined_correlation_counts_as_zero_among_the_epochs(scripted_fit):
    assert scripted_fit([None, -0.2, 0.1, None], patience=4)[1] == 3
    history, kept_epoch, best_scores = scripted_fit([-0.2, None, -0.1])
    assert kept_epoch == 2 and best_scores == [-0.2, None]


def test_eval_every_skips_evaluations_but_not_the_last(scripted_fit):
    scores = [0.3, 0.6, 0.5, 0.4, 0.2]
    history, kept_epoch, best_scores = scripted_fit(scores, eval_every=2, patience=5)
    assert [entry["epoch"] for entry in history] == [2, 4, 5]
    assert kept_epoch == 2 and best_scores == [0.6]


def test_a_stop_drops_a_partial_epoch_unless_it_is_the_first(scripted_fit):
    history, kept_epoch, _ = scripted_fit([0.6, 0.5, 0.7], stop_after=3)
    assert len(history) == 2 and kept_epoch == 1
    history, _, best_scores = scripted_fit([0.6, 0.5, 0.7], stop_after=1)
    assert len(history) == 1 and best_scores == [0.6]
    assert scripted_fit.steps_shown == 1


def test_weights_that_the_last_step_made_inf_are_an_error(bert):
    pretrained, tokenizer, *_ = load_parts(bert)
    model = BertForSequenceClassification(pretrained.config, ("0", "1"))
    rows = EncodedTexts(tokenizer, ["a", "b"], pretrained.config, 32, np.array([0, 1]))
    model.classifier.weight.register_hook(lambda gradient: gradient * math.inf)
    bar = SimpleNamespace(set_postfix_str=lambda *_, **__: None, update=lambda n=1: True)
    config = FinetuneConfig(epochs=1, **{**QUICK, "batch_size": 2})  # its only step is the last
    with pytest.raises(ValueError, match="outputs are not finite: lower --learning-rate"):
        fit(model, rows, rows, config, 0, bar, SimpleNamespace(requested=False))


def trained_logits(scale):
    """Train a BERT whose embeddings are ``scale`` times as large. Return its logits after that."""
    torch.manual_seed(0)
    config = BertConfig(family="bert", vocab_size=30, hidden_size=8, num_hidden_layers=1,
                        num_attention_heads=2, intermediate_size=16, max_position_embeddings=8,
                        layer_norm_eps=1e-12, hidden_dropout_prob=0.0,
                        attention_probs_dropout_prob=0.0)
    model = BertForSequenceClassification(config, ("0", "1"), dropout=0.0)
    for p in model.parameters():
        if p.ndim > 1:  # all of one size, so that the median is that of the others
            p.data *= 0.02 / p.data.square().mean().sqrt()
    embeddings = model.bert.embeddings
    for part in (embeddings.token, embeddings.position, embeddings.segment):
        part.weight.data *= scale
    rows = EncodedRows([[5, 6, 7], [8, 9]] * 4, 0, 8, labels=torch.tensor([0, 1] * 4))
    train_config = FinetuneConfig(learning_rate=1e-2, weight_decay=0.1).train_config(seed=0)
    optimizer = finetuning_optimizer(model, train_config)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    for _ in range(20):
        training_step(model, rows.batch(np.arange(8)), optimizer, scaler,
                      replace(train_config, precision="fp32"), multiplier=1.0)
    return predict(model, rows, FinetuneConfig(device="cpu", precision="fp32"))[0]


def test_training_does_not_depend_on_the_size_of_embeddings_that_a_norm_follows():
    """The norm makes the model the same for any size, and relative rates its training too."""
    small, large = trained_logits(1.0), trained_logits(16.0)
    assert small.abs().max() > 0.1  # it has learned
    torch.testing.assert_close(large, small, atol=2e-3, rtol=0)
