"""From replies to rows: one answer with one confidence an item, and how well these confidences hold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agents.confidences import Outcome
from agents.free_answers import normalised
from analyzers.errors import Failed
from evals.audit.rows import VOID, missing
from evals.confidence.aggregation import AGGREGATIONS, Aggregated, Guess, Reply
from evals.confidence.config import STATED
from evals.confidence.measures import chance, measure
from evals.confidence.reliability import reliability
from evals.confidence.results import ConfidenceReplies, ConfidenceRow
from evals.results import stored


@dataclass(frozen=True)
class Scored:
    """What the replies about one item come to."""

    answer: str
    confidence: float
    correct: bool


def spelled(answer: str, labels: Sequence[str]) -> str:
    """The spelling in which answers are compared."""
    return answer.casefold() if labels else normalised(answer)


def replies(outcomes: Sequence[Outcome], labels: Sequence[str]) -> list[Reply | Failed]:
    """[reply] as the aggregations take them, answers in the spelling in which they are compared."""
    return [
        outcome.guesses
        if isinstance(outcome.guesses, Failed)
        else tuple(
            Guess(spelled(guess.answer, labels), None if isinstance(guess.confidence, Failed) else guess.confidence)
            for guess in outcome.guesses
        )
        for outcome in outcomes
    ]


def stated(found: Sequence[Reply | Failed]) -> Aggregated | Failed:
    """Of a single reply: the answer and the confidence that it states."""
    (reply,) = found
    if isinstance(reply, Failed):
        return reply
    first = reply[0]
    return (
        Failed("confidence", "no confidence is stated")
        if first.confidence is None
        else Aggregated(first.answer, first.confidence, n=1, n_failed=0)
    )


def scored(outcomes: Sequence[Outcome] | Failed, aggregate: str, gold: str, labels: Sequence[str]) -> Scored | Failed:
    """One item by one aggregation."""
    if isinstance(outcomes, Failed):
        return outcomes
    if aggregate == STATED and (why := _unsure(outcomes[0])) is not None:
        return why
    combine: Callable[[Sequence[Reply | Failed]], Aggregated | Failed] = stated if aggregate == STATED else AGGREGATIONS[aggregate]
    found = combine(replies(outcomes, labels))
    if isinstance(found, Failed):
        return found
    # Sums of shares may be past 1 by a rounding error.
    return Scored(found.answer, min(1.0, max(0.0, found.confidence)), found.answer == spelled(gold, labels))


def row(
    way: tuple[str, str, str], outcomes: Sequence[Sequence[Outcome] | Failed], results: Sequence[Scored | Failed], asked: int, *, seed: int
) -> ConfidenceRow:
    """way: prompting, sampling, aggregate; outcomes, results: [item]; asked: replies an item."""
    prompting, sampling, aggregate = way
    known = [one for one in results if not isinstance(one, Failed)]
    confidence, correct = [one.confidence for one in known], [one.correct for one in known]
    sure = aggregate in (STATED, "avg-conf")
    lost = sum(asked if isinstance(one, Failed) else sum(_lost(reply, sure=sure) for reply in one) for one in outcomes)
    failed = len(results) - len(known)
    return ConfidenceRow(
        prompting=prompting,
        sampling=sampling,
        aggregate=aggregate,
        n=len(known),
        n_failed=failed,
        n_replies=asked * len(outcomes),
        n_replies_failed=lost,
        missing=missing(results),
        void=failed > VOID * len(results) or lost > VOID * asked * len(outcomes),
        measures=stored(measure(confidence, correct, seed=seed)),
        chance=chance(confidence, correct),
        reliability=reliability(confidence, correct),
    )


def how_they_ended(prompting: str, sampling: str, outcomes: Sequence[Sequence[Outcome] | Failed], asked: int) -> ConfidenceReplies:
    """Of all replies of one way of asking and of sampling; outcomes: [item]."""
    ends: list[object] = []
    for one in outcomes:
        ends += [one] * asked if isinstance(one, Failed) else [_unsure(reply) for reply in one]
    return ConfidenceReplies(
        prompting=prompting,
        sampling=sampling,
        n=len(ends),
        parsed=sum(not isinstance(end, Failed) for end in ends),
        failed=missing(ends),
    )


def _unsure(outcome: Outcome) -> Failed | None:
    """Why a reply has no answer, or no confidence in its first."""
    if isinstance(outcome.guesses, Failed):
        return outcome.guesses
    first = outcome.guesses[0].confidence
    return first if isinstance(first, Failed) else None


def _lost(outcome: Outcome, *, sure: bool) -> bool:
    return _unsure(outcome) is not None if sure else isinstance(outcome.guesses, Failed)
