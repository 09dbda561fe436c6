"""From the figures of single items to the rows of an audit: means with intervals, beside random rankings and the best one found."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.stats import rankdata

from analyzers.errors import Failed
from evals.audit.agreement import agreement
from evals.audit.faithfulness import BETTER, METRICS, Deletions, Floats, MetricName, Ranking, deletion_rank
from evals.audit.results import AuditRow, Metric, Missing, PairedDifference
from evals.results import Failure, Scores, Value, failure, stored
from evals.scores import Masked
from evals.statistics import benjamini_hochberg, bootstrap, mean, permutation_p

DRAWS = 2000
RANDOM = 999
"""Random rankings of every item."""


Figures = Mapping[MetricName, float | Failed]
"""The metrics of one explanation of one item."""


@dataclass(frozen=True, eq=False)
class Chance:
    """The metrics of random rankings of one item; each [draw], or why there are none."""

    draws: Mapping[MetricName, Floats | Failed]

    @classmethod
    def of_deletions(cls, values: Sequence[float], single: Deletions | Failed, rng: np.random.Generator) -> "Chance":
        """What single deletions alone tell: df_mit of a random first unit, deletion_rank of the attributions in random places."""
        unknown = Failed("random", "the texts that random rankings leave out are not known")
        draws: dict[MetricName, Floats | Failed] = dict.fromkeys(METRICS, unknown)
        if isinstance(single, Failed):
            return cls(dict.fromkeys(METRICS, single))
        draws["df_mit"] = single.flipped[rng.integers(len(single.flipped), size=RANDOM)].astype(np.float64)
        ranked = deletion_rank(values, single.effects)
        draws["deletion_rank"] = ranked if isinstance(ranked, Failed) else _permuted(values, single.effects, rng)
        return cls(draws)


def _permuted(values: Sequence[float], effects: Floats, rng: np.random.Generator) -> Floats:
    """[draw] Spearman correlation of the effects with the values in random places."""
    a, b = (ranks - ranks.mean() for ranks in (rankdata(values), rankdata(effects)))
    permuted: Floats = rng.permuted(np.tile(a, (RANDOM, 1)), axis=1)
    correlations: Floats = permuted @ b / np.sqrt((a @ a) * (b @ b))
    return correlations


@dataclass(frozen=True, eq=False)
class ItemFigures:
    """One item under one way of asking and of perturbing, by source of its explanations; a source that is not there failed."""

    rankings: Mapping[str, Ranking]
    figures: Mapping[str, Figures]
    chance: Mapping[str, Chance]
    published: Mapping[str, Figures]
    """As published code computes them; empty where that is not asked."""


@dataclass(frozen=True)
class Asked:
    """What the rows of a group have in common."""

    elicitation: str
    order: str
    operator: str


NONE = Failed("explain", "no explanation")


def sources_of(items: Sequence[ItemFigures]) -> list[str]:
    """Sources that any item has, the model itself first."""
    return sorted({source for item in items for source in item.figures}, key=lambda name: (name != "self", name))


def rows(items: Sequence[ItemFigures], asked: Asked, *, seed: int) -> list[AuditRow]:
    """A row a source, all on the same items; the q-values are for the caller, who knows the family."""
    sources = sources_of(items)
    missing = dict.fromkeys(METRICS, NONE)
    figures = {source: [item.figures.get(source, missing) for item in items] for source in sources}
    unknown = Chance(missing)
    found = []
    for source in sources:
        chance = [item.chance.get(source, unknown) for item in items]
        measured = {name: metric(name, figures[source], list(figures.values()), chance, seed=seed) for name in METRICS}
        published = [item.published[source] for item in items if source in item.published]
        explained = sum(source in item.figures for item in items)
        found.append(
            AuditRow(
                source=source,
                **vars(asked),
                n=explained,
                n_failed=len(items) - explained,
                metrics={name: value for name, (value, _) in measured.items()},
                missing={name: left_out for name, (_, left_out) in measured.items() if left_out},
                paper_compat={name: _mean([item[name] for item in published]) for name in METRICS} if published else {},
            )
        )
    return found


def differences(items: Sequence[ItemFigures], asked: Asked, *, seed: int) -> list[PairedDifference]:
    """Of every two sources, on the items that have both; without q-values."""
    found = []
    for a, b in combinations(sources_of(items), 2):
        both = [(item.figures[a], item.figures[b]) for item in items if a in item.figures and b in item.figures]
        for name in METRICS:
            difference = paired(name, both, seed=seed)
            if not isinstance(difference, Failed):
                value, p = difference
                found.append(PairedDifference(**value.model_dump(), metric=name, a=a, b=b, **vars(asked), p=p))
    return found


def agreements(items: Sequence[ItemFigures], *, seed: int) -> dict[str, Scores]:
    """Of the model's own explanations with every other source: mean of the seven measures over items, by both meanings of "first"."""
    found: dict[str, Scores] = {}
    for other in sources_of(items)[1:]:
        both = [item.rankings for item in items if "self" in item.rankings and other in item.rankings]
        for by_size in (True, False):
            measured = [agreement(pair["self"].values, pair[other].values, by_size=by_size) for pair in both]
            means = {
                name: mean(_known([item[name] for item in measured]), draws=DRAWS, seed=seed) for item in measured[:1] for name in item
            }
            found[f"self, {other} by {'size' if by_size else 'support'}"] = stored(means)
    return found


def adjust(tests: Sequence[Metric | PairedDifference]) -> None:
    """Fill in the q-values of a family of tests."""
    for test, q in zip(tests, benjamini_hochberg([test.p for test in tests]), strict=True):
        test.q = q


def _known(values: Sequence[float | Failed]) -> list[float]:
    return [value for value in values if not isinstance(value, Failed)]


def _mean(values: Sequence[float | Failed]) -> float | Failure:
    known = _known(values)
    return float(np.mean(known)) if known else failure(next(value for value in values if isinstance(value, Failed)))


def metric(
    name: MetricName, figures: Sequence[Figures], others: Sequence[Sequence[Figures]], chance: Sequence[Chance], *, seed: int
) -> tuple[Metric | Failure, list[Missing]]:
    """One metric over items, and why items are missing in it.

    figures: [item] of this source; others: [source][item] of all known rankings, this one among them; chance: [item].
    """
    values = [item[name] for item in figures]
    missing = _missing(values)
    scored = [place for place, value in enumerate(values) if not isinstance(value, Failed)]
    x = np.array(_known(values))
    interval = mean(x, draws=DRAWS, seed=seed)
    if isinstance(interval, Failed):
        return failure(interval), missing
    random = _chance([chance[place].draws[name] for place in scored])
    best = _best(name, [[source[place][name] for source in others] for place in scored], random)
    return (
        Metric(
            **interval.model_dump(),
            random=failure(random) if isinstance(random, Failed) else float(random.mean()),
            best=failure(best) if isinstance(best, Failed) else float(best.mean()),
            normalised=_normalised(x, random, best, seed),
            p=None if isinstance(random, Failed) else permutation_p(BETTER[name] * float(x.mean()), BETTER[name] * random.mean(axis=0)),
        ),
        missing,
    )


def _missing(values: Sequence[float | Failed]) -> list[Missing]:
    reasons = Counter(value for value in values if isinstance(value, Failed))
    return [Missing(stage=failed.stage, reason=failed.reason, n=count) for failed, count in reasons.items()]


def _chance(draws: Sequence[Floats | Failed]) -> Floats | Failed:
    """[item, draw]"""
    known = [drawn for drawn in draws if not isinstance(drawn, Failed)]
    return np.stack(known) if len(known) == len(draws) else next(drawn for drawn in draws if isinstance(drawn, Failed))


def _best(name: MetricName, known: Sequence[Sequence[float | Failed]], random: Floats | Failed) -> Floats | Failed:
    """[item] the best figure that any ranking of the item was found to have."""
    best = []
    for place, values in enumerate(known):
        found = [BETTER[name] * value for value in values if not isinstance(value, Failed)]
        found += [] if isinstance(random, Failed) else (BETTER[name] * random[place]).tolist()
        best.append(BETTER[name] * max(found))
    if isinstance(random, Failed) and all(sum(not isinstance(value, Failed) for value in values) < 2 for values in known):
        return Failed("score", "no other ranking is known")
    return np.array(best)


def _normalised(x: Floats, random: Floats | Failed, best: Floats | Failed, seed: int) -> Value | Failure:
    if isinstance(random, Failed):
        return failure(random)
    if isinstance(best, Failed):
        return failure(best)
    above, room = x - random.mean(axis=1), best - random.mean(axis=1)

    def of(weights: Floats) -> Masked:
        whole = weights @ room
        return np.ma.masked_array(weights @ above / np.where(whole == 0, 1, whole), whole == 0)

    value = bootstrap({"normalised": of}, len(x), n=len(x), draws=DRAWS, seed=seed)["normalised"]
    return failure(value) if isinstance(value, Failed) else value


def paired(name: MetricName, both: Sequence[tuple[Figures, Figures]], *, seed: int) -> tuple[Value, float] | Failed:
    """Mean difference of a metric over the items whose figures [item] have it on both sides, with its interval and its p."""
    pairs = [(one[name], other[name]) for one, other in both]
    x = np.array([a - b for a, b in pairs if not isinstance(a, Failed) and not isinstance(b, Failed)])
    value = mean(x, draws=DRAWS, seed=seed)
    if isinstance(value, Failed):
        return value
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(RANDOM, len(x)))
    return value, permutation_p(abs(float(x.mean())), np.abs(signs @ x / len(x)))
