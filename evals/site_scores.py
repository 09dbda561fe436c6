"""Scores of one explanation on held-out excerpts, beside its controls on the same excerpts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agents.explanation import Simulation
from agents.simulators.lexical import Lexical
from agents.simulators.lookup import fit_bigram, fit_token
from analyzers.errors import Failed
from analyzers.evidence import STRATA, Evidence, Excerpt
from evals.calibration import CALIBRATIONS, calibrated
from evals.results import Failure, Lift, Scores, Value
from evals.scores import SCORES, Pairs, null_contrast, paired, score
from evals.statistics import exchange_p, lift, scores

Outcomes = Sequence[Simulation | Failed]

MOST_MISSING = 0.2
"""Share of tokens without a prediction beyond which a score is Failed: what is left would not be the sample that was drawn."""


@dataclass(frozen=True, eq=False)
class Simulations:
    """What the simulator predicted, one outcome an excerpt; the null ones are of the empty explanation on the same excerpts."""

    calibrate: Outcomes
    calibrate_null: Outcomes
    test: Outcomes
    test_null: Outcomes
    shuffled: Outcomes
    """Of the test excerpts, from another site's explanation."""


@dataclass(frozen=True, eq=False)
class SiteScores:
    """What was measured of one site's explanation."""

    scores: Scores
    by_stratum: dict[str, Scores]
    controls: dict[str, Scores]
    lift: Lift | Failure
    p_value: float | None


def failure(failed: Failed) -> Failure:
    """As results.json holds it."""
    return Failure(stage=failed.stage, reason=failed.reason)


def stored(values: Mapping[str, Value | Failed]) -> Scores:
    """As results.json holds them."""
    return {name: failure(value) if isinstance(value, Failed) else value for name, value in values.items()}


def pairs_of(excerpts: Sequence[Excerpt], outcomes: Outcomes, null: Outcomes | None = None) -> Pairs | Failed:
    """Truth beside prediction, the null simulation subtracted if there is one; Failed where too much is missing."""
    pairs = paired(excerpts, outcomes)
    if null is not None and not isinstance(pairs, Failed):
        nulls = paired(excerpts, null)
        pairs = nulls if isinstance(nulls, Failed) else null_contrast(pairs, nulls)
    if not isinstance(pairs, Failed) and pairs.missing > MOST_MISSING * len(pairs.truth):
        return Failed("simulate", f"{pairs.missing} of {len(pairs.truth)} tokens have no prediction")
    return pairs


def pearson_of(excerpts: Sequence[Excerpt], outcomes: Outcomes, null: Outcomes | None) -> float | Failed:
    """Pearson over all predicted tokens, with null contrast if there is a null simulation: what candidates and planted neurons are
    ranked by."""
    pairs = pairs_of(excerpts, outcomes, null)
    return pairs if isinstance(pairs, Failed) else score("pearson", pairs)


async def score_site(evidence: Evidence, explanation: str, simulations: Simulations, *, has_prior: bool, seed: int) -> SiteScores:
    """All scores and controls of one site's explanation on its test excerpts.

    has_prior: whether the simulator is a language model, whose prior a null contrast removes; without one there is nothing to subtract
    and the headline is the plain Pearson correlation. Intervals: cluster bootstrap over documents, the same draws throughout.
    """
    test, calibrate, explain = (evidence.splits[split] for split in ("test", "calibrate", "explain"))
    measured = _measures(pairs_of(test, simulations.test), pairs_of(calibrate, simulations.calibrate), "", seed)
    name, null = "pearson", None
    if has_prior:
        name, null = "pearson_null_contrast", simulations.test_null
        contrasted = pairs_of(calibrate, simulations.calibrate, simulations.calibrate_null)
        measured |= _measures(pairs_of(test, simulations.test, null), contrasted, "_null_contrast", seed)
    headline = pairs_of(test, simulations.test, null)
    free = {
        "token_lookup": paired(test, await fit_token(explain).simulate("", test)),
        "bigram_lookup": paired(test, await fit_bigram(explain).simulate("", test)),
        "lexical": paired(test, await Lexical().simulate(explanation, test)),
    }
    controls = {control: stored(_pearson(pairs, "pearson", seed)) for control, pairs in free.items()}
    controls["shuffled"] = stored(_told(test, simulations.shuffled, null, seed))
    if has_prior:
        controls["null"] = stored(_pearson(pairs_of(test, simulations.test_null), "pearson", seed))
    return SiteScores(
        scores=stored(measured),
        by_stratum=_by_stratum(test, simulations.test, null, name, seed),
        controls=controls,
        lift=_lift(headline, free, name, seed),
        p_value=None if isinstance(headline, Failed) else _number(exchange_p(headline, seed=seed)),
    )


def _measures(pairs: Pairs | Failed, calibrating: Pairs | Failed, suffix: str, seed: int) -> dict[str, Value | Failed]:
    """Pearson as simulated, and the measures that compare values after each calibration, fitted on the calibrate split."""
    measured = _pearson(pairs, f"pearson{suffix}", seed)
    names = [name for name in SCORES if name != "pearson"]
    for calibration, fit in CALIBRATIONS.items():
        ending = suffix if calibration == "linear" else f"{suffix}_{calibration}"
        fitted = calibrating if isinstance(calibrating, Failed) else fit(calibrating)
        if isinstance(pairs, Failed):
            measured |= {f"{name}{ending}": pairs for name in names}
        elif isinstance(fitted, Failed):
            measured |= {f"{name}{ending}": fitted for name in names}
        else:
            values = scores(calibrated(fitted, pairs), names, seed=seed)
            measured |= {f"{name}{ending}": values[name] for name in names}
    return measured


def _pearson(pairs: Pairs | Failed, name: str, seed: int) -> dict[str, Value | Failed]:
    return {name: pairs if isinstance(pairs, Failed) else scores(pairs, ("pearson",), seed=seed)["pearson"]}


def _told(test: Sequence[Excerpt], outcomes: Outcomes, null: Outcomes | None, seed: int) -> dict[str, Value | Failed]:
    """The scores of an explanation that is told to the simulator but is not this site's."""
    measured = _pearson(pairs_of(test, outcomes), "pearson", seed)
    if null is not None:
        measured |= _pearson(pairs_of(test, outcomes, null), "pearson_null_contrast", seed)
    return measured


def _by_stratum(test: Sequence[Excerpt], outcomes: Outcomes, null: Outcomes | None, name: str, seed: int) -> dict[str, Scores]:
    """The headline score on the excerpts of one kind alone."""
    found: dict[str, Scores] = {}
    for stratum in STRATA:
        mine = [position for position, excerpt in enumerate(test) if excerpt.stratum == stratum]
        if mine:
            excerpts = [test[position] for position in mine]
            nulls = None if null is None else [null[position] for position in mine]
            found[stratum] = stored(_pearson(pairs_of(excerpts, [outcomes[position] for position in mine], nulls), name, seed))
    return found


def _lift(headline: Pairs | Failed, free: Mapping[str, Pairs | Failed], name: str, seed: int) -> Lift | Failure:
    if isinstance(headline, Failed):
        return failure(headline)
    controls = {control: pairs for control, pairs in free.items() if not isinstance(pairs, Failed)}
    lifted = lift("pearson", headline, controls, called=name, seed=seed)
    return failure(lifted) if isinstance(lifted, Failed) else lifted


def _number(value: float | Failed) -> float | None:
    return None if isinstance(value, Failed) else value
