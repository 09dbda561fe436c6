"""How much of a model's heads, and of the demonstrations' tokens, the answers need: the most important ones kept, beside random ones.

Source: Michel et al. 2019, arXiv 1905.10650, of heads.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from analyzers.errors import Failed
from evals.icl.analyses import ANALYSES
from evals.icl.asking import answered_behind, asked_behind, further_items, loyalty, of_draw
from evals.icl.results import Analysis, Curve
from evals.icl.setting import Setting
from evals.results import Failure, Value, failure
from evals.scores import Floats
from evals.statistics import mean

if TYPE_CHECKING:
    from analyzers.icl.compression import CompressedContext

SHARES = (0.9, 0.75, 0.5, 0.25, 0.1)
"""Of heads or tokens that are kept."""
A_CLASS = 4
"""Further examples of each class on which importance is measured."""
ITEMS = 20
"""Asked about without heads, since every share reads whole prompts."""
WHAT = ("heads", "tokens")
MEASURES = ("label_loyalty", "accuracy")


@ANALYSES.add("prune")
def prune(setting: Setting) -> Analysis:
    """Curves over the share kept, `<measure>/<heads or tokens>/<important or random>`, and paired differences, mean over the shares,
    `<measure>/<heads or tokens>/important_minus_random`. What is whole has a label loyalty of 1 and `accuracy/full`.
    """
    from analyzers.icl.compression import check_compressible, read_context
    from analyzers.icl.pruning import importance

    draws = range(len(setting.drawn.shown))
    examples = [further_items(setting, draw, A_CLASS) for draw in draws]
    right = np.asarray(setting.answers.chosen == setting.gold, np.float64)
    figures: dict[str, Value | Failure] = {"accuracy/full": setting.mean(right)}
    if not all(examples):
        none = Failure(stage="prune", reason="no items are left to measure importance on beside those shown and asked about; give more")
        return Analysis(figures=figures | {f"{measure}/{what}/important_minus_random": none for what in WHAT for measure in MEASURES})
    rng = np.random.default_rng(setting.seed)
    parts: dict[tuple[str, str], list[Floats]] = {(what, which): [] for what in WHAT for which in ("important", "random")}
    asked: dict[str, list[int]] = {what: [] for what in WHAT}
    for draw in draws:
        cases = of_draw(setting, draw)
        labels = [item.label for item in examples[draw]]
        found = importance(setting.model, asked_behind(setting, draw, examples[draw]), labels, report=setting.report)
        context = read_context(setting.model, setting.cases[cases[0]].prompt.ids[: len(found.tokens)])
        if draw == 0:
            check_compressible(setting.model, context)
        for which, heads, tokens in (
            ("important", found.heads, found.tokens),
            ("random", rng.permuted(found.heads.ravel()).reshape(found.heads.shape), rng.permuted(found.tokens)),
        ):
            parts["heads", which].append(_by_heads(setting, cases[:ITEMS], heads))
            parts["tokens", which].append(_by_tokens(setting, cases, context, tokens))
        asked["heads"] += cases[:ITEMS]
        asked["tokens"] += cases
    values = {key: np.concatenate(own, axis=2) for key, own in parts.items()}
    curves = {}
    for at, measure in enumerate(MEASURES):
        for (what, which), own in values.items():
            told = [_mean(setting, asked[what], row) for row in own[:, at]]
            curves[f"{measure}/{what}/{which}"] = Curve(over="share kept", at=list(SHARES), values=told)
        for what in WHAT:
            difference = (values[what, "important"] - values[what, "random"])[:, at].mean(axis=0)
            figures[f"{measure}/{what}/important_minus_random"] = _mean(setting, asked[what], difference)
    counts = " to ".join(map(str, sorted({len(own) for own in examples})))
    notes = [f"importance was measured on {counts} further examples a draw", "of the context the first token is kept in all"]
    return Analysis(figures=figures, curves=curves, notes=notes)


def _by_heads(setting: Setting, cases: Sequence[int], importance: Floats) -> Floats:
    """[share, measure, case]"""
    from analyzers.icl.pruning import most_important, without_heads

    prompts = [setting.cases[number].prompt for number in cases]
    found = [without_heads(setting.model, prompts, most_important(importance, share), report=setting.report) for share in SHARES]
    return np.array([[loyalty(setting, cases, answers)[measure] for measure in MEASURES] for answers in found])


def _by_tokens(setting: Setting, cases: Sequence[int], context: "CompressedContext", importance: Floats) -> Floats:
    """[share, measure, case]"""
    from analyzers.icl.pruning import most_important

    found = []
    for number, share in enumerate(SHARES):
        setting.report("prune tokens", number, len(SHARES))
        kept = context.keeping(np.flatnonzero(most_important(importance, share)).tolist())
        of = loyalty(setting, cases, answered_behind(setting, cases, kept))
        found.append([of[measure] for measure in MEASURES])
    return np.array(found)


def _mean(setting: Setting, cases: Sequence[int], values: Floats) -> Value | Failure:
    """With its interval over the items of these cases."""
    units = setting.units
    found = mean(values, [units[number] for number in cases], seed=setting.seed)
    return failure(found) if isinstance(found, Failed) else found
