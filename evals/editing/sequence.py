"""What becomes of a model edit after edit: whether earlier edits hold, what is said of all else, and how well it still reads text."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from evals.editing.cases import Case
from evals.editing.measures import STAGE, average
from evals.editing.results import Outcome, Step
from evals.results import Failure, Value, stored
from evals.scores import Floats, Masked
from evals.statistics import bootstrap

if TYPE_CHECKING:
    from analyzers.influence.passages import Passage
    from analyzers.text_model import TextModel

MARKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
"""Edits after which the model is looked at."""


def marks(edits: int) -> list[int]:
    """Those up to the last edit, which is one."""
    return [*(mark for mark in MARKS if mark < edits), edits]


def step(model: "TextModel", cases: Sequence[Case], plain: Sequence[Outcome], held: "Sequence[Passage]", edits: int, *, seed: int) -> Step:
    """The model as it is, after so many of the edits; plain [case] what it said without any."""
    from analyzers.editing.answering import said

    written = cases[: edits or len(cases)]
    success = [each.match for each in said(model, [(case.fact.prompt, case.fact.target) for case in written])]
    asked = [(number, each) for number, case in enumerate(cases) for each in case.locality]
    now = said(model, [(each.prompt, each.target) for _, each in asked])
    before = [tokens for each in plain for tokens in each.elsewhere]
    same: dict[int, list[float]] = {}
    for (number, _), one, other in zip(asked, now, before, strict=True):
        same.setdefault(number, []).append(sum(a == b for a, b in zip(one.likeliest, other, strict=True)) / len(other))
    locality = np.array([np.mean(same[number]) if number in same else np.nan for number in range(len(cases))])
    return Step(
        edits=edits,
        success=_mean(np.array(success), seed, "no edit"),
        locality=_mean(locality, seed, "no prompt on anything else in the file"),
        perplexity=perplexity(model, held, seed=seed),
    )


def perplexity(model: "TextModel", held: "Sequence[Passage]", *, seed: int) -> Value | Failure:
    """Of passages of as many documents, with an interval over them; n counts tokens."""
    from analyzers.growing.token_scores import score_tokens

    if not held:
        return Failure(stage=STAGE, reason="the corpus has no text beyond what keys were read from; give a larger one, or fewer --tokens")
    scores = score_tokens(model, [each.ids for each in held])
    nats = np.array([-each.logprobs.sum() for each in scores])
    tokens = np.array([len(each.logprobs) for each in scores], np.float64)

    def of(weights: Floats) -> Masked:
        return np.ma.masked_array(np.exp((weights @ nats) / (weights @ tokens)))

    return stored(bootstrap({"perplexity": of}, len(held), n=int(tokens.sum()), seed=seed))["perplexity"]


def _mean(values: Floats, seed: int, without: str) -> Value | Failure:
    known = int((~np.isnan(values)).sum())
    if not known:
        return Failure(stage=STAGE, reason=without)
    return stored(bootstrap({"mean": average(values)}, len(values), n=known, seed=seed))["mean"]
