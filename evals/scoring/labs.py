"""What a scorer needs of a laboratory, so that planted neurons and scripted ones serve where a real subject does.

analyzers.laboratory.Laboratory does all of it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import numpy.typing as npt

from analyzers.errors import Failed
from analyzers.evidence import Excerpt, FloatArray

if TYPE_CHECKING:
    from analyzers.interventions import AblationEffect
    from analyzers.steering import Steered


@runtime_checkable
class Activating(Protocol):
    """Measures a site on texts."""

    def activations(self, texts: Sequence[str]) -> Sequence[Excerpt | Failed]:
        """As Laboratory.activations."""


@runtime_checkable
class Intervening(Activating, Protocol):
    """Gives a site other activations than its own."""

    def ablated(self, texts: Sequence[str], *, to: Literal["mean", "zero"] = "mean") -> "Sequence[AblationEffect | Failed]":
        """As Laboratory.ablated."""

    def patched(self, texts: Sequence[str], values: Sequence[npt.ArrayLike]) -> Sequence[FloatArray | Failed]:
        """As Laboratory.patched."""


@runtime_checkable
class Steering(Protocol):
    """Has a subject write while a site is held up, and knows others of its kind."""

    def steered(
        self,
        prompts: Sequence[str],
        *,
        sign: Literal[1, -1],
        kl: float,
        tokens: int = 25,
        temperature: float = 0.75,
        seed: int,
        samples: int = 1,
    ) -> "Steered | Failed":
        """As Laboratory.steered."""

    def others(self, count: int, *, seed: int) -> "Sequence[Steering]":
        """As Laboratory.others."""
