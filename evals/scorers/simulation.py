"""Simulation: a language model predicts every token's activation from the explanation, and predictions are correlated with the truth.

Source: Bills et al. 2023. `simulation` takes from each prediction the one made from the null explanation, which removes what the model
would predict anyway; `simulation-raw` leaves it in. Which simulator it is depends on what the model can do (agents.simulators).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from agents.explanation import Simulation
from agents.llm import LLM
from agents.simulators import SIMULATORS, Simulator
from analyzers.errors import Failed
from analyzers.evidence import Excerpt
from evals.each import together
from evals.scorers import SCORERS
from evals.scores import Floats, paired
from evals.scoring.judged import Answer, Judged, Measure, Role
from evals.scoring.material import Material

Bools = npt.NDArray[np.bool_]

NULL = ""
MISSING = Failed("simulate", "the simulator gave no prediction for the token")


class Simulating:
    """What scorers share that predict every token: the best simulator that the model can serve."""

    kind: str
    measure: Measure = "pearson"
    role: Role = "whole"
    chance = 0.0

    def __init__(self, llm: LLM) -> None:
        self._simulator = SIMULATORS.pick(llm)
        self.name = f"{self.kind}({llm.name})"

    @property
    def prompt(self) -> str:
        """Hash of the simulator's prompt."""
        return self._simulator.prompt


@SCORERS.add("simulation-raw", needs=frozenset())
class SimulationRaw(Simulating):
    """Correlates predictions as they are."""

    kind = "simulation-raw"
    contrast = False

    async def judge(self, explanations: Sequence[str], material: Material, *, seed: int) -> list[Judged | Failed]:
        """An answer a token of every item, truth and prediction as raw activation and simulated level."""
        del seed
        excerpts = [item.excerpt for item in material.items]
        outcomes = await simulated(self._simulator, [*explanations, *([NULL] if self.contrast else [])], excerpts)
        null = outcomes[-1] if self.contrast else None
        return [self._judged(material, mine, null) for mine in outcomes[: len(explanations)]]

    def _judged(
        self, material: Material, mine: Sequence[Simulation | Failed], null: Sequence[Simulation | Failed] | None
    ) -> Judged | Failed:
        pairs = paired([item.excerpt for item in material.items], mine)
        if isinstance(pairs, Failed):
            return pairs
        prediction, present = pairs.prediction, pairs.present
        if null is not None:
            without = paired([item.excerpt for item in material.items], null)
            if isinstance(without, Failed):
                return without
            prediction, present = prediction - without.prediction, present & without.present
        return by_token(material, pairs.truth, prediction, present)


@SCORERS.add("simulation", needs=frozenset())
class SimulationContrast(SimulationRaw):
    """With null contrast."""

    kind = "simulation"
    contrast = True


async def simulated(simulator: Simulator, explanations: Sequence[str], excerpts: Sequence[Excerpt]) -> list[list[Simulation | Failed]]:
    """[explanation][excerpt] what is predicted; equal explanations are simulated once."""
    texts = list(dict.fromkeys(explanations))
    found = dict(zip(texts, await together(*(simulator.simulate(text, excerpts) for text in texts)), strict=True))
    return [found[text] for text in explanations]


def by_token(material: Material, truth: Floats, prediction: Floats, present: Bools) -> Judged:
    """An answer a token; truth, prediction and present are [token] of all items, one after the other."""
    answers, at = [], 0
    for item in material.items:
        for token in range(len(item.excerpt.tokens)):
            said: float | Failed = float(prediction[at]) if present[at] else MISSING
            answers.append(Answer(f"{item.excerpt.key}+{token}", item.excerpt.document, float(truth[at]), said, item.group))
            at += 1
    return Judged(tuple(answers))
