"""What an explainer returns and what a simulator predicts."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from analyzers.evidence import FloatArray

Scale = Literal["level", "activation", "indicator"]
"""Unit of a prediction: expected level 0-9, raw activation, or 0/1."""


@dataclass(frozen=True)
class Explanation:
    """What a site responds to, in words, and who said so."""

    text: str
    explainer: str
    """Name of the explainer, with its language model where it has one: `marked-text(local:qwen2.5-coder-1.5b)`."""
    prompt: str = ""
    """Hash of the prompt file; empty for an explainer without a language model."""


@dataclass(frozen=True, eq=False)
class Simulation:
    """Predicted activations of one excerpt. A token the simulator gave no prediction for is missing, never zero."""

    values: FloatArray
    """[token] in the unit of `scale`; meaningless where not present."""
    present: npt.NDArray[np.bool_]
    """[token] whether there is a prediction."""
    scale: Scale
