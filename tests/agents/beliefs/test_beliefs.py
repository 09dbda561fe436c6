"""What all ways of finding out a belief share: questions, the choice of a way, and endpoints that answer badly."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.beliefs import OTHER, READERS, Belief, Question, believe
from agents.budget import Budget
from agents.connect import connect
from agents.llm import Capability, Chat, Message, Request
from agents.providers.scripted import ScriptedLLM
from agents.self_explanations import Asking, ask
from analyzers.errors import Failed, ProviderError

LABELS = ("positive", "negative")
ASKING = Asking("What does the review say of the film?", LABELS)


def llm(*capabilities: Capability) -> ScriptedLLM:
    return ScriptedLLM([], capabilities=frozenset(capabilities))


@pytest.mark.parametrize(
    ("capabilities", "name", "way"),
    [
        (["chat"], "stated", "Stated"),
        (["chat", "prefill", "json_schema"], "stated", "Stated"),
        (["chat", "top_logprobs"], "logprobs", "TopLogprobs"),
        (["chat", "prefill", "top_logprobs", "readout", "choice"], "logprobs", "Logprobs"),
        (["choice"], "logprobs", "Logprobs"),
    ],
)
def test_the_best_way_that_a_model_can_serve_is_picked(capabilities: list[Capability], name: str, way: str) -> None:
    reader = READERS.pick(llm(*capabilities))
    assert (reader.name, type(reader).__name__) == (name, way)


@pytest.mark.parametrize("capabilities", [[], ["readout"], ["top_logprobs"]])
def test_a_model_that_can_serve_none_is_refused(capabilities: list[Capability]) -> None:
    with pytest.raises(ProviderError, match="can serve no belief"):
        READERS.pick(llm(*capabilities))


def test_a_way_is_had_by_name() -> None:
    assert set(READERS.entries()) == {"logprobs", "samples", "stated", "top-logprobs"}
    assert READERS.create("samples", llm("chat")).name == "samples"
    with pytest.raises(ProviderError, match="lacks choice"):
        READERS.create("logprobs", llm("chat"))


def test_a_question_whose_answer_is_free_is_made_about_one() -> None:
    free = ask(Asking("What is it like?"), "Fine.", None)
    assert free.answers == ()
    about = free.about("very fine")
    assert (about.labels, about.answers) == (("very fine",), ("very fine", OTHER))
    assert about.messages == free.messages
    # Where there are labels they stay what they are.
    given_ = ask(ASKING, "Fine.", None)
    assert given_.about("positive") == given_
    assert given_.answers == LABELS


async def test_a_free_answer_without_one_to_ask_about_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="about no answer"):
        await believe(llm("chat"), READERS.create("samples", llm("chat")), [ask(Asking("What is it like?"), "Fine.", None)])


def test_a_reply_is_begun_only_where_the_model_goes_on_with_it() -> None:
    question = ask(ASKING, "Fine.", None)
    assert question.opened(llm("chat")) == question.messages
    assert question.opened(llm("chat", "prefill"))[len(question.messages) :] == (Message(role="assistant", content="Answer:"),)
    assert Question(question.messages, LABELS).opened(llm("chat", "prefill")) == question.messages


@given(st.lists(st.sampled_from([0.0, 0.1, 0.4, 0.5, 1.0]), min_size=2, max_size=5))
def test_the_answer_is_the_likeliest_and_none_where_two_are(chances: list[float]) -> None:
    found = Belief.likeliest({str(at): chance for at, chance in enumerate(chances)})
    best = [at for at, chance in enumerate(chances) if chance == max(chances)]
    assert found.label == (str(best[0]) if len(best) == 1 else None)


@given(st.floats(0, 1), st.integers(2, 6))
def test_a_stated_confidence_leaves_the_rest_to_the_others(confidence: float, count: int) -> None:
    labels = tuple(map(str, range(count)))
    found = Belief.stated("1", confidence, labels)
    assert found.label == "1"
    assert found.probabilities["1"] == confidence
    assert sum(found.probabilities.values()) == pytest.approx(1)
    assert len({value for label, value in found.probabilities.items() if label != "1"}) == 1
    assert set(Belief.undecided(labels).probabilities.values()) == {1 / count}


async def test_questions_are_asked_together_and_answered_in_order() -> None:
    def says(request: Request) -> str:
        assert isinstance(request, Chat)
        content = request.messages[-1].content
        return f"Answer: {'positive' if 'fine' in content else 'negative'}\nConfidence: {60 + len(content) % 7}%"

    model = ScriptedLLM(says, capabilities=frozenset({"chat"}))
    texts = ["A fine film.", "A bad film indeed.", "fine"]
    questions = [ask(ASKING, text, None, sure=True) for text in texts]
    found = await believe(model, READERS.pick(model), questions)
    alone = [(await believe(model, READERS.pick(model), [question]))[0] for question in questions]
    assert found == alone
    assert [belief.label for belief in found if isinstance(belief, Belief)] == ["positive", "negative", "positive"]
    assert await believe(model, READERS.pick(model), []) == []


# ---- a server that answers badly: every way ends in a belief, a failure, or an error that the user can mend

Faulty = Callable[[Any, dict[str, Any]], Any]
TOKENS = [{"token": " Nothing", "logprob": -0.1, "bytes": None, "top_logprobs": []}]
FAULTS: dict[str, Faulty] = {
    "no JSON": lambda server, body: b'{"id": "x", "choices": [',
    "no choices": lambda server, body: {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": []},
    "an empty text": lambda server, body: server.chat(""),
    "only spaces": lambda server, body: server.chat(" \n "),
    "cut off": lambda server, body: server.chat("", finish="length"),
    "a refusal": lambda server, body: server.chat("I cannot help with that.", finish="content_filter"),
    "something else": lambda server, body: server.chat("Nothing of the kind."),
    "no log-probabilities": lambda server, body: server.chat("Answer: positive"),
    "empty log-probabilities": lambda server, body: server.chat("Answer: positive", logprobs=[]),
    "other tokens": lambda server, body: server.chat(" Nothing", logprobs=TOKENS),
    "too many requests": lambda server, body: server.error(429, "slow down"),
    "out of order": lambda server, body: server.error(500, "oops"),
    "a rejection": lambda server, body: server.error(400, "logprobs are not supported"),
    "dies": lambda server, body: server.die,
}
AWAY = ("too many requests", "out of order", "dies", "no JSON", "no choices")
"""What may pass, is tried again, and stops the run where it stays."""


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("way", ["top-logprobs", "samples", "stated"])
async def test_a_server_that_answers_badly_ends_typed(server: Any, way: str, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    async def soon(seconds: float) -> None:
        await asyncio.sleep(0)

    def able(body: dict[str, Any]) -> Any:
        return server.chat("7", logprobs=server.digits()) if "logprobs" in body else server.chat('{"animal": "zebra"}')

    server.answer = able
    async with await connect("openai:m", base_url=server.url, budget=Budget(), cache=None, sleep=soon, timeout=5.0) as model:
        assert "top_logprobs" in model.capabilities
        server.answer = lambda body: FAULTS[fault](server, body)
        reader = READERS.create(way, model)
        question = ask(ASKING, "A fine film.", None, sure=way == "stated")
        before = len(server.bodies)
        stopped = ""
        found: list[Belief | Failed] = []
        try:
            found = await believe(model, reader, [question])
        except ProviderError as error:
            stopped = str(error)
        if stopped:
            assert fault in AWAY
            assert "given up" in stopped
        elif way == "samples" and "log-probabilities" in fault:
            # They need not be there for samples to be read: the text is a whole answer.
            assert found == [Belief("positive", {"positive": 1.0, "negative": 0.0}, 1.0)]
        else:
            (failed,) = found
            assert isinstance(failed, Failed), failed
            assert failed.stage in {"ask", "predict", "confidence"}
            assert failed.reason
        assert len(server.bodies) > before


async def test_what_a_good_server_says_is_a_belief(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same path with good answers, so that the failures above are not for want of a way."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    def able(body: dict[str, Any]) -> Any:
        if "response_format" in body:
            return server.chat('{"animal": "zebra"}')
        if "logprobs" not in body:
            return server.chat("Answer: positive\nConfidence: 80%")
        if "digit" in body["messages"][-1]["content"]:
            return server.chat("7", logprobs=server.digits())
        top = [{"token": " positive", "logprob": -0.5, "bytes": None}, {"token": " negative", "logprob": -1.5, "bytes": None}]
        lead: list[dict[str, Any]] = [{"token": token, "logprob": 0.0, "bytes": None, "top_logprobs": []} for token in ("Answer", ":")]
        return server.chat("Answer: positive", logprobs=[*lead, {**top[0], "top_logprobs": top}])

    server.answer = able
    async with await connect("openai:m", base_url=server.url, budget=Budget(), cache=None, timeout=5.0) as model:
        found = {}
        for way in ("top-logprobs", "samples", "stated"):
            (found[way],) = await believe(model, READERS.create(way, model), [ask(ASKING, "A fine film.", None, sure=way == "stated")])
        beliefs = {way: belief.probabilities["positive"] for way, belief in found.items() if isinstance(belief, Belief)}
    assert beliefs == pytest.approx({"top-logprobs": 1 / (1 + 2.718281828**-1), "samples": 1.0, "stated": 0.8})
