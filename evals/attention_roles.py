"""What each head is found to do: its largest share, where that is surely a large one."""

from collections.abc import Mapping
from itertools import product

import numpy as np

from analyzers.attention import Role
from analyzers.errors import Failed
from evals.attention import HeadRoles, RoleScore
from evals.scores import Floats, Statistic
from evals.statistics import bootstrap

LEAST = 0.3
"""Share of its attention that a head gives at least to the places of its role."""


def head_roles(shares: Mapping[Role, Floats], chance: Mapping[Role, float], seed: int = 0) -> list[HeadRoles]:
    """Every head, layer by layer, with its role and the scores of all roles, from shares [sequence, layer, head] of each role.

    All heads and roles are resampled with the same draws of sequences. Raises ValueError for fewer than two sequences.
    """
    scores = {role: _scores(values, chance[role], seed) for role, values in shares.items()}
    _, layers, heads = next(iter(shares.values())).shape
    found = []
    for layer, head in product(range(layers), range(heads)):
        own = {role: of[layer, head] for role, of in scores.items()}
        found.append(HeadRoles(layer=layer, head=head, role=chosen(own), scores=own))
    return found


def chosen(scores: Mapping[Role, RoleScore]) -> Role | None:
    """The role with the largest score, if the whole interval of that lies above LEAST."""
    role = max(scores, key=lambda role: scores[role].value)
    return role if scores[role].low > LEAST else None


def _scores(values: Floats, chance: float, seed: int) -> dict[tuple[int, int], RoleScore]:
    """Of one role, by layer and head."""
    sequences, layers, heads = values.shape
    at = {f"L{layer}.attn.{head}": (layer, head) for layer, head in product(range(layers), range(heads))}
    means = {name: _mean(values[:, layer, head]) for name, (layer, head) in at.items()}
    scores = {}
    for name, value in bootstrap(means, sequences, n=sequences, seed=seed).items():
        if isinstance(value, Failed):
            raise ValueError(value.reason)
        scores[at[name]] = RoleScore(**value.model_dump(), chance=chance)
    return scores


def _mean(values: Floats) -> Statistic:
    return lambda weights: np.ma.masked_array(weights @ values / weights.sum(axis=1))
