"""The file format: a file worked by hand, every type there and back, and headers that lie."""
import json

import pytest
import torch

from minibert.formats import safetensors

# 0.0 and 1.5 as float32, 7 as int64; the wider type comes first. The header of 112 bytes needs no filling.
HEADER = b'{"b":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2,1],"data_offsets":[8,16]}}'
BY_HAND = (112).to_bytes(8, "little") + HEADER + b"  " + b"\x07\0\0\0\0\0\0\0" + b"\0\0\0\0" + b"\0\0\xc0\x3f"


def test_a_file_worked_by_hand(tmp_path):
    assert len(HEADER) == 110
    safetensors.write({"a": torch.tensor([[0.0], [1.5]]), "b": torch.tensor([7])}, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == BY_HAND
    tensors = safetensors.read(tmp_path / "x")
    assert list(tensors) == ["b", "a"] and tensors["a"].tolist() == [[0.0], [1.5]] and tensors["b"].tolist() == [7]


def everything():
    torch.manual_seed(0)
    tensors = {f"{letter}.{name}é": (5 * torch.randn(3, n + 1)).to(dtype)
               for letter in "ba" for n, (name, dtype) in enumerate(safetensors.DTYPES.items())}
    return tensors | {"scalar": torch.tensor(2.5), "empty": torch.zeros(0, 4), "turned": torch.arange(6.0).view(2, 3).T}


def test_every_type_and_shape_comes_back_as_it_was(tmp_path):
    tensors = everything()
    safetensors.write(tensors, tmp_path / "x", {"format": "pt"})
    back = safetensors.read(tmp_path / "x")
    assert set(back) == set(tensors)
    for name, tensor in tensors.items():
        assert back[name].dtype == tensor.dtype and torch.equal(back[name], tensor), name
    back["scalar"] += 1  # memory of its own, which can be written to


def test_tensors_start_at_multiples_of_their_item_size(tmp_path):
    safetensors.write(everything(), tmp_path / "x")
    with open(tmp_path / "x", "rb") as file:
        header, start = safetensors.read_header(file, "x")
    assert start % 8 == 0
    assert all(entry["data_offsets"][0] % safetensors.DTYPES[entry["dtype"]].itemsize == 0 for entry in header.values())


def test_a_type_that_the_format_lacks_is_refused_and_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="tensor z has the type torch.complex64"):
        safetensors.write({"z": torch.zeros(1, dtype=torch.complex64)}, tmp_path / "x")
    assert not list(tmp_path.iterdir())


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize("header, message", [
    ({"a": entry(offsets=(0, 12))}, "needs 8 bytes, its offsets give 12"),
    ({"a": entry(offsets=(8, 0))}, "needs 8 bytes, its offsets give -8"),
    ({"a": entry(), "b": entry(offsets=(4, 12))}, "tensor b starts at byte 4, the one before it ends at 8"),
    ({"a": entry(), "b": entry(offsets=(16, 24))}, "tensor b starts at byte 16"),
    ({"a": entry(), "b": entry(offsets=(8, 16))}, "describes 16 bytes of numbers, the file holds 8"),
    ({"a": entry(shape=(1,), offsets=(0, 4))}, "describes 4 bytes"),
    ({"a": entry(dtype="F31")}, "unknown type 'F31'"),
    ({"a": entry(shape=(-2,))}, "whole numbers"),
    ({"a": entry(shape=(2.0,))}, "whole numbers"),
    ({"a": entry(shape=(True, 2))}, "whole numbers"),
    ({"a": entry(shape=(0, 2**62), offsets=(0, 0))}, "impossible shape"),
    ({"a": entry(shape=(2**60,), offsets=(0, 2**62))}, "impossible shape"),
    ({"a": entry(shape=(2**58,), offsets=(0, 2**60))}, "describes 1,152,921,504,606,846,976 bytes of numbers, the file holds 8"),
    ({"a": entry(shape=(2**58,), offsets=(0, 8))}, "needs 1,152,921,504,606,846,976 bytes, its offsets give 8"),
    ({"a": entry(), "b": entry(offsets=(0, 8))}, "tensor b starts at byte 0, the one before it ends at 8"),
    ({"a\x1b[2J": entry()}, "characters that no name of a tensor has"),
    ({"a": entry(offsets=(0, 8, 8))}, "two data_offsets"),
    ({"a": {"dtype": "F32", "shape": [2]}}, "needs dtype, shape and two data_offsets"),
    ({"a": "F32"}, "needs dtype, shape"),
    (["a"], "the header is a list"),
    (b'{"a":' + json.dumps(entry()).encode() + b',"a":' + json.dumps(entry()).encode() + b"}", "the key 'a' stands there twice"),
    (b'{"a":', "not readable JSON"),
    (b"[" * 100_000, "not readable JSON"),
    (b'{"\xff":1}', "not readable JSON"),
])
def test_a_header_that_lies_is_refused(header, message, tmp_path):
    """Each file has eight bytes of numbers."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    (tmp_path / "x").write_bytes(len(text).to_bytes(8, "little") + text + b"\0" * 8)
    with pytest.raises(ValueError, match=message) as error:
        safetensors.read(tmp_path / "x")
    assert str(tmp_path / "x") in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"\0\0\0", (2**60).to_bytes(8, "little") + b"{}", (3).to_bytes(8, "little") + b"{}"])
def test_a_header_longer_than_its_file_is_refused_before_it_is_read(content, tmp_path):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ValueError, match="no safetensors file, or a truncated one"):
        safetensors.read(tmp_path / "x")


def test_a_header_longer_than_any_is_refused_though_its_file_is_as_long(tmp_path):
    with open(tmp_path / "x", "wb") as file:
        file.write((safetensors.MAX_HEADER + 1).to_bytes(8, "little"))
        file.truncate(2 * safetensors.MAX_HEADER)  # a file with a hole: nothing of it is on the disk
    with pytest.raises(ValueError, match="it has 200,000,000 bytes, its header claims 100,000,001"):
        safetensors.read(tmp_path / "x")


def test_a_file_cut_anywhere_is_refused(tmp_path):
    for length in range(len(BY_HAND)):
        (tmp_path / "x").write_bytes(BY_HAND[:length])
        with pytest.raises(ValueError):
            safetensors.read(tmp_path / "x")


@pytest.mark.parity
@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_files_equal_those_of_the_package_byte_for_byte(metadata, tmp_path):
    package = pytest.importorskip("safetensors.torch")
    tensors = {name: tensor.contiguous() for name, tensor in everything().items()}
    safetensors.write(tensors, tmp_path / "ours", metadata)
    package.save_file(tensors, tmp_path / "theirs", metadata)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    back = package.load_file(tmp_path / "ours")
    assert all(torch.equal(back[name], tensor) for name, tensor in tensors.items())
