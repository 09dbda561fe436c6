"""Syntax trees: how many edges of the test sentences' trees a structural probe of distances finds (UUAS), at one depth."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analyzers.errors import Failed
from analyzers.probes.tree_measures import chain_scores
from analyzers.probes.trees import spanning_edges
from analyzers.progress import Report
from evals.growing.tally import Tallies, Tally
from evals.growing.treebank_material import Treebank
from evals.probes.tree import standardised

if TYPE_CHECKING:
    from analyzers.text_model import TextModel

RANK = 64
"""Rows of the map, or the width of the states where they are narrower."""
FEW = 2000
"""Sentences to train on below which it is told that they are few; the published probe has some 40,000."""


@dataclass(frozen=True, eq=False)
class Tree:
    """See above."""

    treebank: Treebank
    name: str = "tree"
    needs_decoder: bool = False

    @property
    def files(self) -> tuple[Path, ...]:
        """The treebank's."""
        return self.treebank.files

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the figures."""
        return {**self.treebank.identity, "depth": self.treebank.config.depth, "rank": RANK}

    @property
    def items(self) -> dict[str, int]:
        """How many by what was done with them."""
        return {f"{name}_sentences": count for name, count in self.treebank.items.items()}

    @property
    def notes(self) -> list[str]:
        """How it was measured."""
        train = self.treebank.material.train
        told = (
            f"tree: UUAS of a structural probe of distances of rank {RANK} at most, trained anew at every checkpoint on {train:,} "
            f"sentences, at {self.treebank.config.depth:g} of the depth; a chain of neighbours is what it is read against"
        )
        few = "tree: few sentences train it, from which it finds less the more else the states tell: a fall may be that (--limit for more)"
        return [told, few] if train < FEW else [told]

    def measure(self, model: "TextModel", report: Report) -> Tallies | Failed:
        """`tree`."""
        from analyzers.probes.structural import train_probe

        read = self.treebank.read(model, report)
        forest, split = read.ready.forest, read.ready.split
        states = standardised(read.states.layer(self.treebank.config.layer_of(model.layers))[read.ready.rows], forest, split)
        report("train a structural probe", 0, 1)
        probe = train_probe(
            "distance", states, forest, split.train, split.held_out, rank=min(RANK, states.shape[1]), seed=self.treebank.config.seed
        )
        report("train a structural probe", 1, 1)
        of, among = np.zeros(len(self.treebank.tests)), np.zeros(len(self.treebank.tests))
        predicted = probe.distances(states, forest, split.test)
        for place, sentence, far in zip(read.tests, split.test.tolist(), predicted, strict=True):
            gold = forest.edges_of(sentence)
            among[place] = len(gold)
            of[place] = len(gold & spanning_edges(far, forest.keep[forest.words(sentence)]))
        if not among.any():
            return Failed("probe", "no test sentence has two words that are not punctuation")
        chain = chain_scores(forest, split.test)
        chance = float(chain.correct.sum() / chain.edges.sum())
        return {"tree": Tally(of, among, "sentences", "edges", chance=chance, against="each word tied to the next one")}
