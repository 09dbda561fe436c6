"""Factors and scores of a small random model, as so many forward and backward passes over the same text; beside kronfluence.

The model and the text are those of a published comparison: 3 blocks, 21 linear layers, 200 passages of 64 tokens, 5 queries.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from analyzers.growing.blocks import Blocks
from analyzers.growing.recipe import Recipe
from analyzers.growing.small_model import loss_of, small_model
from analyzers.growing.small_tokenizer import small_tokenizer
from analyzers.influence.factors import Factors
from analyzers.influence.fitting import fit
from analyzers.influence.passages import Passage
from analyzers.influence.published import installed, published
from analyzers.influence.scoring import Query, Tokens, precondition, score
from analyzers.influence.watching import watched
from analyzers.text_model import TextModel

RECIPE = Recipe(width=128, layers=3, heads=4, inner=384, vocabulary=257, context=64)
"""Byte tokens."""
PASSAGES, LENGTH, QUERIES, BATCH = 200, 64, 5, 50
ROUNDS = 5
PUBLISHED = {"factors_passes": 6.7, "scores_passes": 2.5}
"""kronfluence 1.0.1 on another machine."""


def main() -> dict[str, Any]:
    """Medians of seconds, and of their ratios to a pass in the same round."""
    model, text, queries = _setting()
    modules = watched(model, "all")
    network = _network(model)
    seconds: dict[str, list[float]] = {}

    def timed(name: str, run: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        found = run()
        seconds.setdefault(name, []).append(time.perf_counter() - began)
        return found

    ours: Any = None
    _pass(network)
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            timed("pass", partial(_pass, network))
            factors: Factors = timed("factors", partial(fit, model, text, Path(folder) / "factors", kind="all"))
            curvature = partial(factors.curvature, method="ekfac", device=model.device)
            low = timed("precondition", partial(precondition, model, modules, queries, curvature))
            ours = timed("scores", partial(score, model, modules, low, text))
    median = {name: statistics.median(values) for name, values in seconds.items()}
    ratios = {
        f"{name}_passes": round(statistics.median(one / other for one, other in zip(values, seconds["pass"], strict=True)), 2)
        for name, values in seconds.items()
        if name != "pass"
    }
    return {
        "layers": len(modules),
        "passages": PASSAGES,
        "tokens": PASSAGES * LENGTH,
        "queries": QUERIES,
        **{f"{name}_s": round(value, 3) for name, value in median.items()},
        **ratios,
        "kronfluence": _beside(model, text, queries, ours.total, median["pass"]),
        "kronfluence_published": PUBLISHED,
    }


def _beside(model: TextModel, text: list[Passage], queries: list[Query], ours: Any, one_pass: float) -> dict[str, Any] | str:
    if not installed():
        return "not installed: pip install --no-deps kronfluence einops einconv opt-einsum"
    with tempfile.TemporaryDirectory() as folder:
        found = published(model, watched(model, "all"), queries, text, Path(folder))
    together = [float(np.corrcoef(one, other)[0, 1]) for one, other in zip(ours, found.scores, strict=True)]
    return {
        "factors_s": round(found.factors_s, 2),
        "scores_s": round(found.scores_s, 2),
        "factors_passes": round(found.factors_s / one_pass, 2),
        "scores_passes": round(found.scores_s / one_pass, 2),
        "correlation_of_scores": round(min(together), 4),
    }


def _setting() -> tuple[TextModel, list[Passage], list[Query]]:
    tokenizer = small_tokenizer(["a"], RECIPE.vocabulary, RECIPE.context)
    network = small_model(RECIPE, tokenizer, 0).eval().requires_grad_(False)
    model = TextModel(network, tokenizer, name="random", identity={"source": "here", "revision": ""})
    rng = np.random.default_rng(0)
    rows = rng.integers(1, RECIPE.vocabulary, size=(PASSAGES + QUERIES, LENGTH)).tolist()
    text = [Passage(str(at), tuple(row), (0, 0), "", (None,) * LENGTH) for at, row in enumerate(rows[:PASSAGES])]
    start = model.around[0]
    queries: list[Query] = [Tokens("", "", tuple(row[len(start) :])) for row in rows[PASSAGES:]]
    return model, text, queries


def _network(model: TextModel) -> Any:
    """Another one with the same weights, whose weights take gradients."""
    return small_model(RECIPE, model.tokenizer, 0).eval()


def _pass(network: Any) -> None:
    blocks = Blocks(np.random.default_rng(1).integers(RECIPE.vocabulary, size=20 * LENGTH * PASSAGES).astype(np.int32), LENGTH - 1)
    for step in range(PASSAGES // BATCH):
        network.zero_grad()
        loss_of(network, blocks.drawn(0, step, BATCH)).backward()  # type: ignore[no-untyped-call]
