"""Excerpts to read: tokens shaded by what the site did and by what was simulated from its explanation."""

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
Levels = Sequence[float | None]

QUIET = 0.03
"""Share of the site's largest value below which shading could not be seen; such tokens are written as plain text."""

# Line breaks and control characters, as signs that can be seen.
_SIGNS = {code: chr(0x2400 + code) for code in range(32)} | {ord("\n"): "↵", ord("\t"): "⇥", 0x7F: "␡"}


def contrast(simulated: Mapping[str, Levels]) -> Levels | None:
    """[token] simulated level with the null simulation subtracted; None where a token is missing, or nothing was simulated.

    simulated: by what was simulated, `explanation` and `null`.
    """
    values = simulated.get("explanation")
    null = simulated.get("null")
    if values is None or null is None:
        return values
    return [None if a is None or b is None else a - b for a, b in zip(values, null, strict=True)]


def peaks(rows: Sequence[Row], contrasts: Sequence[Levels | None]) -> tuple[float, float]:
    """Largest true activation and largest simulated value over the excerpts of a site; 0 where there is none."""
    true = max((value for row in rows for value in row["activations"]), default=0.0)
    simulated = max((value for values in contrasts for value in values or () if value is not None), default=0.0)
    return true, max(simulated, 0.0)


def shaded(row: Row, simulated: Levels | None, true_peak: float, simulated_peak: float) -> dict[str, Any]:
    """One excerpt for the template: its loudest activation, and runs of text, plain or shaded by `a` and `s` in 0..1."""
    runs: list[dict[str, Any]] = []
    for position, (text, activation) in enumerate(zip(row["tokens"], row["activations"], strict=True)):
        level = simulated[position] if simulated is not None else None
        missing = simulated is not None and level is None
        a, s = _share(activation, true_peak), _share(level or 0.0, simulated_peak)
        seen = text.translate(_SIGNS)
        if max(a, s) < QUIET and not missing:
            if runs and "a" not in runs[-1]:
                runs[-1]["text"] += seen
            else:
                runs.append({"text": seen})
            continue
        said = "not simulated" if simulated is None else "no prediction" if level is None else f"simulated {level:+.2f}"
        runs.append({"text": seen, "a": f"{a:.2f}", "s": f"{s:.2f}", "title": f"activation {activation:.3g}, {said}", "missing": missing})
    return {"document": row["document"], "start": row["start"], "peak": f"{max(row['activations']):.2f}", "runs": runs}


def _share(value: float, largest: float) -> float:
    return max(value, 0.0) / largest if largest > 0 else 0.0
