"""What `explicate grow` was asked for."""

import math
from dataclasses import dataclass
from pathlib import Path

from analyzers.errors import ExplicateError

PROBES = ("pos", "tree", "next-token", "minimal-pairs", "facts")
MINUTES = 10.0
"""Of a training, where neither minutes nor steps are asked for."""
SENTENCES, TESTS, ITEMS = 400, 300, 1000
"""Sentences to train probes on and to test on, and pairs or facts, where --limit does not say."""
DEPTH = 0.5
SPREAD = 5
"""Layers from which the best one is chosen, about, spread evenly, the first and the last among them."""


@dataclass(frozen=True)
class GrowConfig:
    """All that decides the figures, but for the checkpoints' weights."""

    checkpoints: str | None = None
    """A folder, or with revisions a name on the Hub; with train the folder to train into, by default one in runs/."""
    probes: tuple[str, ...] = PROBES
    revisions: tuple[str, ...] = ()
    train: str | None = None
    """A corpus."""
    minutes: float | None = None
    """Of the training of each seed."""
    steps: int | None = None
    """In place of minutes."""
    seeds: int = 1
    """Trainings, with seeds from `seed` on."""
    conllu: tuple[Path, ...] = ()
    """One file, of which a part tests, or the one that trains probes and the one that tests; none: the sample that is built in."""
    pairs: Path | None = None
    """A .jsonl file, or a folder of them; None: the sample that is built in."""
    facts: Path | None = None
    """A .jsonl file or a .json of one relation, or a folder of them; None: the sample that is built in."""
    depth: float = DEPTH
    """Which layer is read at every checkpoint, as a share of all layers."""
    limit: int | None = None
    """Sentences to train on, as many to test on, pairs and facts, at most; 0: all; None: as above."""
    seed: int = 0
    dtype: str = "auto"
    device: str = "auto"

    def check(self) -> None:
        """Raises ExplicateError for what cannot be together and for names that are none."""
        unknown = [name for name in self.probes if name not in PROBES]
        if unknown or not self.probes:
            raise ExplicateError(f"--probes: {', '.join(map(repr, unknown)) or 'none'}; choose some of {', '.join(PROBES)}")
        if self.train is None:
            for option, value in (("--minutes", self.minutes), ("--steps", self.steps)):
                if value is not None:
                    raise ExplicateError(f"{option} is of a training here; name its text by --train corpus.txt, or leave {option} out")
            if self.seeds != 1:
                raise ExplicateError("--seeds is of a training here; of other checkpoints give a folder with one folder for each seed")
            if not self.checkpoints:
                raise ExplicateError("nothing to look at: give a folder of checkpoints, a name with --revisions, or --train corpus.txt")
        if self.train is not None and self.revisions:
            raise ExplicateError("--revisions and --train are two sources of checkpoints; give one of them")
        if self.minutes is not None and self.steps is not None:
            raise ExplicateError("--minutes and --steps both say how long to train; give one of them")
        if self.minutes is not None and not 0 < self.minutes < math.inf:
            raise ExplicateError(f"--minutes {self.minutes:g}: give more than 0, such as 10")
        for option, number in (("--steps", self.steps), ("--seeds", self.seeds)):
            if number is not None and number < 1:
                raise ExplicateError(f"{option} {number}: give 1 or more")
        if len(self.conllu) > 2:
            raise ExplicateError(f"--conllu names {len(self.conllu)} files; give one, or the one that trains and the one that tests")
        if len(self.conllu) == 2 and self.conllu[0].absolute() == self.conllu[1].absolute():
            raise ExplicateError(f"--conllu names {str(self.conllu[0])!r} twice; give it once, and a part of it tests")
        if not 0 <= self.depth <= 1:
            raise ExplicateError(f"--depth {self.depth:g}: give a share of the layers from 0 (what enters the first block) to 1 (the last)")
        if self.limit is not None and self.limit < 0:
            raise ExplicateError(f"--limit {self.limit}: give how many items at most, or 0 for all")

    def most(self, usual: int) -> int:
        """Items at most where usually there are so many; 0 for all."""
        return usual if self.limit is None else self.limit

    def layer_of(self, count: int) -> int:
        """The one that is read at every checkpoint, of a model with so many blocks."""
        return round(self.depth * count)

    def layers_of(self, count: int) -> list[int]:
        """Those that are read for parts of speech, of a model with so many blocks."""
        every = max(1, round(count / (SPREAD - 1)))
        return sorted({*range(0, count + 1, every), self.layer_of(count), count})
