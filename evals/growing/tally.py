"""What a probe counts at one checkpoint, unit by unit, so that checkpoints can be compared on the same units."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from analyzers.errors import Failed, RunFolderError
from analyzers.progress import Report

if TYPE_CHECKING:
    from analyzers.text_model import TextModel

Floats = npt.NDArray[np.float64]
Better = Literal["higher", "lower"]


@dataclass(frozen=True, eq=False)
class Tally:
    """A share or a mean: the sum over units of one count, over that of another."""

    of: Floats
    """[unit] what is found."""
    among: Floats
    """[unit] of how many; 0 of a unit that could not be read."""
    unit: str
    """What intervals are over: sentences, pairs, facts."""
    counts: str
    """What `among` counts: words, edges, tokens, pairs, facts."""
    better: Better = "higher"
    chance: float | None = None
    """What knowing nothing gets; None where that is not known."""
    against: str = ""
    """What `chance` is of."""

    def as_json(self) -> dict[str, Any]:
        """Plain data that `from_json` reads."""
        return {**vars(self), "of": self.of.tolist(), "among": self.among.tolist()}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "Tally":
        """Raises RunFolderError where it is not what `as_json` gave."""
        try:
            made = cls(**{**kept, "of": np.array(kept["of"], np.float64), "among": np.array(kept["among"], np.float64)})
        except (KeyError, TypeError, ValueError) as error:
            raise RunFolderError(f"a kept measure is damaged ({error}); remove the folder `growth` of the passes") from None
        return made


def counting(tallies: Sequence[Tally | Failed]) -> list[Tally | Failed]:
    """[checkpoint] the same tallies of the units that any of them counts, as of one relation among all facts."""
    known = [tally.among > 0 for tally in tallies if isinstance(tally, Tally)]
    if not known:
        return list(tallies)
    some = np.any(known, axis=0)
    return [replace(tally, of=tally.of[some], among=tally.among[some]) if isinstance(tally, Tally) else tally for tally in tallies]


Tallies = dict[str, Tally]
"""By the name of a curve: the probe's own name, or with `/` and a part of it behind, such as next-token/NOUN."""


class Probe(Protocol):
    """Something that is measured at every checkpoint."""

    @property
    def name(self) -> str:
        """As --probes calls it."""
        ...

    @property
    def needs_decoder(self) -> bool:
        """Whether it reads what comes next."""
        ...

    @property
    def files(self) -> tuple[Path, ...]:
        """What it was read from."""
        ...

    @property
    def identity(self) -> dict[str, Any]:
        """Plain data that decides, with the model, what is measured."""
        ...

    @property
    def items(self) -> dict[str, int]:
        """How many by what was done with them."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """How it was measured, where that is not always the same."""
        ...

    def measure(self, model: "TextModel", report: Report) -> Tallies | Failed:
        """Of a loaded checkpoint. Raises SubjectError where the model cannot be read in this way."""
        ...
