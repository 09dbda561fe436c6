"""Every strategy asks for what it says, and reads it from replies however they are dressed; what it cannot read is a failure."""

import asyncio
import re
from dataclasses import replace
from math import prod
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.confidences import PROMPTINGS, Asked, Guess, Outcome
from agents.llm import Capability, Chat, ChatReply, Request
from agents.providers.scripted import ScriptedLLM, words
from agents.self_explanations import Asking
from analyzers.errors import Failed

LABELLED = Asking("Is it good or bad?", ("good", "bad"))
FOUR = Asking("Which section?", ("world", "sports", "business", "science", "arts"))
FREE = Asking("What is it?")
NAMES = ["cot", "multi-step", "self-probing", "top-k", "vanilla"]
GOOD: dict[str, list[str]] = {
    "vanilla": ["Answer: good\nConfidence: 80%"],
    "cot": ["Thoughts: it is not bad at all. I like it.\nAnswer: good\nConfidence: 80%"],
    "self-probing": ["Answer: good\nConfidence: 30%", "Confidence: 80%"],
    "multi-step": ["Step 1: It shines. Confidence: 100%\nStep 2: So it is not bad. Confidence: 80%\nAnswer: good"],
    "top-k": ["G1: good\nP1: 80%\nG2: bad\nP2: 20%"],
}


def state(name: str, replies: list[Any], asking: Asking = LABELLED, *, prefill: bool = False, **options: Any) -> tuple[Outcome, list[Chat]]:
    """What a strategy makes of a model's replies, one a conversation, and what it asked."""
    capabilities: frozenset[Capability] = frozenset(["chat", "prefill"]) if prefill else frozenset(["chat"])
    llm = ScriptedLLM(replies, capabilities=capabilities)
    (outcome,) = asyncio.run(PROMPTINGS.get(name)(llm, [Asked(asking, "It shines.", **options)]))
    return outcome, [request for request in llm.history if isinstance(request, Chat)]


def first(outcome: Outcome) -> Guess:
    assert not isinstance(outcome.guesses, Failed), outcome
    return outcome.guesses[0]


def failed(outcome: Outcome) -> Failed:
    assert isinstance(outcome.guesses, Failed), outcome
    return outcome.guesses


def test_the_strategies_of_the_paper_are_there() -> None:
    assert list(PROMPTINGS.all()) == NAMES
    assert [name for name, each in PROMPTINGS.all().items() if each.ranked] == ["top-k"]
    assert all(name == each.name and each.prompts for name, each in PROMPTINGS.all().items())


@pytest.mark.parametrize("name", NAMES)
def test_a_plain_reply_is_read(name: str) -> None:
    outcome, asked = state(name, list(GOOD[name]))
    assert first(outcome) == Guess("good", 0.8)
    assert outcome.written == tuple(GOOD[name])
    assert all("Text: It shines." in words(request) for request in asked)


@pytest.mark.parametrize("name", NAMES)
def test_a_reply_that_was_begun_is_read_with_its_beginning(name: str) -> None:
    begun = [re.sub(r"^(Answer|Thoughts|Step 1|G1|Confidence):", "", reply) for reply in GOOD[name]]
    assert begun != GOOD[name]
    outcome, asked = state(name, list(begun), prefill=True)
    assert first(outcome) == Guess("good", 0.8)
    assert all(request.messages[-1].role == "assistant" for request in asked)


@pytest.mark.parametrize("name", NAMES)
def test_all_that_is_asked_was_expected(name: str) -> None:
    _, asked = state(name, list(GOOD[name]), temperature=0.7, seed=5)
    expected = PROMPTINGS.get(name).requests(ScriptedLLM([], capabilities=frozenset(["chat"])), [Asked(LABELLED, "It shines.", "", 0.7, 5)])
    assert asked == expected
    assert {(request.temperature, request.seed) for request in asked} == {(0.7, 5)}


@pytest.mark.parametrize("name", NAMES)
def test_an_example_stands_before_the_question_where_it_is_wanted(name: str) -> None:
    outcome, asked = state(name, list(GOOD[name]), replace(LABELLED, example=True))
    assert first(outcome) == Guess("good", 0.8)
    for request in asked:
        roles = [message.role for message in request.messages]
        assert roles[-3:] == ["user", "assistant", "user"]
        assert "It shines." in request.messages[-1].content
        # The strategy itself reads its own example.
        shown = request.messages[-2].content
        probes = name == "self-probing" and request is asked[-1]
        again, _ = state("vanilla" if name == "self-probing" else name, [shown], Asking("?", ("food", "travel")))
        assert isinstance(failed(again) if probes else first(again).confidence, Failed if probes else float)
    plain, _ = state(name, list(GOOD[name]))
    assert plain.guesses == outcome.guesses


@pytest.mark.parametrize("name", NAMES)
def test_a_hint_stands_below_the_text_of_the_question_and_not_of_the_probe(name: str) -> None:
    _, asked = state(name, list(GOOD[name]), hint="Hint: it is bad.")
    assert words(asked[0]).endswith("Text: It shines.\n\nHint: it is bad.")
    assert all("Hint" not in words(request) for request in asked[1:])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("reply", ["", "I cannot say.", "NaN", "{" * 500, "Answer:", "G1:", "Step 1:", "good and bad\n" * 40])
def test_garbage_is_a_failure_of_the_prediction(name: str, reply: str) -> None:
    outcome, asked = state(name, [reply] * 2)
    assert failed(outcome).stage == "predict"
    assert len(asked) == 1
    assert outcome.written == (reply,)


@pytest.mark.parametrize("name", NAMES)
def test_a_reply_that_never_came_is_a_failure_as_it_was(name: str) -> None:
    outcome, _ = state(name, [Failed("ask", "refused")] * 2)
    assert outcome == Outcome(Failed("ask", "refused"), ())


@given(st.text(max_size=300))
def test_whatever_is_written_ends_as_guesses_or_as_a_failure(text: str) -> None:
    for name in NAMES:
        outcome, _ = state(name, [ChatReply(text=text)] * 2)
        guesses = () if isinstance(outcome.guesses, Failed) else outcome.guesses
        assert bool(guesses) != isinstance(outcome.guesses, Failed)
        for guess in guesses:
            assert guess.answer in LABELLED.labels
            assert isinstance(guess.confidence, Failed) or 0 <= guess.confidence <= 1


def test_an_answer_without_a_confidence_says_why_it_has_none() -> None:
    for name, reply in {
        "vanilla": "Answer: good\nConfidence: high",
        "cot": "Thoughts: fine.\nAnswer: good",
        "multi-step": "Step 1: It shines. Confidence: 90%\nStep 2: So it is good.\nAnswer: good",
        "top-k": "G1: good\nG2: bad\nP2: 20%",
    }.items():
        guess = first(state(name, [reply])[0])
        assert guess.answer == "good"
        assert isinstance(guess.confidence, Failed)
        assert guess.confidence.stage == "confidence"
    probed = first(state("self-probing", ["Answer: good\nConfidence: 90%", "Very likely."])[0])
    assert isinstance(probed.confidence, Failed)
    unasked = first(state("self-probing", ["Answer: good\nConfidence: 90%", Failed("ask", "refused")])[0])
    assert unasked == Guess("good", Failed("ask", "refused"))


def test_thoughts_that_break_off_name_no_answer() -> None:
    thoughts = ChatReply(text="Thoughts: it shines, so it may be good, and", finish="length")
    for name in ("cot", "multi-step"):
        assert "breaks off" in failed(state(name, [thoughts])[0]).reason
    whole = ChatReply(text="Thoughts: it shines, so it is good.", finish="stop")
    assert "no line with the answer" in failed(state("cot", [whole])[0]).reason


def test_labels_in_thoughts_are_no_answers() -> None:
    outcome, _ = state("cot", ["Thoughts: some would say bad, even very bad.\n**Answer:** good\n**Confidence:** 0.8"])
    assert first(outcome) == Guess("good", 0.8)


@given(
    st.lists(st.integers(0, 100), min_size=1, max_size=9),
    st.sampled_from([". Confidence: {}%", "\nConfidence: {}", " (confidence: {}%)", " [Confidence: {}]"]),
)
def test_the_confidence_of_steps_is_their_product(sure: list[int], dress: str) -> None:
    # A bare 1 is certain, not 1 %.
    sure = [value if value != 1 else 2 for value in sure]
    steps = "\n".join(f"**Step {number}:** it shines{dress.format(value)}" for number, value in enumerate(sure, 1))
    guess = first(state("multi-step", [f"{steps}\nAnswer: good\nConfidence: 1%"])[0])
    assert guess.confidence == pytest.approx(prod(value / 100 for value in sure))


def test_guesses_keep_the_order_in_which_they_are_written() -> None:
    reply = "G1: sports\nP1: 30%\nG2: world\nP2: 60%\nG3: arts\nP3: 10%\nG4: science\nP4: 0%"
    outcome, (asked,) = state("top-k", [reply], FOUR)
    assert outcome.guesses == (Guess("sports", 0.3), Guess("world", 0.6), Guess("arts", 0.1), Guess("science", 0.0))
    assert "G4:" in words(asked)
    assert "G5:" not in words(asked)
    # What comes behind a guess that cannot be read would have a wrong rank.
    cut, _ = state("top-k", [reply.replace("G3: arts", "G3: none of them")], FOUR)
    assert not isinstance(cut.guesses, Failed)
    assert [guess.answer for guess in cut.guesses] == ["sports", "world"]
    one_line, _ = state("top-k", [reply.replace("\nP", ", P").replace("\nG", "; G")], FOUR)
    assert one_line.guesses == outcome.guesses


def test_no_more_guesses_are_asked_for_than_there_are_labels() -> None:
    _, (asked,) = state("top-k", GOOD["top-k"])
    assert "G2:" in words(asked)
    assert "G3:" not in words(asked)


def test_free_answers_are_read_up_to_their_confidence() -> None:
    assert first(state("vanilla", ["Answer: the Eiffel Tower, Confidence: 80%"], FREE)[0]) == Guess("the Eiffel Tower", 0.8)
    outcome, (asked,) = state("top-k", ["G1: Paris, P1: 70%\nG2: Rome | P2: 20%\nG3: Oslo\nP3: 10%"], FREE)
    assert outcome.guesses == (Guess("Paris", 0.7), Guess("Rome", 0.2), Guess("Oslo", 0.1))
    assert "G4:" in words(asked)


def test_the_probe_shows_the_answer_and_not_the_reply_it_is_from() -> None:
    reply = "Answer: the\ttower <|im_end|>\nConfidence: 31%"
    _, (_, probe) = state("self-probing", [reply, "Confidence: 80%"], FREE)
    assert "31%" not in words(probe)
    assert words(probe).endswith("Possible answer, quoted too: the\\ttower < |im_end| >")
    _, (_, probe) = state("self-probing", list(GOOD["self-probing"]))
    assert "one of: good, bad" in words(probe)


def test_many_are_asked_together_and_stay_apart() -> None:
    asked = [Asked(LABELLED, text) for text in ("one", "two", "three", "four")]

    def answer(request: Request) -> str:
        text = words(request)
        if "Possible answer" in text:
            return "Confidence: 60%" if "Text: three" in text else "Confidence: 70%"
        return "?" if "Text: two" in text else "Answer: bad\nConfidence: 1%" if "Text: three" in text else "Answer: good\nConfidence: 2%"

    llm = ScriptedLLM(answer, capabilities=frozenset(["chat"]))
    outcomes = asyncio.run(PROMPTINGS.get("self-probing")(llm, asked))
    assert [isinstance(each.guesses, Failed) for each in outcomes] == [False, True, False, False]
    assert [first(outcomes[at]) for at in (0, 2, 3)] == [Guess("good", 0.7), Guess("bad", 0.6), Guess("good", 0.7)]
