"""The audit is tested before it is used: does it tell right explanations from wrong ones where what is right is known exactly?

Planted explainers explain a planted predictor, and the audit's own functions measure them. The audit passes where

- the explainers come in the order of what they know: on comprehensiveness honest > half-honest > random > reversed, with the intervals
  of honest and reversed apart from random; on every metric honest above random and above reversed, with its interval;
- honest explanations do better than random rankings by their p-values, and reversed ones do not;
- explanations that know nothing, random ones and those that mention everything, get about 0 on every metric, and the latter nothing
  where only values count (deletion_rank);
- the attributions recover what is known: `shapley` the exact Shapley values from two pairs of permutations (the term of the pair of words
  goes to the one in a permutation and to the other in its reverse, so that no sampling error is left), `kernel-shap` the same from all
  sets, `occlusion` the weights with the whole term of the pair; `lime`, which estimates none of these, values much like them. Whether
  `kernel-shap` weighs sets of different sizes rightly cannot be seen here: a term of two words does not depend on it.

About 0 is at most 0.2 away from it, or such that an interval twice as wide as the 95 % interval has 0 in it. The 95 % interval itself
misses 0 more often than it should when items are few, and with all metrics would refuse many a correct audit (over 1000 seeds it missed
0 for random explanations in 6.4, 7.0 and 7.2 % by comprehensiveness, sufficiency and df_frac with 24 items, in 5.7, 6.3 and 6.4 % with
48). Where no first word that an explanation names changes any answer, df_mit is 0 on every item, and its interval says nothing at all.
"""

from collections.abc import Mapping, Sequence
from math import isfinite, log

import numpy as np

from analyzers.attributions import METHODS, Floats
from analyzers.errors import ExplicateError
from analyzers.units import Kept
from evals.audit.faithfulness import METRICS, MetricName, Ranking, deletions, measure
from evals.audit.planted_predictor import EXPLAINERS, Explainer, PlantedItem, draw
from evals.audit.results import AuditSelftest, Metric
from evals.audit.rows import Asked, Chance, ItemFigures, add_naopc, random_chains, rows
from evals.results import Failure, Value

ITEMS = 24
"""With these 298 of 300 seeds passed; the two that did not gave too much to explanations that mention everything."""
LEAST = 2
"""Items of which there is an interval."""
CHAIN: tuple[str, ...] = ("honest", "half-honest", "random", "reversed")
"""What knows more comes first."""
BLIND = ("random", "mentions everything")
UNRANKED: tuple[str, MetricName] = ("mentions everything", "deletion_rank")
"""Where nothing is said, nothing may be measured."""
WIDER, NEAR = 2.0, 0.2
"""What is about 0: times the 95 % interval, or at most so far away."""
LUCK = 0.05
SETS_PER_UNIT = 4
"""Makes two pairs of permutations."""
ALL_SETS = 8
"""Units of a text whose sets are all evaluated; of longer ones, so many words."""
LIME_SETS = 60
EXACT = 1e-9
"""Largest error, in log-odds, that is mere rounding."""
ALIKE = 0.9
"""Least correlation of `lime` with the exact values."""


Explained = Mapping[str, Mapping[str, Metric | Failure]]
"""By explainer and metric."""


def selftest(*, items: int = ITEMS, seed: int = 0) -> AuditSelftest:
    """Audit planted explainers on so many planted items; half a second. Raises ExplicateError where they are too few for an interval."""
    if items < LEAST:
        raise ExplicateError(f"the audit cannot be tested on {items} planted items; give at least {LEAST}, or leave it at {ITEMS}")
    planted = draw(items, seed)
    found = {row.source: row for row in rows(figures(planted, EXPLAINERS, seed=seed), Asked("planted", "", "delete"), seed=seed)}
    explainers = {name: found[_source(name)].metrics for name in EXPLAINERS}
    errors = _errors(planted, seed)
    unordered, not_zero = _unordered(explainers), _not_zero(explainers)
    reasons = [*unordered, *_lucky(explainers), *not_zero, *_inexact(errors)]
    return AuditSelftest(
        n=items,
        seed=seed,
        explainers=explainers,
        ordered=not unordered,
        random_near_zero=not not_zero,
        shapley_error=errors["shapley"],
        kernel_shap_error=errors["kernel-shap"],
        occlusion_error=errors["occlusion"],
        lime_correlation=errors["lime"],
        passed=not reasons,
        reasons=reasons,
    )


def figures(planted: Sequence[PlantedItem], explainers: Mapping[str, Explainer], *, seed: int) -> list[ItemFigures]:
    """What the audit measures of planted explainers, as of any others."""
    return [_figures(item, explainers, np.random.default_rng([seed, number])) for number, item in enumerate(planted)]


def _source(explainer: str) -> str:
    # The audit has a source of its own that is called random.
    return f"planted {explainer}"


def _figures(item: PlantedItem, explainers: Mapping[str, Explainer], rng: np.random.Generator) -> ItemFigures:
    units = len(item.words)
    single, chains = deletions(units, item.believes), random_chains(units, item.believes, rng)
    rankings = {_source(name): Ranking.of(explain(item, rng).tolist(), rng) for name, explain in explainers.items()}
    measured = {source: measure(ranking, item.believes, single) for source, ranking in rankings.items()}
    add_naopc(measured, chains)
    chance = {source: Chance.of(ranking.values, single, chains, rng) for source, ranking in rankings.items()}
    return ItemFigures(rankings=rankings, figures=measured, chance=chance, published={})


def _normalised(explainers: Explained, name: str, metric: MetricName) -> Value | Failure:
    found = explainers[name][metric]
    return found if isinstance(found, Failure) else found.normalised


def _unordered(explainers: Explained) -> list[str]:
    """Where the metrics do not put the explainers in their order."""
    reasons = []
    for metric in METRICS:
        found = {name: _normalised(explainers, name, metric) for name in CHAIN}
        known = {name: value for name, value in found.items() if not isinstance(value, Failure)}
        reasons += [_unknown(name, metric, value) for name, value in found.items() if isinstance(value, Failure)]
        if len(known) < len(CHAIN):
            continue
        honest, half, random, reverse = known.values()
        said = ", ".join(f"{name} {_said(value)}" for name, value in known.items())
        if honest.low <= max(random.value, reverse.high):
            reasons.append(f"{metric} does not put honest explanations above random and reversed ones: {said}")
        elif metric == "comprehensiveness" and not honest.value > half.value > random.value > reverse.high:
            reasons.append(f"{metric} does not put the explainers in the order of what they know: {said}")
    return reasons


def _lucky(explainers: Explained) -> list[str]:
    """Where p-values do not say that honest explanations do better than random rankings, and reversed ones no better."""
    reasons = []
    for metric in METRICS:
        found = [explainers[name][metric] for name in ("honest", "reversed")]
        better, worse = (None if isinstance(value, Failure) else value.p for value in found)
        if better is None or worse is None:
            reasons.append(f"{metric} has no p-value")
        elif better > LUCK or worse < 1 - LUCK:
            reasons.append(f"{metric} has p = {better:.3f} for honest explanations and {worse:.3f} for reversed ones")
    return reasons


def _not_zero(explainers: Explained) -> list[str]:
    """Where explainers that know nothing do not get about 0."""
    reasons = []
    for name in BLIND:
        for metric in METRICS:
            value = _normalised(explainers, name, metric)
            if (name, metric) == UNRANKED:
                if not isinstance(explainers[name][metric], Failure):
                    reasons.append(f"{metric} of the {name} explainer has a value, where nothing is ranked")
            elif isinstance(value, Failure):
                reasons.append(_unknown(name, metric, value))
            elif not _about_zero(value):
                reasons.append(f"{metric} of the {name} explainer is {_said(value)}, not about 0")
    return reasons


def _about_zero(value: Value) -> bool:
    low, high = (value.value + WIDER * (end - value.value) for end in (value.low, value.high))
    return abs(value.value) <= NEAR or low <= 0 <= high


def _unknown(name: str, metric: MetricName, value: Failure) -> str:
    return f"{metric} of the {name} explainer could not be measured: {value.reason}"


def _said(value: Value) -> str:
    return f"{value.value:.2f} [{value.low:.2f}, {value.high:.2f}]"


def _errors(planted: Sequence[PlantedItem], seed: int) -> dict[str, float | Failure]:
    """By method how far it is from what is known; of lime the correlation with it."""
    rng = np.random.default_rng(seed)
    far: dict[str, list[float]] = {name: [] for name in ("shapley", "kernel-shap", "occlusion", "lime")}
    for item in planted:
        units, short = len(item.words), PlantedItem(item.words[:ALL_SETS])
        far["shapley"].append(_largest(_attributed("shapley", item, SETS_PER_UNIT * units, rng) - item.shapley))
        far["kernel-shap"].append(_largest(_attributed("kernel-shap", short, 2**ALL_SETS, rng) - short.shapley))
        far["occlusion"].append(_largest(_attributed("occlusion", item, 0, rng) - item.effects))
        far["lime"].append(float(np.corrcoef(_attributed("lime", item, LIME_SETS, rng), item.shapley)[0, 1]))
    return {name: _finite(name, float(np.mean(values) if name == "lime" else np.max(values))) for name, values in far.items()}


def _attributed(method: str, item: PlantedItem, most: int, rng: np.random.Generator) -> Floats:
    """[unit] of the log-odds of the predicted label."""
    plan = METHODS.get(method)(len(item.words), most, rng)
    return plan.values({kept: _log_odds(item, kept) for kept in plan.sets})


def _log_odds(item: PlantedItem, kept: Kept) -> float:
    probabilities = item.believes(kept).probabilities
    return log(probabilities[item.label]) - log(sum(value for label, value in probabilities.items() if label != item.label))


def _largest(errors: Floats) -> float:
    return float(np.abs(errors).max())


def _finite(method: str, value: float) -> float | Failure:
    return value if isfinite(value) else Failure(stage="selftest", reason=f"{method} gives values that are no numbers")


def _inexact(errors: Mapping[str, float | Failure]) -> list[str]:
    reasons = []
    for name, value in errors.items():
        if isinstance(value, Failure):
            reasons.append(value.reason)
        elif name == "lime" and value < ALIKE:
            reasons.append(f"lime is correlated with the known values by {value:.2f}, less than {ALIKE}")
        elif name != "lime" and value > EXACT:
            reasons.append(f"{name} is wrong by up to {value:.3g} in log-odds where the values are known exactly")
    return reasons
