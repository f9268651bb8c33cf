"""Model folders: where things are, every kind of weights file, broken and hostile files."""
import contextlib
import json
import os
import pickle
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch

from minibert.analysis.mask_filling import fill_mask
from minibert.config import BertConfig
from minibert.formats import safetensors
from minibert.formats.huggingface import from_pretrained, save_pretrained
from minibert.formats.model_files import locate
from minibert.formats.run_folder import load_run
from minibert.model import BertForMaskedLM
from tokenizer import WordPiece, load_tokenizer

GOLDEN = Path(__file__).parents[2] / "tokenizer" / "golden"


def make_model(family="bert", vocab_size=40, pad_token_id=0):
    torch.manual_seed(0)
    config = BertConfig(
        family=family,
        vocab_size=vocab_size,
        pad_token_id=pad_token_id,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=34,
        initializer_range=0.2,
    )
    return BertForMaskedLM(config).eval()


@pytest.fixture
def model(tmp_path):
    """A model, saved in tmp_path as model.safetensors."""
    model = make_model()
    save_pretrained(model, tmp_path)
    return model


def assert_loads_as(folder, model):
    loaded = from_pretrained(folder).state_dict()
    expected = model.state_dict()
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], expected[name]) for name in loaded)


def convert_to_bin(folder, **options):
    """Replace model.safetensors by a pytorch_model.bin as ``state_dict()`` is saved."""
    tensors = torch.nn.Module().state_dict()  # an OrderedDict with torch's _metadata
    tensors.update(safetensors.read(folder / "model.safetensors"))
    torch.save(tensors, folder / "pytorch_model.bin", **options)
    (folder / "model.safetensors").unlink()
    return folder / "pytorch_model.bin"


def split_into_shards(folder, save, stem, suffix):
    """Replace model.safetensors by three shards. Return (path of the index, weight_map)."""
    tensors = list(safetensors.read(folder / "model.safetensors").items())
    (folder / "model.safetensors").unlink()
    weight_map = {}
    for i in range(3):
        shard = dict(tensors[i::3])
        name = f"{stem}-{i + 1:05d}-of-00003.{suffix}"
        save(shard, folder / name)
        weight_map |= dict.fromkeys(shard, name)
    index = folder / f"{stem}.{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
    return index, weight_map


# Locating


@pytest.mark.parametrize("files, family", [
    (["vocab.json", "merges.txt"], "roberta"),
    (["uncased/vocab.txt"], "bert"),
    (["published/modernbert/tokenizer.json"], "modernbert"),
])
def test_a_published_folder_holds_the_model_and_the_files_of_its_tokenizer(files, family, tmp_path):
    for name in files:
        shutil.copy(GOLDEN / name, tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    save_pretrained(make_model(family, tokenizer.vocab_size, tokenizer.pad_token_id), tmp_path)
    convert_to_bin(tmp_path)
    assert locate(tmp_path) == (tmp_path, tmp_path)
    answers = fill_mask(*load_run(tmp_path), f"the {tokenizer.mask_token} of")
    assert answers[0]["score"] > 1.2 / tokenizer.vocab_size  # not uniform


def test_a_run_without_a_model_is_represented_by_its_newest_complete_checkpoint(tmp_path):
    tokenizer = WordPiece.train_from_iterator(["one two three"] * 3, 40, show_progress=False)
    tokenizer.save(tmp_path / "tokenizer")
    model = make_model(vocab_size=tokenizer.vocab_size, pad_token_id=tokenizer.pad_token_id)
    for step in (5, 40):
        save_pretrained(model, tmp_path / f"checkpoints/step-{step:07d}")
    (tmp_path / "checkpoints/step-0000040/model.safetensors").unlink()
    expected = (tmp_path / "checkpoints/step-0000005", tmp_path / "tokenizer")
    assert locate(tmp_path) == expected
    assert locate(expected[0]) == expected


def test_a_folder_without_a_model_or_a_tokenizer_is_rejected(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing is downloaded"):
        locate(tmp_path / "missing")
    with pytest.raises(ValueError, match="not a run directory"):
        locate(tmp_path)
    save_pretrained(make_model(), tmp_path / "a/b/model")
    with pytest.raises(ValueError, match="model is a model without a tokenizer"):
        locate(tmp_path / "a/b")


# Every kind of weights file


@pytest.mark.parametrize("zip_format", [True, False])
def test_a_bin_of_tensors_is_read(model, tmp_path, zip_format):
    convert_to_bin(tmp_path, _use_new_zipfile_serialization=zip_format)
    assert_loads_as(tmp_path, model)


@pytest.mark.parametrize("save, stem, suffix", [
    (safetensors.write, "model", "safetensors"),
    (torch.save, "pytorch_model", "bin"),
])
def test_shards_are_put_together(model, tmp_path, save, stem, suffix):
    split_into_shards(tmp_path, save, stem, suffix)
    assert_loads_as(tmp_path, model)


def test_safetensors_are_preferred_to_a_bin(model, tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"ignored")
    assert_loads_as(tmp_path, model)


def test_tensors_that_share_a_storage_get_their_own_memory(model, tmp_path):
    """Otherwise a training step would write to two of them at once."""
    path = convert_to_bin(tmp_path)
    tensors = torch.load(path, weights_only=True)
    shared = torch.arange(512.0).view(2, 16, 16)
    out_proj = "bert.encoder.layer.{}.attention.output.dense.weight"
    tensors["cls.predictions.transform.dense.weight"] = shared[0].T  # column-major
    tensors[out_proj.format(0)] = tensors[out_proj.format(1)] = shared[1]
    torch.save(tensors, path)
    parameters = dict(from_pretrained(tmp_path).named_parameters())
    storages = {value.untyped_storage().data_ptr() for value in parameters.values()}
    assert len(storages) == len(parameters)
    assert all(value.is_contiguous() for value in parameters.values())
    assert torch.equal(parameters["head.dense.weight"], shared[0].T)
    assert torch.equal(parameters["bert.blocks.1.attention.out_proj.weight"], shared[1])


# Broken and hostile files


@pytest.mark.parametrize("value, message", [
    (float("nan"), "holds NaN or infinity"),
    (float("-inf"), "holds NaN or infinity"),
    (3, "holds torch.int64"),
])
@pytest.mark.parametrize("suffix", ["bin", "safetensors"])
def test_non_finite_and_integer_weights_are_rejected(model, tmp_path, value, message, suffix):
    tensors = safetensors.read(tmp_path / "model.safetensors")
    tensors["cls.predictions.bias"] = torch.tensor([value] * 40)
    safetensors.write(tensors, tmp_path / "model.safetensors")
    if suffix == "bin":
        convert_to_bin(tmp_path)
    with pytest.raises(ValueError, match=f"cls.predictions.bias {message}"):
        from_pretrained(tmp_path)


class MakesFolder:
    """Unpickling an object of this class creates a folder."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("write", [
    torch.save,
    partial(torch.save, _use_new_zipfile_serialization=False),
    lambda tensors, path: path.write_bytes(pickle.dumps(tensors["z"], 2)),
], ids=["zip", "legacy", "bare"])
def test_a_pickle_with_code_is_rejected_and_not_run(model, tmp_path, write):
    path = convert_to_bin(tmp_path)
    write({**torch.load(path, weights_only=True), "z": MakesFolder(tmp_path / "made")}, path)
    with pytest.raises(ValueError, match="cannot be read.*No code of it was run"):
        from_pretrained(tmp_path)
    assert not (tmp_path / "made").exists()
    # The file is a real attack: without weights_only its code does run.
    with contextlib.suppress(RuntimeError):
        torch.load(path, weights_only=False)
    assert (tmp_path / "made").is_dir()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("content, message", [
    (lambda path: path.write_bytes(path.read_bytes()[:-200]), "cannot be read"),
    (lambda path: path.write_bytes(b""), "cannot be read"),
    (lambda path: path.write_bytes(pickle.dumps({"a": 1}, 5)), "UnpicklingError: Unsupported op"),
    (lambda path: torch.save([torch.zeros(2)], path), "not a dict of named tensors"),
    (lambda path: torch.save({"state_dict": {}}, path), "not a dict of named tensors"),
])
def test_a_bin_without_weights_is_rejected_in_one_line(model, tmp_path, content, message):
    path = convert_to_bin(tmp_path)
    content(path)
    with pytest.raises(ValueError, match=message) as error:
        from_pretrained(tmp_path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_shard_is_named(model, tmp_path):
    index, weight_map = split_into_shards(tmp_path, safetensors.write, "model", "safetensors")
    missing = "model-00004-of-00003.safetensors"
    index.write_text(json.dumps({"weight_map": weight_map | {"a": missing}}))
    with pytest.raises(FileNotFoundError, match=missing):
        from_pretrained(tmp_path)


@pytest.mark.parametrize("weight_map", [None, [], {}, {"a": 5}])
def test_an_index_that_names_no_files_is_refused(model, tmp_path, weight_map):
    index, _ = split_into_shards(tmp_path, safetensors.write, "model", "safetensors")
    index.write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(ValueError, match="index.json: its weight_map does not name a file"):
        from_pretrained(tmp_path)


def test_an_index_cannot_name_a_file_of_another_folder(model, tmp_path):
    folder = tmp_path / "model"
    save_pretrained(model, folder)
    index, weight_map = split_into_shards(folder, safetensors.write, "model", "safetensors")
    index.write_text(json.dumps({"weight_map": weight_map | {"a": "../model.safetensors"}}))
    with pytest.raises(FileNotFoundError, match="model/model.safetensors"):
        from_pretrained(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("content, message", [
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
    (b"\n<html><body>404</body></html>", "is a web page"),
])
def test_a_download_that_left_something_else_is_named(model, tmp_path, name, content, message):
    save_pretrained(model, tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name}: .*{message}"):
        from_pretrained(tmp_path)
