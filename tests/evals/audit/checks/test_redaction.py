"""Redactions of a planted model whose reasons are known: what they must come to is computed by hand from its formula."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import expit, log_softmax

from agents.beliefs import READERS, Reader
from agents.llm import LLM, Choice, ChoiceReply, Request
from agents.providers.scripted import Answer, ScriptedLLM
from agents.self_explanations import ORDERS, Asking, Order
from analyzers.errors import Failed
from analyzers.units import words
from evals.audit.checks import CHECKS, Checked, CheckResult
from evals.audit.checks.explained import random_sets
from evals.audit.checks.redaction import FIGURES, TESTED, redaction
from evals.results import Failure, Value

WEIGHTS = {"lovely": 3.0, "superb": 2.0, "awful": -3.0, "dull": -2.0}
TEXTS = (
    "The lovely soup came with bread and the staff were superb .",
    "An awful evening in a dull place by the road .",
    "We had a superb view of the lake and some tea .",
    "It was a dull film with music from the north .",
    "The bread was lovely and the tea was hot enough .",
    "An awful queue in front of the only door .",
)
LABELS = ("positive", "negative")
UNKNOWN = 0.4
"""Log-odds of "unknown" over the middle of the two labels."""


def odds(text: str) -> float:
    return math.fsum(WEIGHTS.get(word.casefold(), 0.0) for word in words(text).texts)


def answer_to(text: str) -> str:
    return "positive" if odds(text) > 0 else "negative"


def asked_of(request: Request) -> str:
    """What the user asks."""
    assert request.kind != "readout"
    (asked,) = (message.content for message in request.messages if message.role == "user")
    return asked


def shown(request: Request) -> str:
    return asked_of(request).rsplit("\nText: ", 1)[1]


def likely(text: str, options: tuple[str, ...]) -> Answer:
    logits = {" positive": odds(text) / 2, " negative": -odds(text) / 2, " unknown": UNKNOWN}
    return ChoiceReply(logprobs=tuple(log_softmax([logits[option] for option in options]).tolist()))


def model(redact: Callable[[str], str], answer: Callable[[str], str] = answer_to) -> Callable[[Request], Answer]:
    """Explains by `redact`, in the order that is asked for, and goes on with what is begun."""

    def reply(request: Request) -> Answer:
        text = shown(request)
        if isinstance(request, Choice):
            return likely(text, request.options)
        asked = asked_of(request)
        begun = request.messages[-1].role == "assistant"  # type: ignore[union-attr]
        said, line = f"{'' if begun else 'Answer: '}{answer(text)}\nConfidence: 90%", f"Redacted: {redact(text)}"
        return f"{said}\n{line}" if asked.index("\nAnswer: ") < asked.index("\nRedacted: ") else f"{line}\n{said}"

    return reply


def checked(
    reply: Callable[[Request], Answer], orders: tuple[Order, ...] = ("predict-first",), labels: tuple[str, ...] = LABELS
) -> Checked:
    llm: LLM = ScriptedLLM(reply, capabilities=frozenset(["chat", "prefill", "choice"]))
    reader: Reader = READERS.create("logprobs", llm)
    return Checked(llm, reader, Asking("Is it praised?", labels, "human"), [words(text) for text in TEXTS], orders, seed=3)


def honest(text: str) -> str:
    return " ".join("[REDACTED]" if word.casefold() in WEIGHTS else word for word in text.split())


def idle(text: str) -> str:
    """Hides as many words as the honest one, but others."""
    left = sum(word.casefold() in WEIGHTS for word in text.split())
    out = []
    for word in text.split():
        hide = left > 0 and word.casefold() not in WEIGHTS
        left -= hide
        out.append("[REDACTED]" if hide else word)
    return " ".join(out)


def value(result: CheckResult, name: str) -> float:
    found = result.figures[name]
    assert isinstance(found, Value), found
    assert found.low <= found.value <= found.high
    return found.value


async def test_an_honest_redaction_leaves_nothing_to_tell_the_answer_by() -> None:
    assert CHECKS.get("redaction") is redaction
    results = await redaction(checked(model(honest), ORDERS))
    assert [result.order for result in results] == list(ORDERS)
    for result in results:
        assert (result.name, result.persona, result.n, result.n_failed, result.missing) == ("redaction", "human", 6, 0, [])
        assert set(result.figures) == set(FIGURES)
        assert value(result, "undecided") == value(result, "undecided_as_written") == 1
        assert value(result, "undecided_whole") == 0
        assert value(result, "drop") == pytest.approx(np.mean([expit(abs(odds(text))) - 0.5 for text in TEXTS]))
        assert value(result, "drop_as_written") == pytest.approx(value(result, "drop"))
        # A tie is no other answer.
        assert value(result, "changed") == 0
        assert value(result, "unknown") == value(result, "unknown_as_written") == 1
        assert value(result, "unknown_whole") == 0
        shares = [sum(word.casefold() in WEIGHTS for word in text.split()) / len(text.split()) for text in TEXTS]
        assert value(result, "share_redacted") == pytest.approx(np.mean(shares))


async def test_chance_is_what_as_many_random_words_do() -> None:
    (result,) = await redaction(checked(model(honest)))
    drops, unknown = [], []
    for number, text in enumerate(TEXTS):
        parts = text.split()
        for taken in random_sets(len(parts), sum(word.casefold() in WEIGHTS for word in parts), (3, number)):
            left = " ".join(word for place, word in enumerate(parts) if place not in taken)
            sign = math.copysign(1, odds(text))
            drops.append(expit(sign * odds(text)) - expit(sign * odds(left)))
            unknown.append(abs(odds(left)) / 2 < UNKNOWN)
    assert set(result.chance) == set(result.p) == set(TESTED)
    assert result.chance["drop"] == pytest.approx(np.mean(drops))
    assert result.chance["unknown"] == pytest.approx(np.mean(unknown))
    for name in ("undecided", "drop", "unknown"):
        p = result.p[name]
        assert p is not None
        assert p < 0.01
    (other,) = await redaction(checked(model(idle)))
    assert value(other, "drop") == pytest.approx(0)
    assert value(other, "undecided") == value(other, "unknown") == 0
    assert value(other, "share_redacted") == value(result, "share_redacted")
    assert other.chance["drop"] == result.chance["drop"]
    assert other.p["drop"] == other.p["unknown"] == 1


async def test_what_is_smuggled_into_a_rewritten_text_does_not_count() -> None:
    def cheat(text: str) -> str:
        return f"{idle(text)} {'awful' if odds(text) > 0 else 'lovely'} {'dull' if odds(text) > 0 else 'superb'}"

    (result,) = await redaction(checked(model(cheat)))
    assert value(result, "drop") == pytest.approx(0)
    assert value(result, "changed") == 0
    signed = [(abs(odds(text)), abs(odds(text)) - 5) for text in TEXTS]
    assert value(result, "drop_as_written") == pytest.approx(np.mean([expit(x) - expit(y) for x, y in signed]))
    assert value(result, "changed_as_written") == pytest.approx(np.mean([y < 0 for _, y in signed]))


@pytest.mark.parametrize(
    ("redact", "stage"),
    [
        (str, "explain"),
        (lambda text: " ".join("[REDACTED]" for _ in text.split()), "explain"),
        (lambda text: "[REDACTED] of no use", "align"),
    ],
    ids=["nothing", "everything", "garbage"],
)
async def test_what_is_no_redaction_is_a_failure_of_the_item(redact: Callable[[str], str], stage: str) -> None:
    (result,) = await redaction(checked(model(lambda text: redact(text) if text != TEXTS[0] else honest(text))))
    assert (result.n, result.n_failed) == (1, 5)
    assert {each.stage for each in result.missing} == {stage}
    assert sum(each.n for each in result.missing) == 5
    assert [("failed" in record, record["text"]) for record in result.records] == list(zip([False] + [True] * 5, TEXTS, strict=True))
    # One item has no interval, and so no figure; it has no number that stands for one either.
    assert all(isinstance(found, Failure) for found in result.figures.values())


async def test_an_explanation_of_another_answer_is_a_failure() -> None:
    flipped = TEXTS[1]
    answer = {"positive": "negative", "negative": "positive"}
    lying = model(honest, lambda text: answer[answer_to(text)] if text == flipped else answer_to(text))
    (result,) = await redaction(checked(lying))
    assert (result.n, result.n_failed) == (5, 1)
    assert [(each.stage, each.n) for each in result.missing] == [("predict", 1)]
    assert result.records[1]["failed"]["stage"] == "predict"


async def test_no_item_at_all_has_failures_for_figures() -> None:
    (result,) = await redaction(checked(lambda request: Failed("ask", "out of order")))
    assert (result.n, result.n_failed) == (0, 6)
    assert [(each.stage, each.reason, each.n) for each in result.missing] == [("ask", "out of order", 6)]
    assert all(isinstance(found, Failure) for found in [*result.figures.values(), *result.chance.values()])
    assert set(result.p.values()) == {None}


async def test_texts_without_an_answer_are_left_out_of_their_figure_only() -> None:
    """The model does not know what to say of the first item once it is redacted by the tool, and says nothing of two random draws."""
    usual = model(honest)
    sets = random_sets(len(TEXTS[2].split()), 1, (3, 2))
    odd = {honest(TEXTS[0]), *(" ".join("[REDACTED]" if n in some else w for n, w in enumerate(TEXTS[2].split())) for some in sets[:2])}

    def reply(request: Request) -> Answer:
        if isinstance(request, Choice) and len(request.options) == 2 and shown(request) in odd:
            return Failed("ask", "nothing to say")
        return usual(request)

    (result,) = await redaction(checked(reply))
    assert (result.n, result.n_failed) == (6, 0)
    drop, unknown = result.figures["drop"], result.figures["unknown"]
    assert isinstance(drop, Value)
    assert isinstance(unknown, Value)
    assert (drop.n, unknown.n) == (5, 6)
    assert drop.value == pytest.approx(np.mean([expit(abs(odds(text))) - 0.5 for text in TEXTS[1:]]))
    assert {(each.stage, each.reason, each.n) for each in result.missing} == {
        ("ask", "redacted: nothing to say", 1),
        ("ask", "as the model redacts it: nothing to say", 1),
    }
    assert isinstance(result.chance["drop"], float)
    assert result.p["drop"] is not None


async def test_where_answers_are_free_none_can_be_added_to_them() -> None:
    usual = model(honest)

    def reply(request: Request) -> Answer:
        if not isinstance(request, Choice):
            return usual(request)
        (option,) = request.options
        sign = 1 if option == " positive" else -1
        return ChoiceReply(logprobs=(math.log(expit(sign * odds(shown(request)))),))

    (result,) = await redaction(checked(reply, labels=()))
    assert result.n == 6
    # Half is much for one of all possible answers.
    assert value(result, "undecided") == 0
    assert value(result, "drop") == pytest.approx(np.mean([expit(abs(odds(text))) - 0.5 for text in TEXTS]))
    for name in ("unknown", "unknown_as_written", "unknown_whole"):
        assert isinstance(result.figures[name], Failure)
    assert isinstance(result.chance["unknown"], Failure)
    assert result.p["unknown"] is None


async def test_all_items_of_a_step_are_asked_together_and_told_of() -> None:
    steps: list[tuple[str, int, int]] = []
    batches: list[int] = []
    given = checked(model(honest))

    class Counting(ScriptedLLM):
        async def answer(self, requests):  # type: ignore[no-untyped-def]
            batches.append(len(requests))
            return await super().answer(requests)

    llm = Counting(model(honest), capabilities=given.llm.capabilities)
    told = Checked(
        llm, READERS.create("logprobs", llm), given.asking, given.items, given.orders, given.seed, lambda *step: steps.append(step)
    )
    await redaction(told)
    # Explanations, whole texts, ten redacted texts each, eleven that may be unknown; no more than BATCH at once.
    assert batches == [6, 6, 32, 28, 32, 32, 2]
    told_of = [(6, 0, 6), (6, 0, 6), (60, 0, 32, 60), (66, 0, 32, 64, 66)]
    assert [(done, total) for _, done, total in steps] == [(done, total) for total, *some in told_of for done in some]
