"""Hidden states on disk: a file for each layer, rows in the order in which they were read.

The folder: `states.json` (what they are of, and the number format), `rows.npy` int64 [row] the number of the span that each row is of,
and `layer_<l>.bin` [row, width] for each layer, in the model's own number format.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from analyzers.errors import RunFolderError
from analyzers.pass_folder import read_json

STATES = "states.json"
ROWS = "rows.npy"


def layer_file(folder: Path, layer: int) -> Path:
    """Where one layer's states are."""
    return folder / f"layer_{layer}.bin"


class States:
    """Hidden states of spans, one layer at a time in memory."""

    def __init__(self, folder: Path, info: dict[str, Any]) -> None:
        self.folder = folder
        self.layers: tuple[int, ...] = tuple(info["layers"])
        """Those that were read. Layer 0 is what enters the first block, layer l what the l-th block gives."""
        self.width: int = info["width"]
        self._dtype: str = info["dtype"]
        read: npt.NDArray[np.int64] = np.load(folder / ROWS)
        self._order = np.argsort(read, kind="stable")
        self.rows: npt.NDArray[np.int64] = read[self._order]
        """[row] number of its span among the spans of all pieces; what could not be read has no row."""
        self.left_out: int = info["spans"] - len(read)
        """Spans without a token, and those of texts that are longer than the model takes."""

    @classmethod
    def open(cls, folder: Path) -> "States":
        """Those of a folder; RunFolderError where they are missing or damaged."""
        path = folder / STATES
        if not path.is_file():
            raise RunFolderError(f"{str(folder)!r} holds no states: {path.name} is missing; read them again")
        try:
            return cls(folder, read_json(path))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunFolderError(f"{str(folder)!r} is damaged ({error}); remove it and read the states again") from error

    def layer(self, number: int) -> npt.NDArray[np.float32]:
        """float32 [row, width] of one layer; ValueError for one that was not read, RunFolderError for a damaged file."""
        if number not in self.layers:
            raise ValueError(f"layer {number} was not read; {', '.join(map(str, self.layers))} were")
        path = layer_file(self.folder, number)
        kept = np.uint16 if self._dtype == "bfloat16" else self._dtype
        found = np.fromfile(path, kept) if path.is_file() else np.empty(0, kept)
        if found.size != len(self.rows) * self.width:
            raise RunFolderError(f"{str(path)!r} is damaged; remove its folder and read the states again")
        if self._dtype == "bfloat16":  # the upper half of a float32
            found = (found.astype(np.uint32) << 16).view(np.float32)
        states: npt.NDArray[np.float32] = found.reshape(-1, self.width)[self._order].astype(np.float32, copy=False)
        return states


def write_info(folder: Path, info: dict[str, Any]) -> None:
    """What makes a folder whole, written last."""
    from analyzers.pass_folder import write_json

    write_json(folder / STATES, json.loads(json.dumps(info)))
