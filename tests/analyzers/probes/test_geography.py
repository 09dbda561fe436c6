"""Distances and errors of places: known distances, naive loops, scipy and scikit-learn, samples drawn again."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import r2_score
from sklearn.metrics.pairwise import haversine_distances

from analyzers.probes.geography import EARTH_KM, haversine_km, nearer_numbers, nearer_places, proximity_error, r2, spearman

LONDON, PARIS, SYDNEY, NEW_YORK = (51.5074, -0.1278), (48.8566, 2.3522), (-33.8688, 151.2093), (40.7128, -74.0060)
PLACE = st.tuples(st.floats(-90, 90), st.floats(-180, 180))


@pytest.mark.parametrize(
    ("one", "other", "km"), [(LONDON, PARIS, 343.6), (LONDON, SYDNEY, 16_994), (LONDON, NEW_YORK, 5_570), (PARIS, PARIS, 0)]
)
def test_distances_of_known_cities(one: tuple[float, float], other: tuple[float, float], km: float) -> None:
    assert haversine_km(np.array(one), np.array(other)) == pytest.approx(km, rel=2e-3)


def test_the_first_axis_is_the_latitude() -> None:
    """Ten degrees of longitude are short near the pole; ten of latitude are the same everywhere."""
    degree = 2 * math.pi * EARTH_KM / 360
    assert haversine_km(np.array([80.0, 0]), np.array([80.0, 10])) == pytest.approx(10 * degree * math.cos(math.radians(80)), rel=0.01)
    for place in ([0.0, 80], [60.0, -170], [-75.0, 20]):
        assert haversine_km(np.array(place), np.add(place, [10, 0])) == pytest.approx(10 * degree)


def test_the_date_line_and_the_poles_are_crossed() -> None:
    assert haversine_km(np.array([10.0, 179]), np.array([10.0, -179])) == pytest.approx(
        haversine_km(np.array([10.0, 0]), np.array([10.0, 2]))
    )
    assert haversine_km(np.array([95.0, 20]), np.array([85.0, -160])) == pytest.approx(0, abs=1e-3)
    assert haversine_km(np.array([0.0, 0]), np.array([0.0, 180])) == pytest.approx(math.pi * EARTH_KM)


@given(one=PLACE, other=PLACE)
def test_distances_are_those_of_scikit_learn(one: tuple[float, float], other: tuple[float, float]) -> None:
    theirs = haversine_distances(np.radians([one]), np.radians([other]))[0, 0] * EARTH_KM
    assert haversine_km(np.array(one), np.array(other)) == pytest.approx(theirs, abs=1e-6)


def plain_haversine(one: np.ndarray, other: np.ndarray) -> float:
    lat1, lon1, lat2, lon2 = map(math.radians, (*one, *other))
    cosine = math.sin(lat1) * math.sin(lat2) + math.cos(lat1) * math.cos(lat2) * math.cos(lon2 - lon1)
    return math.acos(max(-1.0, min(1.0, cosine)))


def naive_proximity(true: np.ndarray, predicted: np.ndarray, chosen: list[int]) -> float:
    """Over pairs of different entities of a list in which each may stand several times."""
    nearer = []
    for i in chosen:
        for j in chosen:
            if i != j:
                here, there = plain_haversine(predicted[i], true[i]), plain_haversine(predicted[i], true[j])
                nearer.append(there < here)
    return float(np.mean(nearer))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(3, 12))
def test_proximity_error_is_the_naive_count_also_of_entities_drawn_again(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    true = np.column_stack([rng.uniform(-85, 85, n), rng.uniform(-180, 180, n)])
    predicted = np.column_stack([rng.uniform(-95, 95, n), rng.uniform(-200, 200, n)])
    weights = np.vstack([np.ones(n), rng.integers(0, 3, (3, n))]).astype(np.float64)
    found = proximity_error(nearer_places(true, predicted), weights)
    for row, value in zip(weights, found, strict=True):
        chosen = [i for i in range(n) for _ in range(int(row[i]))]
        if len(set(chosen)) < 2:
            assert value is np.ma.masked
        else:
            assert value == pytest.approx(naive_proximity(true, predicted, chosen))


def test_axes_that_are_exchanged_would_be_seen() -> None:
    """Here the published code, which takes the longitude for the latitude, counts a place as nearer that is farther."""
    true, predicted = np.array([[80.0, 0], [65, 60]]), np.array([[80.0, 60], [65, 60]])
    assert haversine_km(predicted[0], true[0]) < haversine_km(predicted[0], true[1])
    assert not nearer_places(true, predicted)[0, 1]
    assert nearer_places(true[:, ::-1], predicted[:, ::-1])[0, 1]


def test_perfect_and_ignorant_predictions() -> None:
    rng = np.random.default_rng(0)
    true = np.column_stack([np.degrees(np.arcsin(rng.uniform(-1, 1, 2500))), rng.uniform(-180, 180, 2500)])
    whole = np.ones((1, 2500))
    assert proximity_error(nearer_places(true, true), whole)[0] == 0
    assert proximity_error(nearer_places(true, rng.permutation(true)), whole)[0] == pytest.approx(0.5, abs=0.02)
    assert proximity_error(nearer_places(true, true * [-1, 1] + [0, 180]), whole)[0] > 0.9


def test_entities_at_one_place_are_not_nearer_than_one_another() -> None:
    true = np.array([[12.3456, 65.4321]] * 9 + [[-40.0, 10.0]])
    assert not nearer_places(true, np.add(true, [1.7, -2.9]))[:9, :9].any()


def test_numbers_are_compared_by_how_far_they_are_apart() -> None:
    true, predicted = np.array([1900.0, 1950, 2000]), np.array([1940.0, 1955, 1800])
    assert nearer_numbers(true, predicted).tolist() == [[False, True, False], [False, False, False], [True, True, False]]
    assert proximity_error(nearer_numbers(true, predicted), np.ones((1, 3)))[0] == pytest.approx(3 / 6)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(5, 40))
def test_r2_and_spearman_are_those_of_the_entities_that_were_drawn(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    true = np.round(rng.normal(size=(n, 2)), 1) * [40, 90] + [500, -3]
    predicted = np.round(true * 0.5 + rng.normal(size=(n, 2)) * [30, 70])
    weights = np.vstack([np.ones(n), rng.integers(0, 4, (3, n))]).astype(np.float64)
    explained, ranked = r2(true, predicted, weights), spearman(true, predicted, weights)
    for row, r2s, rhos in zip(weights, explained, ranked, strict=True):
        chosen = np.repeat(np.arange(n), row.astype(int))
        if len(set(chosen)) < 4:
            continue
        for axis in range(2):
            y, p = true[chosen, axis], predicted[chosen, axis]
            if len(set(y)) > 1 and len(set(p)) > 1:
                assert r2s[axis] == pytest.approx(r2_score(y, p))
                assert rhos[axis] == pytest.approx(spearmanr(y, p).statistic)


def test_what_does_not_vary_has_neither() -> None:
    true = np.array([[1.0], [1.0], [1.0]])
    other = np.array([[1.0], [2.0], [3.0]])
    whole = np.ones((1, 3))
    assert r2(true, other, whole).mask.all()
    assert spearman(true, other, whole).mask.all()
    assert spearman(other, true, whole).mask.all()
    assert r2(other, np.full((3, 1), 2.0), whole)[0, 0] == pytest.approx(0)
