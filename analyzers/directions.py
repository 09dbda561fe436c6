"""Directions of the residual stream that somebody found: probes, steering vectors, differences of means."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from analyzers.errors import AssetError

_NAME = re.compile(r"L(0|[1-9]\d{0,8})", re.ASCII)
"""One way to write a layer, so that no two tensors are of the same."""


@dataclass(frozen=True, eq=False)
class Directions:
    """Directions by layer."""

    name: str
    """Where they were read."""
    rows: Mapping[int, Tensor]
    """[layer] float32 [row, hidden], each row of length 1."""
    fingerprint: str
    """SHA-256 of the file."""

    @classmethod
    def load(cls, path: Path | str) -> "Directions":
        """Read a safetensors file with a tensor [row, hidden] called `L<layer>` for every layer that has some; lengths are passed over.

        Raises AssetError for another file, for other names and shapes, and for rows that are not finite or of length 0.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        path = Path(path)
        try:
            tensors = load_file(path)
        except (SafetensorError, OSError) as error:
            raise AssetError(f"{str(path)!r} cannot be read as a safetensors file: {error}") from error
        if not tensors:
            raise AssetError(f"{str(path)!r} holds no directions; it needs a tensor [row, hidden] called L<layer>")
        rows = {}
        for name, tensor in sorted(tensors.items()):
            match = _NAME.fullmatch(name)
            if match is None or tensor.ndim != 2 or not tensor.is_floating_point() or 0 in tensor.shape:
                shape = " x ".join(map(str, tensor.shape)) or "a number"
                raise AssetError(f"{str(path)!r}: tensor {name!r} ({shape}) is no matrix [row, hidden] of numbers called L<layer>")
            lengths = tensor.double().norm(dim=1, keepdim=True)
            if not lengths.isfinite().all() or not lengths.all():
                raise AssetError(f"{str(path)!r}: tensor {name!r} has rows that are not finite or of length 0")
            rows[int(match[1])] = (tensor.double() / lengths).float()
        return cls(str(path), rows, hashlib.sha256(path.read_bytes()).hexdigest())
