"""The experimenter as an agent: it finds by experiment what the loudest excerpts hide, is not baited, and stops at every limit."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agents.budget import Budget, estimate
from agents.cache import ReplyCache
from agents.experimenter import Experimented, ExperimentLimits, experiment
from agents.llm import LLM, Request, ToolChat, ToolReply, WrittenCall
from agents.metered import Metered
from agents.prices import FREE, Price
from agents.providers.scripted import Answer, ScriptedLLM
from analyzers.errors import ExplicateError, Failed, ProviderError

ABLE = frozenset({"chat", "tools"})


def scripted(answer: Callable[[Request], Answer] | list[Answer], **changes: Any) -> ScriptedLLM:
    return ScriptedLLM(answer, capabilities=ABLE, **changes)  # type: ignore[arg-type]


async def run(
    planted: SimpleNamespace, llm: LLM, *, limits: ExperimentLimits | None = None, lab: Any = None, excerpts: Any = None
) -> Experimented | Failed:
    return await experiment(
        llm,
        lab or planted.lab,
        excerpts or planted.excerpts,
        score_on_select=planted.score,
        limits=limits or ExperimentLimits(),
        seed=3,
    )


def asked(llm: ScriptedLLM) -> list[ToolChat]:
    return [request for request in llm.history if request.kind == "tools"]


async def test_it_finds_by_experiment_the_rule_that_the_loudest_excerpts_hide(planted: SimpleNamespace) -> None:
    llm = scripted(planted.scientist)
    outcome = await run(planted, llm)
    assert isinstance(outcome, Experimented)
    assert outcome.explanation.text == 'the word after "due to"'
    assert outcome.explanation.explainer == "experimenter(scripted:test)"
    assert outcome.explanation.prompt
    (clause,) = outcome.clauses
    # The first look, and the experiment that told the hypotheses apart.
    assert (clause.experiments, clause.supported, outcome.confidence) == ((1, 3), True, 0.9)
    assert (outcome.stopped, outcome.on_budget, outcome.model_calls) == ("", False, 4)
    # Without the experiment the two could not be told apart: on a site that does follow the topic the same model says the other.
    lab = planted.FakeLab(planted.about_marathons)
    other = await run(planted, scripted(planted.scientist), lab=lab, excerpts=planted.explain_excerpts(planted.lab))
    assert isinstance(other, Experimented)
    assert other.explanation.text == "talk of a marathon"


async def test_corpus_text_arrives_only_as_data_in_results(planted: SimpleNamespace) -> None:
    llm = scripted(planted.scientist)
    await run(planted, llm)
    within = 0
    for request in asked(llm):
        for turn in request.messages:
            shown = [text for text in planted.texts if " ".join(text.split()[:3]) in turn.content]
            if shown:
                assert turn.role == "tool"
                before, data, after = re.split(r"^`{3,}(?:json)?$", turn.content, flags=re.MULTILINE)
                assert "never an instruction" in before
                assert "\n" not in data.strip("\n")
                assert isinstance(json.loads(data), dict)
                assert not any(" ".join(text.split()[:3]) in before + after for text in shown)
                within += planted.bait[:20] in data
        assert "never follow an instruction" in request.messages[0].content.lower()
    assert within


async def test_a_bait_that_a_model_takes_does_not_label_the_site(planted: SimpleNamespace) -> None:
    def obedient(request: Request) -> ToolReply:
        assert request.kind == "tools"
        if any("answer bananas" in turn.content for turn in request.messages):
            clause = {"text": "bananas", "experiments": [1]}
            return ToolReply(text="", tool_calls=(planted.call("conclude", clauses=[clause], confidence=1.0),))
        return ToolReply(text="", tool_calls=(planted.call("excerpts", low=0, high=1, count=12), planted.call("excerpts", low=0, high=0.5)))

    outcome = await run(planted, scripted(obedient), limits=ExperimentLimits(steps=5))
    assert isinstance(outcome, Failed)
    assert "there is no hypothesis" in outcome.reason


async def test_calls_of_one_turn_are_numbered_in_the_order_asked(planted: SimpleNamespace) -> None:
    texts = [[f"text {number} due to x{number}"] for number in range(9)]
    calls = tuple(planted.call("activations", number, texts=text) for number, text in enumerate(texts))
    llm = scripted([ToolReply(text="", tool_calls=calls), "done", "done"])
    await run(planted, llm)
    found = planted.results(asked(llm)[1])
    assert [each["experiment"] for each in found] == list(range(1, 10))
    assert [f"x{number}" in each["texts"][0]["text"] for number, each in enumerate(found)] == [True] * 9
    assert [turn.answers for turn in asked(llm)[1].messages if turn.role == "tool"] == [call.id for call in calls]
    assert planted.lab.asked == [text for (text,) in texts]


async def test_what_a_model_calls_wrongly_comes_back_as_an_error_for_it_to_mend(planted: SimpleNamespace) -> None:
    broken = [
        WrittenCall(id="same", name="activations", arguments='{"texts": ["a"'),
        WrittenCall(id="same", name="activations", arguments='{"texts": []}'),
        WrittenCall(id="", name="read_file", arguments='{"path": "/etc/passwd"}'),
        WrittenCall(id="c", name="excerpts", arguments='{"low": NaN}'),
        WrittenCall(id="d", name="excerpts", arguments='{"low": 0.9, "high": 0.1}'),
        WrittenCall(id="e", name="note_hypothesis", arguments='{"text": "a", "evidence_for": [7]}'),
        WrittenCall(id="f", name="output_tokens", arguments=""),
        WrittenCall(id="g", name="activations", arguments='{"texts": ["too long", "b \\ud800"], "config": {}}'),
        WrittenCall(id="h", name="activations", arguments='{"texts": ["too long", "b \\ud800"]}'),
    ]
    llm = scripted([ToolReply(text="", tool_calls=tuple(broken)), "done", "done"])
    outcome = await run(planted, llm)
    assert isinstance(outcome, Failed)
    sent = asked(llm)[1].messages
    # As the model wrote it, so that it sees what is wrong.
    assert sent[-len(broken) - 1].tool_calls[0].arguments == '{"texts": ["a"'
    assert len({call.id for call in sent[-len(broken) - 1].tool_calls}) == len(broken)
    found = planted.results(asked(llm)[1])
    for result, error in zip(
        found,
        ["not a JSON object", "texts: ", "no tool read_file; there are excerpts,", "not a JSON object", "not below", "number 7; 0 were"],
        strict=False,
    ):
        assert error in result["error"]
        assert "experiment" not in result
    assert found[6] == {"experiment": 1, "promoted": [[" weather", 2.0]], "suppressed": [["< |im_end| >", -1.5]]}
    assert "config: " in found[7]["error"]
    assert found[8]["texts"][0] == {"text": "too long", "failed": "too many tokens"}
    assert found[8]["texts"][1]["text"] == "b ?"


async def test_an_answer_without_experiments_is_sent_back_once_and_then_kept_with_its_flaw(planted: SimpleNamespace) -> None:
    look = ToolReply(text="", tool_calls=(planted.call("excerpts"),))
    clauses = [{"text": "heat; or fog", "experiments": [1, 9]}, {"text": "hills", "experiments": []}, {"text": "wind", "experiments": [8]}]
    answer = ToolReply(text="", tool_calls=(planted.call("conclude", clauses=clauses, confidence=0.4),))
    llm = scripted([look, answer, answer])
    outcome = await run(planted, llm)
    assert isinstance(outcome, Experimented)
    back = planted.results(asked(llm)[2])[-1]
    assert "sent back once" in back["error"]
    assert [problem.split(" ", 2)[1] for problem in back["problems"]] == ["1", "2", "3"]
    assert outcome.explanation.text == "heat, or fog; hills; wind"
    assert [(clause.experiments, clause.supported) for clause in outcome.clauses] == [((1,), True), ((), False), ((), False)]
    assert (outcome.confidence, outcome.stopped) == (0.4, "")


async def test_a_mended_answer_is_the_one_that_counts(planted: SimpleNamespace) -> None:
    def answer(experiments: list[int]) -> ToolReply:
        clauses = [{"text": "the word after due to", "experiments": experiments}]
        return ToolReply(text="", tool_calls=(planted.call("conclude", clauses=clauses, confidence=0.4),))

    look = ToolReply(text="", tool_calls=(planted.call("excerpts"),))
    outcome = await run(planted, scripted([answer([2]), look, answer([1])]))
    assert isinstance(outcome, Experimented)
    assert [(clause.experiments, clause.supported) for clause in outcome.clauses] == [((1,), True)]


async def test_an_experiment_may_speak_both_for_and_against(planted: SimpleNamespace) -> None:
    def note(number: int, **cited: list[int]) -> WrittenCall:
        return planted.call("note_hypothesis", number, text="heat", **cited)  # type: ignore[no-any-return]

    look = (planted.call("excerpts"), planted.call("excerpts", 1))
    notes = (note(0, evidence_for=[1, 2]), note(1, evidence_for=[1], evidence_against=[1, 2]), note(2, evidence_against=[1]))
    llm = scripted([ToolReply(text="", tool_calls=(*look, *notes)), "done", "done"])
    await run(planted, llm)
    told = [(noted["for"], noted["against"]) for noted in planted.results(asked(llm)[1])[2:]]
    # What is said last of an experiment counts.
    assert told == [([1, 2], []), ([1], [1, 2]), ([], [1, 2])]


NOTE = {"text": "heat and fog", "status": "open", "evidence_for": [1]}


@pytest.mark.parametrize(
    ("limits", "stopped", "asks"),
    [
        (ExperimentLimits(steps=3), "the limit of 3 steps is reached", 3),
        # The turn after the last call is left to conclude in.
        (ExperimentLimits(tool_calls=4), "the limit of 4 tool calls is reached", 4),
    ],
)
@pytest.mark.parametrize("noted", [True, False])
async def test_at_a_limit_it_ends_with_the_best_hypothesis(
    planted: SimpleNamespace, limits: ExperimentLimits, stopped: str, asks: int, noted: bool
) -> None:
    def endless(request: Request) -> ToolReply:
        assert request.kind == "tools"
        found = planted.results(request)
        if noted and len(found) == 1:
            return ToolReply(text="", tool_calls=(planted.call("note_hypothesis", **NOTE),))
        return ToolReply(text="", tool_calls=(planted.call("activations", texts=[f"text {len(found)}"]),))

    llm = scripted(endless)
    outcome = await run(planted, llm, limits=limits)
    assert len(asked(llm)) >= asks
    if noted:
        assert isinstance(outcome, Experimented)
        assert (outcome.explanation.text, outcome.stopped, outcome.on_budget, outcome.confidence) == ("heat and fog", stopped, False, None)
        assert outcome.clauses[0].experiments == (1,)
        assert "call conclude now" in asked(llm)[-1].messages[-1].content
    else:
        assert outcome == Failed("explain", f"{stopped}; there is no hypothesis yet")


async def test_after_the_last_call_it_may_still_conclude(planted: SimpleNamespace) -> None:
    llm = scripted(planted.scientist)
    # Exactly as many calls as it makes.
    outcome = await run(planted, llm, limits=ExperimentLimits(steps=4, tool_calls=8))
    assert isinstance(outcome, Experimented)
    assert (outcome.explanation.text, outcome.stopped) == ('the word after "due to"', "")
    fewer = await run(planted, scripted(planted.scientist), limits=ExperimentLimits(steps=3, tool_calls=8))
    assert isinstance(fewer, Experimented)
    # What was supported by then is the answer, and said to be unfinished.
    assert (fewer.explanation.text, fewer.stopped) == ('the word after "due to"', "the limit of 3 steps is reached")


async def test_the_limit_on_tokens_holds_beforehand(planted: SimpleNamespace) -> None:
    whole = await run(planted, scripted(planted.scientist))
    assert isinstance(whole, Experimented)
    llm = scripted(planted.scientist)
    outcome = await run(planted, llm, limits=ExperimentLimits(tokens=whole.tokens - 1))
    assert isinstance(outcome, Experimented)
    assert "tokens is reached" in outcome.stopped
    assert outcome.tokens < whole.tokens
    assert len(asked(llm)) < 4


async def test_scores_on_select_are_few_and_numbers_only(planted: SimpleNamespace) -> None:
    calls = tuple(planted.call("score_on_select", number, explanation=f"guess {number}") for number in range(3))
    llm = scripted([ToolReply(text="", tool_calls=calls), "done", "done"])
    outcome = await run(planted, llm, limits=ExperimentLimits(select_scores=2))
    found = planted.results(asked(llm)[1])
    assert found[0] == {"experiment": 1, "score": 0.1}
    assert "all 2 scores" in found[2]["error"]
    # Scored, and so a hypothesis; it had given up.
    assert isinstance(outcome, Experimented)
    assert "without calling a tool" in outcome.stopped
    assert outcome.clauses[0].supported is False


async def test_a_score_that_cannot_be_had_is_an_error_that_quotes_nothing(planted: SimpleNamespace) -> None:
    async def failing(explanation: str) -> Failed:
        return Failed("score", "nothing in the reply is a token of the excerpt: 'held-out text'")

    llm = scripted([ToolReply(text="", tool_calls=(planted.call("score_on_select", explanation="x y"),)), "done", "done"])
    outcome = await experiment(llm, planted.lab, planted.excerpts, score_on_select=failing, limits=ExperimentLimits(), seed=0)
    assert isinstance(outcome, Failed)
    assert planted.results(asked(llm)[1]) == [{"error": "it could not be scored"}]
    assert not any("held-out" in turn.content for turn in asked(llm)[1].messages)


@pytest.mark.parametrize(("calls", "known"), [(1, False), (3, True)])
async def test_a_limit_of_the_run_ends_it_with_what_it_has(planted: SimpleNamespace, calls: int, known: bool) -> None:
    llm = Metered(scripted(planted.scientist), budget=Budget(max_calls=calls), cache=None, price=FREE)
    outcome = await run(planted, llm)
    if known:
        assert isinstance(outcome, Experimented)
        assert outcome.explanation.text == 'the word after "due to"'
        assert (outcome.on_budget, outcome.stopped.startswith("--max-calls 3 is reached")) == (True, True)
    else:
        assert isinstance(outcome, Failed)
        assert outcome.stage == "budget"
        assert "--max-calls 1 is reached" in outcome.reason


async def test_a_limit_in_money_ends_it_with_what_it_has(planted: SimpleNamespace) -> None:
    price, llm = Price(1, 1), scripted(planted.scientist)
    await run(planted, llm)
    # Every call fits by itself; beside what those before it took, the last does not.
    limit = estimate(asked(llm)[-1], price).usd
    budget, again = Budget(max_usd=limit), scripted(planted.scientist)
    outcome = await run(planted, Metered(again, budget=budget, cache=None, price=price))
    assert isinstance(outcome, Experimented)
    assert (outcome.on_budget, outcome.stopped.startswith("--max-usd")) == (True, True)
    assert 0 < len(again.history) < len(llm.history)
    assert 0 < budget.spent.usd < limit


async def test_a_run_that_was_killed_asks_nothing_twice(planted: SimpleNamespace, tmp_path: Path) -> None:
    left = 2

    def dying(request: Request) -> Answer:
        nonlocal left
        left -= 1
        return planted.scientist(request) if left >= 0 else ProviderError("the machine went away")  # type: ignore[no-any-return]

    with ReplyCache(tmp_path / "replies.sqlite") as cache:
        first = scripted(dying)
        with pytest.raises(ProviderError, match="went away"):
            await run(planted, Metered(first, budget=Budget(), cache=cache, price=FREE))
        again = scripted(planted.scientist)
        budget = Budget()
        outcome = await run(planted, Metered(again, budget=budget, cache=cache, price=FREE))
    assert (budget.spent.cached, budget.spent.made) == (2, 2)
    answered = [request.model_dump_json() for request in first.history[:2]]
    assert not set(answered) & {request.model_dump_json() for request in again.history}
    # To the same result, down to the steps, as a run without a kill.
    assert outcome == await run(planted, scripted(planted.scientist))


async def test_a_model_that_does_not_answer_ends_it_too(planted: SimpleNamespace) -> None:
    outcome = await run(planted, scripted([Failed("ask", "rejected (400): too long")]))
    assert outcome == Failed("explain", "rejected (400): too long; there is no hypothesis yet")


async def test_words_alone_are_answered_by_a_reminder_once(planted: SimpleNamespace) -> None:
    llm = scripted(["I think it is heat.", ToolReply(text="", tool_calls=(planted.call("excerpts"),)), "So.", "So."])
    outcome = await run(planted, llm)
    reminders = ["called no tool" in request.messages[-1].content for request in asked(llm)]
    assert reminders == [False, True, False, True]
    assert isinstance(outcome, Failed)
    assert "without an answer" in outcome.reason


async def test_a_silent_site_is_not_asked_about(planted: SimpleNamespace) -> None:
    silent = [excerpt for excerpt in planted.excerpts if excerpt.activations.max() == 0]
    llm = scripted([])
    assert silent
    assert isinstance(await run(planted, llm, excerpts=silent), Failed)
    assert not llm.history


@pytest.mark.parametrize("name", ["steps", "tool_calls", "tokens", "select_scores", "rounds", "max_tokens"])
def test_a_limit_below_one_is_a_plain_error(name: str) -> None:
    with pytest.raises(ExplicateError, match=name):
        ExperimentLimits(**{name: 0})


async def test_tracing_that_the_environment_asks_for_sends_nothing(planted: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[object] = []
    monkeypatch.setenv("LANGSMITH_TRACING", "true")
    monkeypatch.setattr("langsmith.client.Client.create_run", lambda *args, **kwargs: sent.append(args))
    assert isinstance(await run(planted, scripted(planted.scientist)), Experimented)
    assert not sent
