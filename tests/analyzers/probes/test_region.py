"""Distances against scipy's and against what normal clouds have."""

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis
from scipy.stats import chi2

from analyzers.probes.region import PERCENTS, Region, distances_left_out, quantiles, random_parts, share_nearer


def test_it_is_the_mahalanobis_distance_where_all_directions_but_the_last_are_kept() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 6)) @ rng.normal(size=(6, 6)) + 3
    inverse = np.linalg.inv(np.cov(x.T, bias=True))
    other = rng.normal(size=(5, 6)) * 4
    expected = [mahalanobis(row, x.mean(0), inverse) for row in other]
    assert Region.of(x).distance(other) == pytest.approx(expected)


def test_distances_of_states_left_out_are_those_of_new_ones_and_far_ones_are_farther() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(1000, 10)) * np.arange(1, 11)
    left_out = distances_left_out(x, random_parts(1000, 0))
    assert np.sort(np.unique(random_parts(1000, 0), return_counts=True)[1]).tolist() == [200] * 5
    told = quantiles(left_out)
    assert len(told) == PERCENTS
    new = Region.of(x).distance(rng.normal(size=(4000, 10)) * np.arange(1, 11))
    assert np.mean(new > told[99]) == pytest.approx(0.01, abs=0.008)
    assert np.mean(new**2 < chi2(10).ppf(0.5)) == pytest.approx(0.5, abs=0.05)
    far = Region.of(x).distance(np.full((1, 10), 80.0))
    assert far[0] > told[-1]
    assert (share_nearer(float(far[0]), told), share_nearer(0.0, told)) == (1, 0)
    assert share_nearer(float(told[37]), told) == pytest.approx(0.37)


def test_fewer_states_than_dimensions_have_a_region() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(40, 200))
    region = Region.of(x)
    assert region.directions.shape == (10, 200)
    assert np.isfinite(region.distance(x)).all()
    # In so few states a left-out one lies farther than its own.
    assert distances_left_out(x, np.arange(40) % 2).mean() > region.distance(x).mean()
