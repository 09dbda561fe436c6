"""A probe of labels at every layer, chosen by held-out rows: what it tells of test rows, and of control labels, and the labels' code."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from analyzers.probes.classifiers import Choice, Classes, Floats, Kind, choose, fit
from analyzers.probes.mdl import online_code
from analyzers.progress import Report, quiet

Indices = npt.NDArray[np.intp]
LayerOf = Callable[[int], npt.NDArray[np.float32]]
"""The states [row, width] of a layer."""


@dataclass(frozen=True, eq=False)
class Rows:
    """What is known of each row of states. A row is a word, or a whole sentence."""

    labels: Classes
    """[row] the number of its label among those that train; -1 for one that is not among them."""
    names: tuple[str, ...]
    """[class]"""
    sentence: Indices
    """[row] the number of its text."""
    types: tuple[str, ...]
    """[row] what a look-up knows it by; empty where there is nothing."""
    fit: Indices
    held_out: Indices
    test: Indices
    """Rows of the three parts, each in ascending order."""

    @property
    def train(self) -> Indices:
        """Rows that train once layer and strength are chosen."""
        return np.sort(np.concatenate([self.fit, self.held_out]))

    @property
    def classes(self) -> int:
        """Labels that train."""
        return len(self.names)

    @property
    def unit(self) -> Indices:
        """[test row] the place of its text among those that test."""
        return np.unique(self.sentence[self.test], return_inverse=True)[1].astype(np.intp)

    def sending(self, seed: int) -> Indices:
        """The rows that train with their texts in random order, as the labels are sent."""
        order = np.random.default_rng([seed, 3]).permutation(int(self.sentence.max()) + 1)
        train = self.train
        return train[np.argsort(order[self.sentence[train]], kind="stable")]


@dataclass(frozen=True, eq=False)
class Read:
    """What the probe of one layer tells."""

    layer: int
    choice: Choice
    """By the held-out rows."""
    predicted: Classes
    """[test row]"""
    right: npt.NDArray[np.bool_]
    """[test row]"""
    control: npt.NDArray[np.bool_] | None = None
    """[test row] whether a probe of control labels tells its row's."""
    bits: Floats | None = None
    """[row that trains, in the order of `sending`] what its label costs to send."""


@dataclass(frozen=True, eq=False)
class Asked:
    """What is measured of each layer."""

    kind: Kind = "logistic"
    control: Classes | None = None
    """[row] control labels."""
    mdl: bool = False
    seed: int = 0


def read_layers(
    layer_of: LayerOf, layers: Sequence[int], rows: Rows, asked: Asked, *, report: Report = quiet, what: str = "probe"
) -> list[Read]:
    """One after the other, so that one layer's states are in memory at a time."""
    found = []
    for done, layer in enumerate(layers):
        report(what, done, len(layers))
        found.append(read_layer(layer, layer_of(layer), rows, asked))
    report(what, len(layers), len(layers))
    return found


def read_layer(layer: int, x: npt.NDArray[np.float32], rows: Rows, asked: Asked) -> Read:
    """The strength is chosen on the held-out rows, then all rows train."""
    choice = chosen(x, rows, rows.labels, asked)
    predicted = predict(x, rows, rows.labels, asked.kind, choice.strength, asked.seed)
    return with_asked(Read(layer, choice, predicted, predicted == rows.labels[rows.test]), x, rows, asked)


def with_asked(read: Read, x: npt.NDArray[np.float32], rows: Rows, asked: Asked) -> Read:
    """With what a probe of control labels tells and the labels' code, as far as they are asked for, by the same states.

    Control labels have a strength of their own: with the task's, which may be too strong to learn words by heart, selectivity would be
    praise for the regularisation.
    """
    seed = asked.seed
    if asked.control is not None:
        strength = chosen(x, rows, asked.control, asked).strength
        right = predict(x, rows, asked.control, asked.kind, strength, seed) == asked.control[rows.test]
        read = replace(read, control=right)
    if asked.mdl:
        order = rows.sending(seed)
        bits = online_code(asked.kind, x[order], rows.labels[order], classes=rows.classes, seed=seed, strength=read.choice.strength)
        read = replace(read, bits=bits)
    return read


def chosen(x: npt.NDArray[np.float32], rows: Rows, labels: Classes, asked: Asked) -> Choice:
    """By the held-out rows, of these labels [row]."""
    fitted, held = rows.fit, rows.held_out
    return choose(asked.kind, x[fitted], labels[fitted], x[held], labels[held], classes=rows.classes, seed=asked.seed)


def predict(x: npt.NDArray[np.float32], rows: Rows, labels: Classes, kind: Kind, strength: float, seed: int) -> Classes:
    """[test row] by a probe of all rows that train with these labels [row]."""
    probe = fit(kind, x[rows.train], labels[rows.train], classes=rows.classes, seed=seed, strength=strength)
    return probe.predict(x[rows.test])


def best_of(reads: Sequence[Read]) -> Read:
    """The one that tells most held-out rows; of equal ones the lowest layer."""
    return max(reads, key=lambda read: (read.choice.accuracy, -read.layer))


def shuffled(rows: Rows, seed: int) -> Classes:
    """[row] the labels, of rows that train exchanged at random."""
    labels = rows.labels.copy()
    labels[rows.train] = np.random.default_rng([seed, 4]).permutation(labels[rows.train])
    return labels
