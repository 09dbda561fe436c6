"""The instrument is tested before it is used: can this simulator tell true explanations of planted neurons from false ones?

Every explanation of a planted neuron is simulated on the neuron's sentences and scored by Pearson's correlation over all their tokens;
a simulator that predicts levels is scored with null contrast, and without it beside ("raw"). How the scores rank is told by evals.ranking.
"""

from collections.abc import Sequence

from agents.simulators import Simulator
from analyzers.progress import Report, quiet
from evals.each import together
from evals.planted import Planted, fingerprint
from evals.ranking import Explained, Ranking, Tested, by_kind, outcome, rank
from evals.results import Instrument
from evals.site_scores import pearson_of


class SelftestResult(Tested):
    """How a simulator did on planted neurons."""

    simulator: str
    null_contrast: bool
    """Whether `overall` and `kinds` are of scores with null contrast; else they equal the raw ones."""
    raw_overall: Ranking
    raw_kinds: dict[str, Ranking]

    @property
    def instrument(self) -> Instrument:
        """What stands beside every score that this simulator gives."""
        raw = {"auroc": self.raw_overall.auroc, "within": self.raw_overall.within}
        return self.told(self.simulator).model_copy(update={"raw": raw})


async def selftest(simulator: Simulator, neurons: Sequence[Planted], *, seed: int = 0, report: Report = quiet) -> SelftestResult:
    """Score true and false explanations of planted neurons with a simulator, and say how well the scores tell them apart.

    The seed draws the bootstrap samples only. What the language model raises (no access, a limit) passes through.
    """
    contrast = simulator.scale == "level"
    done = 0

    async def explained(neuron: Planted) -> list[Explained]:
        nonlocal done
        found = await _explained(simulator, neuron, contrast=contrast)
        done += 1
        report("selftest", done, len(neurons))
        return found

    report("selftest", 0, len(neurons))
    rows = [row for found in await together(*map(explained, neurons)) for row in found]
    return SelftestResult(
        simulator=simulator.name,
        planted=fingerprint(neurons),
        null_contrast=contrast,
        overall=rank(rows, seed=seed),
        kinds=by_kind(rows, seed=seed),
        raw_overall=rank(rows, raw=True, seed=seed),
        raw_kinds=by_kind(rows, raw=True, seed=seed),
        explanations=rows,
    )


async def _explained(simulator: Simulator, neuron: Planted, *, contrast: bool) -> list[Explained]:
    """All explanations of one neuron with their scores."""
    excerpts = neuron.excerpts()
    said = [neuron.explanation, *neuron.false_explanations]
    outcomes = await together(*(simulator.simulate(text, excerpts) for text in ([*said, ""] if contrast else said)))
    null = outcomes[-1] if contrast else None
    return [
        Explained(
            neuron=neuron.name,
            kind=neuron.kind,
            explanation=text,
            true=index == 0,
            score=outcome(pearson_of(excerpts, outcomes[index], null)),
            raw=outcome(pearson_of(excerpts, outcomes[index], None)),
        )
        for index, text in enumerate(said)
    ]
