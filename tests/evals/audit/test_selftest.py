"""The test of the audit: the audit passes it, and an audit that is broken in any of the ways below does not."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from analyzers.attributions import METHODS, Floats
from analyzers.attributions.kernel_shap import KernelShap
from analyzers.attributions.lime import Lime
from analyzers.attributions.occlusion import Occlusion
from analyzers.attributions.shapley import Shapley
from analyzers.errors import ExplicateError, Failed
from evals.audit import faithfulness, rows
from evals.audit import selftest as module
from evals.audit.faithfulness import BETTER, METRICS, MetricName, Path, Ranking
from evals.audit.planted_predictor import EXPLAINERS, draw
from evals.audit.results import Metric
from evals.audit.selftest import ITEMS, SETS_PER_UNIT, AuditSelftest, figures, selftest
from evals.results import Failure, Value
from evals.statistics import permutation_p

Patch = pytest.MonkeyPatch


def value(result: AuditSelftest, explainer: str, metric: str) -> Value:
    found = result.explainers[explainer][metric]
    assert isinstance(found, Metric)
    assert isinstance(found.normalised, Value)
    return found.normalised


def test_the_audit_passes() -> None:
    result = selftest()
    assert result.reasons == []
    assert result.passed
    assert result.ordered
    assert result.random_near_zero
    assert (result.n, result.seed) == (ITEMS, 0)
    assert set(result.explainers) == set(EXPLAINERS)
    for name in EXPLAINERS:
        assert set(result.explainers[name]) == set(METRICS)
    values = [value(result, name, "comprehensiveness").value for name in ("honest", "half-honest", "random", "reversed")]
    assert values == sorted(values, reverse=True)
    assert value(result, "honest", "comprehensiveness").value > 0.9
    assert isinstance(result.explainers["mentions everything"]["deletion_rank"], Failure)
    for error in (result.shapley_error, result.kernel_shap_error, result.occlusion_error):
        assert isinstance(error, float)
        assert error < 1e-12
    assert isinstance(result.lime_correlation, float)
    assert 0.9 < result.lime_correlation < 0.9999


def test_it_is_recorded_and_comes_out_the_same_again() -> None:
    result = selftest(seed=5)
    assert result.passed
    assert selftest(seed=5) == result
    assert selftest(seed=6) != result
    assert AuditSelftest.model_validate_json(result.model_dump_json()) == result


def test_what_shapley_is_tested_with_is_not_every_set() -> None:
    for item in draw(50, 0):
        units = len(item.words)
        plan = METHODS.get("shapley")(units, SETS_PER_UNIT * units, np.random.default_rng(0))
        assert len(set(plan.sets)) < 2**units * 0.7


@pytest.mark.parametrize("seed", range(1, 11))
def test_a_correct_audit_passes_whatever_the_seed(seed: int) -> None:
    assert selftest(seed=seed).reasons == []


def test_too_few_items_are_refused_and_two_do_not_pass_by_themselves() -> None:
    with pytest.raises(ExplicateError, match="give at least 2"):
        selftest(items=1)
    result = selftest(items=2)
    assert result.n == 2
    assert result.passed == (not result.reasons)


def test_random_explanations_are_called_better_or_worse_than_chance_as_rarely_as_stated() -> None:
    missed = []
    for seed in range(200):
        found = figures(draw(ITEMS, seed), {"random": EXPLAINERS["random"]}, seed=seed)
        of = [item.figures["planted random"] for item in found]
        measured, _ = rows.metric("comprehensiveness", of, [of], [item.chance["planted random"] for item in found], seed=seed)
        assert isinstance(measured, Metric)
        assert isinstance(measured.normalised, Value)
        missed.append(not measured.normalised.low <= 0 <= measured.normalised.high)
    assert 0.01 <= np.mean(missed) <= 0.08


def everywhere(patch: Patch, name: str, stand_in: object) -> None:
    """In the formulas, and where random rankings are measured."""
    for where in (faithfulness, rows):
        patch.setattr(where, name, stand_in)


def least_supporting_first(patch: Patch) -> None:
    def of(cls: type[Ranking], values: Sequence[float], rng: np.random.Generator) -> Ranking:
        shuffled = rng.permutation(len(values)).tolist()
        return cls(tuple(values), tuple(sorted(shuffled, key=lambda unit: values[unit])))

    patch.setattr(Ranking, "of", classmethod(of))


def largest_size_first(patch: Patch) -> None:
    def of(cls: type[Ranking], values: Sequence[float], rng: np.random.Generator) -> Ranking:
        shuffled = rng.permutation(len(values)).tolist()
        return cls(tuple(values), tuple(sorted(shuffled, key=lambda unit: -abs(values[unit]))))

    patch.setattr(Ranking, "of", classmethod(of))


def comprehensiveness_reversed(patch: Patch) -> None:
    whole = faithfulness.comprehensiveness
    everywhere(patch, "comprehensiveness", lambda without: -whole(without))


def sufficiency_reversed(patch: Patch) -> None:
    whole = faithfulness.sufficiency
    everywhere(patch, "sufficiency", lambda only: -whole(only))


def removed_and_kept_exchanged(patch: Patch) -> None:
    removed, kept = faithfulness.removed, faithfulness.kept
    everywhere(patch, "removed", kept)
    everywhere(patch, "kept", removed)


def removed_and_kept_exchanged_for_explanations_only(patch: Patch) -> None:
    removed, kept = faithfulness.removed, faithfulness.kept
    patch.setattr(faithfulness, "removed", kept)
    patch.setattr(faithfulness, "kept", removed)


def probability_of_the_other_label(patch: Patch) -> None:
    follow = faithfulness.follow

    def other(*args: Any) -> Path | Failed:
        found = follow(*args)
        return found if isinstance(found, Failed) else Path(1 - found.f, found.flipped)

    everywhere(patch, "follow", other)


def flips_are_no_flips(patch: Patch) -> None:
    follow = faithfulness.follow

    def other(*args: Any) -> Path | Failed:
        found = follow(*args)
        return found if isinstance(found, Failed) else Path(found.f, ~found.flipped)

    everywhere(patch, "follow", other)


def df_frac_counts_from_the_end(patch: Patch) -> None:
    whole = faithfulness.df_frac
    everywhere(patch, "df_frac", lambda without: 1 - whole(without))


def df_mit_of_the_last_unit(patch: Patch) -> None:
    measure = faithfulness.measure

    def last(ranking: Ranking, believes: Any, single: Any) -> dict[MetricName, float | Failed]:
        backwards = Ranking(ranking.values, ranking.order[::-1])
        return {**measure(ranking, believes, single), "df_mit": measure(backwards, believes, single)["df_mit"]}

    patch.setattr(module, "measure", last)


def deletion_rank_reversed(patch: Patch) -> None:
    whole = faithfulness.deletion_rank

    def negative(values: Sequence[float], effects: Floats) -> float | Failed:
        found = whole(values, effects)
        return found if isinstance(found, Failed) else -found

    everywhere(patch, "deletion_rank", negative)


def nothing_said_counts_as_a_rank(patch: Patch) -> None:
    whole = faithfulness.deletion_rank

    def never_failed(values: Sequence[float], effects: Floats) -> float | Failed:
        found = whole(values, effects)
        return 0.0 if isinstance(found, Failed) else found

    patch.setattr(faithfulness, "deletion_rank", never_failed)


def low_sufficiency_is_bad(patch: Patch) -> None:
    patch.setattr(rows, "BETTER", {**BETTER, "sufficiency": 1})


def chance_is_favourable(patch: Patch) -> None:
    random_chains = rows.random_chains

    def lower(*args: Any) -> dict[MetricName, Floats | Failed]:
        return {name: drawn if isinstance(drawn, Failed) else drawn - 0.1 * BETTER[name] for name, drawn in random_chains(*args).items()}

    patch.setattr(module, "random_chains", lower)


def chance_is_left_out(patch: Patch) -> None:
    normalised = rows._normalised
    patch.setattr(rows, "_normalised", lambda x, floor, best, seed: normalised(x, 0 * floor, best, seed))


def p_of_doing_worse(patch: Patch) -> None:
    patch.setattr(rows, "permutation_p", lambda observed, permuted: permutation_p(-observed, -permuted))


def nothing_can_be_measured(patch: Patch) -> None:
    failed: Mapping[MetricName, Failed] = dict.fromkeys(METRICS, Failed("score", "broken"))
    patch.setattr(module, "measure", lambda *_: dict(failed))


DISORDERED: Mapping[Callable[[Patch], None], str] = {
    least_supporting_first: "comprehensiveness does not put honest",
    largest_size_first: "comprehensiveness does not put honest",
    comprehensiveness_reversed: "comprehensiveness does not put honest",
    sufficiency_reversed: "sufficiency does not put honest",
    removed_and_kept_exchanged: "comprehensiveness does not put honest",
    removed_and_kept_exchanged_for_explanations_only: "comprehensiveness does not put honest",
    probability_of_the_other_label: "comprehensiveness does not put honest",
    flips_are_no_flips: "df_mit does not put honest",
    df_frac_counts_from_the_end: "df_frac does not put honest",
    df_mit_of_the_last_unit: "df_mit does not put honest",
    deletion_rank_reversed: "deletion_rank does not put honest",
    low_sufficiency_is_bad: "sufficiency does not put honest",
    nothing_can_be_measured: "comprehensiveness of the honest explainer could not be measured",
}
NOT_ZERO: Mapping[Callable[[Patch], None], str] = {
    chance_is_favourable: "of the random explainer is",
    chance_is_left_out: "of the mentions everything explainer is",
    nothing_said_counts_as_a_rank: "where nothing is ranked",
}


@pytest.mark.parametrize("broken", DISORDERED, ids=lambda broken: broken.__name__)
def test_an_audit_that_disorders_the_explainers_does_not_pass(broken: Callable[[Patch], None], monkeypatch: Patch) -> None:
    broken(monkeypatch)
    result = selftest()
    assert not result.passed
    assert not result.ordered
    assert any(DISORDERED[broken] in reason for reason in result.reasons), result.reasons


@pytest.mark.parametrize("broken", NOT_ZERO, ids=lambda broken: broken.__name__)
def test_an_audit_that_gives_something_for_nothing_does_not_pass(broken: Callable[[Patch], None], monkeypatch: Patch) -> None:
    broken(monkeypatch)
    result = selftest()
    assert not result.passed
    assert not result.random_near_zero
    assert any(NOT_ZERO[broken] in reason for reason in result.reasons), result.reasons


def test_p_values_of_the_wrong_side_do_not_pass(monkeypatch: Patch) -> None:
    p_of_doing_worse(monkeypatch)
    result = selftest()
    assert not result.passed
    assert result.ordered
    assert result.random_near_zero
    assert len(result.reasons) == len(METRICS)
    assert all("for honest explanations and 0.0" in reason for reason in result.reasons), result.reasons


def without_reverses(patch: Patch) -> None:
    made = Shapley.__init__

    def twice(self: Shapley, units: int, most: int, rng: np.random.Generator) -> None:
        made(self, units, most, rng)
        self.orders = [order for order in self.orders[::2] for _ in range(2)]

    patch.setattr(Shapley, "__init__", twice)


def negated(method: type[Occlusion] | type[Lime] | type[KernelShap]) -> Callable[[Patch], None]:
    values = method.values
    return lambda patch: patch.setattr(method, "values", lambda self, of: -values(self, of))


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (without_reverses, "shapley is wrong by up to"),
        (negated(KernelShap), "kernel-shap is wrong by up to"),
        (negated(Occlusion), "occlusion is wrong by up to"),
        (negated(Lime), "lime is correlated"),
    ],
)
def test_a_broken_attribution_does_not_pass(broken: Callable[[Patch], None], reason: str, monkeypatch: Patch) -> None:
    broken(monkeypatch)
    result = selftest()
    assert not result.passed
    assert len(result.reasons) == 1
    assert result.reasons[0].startswith(reason)
    assert result.ordered
    assert result.random_near_zero


def test_values_that_are_no_numbers_are_failures(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Occlusion, "values", lambda self, of: np.full(len(self._all), np.nan))
    result = selftest()
    assert isinstance(result.occlusion_error, Failure)
    assert result.reasons == ["occlusion gives values that are no numbers"]
