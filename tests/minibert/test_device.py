"""Device, precision and memory."""
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from commands import FORK

from minibert import device
from minibert.config import BertConfig
from minibert.model import BertForMaskedLM

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
    with FORK.Pool(1) as pool:
        assert pool.apply(device.keep_freed_memory) is True


def test_without_mallopt_freed_memory_is_not_kept(monkeypatch):
    monkeypatch.setattr(device.ctypes, "CDLL", lambda name: SimpleNamespace())
    assert device.keep_freed_memory() is False


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_the_time_of_other_programs_on_our_cores_is_measured():
    script = ("import os, sys, time; os.sched_setaffinity(0, {int(sys.argv[1])}); print()\n"
              "sys.stdout.flush()\nwhile True: pass")
    cores = os.sched_getaffinity(0)
    core = min(cores)
    neighbor = subprocess.Popen([sys.executable, "-c", script, str(core)], stdout=subprocess.PIPE)
    try:
        neighbor.stdout.readline()
        os.sched_setaffinity(0, {core})
        before, start = device.other_core_seconds(), time.monotonic()
        end = time.process_time() + 0.1
        while time.process_time() < end:
            pass
        others, elapsed = device.other_core_seconds() - before, time.monotonic() - start
    finally:
        os.sched_setaffinity(0, cores)
        neighbor.kill()
        neighbor.communicate()
    # The core was never idle, so others had all the time that this process did not have.
    assert others == pytest.approx(elapsed - 0.1, abs=0.06)
    assert others > 0.03


@pytest.fixture
def shared_cores(monkeypatch):
    """A function: seconds by the clock and of others' work -> a SharedCores on four cores."""
    num_threads = [4]
    monkeypatch.setattr(torch, "get_num_threads", lambda: num_threads[-1])
    monkeypatch.setattr(torch, "set_num_threads", num_threads.append)
    monkeypatch.setattr(device, "usable_cores", lambda: {0, 1, 2, 3})
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    readings = {}
    monkeypatch.setattr(device.time, "monotonic", lambda: readings["clock"])
    monkeypatch.setattr(device, "other_core_seconds", lambda: readings["others"])

    def make(adapt):
        readings.update(clock=100.0, others=7.0)
        cores = device.SharedCores(adapt)

        def after(seconds, others):
            readings["clock"] += seconds
            readings["others"] += others
            cores.update()
            return cores.used_by_others, num_threads[-1]

        return after

    return make


def test_threads_leave_the_cores_that_other_programs_use(shared_cores):
    after = shared_cores(adapt=True)
    assert after(2.0, others=0.8) == (pytest.approx(0.4), 4)  # less than half a core
    assert after(2.0, others=3.2) == (pytest.approx(1.6), 2)  # rounded
    assert after(2.0, others=40.0) == (pytest.approx(20.0), 1)
    assert after(0.5, others=0.0) == (pytest.approx(20.0), 1)  # too short to measure
    assert after(1.5, others=0.0) == (0.0, 4)
    assert after(2.0, others=-0.1) == (0.0, 4)  # rounding


def test_threads_stay_in_a_run_by_steps_and_where_the_user_sets_their_number(
        shared_cores, monkeypatch):
    assert shared_cores(adapt=False)(2.0, others=4.0) == (2.0, 4)
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert shared_cores(adapt=True)(2.0, others=4.0) == (2.0, 4)


def test_models_of_shapes_only_take_no_memory_and_draw_no_numbers():
    state = torch.get_rng_state()
    filled = torch.ones(3)
    with device.shapes_only():
        model = BertForMaskedLM(BertConfig(vocab_size=50, hidden_size=12))
        torch.nn.init.normal_(filled)
    assert {p.device.type for p in model.parameters()} == {"meta"}
    assert torch.equal(torch.get_rng_state(), state)
    assert filled.sum() == 3
    torch.nn.init.normal_(filled)
    assert filled.sum() != 3
