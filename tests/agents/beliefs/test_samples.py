"""Shares of answers among samples: counted by hand, some of them garbage."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.beliefs import OTHER, READERS, Belief, Question, Reader
from agents.beliefs.samples import SAMPLES, read_answer
from agents.llm import Capability, Chat, ChatReply, Choice, ChoiceReply
from agents.providers.scripted import ScriptedLLM
from agents.self_explanations import Asking, ask
from analyzers.errors import Failed

LABELS = ("positive", "negative", "not sure")
GARBAGE = ("", "I would rather not say.", "positive or negative", "Answer: middling", "Answer:", "Answer: not positive")
QUESTION = ask(Asking("What does it say?", LABELS), "A fine film.", None)
FREE = ask(Asking("Which town is it?"), "It is by the river.", None).about("New York")


def llm(*, begun: bool = False) -> ScriptedLLM:
    capabilities: frozenset[Capability] = frozenset(["chat", "prefill"] if begun else ["chat"])
    return ScriptedLLM([], capabilities=capabilities)


def samples(*, begun: bool = False) -> Reader:
    return READERS.create("samples", llm(begun=begun))


def read(texts: Sequence[str], question: Question = QUESTION, *, begun: bool = False) -> Belief | Failed:
    return samples(begun=begun).read(question, [ChatReply(text=text) for text in texts])


def test_samples_differ_in_their_seed_alone() -> None:
    requests = samples(begun=True).requests(QUESTION)
    assert len(requests) == SAMPLES == len({request.model_dump_json() for request in requests})
    assert all(isinstance(request, Chat) and request.temperature == 1.0 for request in requests)
    assert len({request.model_copy(update={"seed": 0}).model_dump_json() for request in requests}) == 1
    assert not any(isinstance(request, Choice) for request in requests)


@given(st.lists(st.sampled_from([*LABELS, *GARBAGE]), min_size=SAMPLES, max_size=SAMPLES), st.booleans())
def test_shares_are_counted_over_the_replies_that_hold_an_answer(texts: list[str], begun: bool) -> None:
    given_ = [text for text in texts if text in LABELS]
    said = [f" {text}" if begun and text in LABELS else f"Answer: {text}" if text in LABELS else text for text in texts]
    found = read(said, begun=begun)
    if 2 * len(given_) < SAMPLES:
        assert isinstance(found, Failed)
        assert found.stage == "predict"
    else:
        assert isinstance(found, Belief)
        assert found.probabilities == {label: given_.count(label) / len(given_) for label in LABELS}
        most = max(map(given_.count, LABELS))
        best = [label for label in LABELS if given_.count(label) == most]
        assert found.label == (best[0] if len(best) == 1 else None)
        assert found.mass == len(given_) / SAMPLES


def test_replies_that_never_came_count_as_garbage() -> None:
    good, gone = ChatReply(text="Answer: negative"), Failed("ask", "no reply")
    half = samples().read(QUESTION, [good] * 5 + [gone] * 5)
    assert isinstance(half, Belief)
    assert (half.label, half.mass) == ("negative", 0.5)
    assert samples().read(QUESTION, [good] * 4 + [gone] * 6) == gone


@pytest.mark.parametrize("begun", [True, False])
def test_a_free_answer_is_counted_up_to_how_it_is_written(begun: bool) -> None:
    lead = "" if begun else "Answer: "
    same = ["New York", "new york.", "“New  York”", "**NEW YORK**", "Ｎｅｗ York", "New York!"]
    other = ["York", "Newark", "New York City", "Boston"]
    found = read([lead + text for text in same + other], FREE, begun=begun)
    assert isinstance(found, Belief)
    assert found.probabilities == {"New York": 0.6, OTHER: 0.4}
    assert found.label == "New York"
    assert read([lead + text for text in [*other, *other, "New York", "x"]], FREE, begun=begun) == Belief(
        OTHER, {"New York": 0.1, OTHER: 0.9}, 1.0
    )


def test_one_answer_is_read_from_one_reply() -> None:
    assert read_answer(QUESTION, ChatReply(text="Answer: Positive."), llm()) == "positive"
    assert read_answer(QUESTION, ChatReply(text=" Positive."), llm(begun=True)) == "positive"
    # A label inside a longer one is not that label.
    assert read_answer(QUESTION, ChatReply(text="Answer: not sure"), llm()) == "not sure"
    assert isinstance(read_answer(QUESTION, ChatReply(text="Answer: not negative"), llm()), Failed)
    free = ask(Asking("Which town is it?"), "It is by the river.", None)
    assert read_answer(free, ChatReply(text="Answer: Boston"), llm()) == "Boston"
    assert isinstance(read_answer(free, ChatReply(text="Boston"), llm()), Failed)
    with pytest.raises(TypeError, match="answered a chat"):
        read_answer(QUESTION, ChoiceReply(logprobs=(-1.0,)), llm())
