"""Numbers made of what scorers answered, with intervals over documents; every figure that is not defined is Failed.

A figure at the very end of its range, all right or all wrong, has nothing that resampling could vary. Its interval is the exact one:
had the figure been below (a/2)^(1/k), k independent units would all have been right with less than a/2. Of an AUROC the units are pairs
of a document that fires and one that does not, as many as share none: if all pairs are ranked right, so are these.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import numpy.typing as npt

from analyzers.errors import Failed
from evals.results import Value
from evals.scores import Floats, Indices, Masked, Statistic, constant, correlation
from evals.scoring.judged import Answer, Judged, Measure
from evals.statistics import DRAWS, LEVEL, bootstrap

MEASURES: tuple[Measure, ...] = get_args(Measure)
MOST_FAILED = 0.2
"""Share of answers that may be missing; with more, what is left would not be the sample that was drawn."""
SAYS_YES = 0.5
"""A probability above this is a yes."""

ROUNDING = 1e-9

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Corrected(Judged):
    """Answers whose number was decided on looking at them; their intervals are taken at a level that allows for the looks."""

    level: float = LEVEL


@dataclass(frozen=True)
class Recalled(Judged):
    """Answers on what fires, and answers on excerpts of the whole corpus beside them, for the precision that goes with the recall."""

    corpus: tuple[Answer, ...] = ()
    """Weighted so that they stand for the corpus."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What was answered, in columns."""

    truth: Floats
    """[answer]"""
    prediction: Floats
    """[answer]"""
    weight: Floats
    """[answer] >= 0"""
    document: Indices
    """[answer] number of the document."""
    documents: int

    @property
    def n(self) -> int:
        return len(self.truth)

    def spread(self, weights: Floats) -> Floats:
        """[draw, answer] from weights [draw, document]."""
        return weights[:, self.document] * self.weight

    def units(self, some: Bools) -> int:
        """Documents among some of the answers."""
        return len(np.unique(self.document[some & (self.weight > 0)]))


@dataclass(frozen=True, eq=False)
class Figure:
    """One number and what its interval rests on."""

    of: Statistic
    units: int
    """Independent units behind it, for the interval of a figure at the end of its range; 0: it has no such end."""


def measured(judged: Judged, measure: Measure, *, draws: int = DRAWS, seed: int = 0) -> dict[str, Value | Failed]:
    """The measure under its own name, first, and `measure/group` for each group of answers.

    For auroc also, for predictions that are probabilities, balanced_accuracy, f1, precision and recall of the answers above .5,
    `recall/group` where something of the group fires and `specificity/group`, the share of silent answers that are no yes, where not;
    `auroc/group` is of the firing answers of the group (all, if it has none) over its silent ones (all, if none). For a share that has
    answers on the whole corpus also `precision`: how much of what is said yes to there fires. n counts answers. A failed answer is left
    out; Failed where more than MOST_FAILED of those behind a figure are.
    """
    if measure not in MEASURES:
        raise ValueError(f"no measure is called {measure!r}; choose one of {', '.join(MEASURES)}")
    level = judged.level if isinstance(judged, Corrected) else LEVEL
    figures = _auroc(judged.answers, judged.probabilities) if measure == "auroc" else _alone(judged.answers, measure)
    if isinstance(judged, Recalled) and judged.corpus:
        figures["precision"] = _figure(judged.corpus, "precision")
    found: dict[str, Value | Failed] = {}
    for name, made in figures.items():
        if isinstance(made, Failed):
            found[name] = made
            continue
        answers, figure = made
        value = bootstrap({name: figure.of}, answers.documents, n=answers.n, draws=draws, seed=seed, level=level)[name]
        found[name] = value if isinstance(value, Failed) else at_the_end(value, figure.units, level)
    return found


def measure_of(judged: Judged, measure: Measure) -> float | Failed:
    """The measure alone, without an interval: what explanations of one site are ranked by."""
    made = _figure(judged.answers, measure)
    if isinstance(made, Failed):
        return made
    answers, figure = made
    value = figure.of(np.ones((1, answers.documents)))
    return Failed("score", f"{measure} is not defined on {answers.n} items") if np.ma.getmaskarray(value).any() else float(value[0])


def difference(one: Judged, other: Judged, measure: Measure, *, draws: int = DRAWS, seed: int = 0) -> Value | Failed:
    """The measure of one explanation minus that of another, both on the items that both were answered on, with a paired interval.

    Its level is the stricter one of both. Where neither figure varied, one is at the end of its range and the answers differ, the interval
    is made of the exact ones of both (Zou and Donner 2008, for differences of independent figures, which is wider than for paired ones).
    """
    theirs = {answer.item: answer for answer in other.answers}
    pairs = [(answer, theirs[answer.item]) for answer in one.answers if answer.item in theirs]
    whole = [(a, b) for a, b in pairs if not isinstance(a.prediction, Failed) and not isinstance(b.prediction, Failed)]
    if len(pairs) - len(whole) > MOST_FAILED * len(pairs):
        return Failed("score", f"{len(pairs) - len(whole)} of {len(pairs)} items lack one of the two answers")
    mine, others = _figure([a for a, _ in whole], measure), _figure([b for _, b in whole], measure)
    if isinstance(mine, Failed):
        return mine
    if isinstance(others, Failed):
        return others
    (answers, figure), (against, beside) = mine, others
    level = max(judged.level if isinstance(judged, Corrected) else LEVEL for judged in (one, other))
    statistics = {"difference": lambda weights: figure.of(weights) - beside.of(weights), "one": figure.of, "other": beside.of}
    found = bootstrap(statistics, answers.documents, n=answers.n, draws=draws, seed=seed, level=level)
    value, first, second = (found[name] for name in ("difference", "one", "other"))
    same = np.array_equal(answers.prediction, against.prediction)
    if same or not isinstance(value, Value) or not isinstance(first, Value) or not isinstance(second, Value):
        return value
    if max(each.high - each.low for each in (first, second)) > ROUNDING:
        return value
    first, second = at_the_end(first, figure.units, level), at_the_end(second, beside.units, level)
    down = math.hypot(first.value - first.low, second.high - second.value)
    up = math.hypot(first.high - first.value, second.value - second.low)
    return value.model_copy(update={"low": value.low - down, "high": value.high + up})


def at_the_end(value: Value, units: int, level: float) -> Value:
    """The value with its exact interval where it is 0 or 1 and nothing varied; else as it is."""
    end = round(value.value)
    if not units or end not in (0, 1) or max(abs(end - value.low), abs(end - value.high)) > ROUNDING:
        return value
    bound = ((1 - level) / 2) ** (1 / units)
    return value.model_copy(update={"low": bound} if end else {"high": 1 - bound})


def columns(answers: Sequence[Answer]) -> Answers | Failed:
    """The answers that did not fail; Failed where there are none or too many failed, or one is not finite."""
    done = [answer for answer in answers if not isinstance(answer.prediction, Failed)]
    lost = len(answers) - len(done)
    if not answers:
        return Failed("score", "there are no items")
    if lost > MOST_FAILED * len(answers):
        reasons = Counter(answer.prediction.reason for answer in answers if isinstance(answer.prediction, Failed))
        return Failed("score", f"{lost} of {len(answers)} answers failed: {reasons.most_common(1)[0][0]}")
    number: dict[str, int] = {}
    for answer in done:
        number.setdefault(answer.document, len(number))
    found = Answers(
        truth=np.array([answer.truth for answer in done], np.float64),
        prediction=np.array([answer.prediction for answer in done], np.float64),
        weight=np.array([answer.weight for answer in done], np.float64),
        document=np.array([number[answer.document] for answer in done], np.intp),
        documents=len(number),
    )
    if not (np.isfinite(found.weight).all() and (found.weight >= 0).all()):
        raise ValueError("weights of answers must be numbers of 0 or more")
    if not (np.isfinite(found.truth).all() and np.isfinite(found.prediction).all()):
        return Failed("score", "some truths or predictions are not finite")
    return found


def _auroc(answers: Sequence[Answer], probabilities: bool) -> dict[str, tuple[Answers, Figure] | Failed]:
    """All figures of answers whose truths are 0 or 1."""
    if any(answer.truth not in (0.0, 1.0) for answer in answers):
        raise ValueError("an AUROC needs truths of 0 or 1")
    figures = {"auroc": _figure(answers, "auroc")}
    if probabilities:
        figures |= {name: _figure(answers, name) for name in ("balanced_accuracy", "f1", "precision", "recall")}
    for group in _groups(answers):
        of_class = {truth: [answer for answer in answers if answer.truth == truth] for truth in (1.0, 0.0)}
        mine = {truth: [answer for answer in some if answer.group == group] for truth, some in of_class.items()}
        if probabilities:
            figures |= {f"{name}/{group}": _figure(mine[truth], name) for truth, name in _RATES.items() if mine[truth]}
        figures[f"auroc/{group}"] = _figure([answer for truth in of_class for answer in mine[truth] or of_class[truth]], "auroc")
    return figures


def _alone(answers: Sequence[Answer], measure: Measure) -> dict[str, tuple[Answers, Figure] | Failed]:
    """A measure over all answers and over each group."""
    groups = {group: [answer for answer in answers if answer.group == group] for group in _groups(answers)}
    return {measure: _figure(answers, measure)} | {f"{measure}/{group}": _figure(some, measure) for group, some in groups.items()}


def _figure(answers: Sequence[Answer], name: str) -> tuple[Answers, Figure] | Failed:
    found = columns(answers)
    if isinstance(found, Failed):
        return found
    if name == "pearson":
        figure = _pearson(found)
    elif name == "share":
        figure = Figure(_ratio(found, found.prediction, np.ones(found.n)), found.units(np.ones(found.n, np.bool_)))
    elif name == "auroc":
        figure = _ranked(found)
    elif name == "explained":
        figure = _explained(found)
    else:
        figure = _confusion(found, name)
    return figure if isinstance(figure, Failed) else (found, figure)


def _pearson(answers: Answers) -> Figure | Failed:
    """Weighted correlation of truth and prediction."""
    for what, values in (("truth", answers.truth), ("prediction", answers.prediction)):
        if constant(values):
            return Failed("score", f"the {what} is constant ({values[0]:g}) over {answers.n} items")
    t, p = (_scaled(values) for values in (answers.truth, answers.prediction))
    terms = [np.ones_like(t), t, p, t * t, p * p, t * p]
    by_document = np.stack([np.bincount(answers.document, answers.weight * term, answers.documents) for term in terms], axis=1)
    return Figure(lambda weights: correlation((weights @ by_document).T), 0)


def _explained(answers: Answers) -> Figure:
    """1 - weighted sum of the predictions over that of the truths, which are errors and so never negative."""
    if (answers.truth < 0).any() or (answers.prediction < 0).any():
        raise ValueError("errors, left and without an explanation, must be 0 or more")
    left = _ratio(answers, answers.prediction, answers.truth)
    return Figure(lambda weights: 1 - left(weights), 0)


def _ranked(answers: Answers) -> Figure | Failed:
    """Share of pairs of a firing and a silent answer in which the firing one has the higher prediction, ties half."""
    fires = answers.truth == 1
    few = _one_sided(fires)
    if few is not None:
        return few
    order = np.argsort(answers.prediction, kind="stable")
    starts = np.unique(answers.prediction[order], return_index=True)[1]

    def of(weights: Floats) -> Masked:
        items, up = answers.spread(weights)[:, order], fires[order]
        won, lost = (np.add.reduceat(items * side, starts, axis=1) for side in (up, ~up))
        above = (won * (np.cumsum(lost, axis=1) - lost / 2)).sum(axis=1)
        return _divided(above, won.sum(axis=1) * lost.sum(axis=1))

    return Figure(of, min(answers.units(fires), answers.units(~fires)))


def _confusion(answers: Answers, name: str) -> Figure | Failed:
    """A figure of the answers as yes or no."""
    if not ((answers.prediction >= 0) & (answers.prediction <= 1)).all():
        return Failed("score", f"{name} needs predictions that are probabilities")
    fires, said = answers.truth == 1, answers.prediction > SAYS_YES
    pairs = min(answers.units(fires), answers.units(~fires))
    if name == "recall":
        return Figure(_ratio(answers, fires & said, fires), answers.units(fires))
    if name == "specificity":
        return Figure(_ratio(answers, ~fires & ~said, ~fires), answers.units(~fires))
    few = _one_sided(fires)
    if few is not None:
        return few
    if name == "precision":
        if not said.any():
            return Failed("score", f"none of {answers.n} items was said yes to")
        return Figure(_ratio(answers, fires & said, said), answers.units(said))
    if name == "f1":
        # 2 TP / (2 TP + FP + FN); resamples in which nothing fires are none it could be told on
        both = _ratio(answers, 2.0 * (fires & said), 1.0 * fires + said)
        some = _ratio(answers, fires, fires)
        return Figure(lambda weights: np.ma.masked_array(both(weights), np.ma.getmaskarray(some(weights))), pairs)
    hit, passed = _ratio(answers, fires & said, fires), _ratio(answers, ~fires & ~said, ~fires)
    # both right with t^k s^k, which is at most their mean to the 2k
    return Figure(lambda weights: (hit(weights) + passed(weights)) / 2, 2 * pairs)


_RATES: Mapping[float, str] = {1.0: "recall", 0.0: "specificity"}


def _one_sided(fires: Bools) -> Failed | None:
    if fires.all() or not fires.any():
        return Failed("score", f"firing and silent items are needed; {int(fires.sum())} of {len(fires)} fire")
    return None


def _ratio(answers: Answers, part: Floats | Bools, whole: Floats | Bools) -> Statistic:
    """Weighted sum of one column over that of another; masked where the latter is 0."""
    sums = np.stack([np.bincount(answers.document, answers.weight * column, answers.documents) for column in (part, whole)], axis=1)
    return lambda weights: _divided(*(weights @ sums).T)


def _divided(part: Floats, whole: Floats) -> Masked:
    defined = whole > 0
    return np.ma.masked_array(part / np.where(defined, whole, 1.0), ~defined)


def _scaled(values: Floats) -> Floats:
    """From their mean, in multiples of the largest size."""
    scaled: Floats = (values - values.mean()) / (np.abs(values).max() or 1.0)
    return scaled


def _groups(answers: Sequence[Answer]) -> list[str]:
    return list(dict.fromkeys(answer.group for answer in answers if answer.group))
