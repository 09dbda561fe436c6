"""What `explicate probe MODEL` was asked for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from analyzers.errors import ExplicateError
from analyzers.states.pieces import POOLS, Pool

Probes = Literal["logistic", "mlp", "both"]
PROBES: tuple[Probes, ...] = get_args(Probes)

LIMITS = {"words": 500, "sentences": 1000}
"""Texts that train at most, and as many that test, where --limit does not say: for labels of words, and of whole sentences."""
TEST_SHARE = 0.2
"""Of the documents or sentences of a single file that test."""


@dataclass(frozen=True)
class LabelsConfig:
    """All that decides the figures, but for the model's weights."""

    model: str
    task: str | None = None
    """None: pos, or with items what their file is called."""
    conllu: tuple[Path, ...] = ()
    """One file, of which a part tests, or the one that trains and the one that tests; none: the sample that is built in."""
    items: Path | None = None
    pool: Pool = "mean"
    probe: Probes = "logistic"
    """both: the logistic one counts, and the other is a curve beside it."""
    control: bool = False
    mdl: bool = False
    random_init: bool = True
    test_share: float = TEST_SHARE
    limit: int | None = None
    """Texts that train at most, and as many that test; 0: all; None: LIMITS."""
    seed: int = 0
    dtype: str = "auto"
    device: str = "auto"

    def check(self) -> None:
        """Raises ExplicateError for what cannot be together and for names that are none."""
        if self.probe not in PROBES:
            raise ExplicateError(f"--probe {self.probe!r}: choose {', '.join(PROBES)}")
        if self.pool not in POOLS:
            raise ExplicateError(f"--pool {self.pool!r}: choose {', '.join(POOLS)}")
        if self.conllu and self.items is not None:
            raise ExplicateError("--conllu and --items are two sources of labels; give one of them")
        if len(self.conllu) > 2:
            raise ExplicateError(f"--conllu names {len(self.conllu)} files; give one, or the one that trains and the one that tests")
        if len(self.conllu) == 2 and self.conllu[0].absolute() == self.conllu[1].absolute():
            raise ExplicateError(f"--conllu names {str(self.conllu[0])!r} twice; give it once, and a part of it tests (--test-share)")
        if not 0 < self.test_share < 1:
            raise ExplicateError(f"--test-share {self.test_share}: give a share of the text between 0 and 1, such as {TEST_SHARE}")
        if self.limit is not None and self.limit < 0:
            raise ExplicateError(f"--limit {self.limit}: give how many texts train at most, or 0 for all")
