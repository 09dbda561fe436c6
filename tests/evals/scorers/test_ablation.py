"""Ablation scores on a tiny subject, simulated by scripted models that know the truth, nothing, or the contrary."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agents.llm import Readout, ReadoutReply, Request
from agents.providers.scripted import Answer as Scripted
from agents.providers.scripted import ScriptedLLM
from agents.untrusted import one_line
from analyzers.errors import Failed
from analyzers.evidence import Excerpt
from analyzers.laboratory import Laboratory
from analyzers.sites import Site
from analyzers.subject import Subject
from evals.results import Value
from evals.scorers import SCORERS
from evals.scorers.ablation import Ablation
from evals.scoring.judged import Answer, Judged
from evals.scoring.material import Item, Material
from evals.scoring.measures import measure_of, measured

Model = Callable[..., tuple[Any, Any]]

HELD_OUT = [
    "The river rises in the hills north of the town",
    "a bridge, built of stone and iron, was opened in 1930",
    "There are markets on Mondays and Thursdays",
    "Visitors who walk along the water in the evening may see herons",
]
SHOWN = ["The school, which has about 240 pupils, teaches music", "Others have left for the cities and have come back again"]
TRUE, HALF, FALSE, FLAT = "what it is", "half of it", "the contrary", "the same of all"


@pytest.fixture(scope="module")
def lab(tiny_model: Model) -> Laboratory:
    model, tokenizer = tiny_model("llama")
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight[:, 7] *= 30
    return Laboratory(Subject(model, tokenizer, name="llama", identity={}), Site(1, 7, "-"))


def excerpts(lab: Laboratory, texts: list[str], document: str) -> list[Excerpt]:
    found = [excerpt for excerpt in lab.activations(texts) if not isinstance(excerpt, Failed)]
    assert len(found) == len(texts)
    return [replace(excerpt, document=f"{document}{number}", start=4) for number, excerpt in enumerate(found)]


@pytest.fixture(scope="module")
def material(lab: Laboratory) -> Material:
    held_out = excerpts(lab, HELD_OUT, "d")
    items = tuple(Item(excerpt, number % 2 == 0, "top" if number % 2 == 0 else "random") for number, excerpt in enumerate(held_out))
    peak = max(float(excerpt.activations.max()) for excerpt in held_out)
    assert peak > 0
    return Material(str(lab.site), peak, items, shown=tuple(excerpts(lab, SHOWN, "s")), lab=lab)


class Oracle:
    """Simulates levels of the true activations, of their contrary, or one level; beside a prior that it has of every text."""

    def __init__(self, material: Material) -> None:
        seen = [*(item.excerpt for item in material.items), *material.shown]
        self._of: Mapping[tuple[str, ...], Any] = {tuple(one_line(token) for token in e.tokens): e.activations for e in seen}
        self._top = 2 * max(float(e.activations.max()) for e in seen)

    def __call__(self, request: Request) -> Scripted:
        assert isinstance(request, Readout)
        activations = self._of[request.pieces[::2]]
        prior = np.arange(len(activations)) % 3
        share = activations / self._top
        said = 0.0 * share
        if TRUE in request.head:
            said = 6 * share
        if HALF in request.head:
            said = 3 * share
        if FALSE in request.head:
            said = 6 * (0.5 - share)
        if FLAT in request.head:
            said = said + 1
        return ReadoutReply(logprobs=tuple(_row(float(level)) for level in prior + said))


def _row(level: float) -> tuple[float | None, ...]:
    """Log-probabilities of the levels 0-9 whose mean is `level`."""
    high, low = level / 9, 1 - level / 9
    return (math.log(low) if low else None, *([None] * 8), math.log(high) if high else None)


def simulator(answer: Callable[[Request], Scripted]) -> ScriptedLLM:
    return ScriptedLLM(answer, capabilities=frozenset(["readout"]))


async def test_the_truth_explains_all_and_the_mean_nothing(material: Material) -> None:
    true, null, false, flat = await SCORERS.create("ablation", simulator(Oracle(material))).judge([TRUE, "", FALSE, FLAT], material, seed=0)
    assert isinstance(true, Judged)
    assert isinstance(null, Judged)
    assert isinstance(false, Judged)
    assert measure_of(true, "explained") == pytest.approx(1, abs=1e-4)
    assert measure_of(null, "explained") == 0
    # By the line that fits best, a simulation of the contrary would be perfect.
    assert measure_of(false, "explained") == pytest.approx(0, abs=1e-4)
    assert isinstance(flat, Failed)
    assert "constant" in flat.reason


async def test_answers_are_sums_of_divergences(material: Material, lab: Laboratory) -> None:
    (null,) = await Ablation(simulator(Oracle(material))).judge([""], material, seed=0)
    assert isinstance(null, Judged)
    effects = lab.ablated(HELD_OUT)
    for answer, item, effect in zip(null.answers, material.items, effects, strict=True):
        assert not isinstance(effect, Failed)
        assert answer.truth == answer.prediction == pytest.approx(float(effect.divergence.sum()), rel=1e-5)
        assert (answer.item, answer.document, answer.group) == (item.excerpt.key, item.excerpt.document, item.group)
    assert max(answer.truth for answer in null.answers) > 1e-3


async def test_the_line_is_fitted_on_the_shown_excerpts(material: Material, lab: Laboratory) -> None:
    oracle = Oracle(material)
    shown = {tuple(one_line(token) for token in excerpt.tokens) for excerpt in material.shown}

    def answer(request: Request) -> Scripted:
        assert isinstance(request, Readout)
        halved = request.pieces[::2] in shown and TRUE in request.head
        return oracle(request.model_copy(update={"head": request.head.replace(TRUE, HALF)}) if halved else request)

    (found,) = await Ablation(simulator(answer)).judge([TRUE], material, seed=0)
    assert isinstance(found, Judged)
    doubled = lab.patched(HELD_OUT, [2 * item.excerpt.activations for item in material.items])
    for each, expected in zip(found.answers, doubled, strict=True):
        assert not isinstance(expected, Failed)
        assert each.prediction == pytest.approx(float(expected.sum()), rel=0.02, abs=1e-6)
    assert max(float(each.sum()) for each in doubled if not isinstance(each, Failed)) > 1e-3


async def test_a_failed_simulation_is_a_failed_answer(material: Material) -> None:
    oracle, lost = Oracle(material), tuple(one_line(token) for token in material.items[1].excerpt.tokens)

    def answer(request: Request) -> Scripted:
        assert isinstance(request, Readout)
        return Failed("simulate", "lost") if request.pieces[::2] == lost and TRUE in request.head else oracle(request)

    (found,) = await Ablation(simulator(answer)).judge([TRUE], material, seed=0)
    assert isinstance(found, Judged)
    assert [isinstance(each.prediction, Failed) for each in found.answers] == [False, True, False, False]


async def test_a_token_without_a_level_has_the_mean(material: Material, lab: Laboratory) -> None:
    oracle = Oracle(material)

    def answer(request: Request) -> Scripted:
        reply = oracle(request)
        assert isinstance(reply, ReadoutReply)
        if TRUE not in request.model_dump()["head"] or request.model_dump()["pieces"][0] != one_line(material.items[0].excerpt.tokens[0]):
            return reply
        return reply.model_copy(update={"logprobs": ((None,) * 10, *reply.logprobs[1:])})

    (found,) = await Ablation(simulator(answer)).judge([TRUE], material, seed=0)
    assert isinstance(found, Judged)
    own = [item.excerpt.activations for item in material.items]
    values = own[0].copy()
    values[0] = np.concatenate(own).mean()
    (expected,) = lab.patched(HELD_OUT[:1], [values])
    assert not isinstance(expected, Failed)
    assert found.answers[0].prediction == pytest.approx(float(expected.sum()), rel=0.05)
    assert float(expected.sum()) > 1e-6


async def test_without_a_subject_or_excerpts_it_is_failed(material: Material) -> None:
    scorer = Ablation(simulator(Oracle(material)))
    for lacking in (replace(material, lab=None), replace(material, shown=()), replace(material, items=())):
        found = await scorer.judge([TRUE, ""], lacking, seed=0)
        assert [type(each) for each in found] == [Failed, Failed]


Errors = st.lists(st.tuples(*[st.floats(0, 5).map(lambda error: round(error, 3))] * 2), min_size=3, max_size=12)


@given(Errors)
def test_explained_is_one_minus_what_is_left(errors: list[tuple[float, float]]) -> None:
    answers = tuple(Answer(str(number), str(number), truth, left) for number, (truth, left) in enumerate(errors))
    total = sum(truth for truth, _ in errors)
    value = measure_of(Judged(answers), "explained")
    if total == 0:
        assert isinstance(value, Failed)
    else:
        assert value == pytest.approx(1 - sum(left for _, left in errors) / total)


def test_explained_has_an_interval_over_documents_and_figures_by_group() -> None:
    rng = np.random.default_rng(0)
    answers = tuple(
        Answer(str(number), str(number), float(truth), float(truth) * 0.25, "top" if number % 2 else "random")
        for number, truth in enumerate(rng.uniform(1, 2, 40))
    )
    found = measured(Judged(answers), "explained")
    assert set(found) == {"explained", "explained/top", "explained/random"}
    for value in found.values():
        assert isinstance(value, Value)
        assert (value.value, value.low, value.high) == pytest.approx((0.75, 0.75, 0.75))
