"""Probes a model for where or when entities are, by the model's name."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from analyzers.errors import ExplicateError, SubjectError
from analyzers.progress import Report, quiet
from evals.probes.place_metrics import MAIN, Truth, ranked
from evals.probes.place_probe import Material, Measured, hold_out, measure
from evals.probes.place_results import HeldOut, PlaceNeuron, PlacePoint, PlaceProbed
from evals.probes.place_split import group_folds, split
from evals.probes.place_table import SAMPLE, Entities, Entity, read_entities
from evals.results import Failure
from evals.scores import Floats

if TYPE_CHECKING:
    from analyzers.states.pieces import Piece
    from analyzers.text_model import TextModel

NAME = "{name}"
NEURONS = 5
"""Told of each target."""
SPLITS = ("auto", "drawn")


@dataclass(frozen=True)
class PlaceConfig:
    """All that decides the figures, but for the model's weights."""

    model: str
    csv: Path | None = None
    """None: the cities that are built in."""
    target: tuple[str, ...] = ()
    name: str = "name"
    template: str = NAME
    split: str = "auto"
    """auto: by a column is_test where there is one; drawn: never."""
    hold_out: str | None = None
    folds: int | None = None
    limit: int = 5000
    """Entities that are drawn; 0: all."""
    mlp: bool = False
    seed: int = 0
    dtype: str = "auto"
    device: str = "auto"

    def check(self) -> None:
        """Raises ExplicateError for a template without its one place for a name, a split that does not exist and folds of nothing."""
        if self.template.count(NAME) != 1:
            raise ExplicateError(f'--template {self.template!r} must say once where the name stands, as in "Where is {NAME}"')
        if self.split not in SPLITS:
            raise ExplicateError(f"--split {self.split!r} is none of {', '.join(SPLITS)}")
        if self.folds is not None and self.hold_out is None:
            raise ExplicateError("--folds are of held-out groups; name their column by --hold-out")


def run_place(config: PlaceConfig, *, report: Report = quiet) -> PlaceProbed:
    """Read the entities' states, train and measure. Raises ExplicateError for what the user can mend."""
    from analyzers.states.reading import random_init, read_states
    from analyzers.text_model import TextModel

    config.check()
    table = _table(config)
    drawn = _drawn(table.entities, config.limit, config.seed)
    # What is too small or cannot be held out is told before a model is fetched and loaded.
    split([entity.test for entity in drawn], config.seed)
    if config.hold_out is not None:
        group_folds([entity.group for entity in drawn], config.folds, config.seed)
    model = TextModel.load(config.model, dtype=config.dtype, device=config.device, report=report)
    pieces = [_piece(config.template, entity.name) for entity in drawn]
    states = read_states(model, pieces, pool="last", report=report)
    fresh = read_states(random_init(model, config.seed), pieces, pool="last", report=report)
    read = [drawn[number] for number in states.rows]
    read_pieces = [pieces[number] for number in states.rows]
    material = Material(
        states=states,
        fresh=fresh,
        tokens=[model.read(piece.text).ids for piece in read_pieces],
        true=np.array([entity.target for entity in read], np.float64),
        columns=table.target,
        split=split([entity.test for entity in read], config.seed),
        seed=config.seed,
        report=report,
    )
    found = measure(material, mlp=config.mlp)
    held = None
    if config.hold_out is not None:
        groups = [entity.group for entity in read]
        folds = group_folds(groups, config.folds, config.seed)
        held = hold_out(material, groups, folds, column=config.hold_out, best=found.best, fresh_best=found.fresh_best)
    tested = [read_pieces[number] for number in material.split.test]
    return _told(config, table, model.identity, read, material, found, held, states.left_out, _neurons(model, tested, material, found))


def _table(config: PlaceConfig) -> Entities:
    path = config.csv or SAMPLE
    read = read_entities(path, target=config.target, name=config.name, group=config.hold_out, drawn=config.split == "drawn")
    for axis, column in enumerate(read.target):
        if len({entity.target[axis] for entity in read.entities}) == 1:
            raise ExplicateError(f"{str(path)!r}: the column {column!r} has one value for all entities; name another --target")
    return read


def _drawn(entities: Sequence[Entity], limit: int, seed: int) -> list[Entity]:
    """At most so many of them, in their order."""
    if not limit or len(entities) <= limit:
        return list(entities)
    chosen = np.random.default_rng([seed, 0]).permutation(len(entities))[:limit]
    return [entities[number] for number in np.sort(chosen)]


def _piece(template: str, name: str) -> "Piece":
    from analyzers.states.pieces import Piece

    at = template.index(NAME)
    return Piece(template.replace(NAME, name, 1), ((at, at + len(name)),))


def _neurons(model: "TextModel", pieces: Sequence["Piece"], material: Material, found: Measured) -> dict[str, list[PlaceNeuron] | Failure]:
    """Of each target the neurons that are most aligned with the best layer's probe, and how they rank the test entities."""
    from analyzers.probes.aligned import most_aligned, neuron_states

    try:
        aligned = most_aligned(model, found.probe.weights, NEURONS)
        by_chance = most_aligned(model, found.by_chance.weights)
        wanted = sorted({(each.layer, each.number) for some in aligned for each in some})
        shown = neuron_states(model, pieces, wanted, report=material.report)
    except (SubjectError, ValueError) as error:
        return {column: Failure(stage="neurons", reason=str(error)) for column in material.columns}
    test = Truth.of(material.true[material.split.test], material.columns)
    return {
        column: [
            PlaceNeuron(
                site=f"L{each.layer}.mlp.{each.number}",
                side=each.side,
                weights=each.weights,
                cosine=each.cosine,
                by_chance=abs(by_chance[axis][0].cosine),
                spearman=ranked(test, axis, shown[:, wanted.index((each.layer, each.number))], seed=material.seed),
            )
            for each in aligned[axis]
        ]
        for axis, column in enumerate(material.columns)
    }


def _told(
    config: PlaceConfig,
    table: Entities,
    identity: dict[str, str],
    read: Sequence[Entity],
    material: Material,
    found: Measured,
    held: HeldOut | None,
    unreadable: int,
    neurons: dict[str, list[PlaceNeuron] | Failure],
) -> PlaceProbed:
    parts = material.split
    return PlaceProbed(
        model=identity,
        task=", ".join(table.target),
        source=table.source,
        seed=config.seed,
        items={
            "train": len(parts.train),
            "choose": len(parts.choose),
            "test": len(parts.test),
            "not_drawn": len(table.entities) - len(read) - unreadable,
            "unreadable": unreadable,
            **table.left_out,
        },
        unit="entities",
        pool="last",
        main=MAIN,
        best=found.best,
        layers=found.layers,
        baselines=found.baselines,
        lifts=found.lifts,
        curves=found.curves,
        figures=found.figures,
        notes=_notes(config, table, read, held),
        target=list(table.target),
        template=config.template,
        alphas={str(layer): alpha for layer, alpha in found.alphas.items()},
        points=_points(read, material, found.predicted),
        neurons=neurons,
        held_out=held,
    )


def _points(read: Sequence[Entity], material: Material, predicted: Floats) -> list[PlacePoint]:
    test = material.split.test
    errors = Truth.of(material.true[test], material.columns).errors(predicted)
    return [
        PlacePoint(
            name=read[number].name, true=list(read[number].target), predicted=row.tolist(), error=float(error), group=read[number].group
        )
        for number, row, error in zip(test, predicted, errors, strict=True)
    ]


def _notes(config: PlaceConfig, table: Entities, read: Sequence[Entity], held: HeldOut | None) -> list[str]:
    notes = []
    if config.csv is None:
        notes.append("The cities that are built in are few and well known: give a larger file by --csv for figures that mean something.")
    if read[0].test is not None:
        notes.append("The file's column is_test says which entities test.")
    notes.append("bag_of_tokens is ridge on how often each token stands in an entity's text: what spelling alone gives away.")
    if held is None:
        notes.append("Entities of one country share cues: --hold-out COLUMN tests on groups of which nothing was seen.")
    elif held.unit == "entities":
        notes.append(f"{held.column} has too few groups to say how others would do: intervals of what is held out are over entities.")
    if len(table.target) == 2:
        notes.append("Errors in km are along great circles; R2 takes degrees as they are, so that 179 and -179 are far apart.")
    return notes
