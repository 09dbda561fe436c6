"""What `explicate probe tree` was asked for."""

from dataclasses import dataclass
from pathlib import Path

from analyzers.errors import ExplicateError
from evals.label_config import parse_layers

RANK = 64
"""Of the maps, where none is asked for and states are as wide: in the paper larger ones find no more."""
EVERY = 3
"""Of how many layers one is probed where none are asked for; the first and the last always are."""


@dataclass(frozen=True)
class TreeConfig:
    """All that decides the figures, but for the model's weights."""

    model: str
    conllu: tuple[Path, ...]
    """The treebank to train on, and the one to test on."""
    layers: str = ""
    """As `0-30` or `0,7,14`, or `all`; empty: every third."""
    rank: int | None = None
    ranks: tuple[int, ...] | None = None
    """Further ranks at the chosen layer; None: powers of two below the rank."""
    limit: int = 1000
    """Sentences to train on; 0: all."""
    test: int = 500
    """Sentences to test on; 0: all."""
    seed: int = 0
    dtype: str = "auto"
    device: str = "auto"

    def check(self) -> None:
        """Raises ExplicateError for what is wrong whatever the model is."""
        if len(self.conllu) != 2:
            raise ExplicateError(
                f"--conllu names {len(self.conllu)} files; give two with a comma between, the treebank to train on and the one to test on, "
                "such as --conllu train.conllu,dev.conllu"
            )
        if self.conllu[0].absolute() == self.conllu[1].absolute():
            raise ExplicateError(f"--conllu names {str(self.conllu[0])!r} twice; what is tested must not be what was trained on")
        for rank in (*(self.ranks or ()), *(() if self.rank is None else (self.rank,))):
            if rank < 1:
                raise ExplicateError(f"a rank of {rank} holds nothing; give --rank and --ranks of 1 or more")

    def layers_of(self, count: int) -> list[int]:
        """The layers to probe of a model with `count` blocks. Raises SubjectError for one that it does not have."""
        if self.layers:
            return parse_layers("" if self.layers == "all" else self.layers, count + 1)
        return sorted({*range(0, count + 1, EVERY), count})

    def rank_of(self, width: int) -> int:
        """The rank for states of that width. Raises ExplicateError for a larger one."""
        if self.rank is not None and self.rank > width:
            raise ExplicateError(f"--rank {self.rank}: the states are {width} wide, so that no map has a higher rank; give 1-{width}")
        return self.rank or min(RANK, width)

    def ranks_of(self, width: int) -> list[int]:
        """The further ranks for states of that width, the rank itself left out. Raises ExplicateError for a larger one."""
        rank = self.rank_of(width)
        if self.ranks is None:
            return [2**power for power in range(width.bit_length()) if 2**power < rank]
        if max(self.ranks, default=0) > width:
            raise ExplicateError(
                f"--ranks {max(self.ranks)}: the states are {width} wide, so that no map has a higher rank; give 1-{width}"
            )
        return sorted(set(self.ranks) - {rank})
