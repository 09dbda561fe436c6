"""What all checks share: they ask in batches, and make a result of what they found of every item."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from agents.beliefs import Belief, Question, believe
from agents.llm import Chat, Reply
from analyzers.errors import Failed
from evals.audit import rows
from evals.audit.checks import Checked, CheckResult
from evals.audit.results import Missing
from evals.results import Failure, Value, failure

BATCH = 32
"""Requests, or questions, between two reports of progress."""

A = TypeVar("A")
B = TypeVar("B")


async def answers(checked: Checked, what: str, requests: Sequence[Chat]) -> list[Reply | Failed]:
    """[request] in batches, with progress; what: as it is reported."""
    return await _batches(checked, what, requests, checked.llm.answer)


async def beliefs(checked: Checked, what: str, questions: Sequence[Question]) -> list[Belief | Failed]:
    """[question] in batches, with progress; what: as it is reported."""
    return await _batches(checked, what, questions, lambda batch: believe(checked.llm, checked.reader, batch))


async def _batches(checked: Checked, what: str, asked: Sequence[A], answer: Callable[[Sequence[A]], Awaitable[list[B]]]) -> list[B]:
    found: list[B] = []
    checked.report(what, 0, len(asked))
    for start in range(0, len(asked), BATCH):
        found += await answer(asked[start : start + BATCH])
        checked.report(what, len(found), len(asked))
    return found


def check_result(
    checked: Checked,
    name: str,
    order: str,
    figures: Mapping[str, Value | Failed],
    *,
    n: int,
    missing: Sequence[Missing],
    chance: Mapping[str, float | Failure] | None = None,
    p: Mapping[str, float | None] | None = None,
    records: Sequence[Mapping[str, Any]] = (),
) -> CheckResult:
    """n: items that the check was made of; all others failed, and where they are more than a share of VOID the result is void."""
    failed = len(checked.items) - n
    return CheckResult(
        name=name,
        order=order,
        persona=checked.asking.persona,
        figures={each: failure(value) if isinstance(value, Failed) else value for each, value in figures.items()},
        chance=dict(chance or {}),
        p=dict(p or {}),
        n=n,
        n_failed=failed,
        void=failed > rows.VOID * len(checked.items),
        missing=list(missing),
        records=[dict(record) for record in records],
    )


def missing(items: Iterable[Iterable[object]]) -> list[Missing]:
    """From what was found of each item, failures among it: every reason, and how many items it is one for."""
    return rows.missing([why for some in items for why in dict.fromkeys(each for each in some if isinstance(each, Failed))])


def plain(value: object) -> Any:
    """As JSON holds it."""
    if isinstance(value, Failed):
        return failure(value).model_dump()
    if isinstance(value, Belief):
        return {"answer": value.label, "probabilities": dict(value.probabilities)}
    return value
