"""Partial correlation: what a simulation knows beyond the words of its explanation and beyond what the simulator would say anyway.

Truth and prediction are each regressed, over the tokens of all items, on the lexical simulator's prediction from the same explanation
and on the simulation from the null one; what is left of both is correlated. For explanations whose words stand in the text, such as
"numbers, but only of people", the plain correlation rewards knowing the words; this does not.
"""

from collections.abc import Sequence

import numpy as np

from agents.explanation import Simulation
from agents.simulators.lexical import Lexical
from analyzers.errors import Failed
from evals.scorers import SCORERS
from evals.scorers.simulation import NULL, Simulating, by_token, simulated
from evals.scores import CONSTANT, Floats, paired
from evals.scoring.judged import Judged
from evals.scoring.material import Material

Outcomes = Sequence[Simulation | Failed]


@SCORERS.add("partial", needs=frozenset())
class Partial(Simulating):
    """The scorer of what is left."""

    kind = "partial"

    async def judge(self, explanations: Sequence[str], material: Material, *, seed: int) -> list[Judged | Failed]:
        """An answer a token of every item: what is left of truth and prediction."""
        del seed
        excerpts = [item.excerpt for item in material.items]
        *told, null = await simulated(self._simulator, [*explanations, NULL], excerpts)
        lexical = await simulated(Lexical(), explanations, excerpts)
        return [_judged(material, mine, words, null) for mine, words in zip(told, lexical, strict=True)]


def _judged(material: Material, mine: Outcomes, words: Outcomes, null: Outcomes) -> Judged | Failed:
    excerpts = [item.excerpt for item in material.items]
    pairs, lexical, without = paired(excerpts, mine), paired(excerpts, words), paired(excerpts, null)
    if isinstance(pairs, Failed):
        return pairs
    if isinstance(lexical, Failed):
        return lexical
    if isinstance(without, Failed):
        return without
    present = pairs.present & without.present
    if not present.any():
        return Failed("simulate", "no token has a prediction both with and without the explanation")
    known = np.stack([lexical.prediction, without.prediction], axis=1)[present]
    truth, prediction = pairs.truth.copy(), pairs.prediction.copy()
    truth[present], prediction[present] = residual(truth[present], known), residual(prediction[present], known)
    return by_token(material, truth, prediction, present)


def residual(values: Floats, known: Floats) -> Floats:
    """[token] what least squares on the columns of known [token, column] and a constant leaves of values [token].

    Nothing at all where what is left is rounding.
    """
    columns = np.column_stack([np.ones(len(values)), known])
    left = values - columns @ np.linalg.lstsq(columns, values, rcond=None)[0]
    return left if np.abs(left).max() > CONSTANT * np.abs(values).max() else np.zeros_like(left)
