"""What `explicate probe MODEL --json` prints (docs/results.md)."""

from pydantic import Field

from evals.probes.results import Probed


class LabelsProbed(Probed):
    """A probe of labels of words or sentences."""

    probe: str
    """logistic or mlp: the one whose figures `layers` holds."""
    labels: list[str]
    """Those that train, the commonest first."""
    confusion: list[list[int]]
    """[true label][predicted label] at the best layer; test rows whose label did not train are not in it."""
    as_good: list[int]
    """Layers that cannot be told from the best one: adjusted p of 0.05 or more."""
    p_against_best: dict[int, float] = Field(default_factory=dict)
    """By layer, of having the same accuracy as the best one; two-sided, adjusted over layers."""
