"""How much of a model's heads, and of the demonstrations' tokens, the answers need: the most important ones kept, beside random ones.

Source: Michel et al. 2019, arXiv 1905.10650, of heads.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from evals.icl.analyses import ANALYSES
from evals.icl.asking import answered_behind, asked_behind, further_items, loyalty, some_cases, told_examples
from evals.icl.results import Analysis, Curve
from evals.icl.setting import Setting
from evals.results import Failure, Value
from evals.scores import Floats

if TYPE_CHECKING:
    from analyzers.icl.compression import CompressedContext

SHARES = (0.9, 0.75, 0.5, 0.25, 0.1)
"""Of heads or tokens that are kept."""
A_CLASS = 4
"""Further examples of each class on which importance is measured."""
ITEMS = 20
"""Asked about behind each draw of demonstrations, since every share of heads reads whole prompts."""
RANDOM = 5
"""Random orders of heads and tokens a draw of demonstrations, each as important as the real one; what they keep is averaged by answer."""
WHAT = ("heads", "tokens")
MEASURES = ("label_loyalty", "accuracy")


@ANALYSES.add("prune")
def prune(setting: Setting) -> Analysis:
    """Curves over the share kept, `<measure>/<heads or tokens>/<important or random>`, and paired differences, mean over the shares,
    `<measure>/<heads or tokens>/important_minus_random`. What is whole has a label loyalty of 1 and `accuracy/full`, of the same answers.
    """
    from analyzers.icl.compression import check_compressible, read_context
    from analyzers.icl.pruning import importance

    draws = range(len(setting.drawn.shown))
    examples = [further_items(setting, draw, A_CLASS) for draw in draws]
    rng = np.random.default_rng(setting.seed)
    asked = [some_cases(setting, draw, ITEMS, rng) for draw in draws]
    every = [number for cases in asked for number in cases]
    right = np.asarray(setting.answers.chosen == setting.gold, np.float64)
    figures: dict[str, Value | Failure] = {"accuracy/full": setting.mean(right[every], every)}
    if not all(examples):
        none = Failure(stage="prune", reason="no items are left to measure importance on beside those shown and asked about; give more")
        return Analysis(figures=figures | {f"{measure}/{what}/important_minus_random": none for what in WHAT for measure in MEASURES})
    parts: dict[tuple[str, str], list[Floats]] = {(what, which): [] for what in WHAT for which in ("important", "random")}
    for draw in draws:
        cases = asked[draw]
        labels = [item.label for item in examples[draw]]
        found = importance(setting.model, asked_behind(setting, draw, examples[draw]), labels, report=setting.report)
        context = read_context(setting.model, setting.cases[cases[0]].prompt.ids[: len(found.tokens)])
        if draw == 0:
            check_compressible(setting.model, context)
        heads = [rng.permuted(found.heads.ravel()).reshape(found.heads.shape) for _ in range(RANDOM)]
        tokens = [rng.permuted(found.tokens) for _ in range(RANDOM)]
        parts["heads", "important"].append(_by_heads(setting, cases, found.heads))
        parts["tokens", "important"].append(_by_tokens(setting, cases, context, found.tokens))
        parts["heads", "random"].append(np.mean([_by_heads(setting, cases, one) for one in heads], axis=0))
        parts["tokens", "random"].append(np.mean([_by_tokens(setting, cases, context, one) for one in tokens], axis=0))
    values = {key: np.concatenate(own, axis=2) for key, own in parts.items()}
    curves = {}
    for at, measure in enumerate(MEASURES):
        for (what, which), own in values.items():
            told = [setting.mean(row, every) for row in own[:, at]]
            curves[f"{measure}/{what}/{which}"] = Curve(over="share kept", at=list(SHARES), values=told)
        for what in WHAT:
            difference = (values[what, "important"] - values[what, "random"])[:, at].mean(axis=0)
            figures[f"{measure}/{what}/important_minus_random"] = setting.mean(difference, every)
    counts = " to ".join(map(str, sorted({len(own) for own in examples})))
    notes = [
        f"further examples a draw that importance was measured on: {counts}",
        *told_examples(setting.template.labels, examples),
        f"asked about, also whole: at most {ITEMS} items a draw of demonstrations, chosen by the seed ({len(every)} answers)",
        f"random: the mean of {RANDOM} random orders a draw",
        "of the context the first token is kept in all",
    ]
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
