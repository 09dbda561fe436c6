"""Means, peaks and layers chosen by others, against plain numpy."""

import numpy as np
import pytest

from evals.results import Failure, Value
from evals.tracing.summary import curve, figure, geometric, held_out_peaks, peak

RNG = np.random.default_rng(0)


def value(found: Value | Failure) -> Value:
    assert isinstance(found, Value)
    return found


def test_means_are_of_those_that_have_one() -> None:
    values = RNG.normal(size=(40, 3))
    values[[2, 5]] = np.nan
    found = [value(each) for each in curve(values, seed=0)]
    for layer, each in enumerate(found):
        own = values[:, layer][~np.isnan(values[:, layer])]
        assert each.value == pytest.approx(own.mean())
        assert each.n == 38
        half = 1.96 * own.std() / np.sqrt(38)
        assert (each.low, each.high) == (pytest.approx(own.mean() - half, abs=0.12), pytest.approx(own.mean() + half, abs=0.12))
    assert value(figure(values[:, 1], seed=0)).model_dump() == pytest.approx(found[1].model_dump())


def test_without_any_there_is_none() -> None:
    none = np.full((4, 2), np.nan)
    assert all(isinstance(each, Failure) for each in (*curve(none, seed=0), peak(none, seed=0), figure(none[:, 0], seed=0)))
    one = np.full((4, 2), np.nan)
    one[0] = 1
    assert all(isinstance(each, Failure) for each in curve(one, seed=0))
    one[0, 1] = np.nan
    with pytest.raises(ValueError, match="at all"):
        curve(one, seed=0)


def test_a_peak_has_the_interval_of_where_it_might_be() -> None:
    sure = RNG.normal(size=(30, 8)) * 0.1
    sure[:, 5] += 1
    assert value(peak(sure, seed=0)) == Value(value=5, low=5, high=5, n=30)
    unsure = RNG.normal(size=(30, 8))
    found = value(peak(unsure, seed=0))
    assert found.value == unsure.mean(0).argmax()
    assert found.high - found.low >= 2


def test_no_fact_chooses_its_own_layer() -> None:
    values = RNG.normal(size=(7, 5))
    values[3] = np.nan
    for number, at in enumerate(held_out_peaks(values)):
        others = np.delete(values, [3, number], axis=0)
        assert at == others.mean(0).argmax()


def test_chosen_by_others_noise_has_no_effect_but_the_largest_mean_has() -> None:
    """The reason for it: of pure noise the largest mean over layers lies above 0."""
    chosen, largest = [], []
    for seed in range(200):
        values = np.random.default_rng(seed).normal(size=(20, 30))
        chosen.append(values[np.arange(20), held_out_peaks(values)].mean())
        largest.append(values.mean(0).max())
    assert abs(np.mean(chosen)) < 0.05
    assert np.mean(largest) > 0.35


def test_geometric_means_are_of_logarithms() -> None:
    (found, failed) = geometric([Value(value=0, low=-1, high=np.log(10), n=3), Failure(stage="score", reason="none")])
    assert value(found).model_dump() == pytest.approx({"value": 1, "low": np.exp(-1), "high": 10, "n": 3})
    assert isinstance(failed, Failure)
