"""The structural probe at a layer: trained on some sentences, chosen by others, measured on a third kind."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from analyzers.probes.scaling import Scaling
from analyzers.probes.tree_measures import TreeScores, tree_scores
from analyzers.probes.trees import Forest, spanning_edges
from evals.probes.results import Metrics
from evals.probes.tree_material import Split
from evals.probes.tree_scores import metrics

if TYPE_CHECKING:
    from analyzers.probes.structural import StructuralProbe

LONGEST = 2.0
"""Lengths of the median state that no state may exceed."""
States = npt.NDArray[np.float32]
"""[word of the forest, width] of one layer."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """The probes of one layer."""

    layer: int
    distance: "StructuralProbe"
    depth: "StructuralProbe"
    held_out: TreeScores
    """Of the held-out sentences, in their order."""
    test: TreeScores
    metrics: Metrics
    """Of the test sentences."""

    @cached_property
    def chosen_by(self) -> float:
        """UUAS of the held-out sentences."""
        return float(self.held_out.correct.sum() / max(self.held_out.edges.sum(), 1))


@dataclass(frozen=True)
class Predicted:
    """The tree of one sentence as probes have it; numbers of words from 0."""

    edges: set[tuple[int, int]]
    """Without direction, the smaller number first."""
    root: int


def fit_layer(layer: int, states: States, forest: Forest, split: Split, *, rank: int, seed: int) -> Fitted:
    """Train a distance and a depth probe."""
    from analyzers.probes.structural import train_probe

    scaled = standardised(states, forest, split)
    distance, depth = (
        train_probe(kind, scaled, forest, split.train, split.held_out, rank=rank, seed=seed) for kind in ("distance", "depth")
    )
    held_out, test = (_measured(distance, depth, scaled, forest, some) for some in (split.held_out, split.test))
    return Fitted(layer, distance, depth, held_out, test, metrics(test, seed=seed))


def random_projection(states: States, forest: Forest, split: Split, *, rank: int, seed: int) -> TreeScores:
    """Of the test sentences, with a random map of that rank in place of both probes."""
    from analyzers.probes.structural import random_probe

    probe = random_probe(states.shape[1], rank, seed=seed)
    return _measured(probe, probe, standardised(states, forest, split), forest, split.test)


def predicted_trees(fitted: Fitted, states: States, forest: Forest, split: Split) -> Iterator[Predicted]:
    """Of every test sentence, by probes of the layer whose states these are."""
    scaled = standardised(states, forest, split)
    distances = fitted.distance.distances(scaled, forest, split.test)
    depths = fitted.depth.depths(scaled, forest, split.test)
    for sentence, far, deep in zip(split.test.tolist(), distances, depths, strict=True):
        words = np.flatnonzero(forest.keep[forest.words(sentence)])
        yield Predicted(spanning_edges(far, forest.keep[forest.words(sentence)]), int(words[np.argmin(deep[words])]))


def standardised(states: States, forest: Forest, split: Split) -> States:
    """By the words of the sentences that are trained on, held-out ones not among them."""
    trained = np.zeros(len(states), np.bool_)
    for sentence in split.train.tolist():
        trained[forest.words(sentence)] = True
    return Scaling.of(states[trained], longest=LONGEST).apply(states)


def best_of(fitted: Sequence[Fitted]) -> Fitted:
    """The one with the highest UUAS on held-out sentences; of equal ones the first."""
    return max(fitted, key=lambda one: one.chosen_by)


def _measured(
    distance: "StructuralProbe", depth: "StructuralProbe", states: States, forest: Forest, sentences: npt.NDArray[np.intp]
) -> TreeScores:
    return tree_scores(forest, sentences, distance.distances(states, forest, sentences), depth.depths(states, forest, sentences))
