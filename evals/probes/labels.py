"""Probes of labels of a model, by its name: every layer beside what knows no context, no language, or no label."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from analyzers.errors import ExplicateError
from analyzers.probes.classifiers import Classes, Kind
from analyzers.probes.control import by_type, control_labels
from analyzers.progress import Report, quiet
from analyzers.states.pieces import Piece
from evals.probes.labels_config import LabelsConfig
from evals.probes.labels_data import LEAST, Material, load_material
from evals.probes.labels_files import Labelled
from evals.probes.labels_measure import Asked, Indices, Read, Rows, best_of, predict, read_layers, shuffled, with_asked
from evals.probes.labels_results import LabelsProbed
from evals.probes.labels_scores import ALPHA, Right, accuracy, accuracy_among, against_best, gravity, layer_metrics, lift
from evals.probes.results import Baseline, Layer, Lift, Metrics
from evals.results import Failure

if TYPE_CHECKING:
    from analyzers.states.store import States


def run_labels(config: LabelsConfig, *, report: Report = quiet) -> LabelsProbed:
    """Read the states, train the probes, measure. Raises ExplicateError for what the user can mend."""
    from analyzers.states.reading import random_init, read_states
    from analyzers.text_model import TextModel

    # What is misspelt or missing is told before a model is fetched and loaded.
    config.check()
    material = load_material(config, report=report)
    model = TextModel.load(config.model, dtype=config.dtype, device=config.device, report=report)
    pieces = [Piece(item.text, item.spans) for item in material.texts]
    states = read_states(model, pieces, pool=config.pool, report=report)
    fresh = None
    if config.random_init:
        fresh = read_states(random_init(model, config.seed), pieces, pool=config.pool, report=report)
    return probed(config, material, states, fresh, model=model.identity, report=report)


def probed(
    config: LabelsConfig,
    material: Material,
    states: "States",
    fresh: "States | None",
    *,
    model: Mapping[str, str],
    report: Report = quiet,
) -> LabelsProbed:
    """Of states that were read; fresh: those of the same model with random weights, if they are wanted."""
    rows = rows_of(material, states.rows)
    seed, kind = config.seed, _kind(config)
    control = control_types = None
    if config.control:
        control_types = _control_types(material, states.rows)
        control = control_labels(control_types, rows.labels, rows.train, classes=rows.classes, seed=seed)
    asked = Asked(kind, control, config.mdl, seed)
    reads = read_layers(states.layer, states.layers, rows, asked, report=report)
    best = best_of(reads)
    truth = rows.labels[rows.test]
    right: dict[str, tuple[Right, int | None]] = {"layer0": (reads[0].right, 0)}
    metrics: dict[str, Metrics] = {}
    curves: dict[str, list[Layer]] = {}
    if fresh is not None:
        untrained = read_layers(fresh.layer, fresh.layers, rows, Asked(kind, seed=seed), report=report, what="probe random weights")
        top = best_of(untrained)
        top = with_asked(top, fresh.layer(top.layer), rows, asked)
        right["random_init"] = (top.right, top.layer)
        metrics["random_init"] = layer_metrics([top], rows, seed=seed)[0]
        curves["random_init"] = [
            Layer.of(read.layer, of) for read, of in zip(untrained, layer_metrics(untrained, rows, seed=seed), strict=True)
        ]
    if config.probe == "both":
        networks = read_layers(states.layer, states.layers, rows, Asked("mlp", seed=seed), report=report, what="probe by networks")
        curves["mlp"] = [Layer.of(read.layer, of) for read, of in zip(networks, layer_metrics(networks, rows, seed=seed), strict=True)]
    report("probe shuffled labels", 0, 1)
    exchanged = predict(states.layer(best.layer), rows, shuffled(rows, seed), kind, best.choice.strength, seed)
    report("probe shuffled labels", 1, 1)
    right["shuffled"] = (exchanged == truth, best.layer)
    right["majority"] = (np.full(len(truth), _majority(rows)) == truth, None)
    for name, types in _look_ups(material, rows).items():
        right[name] = (by_type(types, rows.labels, rows.train)[rows.test] == truth, None)
    of_layers = layer_metrics(reads, rows, seed=seed)
    metrics["layer0"] = of_layers[0]
    if control is not None:
        curves["control"] = [
            Layer.of(read.layer, {"accuracy": accuracy(read.control, rows, seed=seed)}) for read in reads if read.control is not None
        ]
    p_values = against_best(reads, best, rows, seed=seed)
    as_good = [layer for layer, p in p_values.items() if p >= ALPHA]
    return LabelsProbed(
        kind="labels",
        model=dict(model),
        task=material.task,
        source=material.source,
        seed=seed,
        items=_items(material, rows, len(_labels(material))),
        unit="sentences",
        pool=config.pool,
        main="accuracy",
        best=best.layer,
        layers=[Layer.of(read.layer, of) for read, of in zip(reads, of_layers, strict=True)],
        baselines={
            name: Baseline.of(metrics.get(name) or {"accuracy": accuracy(known, rows, seed=seed)}, at)
            for name, (known, at) in right.items()
        },
        lifts={name: _lift(best, known, at, name, rows, seed) for name, (known, at) in right.items()},
        curves=curves,
        figures={**gravity(reads, rows, seed=seed), **_figures(best, rows, control, control_types, seed)},
        notes=[*material.notes, *_notes(config, material, rows, reads, best, as_good)],
        probe=kind,
        labels=list(rows.names),
        confusion=_confusion(best, rows),
        as_good=as_good,
        p_against_best=p_values,
    )


def rows_of(material: Material, kept: Indices) -> Rows:
    """Of the spans, counted over all texts, that have states. Raises ExplicateError where too few are left to train or test on."""
    texts = material.texts
    sentence = np.repeat(np.arange(len(texts)), [len(item.spans) for item in texts])[kept]
    ends = np.cumsum([len(material.train), len(material.held_out), len(material.test)])
    parts = [np.flatnonzero((sentence >= start) & (sentence < end)) for start, end in zip((0, *ends[:2]), ends, strict=True)]
    named = [_labels(material)[at] for at in kept.tolist()]
    trained = Counter(named[at] for part in parts[:2] for at in part.tolist())
    names = tuple(name for name, _ in sorted(trained.items(), key=lambda each: (-each[1], each[0])))
    for part, some in zip(("train", "hold out", "test"), parts, strict=True):
        least = 1 if part == "hold out" else LEAST
        if len(np.unique(sentence[some])) < least:
            raise ExplicateError(
                f"the model reads too few of the texts to {part} to probe; give {LEAST} or more to train and to test, shorter ones, or a "
                "model that takes longer ones"
            )
    if len(names) < 2:
        raise ExplicateError(f"all labels to train on are {''.join(names)!r}, so that nothing can be told apart; give more texts")
    number = {name: at for at, name in enumerate(names)}
    labels = np.array([number.get(name, -1) for name in named], np.int64)
    types = [kind for item in texts for kind in item.types]
    return Rows(labels, names, sentence, tuple(types[at] for at in kept.tolist()), *parts)


def _kind(config: LabelsConfig) -> Kind:
    return "mlp" if config.probe == "mlp" else "logistic"


def _labels(material: Material) -> list[str]:
    return [label for item in material.texts for label in item.labels]


def _control_types(material: Material, kept: Indices) -> list[str]:
    """[row] the word; of a whole text its first word, since every text is a type of its own."""
    types = [kind or _first_word(item) for item in material.texts for kind in (item.types if not item.is_whole else ("",))]
    return [types[at] for at in kept.tolist()]


def _first_word(item: Labelled) -> str:
    return (item.text.split() or [""])[0].casefold()


def _look_ups(material: Material, rows: Rows) -> dict[str, list[str]]:
    """By baseline [row] what the commonest label is looked up by."""
    if not material.of_sentences:
        return {"word_type": list(rows.types)}
    found = {} if material.task == "sentence-length" else {"length": [str(len(material.texts[at].text.split())) for at in rows.sentence]}
    return found | ({"target_word": list(rows.types)} if all(rows.types) else {})


def _majority(rows: Rows) -> int:
    return int(np.bincount(rows.labels[rows.train], minlength=rows.classes).argmax())


def _lift(best: Read, known: Right, at: int | None, name: str, rows: Rows, seed: int) -> Lift | Failure:
    if name == "layer0" and at == best.layer:
        return Failure(stage="score", reason="layer 0 is itself the best layer")
    return lift(best.right, known, rows, seed=seed)


def _figures(best: Read, rows: Rows, control: Classes | None, types: Sequence[str] | None, seed: int) -> Metrics:
    """Accuracy where the word did not train, and how far control labels can be known at all: by whoever has seen the word."""
    found: Metrics = {}
    if all(rows.types):
        seen = {rows.types[at] for at in rows.train.tolist()}
        new = np.array([rows.types[at] not in seen for at in rows.test.tolist()])
        found["accuracy_new_words"] = accuracy_among(best.right, new, rows, seed=seed)
    if control is not None and types is not None:
        known = by_type(types, control, rows.train)[rows.test] == control[rows.test]
        found["control_look_up"] = accuracy(known, rows, seed=seed)
    return found


def _confusion(best: Read, rows: Rows) -> list[list[int]]:
    truth = rows.labels[rows.test]
    table = np.zeros((rows.classes, rows.classes), np.int64)
    np.add.at(table, (truth[truth >= 0], best.predicted[truth >= 0]), 1)
    counts: list[list[int]] = table.tolist()
    return counts


def _items(material: Material, rows: Rows, spans: int) -> dict[str, int]:
    return {
        "train": len(rows.train),
        "held_out": len(rows.held_out),
        "test": len(rows.test),
        "train_sentences": len(material.train) + len(material.held_out),
        "test_sentences": len(material.test),
        "left_out": spans - len(rows.labels),
        "unlabelled": material.unlabelled,
        "repeated": material.repeated,
        "new_labels": int((rows.labels[rows.test] < 0).sum()),
    }


def _notes(config: LabelsConfig, material: Material, rows: Rows, reads: Sequence[Read], best: Read, as_good: Sequence[int]) -> list[str]:
    kind = _kind(config)
    notes = [
        f"layer{' and strength of the regularisation' if kind == 'logistic' else ''} chosen on {len(material.held_out)} of the "
        f"{len(material.train) + len(material.held_out)} texts that train ({len(rows.held_out)} of {len(rows.train)} rows): "
        f"{best.choice.accuracy:.3f} right there"
    ]
    if kind == "logistic":
        strengths = Counter(read.choice.strength for read in reads)
        told = ", ".join(f"{strength:g} at {count} layers" for strength, count in sorted(strengths.items()))
        notes.append(f"C of the logistic regression: {told}")
    if len(as_good) == len(reads) - 1:
        notes.append("no layer can be told from the best one")
    elif as_good:
        notes.append(f"not to be told from the best layer: {', '.join(map(str, as_good))}")
    else:
        notes.append("every other layer is told from the best one")
    if config.control:
        what = "of the first word of each text" if material.of_sentences else "of each word"
        notes.append(f"control labels: one drawn for the type {what}, from the task's labels, and learnt with a C of their own")
    if material.of_sentences and all(rows.types):
        notes.append("target_word looks up the word that decides the label, which the probe is not shown")
    if material.unlabelled:
        notes.append(f"{material.unlabelled} words of these texts have no such label, or share their characters with another word")
    return notes
