"""How well predicted places or dates fit the true ones, for entities that count any number of times.

A place is (latitude, longitude) in degrees, in this order throughout; see docs/decisions/014-axes-of-place.md. A function of weights
[draw, entity], how often each entity counts, gives a value a draw, masked where it is undefined.
Source: Gurnee & Tegmark 2023, arXiv 2310.02207, section 2.3.
"""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]
Masked: TypeAlias = np.ma.MaskedArray[tuple[Any, ...], np.dtype[np.float64]]

EARTH_KM = 6371.0088
"""Mean radius."""
_TIE = 1e-12
"""Cosines that differ by less are of one distance."""
_ROWS = 1024


def haversine_km(one: Floats, other: Floats) -> Floats:
    """Great-circle distance in km between places [..., 2]; a latitude beyond a pole is the place that one comes to by going on."""
    latitude, longitude = np.moveaxis(np.radians(one), -1, 0)
    latitude_, longitude_ = np.moveaxis(np.radians(other), -1, 0)
    half = np.sin((latitude_ - latitude) / 2) ** 2 + np.cos(latitude) * np.cos(latitude_) * np.sin((longitude_ - longitude) / 2) ** 2
    distance: Floats = 2 * EARTH_KM * np.arcsin(np.sqrt(np.clip(half, 0, 1)))
    return distance


def nearer_places(true: Floats, predicted: Floats) -> Booleans:
    """[i, j] whether the true place of j is nearer to where i is predicted than the true place of i is; places [entity, 2]."""
    here, there = _on_sphere(true), _on_sphere(predicted)
    cosines = there @ here.T
    return np.asarray(cosines > np.diagonal(cosines)[:, None] + _TIE)


def nearer_numbers(true: Floats, predicted: Floats) -> Booleans:
    """As `nearer_places`, for numbers [entity]."""
    apart = np.abs(true[None, :] - predicted[:, None])
    return np.asarray(apart < np.diagonal(apart)[:, None])


def proximity_error(nearer: Booleans, weights: Floats) -> Masked:
    """[draw] mean over entities of the share of the others that are nearer; 0 is best, a prediction that knows nothing gets .5.

    nearer [i, j] as above. Both the entity and those that it is compared with are drawn, and none is compared with itself.
    """
    counts = weights.astype(np.float32)
    total = np.zeros(len(weights))
    for start in range(0, len(nearer), _ROWS):
        rows = nearer[start : start + _ROWS].astype(np.float32)
        total += np.einsum("di,di->d", weights[:, start : start + _ROWS], (counts @ rows.T).astype(np.float64))
    pairs = weights.sum(axis=1) ** 2 - (weights**2).sum(axis=1)
    return np.ma.masked_array(total / np.where(pairs > 0, pairs, 1.0), pairs <= 0)


def r2(true: Floats, predicted: Floats, weights: Floats) -> Masked:
    """[draw, axis] share of the variance around the mean that is explained, of [entity, axis]; below 0 for worse than that mean."""
    size = true.std(axis=0)
    size = np.where(size > 0, size, 1.0)
    y, error = (true - true.mean(axis=0)) / size, (true - predicted) / size
    counted = np.maximum(weights.sum(axis=1), 1)[:, None]
    total = weights @ y**2 - (weights @ y) ** 2 / counted
    defined = total > 1e-9 * counted
    return np.ma.masked_array(1 - (weights @ error**2) / np.where(defined, total, 1.0), ~defined)


def spearman(true: Floats, predicted: Floats, weights: Floats) -> Masked:
    """[draw, axis] correlation of ranks, equal values sharing one, of [entity, axis]."""
    found = [_correlation(_ranks(one, weights), _ranks(other, weights), weights) for one, other in zip(true.T, predicted.T, strict=True)]
    return np.ma.stack(found, axis=1)


def _ranks(values: Floats, weights: Floats) -> Floats:
    """[draw, entity] the middle rank of each entity's value, as a share of all."""
    order = np.argsort(values, kind="stable")
    starts = np.unique(values[order], return_index=True)[1]
    among = np.add.reduceat(weights[:, order], starts, axis=1)
    middle = np.cumsum(among, axis=1) - among / 2
    group = np.repeat(np.arange(len(starts)), np.diff([*starts, len(values)]))
    ranks = np.empty_like(weights)
    ranks[:, order] = middle[:, group]
    shares: Floats = ranks / np.maximum(weights.sum(axis=1), 1)[:, None]
    return shares


def _correlation(one: Floats, other: Floats, weights: Floats) -> Masked:
    counted = np.maximum(weights.sum(axis=1), 1)[:, None]
    one = one - (weights * one).sum(axis=1)[:, None] / counted
    other = other - (weights * other).sum(axis=1)[:, None] / counted
    both, first, second = ((weights * a * b).sum(axis=1) for a, b in ((one, other), (one, one), (other, other)))
    defined = np.minimum(first, second) > 1e-12 * counted[:, 0]
    return np.ma.masked_array(np.clip(both / np.sqrt(np.where(defined, first * second, 1.0)), -1, 1), ~defined)


def _on_sphere(places: Floats) -> Floats:
    """[..., 3] unit vectors of places."""
    latitude, longitude = np.moveaxis(np.radians(places), -1, 0)
    return np.stack([np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)], axis=-1)
