"""Writes a fact into one MLP of a model by a change of rank one, or of one for each kind of place where its subject stands.

With the same keys in numerator and denominator, as Gupta et al. 2024 (rebuilding ROME) showed that it must be, lest a model collapse
after a few edits. Source: Meng et al. 2022, equation 2.
"""

import torch
from torch import Tensor

from analyzers.editing.covariance import against
from analyzers.editing.deltas import Delta

ALIKE = 1e-6
"""Share of the largest below which what tells keys apart is nothing."""


def rank_one(covariance: Tensor, key: Tensor, value: Tensor, gives: Tensor) -> Delta:
    """The change after which the layer gives `value` [output] for `key` [input], where it gave `gives` [output].

    covariance [input, input] of the keys that are to be disturbed least.
    """
    return constrained(covariance, key[:, None], value[:, None], gives[:, None])


def constrained(covariance: Tensor, keys: Tensor, values: Tensor, gives: Tensor) -> Delta:
    """As `rank_one` for several keys [input, key] at once: values, gives [output, key]. Of rank one for one key.

    Equation 2 with several constraints in place of one: (V - W K) (K^T C^-1 K)^-1 K^T C^-1. Keys that are the same count once.
    """
    directions = against(covariance, keys)
    inner: Tensor = torch.linalg.pinv(keys.T.double() @ directions.double(), hermitian=True, rtol=ALIKE)
    return Delta((values - gives) @ inner.float(), directions)
