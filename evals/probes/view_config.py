"""What `explicate probe view` was asked for."""

from dataclasses import dataclass
from pathlib import Path

from analyzers.errors import ExplicateError
from analyzers.states.pieces import POOLS, Pool

MOST_LAYERS = 12
"""More make a page that no browser opens gladly."""
MOST = 5000
"""Points, whose distances are all held in memory."""


@dataclass(frozen=True)
class ViewConfig:
    """All that decides the views, but for the model's weights."""

    model: str
    task: str = "pos"
    """Of a treebank: pos, xpos, deprel or a feature of its words."""
    conllu: tuple[Path, ...] = ()
    csv: Path | None = None
    name: str | None = None
    """Column with the texts; None for the usual ones."""
    label: tuple[str, ...] = ()
    """Column of labels or numbers, or those of a latitude and a longitude."""
    text: tuple[str, ...] = ()
    layers: str = ""
    """As 8 or 0,8,16; empty for the middle one."""
    limit: int = 1000
    """Points shown at most; as many others are fitted to."""
    pool: Pool | None = None
    """None: the mean of a word's tokens, the last token of a text."""
    seed: int = 0
    dtype: str = "auto"
    device: str = "auto"

    def check(self) -> None:
        """Raises ExplicateError for what cannot be together."""
        given = [option for option, value in (("--conllu", self.conllu), ("--csv", self.csv), ("--text", self.text)) if value]
        if len(given) > 1:
            raise ExplicateError(f"{' and '.join(given)} are different sources of points; give one of them")
        if self.csv is None and (self.name or self.label):
            raise ExplicateError("--name and --label are columns of a table; give its file by --csv")
        if len(self.label) > 2 or len(set(self.label)) < len(self.label):
            raise ExplicateError(f"--label {','.join(self.label)}: name one column of labels or numbers, or LATITUDE,LONGITUDE")
        if self.pool is not None and self.pool not in POOLS:
            raise ExplicateError(f"--pool {self.pool!r}: choose {', '.join(POOLS)}")
        if not 1 <= self.limit <= MOST:
            raise ExplicateError(f"--limit {self.limit}: give 1 to {MOST:,} points; the distances between all of them are held in memory")

    def layers_of(self, count: int) -> list[int]:
        """Those of a model with so many blocks. Raises ExplicateError for too many and SubjectError for one that it does not have."""
        from evals.label_config import parse_layers

        chosen = parse_layers(self.layers, count + 1) if self.layers else [(count + 1) // 2]
        if len(chosen) > MOST_LAYERS:
            raise ExplicateError(f"--layers {self.layers!r} are {len(chosen)} layers; a page holds {MOST_LAYERS} at most, so name fewer")
        return chosen
