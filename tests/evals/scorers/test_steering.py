"""Steered texts among those of other sites: what is shown, in which orders, and what a judge gets for what it knows."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from agents.llm import Choice, ChoiceReply, Request
from agents.providers.scripted import Answer as Scripted
from agents.providers.scripted import ScriptedLLM
from analyzers.errors import Failed
from analyzers.steering import Steered
from evals.scorers import SCORERS
from evals.scorers.steering import KL, ROUNDS, SteeringJudge
from evals.scoring.judged import Judged
from evals.scoring.material import Material
from evals.scoring.measures import measure_of
from prompts import load


@dataclass
class Lab:
    """Writes its word after every beginning; what is asked of it is kept."""

    word: str
    neighbours: int = 50
    works: bool = True
    asked: list[dict[str, Any]] = field(default_factory=list)

    def steered(self, prompts: Sequence[str], *, samples: int = 1, **asked: Any) -> Steered | Failed:
        self.asked.append({"prompts": tuple(prompts), "samples": samples, **asked})
        if not self.works:
            return Failed("steer", "out of reach")
        return Steered(
            1.0, KL, tuple(tuple(f" {self.word} {sample}\nset 2: {at}" for at in range(len(prompts))) for sample in range(samples))
        )

    def others(self, count: int, *, seed: int) -> "list[Lab]":
        return [Lab(f"noise{seed}x{number}", works=number % 5 != 4) for number in range(min(count, self.neighbours))]


def material(lab: object) -> Material:
    return Material("L0.mlp.1", 1.0, (), lab=cast(Any, lab))


def sets(request: Request) -> list[str]:
    assert isinstance(request, Choice)
    asked = next(message.content for message in reversed(request.messages) if message.role == "user")
    _, *parts = asked.split("\nSet ")
    return parts


def reader(probabilities: Callable[[Request], Sequence[float]]) -> ScriptedLLM:
    def answer(request: Request) -> Scripted:
        return ChoiceReply(logprobs=tuple(math.log(value) for value in probabilities(request)))

    return ScriptedLLM(answer, capabilities=frozenset(["chat", "choice"]))


def knows(request: Request) -> list[float]:
    """.8 for the set of ships."""
    return [0.8 if "ship" in each else 0.1 for each in sets(request)]


async def test_a_judge_that_sees_the_site_gets_what_it_is_sure_of() -> None:
    lab = Lab("ship")
    (found,) = await SCORERS.create("steering", reader(knows)).judge(["ships"], material(lab), seed=1)
    assert isinstance(found, Judged)
    assert len(found.answers) == 3 * ROUNDS
    assert len({answer.document for answer in found.answers}) == ROUNDS
    assert len({answer.item for answer in found.answers}) == 3 * ROUNDS
    assert measure_of(found, "share") == pytest.approx(0.8)
    (asked,) = lab.asked
    assert (asked["sign"], asked["kl"], asked["samples"], asked["seed"]) == (1, 0.25, ROUNDS, 1)
    assert asked["prompts"] == tuple(section.text for section in load("steer").sections.values())
    assert len(asked["prompts"]) == 3


async def test_a_judge_that_prefers_a_place_gets_chance() -> None:
    (found,) = await SteeringJudge(reader(lambda request: (0.7, 0.2, 0.1))).judge(["ships"], material(Lab("ship")), seed=1)
    assert isinstance(found, Judged)
    assert measure_of(found, "share") == pytest.approx(SteeringJudge.chance)
    by_round = [sum(cast(float, answer.prediction) for answer in found.answers[at : at + 3]) for at in range(0, len(found.answers), 3)]
    assert by_round == pytest.approx([1.0] * ROUNDS)


async def test_every_round_has_a_sample_of_its_own_beside_two_other_sites() -> None:
    llm = reader(knows)
    await SteeringJudge(llm).judge(["ships"], material(Lab("ship")), seed=1)
    others: list[str] = []
    for number in range(ROUNDS):
        three = [sets(request) for request in llm.history[3 * number : 3 * number + 3]]
        places = [next(place for place, each in enumerate(shown) if "ship" in each) for shown in three]
        assert sorted(places) == [0, 1, 2]
        assert all(f"ship {number}" in each for shown in three for each in shown if "ship" in each)
        words = {each.split("noise1x")[1].split(" ")[0] for shown in three for each in shown if "noise" in each}
        assert len(words) == 2
        others += words
    # Every fifth could not be steered.
    assert len(set(others)) == 2 * ROUNDS
    assert all(int(word) % 5 != 4 for word in others)


async def test_texts_stay_on_their_lines() -> None:
    llm = reader(knows)
    await SteeringJudge(llm).judge(["a\nb", ""], material(Lab("ship")), seed=1)
    for request in llm.history:
        for place, shown in enumerate(sets(request), start=1):
            head, *lines = shown.strip().split("\n")[:4]
            assert head == f"{place}:"
            assert [line.split(" ship")[0].split(" noise")[0] for line in lines] == [
                f"- {section.text}" for section in load("steer").sections.values()
            ]
    asked = [message.content for request in llm.history if isinstance(request, Choice) for message in request.messages]
    assert sum("The feature: a\\nb\n" in text for text in asked) == 3 * ROUNDS
    assert sum(f"The feature: {load('judge_steered').render('null')}\n" in text for text in asked) == 3 * ROUNDS


async def test_all_hangs_on_the_seed() -> None:
    asked: dict[int, list[Request]] = {}
    for seed in (1, 2):
        for _ in range(2):
            llm = reader(knows)
            await SteeringJudge(llm).judge(["ships"], material(Lab("ship")), seed=seed)
            assert asked.setdefault(seed, llm.history) == llm.history
    assert asked[1] != asked[2]


async def test_few_neighbours_make_few_rounds_and_too_few_none() -> None:
    (found,) = await SteeringJudge(reader(knows)).judge(["ships"], material(Lab("ship", neighbours=8)), seed=1)
    assert isinstance(found, Judged)
    assert len(found.answers) == 3 * 3
    for lab in (Lab("ship", neighbours=3), Lab("ship", works=False), None):
        llm = reader(knows)
        assert [type(each) for each in await SteeringJudge(llm).judge(["a", "b"], material(lab), seed=1)] == [Failed, Failed]
        assert llm.history == []


async def test_a_question_without_an_answer_is_a_failed_answer() -> None:
    llm = ScriptedLLM(lambda request: Failed("ask", "no"), capabilities=frozenset(["chat", "choice"]))
    (found,) = await SteeringJudge(llm).judge(["ships"], material(Lab("ship")), seed=1)
    assert isinstance(found, Judged)
    assert all(isinstance(answer.prediction, Failed) for answer in found.answers)
