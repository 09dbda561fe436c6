"""Hidden states in the plane, by the model's name: how they lie, and how much of that a picture keeps."""

from collections.abc import Sequence

import numpy as np

from analyzers.errors import ExplicateError
from analyzers.probes.ridge import Floats
from analyzers.progress import Report, quiet
from evals.probes.view_config import ViewConfig
from evals.probes.view_measures import Told, chance_of, viewed_layer
from evals.probes.view_points import FEWEST, Spot, load_spots
from evals.probes.view_results import Point, Viewed

LARGE = 5.0
"""How many times as large states are told of."""


def run_view(config: ViewConfig, *, report: Report = quiet) -> Viewed:
    """The views of all layers that are asked for. Raises ExplicateError for what the user can mend."""
    from analyzers.probes.planes import neighbours_of
    from analyzers.states.reading import read_states
    from analyzers.text_model import TextModel

    # What is misspelt or missing is told before a model is fetched and loaded.
    config.check()
    spots = load_spots(config, report=report)
    model = TextModel.load(config.model, dtype=config.dtype, device=config.device, report=report)
    layers = config.layers_of(model.layers)
    pool = config.pool or ("last" if spots.unit == "texts" else "mean")
    pieces, numbers = spots.pieces()
    states = read_states(model, pieces, pool=pool, layers=layers, report=report)
    # [row] the spot that it is of, and from here on only spots that could be read.
    at = np.asarray(numbers)[states.rows]
    order = np.argsort(at)
    first = [number < len(spots.shown) for number in at[order].tolist()]
    shown, fitted = order[np.asarray(first)], order[~np.asarray(first)]
    every = (*spots.shown, *spots.fitted)
    kept, others = ([every[number] for number in at[rows].tolist()] for rows in (shown, fitted))
    if len(kept) < FEWEST:
        raise ExplicateError(f"{model.name} could read {len(kept)} of the points to show, and fewer than {FEWEST} are no view; give more")
    told = _told(kept, others, spots.labelled)
    found, notes = [], list(spots.notes)
    for layer in layers:
        rows = states.layer(layer).astype(np.float64)
        found.append(viewed_layer(layer, rows[shown], rows[fitted], told, seed=config.seed, report=report))
        notes += _large(layer, rows[shown])
    return Viewed(
        model=model.identity,
        task=spots.task,
        labelled=spots.labelled,
        columns=list(spots.columns),
        source=spots.source,
        seed=config.seed,
        items={"shown": len(kept), "fitted": len(others), "left_out": spots.left_out + states.left_out},
        unit=spots.unit,
        pool=pool,
        neighbours=neighbours_of(len(kept)),
        chance=None if told.labels is None else chance_of(told.labels),
        points=[
            Point(
                text=spot.text[slice(*spot.span)],
                context=spot.context,
                label=spot.label,
                numbers=list(spot.numbers) or None,
            )
            for spot in kept
        ],
        layers=found,
        notes=notes,
    )


def _large(layer: int, rows: Floats) -> list[str]:
    """A note where some states are so large that principal components show little else."""
    sizes = np.linalg.norm(rows, axis=1)
    many = int(np.count_nonzero(sizes > LARGE * np.median(sizes)))
    if not many:
        return []
    return [
        f"Layer {layer}: {many} of {len(sizes)} states are more than {LARGE:g} times as large as the median, mostly of tokens on which "
        "attention rests; principal components show little but these."
    ]


def _told(shown: Sequence[Spot], fitted: Sequence[Spot], labelled: str) -> Told:
    units = [spot.unit for spot in shown]
    if labelled == "labels":
        names = sorted({spot.label or "" for spot in (*shown, *fitted)})
        labels, others = (np.array([names.index(spot.label or "") for spot in spots], np.int64) for spots in (shown, fitted))
        return Told(units, labels=labels, fitted_labels=others)
    if labelled == "numbers":
        return Told(units, numbers=np.array([spot.numbers for spot in fitted], np.float64))
    return Told(units)
