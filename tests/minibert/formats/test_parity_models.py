"""The same weights give the same numbers as transformers', for all three families, with padding, segments and a window in play."""
import json
from pathlib import Path

import parity_cases as cases
import pytest
import torch

from minibert.formats.huggingface import from_pretrained, save_pretrained
from minibert.model import BertForMaskedLM, BertForPreTraining, BertModel

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "models.json").read_text(encoding="utf-8"))
CLASSES = {"bert": "Bert", "roberta": "Roberta", "modernbert": "ModernBert"}


@pytest.mark.parametrize("family", cases.FAMILIES)
def test_logits_and_loss_equal_what_transformers_computed(family):
    logits, loss = cases.dense_and_loss(family)
    torch.testing.assert_close(logits[::3, ::10], torch.tensor(GOLDEN[family]["logits"]), atol=1e-4, rtol=0)
    assert loss == pytest.approx(GOLDEN[family]["loss"], abs=1e-4)


@pytest.mark.parametrize("family", cases.FAMILIES)
def test_the_cases_would_show_a_mistake(family):
    """Logits are of the order of 1 and differ from place to place: an error of 1e-4 is a real one."""
    logits, _ = cases.dense_and_loss(family)
    assert logits.std() > 0.5 and logits.std(dim=0).min() > 0.1


# Live, where the package is installed: make parity


@pytest.fixture
def transformers():
    module = pytest.importorskip("transformers")
    module.logging.set_verbosity_error()
    module.logging.disable_progress_bar()
    return module


def difference(a, b):
    return (a - b).abs().max().item()


@pytest.mark.parity
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("family", cases.FAMILIES)
def test_our_folder_loads_there_and_gives_the_same_logits_and_loss(family, attention, transformers, tmp_path, record_property):
    save_pretrained(cases.model(family), tmp_path)
    theirs, info = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path, attn_implementation=attention, output_loading_info=True)
    assert not any(info.values()), info
    b = {name: value for name, value in cases.batch(family).items() if value is not None}
    with torch.no_grad():
        out = theirs.eval()(**b)
    logits, loss = cases.dense_and_loss(family)
    gap = difference(logits, out.logits[b["attention_mask"] == 1])
    print(f"{family} {attention}: logits differ by {gap:.1e}, loss by {abs(loss - out.loss.item()):.1e}")
    assert gap < 1e-4 and abs(loss - out.loss.item()) < 1e-4


@pytest.mark.parity
@pytest.mark.parametrize("family", cases.FAMILIES)
def test_their_folder_loads_here_and_gives_the_same_logits(family, transformers, tmp_path):
    torch.manual_seed(0)
    ours = cases.config(family)
    sizes = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "max_position_embeddings", "pad_token_id")
    values = {name: getattr(ours, name) for name in sizes} | {"initializer_range": 0.2}
    if family == "modernbert":
        values |= dict(local_attention=6, global_attn_every_n_layers=2, cls_token_id=1, sep_token_id=2, bos_token_id=1, eos_token_id=2)
    else:
        values |= dict(type_vocab_size=ours.type_vocab_size)
    theirs = getattr(transformers, CLASSES[family] + "ForMaskedLM")(getattr(transformers, CLASSES[family] + "Config")(**values)).eval()
    for p in theirs.parameters():  # biases and norms of fresh models are 0 and 1, which would hide their absence
        if p.dim() == 1:
            p.data += 0.2 * torch.randn_like(p)
    theirs.save_pretrained(tmp_path)
    model = from_pretrained(tmp_path)
    assert isinstance(model, BertForMaskedLM) and model.config.family == family
    assert model.num_parameters() == theirs.num_parameters()
    b = {name: value for name, value in cases.batch(family).items() if value is not None}
    with torch.no_grad():
        expected, dense = theirs(**b), model(**{name: value for name, value in b.items() if name != "labels"}).logits
        real = b["attention_mask"] == 1
        gap = difference(dense[real], expected.logits[real])
        print(f"{family}: logits differ by {gap:.1e}, loss by {abs(model(**b).loss.item() - expected.loss.item()):.1e}")
        assert gap < 1e-4 and abs(model(**b).loss - expected.loss) < 1e-4


@pytest.mark.parity
def test_pre_training_gives_the_same_two_losses(transformers, tmp_path):
    ours, b = cases.model("bert", BertForPreTraining), cases.batch("bert")
    save_pretrained(ours, tmp_path)
    theirs = transformers.BertForPreTraining.from_pretrained(tmp_path).eval()
    order = torch.tensor([0, 1, 0])
    with torch.no_grad():
        out, expected = ours(**b, next_sentence_label=order), theirs(**b, next_sentence_label=order)
    assert difference(out.nsp_logits, expected.seq_relationship_logits) < 1e-4 and abs(out.loss - expected.loss) < 1e-4
    assert isinstance(from_pretrained(tmp_path), BertForPreTraining)


@pytest.mark.parity
def test_the_encoder_with_pooler_equals_theirs(transformers, tmp_path):
    ours, b = cases.fill(BertModel(cases.config("bert"), pooler=True)), cases.batch("bert")
    save_pretrained(ours, tmp_path)
    theirs = transformers.AutoModel.from_pretrained(tmp_path).eval()
    del b["labels"]
    with torch.no_grad():
        (hidden, pooled), expected = ours(**b), theirs(**b)
    real = b["attention_mask"] == 1
    assert difference(hidden[real], expected.last_hidden_state[real]) < 1e-4 and difference(pooled, expected.pooler_output) < 1e-4


@pytest.mark.parity
@pytest.mark.parametrize("family", cases.FAMILIES)
def test_gradients_equal_theirs(family, transformers, tmp_path):
    """The gradient that reaches the word vectors has passed through everything."""
    ours, b = cases.model(family), cases.batch(family)
    save_pretrained(ours, tmp_path)
    theirs = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path).eval()
    ours(**b).loss.backward()
    theirs(**{name: value for name, value in b.items() if value is not None}).loss.backward()
    expected = theirs.get_input_embeddings().weight.grad
    assert difference(ours.bert.embeddings.token.weight.grad, expected) < 1e-4 * max(1, expected.abs().max().item())
