"""The experiment on a fixed plan: a model without tools finds what the loudest excerpts hide."""

import json
import re
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from agents.experimenter import Experimented, ExperimentLimits, experiment, replay
from agents.experimenter.plan import read_list
from agents.llm import Capability, Request
from agents.providers.scripted import Answer, ScriptedLLM
from analyzers.errors import Failed

PLAIN: frozenset[Capability] = frozenset({"chat"})
SCHEMA: frozenset[Capability] = frozenset({"chat", "json_schema"})


async def run(
    planted: SimpleNamespace,
    answer: Callable[[Request], Answer],
    *,
    capabilities: frozenset[Capability] = PLAIN,
    limits: ExperimentLimits | None = None,
) -> tuple[Experimented | Failed, list[Request]]:
    llm = ScriptedLLM(answer, capabilities=capabilities)
    outcome = await experiment(
        llm, planted.lab, planted.excerpts, score_on_select=planted.score, limits=limits or ExperimentLimits(), seed=3
    )
    return outcome, llm.history


async def test_it_revises_what_the_loudest_excerpts_suggest(planted: SimpleNamespace) -> None:
    outcome, history = await run(planted, planted.lists)
    assert isinstance(outcome, Experimented)
    assert outcome.explanation.text == 'the word after "due to"'
    assert outcome.explanation.explainer == "experiment-plan(scripted:test)"
    (clause,) = outcome.clauses
    assert clause.supported
    # Its predictions held: two texts that fire, two that are silent.
    assert (outcome.confidence, outcome.stopped) == (1.0, "")
    # One round sees only what the loudest suggest, and is wrong about it.
    single, _ = await run(planted, planted.lists, limits=ExperimentLimits(rounds=1))
    assert isinstance(single, Experimented)
    assert single.explanation.text != outcome.explanation.text
    assert single.confidence is not None
    assert single.confidence < 1
    notes = [json.loads(json.dumps(row["arguments"])) for row in outcome.steps if row.get("name") == "note_hypothesis"]
    refuted = {note["text"] for note in notes if note.get("status") == "refuted"}
    assert refuted == {"talk of a marathon", "names of weather"}
    assert all(request.kind == "chat" for request in history)


async def test_excerpts_and_measured_texts_stand_in_fences_of_user_turns(planted: SimpleNamespace) -> None:
    _, history = await run(planted, planted.lists)
    within = 0
    for request in history:
        assert request.kind == "chat"
        for message in request.messages:
            outside = re.sub(r"^(`{3,})\n.*?\n\1$", "", message.content, flags=re.DOTALL | re.MULTILINE)
            assert not any(text[:20] in outside for text in planted.texts)
            if message.role != "user":
                assert not any(text[:20] in message.content for text in planted.texts)
            within += planted.bait[:20] in message.content
    assert within


async def test_a_model_with_schemas_is_asked_by_schema(planted: SimpleNamespace) -> None:
    def by_schema(request: Request) -> str:
        assert request.kind == "chat"
        assert request.json_schema is not None
        assert all(json.loads(message.content)["items"] for message in request.messages if message.role == "assistant")
        return json.dumps({"items": read_list(planted.lists(request))})

    outcome, _ = await run(planted, by_schema, capabilities=SCHEMA)
    plain, _ = await run(planted, planted.lists)
    assert isinstance(outcome, Experimented)
    assert isinstance(plain, Experimented)
    assert (outcome.clauses, outcome.confidence) == (plain.clauses, plain.confidence)


@pytest.mark.parametrize(
    ("limits", "stopped", "best"),
    [
        # The first guess is refuted by then, the second just noted.
        (ExperimentLimits(steps=4), "the limit of 4 steps is reached", "names of weather"),
        (ExperimentLimits(tool_calls=5), "the limit of 5 tool calls is reached", "talk of a marathon"),
    ],
)
async def test_at_a_limit_it_ends_with_the_best_hypothesis(
    planted: SimpleNamespace, limits: ExperimentLimits, stopped: str, best: str
) -> None:
    outcome, history = await run(planted, planted.lists, limits=limits)
    assert isinstance(outcome, Experimented)
    assert (outcome.stopped, outcome.on_budget, outcome.confidence) == (stopped, False, None)
    assert outcome.explanation.text == best
    assert len(history) <= 4
    replayed = await replay(outcome.steps)
    assert (replayed.outcome, replayed.differences) == (outcome, ())


async def test_without_a_hypothesis_there_is_nothing(planted: SimpleNamespace) -> None:
    outcome, history = await run(planted, lambda request: "I'm sorry, I can't help with that.")
    assert isinstance(outcome, Failed)
    assert len(history) == 2


async def test_a_hypothesis_that_was_never_tested_is_no_answer_and_has_no_confidence(planted: SimpleNamespace) -> None:
    def mute(request: Request) -> str:
        assert request.kind == "chat"
        return str(planted.lists(request)) if "guesses" in request.messages[-1].content else "No."

    outcome, _ = await run(planted, mute, limits=ExperimentLimits(rounds=1))
    assert isinstance(outcome, Experimented)
    assert (outcome.confidence, outcome.clauses[0].supported) == (None, False)
    assert "no hypothesis that stands was tested" in outcome.stopped
    replayed = await replay(outcome.steps)
    assert (replayed.outcome, replayed.differences) == (outcome, ())


async def test_guesses_that_are_copied_from_the_example_are_not_tested(planted: SimpleNamespace) -> None:
    def copies(request: Request) -> str:
        assert request.kind == "chat"
        if "guesses" in request.messages[-1].content:
            return '1. words that begin a contrast, such as "heat"\n2. the first word after a comma in text about it\n3. names of weather'
        return str(planted.lists(request))

    outcome, history = await run(planted, copies, limits=ExperimentLimits(rounds=1))
    assert isinstance(outcome, Experimented)
    notes = {row["arguments"]["text"] for row in outcome.steps if row.get("name") == "note_hypothesis"}
    assert notes == {"names of weather"}
    assert len(history) == 3


async def test_a_list_that_cannot_be_read_is_made_up_for_by_one_phrase(planted: SimpleNamespace) -> None:
    def weak(request: Request) -> str:
        assert request.kind == "chat"
        if "guesses" in request.messages[-1].content:
            return "It is about running."
        if "What are the marked tokens?" in request.messages[-1].content:
            return 'the word after "due to"; any word'
        return str(planted.lists(request))

    outcome, _ = await run(planted, weak)
    assert isinstance(outcome, Experimented)
    # One hypothesis, which keeps the experiments and the score that it was given.
    assert outcome.explanation.text == 'the word after "due to", any word'
    assert (outcome.clauses[0].supported, outcome.confidence) == (True, 1.0)


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("1. one\n2) two\n 3: three", ["one", "two", "three"]),
        ("Here you are:\n\n- a b\n* c", ["a b", "c"]),
        ('{"items": ["x", "", 3, "y  z"]}', ["x", "y z"]),
        ("none", []),
        ('{"items": "x"}', []),
        ("[1, 2]", []),
    ],
)
def test_lists_are_read_as_models_write_them(text: str, items: list[str]) -> None:
    assert read_list(text) == items
