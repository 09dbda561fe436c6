"""Detectors of true statements in a model's states, by the model's name: what they find, where it carries over, whether it is used."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from analyzers.errors import ExplicateError, Failed
from analyzers.probes.truth import KINDS, probability
from analyzers.progress import Report, quiet
from evals.confidence.measures import measure
from evals.confidence.reliability import reliability
from evals.probes.results import Baseline, Lift, Metrics
from evals.probes.truth_beside import FEW_SHUFFLES, beside, failed_metrics, metrics_of, profile, shuffled
from evals.probes.truth_carrying import also, topic_found, transfer
from evals.probes.truth_causal import run_causal
from evals.probes.truth_config import TruthConfig
from evals.probes.truth_folds import Bank, Parts, check_enough, frames, parts_of
from evals.probes.truth_held_out import SLOW, HeldOut, held_out, outer, spread
from evals.probes.truth_intervals import Sample
from evals.probes.truth_material import Material, Rows, rows_of
from evals.probes.truth_results import Also, Causal, Histogram, TruthProbed
from evals.probes.truth_saving import check_save, save_detector
from evals.results import Failure, Value, failure, stored
from evals.scores import Floats

if TYPE_CHECKING:
    from analyzers.text_model import TextModel

BINS = 24
FEW = 100
"""Statements of a topic below which it is told that they are few."""
STEP = 0.02
"""Of confidence, in the reliability diagram."""
CALIBRATION = ("ece", "ece_floor", "brier", "overconfidence")


def run_truth(config: TruthConfig, *, save: Path | None = None, report: Report = quiet) -> TruthProbed:
    """Read the states, train and test; with `save` write a detector that is trained on all topics. ExplicateError for what the user can
    mend."""
    from analyzers.states.reading import random_init, read_states
    from analyzers.text_model import TextModel

    # What is misspelt or missing is told before a model is fetched and loaded.
    config.check()
    if save is not None:
        check_save(save)
    material = Material.of(config)
    model = TextModel.load(config.model, dtype=config.dtype, device=config.device, report=report)
    layers = sorted({0, *config.layers_of(model.layers)})
    states = read_states(model, material.pieces(), pool="last", layers=layers, report=report)
    few = spread(layers)
    fresh = read_states(random_init(model, config.seed), material.pieces(only_topics=True), pool="last", layers=few, report=report)
    statements = material.statements
    kept = rows_of(states, len(statements)) >= 0
    rows, unlearnt = Rows(material, states, kept, layers), Rows(material, fresh, kept, few)
    true = np.array([each.true for each in statements])[kept]
    topic = np.repeat(np.arange(len(material.topics)), [len(each) for each in material.topics])[kept]
    texts = [each.text for each, read in zip(statements, kept, strict=True) if read]
    group = frames(texts)
    part = parts_of(topic, group, leave_topic_out=config.leave_topic_out, seed=config.seed)
    parts = Parts(rows, true, topic, part, group, config.detector, config.seed)
    check_enough(parts, [each.name for each in material.topics])
    found = held_out(parts, layers, report=report)
    if isinstance(found, Failed):
        raise ExplicateError(
            f"--detector {config.detector}: {found.reason}; give such files in --also or a column negation, or choose another"
        )
    probed = probed_of(config, material, parts, found, unlearnt, texts, rows, model=model, report=report)
    if save is not None:
        save_detector(save, config, material, parts, found, model, probed, report)
    return probed


def probed_of(
    config: TruthConfig,
    material: Material,
    parts: Parts,
    found: HeldOut,
    unlearnt: Bank,
    texts: Sequence[str],
    rows: Rows,
    *,
    model: "TextModel",
    report: Report = quiet,
) -> TruthProbed:
    """All figures; texts [statement] of what is in parts, unlearnt the states of the model with random weights."""
    sample = Sample(parts.topic, parts.true, config.seed)
    nested, best = found.nested, found.best
    luck = shuffled(parts, found, sample, report)
    others, baselines, curves = beside(parts, found, unlearnt, texts, sample, model, report)
    lifts: dict[str, Lift | Failure] = {}
    for done, (name, scores) in enumerate(others.items(), 1):
        # What an encoder cannot say is no baseline that it must lie above.
        if model.causal or name != "log_probability":
            lifts[name] = failure(scores) if isinstance(scores, Failed) else _lift(sample, nested, scores)
        report("lifts", done, len(others))
    own = sample.auroc(nested)
    baselines["shuffled"] = Baseline.of(failed_metrics(luck) if isinstance(luck, Failed) else luck.metrics, best)
    beyond = luck if isinstance(luck, Failed) else luck.lift(own)
    lifts["shuffled"] = failure(beyond) if isinstance(beyond, Failed) else beyond
    whole = metrics_of(sample, nested)
    detectors: dict[str, Metrics] = {config.detector: whole}
    for done, kind in enumerate(KINDS):
        report("detectors", done, len(KINDS))
        if kind != config.detector:
            other = outer(parts, found.chosen, found.penalty, kind=kind)
            detectors[kind] = failed_metrics(other) if isinstance(other, Failed) else metrics_of(sample, other)
    report("detectors", len(KINDS), len(KINDS))
    varied = also(material, parts, found, rows, report)
    confident = probability(np.abs(nested))
    right = (nested > 0) == parts.true
    causal: Causal | Failure | None = None
    if config.causal:
        told = run_causal(model, texts, parts, found.penalty, best, config.causal, report=report)
        causal = failure(told) if isinstance(told, Failed) else told
    names = [topic.name for topic in material.topics]
    return TruthProbed(
        model=dict(model.identity),
        task="truth of statements",
        source=_sources([*config.sources, *config.also], [*material.topics, *material.also]),
        seed=config.seed,
        items={
            "topics": len(names),
            "statements": len(parts.true),
            "true": int(parts.true.sum()),
            "pairs": len(parts.bank.paired),
            "left_out": len(material.statements) - len(parts.true),
            "repeated": material.repeated + sum(topic.left_out for topic in material.topics),
        },
        unit="statements",
        pool="last",
        main="auroc",
        best=best,
        layers=profile(sample, found.scores, what="intervals", report=report),
        baselines=baselines,
        lifts=lifts,
        curves=curves,
        figures={f"nested_{name}": value for name, value in whole.items()},
        notes=_notes(config, material, parts, found, varied),
        detector=config.detector,
        left_out="topic" if config.leave_topic_out else "statements",
        topics=[topic_found(name, number, parts, found, sample, report) for number, name in enumerate(names)],
        detectors=detectors,
        transfer=transfer(names, parts, found, best, report),
        also=varied,
        calibration=stored({name: value for name, value in measure(confident, right, seed=config.seed).items() if name in CALIBRATION}),
        # In steps, so that its histogram has bars.
        reliability=reliability(np.round(confident / STEP) * STEP, right),
        causal=causal,
        projections=_projections(names, parts, nested),
    )


def _lift(sample: Sample, scores: Floats, other: Floats) -> Lift | Failure:
    found = sample.lift(scores, other)
    return failure(found) if isinstance(found, Failed) else found


def _projections(names: Sequence[str], parts: Parts, scores: Floats) -> list[Histogram]:
    """In bins that hold all but the outermost hundredths."""
    low, high = np.quantile(scores, [0.01, 0.99])
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    place = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, BINS - 1)
    found = []
    for number, name in enumerate(names):
        counts = [np.bincount(place[(parts.topic == number) & (parts.true == label)], minlength=BINS).tolist() for label in (True, False)]
        found.append(Histogram(topic=name, edges=edges.tolist(), true=counts[0], false=counts[1]))
    return found


def _notes(config: TruthConfig, material: Material, parts: Parts, found: HeldOut, also: Sequence[Also]) -> list[str]:
    told = [
        "the state of a statement is that of its last token, "
        + ("with" if config.keep_period else "without")
        + " the period that ends it; figures are means over topics",
        "figures, lifts, detectors and calibration are of scores at the layer that was chosen without the statements that are scored: "
        + ", ".join(
            f"{layer} ({list(found.chosen.values()).count(layer)} of {len(found.chosen)})" for layer in sorted(set(found.chosen.values()))
        ),
    ]
    told.append(
        "intervals are over statements and take the detectors as they are; those that leave out different "
        + ("topics" if config.leave_topic_out else "statements")
        + " are trained on much the same, so that chance moves their mean more: what shuffled labels get, for which they are trained anew, "
        "and its p hold that"
    )
    if config.detector in SLOW:
        told.append(
            f"logistic regression chose the layers; {config.detector} is trained at these and at layers "
            f"{', '.join(map(str, spread(parts.bank.layers)))}, and on {FEW_SHUFFLES} orders of labels"
        )
    if not config.leave_topic_out:
        told.append(
            "tested on statements of topics that were trained on: a detector may know the topic, not the truth; --leave-topic-out tells"
        )
    if not config.csv:
        told.append("the statements are the small sample that comes with explicate; give topics of your own by --csv")
    few = [topic.name for number, topic in enumerate(material.topics) if int((parts.topic == number).sum()) < FEW]
    if few:
        told.append(f"few statements (below {FEW}) in {', '.join(few)}: intervals are wide")
    for each in also:
        for value, who in ((each.auroc, "trained on all topics"), (each.auroc_without, f"trained without {each.without}")):
            if isinstance(value, Value) and value.high < 0.5:
                told.append(
                    f"below chance on {each.name}, {who}: AUROC {value.value:.2f} [{value.low:.2f}, {value.high:.2f}]; it follows "
                    "something that goes with truth in the topics and against it here (Levinstein and Herrmann, arXiv 2307.00175)"
                )
    return told


def _sources(sources: Sequence[str], topics: Sequence[object]) -> dict[str, str]:
    """SHA-256 by name: of a file's bytes, of another source's statements."""
    return {
        Path(source).name if Path(source).is_file() else source: hashlib.sha256(Path(source).read_bytes()).hexdigest()
        if Path(source).is_file()
        else str(getattr(topic, "digest", ""))
        for source, topic in zip(sources, topics, strict=True)
    }
