import numpy as np
import pytest

from agents.llm import Choice, ChoiceReply, Request
from agents.providers.scripted import ScriptedLLM
from analyzers.errors import Failed, ProviderError
from analyzers.evidence import Excerpt
from evals.scorers import SCORERS
from evals.scoring.judged import Judged
from evals.scoring.material import Item, Material

WITH = {" the word twelve": -4.0, " numbers, and a few words more": -9.0, " ships": -11.0, " something unknown": -7.0}
WITHOUT = {" the word twelve": -10.0, " numbers, and a few words more": -13.0, " ships": -11.0, " something unknown": -6.0}


def material(firing: int = 2) -> Material:
    def excerpt(number: int, loud: bool) -> Excerpt:
        return Excerpt(f"d{number}", 0, (" we", " met", " twelve"), np.array([0, 0, 8.0 if loud else 0], np.float32), "top")

    return Material("L0.mlp.0", 10.0, tuple(Item(excerpt(at, at < firing), at < firing, "random") for at in range(firing + 2)))


def answer(request: Request) -> ChoiceReply | Failed:
    assert isinstance(request, Choice)
    shown = [message.content for message in request.messages if message.role == "user"][-1]
    assert request.messages[-1].content == "The marked tokens are:"
    marked = shown.count("<<twelve>>")
    assert marked in (0, 2)
    assert len(shown.split("\n")) == 5
    assert len(set(request.options)) == len(request.options)
    return ChoiceReply(logprobs=tuple((WITH if marked else WITHOUT)[said] for said in request.options))


def llm(answers: object = answer) -> ScriptedLLM:
    return ScriptedLLM(answers, capabilities=frozenset({"choice"}))  # type: ignore[arg-type]


async def test_who_gains_more_by_the_marks_wins() -> None:
    scorer = SCORERS.create("likelihood", llm())
    assert (scorer.name, scorer.measure, scorer.chance, len(scorer.prompt)) == ("likelihood(scripted:test)", "share", 0.5, 12)
    gains = [6.0, 4.0, 0.0, -1.0]
    outcomes = await scorer.judge(["the word twelve", "numbers, and a few words more", "ships", ""], material(), seed=0)
    for mine, (gain, judged) in enumerate(zip(gains, outcomes, strict=True)):
        assert isinstance(judged, Judged)
        others = [other for other in range(4) if other != mine]
        assert [answer.document for answer in judged.answers] == [f"against {other}" for other in others]
        got = [answer.prediction for answer in judged.answers if not isinstance(answer.prediction, Failed)]
        np.testing.assert_allclose(got, [1 / (1 + np.exp(gains[other] - gain)) for other in others])


async def test_a_model_that_does_not_heed_the_marks_gets_chance_exactly() -> None:
    def deaf(request: Request) -> ChoiceReply:
        assert isinstance(request, Choice)
        return ChoiceReply(logprobs=tuple(-float(len(said)) for said in request.options))

    for judged in await SCORERS.create("likelihood", llm(deaf)).judge(["ships", "the word twelve", ""], material(), seed=0):
        assert isinstance(judged, Judged)
        assert [answer.prediction for answer in judged.answers] == [0.5, 0.5]


async def test_failures_stay_failures() -> None:
    (alone,) = await SCORERS.create("likelihood", llm()).judge(["ships"], material(), seed=0)
    assert isinstance(alone, Failed)
    nothing, _ = await SCORERS.create("likelihood", llm()).judge(["ships", ""], material(firing=0), seed=0)
    assert nothing == Failed("score", "the site fires in none of the excerpts")

    def partly(request: Request) -> ChoiceReply | Failed:
        reply = answer(request)
        assert isinstance(reply, ChoiceReply)
        assert isinstance(request, Choice)
        return ChoiceReply(
            logprobs=tuple(-np.inf if said == " ships" else value for said, value in zip(request.options, reply.logprobs, strict=True))
        )

    none = Failed("score", "the model gives the explanation no probability")
    first, second, again = await SCORERS.create("likelihood", llm(partly)).judge(
        ["the word twelve", "ships", "the word twelve"], material(), seed=0
    )
    assert isinstance(first, Judged)
    assert isinstance(second, Judged)
    assert isinstance(again, Judged)
    assert [answer.prediction for answer in first.answers] == [none, 0.5]
    assert [answer.prediction for answer in second.answers] == [none, none]
    assert [answer.prediction for answer in again.answers] == [0.5, none]
    long = Failed("readout", "too long")
    (lost, _) = await SCORERS.create("likelihood", llm(lambda request: long)).judge(["the word twelve", "ships"], material(), seed=0)
    assert isinstance(lost, Judged)
    assert lost.answers[0].prediction == long
    with pytest.raises(ProviderError, match="it lacks choice"):
        SCORERS.create("likelihood", ScriptedLLM([]))
