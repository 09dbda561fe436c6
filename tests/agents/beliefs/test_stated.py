"""Stated confidence: an answer and a number, both or nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.beliefs import OTHER, READERS, Belief, Question, Reader
from agents.llm import Capability, Chat, ChatReply
from agents.providers.scripted import ScriptedLLM
from agents.self_explanations import Asking, ask
from analyzers.errors import Failed

LABELS = ("positive", "negative", "neutral")
QUESTION = ask(Asking("What does it say?", LABELS), "A fine film.", None, sure=True)
FREE = ask(Asking("Which town is it?"), "It is by the river.", None, sure=True).about("New York")


def stated(*, begun: bool = False) -> Reader:
    capabilities: frozenset[Capability] = frozenset(["chat", "prefill"] if begun else ["chat"])
    return READERS.create("stated", ScriptedLLM([], capabilities=capabilities))


def read(text: str, question: Question = QUESTION, *, begun: bool = False) -> Belief | Failed:
    return stated(begun=begun).read(question, [ChatReply(text=text)])


@given(st.sampled_from(LABELS), st.integers(0, 100), st.booleans())
def test_the_other_labels_share_what_is_left(label: str, percent: int, begun: bool) -> None:
    found = read(f"{'' if begun else 'Answer:'} {label}\nConfidence: {percent}%", begun=begun)
    assert isinstance(found, Belief)
    assert found.label == label
    rest = (1 - percent / 100) / 2
    assert found.probabilities == pytest.approx({name: percent / 100 if name == label else rest for name in LABELS})
    assert found.mass is None


@pytest.mark.parametrize(
    ("text", "stage"),
    [
        ("Answer: positive", "confidence"),
        ("Answer: positive\nConfidence: high", "confidence"),
        ("Answer: positive\nConfidence: 80-90%", "confidence"),
        ("Answer: positive\nConfidence: 140%", "confidence"),
        ("Answer: positive\nConfidence:", "confidence"),
        ("Answer: middling\nConfidence: 80%", "predict"),
        ("Confidence: 80%", "predict"),
        ("Answer: positive or negative\nConfidence: 80%", "predict"),
        ("", "predict"),
    ],
)
def test_an_answer_without_a_number_or_a_number_without_an_answer_fails(text: str, stage: str) -> None:
    found = read(text)
    assert isinstance(found, Failed)
    assert found.stage == stage


def test_a_reply_that_never_came_is_what_it_is() -> None:
    gone = Failed("ask", "no reply")
    assert stated().read(QUESTION, [gone]) == gone


@pytest.mark.parametrize(("answer", "first"), [("new york.", 0.75), ("Boston", 0.25)])
def test_a_free_answer_stands_against_all_others(answer: str, first: float) -> None:
    found = read(f"Answer: {answer}\nConfidence: 75%", FREE)
    assert isinstance(found, Belief)
    assert found.probabilities == {"New York": first, OTHER: 1 - first}
    assert found.label == ("New York" if first > 0.5 else OTHER)


def test_one_reply_is_asked_for_in_a_form_that_has_a_confidence() -> None:
    (request,) = stated().requests(QUESTION)
    assert isinstance(request, Chat)
    assert "\nConfidence: " in request.messages[-1].content
    assert (request.temperature, request.stop) == (0.0, ())
