"""Parts of speech: how many of the test sentences' words a logistic probe of their states tells, at one depth and at the best layer."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analyzers.errors import Failed
from analyzers.probes.classifiers import Classes
from analyzers.progress import Report
from evals.growing.tally import Floats, Tallies, Tally
from evals.growing.treebank_material import Read, Treebank
from evals.probes.labels_measure import Asked, Rows, best_of, read_layer

if TYPE_CHECKING:
    from analyzers.text_model import TextModel


@dataclass(frozen=True, eq=False)
class Pos:
    """See above."""

    treebank: Treebank
    name: str = "pos"
    needs_decoder: bool = False

    @property
    def files(self) -> tuple[Path, ...]:
        """The treebank's."""
        return self.treebank.files

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the figures."""
        return {**self.treebank.identity, "depth": self.treebank.config.depth, "layers": "spread"}

    @property
    def items(self) -> dict[str, int]:
        """How many by what was done with them."""
        return {f"{name}_sentences": count for name, count in self.treebank.items.items()}

    @property
    def notes(self) -> list[str]:
        """How it was measured."""
        return [
            "pos: a logistic probe of the universal part of speech, trained anew at every checkpoint on "
            f"{self.treebank.material.train:,} sentences, at {self.treebank.config.depth:g} of the depth; best-layer is the best of a few "
            "layers on held-out training sentences, layer0 what enters the first block"
        ]

    def measure(self, model: "TextModel", report: Report) -> Tallies | Failed:
        """`pos`, `pos/best-layer` and `pos/layer0`."""
        read = self.treebank.read(model, report)
        rows, numbers = rows_of(read)
        if rows.classes < 2:
            return Failed("probe", f"all words to train on are {''.join(rows.names) or 'without a part of speech'}; give another treebank")
        fixed = self.treebank.config.layer_of(model.layers)
        # In layers of their own, since states of all layers at once may not fit into memory.
        reads = []
        for done, layer in enumerate(layers := self.treebank.config.layers_of(model.layers)):
            report("probe parts of speech", done, len(layers))
            reads.append(read_layer(layer, read.states.layer(layer)[read.ready.rows][numbers], rows, Asked(seed=self.treebank.config.seed)))
        report("probe parts of speech", len(layers), len(layers))
        by_layer = {each.layer: each.right for each in reads}
        truth = rows.labels[rows.test]
        majority = float((truth == np.bincount(rows.labels[rows.train], minlength=rows.classes).argmax()).mean())
        # A row's place among all test sentences, whatever other checkpoints can read.
        place = np.array(read.tests)[rows.sentence[rows.test] - int(read.ready.split.test[0])]
        shown = {"pos": by_layer[fixed], "pos/best-layer": best_of(reads).right, "pos/layer0": by_layer[0]}
        return {name: self._tally(right.astype(np.float64), place, majority) for name, right in shown.items()}

    def _tally(self, right: Floats, place: Classes, majority: float) -> Tally:
        count = len(self.treebank.tests)
        of, among = (np.bincount(place, each, count).astype(np.float64) for each in (right, np.ones(len(right))))
        return Tally(of, among, "sentences", "words", chance=majority, against="the commonest part of speech")


def rows_of(read: Read) -> tuple[Rows, Classes]:
    """(what is known of every word that has a part of speech and characters of its own, its number in the forest)."""
    sentence, labels, types, numbers, number = [], [], [], [], 0
    for at, each in enumerate(read.ready.sentences):
        shared = Counter(word.span for word in each.words)
        for word in each.words:
            if word.upos and shared[word.span] == 1:
                sentence.append(at)
                labels.append(word.upos)
                types.append(word.form.casefold())
                numbers.append(number)
            number += 1
    split, of = read.ready.split, np.array(sentence, np.intp)
    parts = [np.flatnonzero(np.isin(of, some)) for some in (split.train, split.held_out, split.test)]
    trained = Counter(labels[at] for part in parts[:2] for at in part.tolist())
    names = tuple(name for name, _ in sorted(trained.items(), key=lambda each: (-each[1], each[0])))
    known = {name: at for at, name in enumerate(names)}
    return (
        Rows(np.array([known.get(label, -1) for label in labels], np.int64), names, of, tuple(types), *parts),
        np.array(numbers, np.int64),
    )
