"""Puts something neutral for the unit: a word that says little for a word, a sentence that says little for a sentence."""

from collections.abc import Sequence

import numpy as np

from analyzers.perturbations import OPERATORS
from analyzers.units import Units

WORD, SENTENCE = "something", "There is something more to say."


@OPERATORS.add("neutral")
def neutral(units: Units, unit: int, others: Sequence[str], rng: np.random.Generator) -> str | None:  # noqa: ARG001
    """A neutral word, capital where the unit's is, or sentence; a sign without letters is left out."""
    text = units.texts[unit]
    if not any(sign.isalnum() for sign in text):
        return None
    if " " in text.strip():
        return SENTENCE
    return WORD.capitalize() if text[:1].isupper() else WORD
