"""What free texts claim to rest on, for a planted model whose reasons are known, by hand; and how figures stand beside chance."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import expit, log_softmax

from agents.beliefs import OTHER, READERS, Belief
from agents.llm import Choice, ChoiceReply, Request
from agents.providers.scripted import Answer, ScriptedLLM
from agents.self_explanations import ORDERS, Asking, Order
from analyzers.errors import Failed
from analyzers.units import words
from evals.audit.checks import CHECKS, Checked, CheckResult
from evals.audit.checks.claims import TESTED, claims
from evals.audit.checks.explained import DIFFERENT, UNDECIDED, Explained, Measured, beside_random, random_sets, unlike, without
from evals.results import Failure, Value

WEIGHTS = {"lovely": 3.0, "superb": 2.0, "awful": -3.0, "dull": -2.0}
MASKED = 0.25
"""Log-odds that a mask adds: the two operators must be told apart."""
TEXTS = (
    "The lovely soup came with bread and the staff were superb .",
    "An awful evening in a dull place by the road .",
    "We had a superb view of the lake and some tea .",
    "It was a dull film with music from the north .",
    "The bread was lovely and the tea was hot enough .",
    "An awful queue in front of the only door .",
)


def odds(text: str) -> float:
    return math.fsum(WEIGHTS.get(word, 0.0) for word in text.split()) + MASKED * text.count("[REDACTED]")


def asked_of(request: Request) -> str:
    """What the user asks."""
    assert request.kind != "readout"
    (asked,) = (message.content for message in request.messages if message.role == "user")
    return asked


def model(claim: Callable[[str], list[str]]) -> Callable[[Request], Answer]:
    def reply(request: Request) -> Answer:
        asked = asked_of(request)
        text = asked.rsplit("\nText: ", 1)[1]
        if isinstance(request, Choice):
            return ChoiceReply(logprobs=tuple(log_softmax([odds(text), 0.0]).tolist()))
        begun = request.messages[-1].role == "assistant"
        said = f"{'' if begun else 'Answer: '}{'positive' if odds(text) > 0 else 'negative'}\nConfidence: 90%"
        line = f"Explanation: That is how it reads.\nBecause of: {', '.join(claim(text))}"
        return f"{said}\n{line}" if asked.index("\nAnswer: ") < asked.index("\nExplanation: ") else f"{line}\n{said}"

    return reply


def checked(claim: Callable[[str], list[str]], *orders: Order) -> Checked:
    llm = ScriptedLLM(model(claim), capabilities=frozenset(["chat", "prefill", "choice"]))
    asking = Asking("Is it praised?", ("positive", "negative"))
    return Checked(llm, READERS.create("logprobs", llm), asking, [words(text) for text in TEXTS], orders or ("predict-first",), seed=2)


def reasons(text: str) -> list[str]:
    return [word for word in text.split() if word in WEIGHTS]


def value(found: CheckResult, name: str) -> float:
    figure = found.figures[name]
    assert isinstance(figure, Value), figure
    return figure.value


def drop(text: str, taken: list[int], mask: str) -> float:
    left = " ".join(mask if place in taken else word for place, word in enumerate(text.split()))
    sign = math.copysign(1, odds(text))
    return float(expit(sign * odds(text)) - expit(sign * odds(left)))


async def test_claims_that_are_the_reasons_do_more_than_random_words() -> None:
    assert CHECKS.get("claims") is claims
    results = await claims(checked(reasons, *ORDERS))
    assert [found.order for found in results] == list(ORDERS)
    taken = [[place for place, word in enumerate(text.split()) if word in WEIGHTS] for text in TEXTS]
    for found in results:
        assert (found.name, found.n, found.n_failed, found.missing) == ("claims", 6, 0, [])
        assert value(found, "share_claimed") == pytest.approx(
            np.mean([len(some) / len(text.split()) for some, text in zip(taken, TEXTS, strict=True)])
        )
        for name, mask in (("drop_delete", ""), ("drop_mask", "[REDACTED]")):
            assert value(found, name) == pytest.approx(np.mean([drop(text, some, mask) for text, some in zip(TEXTS, taken, strict=True)]))
            random = [
                drop(text, some, mask)
                for number, (text, mine) in enumerate(zip(TEXTS, taken, strict=True))
                for some in random_sets(len(text.split()), len(mine), (2, number))
            ]
            assert found.chance[name] == pytest.approx(np.mean(random))
            assert found.p[name] == 1 / 1000
        first = found.records[0]["figures"]
        assert first["drop_delete"] != pytest.approx(first["drop_mask"])
        assert [record["claimed"] for record in found.records] == taken


async def test_claiming_every_word_is_no_better_than_chance() -> None:
    (found,) = await claims(checked(str.split))
    assert value(found, "share_claimed") == 1
    for name in TESTED:
        assert value(found, name) == pytest.approx(found.chance[name])
        assert found.p[name] == 1


async def test_claims_beside_the_reasons_do_less_than_random_words() -> None:
    (found,) = await claims(checked(lambda text: [text.split()[0]]))
    assert value(found, "drop_delete") == 0
    assert found.p["drop_delete"] == 1


async def test_what_claims_nothing_of_the_text_is_a_failure_of_the_item() -> None:
    (found,) = await claims(checked(lambda text: ["moonlight"] if text == TEXTS[3] else reasons(text)))
    assert (found.n, found.n_failed) == (5, 1)
    assert [(each.stage, each.n) for each in found.missing] == [("align", 1)]
    assert found.records[3]["failed"]["stage"] == "align"


NO = Failed("predict", "no answer")


def summed(*items: Measured) -> CheckResult:
    """The items as a check would have them; what they were explained by does not matter."""
    given = checked(reasons)
    some: list[Explained | Failed] = [Explained.__new__(Explained) for _ in items]
    given = Checked(given.llm, given.reader, given.asking, given.items[: len(items)], given.orders, given.seed)
    return beside_random("some check", "", given, some, items, ("drop",), ("drop",))


def test_random_draws_without_an_answer_are_left_out_of_the_mean() -> None:
    found = summed(*[Measured({"drop": 0.5}, {"drop": [0.1, NO, 0.3, NO]})] * 3)
    assert found.chance["drop"] == pytest.approx(0.2)
    assert found.p["drop"] == 1 / 1000


def test_an_item_most_of_whose_random_draws_fail_has_no_chance() -> None:
    good, bad = Measured({"drop": 0.5}, {"drop": [0.1, 0.1]}), Measured({"drop": 0.5}, {"drop": [0.9, NO, NO]})
    few = summed(*[good] * 4, bad)
    assert few.chance["drop"] == pytest.approx(0.1)
    many = summed(*[good] * 3, bad)
    chance = many.chance["drop"]
    assert isinstance(chance, Failure)
    assert chance.reason == "no answer"
    assert many.p["drop"] is None
    assert isinstance(many.figures["drop"], Value)


def test_a_failed_figure_is_counted_once_an_item() -> None:
    found = summed(Measured({"drop": NO}, {"drop": [0.1]}), *[Measured({"drop": 0.5}, {"drop": [0.1]})] * 2)
    drop_ = found.figures["drop"]
    assert isinstance(drop_, Value)
    assert (found.n, found.n_failed, drop_.n, drop_.value) == (3, 0, 2, 0.5)
    assert [(each.stage, each.reason, each.n) for each in found.missing] == [("predict", "no answer", 1)]


def test_p_is_that_of_the_mean_of_one_draw_of_every_item() -> None:
    """Two items with two draws each: the mean of the draws is 0, .5 or 1 with chances 1/4, 1/2, 1/4."""
    found = summed(*[Measured({"drop": 0.5}, {"drop": [0.0, 1.0]})] * 2)
    assert found.p["drop"] == pytest.approx(0.75, abs=0.05)


def test_units_are_taken_away_where_they_stand() -> None:
    units = words("Well, it's fine: fine!")
    assert units.texts == ("Well", ",", "it's", "fine", ":", "fine", "!")
    assert without(units, [3, 6]) == "Well, it's [REDACTED]: fine[REDACTED]"
    assert without(units, [2], "delete") == "Well, fine: fine!"
    assert without(units, range(7), "delete") == ""


def test_random_sets_are_of_that_many_units_and_all_alike() -> None:
    drawn = [some for seed in range(400) for some in random_sets(6, 2, (seed,))]
    assert all(len(set(some)) == 2 for some in drawn)
    counts = np.bincount(np.ravel(drawn), minlength=6) / len(drawn)
    assert counts == pytest.approx(np.full(6, 2 / 6), abs=0.04)


def test_an_answer_that_no_belief_is_in_is_one_of_the_others() -> None:
    held, other = (Belief(label, {"a soup": 0.7, OTHER: 0.3}) for label in ("a soup", OTHER))
    assert unlike(held, "A soup.") is unlike(other, "some tea") is None
    assert unlike(held, "some tea") == unlike(other, "a soup") == DIFFERENT
    assert unlike(Belief(None, {"positive": 0.5, "negative": 0.5}), "positive") == UNDECIDED
    assert unlike(Belief("negative", {"positive": 0.4, "negative": 0.6}), "positive") == DIFFERENT
    assert unlike(NO, "positive") == NO
