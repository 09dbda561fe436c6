"""The forecast of a labelling run against the requests that are sent."""

import json
import math
import re
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import pytest

from agents.budget import Budget
from agents.explainers import EXPLAINERS
from agents.explanation import Explanation
from agents.llm import Capability, ChatReply, ChoiceReply, Request
from agents.metered import Metered
from agents.prices import Price
from agents.providers.scripted import ScriptedLLM
from agents.simulators import SIMULATORS
from analyzers.errors import Failed
from analyzers.evidence import Evidence, Excerpt, Moments
from analyzers.progress import quiet
from analyzers.sites import Site
from evals.forecast import JUDGED, forecast
from evals.instrument import quick
from evals.judging import judge
from evals.label_config import LabelConfig
from evals.scorers import SCORERS
from evals.scoring.material import from_excerpts
from evals.work import Work

WORDS = [f" word{i}" for i in range(10)]
SPLITS = {"explain": 6, "select": 3, "calibrate": 2, "test": 4}


def evidence(site: Site, tokens: Sequence[str] = WORDS) -> Evidence:
    def excerpt(number: int) -> Excerpt:
        activations = np.zeros(len(tokens), np.float32)
        activations[4] = 1 + number
        return Excerpt(f"d{number}", 0, tuple(tokens), activations, "top")

    splits: Any = {split: tuple(excerpt(number) for number in range(count)) for split, count in SPLITS.items()}
    return Evidence(site, splits, Moments(tokens=100, mean=0.0, variance=1.0, firing=0.1))


def said(candidates: int, price: Price | None) -> str:
    budget = Budget()
    llm = Metered(ScriptedLLM(lambda request: ChatReply(text="the word")), budget=budget, cache=None, price=price)
    line, _ = forecast(
        [Work(Site(0, index), evidence(Site(0, index)), ("other",)) for index in range(2)],
        LabelConfig.checked(subject="s", candidates=candidates),
        explainer=EXPLAINERS.create("marked-text", llm),
        explains=llm,
        simulator=SIMULATORS.create("structured", llm),
        simulates=llm,
        scorers={},
        budget=budget,
    )
    return line


def figures(line: str) -> list[int]:
    """Prompt and completion tokens of a forecast."""
    return [int(text.replace(",", "")) for text in re.findall(r"([\d,]+) (?:prompt|completion)", line)]


def test_calls_are_counted_exactly() -> None:
    # The quick selftest here has one neuron of one sentence: its true, one false and the null explanation.
    everything = 3 + 2 * (3 * (4 + 2) + 3 * 3)
    assert f"up to 4 explanations to ask for and {everything} excerpts to simulate, 3 of these" in said(2, Price(1, 1))
    assert "up to 2 explanations to ask for and 39 excerpts" in said(1, Price(1, 1))


def test_money_follows_the_price_and_is_not_made_up() -> None:
    prompt, completion = figures(said(2, Price(1, 1)))
    assert f"{(prompt * 100 + completion * 300) / 1e6:.2f} USD" in said(2, Price(100, 300))
    assert "a price that is not known" in said(2, None)


def test_without_a_language_model_nothing_is_asked() -> None:
    line, total = forecast(
        [Work(Site(0, 0), evidence(Site(0, 0)), ("other",))],
        LabelConfig.checked(subject="s"),
        explainer=EXPLAINERS.create("template"),
        explains=None,
        simulator=SIMULATORS.create("lexical"),
        simulates=None,
        scorers={},
        budget=Budget(),
    )
    assert line == "1 sites, and no language model to ask"
    assert total.calls == 0


TEXT = (
    " In", " 19", "27", " the", " old", " bridge", " was", " carried", " away", " by", " a", " flood", ",", " and", " people", " crossed",
    " by", " boat", ".", "\n", ' "', "We", " never", " wanted", " 36", " years",
)  # fmt: skip
LONG = (
    "names of rivers and bridges in texts on the history of a town, above all where they follow a year or a number of visitors, and the "
    "verbs of motion right behind them, such as rises, crossed or carried"
)


def count(text: str) -> int:
    """As today's tokenizers count or more: pieces of words of six letters, and every digit, mark and space that is not before a word."""
    return sum(math.ceil(len(piece.strip()) / 6) or 1 for piece in re.findall(r" ?[^\W\d_]+|\d|\s|[^\w\s]|_", text))


def taken(request: Request) -> int:
    """Prompt tokens that are paid for: every turn has a head and an end, and a schema is read like the rest."""
    if request.kind == "readout":
        return count(request.prefix + request.head + "".join(request.pieces))
    schema = 0 if request.json_schema is None else count(json.dumps(dict(request.json_schema)))
    return 3 + schema + sum(4 + count(message.content) for message in request.messages)


@pytest.mark.parametrize("explainer", [entry.name for entry in EXPLAINERS.entries().values() if entry.needs is not None])
@pytest.mark.parametrize("simulator", [entry.name for entry in SIMULATORS.entries().values() if entry.needs is not None])
@pytest.mark.parametrize("shares", [False, True])
async def test_no_run_takes_more_than_its_forecast(explainer: str, simulator: str, shares: bool) -> None:
    """Everything a run asks, asked of a model that says nothing: counted beside the forecast; sharing, each prefix once."""
    budget = Budget()
    everything = frozenset(get_args(Capability))
    base = ScriptedLLM(lambda request: Failed("ask", "nothing to say"), capabilities=everything)
    llm = Metered(base, budget=budget, cache=None, price=None, shares=shares)
    explains, simulates = EXPLAINERS.create(explainer, llm), SIMULATORS.create(simulator, llm)
    work = Work(Site(0, 0), evidence(Site(0, 0), TEXT), ("other",))
    config = LabelConfig.checked(subject="s", candidates=2)
    line, total = forecast([work], config, explainer=explains, explains=llm, simulator=simulates, simulates=llm, scorers={}, budget=budget)
    prompt, completion = figures(line)
    assert (total.prompt_tokens, total.completion_tokens) == (prompt, completion)
    splits = work.evidence.splits
    await explains.explain(splits["explain"], candidates=2, seed=0)
    for neuron in quick():
        for text in (neuron.explanation, *neuron.false_explanations, ""):
            await simulates.simulate(text, neuron.excerpts())
    for text in (LONG, LONG.upper(), ""):
        for split in ("select", "calibrate", "test"):
            # The excerpts are alike, and equal requests would be asked once.
            for excerpt in splits[split]:
                await simulates.simulate(text, [excerpt])
    assert len(base.history) == 2 + 3 + 3 * (3 + 2 + 4)
    prefixes = [request.prefix for request in base.history if request.kind == "readout"]
    shared = sum(map(count, prefixes)) - sum(map(count, set(prefixes))) if shares else 0
    actual = sum(map(taken, base.history)) - shared
    assert actual <= prompt < 2.5 * actual
    assert completion == sum(request.max_tokens if request.kind == "chat" else 1 for request in base.history)


async def test_questions_of_scorers_are_counted_as_they_are_asked() -> None:
    one = Work(Site(0, 0), evidence(Site(0, 0)), ("other", "another"), chosen=Explanation("the word", "test"))
    one.shuffled = "names of rivers"
    words = [tuple(f" word{number}x{at}" for at in range(10)) for number in range(8)]
    loud = [np.float32(5 * (number < 4)) * (np.arange(10) == 4) for number in range(8)]
    excerpts = [Excerpt(f"d{number}", 0, words[number], loud[number].astype(np.float32), "top") for number in range(8)]
    one.material = from_excerpts("L0.mlp.0", excerpts, peak=5.0)
    base = ScriptedLLM(lambda request: ChoiceReply(logprobs=(-0.5, -1.0)), capabilities=frozenset(["chat", "choice", "readout"]))
    budget = Budget()
    llm = Metered(base, budget=budget, cache=None, price=None)
    scorers = {name: SCORERS.create(name, llm) for name in ("detection", "token-question", "intruder")}
    config = LabelConfig.checked(subject="s", scorers=("detection", "token-question", "intruder"))
    line, total = forecast(
        [one],
        config,
        explainer=EXPLAINERS.create("template"),
        explains=None,
        simulator=SIMULATORS.create("lexical"),
        simulates=llm,
        scorers=scorers,
        budget=budget,
    )
    assert "(not counting intruder and their tests)" in line
    counted = {name: scorers[name] for name in ("detection", "token-question")}
    await judge([one], counted, lent=True, seed=0, report=quiet, at_once=1)
    asked = len(base.history)
    assert 0 < asked <= total.calls
    # The shuffled one, two stand-ins and the empty one are judged beside it; two more would be lent where there are more sites.
    assert asked == total.calls * 5 // JUDGED
