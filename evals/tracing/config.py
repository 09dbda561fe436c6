"""What `explicate trace` was asked for."""

import math
from dataclasses import dataclass
from pathlib import Path

from analyzers.errors import ExplicateError
from analyzers.tracing.kinds import KINDS


@dataclass(frozen=True)
class TraceConfig:
    """All that decides the figures, but for the model's weights and the facts themselves."""

    model: str
    facts: Path
    limit: int = 20
    """Facts that the model knows and that are traced, drawn by seed; 0: all."""
    least: int = 5
    """Facts of these below which nothing is measured."""
    kinds: tuple[str, ...] = KINDS
    window: int | None = None
    """Layers in which outputs of MLPs and attention are put back together; None: a third of them, at most 10."""
    samples: int = 5
    """Draws of noise for each fact."""
    noise: float = 3.0
    """In standard deviations of the embeddings of subjects' tokens."""
    seed: int = 0
    dtype: str = "auto"
    device: str = "auto"

    def check(self) -> None:
        """Raises ExplicateError for what is wrong whatever the model is."""
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown or not self.kinds:
            raise ExplicateError(f"--kinds {', '.join(map(repr, unknown)) or 'names nothing'}: choose of {', '.join(KINDS)}")
        if self.limit < 0:
            raise ExplicateError(f"--limit {self.limit}: give how many facts to trace, or 0 for all that the model knows")
        if self.least < 2:
            raise ExplicateError(f"--least {self.least}: an interval over facts needs 2 or more")
        if 0 < self.limit < self.least:
            raise ExplicateError(
                f"--limit {self.limit} is below the {self.least} facts that --least asks for; give more, or a smaller --least"
            )
        for option, number in (("--window", self.window), ("--samples", self.samples)):
            if number is not None and number < 1:
                raise ExplicateError(f"{option} {number}: give 1 or more")
        if not 0 < self.noise < math.inf:
            raise ExplicateError(f"--noise {self.noise:g}: without noise nothing is forgotten; give more than 0, such as 3 as in the paper")
