"""Writes a fact into one MLP of a model by a change of rank one.

With the same averaged key in numerator and denominator, as Gupta et al. 2024 (rebuilding ROME) showed that it must be, lest a model
collapse after a few edits. Source: Meng et al. 2022, equation 2.
"""

from torch import Tensor

from analyzers.editing.covariance import against
from analyzers.editing.deltas import Delta


def rank_one(covariance: Tensor, key: Tensor, value: Tensor, gives: Tensor) -> Delta:
    """The change after which the layer gives `value` [output] for `key` [input], where it gave `gives` [output].

    covariance [input, input] of the keys that are to be disturbed least.
    """
    direction = against(covariance, key)
    return Delta(((value - gives) / (direction @ key))[:, None], direction[:, None])
