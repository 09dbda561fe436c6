"""What the scorers of a run say of each site's explanation, beside another site's and an empty one on the same items."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analyzers.errors import Failed
from analyzers.progress import Report
from evals.calls import doing
from evals.cautions import CHANCE
from evals.each import each
from evals.results import ClauseGain, Failure, Instrument, ScorerResult, Scores, Value, failure, stored
from evals.scorers import Scorer
from evals.scoring.clauses import Gain, clauses, gains
from evals.scoring.ensemble import ENSEMBLE, combine, members
from evals.scoring.judged import Answer, Judged, Measure
from evals.scoring.measures import difference, measure_of, measured
from evals.work import Work

SHARE: Measure = "share"
OPPONENTS = 4
"""Explanations of other sites that are lent to them, beside the shuffled one."""


@dataclass(frozen=True)
class Said:
    """What one scorer answered of one site."""

    explanation: Judged | Failed
    shuffled: Judged | Failed
    null: Judged | Failed
    others: tuple[Judged | Failed, ...] = ()
    """Of the explanations of further sites that were lent, in the same order for every scorer of the site."""
    gains: tuple[Gain, ...] = ()
    """Of the clauses, where the explanation has several."""


async def judge(
    works: Sequence[Work],
    scorers: Mapping[str, Scorer],
    *,
    lent: bool,
    seed: int,
    report: Report,
    at_once: int,
) -> None:
    """Fill in what every scorer answers of every site that has an explanation.

    lent: whether members of an ensemble also judge the explanations of further sites; scorers that compare explanations always do.
    """
    explained = [work for work in works if work.chosen is not None]
    for name, scorer in scorers.items():

        async def one(work: Work, scorer: Scorer = scorer) -> Said | Failed:
            assert work.chosen is not None
            if work.material is None:
                return Failed("score", "there are no items to judge on")
            texts = [work.chosen.text, *([work.shuffled] if isinstance(work.shuffled, str) else [])]
            known = len(texts)
            if scorer.role == "contest" or (lent and scorer.role != "apart"):
                texts += _others(work, explained, texts)
            texts.append("")
            with doing("judge", work.site):
                said = await scorer.judge(texts, work.material, seed=seed)
                # Of a contest a share of wins says little of parts, and those apart read none or cost too much.
                several = len(clauses(work.chosen.text)) > 1 and scorer.role in ("items", "whole")
                added = await gains(scorer, work.chosen.text, work.material, seed=seed) if several else []
            shuffled = said[1] if isinstance(work.shuffled, str) else work.shuffled
            return Said(said[0], shuffled, said[-1], tuple(said[known:-1]), tuple(added))

        for work, outcome in zip(explained, await each(explained, one, f"score by {name}", report, at_once), strict=True):
            work.said[name] = outcome
            if isinstance(outcome, Failed) and outcome.stage == "budget":
                # Of a limit the run must know: it ends otherwise.
                work.failures.append(outcome)


def ensemble_of(work: Work, scorers: Mapping[str, Scorer]) -> Judged | Failed | None:
    """What the scorers say together: of each other explanation that all of them judged, whether this one is put above it; None where
    there are not two of them. Their measures are standardised over the explanations (evals.scoring.ensemble)."""
    said = {name: work.said[name] for name in members(scorers) if name in work.said}
    if len(said) < 2:
        return None
    figures: dict[str, list[float | Failed]] = {}
    for name, told in said.items():
        if isinstance(told, Failed):
            return told
        judged = (told.explanation, told.shuffled, *told.others, told.null)
        figures[name] = [one if isinstance(one, Failed) else measure_of(one, scorers[name].measure) for one in judged]
    own, *others = combine(figures)
    if isinstance(own, Failed):
        return own
    answers = tuple(
        Answer(f"against {number}", f"against {number}", 1.0, other if isinstance(other, Failed) else float(np.heaviside(own - other, 0.5)))
        for number, other in enumerate(others)
    )
    return Judged(answers)


def _others(work: Work, works: Sequence[Work], texts: Sequence[str]) -> list[str]:
    """Explanations of other sites, with other texts, in the order of the sites, then stand-ins."""
    said = dict.fromkeys([*(other.chosen.text for other in works if other.chosen is not None), *work.stand_ins])
    return [text for text in said if text not in texts][:OPPONENTS]


def results_of(
    work: Work, scorers: Mapping[str, Scorer], instruments: Mapping[str, Instrument], seed: int
) -> dict[str, ScorerResult | Failure]:
    """By scorer, and of all of them together, the numbers made of what was said of a site."""
    found = {name: scorer_result(scorers[name], said, instruments.get(name), seed) for name, said in work.said.items()}
    both = ensemble_of(work, scorers)
    if both is not None:
        found[ENSEMBLE] = failure(both) if isinstance(both, Failed) else _ensemble_result(both, scorers, instruments.get(ENSEMBLE), seed)
    return found


def _ensemble_result(judged: Judged, scorers: Mapping[str, Scorer], tested: Instrument | None, seed: int) -> ScorerResult:
    return ScorerResult(
        scorer=f"{ENSEMBLE}({', '.join(members(scorers))})",
        measure=SHARE,
        chance=0.5,
        scores=stored(measured(judged, SHARE, seed=seed)),
        warning=_warning(tested),
        cannot_judge=[] if tested is None else tested.cannot_judge,
    )


def scorer_result(scorer: Scorer, said: Said | Failed, tested: Instrument | None, seed: int) -> ScorerResult | Failure:
    """The numbers made of it, and what to mind."""
    if isinstance(said, Failed):
        return failure(said)
    if isinstance(said.explanation, Failed):
        return failure(said.explanation)
    lift = _lift(said.explanation, said.shuffled, scorer, seed)
    return ScorerResult(
        scorer=scorer.name,
        measure=scorer.measure,
        chance=scorer.chance,
        scores=stored(measured(said.explanation, scorer.measure, seed=seed)),
        controls={"shuffled": _scores(said.shuffled, scorer, seed), "null": _scores(said.null, scorer, seed)},
        lift=failure(lift) if isinstance(lift, Failed) else lift,
        saved=sum(each.saved for each in (said.explanation, said.shuffled, *said.others, said.null) if isinstance(each, Judged)),
        clauses=[
            ClauseGain(clause=each.clause, gain=failure(each.gain) if isinstance(each.gain, Failed) else each.gain) for each in said.gains
        ],
        warning=_warning(tested),
        cannot_judge=[] if tested is None else tested.cannot_judge,
    )


def answers_of(works: Sequence[Work]) -> Iterator[dict[str, Any]]:
    """Rows of judgements.parquet: one an answer."""
    for work in works:
        for name, said in work.said.items():
            if isinstance(said, Failed):
                continue
            for of, judged in (("explanation", said.explanation), ("shuffled", said.shuffled), ("null", said.null)):
                for answer in () if isinstance(judged, Failed) else judged.answers:
                    failed = isinstance(answer.prediction, Failed)
                    yield {
                        "site": work.site.name,
                        "polarity": work.site.polarity,
                        "scorer": name,
                        "of": of,
                        "item": answer.item,
                        "document": answer.document,
                        "group": answer.group,
                        "weight": answer.weight,
                        "truth": answer.truth,
                        "prediction": None if failed else answer.prediction,
                        "failed": answer.prediction.reason if isinstance(answer.prediction, Failed) else None,
                    }


def answer_columns() -> Any:
    """Schema of judgements.parquet."""
    import pyarrow as pa

    texts = [(name, pa.string()) for name in ("site", "polarity", "scorer", "of", "item", "document", "group")]
    numbers = [(name, pa.float64()) for name in ("weight", "truth", "prediction")]
    return pa.schema([*texts, *numbers, ("failed", pa.string())])


def _lift(explanation: Judged, shuffled: Judged | Failed, scorer: Scorer, seed: int) -> Value | Failed | None:
    """None for one outcome that stands for both: its scorer reads no explanation."""
    if isinstance(shuffled, Failed):
        return shuffled
    return None if shuffled is explanation else difference(explanation, shuffled, scorer.measure, seed=seed)


def _scores(judged: Judged | Failed, scorer: Scorer, seed: int) -> Scores:
    if isinstance(judged, Failed):
        return {scorer.measure: failure(judged)}
    return stored(measured(judged, scorer.measure, seed=seed))


def _warning(tested: Instrument | None) -> str | None:
    if tested is None or not isinstance(tested.within, Value):
        return "How this scorer does on planted neurons with this model is not known: nothing says what its figures are worth."
    if tested.within.low <= CHANCE and not tested.judges:
        within = tested.within
        return (
            "This scorer does not tell true explanations of planted neurons from false ones with this model "
            f"(ranks {within.value:.2f} [{within.low:.2f}, {within.high:.2f}] of them rightly, chance is .5): its figure is no evidence."
        )
    return None
