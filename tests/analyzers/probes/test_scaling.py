"""States become standard, and only the longest are shortened, where that is asked for."""

import numpy as np

from analyzers.probes.scaling import Scaling


def test_only_states_that_are_much_longer_are_shortened() -> None:
    rng = np.random.default_rng(6)
    states = (rng.standard_normal((60, 8)) + 5).astype(np.float32)
    sinks = states.copy()
    sinks[::10] *= 100
    plain, found = (Scaling.of(each, longest=2).apply(each) for each in (states, sinks))
    assert np.allclose(plain, (states - states.mean(axis=0)) / states.std(axis=0), atol=1e-4)
    others = np.arange(60) % 10 > 0
    assert np.abs(found).max() < 5
    shortened = sinks.copy()
    lengths = np.linalg.norm(sinks, axis=1)
    shortened[::10] *= (2 * np.median(lengths) / lengths[::10])[:, None]
    assert np.array_equal(shortened[others], states[others])
    assert np.allclose(found, (shortened - shortened.mean(axis=0)) / shortened.std(axis=0), atol=1e-4)
    assert np.allclose(Scaling.of(sinks).apply(sinks), (sinks - sinks.mean(axis=0)) / sinks.std(axis=0), atol=1e-4)
    zeros = np.zeros((9, 8), np.float32)
    zeros[0] = 1
    assert np.array_equal(Scaling.of(zeros, longest=2).apply(zeros), Scaling.of(zeros).apply(zeros))


def test_scaling_leaves_dimensions_that_do_not_vary() -> None:
    rng = np.random.default_rng(5)
    states = (rng.standard_normal((50, 3)) * [1, 10, 0] + [0, 90, 7]).astype(np.float32)
    scaled = Scaling.of(states).apply(states)
    assert np.allclose(scaled.mean(axis=0), 0, atol=1e-5)
    assert np.allclose(scaled.std(axis=0), [1, 1, 0], atol=1e-5)
    assert scaled.dtype == np.float32


def test_sums_are_exact_where_features_are_large_and_a_constant_one_stays_within_bounds() -> None:
    rng = np.random.default_rng(7)
    states = np.stack([30_000 + rng.standard_normal(20_000), np.full(20_000, 0.1), rng.standard_normal(20_000)], axis=1).astype(np.float32)
    scaled = Scaling.of(states).apply(states)
    assert np.abs(scaled.mean(axis=0, dtype=np.float64)).max() < 0.01
    assert np.allclose(scaled.std(axis=0, dtype=np.float64), [1, 0, 1], atol=0.01)
    new = np.array([[30_000, 0.2, 0]], np.float32)
    assert np.abs(Scaling.of(states).apply(new)).max() < 3
