"""Views of states: against second implementations, with planted directions, and with nothing to be seen."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.manifold import trustworthiness

from analyzers.probes.planes import (
    FEWEST,
    Kept,
    Space,
    kept,
    label_plane,
    neighbour_embedding,
    neighbours_of,
    number_plane,
    principal,
    random_plane,
)

Floats = npt.NDArray[np.float64]


def noise(rows: int, width: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).standard_normal((rows, width))


def by_distance(rows: Floats, row: int) -> list[int]:
    """The other rows, the nearest first."""
    others = [other for other in range(len(rows)) if other != row]
    return sorted(others, key=lambda other: float(np.linalg.norm(rows[row] - rows[other])))


def keeps(rows: Floats, points: Floats) -> Kept:
    """What a view keeps of the rows."""
    return kept(Space.of(rows), Space.of(points))


def agreement(points: Floats, labels: npt.NDArray[np.int64]) -> float:
    """Share of the nearest points with the same label."""
    return float((labels[Space.of(points).near] == labels[:, None]).mean())


@settings(max_examples=25, deadline=None)
@given(st.integers(8, 60), st.integers(2, 9), st.integers(0, 2**31))
def test_trustworthiness_is_that_of_scikit_learn_and_neighbours_are_counted(count: int, width: int, seed: int) -> None:
    rows = noise(count, width, seed)
    points = random_plane(rows, seed)
    k = neighbours_of(count)
    found = keeps(rows, points)
    assert found.trustworthiness.mean() == pytest.approx(trustworthiness(rows, points, n_neighbors=k))
    for row in range(count):
        near = [set(by_distance(of, row)[:k]) for of in (rows, points)]
        assert found.neighbours[row] == pytest.approx(len(near[0] & near[1]) / k)


def test_a_view_of_the_states_themselves_keeps_all() -> None:
    rows = noise(40, 2)
    assert (keeps(rows, 3 * rows + 1).trustworthiness == 1).all()
    assert (keeps(rows, rows).neighbours == 1).all()


def test_words_that_are_the_same_point_are_no_loss() -> None:
    # Six words ten times each, as at layer 0: whichever of a word's places are nearest, they are the nearest ones.
    rows = np.repeat(noise(6, 20), 12, axis=0)
    points = rows[:, :2] + 1e-12 * noise(72, 2)
    found = keeps(rows, points)
    assert found.neighbours.mean() == 1
    assert found.trustworthiness.mean() == 1


def test_points_at_random_keep_what_chance_keeps() -> None:
    found = keeps(noise(300, 40), noise(300, 2, 1))
    assert found.trustworthiness.mean() == pytest.approx(0.5, abs=0.03)
    assert found.neighbours.mean() == pytest.approx(10 / 299, abs=0.02)


def test_principal_components_are_those_of_the_singular_values() -> None:
    rows = noise(50, 6) * np.array([5, 3, 1, 1, 1, 1]) + 7
    centred = rows - rows.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    found = principal(rows)
    assert found.explained == pytest.approx(tuple(sizes[:2] ** 2 / (sizes**2).sum()))
    for axis in range(2):
        expected = left[:, axis] * sizes[axis]
        assert np.abs(found.points[:, axis]) == pytest.approx(np.abs(expected))


def test_a_random_plane_is_a_projection() -> None:
    rows = noise(30, 12)
    points = random_plane(rows, 3)
    assert (points == random_plane(rows, 3)).all()
    assert not np.allclose(points, random_plane(rows, 4))
    assert (np.linalg.norm(points, axis=1) <= np.linalg.norm(rows, axis=1) + 1e-9).all()
    assert np.linalg.norm(random_plane(np.eye(12), 3), axis=0) == pytest.approx([1, 1])


def planted(rows: int, seed: int) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Three labels along two of 60 directions, much smaller than the noise in some others."""
    labels = np.random.default_rng(seed).integers(0, 3, rows)
    states = noise(rows, 60, seed + 1)
    states[:, 10:14] *= 30
    states[:, :2] += 6 * np.array([[0, 0], [1, 0], [0, 1]])[labels]
    return states, labels


def test_planted_labels_are_seen_in_the_plane_and_not_in_principal_components() -> None:
    (fitted, labels), (shown, others) = planted(200, 0), planted(150, 10)
    points = label_plane(fitted, labels, shown)
    assert agreement(points, others) > 0.95
    assert agreement(principal(shown).points, others) < 0.5


def test_of_noise_nothing_is_seen_in_rows_that_had_no_part_in_the_plane() -> None:
    labels, others = (np.random.default_rng(seed).integers(0, 3, 150) for seed in (0, 1))
    fitted, shown = noise(150, 600, 2), noise(150, 600, 3)
    assert agreement(label_plane(fitted, labels, shown), others) == pytest.approx(1 / 3, abs=0.06)
    # This is why they had none: those that had are told apart well.
    assert agreement(label_plane(fitted, labels, fitted), labels) > 0.6


def test_with_two_labels_the_second_axis_lies_across_the_first() -> None:
    (fitted, labels), (shown, others) = planted(200, 0), planted(150, 10)
    points = label_plane(fitted, np.minimum(labels, 1), shown)
    assert points.shape == (150, 2)
    means = [points[np.minimum(others, 1) == label, 0].mean() for label in (0, 1)]
    assert abs(means[0] - means[1]) > 2 * points[others == 0, 0].std()
    # Across it the four large directions are left, of which it shows the largest.
    assert points[:, 1].std() == pytest.approx(30, rel=0.3)


def test_labels_of_too_few_rows_have_no_part() -> None:
    (fitted, labels), (shown, _) = planted(60, 0), planted(20, 1)
    labels = labels.copy()
    labels[:2] = 9
    rest = labels != 9
    assert np.abs(label_plane(fitted, labels, shown)) == pytest.approx(np.abs(label_plane(fitted[rest], labels[rest], shown)))
    with pytest.raises(ValueError, match="it needs two"):
        label_plane(fitted, np.zeros(60, np.int64), shown)


def test_planted_numbers_are_told_in_their_units() -> None:
    states = noise(300, 30)
    numbers = states[:, :2] * np.array([20, 50]) + np.array([10, -40])
    points = number_plane(states[:200], numbers[:200], states[200:])
    assert points == pytest.approx(numbers[200:], abs=5)
    one = number_plane(states[:200], numbers[:200, :1], states[200:])
    assert one[:, 0] == pytest.approx(numbers[200:, 0], abs=3)
    assert abs(np.corrcoef(one.T)[0, 1]) < 0.35


def test_the_neighbour_embedding_keeps_groups_and_is_the_same_each_time() -> None:
    rows = noise(45, 20) + 12 * np.eye(20)[np.repeat([0, 1, 2], 15)]
    points = neighbour_embedding(rows, 0)
    assert agreement(points, np.repeat([0, 1, 2], 15)) > 0.99
    assert (points == neighbour_embedding(rows, 0)).all()
    assert keeps(rows, points).neighbours.mean() > keeps(rows, random_plane(rows, 0)).neighbours.mean()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: principal(np.ones((5, 3))), "the same"),
        (lambda: neighbour_embedding(np.ones((20, 3)), 0), "the same"),
        (lambda: neighbour_embedding(noise(FEWEST - 1, 3), 0), "no picture"),
        (lambda: keeps(noise(3, 3), noise(3, 2)), "no neighbours"),
    ],
)
def test_what_is_no_picture_is_refused(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


def test_states_of_one_dimension_have_a_plane() -> None:
    rows = noise(20, 1)
    assert principal(rows).points.shape == (20, 2)
    assert random_plane(rows, 0).shape == (20, 2)
    assert neighbour_embedding(rows, 0).shape == (20, 2)
