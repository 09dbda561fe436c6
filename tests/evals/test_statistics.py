"""Intervals against naive resampling and planted truth; p-values and AUROC against scipy and scikit-learn."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from analyzers.errors import Failed
from evals.results import Lift, Value
from evals.scores import SCORES, Pairs, score, statistic
from evals.statistics import (
    auroc,
    benjamini_hochberg,
    bootstrap,
    exchange_p,
    lift,
    luck,
    mean,
    not_excluded,
    permutation_p,
    scores,
    sign_flip_p,
)


@pytest.mark.parametrize("items", [2, 3, 20, 60])
def test_what_items_that_all_had_it_leave_possible_is_clopper_and_pearsons(items: int) -> None:
    assert not_excluded(items) == pytest.approx(binomtest(items, items).proportion_ci(0.95, method="exact").low, rel=1e-6)


def clustered(rng: np.random.Generator, documents: int = 30, each: int = 40, signal: float = 0.6, cluster: float = 0.7) -> Pairs:
    """Truth and prediction with an effect of the document shared by its tokens; their population correlation is `signal`."""
    document = np.repeat(np.arange(documents), each)
    shared = rng.normal(size=(documents, 2)) * np.sqrt(cluster)
    both = shared[document] + rng.normal(size=(len(document), 2)) * np.sqrt(1 - cluster)
    prediction = signal * both[:, 0] + np.sqrt(1 - signal**2) * both[:, 1]
    return Pairs(both[:, 0], prediction, np.ones(len(document), bool), document, np.arange(documents), "activation")


def take(pairs: Pairs, tokens: Any) -> Pairs:
    """Those tokens, as one document."""
    zero = np.zeros(len(tokens), np.intp)
    return Pairs(pairs.truth[tokens], pairs.prediction[tokens], pairs.present[tokens], zero, zero[:1], pairs.scale)


@pytest.mark.parametrize("name", SCORES)
def test_sums_over_documents_equal_a_resampled_score(name: Any) -> None:
    rng = np.random.default_rng(1)
    pairs = clustered(rng, documents=8, each=5)
    pairs.present[rng.random(40) < 0.3] = False
    for _ in range(20):
        drawn = rng.integers(8, size=8)
        tokens = np.concatenate([np.flatnonzero(pairs.excerpt == d) for d in drawn])
        value = statistic(name, pairs)(np.bincount(drawn, minlength=8)[None].astype(float))
        assert value[0] == pytest.approx(score(name, take(pairs, tokens)), abs=1e-9)


def test_the_interval_is_that_of_naive_resampling() -> None:
    pairs = clustered(np.random.default_rng(2))
    rng = np.random.default_rng(3)
    naive = []
    for _ in range(2000):
        tokens = np.concatenate([np.flatnonzero(pairs.excerpt == d) for d in rng.integers(30, size=30)])
        naive.append(np.corrcoef(pairs.truth[tokens], pairs.prediction[tokens])[0, 1])
    value = scores(pairs, ["pearson"], draws=4000)["pearson"]
    assert isinstance(value, Value)
    assert value.value == score("pearson", pairs)
    assert value.n == 1200
    assert (value.low, value.high) == pytest.approx(tuple(np.quantile(naive, [0.025, 0.975])), abs=0.02)


def test_intervals_cover_the_planted_truth_only_when_documents_are_drawn() -> None:
    rng = np.random.default_rng(4)
    covered = {"documents": 0, "tokens": 0}
    for i in range(200):
        pairs = clustered(rng)
        alone = Pairs(pairs.truth, pairs.prediction, pairs.present, np.arange(1200), np.arange(1200), "activation")
        for unit, sample in (("documents", pairs), ("tokens", alone)):
            value = scores(sample, ["pearson"], draws=200, seed=i)["pearson"]
            assert isinstance(value, Value)
            covered[unit] += value.low <= 0.6 <= value.high
    # 95 % nominal: 30 documents cover somewhat less; tokens drawn as if independent far less
    assert 0.87 <= covered["documents"] / 200 <= 0.98
    assert covered["tokens"] / 200 < 0.6


def test_same_seed_same_interval_and_no_token_is_too_many() -> None:
    pairs = clustered(np.random.default_rng(5))
    assert scores(pairs, seed=7) == scores(pairs, seed=7)
    assert scores(pairs, ["pearson"], seed=7) != scores(pairs, ["pearson"], seed=8)
    # more cells than are held at once: drawn in parts, the parts together are the draws asked for
    many = np.random.default_rng(6).normal(size=3000)
    value = mean(many, draws=1000)
    assert isinstance(value, Value)
    assert value.high - value.low == pytest.approx(2 * 1.96 / np.sqrt(3000), rel=0.15)


def test_lift_is_paired_and_over_the_best_control() -> None:
    rng = np.random.default_rng(8)
    pairs = clustered(rng)
    noise = rng.normal(size=1200)
    controls = {
        "far": Pairs(pairs.truth, noise, pairs.present, pairs.excerpt, pairs.document, "indicator"),
        "near": Pairs(pairs.truth, pairs.prediction + 0.2 * noise, pairs.present, pairs.excerpt, pairs.document, "activation"),
        "constant": Pairs(pairs.truth, np.zeros(1200), pairs.present, pairs.excerpt, pairs.document, "indicator"),
    }
    result = lift("pearson", pairs, controls, called="pearson_null_contrast")
    assert isinstance(result, Lift)
    assert (result.over, result.score) == ("near", "pearson_null_contrast")
    mine, theirs = score("pearson", pairs), score("pearson", controls["near"])
    assert isinstance(mine, float)
    assert isinstance(theirs, float)
    assert result.value == pytest.approx(mine - theirs)
    own = scores(pairs, ["pearson"])["pearson"]
    assert isinstance(own, Value)
    assert result.high - result.low < 0.5 * (own.high - own.low)
    same = lift("pearson", pairs, {"itself": pairs})
    assert isinstance(same, Lift)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_lift_compares_the_tokens_that_both_predict() -> None:
    pairs = clustered(np.random.default_rng(9))
    present = np.arange(1200) % 3 > 0
    # right where the score has predictions, reversed where it has none: counted there it would not be perfect
    control = Pairs(pairs.truth, np.where(present, 1, -1) * pairs.truth, np.ones(1200, bool), pairs.excerpt, pairs.document, "activation")
    holes = Pairs(pairs.truth, pairs.prediction, present, pairs.excerpt, pairs.document, "activation")
    result, own = lift("pearson", holes, {"control": control}), score("pearson", holes)
    assert isinstance(result, Lift)
    assert isinstance(own, float)
    assert result.value == pytest.approx(own - 1)
    assert result.n == 800


def test_lift_without_a_control_is_failed() -> None:
    pairs = clustered(np.random.default_rng(10))
    constant = Pairs(pairs.truth, np.zeros(1200), pairs.present, pairs.excerpt, pairs.document, "indicator")
    assert lift("pearson", pairs, {"lexical": constant}) == Failed("score", "none of the controls lexical could be scored")
    assert isinstance(lift("pearson", constant, {"itself": pairs}), Failed)
    with pytest.raises(ValueError):
        lift("pearson", pairs, {"other": clustered(np.random.default_rng(11))})


def test_degenerate_resamples_are_dropped_up_to_a_share() -> None:
    def fires_in(documents: int) -> Pairs:
        rng = np.random.default_rng(0)
        document = np.repeat(np.arange(20), 5)
        truth = np.where(document < documents, rng.random(100), 0.0)
        return Pairs(truth, truth + 0.1 * rng.random(100), np.ones(100, bool), document, np.arange(20), "activation")

    # P(no draw holds a firing document) = (1 - k/20)^20: .36 with one, .04 with three
    alone = scores(fires_in(1))
    for name in SCORES:
        failed = alone[name]
        assert isinstance(failed, Failed)
        assert "resamples" in failed.reason
        assert int(failed.reason.split()[2]) == pytest.approx(358, abs=60)
    assert isinstance(scores(fires_in(3))["pearson"], Value)


def test_one_document_has_no_interval() -> None:
    pairs = clustered(np.random.default_rng(0), documents=1)
    for value in scores(pairs).values():
        assert isinstance(value, Failed)
        assert "at least two units" in value.reason
    assert isinstance(score("pearson", pairs), float)


def test_undefined_scores_say_why() -> None:
    pairs = clustered(np.random.default_rng(0))
    level = Pairs(pairs.truth, pairs.prediction, pairs.present, pairs.excerpt, pairs.document, "level")
    result = scores(level)
    assert isinstance(result["pearson"], Value)
    for name in SCORES[1:]:
        failed = result[name]
        assert isinstance(failed, Failed)
        assert "calibration" in failed.reason


def test_mean_with_units_drawn_together() -> None:
    rng = np.random.default_rng(12)
    group = np.repeat(np.arange(25), 8)
    x = rng.normal(size=25)[group] + 0.1 * rng.normal(size=200)
    together, apart = mean(x, group.tolist()), mean(x)
    assert isinstance(together, Value)
    assert isinstance(apart, Value)
    assert together.value == pytest.approx(x.mean())
    assert apart.value == pytest.approx(x.mean())
    assert together.n == apart.n == 200
    # the variance of a mean of 25 groups, against that of 200 items
    assert (together.high - together.low) / (apart.high - apart.low) == pytest.approx(np.sqrt(8), rel=0.2)
    assert together.high - together.low == pytest.approx(2 * 1.96 * x.reshape(25, 8).mean(1).std() / 5, rel=0.15)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, np.nan]])
def test_mean_of_too_little_is_failed(values: list[float]) -> None:
    assert isinstance(mean(values), Failed)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40))
def test_auroc_equals_scikit_learn(rows: list[tuple[int, bool]]) -> None:
    from sklearn.metrics import roc_auc_score

    values, positive = zip(*rows, strict=True)
    # few items of a class: the interval may fail, the value may not
    result = auroc(values, positive, draws=20)
    if len(set(positive)) < 2:
        assert isinstance(result, Failed)
        assert "positive and negative" in result.reason
    elif isinstance(result, Value):
        assert result.value == pytest.approx(roc_auc_score(positive, values))
        assert 0 <= result.low <= result.high <= 1
    else:
        assert "resamples" in result.reason


def test_auroc_interval_is_that_of_naive_resampling_of_units() -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(13)
    unit = np.repeat(np.arange(30), 4)
    positive = np.tile([True, False, False, False], 30)
    values = np.round(rng.normal(size=30)[unit] + rng.normal(size=120) + positive, 1)
    naive = []
    for _ in range(800):
        items = np.concatenate([np.flatnonzero(unit == u) for u in rng.integers(30, size=30)])
        naive.append(roc_auc_score(positive[items], values[items]))
    result = auroc(values, positive, unit.tolist(), draws=4000)
    assert isinstance(result, Value)
    assert result.n == 120
    assert result.value == pytest.approx(roc_auc_score(positive, values))
    assert (result.low, result.high) == pytest.approx(tuple(np.quantile(naive, [0.025, 0.975])), abs=0.03)
    assert isinstance(auroc([1, np.inf], [True, False]), Failed)


def test_units_must_fit_the_items() -> None:
    with pytest.raises(ValueError):
        mean([1.0, 2.0], ["a"])


def test_permutation_p_is_never_zero() -> None:
    assert permutation_p(5.0, [1.0] * 99) == 0.01
    assert permutation_p(0.0, [1.0] * 99) == 1.0
    assert permutation_p(1.0, [0.0, 1.0, 2.0]) == 0.75


def test_exchange_p_equals_exchanging_by_hand() -> None:
    rng = np.random.default_rng(14)
    truth, prediction = rng.normal(size=(2, 5, 6))
    prediction += 0.4 * truth
    present = rng.random((5, 6)) < 0.8
    pairs = Pairs(truth.ravel(), prediction.ravel(), present.ravel(), np.repeat(np.arange(5), 6), np.arange(5), "level")
    observed = np.corrcoef(truth[present], prediction[present])[0, 1]
    larger = []
    for _ in range(4000):
        order = rng.permutation(5)
        here = present[order]
        larger.append(np.corrcoef(truth[here], prediction[order][here])[0, 1] >= observed - 1e-12)
    assert exchange_p(pairs, draws=4000) == pytest.approx(np.mean(larger), abs=0.03)
    assert exchange_p(pairs, seed=1) == exchange_p(pairs, seed=1)


def test_exchange_p_is_uniform_for_a_simulation_that_knows_only_positions() -> None:
    rng = np.random.default_rng(15)
    bump = np.exp(-(((np.arange(32) - 16) / 4) ** 2))
    p_values, correlations = [], []
    for i in range(200):
        truth = bump * rng.exponential(1, (12, 1)) + 0.1 * rng.random((12, 32))
        prediction = bump * rng.exponential(1, (12, 1))
        pairs = Pairs(truth.ravel(), prediction.ravel(), np.ones(384, bool), np.repeat(np.arange(12), 32), np.arange(12), "level")
        p = exchange_p(pairs, draws=99, seed=i)
        assert isinstance(p, float)
        p_values.append(p)
        correlations.append(score("pearson", pairs))
    assert np.mean(correlations) > 0.3  # type: ignore[arg-type]
    assert np.mean(np.array(p_values) <= 0.1) == pytest.approx(0.1, abs=0.065)
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.07)


def test_exchange_p_of_excerpts_of_unequal_length_and_of_nothing() -> None:
    rng = np.random.default_rng(16)
    lengths = [5, 9, 7, 3, 8, 6, 4]
    truth = rng.exponential(size=sum(lengths))
    excerpt = np.repeat(np.arange(7), lengths)
    right = Pairs(truth, truth + 0.1, np.ones(len(truth), bool), excerpt, np.arange(7), "level")
    p = exchange_p(right)
    assert isinstance(p, float)
    assert p < 0.01
    assert isinstance(exchange_p(Pairs(truth, 0 * truth, right.present, excerpt, np.arange(7), "level")), Failed)


def test_exchange_p_keeps_its_level_where_documents_give_several_excerpts() -> None:
    """Level and loudness of a document are its own, and unrelated: the test must not take that for skill."""
    rng = np.random.default_rng(17)
    document = np.repeat(np.arange(8), 2)
    below = 0
    for i in range(400):
        truth = (rng.exponential(1, 8)[document][:, None] * rng.random((16, 10))).ravel()
        prediction = (rng.exponential(1, 8)[document][:, None] * rng.random((16, 10))).ravel()
        p = exchange_p(Pairs(truth, prediction, np.ones(160, bool), np.repeat(np.arange(16), 10), document, "level"), draws=99, seed=i)
        assert isinstance(p, float)
        below += p <= 0.05
    assert below / 400 == pytest.approx(0.05, abs=0.033)  # 3 standard deviations of 400 tests


def test_exchange_p_takes_the_first_excerpt_of_every_document() -> None:
    rng = np.random.default_rng(18)
    truth, noise = rng.normal(size=(2, 6, 5))
    prediction = truth + noise
    document = np.array([0, 1, 1, 2, 0, 3])
    pairs = Pairs(truth.ravel(), prediction.ravel(), np.ones(30, bool), np.repeat(np.arange(6), 5), document, "level")
    first = [0, 1, 3, 5]
    alone = Pairs(truth[first].ravel(), prediction[first].ravel(), np.ones(20, bool), np.repeat(np.arange(4), 5), np.arange(4), "level")
    assert exchange_p(pairs, seed=3) == exchange_p(alone, seed=3)
    assert isinstance(exchange_p(Pairs(truth[0], prediction[0], np.ones(5, bool), np.zeros(5, int), np.zeros(1, int), "level")), Failed)


@pytest.mark.parametrize("opponents", [[1], [3, 3], [2, 2, 2, 2], [3, 1, 2]])
def test_luck_equals_counting_all_rankings(opponents: list[int]) -> None:
    totals = [sum(beaten) for beaten in itertools.product(*(range(k + 1) for k in opponents))]
    for beaten in np.arange(0, sum(opponents) + 0.5, 0.5):
        assert luck(float(beaten), opponents) == pytest.approx(np.mean([total >= beaten for total in totals]))


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=30))
def test_benjamini_hochberg_equals_its_definition(p_values: list[float | None]) -> None:
    known = sorted(p for p in p_values if p is not None)
    m = len(known)
    expected = [None if p is None else min(1.0, *(q * m / (i + 1) for i, q in enumerate(known) if q >= p)) for p in p_values]
    assert benjamini_hochberg(p_values) == [None if e is None else pytest.approx(e) for e in expected]


def test_several_statistics_share_their_draws() -> None:
    seen: list[Any] = []

    def spy(weights: Any) -> Any:
        seen.append(weights.copy())
        return np.ma.masked_array(weights[:, 0])

    bootstrap({"a": spy, "b": spy}, 5, n=5, draws=10, seed=3)
    bootstrap({"c": spy}, 5, n=5, draws=10, seed=3)
    drawn = [weights for weights in seen if len(weights) == 10]
    assert len(drawn) == 3
    assert all((weights == drawn[0]).all() for weights in drawn)
    assert (drawn[0].sum(axis=1) == 5).all()


@given(st.lists(st.floats(-1, 1).map(lambda x: round(x, 2)), min_size=1, max_size=8), st.booleans())
def test_p_is_the_share_of_all_sign_flips_that_do_as_well(differences: list[float], two_sided: bool) -> None:
    x = np.array(differences)
    flipped = np.array([np.dot(signs, x) / len(x) for signs in itertools.product((-1, 1), repeat=len(x))])
    as_well = np.abs(flipped) >= abs(x.mean()) - 1e-9 if two_sided else flipped >= x.mean() - 1e-9
    # Of 999 draws; five standard errors.
    assert sign_flip_p(differences, two_sided=two_sided, seed=1) == pytest.approx(as_well.mean(), abs=0.08)


def test_p_of_sign_flips_has_a_side_a_seed_and_is_never_0() -> None:
    above = [0.1] * 40
    assert sign_flip_p(above, two_sided=False) == sign_flip_p(above, two_sided=True) == 1 / 1000
    assert sign_flip_p([-x for x in above], two_sided=False) == 1
    assert sign_flip_p([-x for x in above], two_sided=True) == 1 / 1000
    assert sign_flip_p(above, two_sided=False, draws=99) == 1 / 100
    mixed = [0.3, -0.2, 0.1, 0.25, -0.1]
    assert sign_flip_p(mixed, two_sided=True, seed=1) == sign_flip_p(mixed, two_sided=True, seed=1)
    with pytest.raises(ValueError, match="no differences"):
        sign_flip_p([], two_sided=True)


def test_sign_flips_of_many_items_are_drawn_in_blocks() -> None:
    """A normal sum: 1.645 standard errors above 0 is p = .05."""
    n = 50_000
    x = np.random.default_rng(0).choice([-1.0, 1.0], size=n)
    x += 1.645 / np.sqrt(n) - x.mean()
    assert sign_flip_p(x, two_sided=False) == pytest.approx(0.05, abs=0.03)
