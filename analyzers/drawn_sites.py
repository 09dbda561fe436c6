"""Sites drawn at random, uniformly from all of a kind on some layers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from analyzers.errors import SubjectError
from analyzers.site_kinds import KINDS
from analyzers.sites import Site

if TYPE_CHECKING:
    from analyzers.subject import Subject


def draw_sites(subject: "Subject", kind: str, layers: Sequence[int], wanted: int, seed: int) -> list[Site]:
    """So many different sites, positive side, in the order of layer and index; layers that have none of the kind are passed over.

    Where every index names a site (random directions), the first `wanted` of each layer are drawn from. Raises SubjectError for more
    than there are, ExplicateError for an unknown kind.
    """
    chosen = KINDS.get(kind)()
    counts = {layer: chosen.count(subject, layer) for layer in layers}
    pool = [(layer, index) for layer, count in counts.items() for index in range(wanted if count is None else count)]
    if wanted > len(pool):
        elsewhere = [str(layer) for layer in range(subject.layers) if not pool and chosen.count(subject, layer)]
        remedy = f"; layers {', '.join(elsewhere)} have some" if elsewhere else f"; {chosen.lack}" if not pool and chosen.lack else ""
        raise SubjectError(f"{wanted} is more than the {len(pool)} {chosen.parts} of these layers of {subject.name}{remedy}")
    drawn = np.random.default_rng(seed).choice(len(pool), size=wanted, replace=False)
    return [Site(layer, index, kind=kind) for layer, index in (pool[position] for position in sorted(drawn))]
