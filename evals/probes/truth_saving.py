"""A detector of truth kept in a file, and what it says of new statements."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from analyzers.errors import AssetError, ExplicateError, Failed
from analyzers.probes.truth import Detector
from analyzers.progress import Report, quiet
from evals.probes.truth_config import TruthConfig
from evals.probes.truth_folds import Parts
from evals.probes.truth_held_out import HeldOut
from evals.probes.truth_intervals import Flags
from evals.probes.truth_material import Material
from evals.probes.truth_results import Scored, TruthProbed, TruthScored
from evals.probes.truth_topics import without_period
from evals.results import Failure, Value
from evals.scores import Floats

if TYPE_CHECKING:
    from analyzers.text_model import TextModel

SUFFIX = ".safetensors"
SAVING = "where training statements lie"
OUTSIDE = 99
"""Per cent of the training statements, beyond whose distance another one lies outside."""


def check_save(path: Path) -> None:
    """Raise ExplicateError where no detector can be written, before a model is loaded."""
    from analyzers.probes.truth_file import is_saved_detector

    if path.suffix != SUFFIX:
        raise ExplicateError(f"--save {str(path)!r} does not end with {SUFFIX}; name a file such as 'detector{SUFFIX}'")
    if not path.absolute().parent.is_dir() or path.is_dir():
        raise ExplicateError(f"--save {str(path)!r} is a folder or in one that is not there; name a file, such as 'detector{SUFFIX}'")
    if path.exists() and not is_saved_detector(path):
        raise ExplicateError(f"--save {str(path)!r} is there and is no detector, which alone is written over; name another file")


def save_detector(
    path: Path,
    config: TruthConfig,
    material: Material,
    parts: Parts,
    found: HeldOut,
    model: "TextModel",
    probed: TruthProbed,
    report: Report = quiet,
) -> None:
    """Train one on all topics at the best layer and write it with the error rate of its like on held-out statements."""
    from analyzers.probes.region import Region, distances_left_out, quantiles, random_parts
    from analyzers.probes.truth_file import SavedDetector, Told

    everything = np.ones(len(parts.true), np.bool_)
    detector = parts.train(found.best, everything, c=found.usual_penalty)
    accuracy = probed.figures["nested_accuracy"]
    if isinstance(detector, Failed) or isinstance(accuracy, Failure):
        raise ExplicateError(f"--save: {detector.reason if isinstance(detector, Failed) else accuracy.reason}; nothing is saved")  # type: ignore[union-attr]
    detector = sharpened(detector, sharpness(found.nested, parts.true))
    x = parts.bank.at(found.best)
    error = error_of(accuracy)
    told = Told(
        kind=detector.kind,
        layer=found.best,
        model=dict(model.identity),
        keep_period=config.keep_period,
        topics=[topic.name for topic in material.topics],
        statements=len(parts.true),
        error=(error.value, error.low, error.high, error.n),
        left_out=probed.left_out,
    )
    several = len(material.topics) > 1
    report(SAVING, 0, 3)
    region = Region.of(x)
    report(SAVING, 1, 3)
    nearer = quantiles(distances_left_out(x, random_parts(len(x), config.seed)))
    report(SAVING, 2, 3)
    nearer_left_out = quantiles(distances_left_out(x, parts.topic)) if several else None
    report(SAVING, 3, 3)
    saved = SavedDetector(detector, region, nearer, nearer_left_out, told)
    try:
        saved.save(path)
    except OSError as problem:
        raise ExplicateError(f"--save {str(path)!r} cannot be written ({problem.strerror}); name another file") from None


def sharpness(scores: Floats, true: Flags) -> float:
    """The factor by which held-out log-odds [statement] are most likely, so that what a detector says of new statements is neither too
    sure nor too timid; verdicts stay as they are. 1 where they are not told apart, or without an error."""
    from scipy.optimize import minimize_scalar

    signed = np.where(true, scores, -scores)
    if signed.sum() <= 0 or signed.min() > 0:
        return 1.0
    found = minimize_scalar(lambda power: float(np.logaddexp(0, -np.exp(power) * signed).mean()), bounds=(-9, 9), method="bounded")
    return float(np.exp(found.x))


def sharpened(detector: Detector, factor: float) -> Detector:
    """With all log-odds times a factor."""
    last = len(detector.tensors) // 2 - 1
    changed = {name: factor * detector.tensors[name] for name in (f"weight.{last}", f"bias.{last}")}
    return replace(detector, tensors={**detector.tensors, **changed})


def error_of(accuracy: Value) -> Value:
    """One minus an accuracy."""
    return Value(value=1 - accuracy.value, low=1 - accuracy.high, high=1 - accuracy.low, n=accuracy.n)


def score_statements(
    model: str, path: Path, statements: Sequence[str], *, dtype: str = "auto", device: str = "auto", report: Report = quiet
) -> TruthScored:
    """What a saved detector says of statements, and which of them lie outside what it was trained on. ExplicateError for what the user
    can mend."""
    from analyzers.probes.region import share_nearer
    from analyzers.probes.truth_file import SavedDetector
    from analyzers.states.pieces import Piece
    from analyzers.states.reading import read_states
    from analyzers.text_model import TextModel

    if not statements:
        raise ExplicateError('--load scores statements; give some, each with --score "STATEMENT"')
    if blank := [each for each in statements if not without_period(each).strip()]:
        raise ExplicateError(f"--score {blank[0]!r} has no text; give a statement")
    if not path.is_file():
        raise AssetError(f"there is no file {str(path)!r} to score with; give one that --save wrote")
    read = TextModel.load(model, dtype=dtype, device=device, report=report)
    saved = SavedDetector.load(path, read)
    told = saved.told
    pieces = [Piece.whole(each.strip() if told.keep_period else without_period(each)) for each in statements]
    states = read_states(read, pieces, pool="last", layers=[told.layer], report=report)
    if states.left_out:
        unread = next(text for number, text in enumerate(statements) if number not in states.rows)
        raise ExplicateError(
            f"--score {unread[:60]!r} is longer than the {read.limit} tokens that {read.name} takes, or has none; shorten it"
        )
    x = states.layer(told.layer)
    value, low, high, n = told.error
    scored = []
    for text, likely, distance in zip(statements, saved.detector.probability(x).tolist(), saved.region.distance(x).tolist(), strict=True):
        scored.append(
            Scored(
                statement=text,
                probability=likely,
                verdict=likely > 0.5,
                distance=distance,
                farther_than=share_nearer(distance, saved.nearer),
                farther_than_left_out=None if saved.nearer_left_out is None else share_nearer(distance, saved.nearer_left_out),
                outside=distance > float(saved.nearer[OUTSIDE]),
            )
        )
    return TruthScored(
        path=str(path),
        model=read.identity,
        detector=told.kind,
        layer=told.layer,
        topics=told.topics,
        error=Value(value=value, low=low, high=high, n=n),
        left_out=told.left_out,
        scored=scored,
    )
