"""What a GGUF file says about itself: its metadata, and where each tensor lies; read once, in under a second.

Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little-endian).
"""

import mmap
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGUF_DEFAULT_ALIGNMENT, GGMLQuantizationType

from analyzers.errors import AssetError

Value = int | float | bool | str | list["Value"]

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_FLOAT32, _STRING, _ARRAY = 6, 8, 9


@dataclass(frozen=True)
class StoredTensor:
    """Where one tensor lies in the file, and how it is stored."""

    shape: tuple[int, ...]
    """Slowest axis first, as torch has it (the file has it the other way round)."""
    type: GGMLQuantizationType
    start: int
    """Offset in the file, in bytes."""
    size: int
    """In bytes."""


@dataclass(frozen=True)
class Header:
    metadata: dict[str, Value]
    tensors: dict[str, StoredTensor]


def read_header(path: Path) -> Header:
    """Read metadata and tensor table of the GGUF file at `path`; raises AssetError where it is not one or is cut short."""
    with path.open("rb") as file:
        size = path.stat().st_size
        if file.read(4) != b"GGUF":
            raise AssetError(f"{path.name!r} is not a GGUF file: it does not begin with 'GGUF'")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                header = _parse(data)
            except (struct.error, UnicodeDecodeError, KeyError, ValueError, IndexError) as error:
                raise AssetError(f"{path.name!r} is a damaged GGUF file, or of a version other than 2 and 3: {error}") from error
    if any(tensor.start + tensor.size > size for tensor in header.tensors.values()):
        raise AssetError(f"{path.name!r} is cut short: it has {size} bytes, fewer than its tensors need")
    return header


def _parse(data: mmap.mmap) -> Header:
    version, tensor_count, metadata_count = struct.unpack_from("<IQQ", data, 4)
    if version not in (2, 3):
        raise ValueError(f"version {version}")
    at = 24
    metadata: dict[str, Value] = {}
    for _ in range(metadata_count):
        key, at = _string(data, at)
        (kind,) = struct.unpack_from("<I", data, at)
        metadata[key], at = _value(data, at + 4, kind)

    table: list[tuple[str, tuple[int, ...], int, int]] = []
    for _ in range(tensor_count):
        name, at = _string(data, at)
        (axes,) = struct.unpack_from("<I", data, at)
        shape = struct.unpack_from(f"<{axes}Q", data, at + 4)
        kind, offset = struct.unpack_from("<IQ", data, at + 4 + 8 * axes)
        at += 16 + 8 * axes
        table.append((name, shape[::-1], kind, offset))

    alignment = metadata.get("general.alignment", GGUF_DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment <= 0:
        raise ValueError(f"alignment {alignment!r}")
    data_start = -(-at // alignment) * alignment
    tensors = {}
    for name, shape, kind, offset in table:
        type_ = GGMLQuantizationType(kind)
        values, size = GGML_QUANT_SIZES[type_]
        if prod(shape) % values:
            raise ValueError(f"{name} of shape {shape} in blocks of {values}")
        tensors[name] = StoredTensor(shape, type_, data_start + offset, prod(shape) // values * size)
    return Header(metadata, tensors)


def _string(data: mmap.mmap, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<Q", data, at)
    end = at + 8 + length
    if end > len(data):
        raise ValueError("a text runs past the end of the file")
    return data[at + 8 : end].decode(), end


def _value(data: mmap.mmap, at: int, kind: int) -> tuple[Value, int]:
    if kind == _STRING:
        return _string(data, at)
    if kind == _ARRAY:
        kind, count = struct.unpack_from("<IQ", data, at)
        at += 12
        if kind in _SCALARS:
            form = f"<{count}{_SCALARS[kind]}"
            return list(struct.unpack_from(form, data, at)), at + struct.calcsize(form)
        if count > len(data):
            raise ValueError(f"a list of {count} items")
        items: list[Value] = []
        for _ in range(count):
            item, at = _value(data, at, kind)
            items.append(item)
        return items, at
    form = f"<{_SCALARS[kind]}"
    (value,) = struct.unpack_from(form, data, at)
    # The shortest decimal of a 32-bit float is the number its writer meant: 1e-05, not 9.999999747378752e-06.
    return (float(str(np.float32(value))) if kind == _FLOAT32 else value), at + struct.calcsize(form)
