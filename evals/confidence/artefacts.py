"""What a measurement of confidence leaves in its folder beside results.json: items.jsonl, with every reply."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from agents.confidences import Asked, Outcome
from agents.self_explanations import Asking
from analyzers.errors import Failed
from evals.confidence.results import ConfidenceItem, ItemAnswer, ItemDeletion, ItemGuess, ItemReplies, ItemReply
from evals.confidence.scoring import Scored
from evals.confidence.work import Measured, Work
from evals.results import Failure, failure
from evals.run_folder import write_json_lines

Way = tuple[str, str, str]
"""Prompting, sampling, aggregate."""


def write_items(
    folder: Path,
    works: Sequence[Work],
    answers: Sequence[Mapping[Way, Scored | Failed]],
    measured: Measured,
    askings: Mapping[str, Sequence[Asking] | Failed],
) -> None:
    """A line an item; answers: [item] what the replies come to."""
    lines = [_line(work, found, measured, askings) for work, found in zip(works, answers, strict=True)]
    write_json_lines(folder / "items.jsonl", [line.model_dump(mode="json") for line in lines])


def _line(
    work: Work, answers: Mapping[Way, Scored | Failed], measured: Measured, askings: Mapping[str, Sequence[Asking] | Failed]
) -> ConfidenceItem:
    asked = measured.asked(work, askings)
    deleted = (work.deleted or work.failed) if measured.config.deletion else None
    return ConfidenceItem(
        number=work.item.number,
        text=work.item.text,
        gold=work.gold,
        replies=[
            ItemReplies(prompting=way[0], sampling=way[1], replies=_replies(asked.get(way[1]), work.of(way)))
            for way in measured.config.ways
        ],
        answers=[_answer(way, found) for way, found in answers.items()],
        deletion=deleted if deleted is None or isinstance(deleted, ItemDeletion) else failure(deleted),
    )


def _replies(asked: Sequence[Asked] | Failed | None, outcomes: Sequence[Outcome] | Failed) -> list[ItemReply] | Failure:
    if isinstance(outcomes, Failed):
        return failure(outcomes)
    assert asked is not None
    assert not isinstance(asked, Failed)
    return [
        ItemReply(
            instruction=each.asking.instruction,
            hint=each.hint,
            guesses=failure(outcome.guesses)
            if isinstance(outcome.guesses, Failed)
            else [
                ItemGuess(
                    answer=guess.answer, confidence=failure(guess.confidence) if isinstance(guess.confidence, Failed) else guess.confidence
                )
                for guess in outcome.guesses
            ],
            written=list(outcome.written),
        )
        for each, outcome in zip(asked, outcomes, strict=True)
    ]


def _answer(way: Way, found: Scored | Failed) -> ItemAnswer:
    prompting, sampling, aggregate = way
    if isinstance(found, Failed):
        return ItemAnswer(prompting=prompting, sampling=sampling, aggregate=aggregate, failed=failure(found))
    return ItemAnswer(
        prompting=prompting,
        sampling=sampling,
        aggregate=aggregate,
        answer=found.answer,
        confidence=found.confidence,
        correct=found.correct,
    )
