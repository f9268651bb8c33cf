"""The classification head: the vector of each family, and the weights that it starts from."""
import json

import parity_cases as cases
import pytest
import torch
from torch.nn import functional as F

from minibert.config import FAMILIES
from minibert.formats import safetensors
from minibert.formats.huggingface import from_pretrained, save_pretrained
from minibert.formats.huggingface_config import classifier_from_json
from minibert.heads import (
    BertForMultiLabelClassification,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
)
from minibert.model import BertModel

LABELS = ("bad", "fair", "good")
HEADS = [(BertForSequenceClassification, LABELS), (BertForSequenceClassification, ()),
         (BertForMultiLabelClassification, LABELS), (BertForTokenClassification, LABELS)]


def classifier(family, labels=LABELS, **options):
    return cases.fill(BertForSequenceClassification(cases.config(family), labels, **options))


def some_labels(model, batch):
    """Return labels for the three texts of a batch."""
    if isinstance(model, BertForTokenClassification):
        is_first_piece = (torch.arange(18) % 3 == 1) & (batch["attention_mask"] == 1)
        return torch.where(is_first_piece, batch["input_ids"] % 3, -100)
    if isinstance(model, BertForMultiLabelClassification):
        return torch.tensor([[1.0, 0, 1], [0, 0, 0], [0, 1, 1]])
    return torch.tensor([2, 0, 1]) if model.labels else torch.tensor([0.5, -1.0, 2.0])


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_padding_changes_nothing(family):
    model, batch = classifier(family), cases.unlabeled_batch(family)
    lengths = batch.pop("attention_mask").sum(1)
    attention_mask = (torch.arange(18) < lengths[:, None]).long()
    together = model(**batch, attention_mask=attention_mask).logits
    for row, length in enumerate(lengths):
        alone = model(**{name: tensor[row:row + 1, :length] for name, tensor in batch.items()})
        torch.testing.assert_close(together[row], alone.logits[0], atol=1e-5, rtol=0)


@torch.no_grad()
def test_bert_and_roberta_use_the_first_token_and_modernbert_the_mean():
    ids = torch.tensor([[1, 7, 9, 11, 2]])
    model = classifier("bert")
    pooled = torch.tanh(model.bert.pooler(model.bert(ids)[0][:, 0]))
    torch.testing.assert_close(model(ids).logits, model.classifier(pooled))
    model = classifier("roberta")
    pooled = torch.tanh(model.dense(model.bert(ids)[:, 0]))
    torch.testing.assert_close(model(ids).logits, model.classifier(pooled))
    model = classifier("modernbert")
    pooled = model.norm(F.gelu(model.dense(model.bert(ids).mean(1))))
    torch.testing.assert_close(model(ids).logits, model.classifier(pooled))


@torch.no_grad()
def test_the_loss_of_several_labels_is_the_mean_binary_cross_entropy():
    model = cases.fill(BertForMultiLabelClassification(cases.config("bert"), LABELS))
    labels = torch.tensor([[1.0, 0, 1], [0, 0, 0], [0, 1, 1]])
    out = model(**cases.unlabeled_batch("bert"), labels=labels)
    p = out.logits.sigmoid()
    by_hand = -(labels * p.log() + (1 - labels) * (1 - p).log()).mean()
    assert out.loss == pytest.approx(by_hand.item())


@torch.no_grad()
def test_the_loss_is_the_cross_entropy_or_the_squared_error():
    out = classifier("bert")(**cases.unlabeled_batch("bert"), labels=torch.tensor([2, 0, 1]))
    by_hand = -out.logits.log_softmax(1)[[0, 1, 2], [2, 0, 1]].mean()
    assert out.loss == pytest.approx(by_hand.item())
    targets = torch.tensor([1.0, 2.5, -1.0])
    out = classifier("bert", ())(**cases.unlabeled_batch("bert"), labels=targets)
    assert out.logits.shape == (3, 1)
    assert out.loss == pytest.approx(((out.logits[:, 0] - targets) ** 2).mean().item())


def test_a_batch_without_a_labeled_token_has_a_loss_of_zero():
    model = BertForTokenClassification(cases.config("bert"), ("a", "b"))
    ids = torch.ones(1, 4, dtype=torch.long)
    assert model(ids, labels=torch.full((1, 4), -100)).loss == 0


def test_a_single_label_is_refused():
    with pytest.raises(ValueError, match="one label only, 'good'"):
        classifier("bert", ("good",))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_encoder_is_loaded_and_the_classifier_is_new(family):
    pretrained = cases.model(family)
    model = BertForSequenceClassification(cases.config(family), LABELS)
    before = model.classifier.weight.clone()
    model.load_encoder_from(pretrained)
    own = model.bert.state_dict()
    for name, tensor in pretrained.bert.state_dict().items():
        assert torch.equal(own[name], tensor)
    assert torch.equal(model.classifier.weight, before)
    if family == "modernbert":
        assert torch.equal(model.dense.weight, pretrained.head.dense.weight)
        assert torch.equal(model.norm.weight, pretrained.head.norm.weight)


def test_the_pooler_is_loaded_if_the_model_has_one():
    config = cases.config("bert")
    for trained in (cases.model("bert", BertForPreTraining), classifier("bert", ()),
                    cases.fill(BertModel(config, pooler=True))):
        model = BertForSequenceClassification(config, LABELS).load_encoder_from(trained)
        encoder = trained if isinstance(trained, BertModel) else trained.bert
        assert torch.equal(model.bert.pooler.weight, encoder.pooler.weight)
    model = BertForSequenceClassification(config, LABELS)
    before = model.bert.pooler.weight.clone()
    assert torch.equal(model.load_encoder_from(cases.model("bert")).bert.pooler.weight, before)



@pytest.mark.parametrize("cls, labels", [*HEADS, (BertForQuestionAnswering, ("start", "end"))])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_with_a_head_is_saved_and_loaded(family, cls, labels, tmp_path):
    model = cases.fill(cls(cases.config(family), labels, dropout=0.25))
    save_pretrained(model, tmp_path)
    loaded = from_pretrained(tmp_path)
    assert type(loaded) is cls and loaded.labels == labels and loaded.dropout.p == 0.25
    batch = cases.unlabeled_batch(family)
    assert torch.equal(loaded(**batch).logits, model(**batch).logits)


@pytest.mark.parametrize("cls, name", [
    (BertForSequenceClassification, "classifier.out_proj.weight"),
    (BertForTokenClassification, "classifier.weight")])
def test_the_last_layer_of_a_roberta_is_named_as_in_transformers(tmp_path, cls, name):
    save_pretrained(cls(cases.config("roberta"), LABELS), tmp_path)
    assert safetensors.read(tmp_path / "model.safetensors")[name].shape == (3, 24)


def test_another_pooling_is_refused(tmp_path):
    save_pretrained(classifier("modernbert"), tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(values | {"classifier_pooling": "cls"}))
    with pytest.raises(ValueError, match="classifier_pooling 'cls' is not supported"):
        from_pretrained(tmp_path)


def test_defaults_of_an_old_config():
    config = cases.config("bert")
    model = classifier_from_json(BertForSequenceClassification, {}, config, "config.json")
    assert model.labels == ("LABEL_0", "LABEL_1")
    assert model.dropout.p == config.hidden_dropout_prob


@pytest.mark.parity
@pytest.mark.parametrize("cls, labels", HEADS)
@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_a_model_with_a_head_loads_in_transformers_and_theirs_here(family, cls, labels, tmp_path):
    """Multi-label models are recognized by problem_type, which also chooses the loss there."""
    transformers = pytest.importorskip("transformers")
    model, batch = cases.fill(cls(cases.config(family), labels)), cases.unlabeled_batch(family)
    save_pretrained(model, tmp_path)
    auto_class = (transformers.AutoModelForTokenClassification
                  if cls is BertForTokenClassification
                  else transformers.AutoModelForSequenceClassification)
    theirs, info = auto_class.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values()), info
    assert theirs.config.id2label == dict(enumerate(labels or ("LABEL_0",)))
    targets = some_labels(model, batch)
    is_token = batch["attention_mask"] == 1 if cls is BertForTokenClassification else slice(None)
    expected, out = theirs.eval()(**batch, labels=targets), model(**batch, labels=targets)
    assert (expected.logits - out.logits)[is_token].abs().max() < 1e-4
    assert abs(expected.loss - out.loss) < 1e-4
    theirs.save_pretrained(tmp_path / "again")
    loaded = from_pretrained(tmp_path / "again")
    assert type(loaded) is cls and loaded.labels == labels
    assert torch.equal(loaded(**batch).logits, model(**batch).logits)
