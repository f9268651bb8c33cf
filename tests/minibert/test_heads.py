"""The heads of fine-tuning: what each family's vector is, what a pre-trained model hands over, and that the ecosystem reads the result."""
import json

import parity_cases as cases
import pytest
import torch
from torch.nn import functional as F

from minibert.config import FAMILIES, BertConfig
from minibert.formats.huggingface import from_pretrained, save_pretrained
from minibert.formats.huggingface_config import classifier_from_json
from minibert.heads import BertForSequenceClassification
from minibert.model import BertForMaskedLM, BertForPreTraining, BertModel

LABELS = ("bad", "fair", "good")


def classifier(family, labels=LABELS, **options):
    return cases.fill(BertForSequenceClassification(cases.config(family), labels, **options))


def inputs(family):
    return {name: value for name, value in cases.batch(family).items() if name != "labels" and value is not None}


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_changes_nothing(family):
    model, b = classifier(family), inputs(family)
    lengths = b["attention_mask"].sum(1)
    with torch.no_grad():
        together = model(**b).logits
        alone = [model(**{name: value[row : row + 1, : lengths[row]] for name, value in b.items() if name != "attention_mask"}).logits[0]
                 for row in range(3)]
    torch.testing.assert_close(together, torch.stack(alone), atol=1e-5, rtol=0)


def test_bert_and_roberta_read_the_first_token_and_modernbert_the_mean():
    """Logits written out from the encoder's vectors, without dropout."""
    ids = torch.tensor([[1, 7, 9, 11, 2]])
    with torch.no_grad():
        model = classifier("bert")
        first = model.bert(ids)[0][:, 0]
        torch.testing.assert_close(model(ids).logits, model.classifier(torch.tanh(model.bert.pooler(first))))
        model = classifier("roberta")
        torch.testing.assert_close(model(ids).logits, model.classifier(torch.tanh(model.dense(model.bert(ids)[:, 0]))))
        model = classifier("modernbert")
        mean = model.bert(ids).mean(1)
        torch.testing.assert_close(model(ids).logits, model.classifier(model.norm(F.gelu(model.dense(mean)))))


@pytest.mark.parametrize("family", FAMILIES)
def test_losses_are_cross_entropy_and_squared_error(family):
    model, b = classifier(family), inputs(family)
    with torch.no_grad():
        out = model(**b, labels=torch.tensor([2, 0, 1]))
        by_hand = -out.logits.log_softmax(1)[[0, 1, 2], [2, 0, 1]].mean()
        assert out.loss == pytest.approx(by_hand.item())
        number = classifier(family, ())
        out = number(**b, labels=torch.tensor([1.0, 2.5, -1.0]))
        assert out.logits.shape == (3, 1)
        assert out.loss == pytest.approx(((out.logits[:, 0] - torch.tensor([1.0, 2.5, -1.0])) ** 2).mean().item())


def test_one_label_is_no_task():
    with pytest.raises(ValueError, match="one label only, 'good'"):
        classifier("bert", ("good",))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_encoder_is_taken_over_and_the_classifier_is_fresh(family):
    pretrained, fresh = cases.model(family), BertForSequenceClassification(cases.config(family), LABELS)
    before = fresh.classifier.weight.clone()
    fresh.load_encoder_from(pretrained)
    mine, theirs = fresh.bert.state_dict(), pretrained.bert.state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    assert torch.equal(fresh.classifier.weight, before)
    if family == "modernbert":
        assert torch.equal(fresh.dense.weight, pretrained.head.dense.weight) and torch.equal(fresh.norm.weight, pretrained.head.norm.weight)


def test_the_pooler_comes_along_where_it_was_trained():
    config = cases.config("bert")
    for trained in (cases.model("bert", BertForPreTraining), cases.fill(BertModel(config, pooler=True)), classifier("bert", ())):
        model = BertForSequenceClassification(config, LABELS).load_encoder_from(trained)
        pooler = (trained if isinstance(trained, BertModel) else trained.bert).pooler
        assert torch.equal(model.bert.pooler.weight, pooler.weight)
    model = BertForSequenceClassification(config, LABELS)
    fresh = model.bert.pooler.weight.clone()
    assert torch.equal(model.load_encoder_from(cases.model("bert")).bert.pooler.weight, fresh)


def test_a_classifier_hands_its_layers_to_another():
    first, second = classifier("modernbert"), BertForSequenceClassification(cases.config("modernbert"), ())
    second.load_encoder_from(first)
    assert torch.equal(first.dense.weight, second.dense.weight) and second.classifier.weight.shape == (1, 24)


@pytest.mark.parametrize("labels", [LABELS, ()])
@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_saved_comes_back(family, labels, tmp_path):
    model = classifier(family, labels, dropout=0.25)
    save_pretrained(model, tmp_path)
    back = from_pretrained(tmp_path)
    assert back.labels == labels and back.dropout.p == 0.25
    assert torch.equal(back(**inputs(family)).logits, model(**inputs(family)).logits)
    values = json.loads((tmp_path / "config.json").read_text())
    assert values["id2label"] == ({"0": "bad", "1": "fair", "2": "good"} if labels else {"0": "LABEL_0"})
    assert values["problem_type"] == ("single_label_classification" if labels else "regression")


def test_descriptions_of_other_heads_are_refused(tmp_path):
    for family, change in (("modernbert", {"classifier_pooling": "cls"}), ("bert", {"problem_type": "multi_label_classification"})):
        save_pretrained(classifier(family), tmp_path)
        values = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps(values | change))
        with pytest.raises(ValueError, match="is not supported"):
            from_pretrained(tmp_path)
        (tmp_path / "config.json").write_text(json.dumps(values | {"id2label": {"1": "a", "2": "b"}}))
        with pytest.raises(ValueError, match="id2label must map indices from 0 on"):
            from_pretrained(tmp_path)


def test_a_head_needs_no_dropout_of_its_own_in_the_file():
    """An older file leaves it to the model's."""
    config = BertConfig(vocab_size=9, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4, hidden_dropout_prob=0.2)
    assert classifier_from_json({}, config, "config.json") == (("LABEL_0", "LABEL_1"), 0.2)


# Live, where the package is installed: make parity


@pytest.mark.parity
@pytest.mark.parametrize("labels", [LABELS, ()])
@pytest.mark.parametrize("family", FAMILIES)
def test_our_folder_loads_in_transformers_and_theirs_here(family, labels, tmp_path):
    transformers = pytest.importorskip("transformers")
    model, b = classifier(family, labels), inputs(family)
    save_pretrained(model, tmp_path)
    theirs, info = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values()), info
    assert theirs.config.id2label == dict(enumerate(labels or ("LABEL_0",)))
    with torch.no_grad():
        gap = (theirs.eval()(**b).logits - model(**b).logits).abs().max().item()
        print(f"{family}: logits differ by {gap:.1e}")
        assert gap < 1e-4
        theirs.save_pretrained(tmp_path / "again")
        back = from_pretrained(tmp_path / "again")
        assert isinstance(back, BertForSequenceClassification) and back.labels == labels
        assert torch.equal(back(**b).logits, model(**b).logits)


def test_a_classifier_fills_no_masks():
    assert not hasattr(classifier("modernbert"), "head") and hasattr(cases.model("bert", BertForMaskedLM), "head")
