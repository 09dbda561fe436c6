import re

import numpy as np
import pytest

from agents.llm import ChoiceReply, Request
from agents.providers.scripted import ScriptedLLM
from analyzers.errors import Failed
from analyzers.evidence import Excerpt
from evals.scorers import SCORERS
from evals.scoring.judged import Judged
from evals.scoring.material import Item, Material
from evals.scoring.measures import measure_of


def material(firing: int = 6, silent: int = 3) -> Material:
    def excerpt(number: int, loud: bool) -> Excerpt:
        tokens = (" we", " met", " twelve", ",", " then", " thirteen", " nurses" if loud else " ladders")
        return Excerpt(f"d{number}", 0, tokens, np.array([0, 0, 4, 0, 0, 9, 0] if loud else [0] * 7, np.float32), "top")

    loud = [Item(excerpt(at, True), True, "top") for at in range(firing)]
    return Material("L0.mlp.0", 9.0, (*loud, *(Item(excerpt(50 + at, False), False, "near-miss") for at in range(silent))))


def rows(request: Request) -> list[str]:
    assert request.kind == "choice"
    assert request.options == (" 1", " 2", " 3", " 4", " 5")
    shown = [message.content for message in request.messages if message.role == "user"][-1].split("\n")
    assert shown[-1] == "Which is the intruder?"
    assert [row[:3] for row in shown[:-1]] == [f"{at}. " for at in range(1, 6)]
    return shown[:-1]


def llm(share: float | None) -> ScriptedLLM:
    """Gives the intruder this share and the others the same rest; always the first place where there is none."""

    def answer(request: Request) -> ChoiceReply:
        (at,) = (number for number, row in enumerate(rows(request)) if "ladders" in row)
        found = [(share if place == at else (1 - share) / 4) if share is not None else (0.96 if place == 0 else 0.01) for place in range(5)]
        return ChoiceReply(logprobs=tuple(float(np.log(value)) for value in found))

    return ScriptedLLM(answer, capabilities=frozenset({"chat", "choice", "prefill"}))


async def test_the_probability_of_the_intruder() -> None:
    scorer = SCORERS.create("intruder", llm(0.6))
    assert (scorer.name, scorer.measure, scorer.chance) == ("intruder(scripted:test)", "share", 0.2)
    first, second = await scorer.judge(["numbers", ""], material(), seed=0)
    assert first == second
    assert isinstance(first, Judged)
    assert len(first.answers) == 10
    assert [answer.prediction for answer in first.answers] == pytest.approx([0.6] * 10)
    assert {answer.document for answer in first.answers} == {"d50", "d51", "d52"}
    assert {answer.group for answer in first.answers} == {"near-miss"}


async def test_a_model_that_always_says_one_gets_chance_exactly() -> None:
    (judged,) = await SCORERS.create("intruder", llm(None)).judge(["numbers"], material(), seed=5)
    assert isinstance(judged, Judged)
    assert measure_of(judged, "share") == pytest.approx(0.2)


async def test_marks_are_as_many_in_the_intruder_and_drawn_anew() -> None:
    asking = llm(0.5)
    await SCORERS.create("intruder", asking).judge(["numbers", "people"], material(), seed=0)
    assert len(asking.history) == 10
    drawn = []
    for request in asking.history:
        for row in rows(request):
            marked = re.findall(r"<<(.*?)>>", row)
            if "ladders" in row:
                drawn.append(tuple(marked))
                assert sum(len(run.split()) for run in marked) == 2
                assert "," not in "".join(marked)
            else:
                assert marked == ["twelve", "thirteen"]
    assert len(set(drawn)) > 3
    again = llm(0.5)
    await SCORERS.create("intruder", again).judge(["numbers"], material(), seed=0)
    assert again.history == asking.history


async def test_too_few_excerpts_are_failed() -> None:
    for few in (material(firing=3), material(silent=0)):
        first, second = await SCORERS.create("intruder", llm(0.5)).judge(["numbers", "people"], few, seed=0)
        assert first == second
        assert isinstance(first, Failed)
        assert "4 firing excerpts and a silent one are needed" in first.reason
