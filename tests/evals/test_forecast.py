"""The forecast of a labelling run against the requests that are sent."""

import re
from typing import Any

import numpy as np

from agents.budget import Budget
from agents.explainers import EXPLAINERS
from agents.llm import ChatReply
from agents.metered import Metered
from agents.prices import Price
from agents.providers.scripted import ScriptedLLM
from agents.simulators import SIMULATORS
from analyzers.evidence import Evidence, Excerpt, Moments
from analyzers.sites import Site
from evals.forecast import forecast
from evals.label_config import LabelConfig
from evals.work import Work


def evidence(site: Site) -> Evidence:
    def excerpt(number: int) -> Excerpt:
        activations = np.zeros(10, np.float32)
        activations[4] = 1 + number
        return Excerpt(f"d{number}", 0, tuple(f" word{i}" for i in range(10)), activations, "top")

    counts = {"explain": 6, "select": 3, "calibrate": 2, "test": 4}
    splits: Any = {split: tuple(excerpt(number) for number in range(count)) for split, count in counts.items()}
    return Evidence(site, splits, Moments(tokens=100, mean=0.0, variance=1.0, firing=0.1))


def said(candidates: int, price: Price | None) -> str:
    budget = Budget()
    llm = Metered(ScriptedLLM(lambda request: ChatReply(text="the word")), budget=budget, cache=None, price=price)
    return forecast(
        [Work(Site(0, index), evidence(Site(0, index)), "other") for index in range(2)],
        LabelConfig.checked(subject="s", candidates=candidates),
        explainer=EXPLAINERS.create("marked-text", llm),
        explains=llm,
        simulator=SIMULATORS.create("structured", llm),
        simulates=llm,
        budget=budget,
    )


def test_calls_are_counted_exactly() -> None:
    # The quick selftest here has one neuron of one sentence: its true, one false and the null explanation.
    everything = 3 + 2 * (3 * 4 + 2 * 2 + 3 * 3)
    assert f"up to 4 explanations to ask for and {everything} excerpts to simulate, 3 of these" in said(2, Price(1, 1))
    assert "up to 2 explanations to ask for and 35 excerpts" in said(1, Price(1, 1))


def test_money_follows_the_price_and_is_not_made_up() -> None:
    prompt, completion = (int(text.replace(",", "")) for text in re.findall(r"([\d,]+) (?:prompt|completion)", said(2, Price(1, 1))))
    assert f"{(prompt * 100 + completion * 300) / 1e6:.2f} USD" in said(2, Price(100, 300))
    assert "a price that is not known" in said(2, None)


def test_without_a_language_model_nothing_is_asked() -> None:
    line = forecast(
        [Work(Site(0, 0), evidence(Site(0, 0)), "other")],
        LabelConfig.checked(subject="s"),
        explainer=EXPLAINERS.create("template"),
        explains=None,
        simulator=SIMULATORS.create("lexical"),
        simulates=None,
        budget=Budget(),
    )
    assert line == "1 sites, and no language model to ask"
