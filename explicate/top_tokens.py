"""The tokens that a site is loudest on in its excerpts, beside what was simulated for them."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from explicate.shaded_words import visible
from explicate.shading import Levels, Row, peaks

SHOWN = 12
SELDOM = 2
"""Times that a token must occur, where there are enough others."""


def top_tokens(rows: Sequence[Row], contrasts: Sequence[Levels | None]) -> list[dict[str, Any]]:
    """[token] the loudest by mean activation: `text`, `n`, `mean` and `largest` activation, mean `simulated` level or None.

    rows: excerpts of a site; contrasts: [row] simulated levels, None where nothing was simulated. `at` and `simulated_at` are shares of
    the site's largest activation and level, 0..1.
    """
    true: dict[str, list[float]] = defaultdict(list)
    told: dict[str, list[float]] = defaultdict(list)
    for row, levels in zip(rows, contrasts, strict=True):
        for position, (token, activation) in enumerate(zip(row["tokens"], row["activations"], strict=True)):
            true[token].append(activation)
            level = levels[position] if levels is not None else None
            if level is not None:
                told[token].append(level)
    true_peak, simulated_peak = peaks(rows, contrasts)
    often = [token for token, values in true.items() if len(values) >= SELDOM and max(values) > 0]
    loud = often if len(often) >= SHOWN else [token for token, values in true.items() if max(values) > 0]
    ranked = sorted(loud, key=lambda token: -_mean(true[token]))[:SHOWN]
    return [
        {
            "text": visible(token),
            "n": len(true[token]),
            "mean": _mean(true[token]),
            "largest": max(true[token]),
            "at": round(_mean(true[token]) / true_peak, 4) if true_peak > 0 else 0.0,
            "simulated": _mean(told[token]) if told[token] else None,
            "simulated_at": round(max(_mean(told[token]), 0.0) / simulated_peak, 4) if told[token] and simulated_peak > 0 else 0.0,
        }
        for token in ranked
    ]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
