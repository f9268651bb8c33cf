"""Sizes that cannot fit are refused before anything is built."""
import time
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from train_helpers import SMALL, start

from minibert.model import BertForMaskedLM
from minibert.presets import PRESETS
from minibert.training.memory import available_memory, check_memory, least_memory


@pytest.mark.parametrize("flags, part", [
    ("--hidden-size 10000000", "layers .*hidden_size 10,000,000, intermediate_size 16"),
    ("--hidden-size 1000000000000000000000000000000", "layers .*hidden_size 1,000,000,000,000"),
    ("--num-hidden-layers 100000000000", "layers .100,000,000,000 of"),
    ("--intermediate-size 1000000000000000", "layers .*intermediate_size 1,000,000,000,000,000"),
    ("--vocab-size 1000000000000", "token embeddings .vocab_size 1,000,000,000,000"),
    ("--max-position-embeddings 1000000000000", "positions .max_position_embeddings 1,000,"),
    ("--family bert --max-position-embeddings 1000000000000", "positions .max_position_embedd"),
    ("--family bert --type-vocab-size 1000000000000", "segment embeddings .type_vocab_size 1,000,"),
    ("--batch-size 1000000000000", "activations .1,000,000,000,000 examples"),
    ("--batch-size 1000000000000 --micro-batch-size 4", "token ids .batch_size 1,000,000,000,000"),
    ("--batch-size 1000000000000 --examples lines", "activations .1,000,000,000,000 examples"),
])
def test_sizes_that_cannot_fit_are_refused_at_once(text, tmp_path, flags, part):
    begin = time.monotonic()
    argv = [*SMALL, "--corpus", str(text), "--out", str(tmp_path / "run"), "--max-steps", "1"]
    with pytest.raises(ValueError, match=f"takes at least .* GB of memory.* for the {part}"):
        start([*argv, *flags.split()])
    assert time.monotonic() - begin < 1
    assert not (tmp_path / "run").exists()


GB = 10**9


@pytest.mark.parametrize("machine, gpu, message", [
    # bert-base takes 1.74 GB, and the inputs of its blocks for 32 examples 0.15 GB
    (99, None, ""),
    (1, None, "this machine has 1.0 GB: most of it for the layers"),
    (99, 1, "this GPU has 1.0 GB: most of it for the layers"),
    (99, 1.8, "at least 1.9 GB of memory, this GPU has 1.8 GB"),
    (0.0001, 99, "this machine has 0.0 GB: most of it for the token ids"),
])
def test_the_machine_and_the_gpu_are_checked(machine, gpu, message):
    model, config = PRESETS["bert-base"]
    config = replace(config, precision="fp32", examples="blocks")
    memory = {"this machine": machine * GB} | ({"this GPU": gpu * GB} if gpu else {})
    with pytest.raises(ValueError, match=message) if message else nullcontext():
        check_memory(model, config, memory)


def test_the_memory_of_a_gpu_is_read(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_properties",
                        lambda device: SimpleNamespace(total_memory=5))
    assert available_memory(torch.device("cuda"))["this GPU"] == 5
    assert available_memory(torch.device("cpu")).keys() == {"this machine"}


@pytest.mark.parametrize("name", PRESETS)
def test_the_estimate_is_a_little_below_the_weights_of_a_model(name):
    model, config = PRESETS[name]
    with torch.device("meta"):
        num_parameters = BertForMaskedLM(model).num_parameters()
    for average, size in ((0.0, 16), (6.0, 20)):
        config = replace(config, optimizer="adamw", precision="fp32", average=average)
        weights, _ = least_memory(model, config)
        estimate = sum([*weights.values()][:3])
        assert 0.93 * size * num_parameters < estimate < size * num_parameters
