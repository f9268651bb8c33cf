"""The safetensors format: a file worked by hand, round trips, and headers that lie."""
import json

import pytest
import torch

from minibert.formats import safetensors

# 7 as int64, then 0.0 and 1.5 as float32: the wider type comes first.
# Two spaces pad the header of 110 bytes to a multiple of 8.
HEADER = (
    b'{"b":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},'
    b'"a":{"dtype":"F32","shape":[2,1],"data_offsets":[8,16]}}  '
)
DATA = b"\x07\0\0\0\0\0\0\0" + b"\0\0\0\0" + b"\0\0\xc0\x3f"
BY_HAND = (112).to_bytes(8, "little") + HEADER + DATA


def test_a_file_worked_by_hand(tmp_path):
    tensors = {"a": torch.tensor([[0.0], [1.5]]), "b": torch.tensor([7])}
    safetensors.write(tensors, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == BY_HAND
    loaded = safetensors.read(tmp_path / "x")
    assert list(loaded) == ["b", "a"]
    assert loaded["a"].tolist() == [[0.0], [1.5]]
    assert loaded["b"].tolist() == [7]


def tensors_of_all_types():
    torch.manual_seed(0)
    tensors = {
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 4),
        "transposed": torch.arange(6.0).view(2, 3).T,
    }
    for i, (name, dtype) in enumerate(safetensors.DTYPES.items()):
        tensors[f"b.{name}é"] = (5 * torch.randn(3, i + 1)).to(dtype)
        tensors[f"a.{name}é"] = (5 * torch.randn(3, i + 1)).to(dtype)
    return tensors


def test_every_type_and_shape_survives_a_round_trip(tmp_path):
    tensors = tensors_of_all_types()
    safetensors.write(tensors, tmp_path / "x", {"format": "pt"})
    loaded = safetensors.read(tmp_path / "x")
    assert set(loaded) == set(tensors)
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype, name
        assert torch.equal(loaded[name], tensor), name
    loaded["scalar"] += 1  # its memory is writable


def test_an_unsupported_dtype_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="cannot store z, it is torch.complex64"):
        safetensors.write({"z": torch.zeros(1, dtype=torch.complex64)}, tmp_path / "x")
    assert not list(tmp_path.iterdir())


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize("header, message", [
    ({"a": entry(offsets=(0, 12))}, r"tensor a is at bytes \[0, 12\], expected \[0, 8\]"),
    ({"a": entry(), "b": entry(offsets=(4, 12))}, r"tensor b .*, expected \[8, 16\]"),  # overlap
    ({"a": entry(), "b": entry(offsets=(16, 24))}, r"tensor b .*, expected \[8, 16\]"),  # gap
    ({"a": entry(), "b": entry(offsets=(8, 16))}, "16 bytes of tensors, the file holds 8"),
    ({"a": entry(shape=(2**58,), offsets=(0, 2**60))}, "describes 1,152,921,504,606,846,976 bytes"),
    ({"a": entry(dtype="F31")}, "KeyError: 'F31'"),
    ({"a": {"dtype": "F32", "shape": [2]}}, "KeyError: 'data_offsets'"),
    (["a"], "invalid header"),
    (b'{"\xff":1}', "invalid header"),
])
def test_a_header_that_lies_is_rejected(header, message, tmp_path):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    data = b"\0" * 8
    (tmp_path / "x").write_bytes(len(text).to_bytes(8, "little") + text + data)
    with pytest.raises(ValueError, match=message) as error:
        safetensors.read(tmp_path / "x")
    assert str(tmp_path / "x") in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_truncated_at_any_byte_is_rejected(tmp_path):
    for length in range(len(BY_HAND)):
        (tmp_path / "x").write_bytes(BY_HAND[:length])
        with pytest.raises(ValueError):
            safetensors.read(tmp_path / "x")


@pytest.mark.parity
@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_files_equal_those_of_the_package_byte_for_byte(metadata, tmp_path):
    package = pytest.importorskip("safetensors.torch")
    tensors = {name: tensor.contiguous() for name, tensor in tensors_of_all_types().items()}
    safetensors.write(tensors, tmp_path / "ours", metadata)
    package.save_file(tensors, tmp_path / "theirs", metadata)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    loaded = package.load_file(tmp_path / "ours")
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())
