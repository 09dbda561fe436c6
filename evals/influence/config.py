"""What `explicate influence fit`, `query` and `pairs` were asked for."""

from dataclasses import dataclass, field
from pathlib import Path

from analyzers.errors import ExplicateError
from analyzers.influence.kinds import KINDS, METHODS

FORM = '{"prompt": "The capital of France is", "completion": " Paris"}'
"""A line of a file of queries."""
PAIR = '{"prompt": "The cat", "completion": " sleeps here.", "one": "Le chat dort ici.", "other": "Il pleut ce soir."}'
"""A line of a file of pairs."""


@dataclass(frozen=True)
class FitConfig:
    """All that decides the factors, but for the model's weights and the text itself."""

    model: str
    train: str
    """A corpus, as analyzers.corpus.documents takes it."""
    folder: Path
    modules: str = "mlp"
    method: str = "ekfac"
    length: int = 128
    """Tokens of a passage at most."""
    limit: int | None = None
    """Passages, drawn by seed; None: all."""
    memory: float = 4.0
    """GB for factors, besides the model."""
    seed: int = 0
    dtype: str = "auto"
    device: str = "auto"

    def check(self) -> None:
        """Raises ExplicateError for what is wrong whatever the model is."""
        if self.modules not in KINDS:
            raise ExplicateError(f"--modules {self.modules!r} names no linear layers; choose one of {', '.join(KINDS)}")
        if self.method not in ("ekfac", "diagonal"):
            raise ExplicateError(
                f"--method {self.method!r} cannot be fitted; choose ekfac (which serves queries by kfac and identity, too) or diagonal"
            )
        if self.length < 2:
            raise ExplicateError(f"--length {self.length}: a passage of less than two tokens says nothing; give 2 or more, such as 128")
        if self.limit is not None and self.limit < 2:
            raise ExplicateError(f"--limit {self.limit}: influence compares passages; give 2 or more")
        if self.memory <= 0:
            raise ExplicateError(f"--memory {self.memory:g}: give the GB that factors may take, such as 4")


@dataclass(frozen=True)
class ScoringConfig:
    """What decides how passages are scored with factors, whatever they are."""

    folder: Path
    """Of the factors."""
    method: str | None = None
    """None: the best that the factors serve."""
    rank: int = 32
    seed: int = 0
    device: str = "auto"

    def check(self) -> None:
        """Raises ExplicateError for what is wrong whatever the factors are of."""
        if self.method is not None and self.method not in METHODS:
            raise ExplicateError(f"--method {self.method!r} is none; choose one of {', '.join(METHODS)}")
        if self.rank < 1:
            raise ExplicateError(f"--rank {self.rank} keeps nothing of a query; give 1 or more")


@dataclass(frozen=True)
class QueryConfig(ScoringConfig):
    """All that decides the figures, but for the factors, the model's weights and the text."""

    prompt: str | None = None
    completion: str | None = None
    queries: Path | None = None
    """A file of them, in place of both."""
    train: str | None = None
    """Another text than the factors were fitted to."""
    top: int = 20
    prefilter: int | None = None
    """Passages that are scored, the best by TF-IDF; None: all."""

    def check(self) -> None:
        """As of any scoring."""
        if self.prompt is not None and self.completion is None and self.queries is None:
            raise ExplicateError(
                "--completion is missing: influence is on what was said; give it as it stands behind the prompt (' Paris')"
            )
        if self.queries is None and self.completion is None:
            raise ExplicateError("nothing is asked about; give --prompt and --completion, or --queries FILE with lines such as " + FORM)
        if self.queries is not None and (self.prompt is not None or self.completion is not None):
            raise ExplicateError("--queries and --prompt with --completion are two ways to ask; give one of them")
        if self.completion == "":
            raise ExplicateError("--completion is empty; give what was said, as it stands behind the prompt (' Paris')")
        super().check()
        if self.top < 1:
            raise ExplicateError(f"--top {self.top} shows nothing; give 1 or more")
        if self.prefilter is not None and self.prefilter < 2:
            raise ExplicateError(f"--prefilter {self.prefilter}: influence compares passages; give 2 or more")


@dataclass(frozen=True)
class PairsConfig(ScoringConfig):
    """All that decides the figures, but for the factors and the model's weights."""

    pairs: Path = field(kw_only=True)
    """A file of them."""
    limit: int | None = None
    """Pairs, drawn by seed; None: all."""

    def check(self) -> None:
        """As of any scoring."""
        super().check()
        if self.limit is not None and self.limit < 2:
            raise ExplicateError(f"--limit {self.limit}: intervals are over pairs; give 2 or more")
