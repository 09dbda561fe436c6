"""What `explicate icl` was asked for."""

from dataclasses import dataclass

from analyzers.errors import ExplicateError
from evals.icl.analyses import ANALYSES


@dataclass(frozen=True)
class IclConfig:
    """All that decides the figures, but for the model's weights."""

    model: str
    task: str
    analyses: tuple[str, ...] = ("flow", "isolate")
    shots: int = 1
    """Demonstrations of each class."""
    items: str | None = None
    n: int = 50
    """Items that are asked about; 0: all."""
    seeds: int = 3
    """Draws of demonstrations."""
    seed: int = 0
    dtype: str = "auto"
    device: str = "auto"

    def check(self) -> None:
        """Raises ExplicateError for an analysis that does not exist, none at all, and demonstrations of which there are none."""
        if not self.analyses:
            raise ExplicateError(f"--analyses names no analysis; choose some of {', '.join(ANALYSES.all())}")
        for name in self.analyses:
            ANALYSES.get(name)
        if self.shots < 1:
            raise ExplicateError("there are no demonstrations, so that no label can be an anchor; give --shots 1 or more")
        if self.seeds < 1:
            raise ExplicateError("no demonstrations are drawn; give --seeds 1 or more")


def check_loading(dtype: str, device: str) -> None:
    """Raise SubjectError for a number format or device that a model cannot be loaded with, before it is."""
    from analyzers.loading import choose_device, choose_dtype

    choose_dtype(dtype, choose_device(device))
