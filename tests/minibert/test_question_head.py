"""The head that scores each token as the start and the end of an answer."""
import json
from pathlib import Path

import parity_cases as cases
import pytest
import torch

from minibert.config import FAMILIES
from minibert.formats.huggingface import from_pretrained, save_pretrained
from minibert.formats.huggingface_names import hf_names, layout
from minibert.heads import BertForQuestionAnswering

GOLDEN = json.loads((Path(__file__).parent / "golden/models.json").read_text("utf-8"))


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_scores_and_loss_equal_those_stored_from_transformers(family):
    out = cases.question_model(family)(**cases.question_batch(family))
    expected = torch.tensor(GOLDEN[f"qa {family}"]["logits"])
    torch.testing.assert_close(out.logits[0, ::3], expected, atol=1e-4, rtol=0)
    assert out.loss.item() == pytest.approx(GOLDEN[f"qa {family}"]["loss"], abs=1e-4)
    assert out.logits.std() > 0.5


@torch.no_grad()
def test_the_loss_is_the_mean_of_both_cross_entropies_without_the_padding():
    model = cases.question_model("bert")
    labels = torch.tensor([[7, 9], [0, 0], [2, 4]])
    batch = cases.unlabeled_batch("bert")
    out = model(**batch, labels=labels)
    by_hand = 0
    for scores, is_token, (start, end) in zip(out.logits, batch["attention_mask"] == 1, labels):
        log_p = scores[is_token].log_softmax(0)
        by_hand -= (log_p[start, 0] + log_p[end, 1]) / 6
    assert out.loss == pytest.approx(by_hand.item())


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_the_encoder_of_a_pretrained_model_is_loaded(family):
    pretrained = cases.model(family)
    model = BertForQuestionAnswering(cases.config(family), ("start", "end"))
    model.load_encoder_from(pretrained)
    own = model.bert.state_dict()
    assert all(torch.equal(own[name], tensor)
               for name, tensor in pretrained.bert.state_dict().items())
    if family == "modernbert":
        assert torch.equal(model.dense.weight, pretrained.head.dense.weight)


@pytest.mark.parametrize("family, name", [
    ("bert", "qa_outputs"), ("roberta", "qa_outputs"), ("modernbert", "classifier")])
def test_the_linear_layer_has_the_name_that_it_has_in_transformers(family, name):
    assert hf_names("classifier.bias", layout(cases.question_model(family))) == [f"{name}.bias"]


@pytest.mark.parity
@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_a_model_loads_in_transformers_and_theirs_here(family, tmp_path):
    transformers = pytest.importorskip("transformers")
    model, batch = cases.question_model(family), cases.unlabeled_batch(family)
    save_pretrained(model, tmp_path)
    theirs, info = transformers.AutoModelForQuestionAnswering.from_pretrained(
        tmp_path, output_loading_info=True)
    assert not any(info.values()), info
    out = theirs.eval()(**batch)
    scores = torch.stack((out.start_logits, out.end_logits), dim=-1)
    logits = model(**batch).logits
    is_token = batch["attention_mask"] == 1
    assert (scores - logits)[is_token].abs().max() < 1e-4
    theirs.save_pretrained(tmp_path / "again")
    loaded = from_pretrained(tmp_path / "again")
    assert isinstance(loaded, BertForQuestionAnswering) and loaded.labels == ("start", "end")
    assert torch.equal(loaded(**batch).logits, logits)
