"""Names of places in a model: `L7.mlp.1306` is neuron 1306 of layer 7's MLP, `L7.mlp.1306-` its negative side.

`L4.attn.3` is what attention head 3 writes, `L12.resid.17` a coordinate of the residual stream behind block 12, `L12.direction.0` and
`L12.random.5` directions in it, `L12.sae.123` a latent of an attached sparse autoencoder; site_kinds has a file for each.
"""

import re
from dataclasses import dataclass
from typing import Literal

from analyzers.errors import SubjectError
from analyzers.site_kinds import KINDS

Polarity = Literal["+", "-"]

_PATTERN = re.compile(r"L(\d{1,9})\.([a-z]+)\.(\d{1,9})(-?)", re.ASCII)


@dataclass(frozen=True, order=True)
class Site:
    """One side of one place; its activation is max(sign * a, 0), in the raw units of the model."""

    layer: int
    index: int
    polarity: Polarity = "+"
    kind: str = "mlp"
    """One of site_kinds.KINDS."""

    @classmethod
    def parse(cls, text: str) -> "Site":
        """Read `L<layer>.<kind>.<index>[-]`; raises SubjectError for anything else, and for a side that the kind does not have."""
        match = _PATTERN.fullmatch(text.strip())
        kinds = KINDS.all()
        if match is None or match[2] not in kinds:
            raise SubjectError(
                f"{text!r} is not a site; write L<layer>.<kind>.<index> with a kind of {', '.join(kinds)}, "
                "for its negative side with a - at the end: L7.mlp.1306-"
            )
        site = cls(int(match[1]), int(match[3]), "-" if match[4] else "+", match[2])
        site.check_side()
        return site

    def check_side(self) -> None:
        """Raise SubjectError for the negative side of a kind that has none, and for a kind that there is not."""
        kinds = KINDS.all()
        if self.kind not in kinds:
            raise SubjectError(f"{str(self)!r}: there is no kind of site {self.kind!r}; choose one of {', '.join(kinds)}")
        if self.polarity == "-" and not kinds[self.kind].signed:
            raise SubjectError(f"{str(self)!r}: sites of kind {self.kind} are never negative; write {self.name}")

    @property
    def sign(self) -> int:
        """+1 or -1: what the raw activation is multiplied by."""
        return 1 if self.polarity == "+" else -1

    @property
    def name(self) -> str:
        """The site without its polarity, `L7.mlp.1306`."""
        return f"L{self.layer}.{self.kind}.{self.index}"

    def __str__(self) -> str:
        return self.name + ("-" if self.polarity == "-" else "")
