"""What every method says of made-up text: scores of all passages by a model that was trained on them, and by words and meaning alone."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analyzers.errors import Failed
from analyzers.progress import Report, quiet
from evals.influence.baselines import Floats, baselines
from evals.influence.known_truth import Scores
from evals.influence.planted import Material
from evals.influence.trials import Trials

if TYPE_CHECKING:
    from analyzers.influence.scoring import Query

RANK = 16
"""Of queries, which are some ten tokens long."""


@dataclass(frozen=True, eq=False)
class PlantedScores:
    """By method, EK-FAC first."""

    facts: Scores
    """[fact, passage]"""
    asked: Scores
    """[fact or pair, passage]"""
    pairs: Scores
    """[pair, passage]"""
    orders: Scores
    """[pair, 2 x pair]: every pair's sentence in the order of the query, then all the other way round."""
    lines: Scores
    """[line] of every line with a label on that label; `surprisal` of the label beside them."""
    said: list[float]
    """[fact or pair] log-probability of its completion."""
    known: list[bool]
    """[fact] whether the right completion is the likeliest."""


def planted_scores(trials: Trials, material: Material, report: Report = quiet) -> PlantedScores:
    """Of a model of all passages; what needs it is kept."""
    from analyzers.influence.scoring import Query

    queries = asked_of(material)
    queries += [Query(prompt, label) for _, prompt, label, _ in material.lines]
    extra = [pair.same for pair in material.pairs] + [pair.flipped for pair in material.pairs]
    told = trials.told(scores=[(query.prompt, query.completion) for query in queries], extra=extra, rank=RANK)
    made = trials.piece(told, lambda: _made(trials, material, queries, extra, report))
    facts, own, passages = len(material.facts), len(material.facts) + len(material.pairs), len(material.passages)
    rng = np.random.default_rng([trials.training.seed, 3])
    words = baselines([query.prompt + query.completion for query in queries[:own]], [*material.passages, *extra], report=report)
    # Names in this order, whether they were kept or made just now.
    rows: Scores = {
        **{name: np.array(made["scores"][name]) for name in ("ekfac", "gradient", "cosine")},
        **words,
        "random": rng.random((own, passages + len(extra))),
    }
    lines = {name: np.array(made["lines"][name]) for name in ("ekfac", "gradient", "surprisal")}
    return PlantedScores(
        facts=_cut(rows, slice(0, facts), slice(0, passages)),
        asked=_cut(rows, slice(0, own), slice(0, passages)),
        pairs=_cut(rows, slice(facts, own), slice(0, passages)),
        orders=_cut(rows, slice(facts, own), slice(passages, None)),
        lines={**lines, "random": rng.random(len(material.lines))},
        said=made["said"],
        known=made["known"],
    )


def asked_of(material: Material) -> "list[Query]":
    """Facts, and pairs."""
    from analyzers.influence.scoring import Query

    facts = [Query(fact.prompt, fact.completion) for fact in material.facts]
    return facts + [Query(pair.prompt, pair.completion) for pair in material.pairs]


def _cut(rows: Scores, queries: slice, passages: slice) -> dict[str, Floats | Failed]:
    return {name: each if isinstance(each, Failed) else each[queries, passages] for name, each in rows.items()}


def _made(trials: Trials, material: Material, queries: "Sequence[Query]", extra: Sequence[str], report: Report) -> dict[str, Any]:
    from analyzers.influence.fitting import fit
    from analyzers.influence.scoring import Query, norms, precondition, score, together
    from analyzers.influence.watching import watched
    from evals.influence.influences import logprobs

    model = trials.whole(report)
    modules = watched(model, "all")
    inside, text = trials.passages(), trials.passages(extra)
    with tempfile.TemporaryDirectory() as folder:
        factors = fit(model, inside, Path(folder) / "factors", kind="all", seed=trials.training.seed, report=report)
        low = [
            precondition(model, modules, queries, lambda name: factors.curvature(name, "ekfac", model.device), rank=RANK, report=report),
            precondition(model, modules, queries, lambda name: factors.curvature(name, "identity", model.device), rank=RANK, report=report),
        ]
    total = score(model, modules, together(*low), text, report=report).total.astype(np.float64)
    curved, plain = total[: len(queries)], total[len(queries) :]
    lengths = norms(model, modules, text, report=report).astype(np.float64)
    own = len(queries) - len(material.lines)
    ones, places = range(own, len(queries)), [place for place, _, _, _ in material.lines]
    known = []
    for fact in material.facts:
        said = logprobs(model, [Query(fact.prompt, each) for each in (fact.completion, *fact.wrong)])
        known.append(int(np.argmax(said)) == 0)
    return {
        "scores": {
            "ekfac": curved[:own].tolist(),
            "gradient": plain[:own].tolist(),
            "cosine": (plain[:own] / np.maximum(lengths, 1e-12)).tolist(),
        },
        "lines": {
            "ekfac": curved[ones, places].tolist(),
            "gradient": plain[ones, places].tolist(),
            "surprisal": [-each for each in logprobs(model, queries[own:])],
        },
        "said": logprobs(model, queries[:own]),
        "known": known,
    }
