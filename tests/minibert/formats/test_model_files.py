"""Folders that others made: where things stand in them, weights in each of their files, and files that are broken or hostile."""
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
from minibert.formats import model_files as folders
from minibert.formats import safetensors
from minibert.formats.huggingface import from_pretrained, save_pretrained
from minibert.formats.run_folder import load_run
from minibert.model import BertForMaskedLM
from tokenizer import WordPiece, load_tokenizer

GOLDEN = Path(__file__).parents[2] / "tokenizer" / "golden"


def make(family="bert", vocab_size=40, pad_token_id=0, **sizes):
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "initializer_range": 0.2} | sizes
    return BertForMaskedLM(BertConfig(family=family, vocab_size=vocab_size, max_position_embeddings=34, pad_token_id=pad_token_id, **sizes)).eval()


@pytest.fixture
def model(tmp_path):
    """A model in tmp_path, as model.safetensors."""
    model = make()
    save_pretrained(model, tmp_path)
    return model


def same(folder, model):
    found, expected = from_pretrained(folder).state_dict(), model.state_dict()
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)


def as_bin(folder, **how):
    """model.safetensors -> pytorch_model.bin, an OrderedDict with notes of torch's own, as ``state_dict`` gives it. -> its path"""
    tensors = torch.nn.Module().state_dict()
    tensors.update(safetensors.read(folder / "model.safetensors"))
    torch.save(tensors, folder / "pytorch_model.bin", **how)
    (folder / "model.safetensors").unlink()
    return folder / "pytorch_model.bin"


def in_parts(folder, save, name, kind):
    """model.safetensors -> three parts and their index. -> the index's path and its weight_map"""
    tensors = list(safetensors.read(folder / "model.safetensors").items())
    (folder / "model.safetensors").unlink()
    places = {}
    for n in range(3):
        part = f"{name}-{n + 1:05d}-of-00003.{kind}"
        save(dict(tensors[n::3]), folder / part)
        places |= dict.fromkeys(dict(tensors[n::3]), part)
    index = folder / f"{name}.{kind}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    return index, places


# Where things stand


@pytest.mark.parametrize("files, family", [(["vocab.json", "merges.txt"], "roberta"), (["uncased/vocab.txt"], "bert"),
                                           (["published/modernbert/tokenizer.json"], "modernbert"),
                                           (["published/bert-with-terms/tokenizer.json", "published/bert-with-terms/tokenizer_config.json"], "bert")])
def test_a_published_folder_is_a_model_with_the_tokenizers_files_beside_it(files, family, tmp_path):
    """Whichever of them: vocab.json and merges.txt, vocab.txt, or tokenizer.json alone."""
    for name in files:
        shutil.copy(GOLDEN / name, tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    save_pretrained(make(family, tokenizer.vocab_size, tokenizer.pad_token_id), tmp_path)
    as_bin(tmp_path)
    assert folders.locate(tmp_path) == (tmp_path, tmp_path)
    answers = fill_mask(*load_run(tmp_path), f"the {tokenizer.mask_token} of")
    assert len(answers) == 5 and answers[0]["score"] > 1.2 / tokenizer.vocab_size  # it is no even guess


def test_a_tokenizer_of_another_size_is_refused(tmp_path):
    save_pretrained(make(), tmp_path)
    shutil.copy(GOLDEN / "uncased/vocab.txt", tmp_path)
    size = load_tokenizer(tmp_path).vocab_size
    with pytest.raises(ValueError, match=f"tokenizer has {size} ids, model was built for 40"):
        load_run(tmp_path)


# Weights in each of their files


@pytest.mark.parametrize("how", [{}, {"_use_new_zipfile_serialization": False}], ids=["zip", "of-old"])
def test_a_bin_of_tensors_is_read(model, tmp_path, how):
    as_bin(tmp_path, **how)
    assert same(tmp_path, model)


def test_tensors_of_one_storage_get_memory_of_their_own(model, tmp_path):
    """Else a step of training would write into two of them, or into one of them twice."""
    path = as_bin(tmp_path)
    tensors = torch.load(path, weights_only=True)
    both = torch.arange(512.0).view(2, 16, 16)
    tensors["cls.predictions.transform.dense.weight"] = both[0].T  # in columns, and in the same storage as the next
    tensors["bert.encoder.layer.0.attention.output.dense.weight"] = tensors["bert.encoder.layer.1.attention.output.dense.weight"] = both[1]
    torch.save(tensors, path)
    parameters = dict(from_pretrained(tmp_path).named_parameters())
    assert len({value.untyped_storage().data_ptr() for value in parameters.values()}) == len(parameters)
    assert all(value.is_contiguous() for value in parameters.values())
    assert torch.equal(parameters["head.dense.weight"], both[0].T) and torch.equal(parameters["bert.blocks.1.attention.out_proj.weight"], both[1])


@pytest.mark.parametrize("value, message", [(float("nan"), "holds NaN or infinity"), (float("-inf"), "holds NaN or infinity"),
                                            (3, "holds torch.int64")])
@pytest.mark.parametrize("kind", ["bin", "safetensors"])
def test_weights_that_are_no_finite_numbers_are_refused_by_name(model, tmp_path, value, message, kind):
    tensors = safetensors.read(tmp_path / "model.safetensors")
    tensors["cls.predictions.bias"] = torch.tensor([value] * 40)
    safetensors.write(tensors, tmp_path / "model.safetensors")
    if kind == "bin":
        as_bin(tmp_path)
    with pytest.raises(ValueError, match=f"cls.predictions.bias {message}"):
        from_pretrained(tmp_path)


@pytest.mark.parametrize("save, name, kind", [(safetensors.write, "model", "safetensors"), (torch.save, "pytorch_model", "bin")])
def test_weights_in_parts_are_put_together(model, tmp_path, save, name, kind):
    in_parts(tmp_path, save, name, kind)
    assert same(tmp_path, model)


def test_safetensors_are_read_where_there_is_a_bin_as_well(model, tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"not looked at")
    assert same(tmp_path, model)


# Broken and hostile files


class Order:
    """What a pickle of it has Python do: make a folder."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("write", [torch.save, partial(torch.save, _use_new_zipfile_serialization=False),
                                   lambda value, path: path.write_bytes(pickle.dumps(value["z"], 2))], ids=["zip", "of-old", "bare"])
def test_a_pickle_with_code_in_it_is_refused_and_not_run(model, tmp_path, write):
    """Read without care the same file does run its code: what is tested is a real one."""
    path = as_bin(tmp_path)
    write({**torch.load(path, weights_only=True), "z": Order(tmp_path / "made")}, path)
    with pytest.raises(ValueError, match=r"model.bin: holds more than tensors: it wants \w+\.mkdir, with which it could run any code") as error:
        from_pretrained(tmp_path)
    assert not (tmp_path / "made").exists() and "\n" not in str(error.value)
    with contextlib.suppress(RuntimeError):  # of the bare one, only after its code has run
        torch.load(path, weights_only=False)
    assert (tmp_path / "made").is_dir()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("content, message", [
    (lambda path: path.write_bytes(path.read_bytes()[:-200]), "cannot be read"),
    (lambda path: path.write_bytes(b""), "cannot be read"),
    (lambda path: path.write_bytes(pickle.dumps({"a": 1}, 5)),
     "cannot be read .UnpicklingError: Unsupported operand.*: no file that torch.save wrote, or truncated; nothing"),
    (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "cannot be read"),
    (lambda path: torch.save([torch.zeros(2)], path), "holds a list, it must be tensors by name"),
    (lambda path: torch.save({"epoch": 3}, path), "'epoch' is a int"),
    (lambda path: torch.save({"state_dict": {"a": torch.zeros(2)}}, path), "'state_dict' is a dict"),
    (lambda path: torch.save({"a": torch.zeros(2).to_sparse()}, path), "dense tensors"),
    (lambda path: torch.save({"a\nb": torch.zeros(2)}, path), r"'a\\nb' is a Tensor"),
    (lambda path: torch.save({7: torch.zeros(2)}, path), "'7' is a Tensor, but all must be dense tensors, by name"),
    (lambda path: torch.save({"a": torch.zeros(2, dtype=torch.complex64)}, path), "tensor a is of type torch.complex64"),
    (lambda path: torch.save({"a": torch.zeros(2, device="meta")}, path), "tensor a is of type torch.float32 on the device meta"),
    (lambda path: torch.save({"a": torch.zeros(1).expand(2, 3)}, path), r"tensor a of shape \(2, 3\) needs 24 bytes, the file has 4 for it"),
])
def test_a_bin_that_holds_no_weights_is_one_clear_line(model, tmp_path, content, message):
    path = as_bin(tmp_path)
    content(path)
    with pytest.raises(ValueError, match=message) as error:
        from_pretrained(tmp_path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("change, message", [
    (lambda places: {}, "weight_map must say for each tensor"),
    (lambda places: list(places), "weight_map must say for each tensor"),
    (lambda places: places | {"a": 5}, "weight_map must say for each tensor"),
    (lambda places: places | {"a": "../model-00001-of-00003.safetensors"}, "names '../model-00001-of-00003.safetensors', but only files beside it"),
    (lambda places: places | {"a": "/etc/hostname"}, "only files beside it are read"),
    (lambda places: places | {"a": ".."}, "no such file"),
    (lambda places: places | {"a": "model-00004-of-00003.safetensors"}, "no such file, but .* has 1 tensors in it: copy all parts"),
    (lambda places: places | {"a": "model-00001-of-00003.safetensors"}, "disagree about 'a': they are not of one model"),
    (lambda places: dict(list(places.items())[1:]), "disagree about "),
])
def test_an_index_that_does_not_fit_its_parts_is_refused(model, tmp_path, change, message):
    index, places = in_parts(tmp_path, safetensors.write, "model", "safetensors")
    index.write_text(json.dumps({"weight_map": change(places)}))
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        from_pretrained(tmp_path)
    assert "\n" not in str(error.value)


def test_every_tensor_that_does_not_fit_is_told_of_those_of_all_layers_in_one_entry(model, tmp_path):
    """A config.json of another width: each of the tensors is named, with both shapes."""
    path = tmp_path / "config.json"
    path.write_text(path.read_text().replace('"hidden_size": 16', '"hidden_size": 32'))
    with pytest.raises(ValueError) as error:
        from_pretrained(tmp_path)
    tensors = safetensors.read(tmp_path / "model.safetensors")
    unchanged = [name for name in tensors if name.endswith(("intermediate.dense.bias", "predictions.bias"))]  # (24,), (40,)
    assert f": {len(tensors) - len(unchanged)} tensors do not fit" in str(error.value) and "more" not in str(error.value)
    for name in tensors:
        assert (name.replace(".0.", ".#.").replace(".1.", ".#.") + " has" in str(error.value)) == (name not in unchanged), name
    assert "layer.#.output.dense.weight has the shape (16, 24), config.json says (32, 24) (# = 0, 1)" in str(error.value)


def test_the_newest_whole_checkpoint_of_a_run_is_its_model_and_its_tokenizer_is_the_runs(tmp_path):
    tokenizer = WordPiece.train_from_iterator(["one two three"] * 3, 40, show_progress=False)
    tokenizer.save(tmp_path / "tokenizer")
    for step in (5, 40):
        save_pretrained(make(vocab_size=tokenizer.vocab_size, pad_token_id=tokenizer.pad_token_id), tmp_path / f"checkpoints/step-{step:07d}")
    (tmp_path / "checkpoints/step-0000040/model.safetensors").unlink()
    assert folders.locate(tmp_path) == (tmp_path / "checkpoints/step-0000005", tmp_path / "tokenizer")
