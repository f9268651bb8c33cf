"""Equal weights give the numbers of transformers, with padding, segments and a window."""
import json
from pathlib import Path

import parity_cases as cases
import pytest
import torch

from minibert.config import ACTIVATIONS
from minibert.formats.huggingface import from_pretrained, save_pretrained
from minibert.heads import BertForPreTraining
from minibert.model import BertModel

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/models.json").read_text("utf-8"))


@pytest.mark.parametrize("family", cases.FAMILIES)
def test_logits_and_loss_equal_those_stored_from_transformers(family):
    logits, loss = cases.logits_and_loss(cases.model(family), family)
    expected = torch.tensor(GOLDEN[family]["logits"])
    torch.testing.assert_close(logits[::3, ::10], expected, atol=1e-4, rtol=0)
    assert loss == pytest.approx(GOLDEN[family]["loss"], abs=1e-4)


@pytest.mark.parametrize("family", cases.FAMILIES)
def test_the_cases_would_show_a_mistake(family):
    """Logits are of the order of 1 and differ between tokens: an error of 1e-4 is a real one."""
    logits, _ = cases.logits_and_loss(cases.model(family), family)
    assert logits.std() > 0.5 and logits.std(dim=0).min() > 0.1


# Live, where transformers is installed: make parity


@pytest.fixture
def transformers():
    module = pytest.importorskip("transformers")
    module.logging.set_verbosity_error()
    module.logging.disable_progress_bar()
    return module


def max_difference(a, b):
    return (a - b).abs().max().item()


def inputs(family):
    return {name: value for name, value in cases.batch(family).items() if value is not None}


def assert_same_logits_and_loss(model, theirs, family):
    logits, loss = cases.logits_and_loss(model, family)
    with torch.no_grad():
        out = theirs.eval()(**inputs(family))
    is_token = inputs(family)["attention_mask"] == 1
    assert max_difference(logits, out.logits[is_token]) < 1e-4
    assert abs(loss - out.loss.item()) < 1e-4


@pytest.mark.parity
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("family", cases.FAMILIES)
def test_a_saved_model_gives_the_same_in_transformers(family, activation, attention, transformers,
                                                      tmp_path):
    model = cases.model(family, activation=activation)
    save_pretrained(model, tmp_path)
    theirs, info = transformers.AutoModelForMaskedLM.from_pretrained(
        tmp_path, attn_implementation=attention, output_loading_info=True)
    assert not any(info.values()), info
    assert_same_logits_and_loss(model, theirs, family)


@pytest.mark.parity
@torch.no_grad()
def test_pre_training_gives_the_same_losses(transformers, tmp_path):
    ours = cases.model("bert", BertForPreTraining)
    save_pretrained(ours, tmp_path)
    theirs = transformers.BertForPreTraining.from_pretrained(tmp_path).eval()
    order = torch.tensor([0, 1, 0])
    out = ours(**inputs("bert"), next_sentence_label=order)
    expected = theirs(**inputs("bert"), next_sentence_label=order)
    assert max_difference(out.nsp_logits, expected.seq_relationship_logits) < 1e-4
    assert abs(out.loss - expected.loss) < 1e-4
    assert isinstance(from_pretrained(tmp_path), BertForPreTraining)


@pytest.mark.parity
@torch.no_grad()
def test_the_encoder_with_pooler_gives_the_same(transformers, tmp_path):
    ours = cases.fill(BertModel(cases.config("bert"), pooler=True))
    save_pretrained(ours, tmp_path)
    theirs = transformers.AutoModel.from_pretrained(tmp_path).eval()
    batch = inputs("bert")
    del batch["labels"]
    hidden, pooled = ours(**batch)
    expected = theirs(**batch)
    is_token = batch["attention_mask"] == 1
    assert max_difference(hidden[is_token], expected.last_hidden_state[is_token]) < 1e-4
    assert max_difference(pooled, expected.pooler_output) < 1e-4


@pytest.mark.parity
@pytest.mark.parametrize("family", cases.FAMILIES)
def test_gradients_equal_those_of_transformers(family, transformers, tmp_path):
    """The gradient of the token embeddings has passed through everything."""
    ours = cases.model(family)
    save_pretrained(ours, tmp_path)
    theirs = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path).eval()
    ours(**inputs(family)).loss.backward()
    theirs(**inputs(family)).loss.backward()
    expected = theirs.get_input_embeddings().weight.grad
    gap = max_difference(ours.bert.embeddings.token.weight.grad, expected)
    assert gap < 1e-4 * max(1, expected.abs().max().item())
