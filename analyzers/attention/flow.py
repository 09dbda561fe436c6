"""Attention flow: the most that can flow from a position of the last layer down to each input token, with attention as capacities.

Source: Abnar & Zuidema 2020, "Quantifying Attention Flow in Transformers" (arXiv 2005.00928). Unlike rollout it does not multiply along a
path, so it hardly fades with depth: often the narrowest place is the first or the last layer, and the flow is what that one lets through.
In a causal model what has gone to an early position never comes back to a later one, so that flow favours the first tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow
from torch import Tensor

from analyzers.attention.rollout import with_residual
from analyzers.errors import SubjectError
from analyzers.progress import Report, quiet

UNIT = 2**30
"""Capacities are whole multiples of 1 / UNIT, rounded down. What leaves a node is at most UNIT then, which 32 bits hold, and a flow is
never above the true one, and below it by less than 1 / UNIT for each edge of a smallest cut."""


def flow(weights: Tensor, queries: Sequence[int], report: Report = quiet) -> NDArray[np.float64]:
    """Largest flow from each of the queries at the last layer to each token of the input: [query of `queries`, key], 0 to 1.

    weights [layer, head, query, key]. Node (l, i) is position i after layer l, the edge (l, i) -> (l-1, j) carries at most A'_l[i, j],
    the attention with the residual stream of `rollout.with_residual`. 0 where no path leads. Raises SubjectError for a query that is
    no position, ValueError for rows of weights that do not sum to 1.
    """
    network = _Network.of(weights)
    for query in queries:
        network.check(query)
    joined = network.below[0].T[list(queries)]
    values = np.zeros(joined.shape)
    pairs = np.argwhere(joined)
    for done, (row, key) in enumerate(pairs):
        report("attention flow", done, len(pairs))
        values[row, key] = network.largest_flow(queries[row], key).flow_value / UNIT
    report("attention flow", len(pairs), len(pairs))
    return values


def carried(weights: Tensor, query: int, key: int) -> NDArray[np.float64]:
    """What each edge carries in one largest flow from the query to the key: [layer, query, key].

    Other flows may be as large. Raises as `flow` does.
    """
    network = _Network.of(weights)
    for position in (query, key):
        network.check(position)
    edges = network.largest_flow(query, key).flow.tocoo()
    forward = edges.data > 0
    layer, above = np.divmod(edges.row[forward], network.tokens)
    carries = np.zeros(network.capacities.shape)
    carries[layer - 1, above, edges.col[forward] % network.tokens] = edges.data[forward] / UNIT
    return carries


@dataclass(frozen=True, eq=False)
class _Network:
    """The graph of all layers; its nodes are numbered layer * tokens + position, with the input as layer 0."""

    capacities: NDArray[np.int32]
    """[layer, query, key]"""
    below: NDArray[np.bool_]
    """[0 to layers, position, query] whether a path leads from the query at the last layer to the node."""
    above: NDArray[np.bool_]
    """[0 to layers, position, key] whether a path leads from the node to the key of the input."""

    @classmethod
    def of(cls, weights: Tensor) -> "_Network":
        capacities = np.floor(with_residual(weights).numpy() * UNIT).astype(np.int32)
        # Of floats, because products of booleans and of integers are slow.
        open_edges = (capacities > 0).astype(np.float32)
        identity = np.eye(capacities.shape[-1], dtype=np.bool_)
        below, above = [identity], [identity]
        for edges in open_edges:
            above.append(edges @ above[-1] > 0)
        for edges in open_edges[::-1]:
            below.append(edges.T @ below[-1] > 0)
        return cls(capacities, np.stack(below[::-1]), np.stack(above))

    @property
    def tokens(self) -> int:
        return int(self.capacities.shape[-1])

    def check(self, position: int) -> None:
        if not 0 <= position < self.tokens:
            raise SubjectError(f"position {position} is no token of the text, which has {self.tokens}; give 0 to {self.tokens - 1}")

    def largest_flow(self, query: int, key: int) -> Any:
        """scipy's MaximumFlowResult, in units, over the edges that lie on a path from the query to the key."""
        useful = (self.capacities > 0) & self.below[1:, :, query, None] & self.above[:-1, None, :, key]
        layer, start, end = useful.nonzero()
        edges = ((layer + 1) * self.tokens + start, layer * self.tokens + end)
        nodes = (len(self.capacities) + 1) * self.tokens
        graph = csr_array((self.capacities[useful], edges), shape=(nodes, nodes))
        return maximum_flow(graph, len(self.capacities) * self.tokens + query, key, method="dinic")
