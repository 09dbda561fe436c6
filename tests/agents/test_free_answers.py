"""When two free answers are one."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.beliefs import samples
from agents.free_answers import alike, normalised
from evals import tasks


@pytest.mark.parametrize(
    ("one", "other"),
    [("  PARIS.\n", "“Paris”"), ("ﬁne   Ｗｉｎｅ", "Fine wine!"), ("STRASSE", "straße"), ("?!", "?!"), ("¿Qué?", "qué"), ("好。", "好")],
)
def test_these_are_one(one: str, other: str) -> None:
    assert alike(one, other)


@pytest.mark.parametrize(("one", "other"), [("3.5", "35"), ("Paris", "Paris, France"), ("?", "!"), ("", "a"), ("a b", "ab")])
def test_these_are_two(one: str, other: str) -> None:
    assert not alike(one, other)


@given(st.text(string.printable + "éß。“”好", max_size=20), st.text(string.whitespace + ".,;:!?\"'", max_size=4))
def test_what_stands_around_an_answer_does_not_count(answer: str, around: str) -> None:
    assert normalised(normalised(answer)) == normalised(answer)
    if normalised(answer).isalnum():
        assert alike(f"{around}{answer}{around}", answer)


def test_tasks_and_beliefs_mean_the_same_by_it() -> None:
    assert tasks.normalised is normalised
    assert samples.alike is alike
