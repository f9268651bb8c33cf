"""Equal weights give the numbers of transformers, with padding, segments and a window."""
import json
from pathlib import Path

import parity_cases as cases
import pytest
import torch

from minibert.config import ACTIVATIONS
from minibert.formats.huggingface import from_pretrained, save_pretrained
from minibert.model import BertForMaskedLM, BertForPreTraining, BertModel

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/models.json").read_text("utf-8"))
CLASSES = {"bert": "Bert", "roberta": "Roberta", "modernbert": "ModernBert"}


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
@pytest.mark.parametrize("family", cases.FAMILIES)
def test_a_model_of_transformers_gives_the_same_here(family, transformers, tmp_path):
    torch.manual_seed(0)
    ours = cases.config(family)
    sizes = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
             "intermediate_size", "max_position_embeddings", "pad_token_id")
    values = {name: getattr(ours, name) for name in sizes} | {"initializer_range": 0.2}
    if family == "modernbert":
        values |= dict(local_attention=6, global_attn_every_n_layers=2, cls_token_id=1,
                       sep_token_id=2, bos_token_id=1, eos_token_id=2)
    else:
        values |= dict(type_vocab_size=ours.type_vocab_size)
    config = getattr(transformers, CLASSES[family] + "Config")(**values)
    theirs = getattr(transformers, CLASSES[family] + "ForMaskedLM")(config)
    for p in theirs.parameters():  # biases of 0 and norms of 1 would hide that they are missing
        if p.dim() == 1:
            p.data += 0.2 * torch.randn_like(p)
    theirs.save_pretrained(tmp_path)
    model = from_pretrained(tmp_path)
    assert isinstance(model, BertForMaskedLM) and model.config.family == family
    assert model.num_parameters() == theirs.num_parameters()
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
