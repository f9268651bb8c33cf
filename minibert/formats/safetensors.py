"""Read and write the safetensors file format: named tensors, and no code that could run.

    8 bytes      n, the length of the header, little-endian
    n bytes      the header, JSON, padded with spaces so that n is a multiple of 8:
                 {"__metadata__": {"format": "pt"},
                  "a.weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}
    the rest     the values, tensor after tensor without gaps, each in row-major order;
                 offsets count from the first of these bytes

Source: https://github.com/huggingface/safetensors, section "Format" of its README.
The files equal those of that package byte for byte.
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


def write(tensors, path, metadata=None):
    """Write {name: tensor} to ``path`` atomically. metadata is a {str: str} or None.

    >>> write({"a": torch.tensor([1.0, 2.0])}, "/tmp/a.safetensors")
    >>> read("/tmp/a.safetensors")
    {'a': tensor([1., 2.])}
    """
    dtypes = list(NAMES)
    for name, tensor in tensors.items():
        if tensor.dtype not in dtypes:
            raise ValueError(f"{path}: safetensors cannot store {name}, it is {tensor.dtype}")
    names = sorted(tensors, key=lambda name: (dtypes.index(tensors[name].dtype), name))

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
        entries, data_start = read_header(file, path)
        for name, entry in entries.items():
            tensors[name] = torch.empty(entry["shape"], dtype=DTYPES[entry["dtype"]])
            file.seek(data_start + entry["data_offsets"][0])
            buffer = _as_bytes(tensors[name])
            if file.readinto(buffer) != len(buffer):  # another process truncated the file
                raise ValueError(f"{path}: the file ended within tensor {name}")
    return tensors


def read_header(file, path):
    """Return the entries of an open file's header, and the offset of the first tensor byte."""
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    if length > size - 8:
        raise ValueError(f"{path}: not a safetensors file, or truncated ({size:,} bytes)")
    try:
        entries = json.loads(file.read(length))
        entries.pop("__metadata__", None)
        end = _check_offsets(entries)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path}: invalid header ({type(error).__name__}: {error})") from None
    if end != size - 8 - length:
        raise ValueError(
            f"{path}: the header describes {end:,} bytes of tensors, the file holds "
            f"{size - 8 - length:,}: truncated or damaged, copy or save it again"
        )
    return entries, 8 + length


def _check_offsets(entries):
    """Return the end of the last tensor. Each one must start where the one before it ends."""
    end = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
        begin = end
        end += math.prod(entry["shape"]) * DTYPES[entry["dtype"]].itemsize
        if entry["data_offsets"] != [begin, end]:
            raise ValueError(f"tensor {name} is at bytes {entry['data_offsets']}, "
                             f"expected {[begin, end]}")
    return end


def _as_bytes(tensor):
    """Return the memory of a contiguous CPU tensor as a writable buffer of bytes."""
    # numpy has no bfloat16, but it has bytes
    return memoryview(tensor.reshape(-1).view(torch.uint8).numpy())
