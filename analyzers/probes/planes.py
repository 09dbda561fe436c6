"""Two-dimensional views of hidden states, and how much of who is near whom each of them keeps.

Directions that are fitted to labels or numbers are fitted to other rows than those that are shown: in a space with hundreds of dimensions
there always is a plane in which the rows that it was fitted to fall apart by their labels, whatever these are.

Sources: van der Maaten & Hinton 2008 (t-SNE), Venna & Kaski 2001 (trustworthiness).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analyzers.probes.ridge import Floats, Rows, fit_ridge

COMPONENTS = 50
"""Principal components that the neighbour embedding is made of, as is usual."""
PERPLEXITY = 30.0
FEWEST = 10
"""Rows below which a neighbour embedding is no picture of anything."""
FEWEST_OF_CLASS = 3
"""Rows of a label below which directions are not fitted to it."""
_TIE = 1e-9
"""Share of the largest distance within which two are the same: at layer 0 a word is the same point wherever it stands."""


@dataclass(frozen=True, eq=False)
class Components:
    """The plane of the two leading principal components."""

    points: Floats
    """[row, 2]"""
    explained: tuple[float, float]
    """Shares of the variance, of each."""


@dataclass(frozen=True, eq=False)
class Space:
    """How rows lie to one another, by Euclidean distance."""

    distances: Floats
    """[row, other]"""
    near: npt.NDArray[np.intp]
    """[row, neighbour] the `neighbours_of` nearest of each, itself left out."""

    @classmethod
    def of(cls, rows: Floats) -> "Space":
        """Of rows [row, feature]."""
        from scipy.spatial.distance import cdist

        distances: Floats = cdist(rows, rows)
        others = distances.copy()
        np.fill_diagonal(others, np.inf)
        return cls(distances, np.argsort(others, axis=1, kind="stable")[:, : neighbours_of(len(rows))])


@dataclass(frozen=True, eq=False)
class Kept:
    """Of each row what a view keeps of its nearest rows."""

    trustworthiness: Floats
    """[row] 1 where all that are near in the view are near in the states, less the farther they are there; about .5 by chance."""
    neighbours: Floats
    """[row] share of its nearest rows that are among the nearest in the view."""


def principal(rows: Floats) -> Components:
    """The plane in which the rows [row, feature] vary most. Raises ValueError for rows that do not vary."""
    from sklearn.decomposition import PCA

    _check_varies(rows)
    found = PCA(2, svd_solver="full").fit(_wide(rows))
    first, second = (float(share) for share in found.explained_variance_ratio_)
    return Components(np.asarray(found.transform(_wide(rows)), np.float64), (first, second))


def label_plane(fitted: Floats, labels: npt.NDArray[np.integer], rows: Floats) -> Floats:
    """[row, 2] rows in the plane of the two leading discriminant directions of labels [fitted row], with a covariance that is shrunk.

    With two labels there is one such direction; the second axis is then the direction across it in which the rows vary most. Labels with
    fewer than FEWEST_OF_CLASS rows have no part in it. Raises ValueError where fewer than two labels are left.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    values, counts = np.unique(labels, return_counts=True)
    frequent = values[counts >= FEWEST_OF_CLASS]
    if len(frequent) < 2:
        raise ValueError(f"{len(frequent)} labels have {FEWEST_OF_CLASS} rows or more to fit directions to; it needs two")
    kept = np.isin(labels, frequent)
    found = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto").fit(fitted[kept], labels[kept])
    directions = np.asarray(found.scalings_, np.float64)[:, : min(2, len(frequent) - 1)]
    if directions.shape[1] == 2:
        return rows @ directions
    return _with_across(rows, rows @ directions[:, 0], directions[:, 0])


def number_plane(fitted: Floats, numbers: Rows, rows: Floats) -> Floats:
    """[row, 2] rows on the ridge directions of one or two numbers [fitted row, number], in their units: what the probe says of each.

    With one number the second axis is the direction across it in which the rows vary most. Raises ValueError as fit_ridge does.
    """
    found = fit_ridge(fitted, numbers)
    told = found.predict(rows)
    return told if told.shape[1] == 2 else _with_across(rows, told[:, 0], found.weights[0])


def neighbour_embedding(rows: Floats, seed: int) -> Floats:
    """[row, 2] rows where near ones stay near (t-SNE), and nothing else: distances between groups, their sizes and the space between them
    mean nothing. Raises ValueError for fewer than FEWEST rows."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if len(rows) < FEWEST:
        raise ValueError(f"{len(rows)} rows are no picture; it needs {FEWEST}")
    _check_varies(rows)
    few = PCA(min(COMPONENTS, *rows.shape), svd_solver="full").fit_transform(rows)
    perplexity = min(PERPLEXITY, (len(rows) - 1) / 3)
    found: Floats = np.asarray(
        TSNE(perplexity=perplexity, init="pca", learning_rate="auto", random_state=seed).fit_transform(_wide(few)), np.float64
    )
    return found


def random_plane(rows: Floats, seed: int) -> Floats:
    """[row, 2] rows in a plane drawn at random: what any view of so many rows keeps."""
    directions = np.linalg.qr(np.random.default_rng(seed).standard_normal((_wide(rows).shape[1], 2)))[0]
    found: Floats = _wide(rows) @ directions
    return found


def neighbours_of(count: int) -> int:
    """How many nearest rows are looked at among so many: 10, or fewer than half."""
    return min(10, (count - 1) // 2)


def kept(states: Space, view: Space) -> Kept:
    """What a view keeps of the nearest of each row among the states.

    The mean of `trustworthiness` is scikit-learn's, but that rows that lie equally far have the same rank. Raises ValueError for fewer than
    four rows.
    """
    count = len(states.distances)
    k = neighbours_of(count)
    if k < 1 or count < 4:
        raise ValueError(f"{count} rows have no neighbours to speak of; it needs four")
    worst = k * (2 * count - 3 * k - 1) / 2
    trusted, shared = np.empty(count), np.empty(count)
    for row in range(count):
        distances = states.distances[row]
        others = np.sort(np.delete(distances, row))
        ranks = 1 + np.searchsorted(others, distances[view.near[row]] - _TIE * others[-1], side="left")
        trusted[row] = 1 - np.maximum(ranks - k, 0).sum() / worst
        shared[row] = np.mean(ranks <= k)
    return Kept(trusted, shared)


def _check_varies(rows: Floats) -> None:
    if not np.ptp(rows, axis=0).any():
        raise ValueError("all rows are the same")


def _with_across(rows: Floats, along: Floats, direction: Floats) -> Floats:
    unit = direction / np.linalg.norm(direction)
    return np.stack([along, principal(rows - np.outer(rows @ unit, unit)).points[:, 0]], axis=1)


def _wide(rows: Floats) -> Floats:
    """With a second feature where there is only one."""
    return rows if rows.shape[1] > 1 else np.concatenate([rows, np.zeros_like(rows)], axis=1)
