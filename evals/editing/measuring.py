"""What a model says of everything that is asked after one edit, in whatever state it is: as it was, edited, or told in the context."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import prompts
from analyzers.errors import SubjectError
from evals.editing.cases import Asked, Case
from evals.editing.results import Outcome

if TYPE_CHECKING:
    from analyzers.text_model import TextModel

SHOWN = 12
"""Tokens that are shown of how the model goes on behind the edit's prompt."""

Leading = Callable[[str], str]
"""What a prompt is read as."""


def as_it_is(prompt: str) -> str:
    """Nothing before it."""
    return prompt


def told_in_context(case: Case) -> Leading:
    """The new fact before every prompt."""
    template = prompts.load("edit_in_context")

    def leading(prompt: str) -> str:
        return template.render("told", fact=case.fact.prompt + case.fact.target, prompt=prompt)

    return leading


@dataclass(frozen=True)
class Readable:
    """A case without what the model cannot read, and why that is left out."""

    case: Case
    left_out: tuple[str, ...]


def readable(model: "TextModel", case: Case) -> Readable:
    """Raises SubjectError where the edit itself cannot be read: its target is no continuation, or it is too long."""
    leading = told_in_context(case)
    model.continuation(leading(case.fact.prompt), case.fact.target)
    model.continuation(case.fact.prompt, case.fact.target)
    why: list[str] = []

    def can(prompt: str, *targets: str | None) -> bool:
        try:
            for target in targets:
                model.continuation(leading(prompt), target or " a")
                model.continuation(prompt, target or " a")
        except SubjectError as error:
            why.append(str(error))
            return False
        return True

    true = case.true if case.true is not None and can(case.fact.prompt, case.true) else None
    others = [case.fact.target] if case.neighbours else []
    return Readable(
        Case(
            case.fact,
            true,
            tuple(each for each in case.rephrases if can(each, case.fact.target, *([] if true is None else [true]))),
            tuple(each for each in case.portability if can(each.prompt, each.target)),
            tuple(each for each in case.locality if can(each.prompt, each.target, *others)),
            case.neighbours,
            case.writing if case.writing is not None and can(case.writing) else None,
            case.reference,
        ),
        tuple(why),
    )


def measure(
    model: "TextModel", case: Case, leading: Leading, *, plain: Outcome | None, generate: int, seed: int, seconds: float | None = None
) -> Outcome:
    """Ask everything. plain: the same of the model as it was, which locality is held against; None where this is that.

    generate: tokens that are written for fluency. seconds: what the edit took.
    """
    from analyzers.editing.answering import said, written_on

    new, true = case.fact.target, case.true
    both = (new,) if true is None else (new, true)
    neighbours = [each for each in case.locality if case.neighbours and each.target is not None]
    asked: list[Asked] = [Asked(each, target) for each in (case.fact.prompt, *case.rephrases) for target in both]
    asked += [*case.portability, *case.locality, *(Asked(each.prompt, new) for each in neighbours)]
    answers = iter(said(model, [(leading(each.prompt), each.target) for each in asked]))

    own = [next(answers) for _ in both]
    rephrased = [[next(answers) for _ in both] for _ in case.rephrases]
    ported = [next(answers) for _ in case.portability]
    elsewhere = [next(answers) for _ in case.locality]
    tempted = {each: next(answers) for each in neighbours}
    likeliest = [list(each.likeliest) for each in elsewhere]
    before = likeliest if plain is None else plain.elsewhere
    writing = case.writing or case.fact.prompt
    return Outcome(
        text=written_on(model, leading(case.fact.prompt), SHOWN),
        success=own[0].match,
        success_true=None if true is None else own[1].match,
        prefers=None if true is None else own[0].logprob > own[1].logprob,
        logprob=own[0].logprob,
        logprob_true=None if true is None else own[1].logprob,
        rephrased=[each[0].match for each in rephrased],
        rephrased_prefers=[each[0].logprob > each[1].logprob for each in rephrased if true is not None],
        ported={
            kind: [answer.match for answer, each in zip(ported, case.portability, strict=True) if each.kind == kind]
            for kind in dict.fromkeys(each.kind for each in case.portability)
        },
        kept=[_same(one, other) for one, other in zip(likeliest, before, strict=True)],
        neighbours=[
            answer.logprob > tempted[each].logprob for answer, each in zip(elsewhere, case.locality, strict=True) if each in tempted
        ],
        elsewhere=likeliest,
        written=written_on(model, leading(writing), generate, seed=seed) if generate else None,
        seconds=seconds,
    )


def _same(one: list[int], other: list[int]) -> float:
    return sum(a == b for a, b in zip(one, other, strict=True)) / len(one)
