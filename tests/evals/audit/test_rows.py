"""Rows against numpy on the same numbers, and random rankings that must look random."""

import numpy as np
import pytest

from agents.beliefs import Belief
from analyzers.errors import Failed
from analyzers.units import Kept
from evals.audit.faithfulness import METRICS, Deletions, MetricName, Ranking, deletion_rank
from evals.audit.results import Metric
from evals.audit.rows import RANDOM, Asked, Chance, Figures, ItemFigures, adjust, differences, metric, paired, random_chains, rows
from evals.results import Failure

NO = Failed("score", "not this one")
UNKNOWN = Failed("random", "unknown")
CHAINED: tuple[MetricName, ...] = ("comprehensiveness", "sufficiency", "df_frac", "aopc")


def figures(**known: float) -> dict[MetricName, float | Failed]:
    return {name: known.get(name, NO) for name in METRICS}


def chance(rng: np.random.Generator, units: int = 12) -> tuple[Chance, Deletions, list[float]]:
    effects, values = rng.normal(size=units), rng.normal(size=units).tolist()
    single = Deletions(effects, effects > 1)
    return Chance.of(values, single, dict.fromkeys(CHAINED, UNKNOWN), rng), single, values


def test_random_draws_are_those_of_random_rankings() -> None:
    rng = np.random.default_rng(0)
    drawn, single, values = chance(rng)
    flips, correlations = drawn.draws["df_mit"], drawn.draws["deletion_rank"]
    assert not isinstance(flips, Failed)
    assert not isinstance(correlations, Failed)
    assert flips.mean() == pytest.approx(single.flipped.mean(), abs=0.05)
    assert correlations.mean() == pytest.approx(0, abs=0.05)
    # Spearman of n random ranks has variance 1 / (n - 1).
    assert correlations.var() == pytest.approx(1 / 11, rel=0.2)
    assert isinstance(drawn.draws["comprehensiveness"], Failed)
    by_hand = [deletion_rank(rng.permutation(values).tolist(), single.effects) for _ in range(400)]
    assert np.quantile(correlations, 0.9) == pytest.approx(np.quantile(np.array(by_hand, float), 0.9), abs=0.08)


def test_a_faithful_explanation_has_a_small_p_and_a_random_one_has_not() -> None:
    rng = np.random.default_rng(1)
    known = [chance(rng) for _ in range(30)]
    honest = [figures(deletion_rank=float(deletion_rank(single.effects.tolist(), single.effects))) for _, single, _ in known]  # type: ignore[arg-type]
    blind = [figures(deletion_rank=float(deletion_rank(values, single.effects))) for _, single, values in known]  # type: ignore[arg-type]
    chances = [each for each, _, _ in known]
    first, _ = metric("deletion_rank", honest, [honest, blind], chances, seed=0)
    second, _ = metric("deletion_rank", blind, [honest, blind], chances, seed=0)
    assert isinstance(first, Metric)
    assert isinstance(second, Metric)
    assert first.p == 1 / (RANDOM + 1)
    assert second.p is not None
    assert second.p > 0.02
    assert first.best == pytest.approx(1)
    assert not isinstance(first.normalised, Failure)
    assert not isinstance(second.normalised, Failure)
    assert first.normalised.value == pytest.approx(1, abs=1e-6)
    assert second.normalised.low < 0.1 < 0.5 > second.normalised.high


def test_a_metric_is_the_mean_over_the_items_that_have_it() -> None:
    values: list[Figures] = [figures(sufficiency=0.1), figures(sufficiency=0.5), figures(), figures(sufficiency=0.3)]
    unknown = Chance(dict.fromkeys(METRICS, UNKNOWN))
    found, missing = metric("sufficiency", values, [values, [figures(sufficiency=0.2)] * 4], [unknown] * 4, seed=0)
    assert isinstance(found, Metric)
    assert found.value == pytest.approx(0.3)
    assert found.n == 3
    # Low is good: the best of every item is the smaller of the two.
    assert found.best == pytest.approx(np.mean([0.1, 0.2, 0.2]))
    assert found.p is None
    assert isinstance(found.random, Failure)
    assert [(each.n, each.reason) for each in missing] == [(1, "not this one")]


def test_a_paired_difference_has_the_interval_and_p_of_its_items() -> None:
    rng = np.random.default_rng(3)
    a, shift = rng.normal(size=60), rng.normal(0.8, 1, size=60)
    both = [(figures(df_frac=float(x + d)), figures(df_frac=float(x))) for x, d in zip(a, shift, strict=True)]
    found = paired("df_frac", both, seed=0)
    assert not isinstance(found, Failed)
    value, p = found
    assert value.value == pytest.approx(shift.mean())
    half = 1.96 * shift.std() / np.sqrt(60)
    assert (value.low, value.high) == pytest.approx((shift.mean() - half, shift.mean() + half), abs=0.08)
    assert p == 1 / (RANDOM + 1)
    nothing = paired("df_frac", [(one, one) for one, _ in both], seed=0)
    assert not isinstance(nothing, Failed)
    assert nothing[1] == 1


def test_random_orders_followed_to_their_end_are_what_random_rankings_have() -> None:
    """Of an additive model all sets of one size have one mean, so the mean over orders has a closed form."""
    weights = np.array([0.1, 0.05, -0.02, 0.2, 0.0, 0.03])

    def believes(some: Kept) -> Belief:
        p = 0.55 + sum(weights[unit] for unit in some)
        return Belief("yes", {"yes": p, "no": 1 - p})

    rng = np.random.default_rng(0)
    chains = [random_chains(6, believes, rng) for _ in range(60)]
    for name in ("comprehensiveness", "sufficiency"):
        # Half of the units are missing on average.
        assert np.mean([chain[name] for chain in chains]) == pytest.approx(weights.sum() / 2, abs=0.01)
    assert np.mean([chain["df_frac"] for chain in chains]) == 1
    gap = random_chains(6, lambda some: UNKNOWN if len(some) == 3 else believes(some), rng)
    assert gap == dict.fromkeys(CHAINED, UNKNOWN)


def test_random_rankings_of_a_few_items_are_not_those_of_all() -> None:
    values: list[Figures] = [figures(sufficiency=0.1 * number) for number in range(10)]
    known, unknown = (Chance({"sufficiency": draws}) for draws in (np.full(RANDOM, 0.2), UNKNOWN))
    most, _ = metric("sufficiency", values, [values], [*[known] * 9, unknown], seed=0)
    few, _ = metric("sufficiency", values, [values], [*[known] * 7, *[unknown] * 3], seed=0)
    assert isinstance(most, Metric)
    assert isinstance(few, Metric)
    assert (most.n, most.n_random, most.random) == (10, 9, pytest.approx(0.2))
    assert isinstance(few.random, Failure)
    assert few.p is None


@pytest.mark.parametrize("count", [2, 8])
def test_a_ranking_that_knows_nothing_is_not_called_better_than_chance_too_often(count: int) -> None:
    """Rankings and a few random orders of every item are drawn alike: p is at most .05 in about one of twenty audits."""
    rng = np.random.default_rng(5)
    small = 0
    for number in range(400):
        drawn = rng.normal(size=(25, count + 1))
        chance = [Chance({"sufficiency": row[1:][rng.integers(count, size=RANDOM)]}, {"sufficiency": count}) for row in drawn]
        value, _ = metric("sufficiency", [figures(sufficiency=float(row[0])) for row in drawn], [], chance, seed=number)
        assert isinstance(value, Metric)
        small += value.p is not None and value.p <= 0.05
    assert small <= 33  # one in a thousand of binomial(400, .05) is above


def test_random_rankings_of_a_few_items_are_no_row_and_no_difference() -> None:
    ranking = Ranking((1.0, 0.0), (0, 1))
    drawn, unknown = Chance(dict.fromkeys(METRICS, np.full(RANDOM, 0.2))), Chance(dict.fromkeys(METRICS, UNKNOWN))
    items = [
        ItemFigures({"self": ranking}, {"self": dict.fromkeys(METRICS, 0.1 * number)}, {"self": drawn if number < 7 else unknown}, {})
        for number in range(10)
    ]
    asked = Asked("attribution", "", "delete")
    _, at_random = rows(items, asked, seed=0)
    assert at_random.source == "random"
    assert all(isinstance(value, Failure) for value in at_random.metrics.values())
    assert differences(items, asked, seed=0) == []
    assert len(differences(items[:8], asked, seed=0)) == len(METRICS)


def test_items_without_an_explanation_are_failures_and_stay_in_the_count() -> None:
    ranking = Ranking((1.0, 0.0), (0, 1))
    unknown = Chance(dict.fromkeys(METRICS, NO))

    def item(*failed: str) -> ItemFigures:
        has = {source: dict.fromkeys(METRICS, 0.5) for source in ("self", "occlusion") if source not in failed}
        rankings = dict.fromkeys(has, ranking) | dict.fromkeys(failed, Failed("explain", "refused"))
        return ItemFigures(rankings, has, dict.fromkeys(has, unknown), {})

    items = [item(), item("self"), item()]
    asked = Asked("attribution", "predict-first", "delete")
    found = rows(items, asked, seed=0)
    assert [(row.source, row.n, row.n_failed) for row in found] == [("self", 2, 1), ("occlusion", 3, 0), ("random", 3, 0)]
    assert [(each.n, each.reason) for each in found[0].missing["df_mit"]] == [(1, "refused")]
    compared = differences(items, asked, seed=0)
    assert {(each.a, each.b, each.n) for each in compared} == {("self", "occlusion", 2)}
    adjust(compared)
    assert all(each.q == each.p == 1 for each in compared)
