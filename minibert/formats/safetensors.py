"""The safetensors file format, read and written by hand: named tensors, no code, nothing that can run when it is opened.

    8 bytes      n, the length of the header, little-endian
    n bytes      the header, JSON, filled up with spaces so that n is a multiple of 8:
                 {"__metadata__": {"format": "pt"}, "a.weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}
    the rest     the numbers, row after row, one tensor after the other without a gap; offsets count from the first of these bytes

Source: https://github.com/huggingface/safetensors, section "Format" of its README. Files equal those of that package byte for byte.
A file is not believed: whatever its header says is checked against the file before memory is taken for it.
"""
import json
import math
import os

import torch

from tokenizer.utils.files import atomic_write

# Tensors are written in this order: the widest types first, so that each starts at a multiple of its item size.
DTYPES = {"I64": torch.int64, "F64": torch.float64, "F32": torch.float32, "I32": torch.int32, "BF16": torch.bfloat16,
          "F16": torch.float16, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
MAX_HEADER = 100_000_000  # bytes; the package's own limit


def write(tensors, path, metadata=None):
    """Write {name: tensor} to ``path``, whole or not at all. metadata: {str: str}, or None.

    Raises ValueError for a type that the format lacks.

    >>> write({"a": torch.tensor([1.0, 2.0])}, "/tmp/a.safetensors")
    >>> read("/tmp/a.safetensors")
    {'a': tensor([1., 2.])}
    """
    for name, tensor in tensors.items():
        if tensor.dtype not in NAMES:
            raise ValueError(f"{path}: tensor {name} has the type {tensor.dtype}, safetensors has {', '.join(DTYPES)}")
    header, chunks, end = {}, [], 0
    if metadata:
        header["__metadata__"] = metadata
    order = list(DTYPES.values())
    for name in sorted(tensors, key=lambda name: (order.index(tensors[name].dtype), name)):
        tensor = tensors[name].detach().cpu().contiguous()
        begin, end = end, end + tensor.numel() * tensor.itemsize
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
        chunks.append(_bytes_of(tensor))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    atomic_write(path, b"".join([len(text).to_bytes(8, "little"), text, *chunks]))


def read(path):
    """The tensors of a file, {name: tensor}, each read straight into memory of its own.

    Raises FileNotFoundError, or ValueError that names the file and says what is wrong with it.
    """
    with open(path, "rb") as file:
        header, start = read_header(file, path)
        tensors = {}
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            tensors[name] = torch.empty(entry["shape"], dtype=DTYPES[entry["dtype"]])
            file.seek(start + entry["data_offsets"][0])
            buffer = _bytes_of(tensors[name])
            if file.readinto(buffer) != len(buffer):
                raise ValueError(f"{path}: the file ended while tensor {name} was read")
    return tensors


def read_header(file, path):
    """An open file -> (its header as a dict, where the numbers start), with every entry checked."""
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(size - 8, MAX_HEADER):
        raise ValueError(f"{path}: no safetensors file, or a truncated one: it has {size:,} bytes, its header claims {length:,}")
    try:
        header = json.loads(file.read(length).decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: the header is not readable JSON ({error})") from None
    if not isinstance(header, dict):
        raise ValueError(f"{path}: the header is a {type(header).__name__}, it must be an object")
    end = 0
    entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
    for name, entry in entries.items():
        _check_entry(name, entry, path)
    for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
        if entry["data_offsets"][0] != end:
            raise ValueError(f"{path}: tensor {name} starts at byte {entry['data_offsets'][0]:,}, the one before it ends at {end:,}")
        end = entry["data_offsets"][1]
    if end != size - 8 - length:
        raise ValueError(f"{path}: the header describes {end:,} bytes of numbers, the file holds {size - 8 - length:,}: "
                         "truncated or damaged, copy or save it again")
    return header, 8 + length


def _check_entry(name, entry, path):
    """One tensor's entry: the right keys, a known type, and as many bytes as the shape needs."""
    def whole(values, count=None):
        return isinstance(values, list) and all(type(v) is int and v >= 0 for v in values) and count in (None, len(values))

    if not name.isprintable():
        raise ValueError(f"{path}: a tensor has the name {name!r}, with characters that no name of a tensor has")
    if not (isinstance(entry, dict) and set(entry) == {"dtype", "shape", "data_offsets"}
            and whole(entry["shape"]) and whole(entry["data_offsets"], 2)):
        raise ValueError(f"{path}: tensor {name} needs dtype, shape and two data_offsets, all whole numbers from 0 on, not {str(entry)[:100]}")
    if entry["dtype"] not in DTYPES:
        raise ValueError(f"{path}: tensor {name} has the unknown type {entry['dtype']!r}, known are {', '.join(DTYPES)}")
    if math.prod(max(side, 1) for side in entry["shape"]) >= 2**60:
        raise ValueError(f"{path}: tensor {name} has the impossible shape {entry['shape']}")
    needed = math.prod(entry["shape"]) * DTYPES[entry["dtype"]].itemsize
    begin, end = entry["data_offsets"]
    if end - begin != needed:
        raise ValueError(f"{path}: tensor {name} of shape {entry['shape']} and type {entry['dtype']} needs {needed:,} bytes, "
                         f"its offsets give {end - begin:,}")


def _unique(pairs):
    """Builds each JSON object; of a key that stands there twice, readers might each believe another one."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(n for n in names if names.count(n) > 1)!r} stands there twice")
    return found


def _bytes_of(tensor):
    """The memory of a contiguous CPU tensor as a writable buffer of bytes (numpy knows no bfloat16, but it knows bytes)."""
    return memoryview(tensor.reshape(-1).view(torch.uint8).numpy())
