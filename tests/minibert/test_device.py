"""Device, precision and memory."""
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch

from minibert import device

CPU, CUDA, MPS = map(torch.device, ("cpu", "cuda", "mps"))


@pytest.mark.parametrize("cuda, mps, expected", [
    (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")])
def test_auto_is_the_first_device_available(cuda, mps, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert device.choose_device("auto").type == expected
    if not cuda and not mps:
        with pytest.raises(ValueError, match="use --device cpu"):
            device.choose_device("cuda")


@pytest.mark.parametrize("has_bf16, on_cpu, on_cuda", [
    (True, "bf16", "bf16"), (False, "fp32", "fp16")])
def test_auto_precision_is_bf16_if_the_hardware_has_it(has_bf16, on_cpu, on_cuda, monkeypatch):
    monkeypatch.setattr(device, "cpu_has_bf16", lambda: has_bf16)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **options: has_bf16)
    assert device.choose_precision("auto", CPU) == on_cpu
    assert device.choose_precision("auto", CUDA) == on_cuda
    assert device.choose_precision("auto", MPS) == "fp32"
    assert device.choose_precision("fp16", CPU) == "fp16"


@pytest.mark.parametrize("precision", device.DTYPES)
def test_products_have_the_precision_and_weights_stay_float32(precision):
    layer = torch.nn.Linear(4, 4)
    with device.autocast(CPU, precision):
        assert layer(torch.ones(1, 4)).dtype == device.DTYPES[precision]
    assert layer.weight.dtype == torch.float32


def test_peak_memory_is_in_bytes():
    assert 2**20 < device.peak_memory(CPU) < 2**45


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_glibc_accepts_the_settings_that_keep_freed_memory():
    # The settings are for a whole process, so the test has a process of its own.
    code = "from minibert.device import keep_freed_memory; print(keep_freed_memory())"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "True\n"


def test_without_mallopt_freed_memory_is_not_kept(monkeypatch):
    monkeypatch.setattr(device.ctypes, "CDLL", lambda name: SimpleNamespace())
    assert device.keep_freed_memory() is False


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_a_process_waits_for_a_core_that_another_one_uses():
    script = ("import os, sys, time; os.sched_setaffinity(0, {int(sys.argv[1])}); print()\n"
              "sys.stdout.flush()\nwhile True: pass")
    cores = os.sched_getaffinity(0)
    core = min(cores)
    neighbor = subprocess.Popen([sys.executable, "-c", script, str(core)], stdout=subprocess.PIPE)
    try:
        neighbor.stdout.readline()
        os.sched_setaffinity(0, {core})
        computed, waited = device.core_seconds()
        end = time.process_time() + 0.05
        while time.process_time() < end:
            pass
        more_computed, more_waited = device.core_seconds()
    finally:
        os.sched_setaffinity(0, cores)
        neighbor.kill()
        neighbor.communicate()
    assert more_computed - computed > 0.04
    assert more_waited - waited > 0.01
