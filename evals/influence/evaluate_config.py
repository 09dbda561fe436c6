"""What `explicate influence evaluate` was asked for."""

from dataclasses import dataclass

from analyzers.errors import ExplicateError

STEPS = 400
"""Of a training on all passages, where neither --steps nor --minutes is given."""
MOST_QUERIES = 400
CHOSEN_ON = 0
"""Seed that was looked at when steps, sizes and the planted text were settled."""


@dataclass(frozen=True)
class EvaluateConfig:
    """All that decides the figures."""

    corpus: str | None = None
    """Background text; None: only what was made up."""
    background: int = 200
    """Passages of it at most."""
    steps: int | None = None
    minutes: float | None = None
    """Of all trainings together, in place of steps."""
    queries: int = 16
    """Planted facts that are asked about, and as many pairs."""
    halves: int = 16
    """Trainings on a random half of the passages."""
    removed: int = 6
    """Queries whose most influential passages are removed."""
    k: int = 4
    """Passages that are removed together."""
    seed: int = 0

    @property
    def removals(self) -> int:
        """Queries of which some passages are removed."""
        return min(self.removed, self.queries)

    def check(self) -> None:
        """Raises ExplicateError for what cannot be measured."""
        if self.steps is not None and self.minutes is not None:
            raise ExplicateError("--steps and --minutes are two ways to say how long to train; give one of them")
        if self.steps is not None and self.steps < 1:
            raise ExplicateError(f"--steps {self.steps} trains nothing; give 1 or more, such as {STEPS}")
        if self.minutes is not None and self.minutes <= 0:
            raise ExplicateError(f"--minutes {self.minutes:g} trains nothing; give more than 0, such as 2")
        if not 2 <= self.queries <= MOST_QUERIES:
            raise ExplicateError(f"--queries {self.queries}: intervals are over queries; give 2 to {MOST_QUERIES}")
        if self.halves < 3:
            raise ExplicateError(f"--halves {self.halves}: a rank correlation needs three trainings at least; give 3 or more, such as 16")
