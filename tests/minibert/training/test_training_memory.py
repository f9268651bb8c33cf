"""Sizes that cannot fit are refused before anything is built."""
import json
import time
from dataclasses import replace

import pytest
import torch
from train_helpers import SMALL, start

from minibert import from_pretrained, save_pretrained
from minibert.model import BertForMaskedLM
from minibert.presets import PRESETS
from minibert.training.memory import cgroup_limits, least_memory


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
    ("--family bert --max-position-embeddings 1000000000000", "--max-position-embeddings 100000"),
])
def test_sizes_that_cannot_fit_are_refused_at_once(text, tmp_path, flags, named):
    begin = time.monotonic()
    argv = [*SMALL, "--corpus", str(text), "--out", str(tmp_path / "run"), "--max-steps", "1"]
    with pytest.raises(ValueError, match=f"takes at least .* GB of memory.*: lower .*{named}"):
        start([*argv, *flags.split()])
    assert time.monotonic() - begin < 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", PRESETS)
def test_the_estimate_is_a_little_below_the_weights_of_a_model(name):
    model, config = PRESETS[name]
    with torch.device("meta"):
        num_parameters = BertForMaskedLM(model).num_parameters()
    weights, _ = least_memory(model, replace(config, optimizer="adamw", precision="fp32"))
    estimate = sum(num_bytes for num_bytes, _ in weights[:3])
    assert 0.93 * 16 * num_parameters < estimate < 16 * num_parameters


def test_the_limit_of_a_container_counts(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/memory.max").write_text("5000\n")
    (tmp_path / "a/b/memory.max").write_text("max\n")
    assert cgroup_limits("0::/a/b\n1:name=systemd:/x", tmp_path) == [5000]
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory/memory.limit_in_bytes").write_text("7000\n")
    assert cgroup_limits("4:memory:/docker/1e78", tmp_path) == [7000]


def test_a_folder_with_more_layers_than_its_file_can_hold_is_refused(tmp_path):
    save_pretrained(BertForMaskedLM(PRESETS["quickstart"][0]), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"num_hidden_layers": 10**6, "layer_types": None}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="num_hidden_layers is 1000000, more than model.safeten"):
        from_pretrained(tmp_path)
