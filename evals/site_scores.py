"""Scores of one explanation on held-out excerpts, beside its controls on the same excerpts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agents.explanation import Simulation
from agents.simulators import Simulator
from agents.simulators.lexical import Lexical
from agents.simulators.lookup import fit_bigram, fit_token
from analyzers.errors import Failed
from analyzers.evidence import STRATA, Evidence, Excerpt
from evals.calibration import CALIBRATIONS, calibrated
from evals.each import together
from evals.results import Failure, Lift, Scores, Value, failure, stored
from evals.scores import SCORES, Pairs, null_contrast, paired, score
from evals.statistics import exchange_p, lift, scores

Outcomes = Sequence[Simulation | Failed]

KINDS: Mapping[str, tuple[str, ...]] = {**{stratum: (stratum,) for stratum in STRATA}, "top_and_random": ("top", "random")}
"""The kinds of excerpts that are also scored alone; top and random together are the mix of the published protocol."""
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
    calibrate_shuffled: Outcomes


@dataclass(frozen=True, eq=False)
class SiteScores:
    """What was measured of one site's explanation."""

    scores: Scores
    by_stratum: dict[str, Scores]
    controls: dict[str, Scores]
    lift: Lift | Failure
    p_value: float | None


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


async def select_scores(
    simulator: Simulator, texts: Sequence[str], excerpts: Sequence[Excerpt], *, has_prior: bool
) -> list[float | Failed]:
    """What explanations to choose from score on the excerpts that choose, with null contrast where the simulator has a prior."""
    outcomes = await together(*(simulator.simulate(text, excerpts) for text in [*texts, *([""] if has_prior else [])]))
    null = outcomes.pop() if has_prior else None
    return [pearson_of(excerpts, outcome, null) for outcome in outcomes]


def best_of(scores: Sequence[float | Failed]) -> int:
    """Which explanation scores best; the first of those that do alike, or where none can be scored."""
    return max(range(len(scores)), key=lambda at: (-2.0 if isinstance(score := scores[at], Failed) else score, -at))


async def simulate_all(
    simulator: Simulator, text: str, lent: str | Failed, test: Sequence[Excerpt], calibrate: Sequence[Excerpt], *, has_prior: bool
) -> Simulations:
    """Simulate an explanation and its controls on the excerpts that score it; lent: another site's explanation, or why there is none."""

    async def simulated(text: str | Failed | None, excerpts: Sequence[Excerpt]) -> Outcomes:
        if isinstance(text, Failed):
            return [text] * len(excerpts)
        return [] if text is None else await simulator.simulate(text, excerpts)

    null = "" if has_prior else None
    return Simulations(
        *await together(
            simulated(text, calibrate),
            simulated(null, calibrate),
            simulated(text, test),
            simulated(null, test),
            simulated(lent, test),
            simulated(lent, calibrate),
        )
    )


async def score_site(evidence: Evidence, explanation: str, simulations: Simulations, *, has_prior: bool, seed: int) -> SiteScores:
    """All scores and controls of one site's explanation on its test excerpts.

    has_prior: whether the simulator is a language model, whose prior a null contrast removes; without one there is nothing to subtract
    and the headline is the plain Pearson correlation. Intervals: cluster bootstrap over documents, the same draws throughout.
    """
    test, calibrate, explain = (evidence.splits[split] for split in ("test", "calibrate", "explain"))

    def told(on_test: Outcomes, on_calibrate: Outcomes) -> dict[str, Value | Failed]:
        """All scores of what was simulated from words, as it is and with null contrast."""
        found = _measures(pairs_of(test, on_test), pairs_of(calibrate, on_calibrate), "", seed)
        if has_prior and on_test is not simulations.test_null:
            contrasted = pairs_of(calibrate, on_calibrate, simulations.calibrate_null)
            found |= _measures(pairs_of(test, on_test, simulations.test_null), contrasted, "_null_contrast", seed)
        return found

    name, null = ("pearson_null_contrast", simulations.test_null) if has_prior else ("pearson", None)
    headline = pairs_of(test, simulations.test, null)
    controls = {"shuffled": told(simulations.shuffled, simulations.calibrate_shuffled)}
    if has_prior:
        controls["null"] = told(simulations.test_null, simulations.calibrate_null)
    free: dict[str, Pairs | Failed] = {}
    lookers: dict[str, tuple[Simulator, str]] = {
        "token_lookup": (fit_token(explain), ""),
        "bigram_lookup": (fit_bigram(explain), ""),
        "lexical": (Lexical(), explanation),
    }
    for control, (simulator, text) in lookers.items():
        free[control] = paired(test, await simulator.simulate(text, test))
        controls[control] = _measures(free[control], paired(calibrate, await simulator.simulate(text, calibrate)), "", seed)
    return SiteScores(
        scores=stored(told(simulations.test, simulations.calibrate)),
        by_stratum=_by_stratum(test, simulations.test, null, seed),
        controls={control: stored(measured) for control, measured in controls.items()},
        # The lexical simulator is its own control, and no lift over itself is one.
        lift=_lift(headline, free if has_prior else {key: free[key] for key in free if key != "lexical"}, name, seed),
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


def _by_stratum(test: Sequence[Excerpt], outcomes: Outcomes, null: Outcomes | None, seed: int) -> dict[str, Scores]:
    """Pearson, as simulated and with null contrast, on the excerpts of some kinds alone."""
    found: dict[str, Scores] = {}
    for kind, strata in KINDS.items():
        mine = [position for position, excerpt in enumerate(test) if excerpt.stratum in strata]
        if mine:
            excerpts, simulated = [test[position] for position in mine], [outcomes[position] for position in mine]
            measured = _pearson(pairs_of(excerpts, simulated), "pearson", seed)
            if null is not None:
                contrasted = pairs_of(excerpts, simulated, [null[position] for position in mine])
                measured |= _pearson(contrasted, "pearson_null_contrast", seed)
            found[kind] = stored(measured)
    return found


def _lift(headline: Pairs | Failed, free: Mapping[str, Pairs | Failed], name: str, seed: int) -> Lift | Failure:
    if isinstance(headline, Failed):
        return failure(headline)
    controls = {control: pairs for control, pairs in free.items() if not isinstance(pairs, Failed)}
    lifted = lift("pearson", headline, controls, called=name, seed=seed)
    return failure(lifted) if isinstance(lifted, Failed) else lifted


def _number(value: float | Failed) -> float | None:
    return None if isinstance(value, Failed) else value
