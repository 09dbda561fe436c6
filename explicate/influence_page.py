"""The page of `explicate influence query`: the passages that moved each query, shaded by token, beside what ranks without the model."""

import re
from collections.abc import Sequence
from typing import Any

from evals.influence.results import Influences, Queried, RankedPassage, TokenScore
from evals.results import Failure, Value
from explicate.curve_chart import Level, Line, curve_chart
from explicate.influence_words import BASELINES, KNOWS, METHODS, SILENT, baselines_of, headline, in_units, rank_told, score_told
from explicate.pages import environment, trusted
from explicate.probe_words import number, told
from explicate.shaded_words import QUIET, shares, visible
from explicate.written_file import forms

BAR_HEIGHT, BAR_STEP = 34.0, 8.0
"""Of the drawing of a passage's layers."""


def render(found: Influences) -> str:
    """The whole page."""
    page = environment().get_template("influence.html")
    return str(
        page.render(
            css=trusted("style.css"),
            drawn_css=trusted("curves.css"),
            title=f"What moved {visible(found.model['name'])}",
            method=METHODS.get(found.method, visible(found.method)),
            candidates=f"{found.candidates:,}",
            passages=f"{found.passages:,}",
            prefilter=found.prefilter,
            queries=[_query(query, found) for query in found.queries],
            silent=SILENT,
            knows={BASELINES[name]: KNOWS[name] for name in KNOWS},
            rank=found.rank,
            kept=f"{found.kept:.1%}",
            seed=found.seed,
            notes=[visible(note) for note in found.notes],
            layers=len(found.layers),
            identity=[(visible(key), visible(value)) for key, value in (*found.model.items(), *found.source.items())],
        )
    )


FORMS = forms(render)


def _query(query: Queried, found: Influences) -> dict[str, Any]:
    names = baselines_of(query)
    first = query.passages[0].ranks if query.passages else {}
    return {
        "prompt": visible(query.prompt),
        "completion": visible(query.completion),
        "logprob": f"{query.logprob:.2f}",
        "headline": headline(query, found.candidates, others=len(found.queries) > 1),
        "control": visible(query.control.completion),
        "how": query.control.how,
        "names": [BASELINES.get(name, visible(name)) for name in names],
        "passages": [_passage(passage, query, names) for passage in query.passages],
        "chart": _concentration(query),
        "agreement": [(BASELINES.get(name, visible(name)), told(value)) for name, value in query.agreement.items()],
        "shared": {name: told(value) for name, value in query.shared_top.items()},
        "by_chance": f"{query.shared_top_by_chance:.3f}",
        "kept": f"{query.kept:.1%}",
        "failed": [(BASELINES.get(name, visible(name)), visible(each.reason)) for name, each in first.items() if isinstance(each, Failure)],
    }


def _passage(passage: RankedPassage, query: Queried, names: Sequence[str]) -> dict[str, Any]:
    return {
        "rank": passage.rank,
        "document": visible(passage.document),
        "span": f"{passage.span[0]:,} to {passage.span[1]:,}",
        "score": in_units(passage.score, query.unit),
        "raw": score_told(passage.score),
        "control": in_units(passage.control, query.control_unit),
        "elsewhere": number(passage.elsewhere),
        "unspecific": passage.unspecific,
        "also": passage.also_top,
        "ranks": [rank_told(passage.ranks[name]) for name in names],
        "runs": runs(passage.tokens),
        "layers": layer_bars(passage.by_layer),
    }


def runs(tokens: Sequence[TokenScore]) -> list[dict[str, str]]:
    """[run] for the template: a token with what it adds `for` and takes away `against`, in 0..1, or the text of several that are quiet.

    What stands before every text is `special`, and no part of what others are drawn relative to.
    """
    found: list[dict[str, str]] = []
    for token, share in zip(tokens, shares([0.0 if token.special else token.score or 0.0 for token in tokens]), strict=True):
        text = visible(token.text)
        if token.special:
            found.append({"text": text, "special": score_told(token.score or 0.0)})
        elif abs(share) >= QUIET:
            title = score_told(token.score or 0.0)
            found.append({"text": text, "for": f"{max(share, 0):.2f}", "against": f"{max(-share, 0):.2f}", "title": title})
        elif found and not {"for", "special"} & found[-1].keys():
            found[-1]["text"] += text
        else:
            found.append({"text": text})
    return found


def layer_bars(by_layer: dict[str, float]) -> dict[str, Any]:
    """The influence that comes by each block, its linear layers together, upwards where it helps: positions for the template."""
    blocks: dict[str, float] = {}
    for name, value in by_layer.items():
        number = re.search(r"\d+", name)
        block = number[0] if number else name
        blocks[block] = blocks.get(block, 0.0) + value
    relative = shares(list(blocks.values()))
    most, least = max([0.0, *relative]), min([0.0, *relative])
    height = BAR_HEIGHT / ((most - least) or 1.0)
    return {
        "width": BAR_STEP * len(blocks),
        "height": BAR_HEIGHT,
        "zero": round(most * height, 1),
        "bars": [
            {
                "x": round(place * BAR_STEP, 1),
                "y": round((most - max(share, 0.0)) * height, 1),
                "height": round(max(abs(share) * height, 0.3), 1),
                "against": share < 0,
                "says": f"block {visible(name)}: {score_told(value)}",
            }
            for place, ((name, value), share) in enumerate(zip(blocks.items(), relative, strict=True))
        ],
    }


def _concentration(query: Queried) -> dict[str, Any]:
    held = query.concentration
    at = [100 * share for share in held.shares]
    percents = [each if isinstance(each, Failure) else _times(each, 100) for each in held.held]
    even = [Value(value=place, low=place, high=place, n=1) for place in at]
    lines = [Line("positive influence held, %", "line0", at, percents), Line("spread evenly", "random", at, even)]
    return curve_chart("How concentrated influence is", "most influential % of the passages", lines, _number, levels=[Level("all", 100.0)])


def _times(value: Value, factor: float) -> Value:
    return Value(value=factor * value.value, low=factor * value.low, high=factor * value.high, n=value.n)


def _number(value: Value) -> str:
    return f"{value.value:.1f}% [{value.low:.1f}, {value.high:.1f}]"
