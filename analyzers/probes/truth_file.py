"""A detector of truth in one safetensors file, with the region of its training statements and what is known of its errors.

Tensors: `mean` and `scale` [width], `weight.<layer>` and `bias.<layer>` of the detector; `region.mean`, `region.scale` [width],
`region.directions` [direction, width], `region.spread` [direction], `region.rest` [1]; `nearer` [101], quantiles of the distances of
training statements, each from the others, and, of several topics, `nearer_left_out` [101], those of topics that were left out. All else is
in its note.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor

from analyzers.noted_file import Note, NotedFile, check_model
from analyzers.probes.region import PERCENTS, Region
from analyzers.probes.truth import KINDS, Detector, Kind
from analyzers.text_model import TextModel

FORMAT = 1
NOTE: Final = "explicate-truth-detector"
"""What the note in the header of the file is called."""

_Array = npt.NDArray[np.float64]


class Told(Note):
    """What goes with the tensors; the model is the one whose states are read."""

    format: int = FORMAT
    kind: Kind
    layer: int = Field(ge=0)
    keep_period: bool
    """Whether statements are read with the period that ends them."""
    topics: list[str]
    statements: int
    """That it was trained on."""
    error: tuple[float, float, float, int]
    """Share of wrong verdicts on held-out statements, its interval, and how many they were."""
    left_out: Literal["topic", "statements"]
    """What they were: topics that training did not have, or statements of the same topics."""


_FILE = NotedFile(NOTE, Told, FORMAT, "detector that was saved by explicate probe truth", "train the detector anew")


@dataclass(frozen=True, eq=False)
class SavedDetector:
    """A detector with all that is needed to use it but the model."""

    detector: Detector
    region: Region
    nearer: _Array
    nearer_left_out: _Array | None
    told: Told

    def save(self, path: Path) -> None:
        """Write it, whole or not at all; AssetError where it cannot be written."""
        arrays = {
            "mean": self.detector.mean,
            "scale": self.detector.scale,
            **self.detector.tensors,
            "region.mean": self.region.mean,
            "region.scale": self.region.scale,
            "region.directions": self.region.directions,
            "region.spread": self.region.spread,
            "region.rest": np.array([self.region.rest]),
            "nearer": self.nearer,
            **({} if self.nearer_left_out is None else {"nearer_left_out": self.nearer_left_out}),
        }
        tensors = {name: torch.from_numpy(np.ascontiguousarray(array, np.float64)) for name, array in arrays.items()}
        _FILE.write(path, tensors, self.told)

    @classmethod
    def load(cls, path: Path, model: TextModel) -> "SavedDetector":
        """Read what `save` wrote.

        Raises AssetError for a file that is none of these or of another version, SubjectError for another model than the one whose states
        the detector reads.
        """
        told, tensors = _FILE.read(path)
        check_model(told.model, model.identity, "the detector reads states of", "train a detector of this one")
        if (wrong := _wrong(told, tensors, model)) is not None:
            raise _FILE.refused(path, wrong)
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        own = {name: array for name, array in arrays.items() if name.startswith(("weight.", "bias."))}
        region = Region(
            arrays["region.mean"],
            arrays["region.scale"],
            arrays["region.directions"],
            arrays["region.spread"],
            float(arrays["region.rest"][0]),
        )
        detector = Detector(told.kind, arrays["mean"], arrays["scale"], own)
        return cls(detector, region, arrays["nearer"], arrays.get("nearer_left_out"), told)


def is_saved_detector(path: Path) -> bool:
    """Whether a file is a detector of any version, going by its note."""
    return _FILE.is_at(path)


def _wrong(told: Told, tensors: Mapping[str, Tensor], model: TextModel) -> str | None:
    """Why these are not the parts of a detector of the model, if so: what is computed from them must neither break nor lie."""
    width = model.model.config.get_text_config().hidden_size
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if any(tensor.dtype != torch.float64 or not bool(tensor.isfinite().all()) for tensor in tensors.values()):
        return "its tensors are not all finite numbers in float64"
    if told.kind not in KINDS or told.layer > model.layers:
        return f"layer {told.layer} is none of the {model.layers} of the model"
    sizes = [width, *(shapes.get(f"bias.{at}", (0,))[0] for at in range(sum(name.startswith("bias.") for name in shapes)))]
    directions = shapes.get("region.spread", (0,))[0]
    expected: dict[str, tuple[int, ...]] = {
        "mean": (width,),
        "scale": (width,),
        "region.mean": (width,),
        "region.scale": (width,),
        "region.rest": (1,),
    }
    expected |= {"region.spread": (directions,), "region.directions": (directions, width), "nearer": (PERCENTS,)}
    expected |= {f"bias.{at}": (out,) for at, out in enumerate(sizes[1:])}
    if "nearer_left_out" in shapes:
        expected["nearer_left_out"] = (PERCENTS,)
    weights = {f"weight.{at}": (sizes[at + 1], sizes[at]) for at in range(len(sizes) - 1)}
    if shapes != {**expected, **weights} or sizes[-1] != 1 or len(sizes) < 2 or (told.kind != "saplma" and len(sizes) != 2):
        return f"its tensors are not those of a {told.kind} detector of states of width {width}"
    if not all(bool((tensors[name] > 0).all()) for name in ("scale", "region.scale", "region.spread")):
        return "a deviation in it is not above 0"
    return None
