"""The contract of a comparison (`explicate compare --json`): additive, as that of a run's results.json."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from evals.metrics.metric import Better
from evals.results import Failure, Value, _Model

Verdict = Literal["regressed", "improved", "unchanged", "failed", "recovered", "not comparable", "not watched"]
VOID = "void"
"""Stage of the failure of what is not to be used because too much of it failed."""


class Threshold(BaseModel):
    """What a user says of a metric of a suite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    minimum_effect: float = Field(default=0.0, ge=0)
    """Smallest difference, in the metric's own unit, that counts as a change."""
    watch: bool = True
    """Whether a change of it may raise an alarm."""


class Change(_Model):
    """One metric of two runs."""

    task: str
    """Name within the suite; empty for a single run."""
    name: str
    of: str
    """What it is of: a way of asking and a source, ...; empty where there is but one."""
    better: Better
    """Empty where neither direction is better."""
    before: Value | Failure
    after: Value | Failure
    difference: Value | Failure
    """After minus before with a bootstrap interval; n counts items: of both runs where paired, of the smaller one else."""
    paired: bool
    """Whether it is of items that both runs have."""
    n_before: int = 0
    """Items of the baseline that the metric is of; with `paired` only those that both runs have count for the difference."""
    n_after: int = 0
    p: float | None
    """Two-sided permutation test, (1+#)/(1+M); None where it could not be made."""
    q: float | None = None
    """p after Benjamini-Hochberg over the watched metrics; None for one that is not watched."""
    verdict: Verdict
    """failed: it failed now and not before; recovered: the other way round. Neither is a number, so neither is a regression."""
    watched: bool
    minimum_effect: float = 0.0


class ProvenanceChange(_Model):
    """Something that made the numbers, and is not what it was."""

    task: str
    what: str
    """`prompts.ask`, `model.revision`, `code`, `config.n`, ..."""
    before: str
    """Empty where there was none."""
    after: str


class MetricKey(_Model):
    """Which metric."""

    task: str
    name: str
    of: str


class Comparison(_Model):
    """A run held against its baseline."""

    schema_version: int = 1
    run: str
    """Folder."""
    baseline: str
    suite: str = ""
    """Name of the suite, empty where single runs are compared."""
    alpha: float
    changes: list[Change]
    provenance: list[ProvenanceChange] = Field(default_factory=list)
    missing: list[MetricKey] = Field(default_factory=list)
    """Metrics of the baseline that the run has not."""
    new: list[MetricKey] = Field(default_factory=list)
    """Metrics of the run that the baseline has not."""

    @property
    def regressed(self) -> list[Change]:
        """Metrics that moved in the worse direction by more than their noise and their minimum effect."""
        return [change for change in self.changes if change.verdict == "regressed"]

    @property
    def improved(self) -> list[Change]:
        """The same in the better direction."""
        return [change for change in self.changes if change.verdict == "improved"]

    @property
    def worse(self) -> list[Change]:
        """What closes a gate: metrics that regressed, and watched ones that are void now and were not."""
        return [*self.regressed, *(change for change in self.failed if isinstance(change.after, Failure) and change.after.stage == VOID)]

    @property
    def failed(self) -> list[Change]:
        """Watched metrics that exist no more."""
        return [change for change in self.changes if change.verdict == "failed" and change.watched]
