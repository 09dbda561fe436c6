"""Probabilities of answers, however a model can be asked, against what it was made to say."""

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.llm import ChatReply, ChoiceReply, Message, Request, TokenLogprob
from agents.providers.scripted import Answer, ScriptedLLM
from analyzers.errors import Failed, ProviderError
from evals.scoring.asking import contrasted, pick, yes

ASKED = (Message(role="system", content="Say yes or no."), Message(role="user", content="Is it so?"))
LEAD = Message(role="assistant", content="Answer:")


def found(llm: ScriptedLLM, *, questions: int = 1) -> list[float | Failed]:
    return asyncio.run(yes(llm, [(*ASKED, LEAD)] * questions))


def test_probabilities_are_read_where_they_can_be() -> None:
    llm = ScriptedLLM([ChoiceReply(logprobs=(math.log(0.03), math.log(0.01)))], capabilities=frozenset({"chat", "choice", "top_logprobs"}))
    assert found(llm) == [pytest.approx(0.75)]
    (request,) = llm.history
    assert request.kind == "choice"
    assert request.messages == (*ASKED, LEAD)
    assert request.options == (" yes", " no")


@pytest.mark.parametrize("prefill", [True, False])
def test_probabilities_come_from_the_alternatives_to_what_was_written(prefill: bool) -> None:
    top = ((" No", math.log(0.8)), (" yes", math.log(0.1)), (" Yes", math.log(0.06)), (" maybe", math.log(0.04)))
    tokens = [TokenLogprob(token=" No", logprob=math.log(0.8), top=top), TokenLogprob(token=".", logprob=-0.1)]
    before = [] if prefill else [TokenLogprob(token=token, logprob=-0.01) for token in ("Answer", ":")]
    text = "".join(token.token for token in [*before, *tokens])
    reply = ChatReply(text=text, logprobs=(*before, *tokens))
    llm = ScriptedLLM([reply], capabilities=frozenset({"chat", "top_logprobs"}) | ({"prefill"} if prefill else set()))
    assert found(llm) == [pytest.approx(0.16 / 0.96)]
    (request,) = llm.history
    assert request.kind == "chat"
    assert request.top_logprobs
    assert request.messages == ((*ASKED, LEAD) if prefill else ASKED)
    assert request.max_tokens < 20


@pytest.mark.parametrize(
    ("written", "expected"),
    [("yes", 1.0), ("Answer: No.", 0.0), ("**Yes**", 1.0), ("It is hard to say", None), ("yes or no", None), ("", None)],
)
def test_an_answer_that_was_written_is_all_or_nothing_and_an_unreadable_one_failed(written: str, expected: float | None) -> None:
    (outcome,) = found(ScriptedLLM([written], capabilities=frozenset({"chat"})))
    if expected is None:
        assert isinstance(outcome, Failed)
    else:
        assert outcome == expected


def test_a_failure_stays_in_its_place_and_an_error_is_raised() -> None:
    lost = Failed("ask", "refused")
    llm = ScriptedLLM(["yes", lost, "no"], capabilities=frozenset({"chat"}))
    assert found(llm, questions=3) == [1.0, lost, 0.0]
    with pytest.raises(ProviderError, match="no access"):
        found(ScriptedLLM([ProviderError("no access")], capabilities=frozenset({"chat"})))


def test_options_are_renormalised_in_their_order() -> None:
    def answer(request: Request) -> Answer:
        assert request.kind == "choice"
        return ChoiceReply(logprobs=tuple(math.log(0.1 * (number + 1)) for number, _ in enumerate(request.options)))

    llm = ScriptedLLM(answer, capabilities=frozenset({"chat", "choice"}))
    (outcome,) = asyncio.run(pick(llm, [(*ASKED, LEAD)], ("A", "B", "C")))
    assert outcome == pytest.approx((1 / 6, 2 / 6, 3 / 6))
    (written,) = asyncio.run(pick(ScriptedLLM(["B"], capabilities=frozenset({"chat"})), [(*ASKED, LEAD)], ("A", "B", "C")))
    assert written == (0.0, 1.0, 0.0)


def test_a_conversation_must_lead_up_to_its_answer() -> None:
    llm = ScriptedLLM([], capabilities=frozenset({"chat"}))
    with pytest.raises(ValueError, match="lead"):
        asyncio.run(yes(llm, [ASKED]))
    with pytest.raises(ValueError, match="nothing to pick"):
        asyncio.run(pick(llm, [(*ASKED, LEAD)], ("A",)))
    assert llm.history == []


probability = st.floats(0.001, 0.999)


@given(probability, probability)
def test_a_contrast_divides_odds(told: float, null: float) -> None:
    (p,) = contrasted([told], [null])
    assert isinstance(p, float)
    assert p / (1 - p) == pytest.approx((told / (1 - told)) / (null / (1 - null)))
    assert contrasted([told], [told]) == [pytest.approx(0.5)]


def test_a_contrast_of_written_answers_is_finite_and_a_failure_stays_one() -> None:
    lost = Failed("ask", "refused")
    outcomes = contrasted([1.0, 0.0, 1.0, lost, 1.0], [0.0, 1.0, 1.0, 0.5, lost])
    assert outcomes[3:] == [lost, lost]
    above, below, same = outcomes[:3]
    assert isinstance(above, float)
    assert isinstance(below, float)
    assert 0 < below < 1e-6
    assert 1 - 1e-6 < above < 1
    assert same == 0.5
