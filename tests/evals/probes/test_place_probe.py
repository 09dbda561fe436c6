"""Probes for places on planted states: what is there is found, noise is not, and groups that were held out are unseen."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import r2_score

from analyzers.errors import ExplicateError
from analyzers.probes.ridge import ALPHAS
from evals.probes.place_metrics import Truth, lift, metrics
from evals.probes.place_probe import Material, hold_out, measure, token_counts
from evals.probes.place_split import LEAST_TEST, LEAST_TRAIN, group_folds, split
from evals.probes.results import Lift
from evals.results import Failure, Value

N, WIDTH = 1000, 24
Array = np.ndarray[Any, Any]


class Planted:
    """States by layer."""

    def __init__(self, *states: Array) -> None:
        self._states = states

    @property
    def layers(self) -> tuple[int, ...]:
        return tuple(range(len(self._states)))

    def layer(self, number: int) -> Array:
        return self._states[number]


def noise(seed: int, rows: int = N) -> Array:
    return np.random.default_rng(seed).normal(size=(rows, WIDTH)).astype(np.float32)


def world(seed: int = 0, n: int = N) -> Array:
    rng = np.random.default_rng(seed)
    return np.column_stack([np.degrees(np.arcsin(rng.uniform(-1, 1, n))), rng.uniform(-180, 180, n)])


def linear(true: Array, seed: int = 5) -> Array:
    """States of which two directions are the target, in units of their own, and the rest noise."""
    states = noise(seed, len(true))
    planted = np.random.default_rng(seed + 1).normal(size=(true.shape[1], WIDTH))
    return (0.01 * states + (true - true.mean(0)) @ planted).astype(np.float32)


def material(states: Planted, true: Array, columns: Sequence[str] = ("latitude", "longitude"), seed: int = 0) -> Material:
    fresh = Planted(*(noise(100 + number, len(true)) for number in states.layers))
    tokens = [[7, 10 + number % 50, 10 + number % 3] for number in range(len(true))]
    return Material(states, fresh, tokens, true, tuple(columns), split([None] * len(true), seed), seed)


def value(of: Value | Failure) -> Value:
    assert isinstance(of, Value), of
    return of


def test_planted_coordinates_are_read_and_the_planted_layer_is_chosen() -> None:
    true = world()
    found = measure(material(Planted(noise(1), noise(2), linear(true), noise(3)), true))
    assert found.best == 2
    best = found.layers[2].metrics
    assert value(best["r2"]).value > 0.999
    assert value(best["r2"]).low > 0.999
    assert value(best["spearman"]).value > 0.999
    assert value(best["haversine_km"]).value < 150
    assert value(best["proximity_error"]).value < 0.005
    assert value(best["r2"]).n == N // 5
    for name in ("layer0", "bag_of_tokens", "random_init", "shuffled", "mean"):
        above = found.lifts[name]
        assert isinstance(above, Lift)
        assert above.low > 0.9
        assert above.p == pytest.approx(0.001)
    assert found.baselines["layer0"].at == 0
    assert found.baselines["shuffled"].at == 2
    assert isinstance(found.baselines["mean"].metrics["spearman"], Failure)


def test_noise_gives_chance_within_its_interval() -> None:
    found = measure(material(Planted(noise(1), noise(2), noise(3)), world()))
    for layer in (*found.layers, *found.curves["random_init"]):
        assert value(layer.metrics["r2"]).low <= 0
        error = value(layer.metrics["proximity_error"])
        assert error.low <= 0.5 <= error.high
    for each in found.lifts.values():
        assert isinstance(each, Lift)
        assert each.low <= 0


def test_the_test_entities_have_no_part_in_choosing_and_training() -> None:
    true = world()
    states = Planted(noise(1), 0.2 * linear(true) + 60 * noise(2), 0.2 * linear(true) + 40 * noise(3))
    whole = material(states, true)
    other = true.copy()
    other[whole.split.test] = true[np.random.default_rng(4).permutation(whole.split.test)]
    one, two = measure(whole), measure(material(states, other))
    assert one.best == two.best
    np.testing.assert_array_equal(one.predicted, two.predicted)
    assert value(one.layers[one.best].metrics["r2"]).value > value(two.layers[two.best].metrics["r2"]).value + 0.1


def test_numbers_have_a_mean_error_in_their_own_unit() -> None:
    years = np.random.default_rng(8).uniform(1800, 2000, (N, 1))
    found = measure(material(Planted(noise(1), linear(years)), years, ["year"]))
    best = found.layers[1].metrics
    assert list(best) == ["r2", "spearman", "mae", "proximity_error"]
    assert value(best["r2"]).value > 0.999
    assert value(best["mae"]).value < 1


def test_a_network_finds_what_is_not_linear() -> None:
    hidden = np.random.default_rng(6).normal(size=(N, 1))
    states = noise(7)
    states[:, :1] = hidden
    found = measure(material(Planted(noise(1), states), np.abs(hidden) * 50 + 1900, ["year"]), mlp=True)
    assert value(found.curves["mlp"][1].metrics["r2"]).low > 0.3
    assert value(found.layers[1].metrics["r2"]).high < 0.2
    if found.best == 1:
        assert value(found.figures["mlp_minus_ridge"]).low > 0.2


def test_states_that_only_say_the_group_fail_where_the_group_is_held_out() -> None:
    """Thirty countries at random places: their names give the place away to a probe that has seen them, and to no other."""
    rng = np.random.default_rng(2)
    centres = np.column_stack([rng.uniform(-60, 60, 30), rng.uniform(-170, 170, 30)])
    country = rng.integers(0, 30, N)
    true = centres[country] + rng.normal(size=(N, 2))
    onehot = np.eye(30)[country].astype(np.float32)
    whole = material(Planted(np.zeros((N, 30), np.float32), onehot), true)
    groups: list[str | None] = [f"c{each}" for each in country]
    groups[0] = None
    folds = group_folds(groups, None, 0)
    found = measure(whole)
    assert value(found.layers[found.best].metrics["r2"]).low > 0.95
    held = hold_out(whole, groups, folds, column="country", best=found.best, fresh_best=0)
    assert value(held.metrics["r2"]).low < 0
    assert value(held.metrics["r2"]).value < 0.1
    assert (held.groups, held.folds, held.unit) == (30, 5, "values of country")
    assert held.items == {"test": N - len(whole.split.choose) - (0 not in whole.split.choose), "without_group": 1}
    read = hold_out(material(Planted(noise(1), linear(true)), true), groups, folds, column="country", best=1, fresh_best=0)
    assert value(read.metrics["r2"]).low > 0.99
    assert all(isinstance(each, Lift) and each.low > 0.5 for each in read.lifts.values())


def test_few_groups_leave_intervals_to_entities() -> None:
    true = world()
    groups = [("a", "b", "c")[number % 3] for number in range(N)]
    held = hold_out(material(Planted(linear(true)), true), groups, group_folds(groups, None, 0), column="kind", best=0, fresh_best=0)
    assert (held.groups, held.folds, held.unit) == (3, 3, "entities")


def test_folds_hold_out_whole_groups_of_like_size() -> None:
    rng = np.random.default_rng(0)
    groups = [None if number < 5 else f"g{int(each)}" for number, each in enumerate(rng.zipf(1.6, 500) % 40)]
    folds = group_folds(groups, 4, 1)
    assert (folds[:5] == -1).all()
    of: dict[str, int] = {}
    for group, fold in zip(groups, folds, strict=True):
        if group is not None:
            assert of.setdefault(group, fold) == fold
    sizes = np.bincount(folds[folds >= 0])
    largest = max(groups.count(group) for group in of)
    assert sizes.min() > 0
    assert sizes.max() - sizes.min() <= largest
    assert (group_folds(groups, 4, 1) == folds).all()


@pytest.mark.parametrize(("groups", "folds"), [(["a", "b", "c"], 4), (["a", "a"], None), ([None, None], None), (["a", "b"], 1)])
def test_fewer_groups_than_folds_are_refused(groups: list[str | None], folds: int | None) -> None:
    with pytest.raises(ExplicateError, match=r"groups cannot be held out in .* folds"):
        group_folds(groups, folds, 0)


def test_a_group_without_which_too_little_is_left_is_refused() -> None:
    rest = [f"g{number}" for number in range(LEAST_TRAIN - 1)]
    with pytest.raises(ExplicateError, match=rf"without the largest of 5 folds {LEAST_TRAIN - 1} entities .* needs {LEAST_TRAIN}"):
        group_folds(["large"] * 60 + rest, None, 0)
    group_folds(["large"] * 60 + [*rest, "one more"], 5, 0)


def test_the_direction_that_is_one_by_chance_has_the_same_penalty() -> None:
    true = world()
    found = measure(material(Planted(noise(1), linear(true) + 2 * noise(3)), true))
    assert found.by_chance.alpha == found.probe.alpha == found.alphas[found.best]
    assert found.probe.alpha < ALPHAS[-1]  # which is what exchanged targets would have chosen
    cosines = np.abs(np.sum(found.probe.weights * found.by_chance.weights, axis=1))
    cosines /= np.linalg.norm(found.probe.weights, axis=1) * np.linalg.norm(found.by_chance.weights, axis=1)
    assert (cosines < 0.9).all()


def test_splits_keep_to_the_file_or_draw_a_fifth() -> None:
    drawn = split([None] * 500, 3)
    assert (len(drawn.test), len(drawn.train), len(drawn.choose)) == (100, 400, 80)
    assert not set(drawn.test) & set(drawn.train)
    assert set(drawn.choose) < set(drawn.train)
    assert set(drawn.fit) == set(drawn.train) - set(drawn.choose)
    assert (split([None] * 500, 4).test != drawn.test).any()
    known = split([number % 4 == 0 for number in range(200)], 0)
    assert known.test.tolist() == list(range(0, 200, 4))
    few = [False] * LEAST_TRAIN + [True] * (LEAST_TEST - 1)
    with pytest.raises(ExplicateError, match=r"too few; it needs 30 and 10"):
        split(few, 0)
    split([*few, True], 0)


def test_the_lift_is_the_difference_of_both_r2() -> None:
    rng = np.random.default_rng(1)
    true = world(n=80)
    good, bad = true + rng.normal(scale=30, size=true.shape), true + rng.normal(scale=60, size=true.shape)
    truth = Truth.of(true, ("latitude", "longitude"))
    above = lift(truth, good, bad)
    assert isinstance(above, Lift)
    assert above.value == pytest.approx(r2_score(true, good) - r2_score(true, bad))
    assert above.low > 0
    assert above.p < 0.01
    assert value(metrics(truth, good)["r2"]).value == pytest.approx(r2_score(true, good))
    below = lift(truth, bad, good)
    assert isinstance(below, Lift)
    assert below.value == pytest.approx(-above.value)
    assert below.p > 0.9


def test_groups_that_are_drawn_together_widen_the_interval() -> None:
    true = np.repeat(world(n=40), 20, axis=0)
    predicted = np.repeat(world(n=40) + np.random.default_rng(3).normal(scale=25, size=(40, 2)), 20, axis=0)
    alone = value(metrics(Truth.of(true, ("latitude", "longitude")), predicted)["r2"])
    together = value(metrics(Truth.of(true, ("latitude", "longitude"), np.repeat(np.arange(40), 20).tolist()), predicted)["r2"])
    assert alone.value == together.value
    assert together.high - together.low > 3 * (alone.high - alone.low)


def test_token_counts_are_of_training_tokens_that_tell_entities_apart() -> None:
    tokens = [[1, 5, 5], [1, 6], [1, 5, 7], [1, 9, 5]]
    counts = token_counts(tokens, np.array([0, 1, 2]))
    assert counts.tolist() == [[2, 0, 0], [0, 1, 0], [1, 0, 1], [1, 0, 0]]
    assert token_counts(tokens, np.array([0, 1, 2]), most=1).shape == (4, 1)
    assert token_counts([[1], [1]], np.array([0, 1])).tolist() == [[0], [0]]
