"""Sizes that cannot fit are refused before anything is built."""
import json
import time
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from train_helpers import SMALL, run, start

from minibert import from_pretrained, save_pretrained
from minibert.model import BertForMaskedLM
from minibert.presets import PRESETS
from minibert.training import cli
from minibert.training.memory import available_memory, cgroup_limits, check_memory, least_memory


@pytest.mark.parametrize("flags, named", [
    ("--hidden-size 10000000", "--hidden-size 10000000 or --intermediate-size 16"),
    ("--num-hidden-layers 100000000000", "--num-hidden-layers 100000000000 or"),
    ("--intermediate-size 1000000000000000", "--intermediate-size 1000000000000000"),
    ("--vocab-size 1000000000000", "--vocab-size 1000000000000 or --hidden-size 16"),
    ("--max-position-embeddings 1000000000000", "--max-position-embeddings 1000000000000"),
    ("--batch-size 1000000000000", "--batch-size 1000000000000 or"),
    ("--batch-size 1000000000000 --micro-batch-size 4", "--batch-size 1000000000000 or --max-len"),
    ("--batch-size 1000000000000 --examples lines", "--batch-size 1000000000000 or"),
    ("--hidden-size 1000000000000000000000000000000", "--hidden-size 1000000000000000000000000"),
    ("--family bert --type-vocab-size 1000000000000", "--type-vocab-size 1000000000000 or"),
    ("--family bert --max-position-embeddings 1000000000000", "--max-position-embeddings 100000"),
])
def test_sizes_that_cannot_fit_are_refused_at_once(text, tmp_path, flags, named):
    begin = time.monotonic()
    argv = [*SMALL, "--corpus", str(text), "--out", str(tmp_path / "run"), "--max-steps", "1"]
    with pytest.raises(ValueError, match=f"takes at least .* GB of memory.*: lower .*{named}"):
        start([*argv, *flags.split()])
    assert time.monotonic() - begin < 1
    assert not (tmp_path / "run").exists()


GB = 10**9


@pytest.mark.parametrize("machine, gpu, changeable, message", [
    # bert-base takes 1.74 GB, and the inputs of its blocks for 32 examples 0.15 GB
    (99, None, "new", ""),
    (1, None, "new", "this machine has 1.0 GB: lower --intermediate-size 3072 or --hidden-size"),
    (1, None, "init", "this machine has 1.0 GB: use a smaller model"),
    (1, None, "resume", "this machine has 1.0 GB: use a smaller model"),
    (99, 1, "new", "this GPU has 1.0 GB: lower --intermediate-size 3072"),
    (99, 1, "init", "this GPU has 1.0 GB: use a smaller model"),
    (99, 1.8, "init", "this GPU has 1.8 GB: lower --batch-size 256 or --max-length 128 or --micro"),
    (99, 1.8, "resume", "this GPU has 1.8 GB: lower --micro-batch-size 32$"),
    (0.0001, 99, "init", "this machine has 0.0 GB: lower --batch-size 256 or --max-length 128$"),
    (0.0001, 99, "resume", "this machine has 0.0 GB: use a smaller model, or a machine with more"),
])
def test_only_sizes_that_can_change_are_named(machine, gpu, changeable, message):
    model, config = PRESETS["bert-base"]
    config = replace(config, precision="fp32", examples="blocks")
    memory = {"this machine": machine * GB} | ({"this GPU": gpu * GB} if gpu else {})
    flags = {"new": [], "init": ["--init", "bert"], "resume": ["--resume"]}[changeable]
    changeable = cli.changeable_fields(cli.parse(flags))
    with pytest.raises(ValueError, match=message) if message else nullcontext():
        check_memory(model, config, memory, changeable)


def test_the_memory_of_a_gpu_is_read(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_properties",
                        lambda device: SimpleNamespace(total_memory=5))
    assert available_memory(torch.device("cuda"))["this GPU"] == 5
    assert available_memory(torch.device("cpu")).keys() == {"this machine"}


def test_a_batch_that_cannot_fit_with_a_published_model_names_no_size_of_the_model(
        text, tmp_path):
    run(text, tmp_path / "run", "--max-steps", "1")
    argv = ["--init", str(tmp_path / "run"), "--corpus", str(text), "--out", str(tmp_path / "two"),
            "--max-steps", "1", "--max-length", "16", "--batch-size", str(10**12)]
    with pytest.raises(ValueError, match="lower --batch-size 1000000000000 or --micro-batch-size"):
        start(argv)


@pytest.mark.parametrize("average, size", [(0.0, 16), (0.99, 20)])
@pytest.mark.parametrize("name", PRESETS)
def test_the_estimate_is_a_little_below_the_weights_of_a_model(name, average, size):
    model, config = PRESETS[name]
    with torch.device("meta"):
        num_parameters = BertForMaskedLM(model).num_parameters()
    config = replace(config, optimizer="adamw", precision="fp32", average=average)
    weights, _ = least_memory(model, config)
    estimate = sum(num_bytes for num_bytes, _ in weights[:3])
    assert 0.93 * size * num_parameters < estimate < size * num_parameters


def test_the_limit_of_a_container_counts(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/memory.max").write_text("5000\n")
    (tmp_path / "a/b/memory.max").write_text("max\n")
    assert cgroup_limits("0::/a/b\n1:name=systemd:/x", tmp_path) == [5000]


def test_a_folder_with_more_layers_than_its_file_can_hold_is_refused(tmp_path):
    save_pretrained(BertForMaskedLM(PRESETS["quickstart"][0]), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"num_hidden_layers": 10**6, "layer_types": None}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="1000000 layers are more than model.safetensors"):
        from_pretrained(tmp_path)
