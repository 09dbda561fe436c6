"""When the result of a check is void: by hand, of every kind of check."""

from collections.abc import Callable

import pytest

from agents.beliefs import READERS
from agents.providers.scripted import ScriptedLLM
from agents.self_explanations import Asking
from analyzers.errors import Failed
from analyzers.units import words
from evals.audit.checks import Checked, CheckResult
from evals.audit.checks.after_thought import Compared, compared, without_labels
from evals.audit.checks.explained import Explained, Measured, beside_random
from evals.audit.checks.found import check_result, missing
from evals.audit.rows import VOID
from evals.results import Failure, Value

NO = Failed("explain", "no explanation")


def checked(items: int) -> Checked:
    llm = ScriptedLLM([], capabilities=frozenset(["chat", "choice"]))
    texts = [words(f"item {number}") for number in range(items)]
    return Checked(llm, READERS.create("logprobs", llm), Asking("Which?", ("a", "b"), persona="a cook"), texts, ("explain-first",), seed=0)


def by_thoughts(of: Checked, failed: int) -> CheckResult:
    good = [Compared({"drop": 0.5}, {"drop": 0.1})] * (len(of.items) - failed)
    return compared(of, "some check", ["drop"], [*good, *[NO] * failed])


def by_explanations(of: Checked, failed: int) -> CheckResult:
    good = len(of.items) - failed
    explained: list[Explained | Failed] = [*(Explained.__new__(Explained) for _ in range(good)), *[NO] * failed]
    return beside_random("some check", "", of, explained, [Measured({"drop": 0.5}, {"drop": [0.1, 0.2]})] * good, ("drop",), ("drop",))


@pytest.mark.parametrize("check", [by_thoughts, by_explanations])
@pytest.mark.parametrize("failed", range(11))
def test_more_than_a_fifth_of_failed_items_makes_a_check_void(check: Callable[[Checked, int], CheckResult], failed: int) -> None:
    found = check(checked(10), failed)
    assert (found.n, found.n_failed, found.void) == (10 - failed, failed, failed > 2)
    assert sum(each.n for each in found.missing) == failed
    assert pytest.approx(0.2) == VOID


def test_a_check_that_cannot_be_made_is_void() -> None:
    found = without_labels(checked(3), "some check", ["drop"])
    assert (found.n, found.n_failed, found.void, found.missing[0].n) == (0, 3, True, 3)
    assert isinstance(found.figures["drop"], Failure)
    assert without_labels(checked(0), "some check", ["drop"]).void is False


def test_a_result_has_what_it_is_given() -> None:
    value = Value(value=0.5, low=0.4, high=0.6, n=3)
    figures: dict[str, Value | Failed] = {"drop": value, "rise": NO}
    found = check_result(
        checked(4), "some check", "explain-first", figures, n=3, missing=missing([[NO, NO, 1], [], [2], [NO]]), p={"drop": 0.1}
    )
    assert (found.name, found.order, found.persona) == ("some check", "explain-first", "a cook")
    assert found.figures == {"drop": value, "rise": Failure(stage="explain", reason="no explanation")}
    assert (found.chance, found.p, found.q, found.records) == ({}, {"drop": 0.1}, {}, [])
    # An item counts once for a reason.
    assert [(each.reason, each.n) for each in found.missing] == [("no explanation", 2)]
    assert found.void
