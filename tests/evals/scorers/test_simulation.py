import asyncio
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr
from sklearn.linear_model import LinearRegression

from agents.llm import Readout, ReadoutReply, Request
from agents.providers.scripted import ScriptedLLM
from analyzers.errors import Failed, ProviderError
from analyzers.evidence import Excerpt
from evals.scorers import SCORERS
from evals.scorers.partial import residual
from evals.scoring.judged import Judged
from evals.scoring.material import Material, from_excerpts
from evals.scoring.measures import measured

WORDS = ["the", "cat", "sat", "on", "a", "mat", "and", "one", "dog", "ran", "off", "to", "the", "old", "town", "again"]


def material() -> Material:
    rng = np.random.default_rng(0)
    excerpts = []
    for number in range(6):
        tokens = tuple(f" {word}" for word in rng.choice(WORDS, 8))
        fires = np.array([9.0 if token == " cat" else 0.0 for token in tokens], np.float32)
        fires[number] = 10.0 if number % 2 else 0.0
        excerpts.append(Excerpt(f"d{number}", 0, tokens, fires, "top"))
    return from_excerpts("L0.mlp.0", excerpts, 10.0)


def level(explanation: str, token: str, at: int) -> int:
    """What the scripted simulator holds of a token: from the explanation, from its place, and from the token."""
    prior = (7 * at + len(token)) % 4
    return min(9, prior + (5 if explanation == "cats" and "cat" in token else 0))


def llm(broken: Mapping[str, object] | None = None) -> ScriptedLLM:
    def answer(request: Request) -> object:
        assert isinstance(request, Readout)
        explanation = request.head.strip().removeprefix("Fires on: ")
        if broken and explanation in broken:
            return broken[explanation]
        rows = []
        for number, piece in enumerate(request.after):
            value = level(explanation, request.pieces[piece], number)
            rows.append(tuple(0.0 if digit == value else -60.0 for digit in range(10)))
        return ReadoutReply(logprobs=tuple(rows))

    return ScriptedLLM(answer, capabilities=frozenset({"readout"}))  # type: ignore[arg-type]


def naive(explanation: str, *, contrast: bool) -> float:
    truth, said = [], []
    for item in material().items:
        for at, token in enumerate(item.excerpt.tokens):
            truth.append(float(item.excerpt.activations[at]))
            said.append(level(explanation, token, at) - (level("something unknown", token, at) if contrast else 0))
    return float(pearsonr(truth, said).statistic)


@pytest.mark.parametrize(("name", "contrast"), [("simulation", True), ("simulation-raw", False)])
async def test_the_correlation_is_that_of_a_naive_loop(name: str, contrast: bool) -> None:
    scorer = SCORERS.create(name, llm())
    assert scorer.name == f"{name}(scripted:test)"
    assert len(scorer.prompt) == 12
    texts = ["cats"] if contrast else ["cats", "dogs"]
    for text, judged in zip(texts, await scorer.judge(texts, material(), seed=0), strict=True):
        assert isinstance(judged, Judged)
        value = measured(judged, scorer.measure)["pearson"]
        assert not isinstance(value, Failed)
        assert value.value == pytest.approx(naive(text, contrast=contrast), abs=1e-6)


async def test_with_contrast_the_null_explanation_is_told_nothing() -> None:
    null, other = await SCORERS.create("simulation", llm()).judge(["", "dogs"], material(), seed=0)
    for judged in (null, other):
        assert isinstance(judged, Judged)
        assert {answer.prediction for answer in judged.answers} == {0.0}
        assert isinstance(measured(judged, "pearson")["pearson"], Failed)


async def test_partial_correlation_takes_out_the_words_and_the_null_simulation() -> None:
    scorer = SCORERS.create("partial", llm())
    explanation = "cats"
    (judged,) = await scorer.judge([explanation], material(), seed=0)
    assert isinstance(judged, Judged)
    truth, said, null, word = [], [], [], []
    for item in material().items:
        for at, token in enumerate(item.excerpt.tokens):
            truth.append(float(item.excerpt.activations[at]))
            said.append(level(explanation, token, at))
            null.append(level("", token, at))
            word.append(float(token == " cats"))
    # By the closed form from the correlations of three: the words of the explanation stand nowhere, so only the null one is left.
    assert sum(word) == 0
    r = np.corrcoef([truth, said, null])
    want = (r[0, 1] - r[0, 2] * r[1, 2]) / np.sqrt((1 - r[0, 2] ** 2) * (1 - r[1, 2] ** 2))
    value = measured(judged, scorer.measure)["pearson"]
    assert not isinstance(value, Failed)
    assert value.value == pytest.approx(float(want), abs=1e-6)


async def test_partial_correlation_gives_nothing_for_knowing_the_words() -> None:
    def answer(request: Request) -> object:
        assert isinstance(request, Readout)
        told = "cat" in request.head
        rows = [
            tuple(0.0 if digit == (9 if told and "cat" in request.pieces[at] else 1) else -80.0 for digit in range(10))
            for at in request.after
        ]
        return ReadoutReply(logprobs=tuple(rows))

    looking = ScriptedLLM(answer, capabilities=frozenset({"readout"}))  # type: ignore[arg-type]
    (plain,) = await SCORERS.create("simulation", looking).judge(['the word "cat"'], material(), seed=0)
    (partial,) = await SCORERS.create("partial", looking).judge(['the word "cat"'], material(), seed=0)
    assert isinstance(plain, Judged)
    assert isinstance(partial, Judged)
    assert not isinstance(measured(plain, "pearson")["pearson"], Failed)
    assert {answer.prediction for answer in partial.answers} == {0.0}


@given(st.integers(0, 2**32 - 1), st.integers(4, 40), st.booleans())
def test_what_is_left_is_what_a_regression_leaves(seed: int, tokens: int, idle: bool) -> None:
    rng = np.random.default_rng(seed)
    known = rng.normal(size=(tokens, 2)) * (1, 0 if idle else 5)
    values = rng.normal(size=tokens) + known[:, 0]
    want = values - LinearRegression().fit(known, values).predict(known)
    np.testing.assert_allclose(residual(values, known), want, atol=1e-9)
    assert not residual(3 * known[:, 0] + 2, known).any()


@pytest.mark.parametrize("name", ["simulation", "simulation-raw", "partial"])
async def test_what_is_not_predicted_is_missing(name: str) -> None:
    scorer = SCORERS.create(name, llm({"broken": Failed("simulate", "cut off")}))
    broken, fine = await scorer.judge(["broken", "cats"], material(), seed=0)
    assert isinstance(broken, Failed)
    assert "cut off" in broken.reason
    assert isinstance(fine, Judged)
    short = SCORERS.create(name, llm({"cats": ReadoutReply(logprobs=((0.0,) * 10,) * 3)}))
    (few,) = await short.judge(["cats"], material(), seed=0)
    assert isinstance(few, Failed)


async def test_some_tokens_without_a_level_are_failed_answers() -> None:
    rows = [(-60.0,) * 9 + (0.0,)] * 7 + [(None,) * 10]
    scorer = SCORERS.create("simulation-raw", llm({"cats": ReadoutReply(logprobs=tuple(rows))}))  # type: ignore[arg-type]
    (judged,) = await scorer.judge(["cats"], material(), seed=0)
    assert isinstance(judged, Judged)
    lost = [answer.item for answer in judged.answers if isinstance(answer.prediction, Failed)]
    assert lost == [f"{item.excerpt.key}+7" for item in material().items]


async def test_an_error_ends_all_of_it() -> None:
    async def judging() -> None:
        scorer = SCORERS.create("simulation", llm({"dogs": ProviderError("no access")}))
        await scorer.judge(["cats", "dogs"], material(), seed=0)

    with pytest.raises(ProviderError, match="no access"):
        await judging()
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 1
