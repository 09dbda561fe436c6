"""Words of a text to read: shaded by what speaks for an answer and against it, and with nothing in them that cannot be seen."""

from collections.abc import Mapping, Sequence
from typing import Any

QUIET = 0.02
"""Share of the largest value below which shading could not be seen; such words are written as plain text."""

# Control characters as signs; marks that turn the direction of the text after them, by number.
_SIGNS: Mapping[int, str] = (
    {code: chr(0x2400 + code) for code in range(32)}
    | {ord("\n"): "↵", ord("\t"): "⇥", 0x7F: "␡", 0x2028: "↵", 0x2029: "↵"}
    | {code: f"⟨U+{code:04X}⟩" for code in (*range(0x80, 0xA0), 0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))}
)


def visible(text: str) -> str:
    """Text of a model or a corpus in which no character is a control or turns the direction of what stands around it."""
    return text.translate(_SIGNS)


def shares(values: Sequence[float]) -> list[float]:
    """[unit] values relative to the largest in size; all 0 where none is above 0 in size."""
    largest = max((abs(value) for value in values), default=0.0)
    return [value / largest if largest > 0 else 0.0 for value in values]


def shaded(units: Sequence[str], values: Sequence[float], form: str = "{:+.3f}") -> list[dict[str, Any]]:
    """[run] for the template: a unit with what speaks `for` and `against`, each in 0..1, or the text of several that are too quiet to see.

    values: [unit], drawn relative to the largest; form: how one is written for the reader who points at its word.
    """
    runs: list[dict[str, Any]] = []
    for unit, value, share in zip(units, values, shares(values), strict=True):
        text = visible(unit)
        if abs(share) >= QUIET:
            runs.append({"text": text, "for": f"{max(share, 0):.2f}", "against": f"{max(-share, 0):.2f}", "title": form.format(value)})
        elif runs and "for" not in runs[-1]:
            runs[-1]["text"] += f" {text}"
        else:
            runs.append({"text": text})
    return runs
