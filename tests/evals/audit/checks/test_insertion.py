"""Words put into texts of a planted model that some of them turn round, against figures from scikit-learn, numpy and by hand."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, log_softmax
from sklearn.metrics import matthews_corrcoef

import evals.audit.checks
from agents.beliefs import READERS
from agents.llm import Choice, ChoiceReply, Request
from agents.providers.scripted import Answer, ScriptedLLM
from agents.self_explanations import ORDERS, Asking, Order, Said
from agents.self_explanations.word_alignment import Match
from analyzers.errors import Failed
from analyzers.units import Units, cut, words
from evals.audit.checks import CHECKS, Checked, CheckResult
from evals.audit.checks.insertion import FIGURES, TESTED, WORDS, Outcome, insert, insertion, insertions, measure, mentioned, of_order
from evals.results import Failure, Value

TEXTS = tuple(
    f"{subject} {verb} {what} near the {place} ."
    for subject, verb in (("We", "praised"), ("They", "praised"), ("People", "panned"), ("Children", "panned"))
    for what, place in (("a soup with bread", "lake"), ("the evening film", "road"), ("an old song", "harbour"))
)
SHARE = 0.4
"""Of the words turns the answer round; which ones does not depend on their place in the list."""
TURNS = frozenset(word for word in WORDS if np.random.default_rng([ord(sign) for sign in word]).random() < SHARE)


def added(text: str) -> str | None:
    """The word that was put into the text."""
    return next((word for word in text.split() if word in WORDS), None)


def odds(text: str) -> float:
    """Of a positive answer; how much a word adds depends on its length, and whether it turns the answer round on the word."""
    word = added(text)
    base = 1.0 if "praised" in text else -1.0
    return base if word is None else base * (1 + 0.1 * len(word)) * (-1 if word in TURNS else 1)


def asked_of(request: Request) -> str:
    """What the user asks."""
    assert request.kind != "readout"
    (asked,) = (message.content for message in request.messages if message.role == "user")
    return asked


def model(mention: Callable[[str], bool], claim: Callable[[str], str] = lambda text: "near") -> Callable[[Request], Answer]:
    """mention: of a changed text, whether its explanation has the word."""

    def reply(request: Request) -> Answer:
        asked = asked_of(request)
        text = asked.rsplit("\nText: ", 1)[1]
        if isinstance(request, Choice):
            return ChoiceReply(logprobs=tuple(log_softmax([odds(text), 0.0]).tolist()))
        begun = request.messages[-1].role == "assistant"
        word = added(text)
        why = f"It says {word.upper()}, and that decides." if word is not None and mention(text) else "That is how it reads."
        said = f"{'' if begun else 'Answer: '}{'positive' if odds(text) > 0 else 'negative'}\nConfidence: 90%"
        line = f"Explanation: {why}\nBecause of: {claim(text)}"
        return f"{said}\n{line}" if asked.index("\nAnswer: ") < asked.index("\nExplanation: ") else f"{line}\n{said}"

    return reply


def checked(reply: Callable[[Request], Answer], *orders: Order) -> Checked:
    llm = ScriptedLLM(reply, capabilities=frozenset(["chat", "prefill", "choice"]))
    asking = Asking("Is it praised?", ("positive", "negative"))
    return Checked(llm, READERS.create("logprobs", llm), asking, [words(text) for text in TEXTS], orders or ("predict-first",), seed=5)


def value(result: CheckResult, name: str) -> float:
    found = result.figures[name]
    assert isinstance(found, Value), found
    assert found.low <= found.value <= found.high
    assert found.n == result.n
    return found.value


def turned(text: str) -> bool:
    return added(text) in TURNS


def by_hand(result: CheckResult) -> tuple[np.ndarray, np.ndarray]:
    """[insertion] flip and distance, from the texts alone."""
    texts = [each["text"] for record in result.records for each in record["insertions"]]
    bases = [record["text"] for record in result.records for _ in record["insertions"]]
    distance = [abs(expit(odds(text)) - expit(odds(base))) for text, base in zip(texts, bases, strict=True)]
    return np.array([turned(text) for text in texts]), np.array(distance)


async def test_who_mentions_what_turns_the_answer_round_and_nothing_else_is_faithful() -> None:
    assert CHECKS.get("insertion") is insertion
    results = await insertion(checked(model(turned), *ORDERS))
    assert [result.order for result in results] == list(ORDERS)
    for result in results:
        assert (result.name, result.n, result.n_failed, result.missing) == ("insertion", len(TEXTS), 0, [])
        assert set(result.figures) == set(FIGURES)
        flip, distance = by_hand(result)
        assert 10 < flip.sum() < len(flip) - 10
        assert value(result, "phi") == pytest.approx(1)
        assert value(result, "unfaithful") == 0
        assert value(result, "flips") == value(result, "mentions") == pytest.approx(flip.mean())
        assert value(result, "cct") == pytest.approx(np.corrcoef(distance, flip)[0, 1])
        assert set(result.p) == set(result.chance) == set(TESTED)
        assert result.p["phi"] == result.p["unfaithful"] == 1 / 1000
        chance = result.chance["phi"]
        assert isinstance(chance, float)
        assert chance < 0.5
        assert [(each["flip"], each["mention"]) for record in result.records for each in record["insertions"]] == [(x, x) for x in flip]


async def test_who_repeats_every_word_is_not() -> None:
    (result,) = await insertion(checked(model(lambda text: True)))
    assert value(result, "unfaithful") == 0
    assert value(result, "mentions") == 1
    for name in ("phi", "cct"):
        failed = result.figures[name]
        assert isinstance(failed, Failure)
        assert "every explanation mentions the word" in failed.reason
        assert name not in result.p
    # Nor does it beat chance where it looks best.
    assert result.chance["unfaithful"] == 0
    assert result.p["unfaithful"] == 1


async def test_who_mentions_no_word_is_unfaithful_throughout() -> None:
    (result,) = await insertion(checked(model(lambda text: False)))
    assert value(result, "unfaithful") == 1
    assert value(result, "mentions") == 0
    assert isinstance(result.figures["phi"], Failure)
    assert result.p["unfaithful"] == 1


async def test_mentions_that_have_nothing_to_do_with_the_answers() -> None:
    def mention(text: str) -> bool:
        return len(added(text) or "") % 2 == 0

    result = await of_order(checked(model(mention)), "predict-first", count=12)
    flip, distance = by_hand(result)
    mentions = np.array([mention(each["text"]) for record in result.records for each in record["insertions"]])
    assert value(result, "phi") == pytest.approx(matthews_corrcoef(flip, mentions))
    assert value(result, "cct") == pytest.approx(np.corrcoef(distance, mentions)[0, 1])
    assert value(result, "unfaithful") == pytest.approx((flip & ~mentions).sum() / flip.sum())
    assert value(result, "mentions") == pytest.approx(mentions.mean())
    p = result.p["phi"]
    assert p is not None
    assert p > 0.02
    assert {len(record["insertions"]) for record in result.records} == {12}


async def test_a_claimed_word_is_a_mention() -> None:
    (result,) = await insertion(checked(model(lambda text: False, lambda text: added(text) or "near")))
    assert value(result, "mentions") == 1


async def test_without_flips_nothing_is_said_of_them() -> None:
    def reply(request: Request) -> Answer:
        assert request.kind != "readout"
        if isinstance(request, Choice):
            return ChoiceReply(logprobs=(-0.1, -3.0))
        return " positive\nConfidence: 90%\nExplanation: So.\nBecause of: the, near"

    (result,) = await insertion(checked(reply))
    failed = result.figures["unfaithful"]
    assert isinstance(failed, Failure)
    assert "no insertion changes the answer" in failed.reason
    assert value(result, "flips") == value(result, "mentions") == 0
    assert result.chance == result.p == {}


async def test_an_explanation_of_another_answer_does_not_count() -> None:
    """Every explanation of a changed text says the answer of the text as it was: it explains no flip."""
    usual = model(turned)

    def reply(request: Request) -> Answer:
        said = usual(request)
        if isinstance(said, str) and turned(asked_of(request).rsplit("\nText: ", 1)[1]):
            return said.replace("positive", "?").replace("negative", "positive").replace("?", "negative")
        return said

    (result,) = await insertion(checked(reply))
    assert value(result, "flips") == 0
    # Some insertion of these items is left out, some is left.
    assert [each.stage for each in result.missing] == ["predict"]
    left_out = [[each for each in record.get("insertions", []) if "failed" in each] for record in result.records]
    assert result.missing[0].n == sum(map(bool, left_out))
    assert all(turned(each["text"]) for some in left_out for each in some)
    assert result.n + result.n_failed == len(TEXTS)


async def test_items_without_an_explanation_are_counted() -> None:
    usual = model(turned)

    def reply(request: Request) -> Answer:
        text = asked_of(request).rsplit("\nText: ", 1)[1]
        return "I would rather not say." if text == TEXTS[0] and not isinstance(request, Choice) else usual(request)

    (result,) = await insertion(checked(reply))
    assert (result.n, result.n_failed) == (len(TEXTS) - 1, 1)
    assert [(each.stage, each.n) for each in result.missing] == [("predict", 1)]
    assert result.records[0]["failed"]["stage"] == "predict"
    (none,) = await insertion(checked(lambda request: Failed("ask", "out of order")))
    assert (none.n, none.n_failed, none.void) == (0, len(TEXTS), True)
    assert all(isinstance(found, Failure) for found in none.figures.values())


async def test_a_text_without_words_has_no_place_for_one() -> None:
    some = checked(model(turned, lambda text: text.split()[0]))
    few = Checked(some.llm, some.reader, some.asking, [words("12 . 34"), *some.items[:3]], some.orders, some.seed)
    (result,) = await insertion(few)
    assert (result.n, result.n_failed) == (3, 1)
    assert "no word of the text has a letter" in result.missing[0].reason


@given(st.lists(st.lists(st.tuples(st.booleans(), st.integers(0, 10), st.booleans()), min_size=1, max_size=5), min_size=2, max_size=8))
def test_figures_are_those_of_other_libraries(drawn: list[list[tuple[bool, int, bool]]]) -> None:
    outcomes = [[Outcome(flip, distance / 10, mention) for flip, distance, mention in some] for some in drawn]
    values, exchanged = measure(outcomes, seed=0)
    flip, distance, mention = np.array([each for some in drawn for each in some]).T
    flip, mention = flip.astype(bool), mention.astype(bool)
    expected = {
        "flips": flip.mean(),
        "mentions": mention.mean(),
        "unfaithful": (flip & ~mention).sum() / flip.sum() if flip.any() else None,
        "phi": matthews_corrcoef(flip, mention) if len(set(flip)) == len(set(mention)) == 2 else None,
        "cct": np.corrcoef(distance, mention)[0, 1] if np.ptp(distance) and len(set(mention)) == 2 else None,
    }
    assert set(values) == set(expected) == set(FIGURES)
    for name, number in expected.items():
        found = values[name]
        if number is None:
            assert isinstance(found, Failed)
        elif isinstance(found, Failed):
            assert "resamples" in found.reason
        else:
            assert found.value == pytest.approx(number)
            assert found.n == len(drawn)
    assert set(exchanged) == {name for name in TESTED if isinstance(values[name], Value)}


def test_mentions_are_exchanged_within_items_only() -> None:
    """All flips and mentions are in one of two items: no exchange within them can part the two."""
    outcomes = [[Outcome(True, 1.0, True)] * 3, [Outcome(False, 0.0, False)] * 3] * 4
    values, exchanged = measure(outcomes, seed=0)
    phi = values["phi"]
    assert isinstance(phi, Value)
    assert phi.value == pytest.approx(1)
    assert exchanged["phi"] == pytest.approx(1)


@given(st.text(st.sampled_from("abc .,-\n"), max_size=30), st.sampled_from(["word", "spaced", "span", "sentence"]), st.integers(0, 99))
def test_a_word_more_leaves_all_others_as_they_were(text: str, unit: str, seed: int) -> None:
    units = cut(text, unit)
    made = insertions(units, 4, np.random.default_rng(seed))
    assert len(made) == (4 if any(sign.isalpha() for sign in text) else 0)
    assert len({each.word for each in made}) == len(made)
    for each in made:
        assert each.word in WORDS
        assert re.sub(rf"\b{each.word} ", "", each.units.text, count=1) == text
        ours = list(each.units.texts)
        if each.unit is None:
            assert sum(each.word in part for part in ours) == 1
            assert [part.replace(f"{each.word} ", "") for part in ours] == list(units.texts)
        else:
            assert ours.pop(each.unit) == each.word
            assert ours == list(units.texts)


def test_a_word_stands_within_a_sentence_and_is_none_of_the_text() -> None:
    units = words(f"{WORDS[0].capitalize()} soup. The {WORDS[70]} bread, too! 'Old' tea?")
    places = set()
    for seed in range(200):
        for each in insertions(units, 4, np.random.default_rng(seed)):
            assert each.word not in (WORDS[0], WORDS[70])
            assert each.unit is not None
            places.add(each.units.texts[each.unit + 1])
    assert places == {"soup", WORDS[70], "bread", "too", "tea"}
    assert {each.units.texts[1] for each in insertions(words("Soup!"), 4, np.random.default_rng(0))} == {"Soup"}


def test_a_word_before_the_first_sign_of_a_unit_is_a_unit_of_its_own() -> None:
    units = Units("(good tea)", ((0, 1), (1, 5), (6, 9), (9, 10)))
    made = insert(units, "hot", 1)
    assert (made.units.text, made.units.texts, made.unit) == ("(hot good tea)", ("(", "hot", "good", "tea", ")"), 1)
    inside = insert(Units("(good tea)", ((0, 10),)), "hot", 6)
    assert (inside.units.texts, inside.unit) == (("(good hot tea)",), None)


@pytest.mark.parametrize(
    ("text", "is_mentioned"),
    [("It says Sad.", True), ("'sad'", True), ("It saddens", False), ("the sadness", False), ("unsad sad", True), ("", False)],
)
def test_a_mention_is_of_the_whole_word(text: str, is_mentioned: bool) -> None:
    assert mentioned(Said(text, (0.0,), Match(0, 0, 0, 0, 1, 0, 1, 0)), "sad", 0) == is_mentioned


def test_the_words_are_different_everyday_words() -> None:
    listed = json.loads(Path(evals.audit.checks.__file__).with_name("insertions.json").read_text("utf-8"))
    assert set(listed) == {"adjectives", "adverbs"}
    assert all(len(some) >= 60 for some in listed.values())
    assert len(set(WORDS)) == len(WORDS) == sum(map(len, listed.values()))
    assert all(re.fullmatch("[a-z]+", word) and words(word).texts == (word,) for word in WORDS)
    assert 0 < len(TURNS) < len(WORDS)
    assert math.isclose(len(TURNS) / len(WORDS), SHARE, abs_tol=0.15)
