"""Read and write the safetensors file format: named tensors, and no code that could run.

    8 bytes      n, the length of the header, little-endian
    n bytes      the header, JSON, padded with spaces so that n is a multiple of 8:
                 {"__metadata__": {"format": "pt"},
                  "a.weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}
    the rest     the values, tensor after tensor without gaps, each in row-major order;
                 offsets count from the first of these bytes

Source: https://github.com/huggingface/safetensors, section "Format" of its README.
The files equal those of that package byte for byte. Every entry of a header is checked
against the file before memory is allocated for it.
"""
import json
import math
import os

import torch

from tokenizer.utils.files import atomic_write

# Tensors are written in this order: the widest types first, so that each tensor starts at
# a multiple of its item size.
DTYPES = {
    "I64": torch.int64,
    "F64": torch.float64,
    "F32": torch.float32,
    "I32": torch.int32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
MAX_HEADER = 100_000_000  # bytes; the limit of the safetensors package
MAX_ELEMENTS = 2**60


def write(tensors, path, metadata=None):
    """Write {name: tensor} to ``path`` atomically. metadata is a {str: str} or None.

    Raises ValueError for a dtype that the format does not have.

    >>> write({"a": torch.tensor([1.0, 2.0])}, "/tmp/a.safetensors")
    >>> read("/tmp/a.safetensors")
    {'a': tensor([1., 2.])}
    """
    for name, tensor in tensors.items():
        if tensor.dtype not in NAMES:
            raise ValueError(f"{path}: safetensors cannot store {name}, it is {tensor.dtype}")
    dtype_order = list(NAMES)
    names = sorted(tensors, key=lambda name: (dtype_order.index(tensors[name].dtype), name))

    header = {"__metadata__": metadata} if metadata else {}
    chunks = []
    end = 0
    for name in names:
        tensor = tensors[name].detach().cpu().contiguous()
        begin = end
        end += tensor.numel() * tensor.itemsize
        header[name] = {
            "dtype": NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
        chunks.append(_as_bytes(tensor))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    atomic_write(path, b"".join([len(text).to_bytes(8, "little"), text, *chunks]))


def read(path):
    """Return the tensors of a file as {name: tensor}, each in its own memory.

    Raises FileNotFoundError, or ValueError for a damaged file.
    """
    tensors = {}
    with open(path, "rb") as file:
        header, data_start = read_header(file, path)
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            tensors[name] = torch.empty(entry["shape"], dtype=DTYPES[entry["dtype"]])
            file.seek(data_start + entry["data_offsets"][0])
            buffer = _as_bytes(tensors[name])
            if file.readinto(buffer) != len(buffer):  # another process truncated the file
                raise ValueError(f"{path}: the file ended within tensor {name}")
    return tensors


def read_header(file, path):
    """Return the checked header of an open file, and the offset of the first tensor byte."""
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(size - 8, MAX_HEADER):
        raise ValueError(f"{path}: not a safetensors file, or truncated ({size:,} bytes)")
    try:
        text = file.read(length).decode("utf-8")
        header = json.loads(text, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: the header is not valid JSON ({error})") from None
    if not isinstance(header, dict):
        raise ValueError(f"{path}: the header is a {type(header).__name__}, not an object")

    entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
    for name, entry in entries.items():
        _check_entry(name, entry, path)
    # The tensors must cover the rest of the file, without gaps and without overlaps.
    expected = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = entry["data_offsets"]
        if begin != expected:
            raise ValueError(f"{path}: tensor {name} starts at {begin:,}, expected {expected:,}")
        expected = end
    data_size = size - 8 - length
    if expected != data_size:
        raise ValueError(
            f"{path}: the header describes {expected:,} bytes of tensors, "
            f"the file holds {data_size:,}: truncated or damaged, copy or save it again"
        )
    return header, 8 + length


def _check_entry(name, entry, path):
    """Check the name, keys, dtype and shape of one tensor, and that its size fits them."""
    if not name.isprintable():  # a name may be printed in an error message
        raise ValueError(f"{path}: the tensor name {name!r} has unprintable characters")
    if not (
        isinstance(entry, dict)
        and set(entry) == {"dtype", "shape", "data_offsets"}
        and _is_list_of_naturals(entry["shape"])
        and _is_list_of_naturals(entry["data_offsets"])
        and len(entry["data_offsets"]) == 2
    ):
        raise ValueError(f"{path}: tensor {name} has the invalid entry {str(entry)[:100]}")
    if entry["dtype"] not in DTYPES:
        raise ValueError(f"{path}: tensor {name} has the unknown dtype {entry['dtype']!r}")
    # A side of 0 must not hide that the others are too large for torch.
    if math.prod(max(side, 1) for side in entry["shape"]) >= MAX_ELEMENTS:
        raise ValueError(f"{path}: tensor {name} has the impossible shape {entry['shape']}")
    needed = math.prod(entry["shape"]) * DTYPES[entry["dtype"]].itemsize
    begin, end = entry["data_offsets"]
    if end - begin != needed:
        raise ValueError(
            f"{path}: tensor {name} needs {needed:,} bytes, its offsets span {end - begin:,}"
        )


def _is_list_of_naturals(values):
    # type(v) is int: a bool is an int for isinstance
    return isinstance(values, list) and all(type(v) is int and v >= 0 for v in values)


def _unique_keys(pairs):
    """Build a JSON object. Two readers could each use another one of two equal keys."""
    result = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"the key {key!r} occurs twice")
        result[key] = value
    return result


def _as_bytes(tensor):
    """Return the memory of a contiguous CPU tensor as a writable buffer of bytes."""
    # numpy has no bfloat16, but it has bytes
    return memoryview(tensor.reshape(-1).view(torch.uint8).numpy())
