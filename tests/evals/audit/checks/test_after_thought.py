"""Checks of chains of thought, made of planted models whose answers depend on their thoughts in a known way."""

import json
import re
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.beliefs import READERS
from agents.llm import Capability, Chat, ChatReply, Choice, ChoiceReply, Request
from agents.providers.scripted import Answer, ScriptedLLM, words
from agents.self_explanations import Asking
from analyzers.errors import Failed, LimitReached
from analyzers.units import words as cut_words
from evals.audit.checks import CHECKS, Checked, CheckResult
from evals.audit.checks.early_answering import points
from evals.audit.checks.found import BATCH
from evals.results import Failure, Value

LABELS = ("positive", "negative")
ITEMS = [f"item{number} is here" for number in range(12)]
NAMES = ("early-answering", "added-mistakes", "paraphrase", "filler")
READ: list[tuple[str, frozenset[Capability]]] = [
    ("logprobs", frozenset(["chat", "prefill", "choice"])),
    ("logprobs", frozenset(["chat", "choice"])),
    ("stated", frozenset(["chat", "prefill"])),
    ("stated", frozenset(["chat"])),
    ("samples", frozenset(["chat", "prefill"])),
    ("samples", frozenset(["chat"])),
]
"""How the belief is read, of models that can do so."""
LAST = "So good."

Believes = Callable[[str], float]
"""Probability of `positive`, in tenths, after given thoughts."""


def given_thoughts(request: Request) -> str | None:
    """The thoughts that a request gives to the model; None where it gives none at all."""
    assert request.kind != "readout"
    begun = re.fullmatch(r"Thoughts:(?: (.*?))?(?:\nAnswer:)?", request.messages[-1].content)
    if begun is not None:
        return begun[1] or ""
    shown = re.search(r"quoted too: (.*)", words(request))
    return None if shown is None else "" if shown[1] == "(none)" else shown[1]


class Planted:
    """A model that thinks the same steps about every text, or as many as the text says, and answers by its thoughts."""

    def __init__(
        self, believes: Believes, *, further: Callable[[str], str] = lambda _: "", mistake: str = "So BAD.", paraphrase: str = "Thus fine."
    ) -> None:
        self.believes, self.further, self.mistake, self.paraphrase = believes, further, mistake, paraphrase

    def steps(self, text: str) -> list[str]:
        number = int(re.findall(r"item(\d+)", text)[-1]) % 4
        return [*(f"Step {chr(97 + step)} of thought." for step in range(number)), LAST]

    def __call__(self, request: Request) -> Answer:
        text, given = words(request), given_thoughts(request)
        begun = request.kind != "readout" and request.messages[-1].role == "assistant"
        if "Mistaken step:" in text:
            return self.mistake if begun else f"Mistaken step: {self.mistake}"
        if "In other words:" in text:
            return self.paraphrase if begun else f"In other words: {self.paraphrase}"
        if isinstance(request, Chat) and request.stop == ("Answer:",):
            thoughts = " ".join(self.steps(text)) if not given else self.further(given)
            return thoughts if begun else f"Thoughts: {thoughts}" if thoughts else ""
        assert given is not None, text
        p = self.believes(given)
        if isinstance(request, Choice):
            odds = dict(zip(LABELS, np.log([p, 1 - p]).tolist(), strict=True))
            return ChoiceReply(logprobs=tuple(odds[option.strip()] for option in request.options))
        assert isinstance(request, Chat)
        yes = request.seed < round(10 * p) if request.temperature else p > 0.5
        confidence = f"\nConfidence: {max(p, 1 - p):.0%}" if "Confidence:" in text else ""
        return f"{'' if begun else 'Answer: '}{LABELS[not yes]}{confidence}"


def checked(
    planted: Callable[[Request], Answer], reader: str, capabilities: frozenset[Capability], texts: Sequence[str] = ITEMS
) -> Checked:
    llm = ScriptedLLM(planted, capabilities=capabilities)
    asking = Asking("Is the review positive or negative?", LABELS)
    return Checked(llm, READERS.create(reader, llm), asking, [cut_words(text) for text in texts], ["explain-first"], seed=3)


async def run(name: str, of: Checked) -> CheckResult:
    (result,) = await CHECKS.get(name)(of)
    assert result.name == name
    assert result.n + result.n_failed == len(of.items) == len(result.records)
    assert sum(why.n for why in result.missing) == result.n_failed
    json.dumps(result.model_dump(mode="json"))
    return result


def value(result: CheckResult, figure: str) -> float:
    found = result.figures[figure]
    assert isinstance(found, Value), found
    assert found.low - 1e-9 <= found.value <= found.high + 1e-9
    assert found.n == result.n
    return found.value


@pytest.mark.parametrize(("reader", "capabilities"), READ)
@pytest.mark.parametrize("name", NAMES)
async def test_a_model_that_ignores_its_thoughts_is_found_out(name: str, reader: str, capabilities: frozenset[Capability]) -> None:
    result = await run(name, checked(Planted(lambda _: 0.8), reader, capabilities))
    assert result.n == len(ITEMS)
    expected = {"same_answer": 1, "drop": 0, "same_without": 1, "aoc": 0, "aoc_probability": 0}
    measured = expected.keys() & result.figures.keys()
    assert len(measured) >= 2
    for figure in measured:
        assert value(result, figure) == pytest.approx(expected[figure], abs=1e-9)
        assert result.chance[figure] == pytest.approx(expected[figure], abs=1e-9)
        assert result.p[figure] == 1


@pytest.mark.parametrize(("reader", "capabilities"), READ)
async def test_early_answers_of_a_model_that_goes_by_its_last_step(reader: str, capabilities: frozenset[Capability]) -> None:
    result = await run("early-answering", checked(Planted(lambda given: 0.9 if "good." in given else 0.2), reader, capabilities))
    # An item of L steps has L + 1 points, all of another answer and .7 less probable but for the last one.
    lengths = [1 + number % 4 for number in range(len(ITEMS))]
    area = float(np.mean([length / (length + 1) for length in lengths]))
    assert value(result, "aoc") == pytest.approx(area)
    assert value(result, "aoc_probability") == pytest.approx(0.7 * area)
    assert value(result, "steps") == np.mean(lengths)
    for figure in ("same_without", "same_at_quarter", "same_at_half", "same_at_three_quarters"):
        assert value(result, figure) == 0
    assert result.chance == {"same_without": 1, "aoc": 0, "aoc_probability": pytest.approx(0, abs=1e-9)}
    assert max(p for p in result.p.values() if p is not None) < 0.01
    assert len(result.p) == 3


async def test_early_answers_of_a_model_that_goes_by_its_first_step() -> None:
    class Long(Planted):
        def steps(self, text: str) -> list[str]:
            return [f"Step {chr(97 + step)} of thought." for step in range(20)]

    def believes(given: str) -> float:
        return 0.6 + 0.3 * given.count("Step") / 20 if "Step a" in given else 0.2

    result = await run("early-answering", checked(Long(believes), *READ[0]))
    kept = points(20)
    assert len(kept) == 8
    assert value(result, "same_without") == 0
    assert value(result, "same_at_quarter") == value(result, "same_at_half") == 1
    assert value(result, "aoc") == pytest.approx(1 / 8)
    along = [0.9 - (0.6 + 0.3 * steps / 20 if steps else 0.2) for steps in kept]
    assert value(result, "aoc_probability") == pytest.approx(sum(along) / 8)
    assert [point["kept"] for point in result.records[0]["points"]] == kept


async def test_what_a_doubled_space_does_is_chance() -> None:
    planted = Planted(lambda given: 0.4 if "  " in given else 0.9)
    result = await run("early-answering", checked(planted, *READ[0], texts=["item1 here", "item1 there", "item3 here"]))
    # Two steps and four: 2 of 3 points and 4 of 5 are shorter than the whole chain.
    shorter = np.mean([2 / 3, 2 / 3, 4 / 5])
    assert result.chance == {"same_without": 0, "aoc": pytest.approx(shorter), "aoc_probability": pytest.approx(0.5 * shorter)}
    assert value(result, "aoc") == 0
    for name in ("paraphrase", "filler"):
        changed = await run(name, checked(planted, *READ[0]))
        assert changed.chance == {"same_answer": 0, "drop": pytest.approx(0.5)}
        assert changed.p == {"same_answer": 1, "drop": 1}


@given(st.integers(1, 200))
def test_points_are_evenly_spaced(steps: int) -> None:
    kept = points(steps)
    assert (kept[0], kept[-1], len(kept)) == (0, steps, min(8, steps + 1))
    gaps = np.diff(kept)
    assert gaps.min() >= 1
    assert gaps.max() - gaps.min() <= 1


@pytest.mark.parametrize(("reader", "capabilities"), READ)
async def test_a_mistake_leads_a_model_that_thinks_on_to_another_answer(reader: str, capabilities: frozenset[Capability]) -> None:
    def further(given: str) -> str:
        return "Hence a bad end. " * 2 if given.endswith("So BAD.") else "Hence a good end."

    of = checked(Planted(lambda given: 0.1 if "bad end" in given else 0.9, further=further), reader, capabilities)
    result = await run("added-mistakes", of)
    assert value(result, "same_answer") == 0
    assert value(result, "drop") == pytest.approx(0.8)
    assert result.chance == {"same_answer": 1, "drop": pytest.approx(0, abs=1e-9)}
    assert result.p["drop"] is not None
    assert result.p["drop"] < 0.01
    drawn = set()
    for record in result.records:
        steps = of.llm._answers.steps(record["text"])  # type: ignore[attr-defined]
        # The chain is cut after the step that was drawn, and only that step differs from the control.
        place = (
            record["altered"]
            .removesuffix(" So BAD. Hence a bad end. Hence a bad end.")
            .removesuffix("So BAD. Hence a bad end. Hence a bad end.")
        )
        before = place.count("Step")
        assert record["altered"] == " ".join([*steps[:before], "So BAD.", "Hence a bad end.", "Hence a bad end."])
        assert record["control"] == " ".join([*steps[: before + 1], "Hence a good end."])
        drawn.add(before)
    assert len(drawn) > 1


async def test_a_model_that_mends_the_mistake_keeps_its_answer() -> None:
    planted = Planted(lambda given: 0.1 if given.endswith("BAD.") else 0.9, further=lambda _: "No, all is well.")
    result = await run("added-mistakes", checked(planted, *READ[0]))
    assert value(result, "same_answer") == 1
    without = await run("added-mistakes", checked(Planted(planted.believes), *READ[0]))
    assert value(without, "same_answer") == 0


@pytest.mark.parametrize(("reader", "capabilities"), READ)
async def test_a_model_that_goes_by_a_word_of_its_thoughts_changes_after_a_paraphrase(
    reader: str, capabilities: frozenset[Capability]
) -> None:
    result = await run("paraphrase", checked(Planted(lambda given: 0.9 if "good" in given else 0.3), reader, capabilities))
    assert value(result, "same_answer") == 0
    assert value(result, "drop") == pytest.approx(0.6)
    assert result.chance == {"same_answer": 1, "drop": pytest.approx(0, abs=1e-9)}
    assert {record["altered"] for record in result.records} == {"Thus fine."}


async def test_filler_has_as_many_words_as_the_thoughts() -> None:
    planted = Planted(lambda given: 0.9 if "good" in given else 0.3)
    result = await run("filler", checked(planted, *READ[0]))
    assert value(result, "drop") == pytest.approx(0.6)
    for record in result.records:
        assert set(record["altered"].split(" ")) == {"..."}
        assert len(record["altered"].split()) == len(record["thoughts"].split())
    # One that needs only the room is not harmed.
    room = await run("filler", checked(Planted(lambda given: 0.9 if len(given.split()) > 1 else 0.3), *READ[0]))
    assert value(room, "same_answer") == 1


@pytest.mark.parametrize("name", NAMES)
async def test_an_item_that_fails_is_left_out_and_named(name: str) -> None:
    planted = Planted(lambda given: 0.9 if "good." in given else 0.2)

    def answer(request: Request) -> Answer:
        if "item5" in words(request):
            return Failed("ask", "refused")
        return planted(request)

    whole = await run(name, checked(planted, *READ[0], texts=[text for text in ITEMS if "item5" not in text]))
    result = await run(name, checked(answer, *READ[0]))
    assert (result.n, result.n_failed) == (11, 1)
    assert [(why.stage, why.reason, why.n) for why in result.missing] == [("ask", "refused", 1)]
    assert result.records[5]["failed"]["reason"] == "refused"
    # The step that gets a mistake is drawn by the place of the item.
    if name != "added-mistakes":
        assert result.figures == whole.figures
    assert all(isinstance(found, Value) for found in result.figures.values())


async def test_rewriting_that_changes_nothing_is_a_failure() -> None:
    for name, planted in (
        ("paraphrase", Planted(lambda _: 0.9, paraphrase=LAST)),
        ("added-mistakes", Planted(lambda _: 0.9, mistake=LAST)),
    ):
        # Items 0, 4 and 8 have one step.
        result = await run(name, checked(planted, *READ[2], texts=[ITEMS[0], ITEMS[4], ITEMS[8]]))
        assert result.n == 0
        assert [(why.stage, why.n) for why in result.missing] == [("rewrite", 3)]
        assert all(isinstance(found, Failure) for found in result.figures.values())
        assert result.chance == result.p == {}


async def test_an_undecided_model_has_no_answer_to_keep() -> None:
    for name in NAMES:
        result = await run(name, checked(Planted(lambda _: 0.5), *READ[0]))
        assert [(why.stage, why.n) for why in result.missing] == [("predict", len(ITEMS))]
    # One that is undecided only without its thoughts has another answer there than after them.
    result = await run("early-answering", checked(Planted(lambda given: 0.9 if given else 0.5), *READ[0]))
    assert result.n == len(ITEMS)
    assert value(result, "same_without") == 0


@pytest.mark.parametrize(("reader", "capabilities"), READ)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("reply", ["", "?!", "asdf qwer", '{"a": [', "Answer: positive or negative\nThoughts: maybe"])
async def test_garbage_is_a_failure_with_its_reason(name: str, reader: str, capabilities: frozenset[Capability], reply: str) -> None:
    def answer(request: Request) -> Answer:
        return reply if isinstance(request, Chat) else Failed("ask", "no log-probabilities")

    result = await run(name, checked(answer, reader, capabilities))
    assert (result.n, result.n_failed) == (0, len(ITEMS))
    assert all(why.stage in {"ask", "explain", "predict", "rewrite"} and why.reason for why in result.missing)
    assert all(isinstance(found, Failure) for found in result.figures.values())


@settings(max_examples=40, deadline=None)
@given(reply=st.text(max_size=60), name=st.sampled_from(NAMES), way=st.sampled_from(READ[2:]))
async def test_no_reply_breaks_a_check(reply: str, name: str, way: tuple[str, frozenset[Capability]]) -> None:
    await run(name, checked(lambda _: ChatReply(text=reply), *way, texts=ITEMS[:2]))


@pytest.mark.parametrize("name", [*NAMES, "suggestion"])
async def test_free_answers_have_no_figures(name: str) -> None:
    llm = ScriptedLLM([])
    of = Checked(llm, READERS.create("stated", llm), Asking("Who wrote it?"), [cut_words("a b")] * 3, ["explain-first"], seed=0)
    (result,) = await CHECKS.get(name)(of)
    assert result.figures
    for found in result.figures.values():
        assert isinstance(found, Failure)
        assert "free" in found.reason
    assert (result.n, result.n_failed, result.missing[0].n) == (0, 3, 3)
    assert llm.history == []


async def test_a_limit_is_raised_and_progress_told() -> None:
    def answer(request: Request) -> Answer:
        return LimitReached("enough")

    with pytest.raises(LimitReached):
        await run("filler", checked(answer, *READ[0]))
    seen: list[tuple[str, int, int]] = []
    of = checked(Planted(lambda _: 0.8), *READ[0], texts=[f"item{number}" for number in range(BATCH + 1)])
    told = Checked(of.llm, of.reader, of.asking, of.items, of.orders, of.seed, lambda *where: seen.append(where))
    await run("filler", told)
    assert seen[:3] == [("think", done, BATCH + 1) for done in (0, BATCH, BATCH + 1)]
    assert seen[-1][1] == seen[-1][2] == 3 * (BATCH + 1)
