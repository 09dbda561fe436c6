"""How loyal the answers stay when only the anchors of the demonstrations are kept, and what that saves.

Source: Wang et al. 2023, arXiv 2305.14160, section 4.2.
"""

from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from evals.icl.analyses import ANALYSES
from evals.icl.asking import answered_behind, loyalty, of_draw, some_cases
from evals.icl.results import Analysis
from evals.icl.setting import Setting
from evals.results import Failure, Value, stored
from evals.scores import Floats
from evals.statistics import mean

if TYPE_CHECKING:
    from analyzers.icl.compression import CompressedContext

RANDOM = 20
"""Draws of random tokens behind hidden_random, of which hidden_random_top is the best."""
TIMED = 8
"""Random answers after each draw of demonstrations that are timed, one by one."""
OTHERS = ("text_anchor", "hidden_random", "hidden_random_top")
MEASURES = ("label_loyalty", "word_loyalty", "accuracy")
COMPRESSED = "answer from compressed contexts"


@ANALYSES.add("compress")
def compress(setting: Setting) -> Analysis:
    """Figures `<measure>/<kept>`, `accuracy/full`, and paired differences `<measure>/hidden_anchor_minus_<kept>`.

    kept is hidden_anchor (keys and values of labels and formatting), text_anchor (these tokens as a text of their own), hidden_random (as
    many random tokens, mean over draws) or hidden_random_top (the draw that keeps most labels on these very items: flattered). Also
    `speed_up/over_text` and `speed_up/over_cache`, times of single answers with the whole context read anew, or kept, as a multiple of
    that with the anchors kept; `bytes/full`, `bytes/hidden_anchor`, `tokens/full`, `tokens/hidden_anchor`: what is kept of a context.
    """
    from analyzers.icl.compression import anchors, check_compressible, random_tokens, read_context

    count = len(setting.cases)
    values: dict[str, dict[str, Floats]] = {}
    sizes = {name: np.zeros(count) for name in ("bytes/full", "bytes/hidden_anchor", "tokens/full", "tokens/hidden_anchor")}
    times: list[tuple[int, float, float]] = []
    draws = len(setting.drawn.shown)
    drawn = shared = 0
    rng = np.random.default_rng(setting.seed)
    for draw in range(draws):
        cases = of_draw(setting, draw)
        prompt = setting.cases[cases[0]].prompt
        whole = read_context(setting.model, prompt.ids[: prompt.query.start])
        if draw == 0:
            check_compressible(setting.model, whole)
        kept = whole.keeping(anchors(prompt))
        text = read_context(setting.model, kept.kept.ids)
        random = []
        for number in range(RANDOM):
            setting.report(COMPRESSED, draw * RANDOM + number, draws * RANDOM)
            tokens = random_tokens(prompt, rng)
            # Without the first token, which is kept in all.
            drawn, shared = drawn + len(tokens) - 1, shared + len({*tokens} & {*kept.positions}) - 1
            random.append(_measured(setting, cases, whole.keeping(tokens)))
        top = max(random, key=lambda found: found["label_loyalty"].mean())
        found = {
            "hidden_anchor": _measured(setting, cases, kept),
            "text_anchor": _measured(setting, cases, text),
            "hidden_random": {name: np.mean([one[name] for one in random], axis=0) for name in MEASURES},
            "hidden_random_top": top,
        }
        for name, of in found.items():
            for measure, own in of.items():
                values.setdefault(name, {}).setdefault(measure, np.zeros(count))[cases] = own
        for name, context in (("full", whole), ("hidden_anchor", kept)):
            sizes[f"bytes/{name}"][cases] = context.bytes
            sizes[f"tokens/{name}"][cases] = len(context.positions)
        times += _timed(setting, some_cases(setting, draw, TIMED, rng), whole, kept)
    setting.report(COMPRESSED, draws * RANDOM, draws * RANDOM)
    figures = {"accuracy/full": setting.mean(np.asarray(setting.answers.chosen == setting.gold, np.float64))}
    figures |= {f"{measure}/{name}": setting.mean(of[measure]) for name, of in values.items() for measure in MEASURES}
    for name in OTHERS:
        for measure in MEASURES:
            figures[f"{measure}/hidden_anchor_minus_{name}"] = setting.mean(values["hidden_anchor"][measure] - values[name][measure])
    figures |= _speed_ups(setting, times) | {name: setting.mean(size) for name, size in sizes.items()}
    notes = ["the first token of the context is kept in all", f"{RANDOM} draws of random tokens"]
    if drawn:
        notes.append(f"hidden_random draws formatting, too, as the paper does: {shared / drawn:.0%} of its tokens are among the anchors")
    notes.append(f"timed: at most {TIMED} answers a draw of demonstrations, chosen by the seed ({len(times)})")
    return Analysis(figures=figures, notes=notes)


def _measured(setting: Setting, cases: Sequence[int], context: "CompressedContext") -> dict[str, Floats]:
    return loyalty(setting, cases, answered_behind(setting, cases, context))


def _timed(setting: Setting, cases: Sequence[int], whole: "CompressedContext", kept: "CompressedContext") -> list[tuple[int, float, float]]:
    """(number of the item, seconds of the whole text over those of anchors, those of the kept whole context over the same)."""
    from analyzers.icl.answers import answers

    found = []
    for number in (cases[0], *cases):  # the first one warms up
        started = perf_counter()
        answers(setting.model, [setting.cases[number].prompt])
        read = perf_counter()
        answered_behind(setting, [number], whole)
        cached = perf_counter()
        answered_behind(setting, [number], kept)
        ended = perf_counter()
        found.append((setting.cases[number].item.number, (read - started) / (ended - cached), (cached - read) / (ended - cached)))
    return found[1:]


def _speed_ups(setting: Setting, times: Sequence[tuple[int, float, float]]) -> dict[str, Value | Failure]:
    items = [one[0] for one in times]
    places = ((1, "over_text"), (2, "over_cache"))
    return stored({f"speed_up/{name}": mean([one[at] for one in times], items, seed=setting.seed) for at, name in places})
