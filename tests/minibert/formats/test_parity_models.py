"""Equal weights give the numbers of transformers, with padding, segments and a window."""
import json
import math
from pathlib import Path

import parity_cases as cases
import pytest
import torch

from minibert.analysis.pseudo_likelihood import pseudo_perplexity
from minibert.config import ACTIVATIONS
from minibert.formats.huggingface import from_pretrained, save_pretrained
from minibert.formats.run_folder import load_run
from minibert.generation.command import continue_texts
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
def test_logits_and_loss_of_token_classification_equal_those_stored_from_transformers(family):
    inputs = cases.token_batch(family)
    logits, loss = cases.all_logits_and_loss(
        cases.token_classifier(family), inputs, inputs["attention_mask"] == 1)
    expected = GOLDEN[f"tokens {family}"]
    torch.testing.assert_close(logits[::3], torch.tensor(expected["logits"]), atol=1e-4, rtol=0)
    assert loss == pytest.approx(expected["loss"], abs=1e-4)
    assert logits.std(dim=0).min() > 0.1


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


GENERATIVE = list(cases.generative_cases())
NAMES = [name for name, *_ in GENERATIVE]


@pytest.mark.parametrize("name, model, inputs, is_token", GENERATIVE, ids=NAMES)
def test_models_that_write_have_the_logits_and_loss_stored_from_transformers(
        name, model, inputs, is_token):
    logits, loss = cases.all_logits_and_loss(model, inputs, is_token)
    expected = torch.tensor(GOLDEN[name]["logits"])
    torch.testing.assert_close(logits[::3, ::10], expected, atol=1e-4, rtol=0)
    assert loss == pytest.approx(GOLDEN[name]["loss"], abs=1e-4)
    assert logits.std() > 0.1


@pytest.mark.parity
@pytest.mark.parametrize("name, model, inputs, is_token", GENERATIVE, ids=NAMES)
def test_models_that_write_are_the_same_in_transformers(
        name, model, inputs, is_token, transformers, tmp_path):
    """In both directions: ours is loaded there, and what transformers saves is loaded here."""
    save_pretrained(model, tmp_path / "ours")
    auto_class = transformers.AutoModelForCausalLM
    if name.startswith("t5"):
        auto_class = transformers.AutoModelForSeq2SeqLM
    theirs, info = auto_class.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(info.values()), info
    logits, loss = cases.all_logits_and_loss(model, inputs, is_token)
    expected, expected_loss = cases.all_logits_and_loss(theirs.eval(), inputs, is_token)
    assert max_difference(logits, expected) < 1e-4
    assert abs(loss - expected_loss) < 1e-4
    theirs.save_pretrained(tmp_path / "theirs")
    back = from_pretrained(tmp_path / "theirs")
    assert type(back) is type(model)
    logits, _ = cases.all_logits_and_loss(back, inputs, is_token)
    assert max_difference(logits, expected) < 1e-4


@pytest.mark.parity
def test_gpt2_as_transformers_saves_it_has_the_same_ids_and_continuation(transformers, tmp_path):
    """A folder with vocab.json and merges.txt, whose only special token is <|endoftext|>."""
    tokenizers = pytest.importorskip("tokenizers")
    end = "<|endoftext|>"
    trained = tokenizers.ByteLevelBPETokenizer()
    trained.train_from_iterator(["the cat sees a dog and the dog sees a cat"] * 5, vocab_size=290,
                                special_tokens=[end], show_progress=False)
    trained.save_model(str(tmp_path))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(
        {"tokenizer_class": "GPT2Tokenizer", "bos_token": end, "eos_token": end,
         "unk_token": end}))
    torch.manual_seed(0)
    theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(
        vocab_size=trained.get_vocab_size(), n_embd=24, n_layer=2, n_head=3, n_positions=40,
        bos_token_id=0, eos_token_id=0, initializer_range=0.3)).eval()
    theirs.save_pretrained(tmp_path)
    their_tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    ours, tokenizer = load_run(tmp_path)
    for text in ("the cat", "The fish éats  a house\n", "I don't"):
        ids = their_tokenizer(text, return_tensors="pt").input_ids
        assert tokenizer.encode(text).ids == ids[0].tolist()
        written = theirs.generate(ids, max_new_tokens=12, do_sample=False)[0, ids.shape[1]:]
        assert continue_texts(ours, tokenizer, [text], 12, temperature=0) == [
            their_tokenizer.decode(written, skip_special_tokens=True)]
        result, = pseudo_perplexity(ours, tokenizer, [text])
        loss = theirs(ids, labels=ids).loss.item()
        assert math.log(result["pseudo_perplexity"]) == pytest.approx(loss, abs=1e-4)
