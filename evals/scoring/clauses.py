"""What each clause of an explanation with several adds to its score, for sites that respond to several things.

The gain of a clause is marginal: the measure of the whole explanation minus that without the clause, on the same items. Clauses that say
the same gain nothing beside each other, and one that is wrong has a negative gain.
"""

import re
from dataclasses import dataclass

from analyzers.errors import Failed
from evals.results import Value
from evals.scorers import Scorer
from evals.scoring.judged import Judged, Measure
from evals.scoring.material import Material
from evals.scoring.measures import difference
from evals.statistics import DRAWS

_CLAUSE = re.compile(r"(?:\"[^\"]*\"|\u201c[^\u201d]*\u201d|`[^`]*`|[^;])+")
"""Up to the next semicolon that is not quoted."""


@dataclass(frozen=True)
class Gain:
    """One clause."""

    clause: str
    gain: Value | Failed
    """With a paired interval over documents."""


def clauses(explanation: str) -> tuple[str, ...]:
    """What an explanation `a; b; c` consists of; a semicolon in quotes separates nothing."""
    return tuple(part for found in _CLAUSE.findall(explanation) if (part := found.strip()))


async def gains(scorer: Scorer, explanation: str, material: Material, *, seed: int, draws: int = DRAWS) -> list[Gain]:
    """The gain of every clause in the scorer's measure, in order; that of a single one is over the null explanation.

    All are judged in one call, on the same items and draws. A scorer that writes items of its own for each explanation (generation) has
    none in common: its items are independent samples, and so is what the interval takes them for.
    """
    parts = clauses(explanation)
    without = ["; ".join(parts[:number] + parts[number + 1 :]) for number in range(len(parts))]
    if not parts:
        return []
    whole, *rest = await scorer.judge(["; ".join(parts), *without], material, seed=seed)
    return [Gain(clause, _gain(whole, judged, scorer.measure, draws, seed)) for clause, judged in zip(parts, rest, strict=True)]


def _gain(whole: Judged | Failed, without: Judged | Failed, measure: Measure, draws: int, seed: int) -> Value | Failed:
    if isinstance(whole, Failed):
        return whole
    return without if isinstance(without, Failed) else difference(whole, without, measure, draws=draws, seed=seed)
