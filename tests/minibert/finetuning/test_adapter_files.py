"""Saved adapters load with the same predictions, and only on their own base model."""
import json
import re
import shutil

import pytest
import torch
from finetune_helpers import load_parts

from minibert.finetuning.adapter_files import (
    ADAPTER,
    ADAPTER_WEIGHTS,
    encoder_digest,
    load_finetuned,
    save_finetuned,
)
from minibert.finetuning.adapters import RATE_FACTORS, Tuning, attach
from minibert.formats import safetensors
from minibert.formats.huggingface import WEIGHTS, from_pretrained, save_pretrained
from minibert.heads import BertForSequenceClassification

MODES = [mode for mode in RATE_FACTORS if mode != "all"]


def save_adapter(run, mode, folder):
    """Write an adapter that is no longer in its initial state. Return the model."""
    pretrained, tokenizer, *_ = load_parts(run)
    tuning = Tuning(tune=mode, lora_rank=2, prefix_length=3)
    torch.manual_seed(0)
    model = BertForSequenceClassification(pretrained.config, ("0", "1"))
    attach(model.load_encoder_from(pretrained), tuning)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn(parameter.shape)
    save_finetuned(model, tuning, folder, tokenizer, run, encoder_digest(pretrained))
    return model.eval()


@torch.no_grad()
def logits(model):
    return model(torch.tensor([[5, 9, 11, 6, 8]])).logits


@pytest.mark.parametrize("mode", MODES)
def test_a_saved_model_loads_as_a_checkpoint_and_as_an_adapter(any_run, mode, tmp_path):
    folder = tmp_path / "a"
    model = save_adapter(any_run, mode, folder)
    names = set(safetensors.read(folder / ADAPTER_WEIGHTS))
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    is_frozen_head = mode == "lora" and model.config.family == "modernbert"
    assert names - trained == ({"dense.weight", "norm.weight"} if is_frozen_head else set())
    assert trained < names if is_frozen_head else trained == names
    assert "classifier.weight" in names

    assert (folder / WEIGHTS).exists() == (mode != "prefix")
    merged, _ = load_finetuned(folder)
    assert not any(name.endswith("lora_a") for name, _ in merged.named_parameters())
    assert (logits(merged) - logits(model)).abs().max() < 1e-6

    (folder / WEIGHTS).unlink(missing_ok=True)  # only the adapter remains
    rng_state = torch.get_rng_state()
    loaded, tokenizer = load_finetuned(folder)
    assert torch.equal(torch.get_rng_state(), rng_state)
    assert loaded.labels == ("0", "1") and not loaded.training
    assert tokenizer.vocab_size == model.config.vocab_size
    assert torch.equal(logits(loaded), logits(model))


def test_an_adapter_finds_its_base_after_both_have_moved(modernbert, tmp_path):
    shutil.copytree(modernbert, tmp_path / "old" / "run")
    model = save_adapter(tmp_path / "old" / "run", "prefix", tmp_path / "old" / "run" / "finetuned")
    stored = json.loads((tmp_path / "old" / "run" / "finetuned" / ADAPTER).read_text())
    assert stored["base"] == ".."
    (tmp_path / "old").rename(tmp_path / "new")
    loaded, _ = load_finetuned(tmp_path / "new" / "run" / "finetuned")
    assert torch.equal(logits(loaded), logits(model))


def test_an_adapter_loads_on_a_copy_of_its_base_but_on_no_other_model(modernbert, tmp_path):
    save_adapter(modernbert, "lora", tmp_path / "a")
    other = tmp_path / "other"
    shutil.copytree(modernbert, other)
    on_copy, _ = load_finetuned(tmp_path / "a", other)
    assert any(name.endswith("lora_a") for name, _ in on_copy.named_parameters())
    model = from_pretrained(other / "model")
    model.bert.blocks[0].mlp.down_proj.weight.data[0, 0] += 1e-6
    save_pretrained(model, other / "model")
    trained_on = re.escape(str(modernbert.resolve()))
    with pytest.raises(ValueError, match=f"another base model than .*: .* trained on {trained_on}"):
        load_finetuned(tmp_path / "a", other)


def test_lora_of_a_modernbert_without_mlm_head_trains_and_saves_the_whole_head(
        modernbert, tmp_path):
    """Its dense layer starts from random weights, others at each load."""
    run = tmp_path / "encoder"
    shutil.copytree(modernbert, run)
    save_pretrained(from_pretrained(modernbert / "model").bert, run / "model")
    model = save_adapter(run, "lora", tmp_path / "a")
    assert model.dense.weight.requires_grad and model.norm.weight.requires_grad
    assert not model.bert.blocks[0].mlp.down_proj.weight.requires_grad
    loaded, _ = load_finetuned(tmp_path / "a", run)
    assert torch.equal(logits(loaded), logits(model))


def test_lora_on_another_head_of_the_same_encoder_predicts_the_same(modernbert, tmp_path):
    model = save_adapter(modernbert, "lora", tmp_path / "a")
    other = tmp_path / "other"
    shutil.copytree(modernbert, other)
    base = from_pretrained(other / "model")
    base.head.dense.weight.data.neg_()
    save_pretrained(base, other / "model")
    loaded, _ = load_finetuned(tmp_path / "a", other)
    assert torch.equal(logits(loaded), logits(model))


def test_the_digest_depends_only_on_the_encoder(any_run):
    """Neither the head nor whether BERT's pooler was trained matters."""
    pretrained, *_ = load_parts(any_run)
    digest = encoder_digest(pretrained)
    classifier = BertForSequenceClassification(pretrained.config, ("a", "b"))
    classifier.load_encoder_from(pretrained)
    assert len(digest) == 64
    assert digest == encoder_digest(pretrained.bert) == encoder_digest(classifier)
    pretrained.bert.embeddings.token.weight.data[3, 2] += 1e-3
    assert encoder_digest(pretrained) != digest


def test_a_missing_base_or_file_raises(modernbert, tmp_path):
    folder = tmp_path / "a"
    save_adapter(modernbert, "prefix", folder)
    stored = json.loads((folder / ADAPTER).read_text())
    (folder / ADAPTER).write_text(json.dumps(stored | {"base": "../gone"}))
    with pytest.raises(FileNotFoundError, match="its base model is not at .*gone: name the right"):
        load_finetuned(folder)
    (folder / ADAPTER_WEIGHTS).unlink()
    with pytest.raises(FileNotFoundError, match="adapter.safetensors"):
        load_finetuned(folder, modernbert)


def test_tensors_that_do_not_fit_are_listed(modernbert, tmp_path):
    save_adapter(modernbert, "lora", tmp_path)
    path = tmp_path / ADAPTER_WEIGHTS
    tensors = safetensors.read(path)
    wrong_shape = "bert.blocks.0.attention.qkv.lora_a"
    changed = {"x.weight": torch.zeros(1), **tensors, wrong_shape: tensors[wrong_shape][:1]}
    del changed["classifier.bias"]
    safetensors.write(changed, path)
    with pytest.raises(ValueError, match="3 tensors are missing, unexpected or") as error:
        load_finetuned(tmp_path, modernbert)
    for name in (wrong_shape, "x.weight", "classifier.bias"):
        assert name in str(error.value)


@pytest.mark.parametrize("change", [
    "{", '"a"', '{"tuning": {"tune": "lorra"}}', '{"tuning": []}', '{"tuning": {"tune": "lora"}}'])
def test_a_damaged_description_raises(modernbert, tmp_path, change):
    save_adapter(modernbert, "lora", tmp_path)
    (tmp_path / ADAPTER).write_text(change)
    with pytest.raises(ValueError, match="adapter.json is not an adapter: "):
        load_finetuned(tmp_path, modernbert)
