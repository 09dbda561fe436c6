"""An experiment over again without a model: the same outcome, and where a laboratory finds something else."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from agents.experimenter import Experimented, ExperimentLimits, experiment, replay
from agents.llm import LLM, ToolReply, WrittenCall
from agents.providers.scripted import ScriptedLLM
from analyzers.errors import Failed, RunFolderError

ABLE = frozenset({"chat", "tools"})


async def done(planted: SimpleNamespace, llm: LLM, **limits: int) -> Experimented:
    outcome = await experiment(llm, planted.lab, planted.excerpts, score_on_select=planted.score, limits=ExperimentLimits(**limits), seed=3)
    assert isinstance(outcome, Experimented)
    return outcome


def from_file(outcome: Experimented) -> list[dict[str, Any]]:
    lines = [json.dumps(row, allow_nan=False) for row in outcome.steps]
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("limits", [{}, {"steps": 3}, {"tool_calls": 6}])
async def test_a_replay_comes_to_the_same(planted: SimpleNamespace, limits: dict[str, int]) -> None:
    outcome = await done(planted, ScriptedLLM(planted.scientist, capabilities=ABLE), **limits)
    replayed = await replay(from_file(outcome))
    assert (replayed.outcome, replayed.differences) == (outcome, ())


async def test_a_replay_of_a_plan_comes_to_the_same(planted: SimpleNamespace) -> None:
    outcome = await done(planted, ScriptedLLM(planted.lists, capabilities=frozenset({"chat"})))
    replayed = await replay(from_file(outcome), planted.FakeLab())
    assert (replayed.outcome, replayed.differences) == (outcome, ())


def everything(planted: SimpleNamespace) -> ScriptedLLM:
    call = planted.call
    text = "it fell due to rain"
    calls = (
        call("excerpts"),
        call("activations", texts=[text, "nothing", "too long"]),
        call("edits", text=text, edits=[{"kind": "delete"}, {"kind": "swap", "find": "due", "to": "owing"}]),
        call("nearest_silent", text=text),
        call("output_tokens"),
        call("ablation", texts=[text]),
        call("steering", prompts=["I think"], direction="down"),
        WrittenCall(id="x", name="activations", arguments="[1]"),
        WrittenCall(id="y", name="shell", arguments="{}"),
        call("conclude", clauses=[{"text": "the word after due to", "experiments": [2, 3]}], confidence=0.5),
    )
    return ScriptedLLM([ToolReply(text="", tool_calls=calls)], capabilities=ABLE)


async def test_a_laboratory_measures_again(planted: SimpleNamespace) -> None:
    outcome = await done(planted, everything(planted))
    assert outcome.clauses[0].experiments == (2, 3)
    lab = planted.FakeLab()
    replayed = await replay(from_file(outcome), lab)
    assert (replayed.outcome, replayed.differences) == (outcome, ())
    assert lab.asked == planted.lab.asked
    other = await replay(from_file(outcome), planted.FakeLab(lambda tokens, at: 1.5 * planted.lab.rule(tokens, at)))
    # The outcome is what it was; what is found now is said.
    assert other.outcome == outcome
    assert {difference.tool for difference in other.differences} == {"activations", "edits", "ablation"}
    first = next(difference for difference in other.differences if difference.where == "texts.0.peak")
    assert (first.step, first.recorded, first.found) == (2, 8.0, 12.0)
    broken = planted.FakeLab()
    broken.lens = lambda k=10: Failed("lens", "no direction")
    assert {difference.where for difference in (await replay(from_file(outcome), broken)).differences} >= {"error", "promoted"}


async def test_rows_that_were_changed_are_found_out(planted: SimpleNamespace) -> None:
    rows = from_file(await done(planted, everything(planted)))
    rows[-2]["arguments"]["clauses"][0]["experiments"] = [99]
    replayed = await replay(rows)
    assert [difference.tool for difference in replayed.differences].count("conclude") >= 1
    assert isinstance(replayed.outcome, Experimented)
    assert replayed.outcome.clauses[0].supported is False


@pytest.mark.parametrize("wrong", ["empty", "cut", "kind", "row", "two", "limits"])
async def test_damaged_steps_are_a_plain_error(planted: SimpleNamespace, wrong: str) -> None:
    rows = from_file(await done(planted, everything(planted)))
    damaged: dict[str, list[Any]] = {
        "empty": [],
        "cut": rows[:-1],
        "kind": [{**rows[0], "kind": "begin"}, *rows[1:]],
        "row": [rows[0], {**rows[1], "experiment": "first"}, *rows[2:]],
        "two": [*rows, *rows],
        "limits": [{**rows[0], "limits": {"hours": 3}}, *rows[1:]],
    }
    with pytest.raises(RunFolderError, match=r"^[^\n]*experiment[^\n]*$"):
        await replay(damaged[wrong])


async def test_steps_with_damaged_values_are_a_plain_error(planted: SimpleNamespace) -> None:
    score = ToolReply(text="", tool_calls=(planted.call("score_on_select", explanation="heat"),))
    end = ToolReply(text="", tool_calls=(planted.call("conclude", clauses=[{"text": "heat", "experiments": [1]}], confidence=1),))
    scored = from_file(await done(planted, ScriptedLLM([score, end], capabilities=ABLE)))
    scored[1]["result"] = {}
    with pytest.raises(RunFolderError, match="score_on_select"):
        await replay(scored)
    measured = from_file(await done(planted, everything(planted)))
    measured[2]["arguments"] = {"texts": []}
    assert (await replay(measured)).differences
    with pytest.raises(RunFolderError, match=r"step 2 .* do not fit"):
        await replay(measured, planted.FakeLab())
