"""Names of places in a model: `L7.mlp.1306` is neuron 1306 of layer 7's MLP, `L7.mlp.1306-` its negative side."""

import re
from dataclasses import dataclass
from typing import Literal

from analyzers.errors import SubjectError

Polarity = Literal["+", "-"]

_PATTERN = re.compile(r"L(\d+)\.mlp\.(\d+)(-?)")


@dataclass(frozen=True, order=True)
class Site:
    """One side of one MLP neuron; its activation is max(sign * a, 0), in the raw units of the model."""

    layer: int
    index: int
    polarity: Polarity = "+"

    @classmethod
    def parse(cls, text: str) -> "Site":
        """Read `L<layer>.mlp.<index>[-]`; raises SubjectError for anything else."""
        match = _PATTERN.fullmatch(text.strip())
        if match is None:
            raise SubjectError(
                f"{text!r} is not a site; write L<layer>.mlp.<neuron>, for its negative side with a - at the end: L7.mlp.1306-"
            )
        return cls(int(match[1]), int(match[2]), "-" if match[3] else "+")

    @property
    def sign(self) -> int:
        """+1 or -1: what the raw activation is multiplied by."""
        return 1 if self.polarity == "+" else -1

    @property
    def name(self) -> str:
        """The site without its polarity, `L7.mlp.1306`."""
        return f"L{self.layer}.mlp.{self.index}"

    def __str__(self) -> str:
        return self.name + ("-" if self.polarity == "-" else "")
