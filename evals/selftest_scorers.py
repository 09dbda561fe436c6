"""Scorers are tested before they are used: can they tell true explanations of planted neurons from false ones?

A scorer judges all explanations of a planted neuron together, on the neuron's sentences; its measure ranks them (evals.ranking). A
measure that does not exist for a neuron, such as an AUROC where the neuron fires in every sentence, is a failure and loses its pairs.
"""

from collections.abc import Mapping, Sequence

from pydantic import Field

from analyzers.errors import Failed
from analyzers.progress import Report, quiet
from evals.each import together
from evals.planted import Planted, fingerprint, planted
from evals.planted_lab import lab_of
from evals.ranking import Explained, Ranking, Tested, by_kind, outcome, rank
from evals.results import Instrument
from evals.scorers import Scorer
from evals.scoring.ensemble import combine
from evals.scoring.judged import Judged
from evals.scoring.material import Material, from_excerpts
from evals.scoring.measures import measure_of


class ScorerTest(Tested):
    """How a scorer did on planted neurons."""

    scorer: str
    measure: str
    held_out: Ranking | None = None
    """Of every second planted neuron of those that come along, from the second on: the wording of prompts was chosen on the others. None
    of other neurons."""
    members: list[str] = Field(default_factory=list)
    """Of an ensemble."""

    @property
    def instrument(self) -> Instrument:
        """What stands beside every score that this scorer gives."""
        return self.told(self.scorer)


def planted_material(neuron: Planted) -> Material:
    """The sentences of a planted neuron as material; its laboratory is there where its rule can be carried out."""
    excerpts = neuron.excerpts()
    peak = max(float(excerpt.activations.max()) for excerpt in excerpts)
    return from_excerpts(neuron.name, excerpts, peak, lab=lab_of(neuron))


async def try_scorer(scorer: Scorer, neurons: Sequence[Planted], *, seed: int = 0, report: Report = quiet) -> ScorerTest:
    """Have a scorer judge true and false explanations of planted neurons, and say how well its measure tells them apart.

    What the language model raises (no access, a limit) passes through.
    """
    done, what = 0, f"selftest of {scorer.name}"

    async def explained(neuron: Planted) -> list[Explained]:
        nonlocal done
        said = [neuron.explanation, *neuron.false_explanations]
        judged = await scorer.judge(said, planted_material(neuron), seed=seed)
        done += 1
        report(what, done, len(neurons))
        return _rows(neuron, [_figure(each, scorer) for each in judged])

    report(what, 0, len(neurons))
    rows = [row for found in await together(*map(explained, neurons)) for row in found]
    return _result(scorer.name, scorer.measure, neurons, rows, seed)


def try_ensemble(name: str, members: Mapping[str, ScorerTest], neurons: Sequence[Planted], *, seed: int = 0) -> ScorerTest:
    """What the members would say together, from their own tests on the same neurons; no language model is asked."""
    found = {member: {(row.neuron, row.explanation): row.score for row in test.explanations} for member, test in members.items()}
    rows: list[Explained] = []
    for neuron in neurons:
        said = [neuron.explanation, *neuron.false_explanations]
        scores: dict[str, list[float | Failed]] = {}
        for member, test in found.items():
            got = [test[neuron.name, text] for text in said]
            scores[member] = [value if isinstance(value, float) else Failed(value.stage, value.reason) for value in got]
        rows += _rows(neuron, combine(scores))
    return _result(name, "standardised mean", neurons, rows, seed).model_copy(update={"members": list(members)})


def _figure(judged: Judged | Failed, scorer: Scorer) -> float | Failed:
    return judged if isinstance(judged, Failed) else measure_of(judged, scorer.measure)


def _rows(neuron: Planted, scores: Sequence[float | Failed]) -> list[Explained]:
    said = [neuron.explanation, *neuron.false_explanations]
    return [
        Explained(neuron=neuron.name, kind=neuron.kind, explanation=text, true=number == 0, score=outcome(score))
        for number, (text, score) in enumerate(zip(said, scores, strict=True))
    ]


def _result(name: str, measure: str, neurons: Sequence[Planted], rows: Sequence[Explained], seed: int) -> ScorerTest:
    own, whole = fingerprint(neurons), planted()
    held_out = {neuron.name for neuron in whole[1::2]} if own == fingerprint(whole) else set()
    return ScorerTest(
        scorer=name,
        measure=measure,
        planted=own,
        overall=rank(rows, seed=seed),
        held_out=rank([row for row in rows if row.neuron in held_out], seed=seed) if held_out else None,
        kinds=by_kind(rows, seed=seed),
        explanations=list(rows),
    )
