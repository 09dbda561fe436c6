"""Whether what a detector has learnt carries over: to each topic, from topic to topic, and to statements of another form."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from analyzers.errors import Failed
from analyzers.probes.truth import Detector
from analyzers.progress import Report, quiet
from evals.probes.results import Metrics
from evals.probes.truth_beside import failed_metrics, metrics_of, profile
from evals.probes.truth_folds import Parts, parts_of
from evals.probes.truth_held_out import HeldOut
from evals.probes.truth_intervals import Flags, Sample
from evals.probes.truth_material import Material, Rows
from evals.probes.truth_results import Also, TopicFound, Transfer
from evals.results import failure
from evals.scores import Floats


def topic_found(name: str, number: int, parts: Parts, found: HeldOut, sample: Sample, report: Report = quiet) -> TopicFound:
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
        profile=profile(of, {at: scores[own] for at, scores in found.scores.items()}, what=f"intervals: topic {number + 1}", report=report),
    )


def transfer(names: Sequence[str], parts: Parts, found: HeldOut, layer: int, report: Report = quiet) -> list[Transfer]:
    """Of every topic to every other at one layer; of each to itself by detectors that were trained on four fifths of it."""
    x, cells = parts.bank.at(layer), []
    fifth = parts_of(parts.topic, parts.group, leave_topic_out=False, seed=parts.seed)
    for number, train in enumerate(names):
        report("from topic to topic", number, len(names))
        own = parts.topic == number
        fifths = np.unique(fifth[own]).tolist()
        rows = [own, *(own & (fifth != each) for each in fifths)]
        whole, *crossed = parts.train_all(layer, rows, c=[found.usual_penalty] * len(rows))
        for other, test in enumerate(names):
            tested = [(own & (fifth == each), detector) for each, detector in zip(fifths, crossed, strict=True)]
            scores = _scores(x, tested if number == other else [(parts.topic == other, whole)])
            sample = Sample(parts.topic, parts.true, parts.seed).of(parts.topic == other)
            auroc = scores if isinstance(scores, Failed) else sample.auroc(scores[parts.topic == other])
            cells.append(Transfer(train=train, test=test, auroc=failure(auroc) if isinstance(auroc, Failed) else auroc))
    report("from topic to topic", len(names), len(names))
    return cells


def _scores(x: npt.NDArray[np.float32], tested: Sequence[tuple[Flags, Detector | Failed]]) -> Floats | Failed:
    """[statement] what each detector says of its statements; 0 of all others."""
    found = np.zeros(len(x))
    for rows, detector in tested:
        if isinstance(detector, Failed):
            return detector
        found[rows] = detector.score(x[rows])
    return found


def also(material: Material, parts: Parts, found: HeldOut, rows: Rows, report: Report = quiet) -> list[Also]:
    """Scored at the best layer."""
    if not material.also:
        return []
    first, told, c = len(material.statements), [], found.usual_penalty
    whole = parts.train(found.best, np.ones(len(parts.true), np.bool_), c=c)
    for done, (other, trained) in enumerate(zip(material.also, material.also_trained, strict=True)):
        report("other forms", done, len(material.also))
        states, read = rows.others(found.best, first, len(other))
        first += len(other)
        true = np.array([each.true for each in other.statements], np.bool_)[read]
        sample = Sample(np.zeros(len(true), np.intp), true, parts.seed)
        without = next((number for number, topic in enumerate(material.topics) if other.name.endswith(f"_{topic.name}")), None)
        metrics, apart = _scored(whole, states, sample), None
        if without is not None and len(material.topics) > 1:
            apart = _scored(parts.train(found.best, parts.topic != without, c=c), states, sample)["auroc"]
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
    report("other forms", len(told), len(told))
    return told


def _scored(detector: Detector | Failed, states: npt.NDArray[np.float32], sample: Sample) -> Metrics:
    if isinstance(detector, Failed):
        return failed_metrics(detector)
    return (
        metrics_of(sample, detector.score(states))
        if len(states)
        else failed_metrics(Failed("score", "no statement that was not trained on"))
    )
