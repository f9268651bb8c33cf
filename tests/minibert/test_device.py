"""Device and precision are chosen by what is there, and said."""
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from minibert import device


def test_auto_takes_the_first_device_that_is_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device.choose_device("auto").type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert device.choose_device("auto").type == "mps"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert device.choose_device("auto").type == "cpu"
    with pytest.raises(ValueError, match="use --device cpu"):
        device.choose_device("cuda")


def test_auto_precision_is_bf16_where_the_hardware_has_it(monkeypatch):
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    for has, expected in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(device, "cpu_has_bf16", lambda has=has: has)
        assert device.choose_precision("auto", cpu) == expected
    for has, expected in ((True, "bf16"), (False, "fp16")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda has=has, **_: has)
        assert device.choose_precision("auto", cuda) == expected
    assert device.choose_precision("auto", torch.device("mps")) == "fp32"
    assert device.choose_precision("fp16", cpu) == "fp16"


@pytest.mark.parametrize("precision, dtype", [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_products_run_in_the_precision_and_weights_stay_float32(precision, dtype):
    layer = torch.nn.Linear(4, 4)
    with device.autocast(torch.device("cpu"), precision):
        assert layer(torch.ones(1, 4)).dtype == dtype
    assert layer.weight.dtype == torch.float32


def test_the_memory_of_this_process_is_reported_in_bytes():
    assert 2**20 < device.peak_memory(torch.device("cpu")) < 2**45


STEPS = """
import torch
from minibert.device import keep_freed_memory

def losses():
    torch.manual_seed(0)
    model = torch.nn.Linear(64, 64)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(3):
        loss = model(torch.randn(8, 64)).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        yield loss.item()

before = list(losses())
print(keep_freed_memory(), before == list(losses()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_keeping_freed_memory_changes_no_numbers():
    # The setting is for a whole process, so the test has a process of its own.
    output = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True, check=True)
    assert output.stdout.split() == ["True", "True"]


def test_without_mallopt_freed_memory_is_not_kept(monkeypatch):
    monkeypatch.setattr(device.ctypes, "CDLL", lambda name: SimpleNamespace())
    assert device.keep_freed_memory() is False
