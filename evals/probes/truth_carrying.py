"""Whether what a detector has learnt carries over: to each topic, from topic to topic, and to statements of another form."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from analyzers.errors import Failed
from evals.probes.results import Layer, Metrics
from evals.probes.truth_beside import failed_metrics, metrics_of
from evals.probes.truth_folds import HeldOut, Parts, parts_of
from evals.probes.truth_intervals import Flags, Sample
from evals.probes.truth_material import Material, Rows
from evals.probes.truth_results import Also, TopicFound, Transfer
from evals.results import failure
from evals.scores import Floats, Indices


def topic_found(name: str, number: int, parts: Parts, found: HeldOut, sample: Sample) -> TopicFound:
    """The topic of this number."""
    own = parts.topic == number
    of = sample.of(own)
    layer = found.chosen.get(number, found.best) if np.array_equal(parts.part, parts.topic) else found.best
    metrics = metrics_of(of, found.nested[own])
    return TopicFound(
        name=name,
        statements=int(own.sum()),
        true=int(parts.true[own].sum()),
        layer=layer,
        auroc=metrics["auroc"],
        accuracy=metrics["accuracy"],
        profile=[Layer.of(at, metrics_of(of, scores[own])) for at, scores in found.scores.items()],
    )


def transfer(names: Sequence[str], parts: Parts, found: HeldOut, layer: int) -> list[Transfer]:
    """Of every topic to every other at one layer."""
    x, c, cells = parts.bank.at(layer), found.usual_penalty, []
    for number, train in enumerate(names):
        own = parts.topic == number
        detector = parts.train(layer, own, c=c)
        fifth = parts_of(parts.topic, parts.group, leave_topic_out=False, seed=parts.seed)
        for other, test in enumerate(names):
            rows = parts.topic == other
            sample = Sample(parts.topic[rows], parts.true[rows], parts.seed)
            scores: Floats | Failed
            if number == other:
                scores = _crossed(parts, layer, own, fifth, c)
            else:
                scores = detector if isinstance(detector, Failed) else detector.score(x[rows])
            auroc = scores if isinstance(scores, Failed) else sample.auroc(scores)
            cells.append(Transfer(train=train, test=test, auroc=failure(auroc) if isinstance(auroc, Failed) else auroc))
    return cells


def _crossed(parts: Parts, layer: int, own: Flags, fifth: Indices, c: float) -> Floats | Failed:
    """Of one topic's statements, each from a detector that was trained on the other four fifths of it."""
    x, found = parts.bank.at(layer), np.empty(len(own))
    for number in np.unique(fifth[own]):
        test = own & (fifth == number)
        detector = parts.train(layer, own & ~test, c=c)
        if isinstance(detector, Failed):
            return detector
        found[test] = detector.score(x[test])
    return found[own]


def also(material: Material, parts: Parts, found: HeldOut, rows: Rows) -> list[Also]:
    """Scored at the best layer."""
    first, told, c = len(material.statements), [], found.usual_penalty
    everything = np.ones(len(parts.true), np.bool_)
    for other, trained in zip(material.also, material.also_trained, strict=True):
        states, read = rows.others(found.best, first, len(other))
        first += len(other)
        true = np.array([each.true for each in other.statements], np.bool_)[read]
        sample = Sample(np.zeros(len(true), np.intp), true, parts.seed)
        without = next((number for number, topic in enumerate(material.topics) if other.name.endswith(f"_{topic.name}")), None)
        metrics, apart = _scored(parts, found.best, everything, c, states, sample), None
        if without is not None and len(material.topics) > 1:
            apart = _scored(parts, found.best, parts.topic != without, c, states, sample)["auroc"]
        told.append(
            Also(
                name=other.name,
                statements=len(true),
                true=int(true.sum()),
                left_out=trained + int((~read).sum()),
                auroc=metrics["auroc"],
                accuracy=metrics["accuracy"],
                without=None if without is None else material.topics[without].name,
                auroc_without=apart,
            )
        )
    return told


def _scored(parts: Parts, layer: int, rows: Flags, c: float, states: npt.NDArray[np.float32], sample: Sample) -> Metrics:
    detector = parts.train(layer, rows, c=c)
    if isinstance(detector, Failed):
        return failed_metrics(detector)
    return (
        metrics_of(sample, detector.score(states))
        if len(states)
        else failed_metrics(Failed("score", "no statement that was not trained on"))
    )
