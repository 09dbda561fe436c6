"""From the figures of single items to the rows of an audit: means with intervals, beside random rankings and the best one found."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, TypeVar

import numpy as np
from scipy.stats import rankdata

from analyzers.errors import Failed
from evals.audit.agreement import MEASURES, agreement
from evals.audit.faithfulness import (
    BETTER,
    METRICS,
    Believes,
    Deletions,
    MetricName,
    Path,
    Ranking,
    comprehensiveness,
    deletion_rank,
    df_frac,
    follow,
    kept,
    normalised,
    removed,
    sufficiency,
)
from evals.audit.published import PUBLISHED
from evals.audit.results import Agreement, AuditRow, Metric, Missing, PairedDifference, Published
from evals.results import Failure, Value, failure
from evals.scores import Floats, Masked
from evals.statistics import benjamini_hochberg, bootstrap, mean, permutation_p, sign_flip_p

DRAWS = 2000
RANDOM = 999
"""Draws of random rankings of every item."""
CHAINS = 8
"""Random orders of an item that are followed to their end; the draws choose among them, for every item apart."""
AT_RANDOM = "random"
"""Source of the rows and differences that are of random rankings."""
VOID = 0.2
"""Largest share of items without an explanation."""
HELD = 0.8
"""Share of the items that must have random rankings; with fewer, those that do would not be the sample that was drawn."""

X = TypeVar("X")

_REMOVALS: tuple[MetricName, ...] = ("comprehensiveness", "sufficiency")

Figures = Mapping[MetricName, float | Failed]
"""The metrics of one explanation of one item."""


@dataclass(frozen=True, eq=False)
class Chance:
    """The metrics of random rankings of one item; each [draw], or why there are none."""

    draws: Mapping[MetricName, Floats | Failed]
    chains: Mapping[MetricName, int] = field(default_factory=dict)
    """How many random orders the draws are from, where these are not all that there are."""

    @classmethod
    def of(
        cls, values: Sequence[float], single: Deletions | Failed, chains: Mapping[MetricName, Floats | Failed], rng: np.random.Generator
    ) -> "Chance":
        """From what is known of an item: its single deletions, and the metrics [chain] of some random orders (`random_chains`).

        df_mit is of a random first unit, deletion_rank that of the attributions in random places; the others are drawn from the chains.
        """
        known = {name: found for name, found in chains.items() if not isinstance(found, Failed)}
        draws = {**chains, **{name: found[rng.integers(len(found), size=RANDOM)] for name, found in known.items()}}
        counts = {name: len(found) for name, found in known.items()}
        if isinstance(single, Failed):
            return cls({**draws, "df_mit": single, "deletion_rank": single}, counts)
        ranked = deletion_rank(values, single.effects)
        draws["df_mit"] = single.flipped[rng.integers(len(single.flipped), size=RANDOM)].astype(np.float64)
        draws["deletion_rank"] = ranked if isinstance(ranked, Failed) else _permuted(values, single.effects, rng)
        return cls(draws, counts)


def random_orders(units: int, rng: np.random.Generator, count: int = CHAINS) -> list[list[int]]:
    """[chain][unit] orders in which units are removed."""
    return [rng.permutation(units).tolist() for _ in range(count)]


def random_chains(units: int, believes: Believes, rng: np.random.Generator, count: int = CHAINS) -> dict[MetricName, Floats | Failed]:
    """[chain] what is measured along random orders of an item's units, or Failed where a text has no answer.

    What is kept along an order is what is left by its reverse, which is as random: both are of the same texts.
    """
    orders = random_orders(units, rng, count)
    without = [follow(removed(order), units, believes) for order in orders]
    only = [follow(kept(order[::-1]), units, believes) for order in orders]
    comprehensive = _along(without, comprehensiveness)
    return {
        "comprehensiveness": comprehensive,
        "sufficiency": _along(only, sufficiency),
        "df_frac": _along(without, df_frac),
        "aopc": comprehensive if isinstance(comprehensive, Failed) else comprehensive * (units + 1) / units,
    }


def add_naopc(figures: Mapping[str, dict[MetricName, float | Failed]], chains: dict[MetricName, Floats | Failed]) -> None:
    """Fill in `naopc` of one item: of its explanations by source, and of its random orders [chain]."""
    of_explanations = [each[name] for each in figures.values() for name in _REMOVALS]
    of_chance = [found for name in _REMOVALS if not isinstance(found := chains[name], Failed)]
    known = [*(value for value in of_explanations if not isinstance(value, Failed)), *np.concatenate([[], *of_chance]).tolist()]
    for each in figures.values():
        value = each["comprehensiveness"]
        placed = value if isinstance(value, Failed) else normalised(value, known)
        each["naopc"] = placed if isinstance(placed, Failed) else float(placed)
    drawn = chains["comprehensiveness"]
    chains["naopc"] = drawn if isinstance(drawn, Failed) else normalised(drawn, known)


def _along(paths: Sequence[Path | Failed], formula: Callable[[Path], float]) -> Floats | Failed:
    known = [path for path in paths if not isinstance(path, Failed)]
    return np.array([formula(path) for path in known]) if len(known) == len(paths) else next(p for p in paths if isinstance(p, Failed))


def _permuted(values: Sequence[float], effects: Floats, rng: np.random.Generator) -> Floats:
    """[draw] Spearman correlation of the effects with the values in random places."""
    a, b = (ranks - ranks.mean() for ranks in (rankdata(values), rankdata(effects)))
    permuted: Floats = rng.permuted(np.tile(a, (RANDOM, 1)), axis=1)
    correlations: Floats = permuted @ b / np.sqrt((a @ a) * (b @ b))
    return correlations


@dataclass(frozen=True, eq=False)
class ItemFigures:
    """One item under one way of asking and of perturbing, by source of its explanations."""

    rankings: Mapping[str, Ranking | Failed]
    """Of every source; only one that is no Failed has the rest."""
    figures: Mapping[str, Figures]
    chance: Mapping[str, Chance]
    published: Mapping[str, Figures]
    """As published code computes them; empty where that is not asked."""


@dataclass(frozen=True)
class Asked:
    """What the rows of a group have in common (evals.audit.results.AskedBy)."""

    elicitation: str
    order: str
    operator: str
    persona: str = ""
    belief: str = "stated"
    perturbed: str = "same prompt"


def sources_of(items: Sequence[ItemFigures]) -> list[str]:
    """Sources of the items, the model itself first."""
    return sorted({source for item in items for source in item.rankings}, key=lambda name: (name != "self", name))


def rows(items: Sequence[ItemFigures], asked: Asked, *, seed: int) -> list[AuditRow]:
    """A row a source and one for random rankings, all on the same items."""
    sources = sources_of(items)
    figures = {source: [_of(item, source, item.figures) for item in items] for source in sources}
    found = []
    for source in sources:
        chance = [_chance(item, source) for item in items]
        measured = {name: metric(name, figures[source], list(figures.values()), chance, seed=seed) for name in METRICS}
        rankings = [ranking for item in items if not isinstance(ranking := item.rankings[source], Failed)]
        published = [item.published[source] for item in items if source in item.published]
        failed = len(items) - len(rankings)
        found.append(
            AuditRow(
                source=source,
                **vars(asked),
                n=len(rankings),
                n_failed=failed,
                n_constant=sum(np.ptp(ranking.values) == 0 for ranking in rankings),
                void=failed > VOID * len(items),
                metrics={name: value for name, (value, _) in measured.items()},
                missing={name: left_out for name, (_, left_out) in measured.items() if left_out},
                paper_compat={name: _published([item[name] for item in published]) for name in PUBLISHED} if published else {},
            )
        )
    return [*found, _random_row(items, list(figures.values()), asked, seed)]


def _random_row(items: Sequence[ItemFigures], others: Sequence[Sequence[Figures]], asked: Asked, seed: int) -> AuditRow:
    figures = _at_random(items)
    chance = [_first_chance(item) for item in items]
    measured = {name: metric(name, figures, others, chance, seed=seed) for name in METRICS}
    # Random rankings beside themselves are no test.
    alone: dict[str, Metric | Failure] = {
        name: value if isinstance(value, Failure) else value.model_copy(update={"p": None}) for name, (value, _) in measured.items()
    }
    unknown: dict[str, list[Missing]] = {name: left_out for name, (_, left_out) in measured.items() if left_out}
    failed = sum(not item.chance for item in items)
    return AuditRow(source=AT_RANDOM, **vars(asked), n=len(items) - failed, n_failed=failed, n_constant=0, metrics=alone, missing=unknown)


def _first_chance(item: ItemFigures) -> Chance:
    """Random rankings of the item: the same for all sources, but for deletion_rank, which has each one's values."""
    return next(iter(item.chance.values()), Chance(dict.fromkeys(METRICS, Failed("score", "no explanation of this item is known"))))


def _at_random(items: Sequence[ItemFigures]) -> list[Figures]:
    """[item] means of random rankings; of a metric that too few items have, none: these items would be no sample of all."""
    draws = [_first_chance(item).draws for item in items]
    explained = sum(bool(item.chance) for item in items)
    held = {name: sum(not isinstance(each[name], Failed) for each in draws) >= HELD * explained for name in METRICS}
    few = Failed("score", f"random rankings are known of fewer than {HELD:.0%} of the items")
    return [
        {name: drawn if isinstance(drawn := each[name], Failed) else float(drawn.mean()) if held[name] else few for name in METRICS}
        for each in draws
    ]


def _chance(item: ItemFigures, source: str) -> Chance:
    """Random rankings beside a source of an item."""
    draws = _of(item, source, {name: each.draws for name, each in item.chance.items()})
    return Chance(draws, item.chance[source].chains if source in item.chance else {})


def _of(item: ItemFigures, source: str, what: Mapping[str, Mapping[MetricName, X]]) -> Mapping[MetricName, X | Failed]:
    """What an item has of a source; why its explanation failed where it has none."""
    ranking = item.rankings[source]
    return dict.fromkeys(METRICS, ranking) if isinstance(ranking, Failed) else what[source]


def differences(items: Sequence[ItemFigures], asked: Asked, *, seed: int) -> list[PairedDifference]:
    """Of every two sources, random rankings among them, on the items that have both; without q-values."""
    found = []
    of_source = {source: [_of(item, source, item.figures) for item in items] for source in sources_of(items)}
    of_source[AT_RANDOM] = _at_random(items)
    for a, b in combinations(of_source, 2):
        both = list(zip(of_source[a], of_source[b], strict=True))
        for name in METRICS:
            difference = paired(name, both, seed=seed)
            if not isinstance(difference, Failed):
                value, p = difference
                found.append(PairedDifference(**value.model_dump(), metric=name, a=a, b=b, **vars(asked), p=p))
    return found


def agreements(items: Sequence[ItemFigures], *, seed: int) -> dict[str, dict[str, Agreement | Failure]]:
    """Of the model's own explanations with every other source: mean of the seven measures over items, by both meanings of "first"."""
    found: dict[str, dict[str, Agreement | Failure]] = {}
    rng = np.random.default_rng(seed)
    for other in sources_of(items)[1:]:
        pairs = [(item.rankings["self"], item.rankings[other]) for item in items if "self" in item.rankings]
        both = [(a.values, b.values) for a, b in pairs if not isinstance(a, Failed) and not isinstance(b, Failed)]
        for by_size in (True, False):
            measured = [agreement(a, b, by_size=by_size, rng=rng) for a, b in both]
            found[f"self, {other} by {'size' if by_size else 'support'}"] = {
                name: _agreed([pair[name] for pair in measured], seed) for name in MEASURES
            }
    return found


def _agreed(pairs: Sequence[tuple[float, float] | Failed], seed: int) -> Agreement | Failure:
    known = [pair for pair in pairs if not isinstance(pair, Failed)]
    value = mean([value for value, _ in known], draws=DRAWS, seed=seed)
    return (
        failure(value)
        if isinstance(value, Failed)
        else Agreement(**value.model_dump(), random=float(np.mean([by_chance for _, by_chance in known])))
    )


def adjust(tests: Sequence[Metric | PairedDifference]) -> None:
    """Fill in the q-values of a family of tests."""
    for test, q in zip(tests, benjamini_hochberg([test.p for test in tests]), strict=True):
        test.q = q


def _known(values: Sequence[float | Failed]) -> list[float]:
    return [value for value in values if not isinstance(value, Failed)]


def _published(values: Sequence[float | Failed]) -> Published | Failure:
    known = _known(values)
    if not known:
        return failure(next(value for value in values if isinstance(value, Failed)))
    return Published(value=float(np.mean(known)), n=len(known))


def metric(
    name: MetricName, figures: Sequence[Figures], others: Sequence[Sequence[Figures]], chance: Sequence[Chance], *, seed: int
) -> tuple[Metric | Failure, list[Missing]]:
    """One metric over items, and why items are missing in it.

    figures: [item] of this source; others: [source][item] of all known rankings, this one among them; chance: [item].
    """
    values = [item[name] for item in figures]
    left_out = missing(values)
    scored = [place for place, value in enumerate(values) if not isinstance(value, Failed)]
    x = np.array(_known(values))
    interval = mean(x, draws=DRAWS, seed=seed)
    if isinstance(interval, Failed):
        return failure(interval), left_out
    drawn = [chance[place].draws[name] for place in scored]
    best = _best(name, [[source[place][name] for source in others] for place in scored], drawn)
    # Beside random rankings on the items that have some.
    held = [place for place, draws in enumerate(drawn) if not isinstance(draws, Failed)]
    if len(held) < HELD * len(drawn):
        unknown = failure(next(draws for draws in drawn if isinstance(draws, Failed)))
        beside: dict[str, Any] = {"random": unknown, "normalised": unknown, "p": None}
    else:
        mine, random = x[held], np.stack([draws for draws in drawn if not isinstance(draws, Failed)])
        beside = {
            "random": float(random.mean()),
            "n_random": len(held),
            "normalised": best if isinstance(best, Failure) else _normalised(mine, random.mean(axis=1), best[held], seed),
            "p": permutation_p(
                BETTER[name] * float(mine.mean()),
                BETTER[name] * _with_own(mine, random, [chance[scored[place]].chains.get(name, 0) for place in held], seed).mean(axis=0),
            ),
        }
    return Metric(**interval.model_dump(), best=best if isinstance(best, Failure) else float(best.mean()), **beside), left_out


def _with_own(mine: Floats, random: Floats, chains: Sequence[int], seed: int) -> Floats:
    """[item, draw] where a few random orders stand for all, each draw is the item's own figure as often as it is any one of theirs.

    The orders are exchangeable with the ranking that is tested only together with it: without it, eight orders an item called 8 % of
    rankings that know nothing better than chance, at a level of 5 %.
    """
    share = np.array([1 / (count + 1) if count else 0.0 for count in chains])
    own = np.random.default_rng(seed).random(random.shape) < share[:, None]
    return np.where(own, mine[:, None], random)


def missing(values: Sequence[object]) -> list[Missing]:
    """Why some are left out, and how many."""
    reasons = Counter(value for value in values if isinstance(value, Failed))
    return [Missing(stage=failed.stage, reason=failed.reason, n=count) for failed, count in reasons.items()]


def _best(name: MetricName, known: Sequence[Sequence[float | Failed]], drawn: Sequence[Floats | Failed]) -> Floats | Failure:
    """[item] the best figure that any ranking of the item was found to have."""
    alone = all(sum(not isinstance(value, Failed) for value in values) == 1 for values in known)
    if alone and all(isinstance(draws, Failed) for draws in drawn):
        return Failure(stage="score", reason="no other ranking is known")
    best = []
    for values, draws in zip(known, drawn, strict=True):
        found = np.append(_known(values), () if isinstance(draws, Failed) else draws)
        best.append(BETTER[name] * (BETTER[name] * found).max())
    return np.array(best)


def _normalised(x: Floats, floor: Floats, best: Floats, seed: int) -> Value | Failure:
    """Where the means lie between those of random rankings and of the best found; all [item]."""
    above, room = x - floor, best - floor

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
    return value, sign_flip_p(x, two_sided=True, draws=RANDOM, seed=seed)
