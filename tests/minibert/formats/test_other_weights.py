"""Weights as wrappers and other programs leave them: read without prefixes, or named."""
import json
from argparse import Namespace

import pytest
import torch
from test_model_files import assert_loads_as, make_model

from minibert.config import FAMILIES
from minibert.formats import safetensors
from minibert.formats.huggingface import ENCODER, from_pretrained, save_pretrained
from minibert.formats.model_files import locate
from minibert.heads import BertForSequenceClassification
from minibert.model import BertForMaskedLM, BertModel
from minibert.training.init_from import read_weights

PREFIXES = ["module.", "_orig_mod.", "model.", "module._orig_mod.", "_orig_mod.module.model.",
            "net.encoder."]


@pytest.fixture(params=["roberta", "modernbert"])
def model(tmp_path, request):
    """A model, saved in tmp_path."""
    model = make_model(request.param)
    save_pretrained(model, tmp_path)
    return model


@pytest.fixture
def bert(tmp_path):
    model = make_model()
    save_pretrained(model, tmp_path)
    return model


def as_bin(folder, change):
    """Replace model.safetensors by a pytorch_model.bin of change({name: tensor})."""
    tensors = safetensors.read(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(change(tensors), folder / "pytorch_model.bin")


def prefixed(prefix, tensors):
    return {prefix + name: tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_prefix_is_stripped_and_reported_in_one_line(model, tmp_path, prefix, capsys):
    as_bin(tmp_path, lambda tensors: prefixed(prefix, tensors))
    assert_loads_as(tmp_path, model)
    line, = capsys.readouterr().err.splitlines()
    assert "pytorch_model.bin: names without the prefix" in line
    *_, note = read_weights(BertForMaskedLM(model.config), tmp_path)
    assert note in line


@pytest.mark.parametrize("prefix", ["", "model._orig_mod."])
def test_a_checkpoint_of_lightning_is_read(model, tmp_path, prefix):
    as_bin(tmp_path, lambda tensors: {
        "epoch": 3, "state_dict": prefixed(prefix, tensors), "optimizer_states": [{"lr": 0.1}]})
    assert_loads_as(tmp_path, model)


@pytest.mark.parametrize("wrapper", [
    "module.", "_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module."])
def test_a_part_that_was_wrapped_alone_is_read(model, tmp_path, wrapper):
    layers = "layers." if model.config.family == "modernbert" else "encoder.layer."
    as_bin(tmp_path, lambda tensors: {
        name.replace(f"{layers}1.", f"{layers}1.{wrapper}"): tensor
        for name, tensor in tensors.items()})
    assert_loads_as(tmp_path, model)


def test_prefixes_in_safetensors_are_stripped(model, tmp_path):
    path = tmp_path / "model.safetensors"
    safetensors.write(prefixed("module.", safetensors.read(path)), path)
    assert_loads_as(tmp_path, model)


def test_names_without_a_prefix_are_not_mentioned(model, tmp_path, capsys):
    from_pretrained(tmp_path)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("family", FAMILIES)
def test_encoders_and_classifiers_keep_their_own_names(tmp_path, family):
    config = make_model(family).config
    for model in (BertModel(config), BertForSequenceClassification(config, ("a", "b"))):
        save_pretrained(model, tmp_path)
        as_bin(tmp_path, lambda tensors: prefixed("module.", tensors))
        assert_loads_as(tmp_path, model)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_encoder_is_read_with_and_without_the_prefix_of_its_family(tmp_path, family, capsys):
    encoder = BertModel(make_model(family).config, pooler=family != "modernbert")
    save_pretrained(encoder, tmp_path)
    own_names = safetensors.read(tmp_path / "model.safetensors")
    for prefix in (ENCODER[family], "module." + ENCODER[family], "module."):
        safetensors.write(prefixed(prefix, own_names), tmp_path / "model.safetensors")
        assert_loads_as(tmp_path, encoder)
        state, *_ = read_weights(BertForMaskedLM(encoder.config), tmp_path)
        assert torch.equal(state["bert.embeddings.token.weight"], encoder.embeddings.token.weight)
    assert "not used" not in capsys.readouterr().err


def test_the_head_of_a_file_is_reported_if_the_config_names_an_encoder(model, tmp_path, capsys):
    config = json.loads((tmp_path / "config.json").read_text())
    name = config["architectures"][0].replace("ForMaskedLM", "Model")
    (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": [name]}))
    assert_loads_as(tmp_path, model.bert)
    assert "not used, because config.json names a bare encoder: " in capsys.readouterr().err


def test_two_models_in_a_file_are_not_mixed(bert, tmp_path):
    as_bin(tmp_path, lambda tensors: prefixed("teacher.", tensors) | prefixed("student.", tensors))
    with pytest.raises(ValueError, match="another architecture or program: teacher.bert.emb"):
        from_pretrained(tmp_path)
    save_pretrained(bert, tmp_path)
    as_bin(tmp_path, lambda tensors: prefixed("module.", tensors) | tensors)
    with pytest.raises(ValueError, match="module.bert.*is not a part of the model"):
        from_pretrained(tmp_path)


def test_long_and_hostile_names_are_cut_and_escaped(bert, tmp_path):
    as_bin(tmp_path, lambda tensors: tensors | {f"\x1b[31m{i}" * 999: torch.ones(1)
                                                for i in range(99)})
    with pytest.raises(ValueError, match=r"99 tensors do not fit .*: .x1b\[31m0") as error:
        from_pretrained(tmp_path)
    assert len(str(error.value)) < 1000 and str(error.value).isprintable()


def test_names_of_minibert_itself_are_refused_in_a_short_line(bert, tmp_path):
    as_bin(tmp_path, lambda tensors: bert.state_dict())
    for load in (from_pretrained, lambda folder: read_weights(bert, folder)):
        with pytest.raises(ValueError, match="names are those of another") as error:
            load(tmp_path)
        assert "bert.embeddings.token.weight" in str(error.value)
        assert len(str(error.value)) < 1000


@pytest.mark.parametrize("content, message", [
    (lambda t: {"model": t, "optimizer": {"lr": 1.0}}, "keys model, optimizer: save nothing"),
    (lambda t: list(t.values()), "but a list: save nothing but model.state_dict"),
    (lambda t: {i: x for i, x in enumerate(t.values())}, "the keys 0, 1, 2, 3, 4 and .* more"),
    (lambda t: {"state_dict": t, "hyper_parameters": Namespace(lr=1)},
     r"argparse.Namespace .*No code of it was run. .* save nothing but model.state_dict"),
])
def test_other_contents_of_a_bin_are_named(bert, tmp_path, content, message):
    as_bin(tmp_path, content)
    with pytest.raises(ValueError, match=message) as error:
        from_pretrained(tmp_path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 800


@pytest.mark.parametrize("name, message", [
    ("tf_model.h5", "TensorFlow: convert it with transformers 4: .*from_tf=True"),
    ("flax_model.msgpack", "Flax: convert it .*from_flax=True"),
    ("bert_model.ckpt.index", "TensorFlow 1: .*convert_bert_original_tf_checkpoint_to_pytorch"),
    ("best.pt", "best.pt is a checkpoint of PyTorch: copy it to pytorch_model.bin"),
    ("epoch=3-step=100.ckpt", "checkpoint of PyTorch: copy it to pytorch_model.bin"),
    ("weights.pth", "checkpoint of PyTorch"),
    ("bert.safetensors", "rename it to model.safetensors"),
    ("model.onnx", "an export, which cannot be trained"),
    ("bert-q4.gguf", "an export, which cannot be trained"),
    ("adapter_model.safetensors", "adapter of PEFT: .*merge_and_unload"),
    ("notes.md", "it holds config.json, notes.md$"),
    ("a\x1b[2J.md", r"it holds a\\x1b\[2J.md, config.json$"),
])
def test_a_folder_with_other_files_is_described(tmp_path, name, message):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (tmp_path / ".gitattributes").touch()
    (tmp_path / name).write_bytes(b"x")
    for load in (locate, from_pretrained):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            load(tmp_path)


def test_weights_without_a_config_and_models_in_subfolders_are_described(tmp_path):
    checkpoint = tmp_path / "checkpoint-500"
    save_pretrained(make_model(), checkpoint)
    with pytest.raises(ValueError, match="models are in checkpoint-500: name one"):
        locate(tmp_path)
    (checkpoint / "config.json").unlink()
    with pytest.raises(ValueError, match="model.safetensors needs the config.json of its model"):
        locate(checkpoint)
    checkpoint.rename(tmp_path / "last.ckpt")  # a folder, as DeepSpeed writes
    with pytest.raises(ValueError, match="it holds last.ckpt$"):
        locate(tmp_path)
