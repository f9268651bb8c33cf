"""Device and precision are chosen by what is there, and said."""
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
