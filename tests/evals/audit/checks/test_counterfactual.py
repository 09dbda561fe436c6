"""Edits of a planted model whose reasons are known: what they must come to is computed by hand from its formula."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import expit, log_softmax

from agents.beliefs import READERS
from agents.llm import Choice, ChoiceReply, Request
from agents.providers.scripted import Answer, ScriptedLLM
from agents.self_explanations import ORDERS, Asking, Order
from analyzers.units import words
from evals.audit.checks import CHECKS, Checked, CheckResult
from evals.audit.checks.counterfactual import TESTED, counterfactual
from evals.audit.checks.explained import random_sets
from evals.results import Value

WEIGHTS = {"lovely": 3.0, "superb": 2.0, "awful": -3.0, "dull": -2.0}
OPPOSITE = {"lovely": "awful", "superb": "dull", "awful": "lovely", "dull": "superb"}
TEXTS = (
    "The lovely soup came with bread and the staff were superb .",
    "An awful evening in a dull place by the road .",
    "We had a superb view of the lake and some tea .",
    "It was a dull film with music from the north .",
    "The bread was lovely and the tea was hot enough .",
    "An awful queue in front of the only door .",
)


def odds(text: str) -> float:
    return math.fsum(WEIGHTS.get(word.casefold(), 0.0) for word in words(text).texts)


def asked_of(request: Request) -> str:
    """What the user asks."""
    assert request.kind != "readout"
    (asked,) = (message.content for message in request.messages if message.role == "user")
    return asked


def model(edit: Callable[[str], str]) -> Callable[[Request], Answer]:
    def reply(request: Request) -> Answer:
        asked = asked_of(request)
        text = asked.rsplit("\nText: ", 1)[1]
        if isinstance(request, Choice):
            assert request.options == (" positive", " negative")
            return ChoiceReply(logprobs=tuple(log_softmax([odds(text), 0.0]).tolist()))
        begun = request.messages[-1].role == "assistant"
        said = f"{'' if begun else 'Answer: '}{'positive' if odds(text) > 0 else 'negative'}\nConfidence: 90%"
        line = f"Edited: {edit(text)}"
        return f"{said}\n{line}" if asked.index("\nAnswer: ") < asked.index("\nEdited: ") else f"{line}\n{said}"

    return reply


async def results(edit: Callable[[str], str], *orders: Order) -> list[CheckResult]:
    llm = ScriptedLLM(model(edit), capabilities=frozenset(["chat", "prefill", "choice"]))
    asking = Asking("Is it praised?", ("positive", "negative"))
    units = [words(text) for text in TEXTS]
    return await counterfactual(Checked(llm, READERS.create("logprobs", llm), asking, units, orders or ("predict-first",), seed=1))


def value(result: CheckResult, name: str) -> float:
    found = result.figures[name]
    assert isinstance(found, Value), found
    return found.value


def opposite(text: str) -> str:
    return " ".join(OPPOSITE.get(word, word) for word in text.split())


async def test_an_edit_that_turns_the_reasons_round_turns_the_answer_round() -> None:
    assert CHECKS.get("counterfactual") is counterfactual
    found = await results(opposite, *ORDERS)
    assert [result.order for result in found] == list(ORDERS)
    for result in found:
        assert (result.name, result.n, result.n_failed, result.missing) == ("counterfactual", 6, 0, [])
        assert value(result, "flipped") == 1
        rise = [expit(abs(odds(text))) - expit(-abs(odds(text))) for text in TEXTS]
        assert value(result, "rise") == pytest.approx(np.mean(rise))
        shares = [sum(word in WEIGHTS for word in text.split()) / len(text.split()) for text in TEXTS]
        assert value(result, "share_changed") == pytest.approx(np.mean(shares))
        assert [record["edited"]["text"] for record in result.records] == [opposite(text) for text in TEXTS]


async def test_chance_is_what_masking_as_many_random_words_does() -> None:
    (result,) = await results(opposite)
    falls = []
    for number, text in enumerate(TEXTS):
        parts = text.split()
        for taken in random_sets(len(parts), sum(word in WEIGHTS for word in parts), (1, number)):
            left = " ".join(word for place, word in enumerate(parts) if place not in taken)
            sign = math.copysign(1, odds(text))
            falls.append(expit(sign * odds(text)) - expit(sign * odds(left)))
    assert result.chance["rise"] == pytest.approx(np.mean(falls))
    # Nothing that is only left out makes these answers others.
    assert result.chance["flipped"] == 0
    assert set(result.p) == set(TESTED)
    assert all(p == 1 / 1000 for p in result.p.values())


async def test_an_edit_of_words_that_do_not_matter_changes_nothing() -> None:
    (result,) = await results(lambda text: " ".join({"The": "This", "the": "that", "a": "some"}.get(word, word) for word in text.split()))
    assert result.n == 6
    assert value(result, "flipped") == value(result, "rise") == 0
    assert result.p["flipped"] == 1


async def test_words_that_are_added_count_as_changes() -> None:
    (result,) = await results(lambda text: f"{text} {'awful' if odds(text) > 0 else 'lovely'} {'dull' if odds(text) > 0 else 'superb'}")
    assert value(result, "share_changed") == pytest.approx(np.mean([2 / len(text.split()) for text in TEXTS]))
    assert value(result, "flipped") == pytest.approx(np.mean([abs(odds(text)) < 5 for text in TEXTS]))


@pytest.mark.parametrize(
    ("edit", "stage"), [(str, "explain"), (lambda text: "", "explain"), (lambda text: "Something else altogether here", "align")]
)
async def test_what_is_no_edit_is_a_failure_of_the_item(edit: Callable[[str], str], stage: str) -> None:
    (result,) = await results(lambda text: edit(text) if text == TEXTS[0] else opposite(text))
    assert (result.n, result.n_failed) == (5, 1)
    assert [(each.stage, each.n) for each in result.missing] == [(stage, 1)]
    assert result.records[0]["failed"]["stage"] == stage
    assert value(result, "flipped") == 1
