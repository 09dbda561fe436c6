"""Puts simulated activations in the place of the true ones and sees how much of the subject's output survives.

Source: the ablation score of Bills et al. 2023. It counts what the site does, not how loud it is: with the simulation in its place the
output should change less than with the site's mean there. Here 1 - sum of JS(simulated, true) / sum of JS(mean, true) over the tokens.
Only the side that is explained is replaced. The simulation has the null contrast taken out and is brought to raw units by the line that
fits best on excerpts which the explainer saw; excerpts are measured as the texts they are, without what stood before them.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from agents.explanation import Simulation
from agents.llm import LLM
from agents.simulators import SIMULATORS
from analyzers.errors import Failed
from analyzers.evidence import Excerpt, FloatArray
from evals.calibration import Linear, fit_linear
from evals.scorers import SCORERS
from evals.scorers.simulation import simulated
from evals.scoring.judged import Answer, Judged, Measure, Role
from evals.scoring.labs import Intervening
from evals.scoring.material import Material
from evals.site_scores import MOST_MISSING, pairs_of

Outcome = Simulation | Failed


@SCORERS.add("ablation", needs=frozenset())
class Ablation:
    """The ablation scorer around any model that can simulate."""

    measure: Measure = "explained"
    role: Role = "apart"
    chance = 0.0

    def __init__(self, llm: LLM) -> None:
        self._simulator = SIMULATORS.pick(llm)
        self.name = f"ablation({llm.name})"

    @property
    def prompt(self) -> str:
        """Hash of the simulator's prompt."""
        return self._simulator.prompt

    async def judge(self, explanations: Sequence[str], material: Material, *, seed: int) -> list[Judged | Failed]:  # noqa: ARG002
        """One answer an excerpt: the sum over its tokens of the divergence with the simulation (prediction) and with the mean (truth).

        A token without a simulation has the mean there, and so has every token for the null explanation and for one whose simulation
        goes down where the shown activations go up. Failed for all without a subject, held-out or shown excerpts, and for an
        explanation whose simulation cannot be calibrated: where it says the same of every token.
        """
        lab: object = material.lab
        wanted = len(explanations)
        if not isinstance(lab, Intervening):
            return [Failed("score", "the output can only be measured on a subject, and there is none")] * wanted
        measured = _measured(lab, [item.excerpt for item in material.items])
        scored = [(item, excerpt) for item, excerpt in zip(material.items, measured, strict=True) if not isinstance(excerpt, Failed)]
        shown = [excerpt for excerpt in _measured(lab, material.shown) if not isinstance(excerpt, Failed)]
        if not scored or not shown:
            what = "held-out" if not scored else "shown"
            return [Failed("score", f"there are no {what} excerpts that can be measured")] * wanted
        excerpts = [excerpt for _, excerpt in scored]
        mean = float(np.concatenate([excerpt.activations for excerpt in excerpts]).mean(dtype=np.float64))
        effects = lab.ablated([excerpt.text for excerpt in excerpts])
        ablated = [effect if isinstance(effect, Failed) else float(effect.divergence.sum(dtype=np.float64)) for effect in effects]
        null, *told = await simulated(self._simulator, ["", *explanations], [*shown, *excerpts])
        outcomes: list[Judged | Failed] = []
        for explanation, simulation in zip(explanations, told, strict=True):
            values: Sequence[FloatArray | Failed] | Failed = [np.full(len(excerpt.tokens), mean, np.float32) for excerpt in excerpts]
            if explanation:
                values = _calibrated(shown, simulation, null, mean)
            if isinstance(values, Failed):
                outcomes.append(values)
                continue
            left = _left(lab, excerpts, values)
            answers = [
                Answer(
                    item=excerpt.key,
                    document=excerpt.document,
                    truth=0.0 if isinstance(error, Failed) else error,
                    prediction=error if isinstance(error, Failed) else rest,
                    group=item.group,
                )
                for (item, excerpt), error, rest in zip(scored, ablated, left, strict=True)
            ]
            outcomes.append(Judged(tuple(answers)))
        return outcomes


def _measured(lab: Intervening, excerpts: Sequence[Excerpt]) -> list[Excerpt | Failed]:
    """The excerpts under their own names with the tokens and activations that their texts have alone."""
    found = lab.activations([excerpt.text for excerpt in excerpts])
    return [
        alone if isinstance(alone, Failed) else replace(alone, document=excerpt.document, start=excerpt.start, stratum=excerpt.stratum)
        for excerpt, alone in zip(excerpts, found, strict=True)
    ]


def _calibrated(
    shown: Sequence[Excerpt], simulated: Sequence[Outcome], null: Sequence[Outcome], mean: float
) -> list[FloatArray | Failed] | Failed:
    """[held-out excerpt][token] raw activations, by the line from contrasted level to activation that fits the shown excerpts best."""
    fitted = len(shown)
    pairs = pairs_of(shown, simulated[:fitted], null[:fitted])
    line = pairs if isinstance(pairs, Failed) else fit_linear(pairs)
    if isinstance(line, Failed):
        return line
    if line.slope <= 0:
        # The line would turn round a simulation of the contrary, and a wrong explanation would explain all.
        line = Linear(0.0, mean)
    return [_activations(line, one, other, mean) for one, other in zip(simulated[fitted:], null[fitted:], strict=True)]


def _activations(line: Linear, simulated: Outcome, null: Outcome, mean: float) -> FloatArray | Failed:
    """[token] raw units; a side is never below 0."""
    if isinstance(simulated, Failed):
        return simulated
    if isinstance(null, Failed):
        return null
    present = simulated.present & null.present
    missing = len(present) - int(present.sum())
    if missing > MOST_MISSING * len(present):
        return Failed("simulate", f"{missing} of {len(present)} tokens have no prediction")
    raw = line(simulated.values.astype(np.float64) - null.values)
    return np.where(present, np.maximum(raw, 0), mean).astype(np.float32)


def _left(lab: Intervening, excerpts: Sequence[Excerpt], values: Sequence[FloatArray | Failed]) -> list[float | Failed]:
    """[excerpt] divergence, in nats, that is left with these activations."""
    fine = [(excerpt.text, given) for excerpt, given in zip(excerpts, values, strict=True) if not isinstance(given, Failed)]
    divergences = iter(lab.patched([text for text, _ in fine], [given for _, given in fine]))
    sums: list[float | Failed] = []
    for given in values:
        found = given if isinstance(given, Failed) else next(divergences)
        sums.append(found if isinstance(found, Failed) else float(found.sum(dtype=np.float64)))
    return sums
