"""What traces of many facts come to: every figure with its interval over facts, beside its controls."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from analyzers.facts import Fact
from analyzers.tracing.kinds import CLASSES
from evals.number_of import number_of
from evals.results import Failure
from evals.source_files import sources
from evals.tracing.claims import claims
from evals.tracing.config import TraceConfig
from evals.tracing.results import Controls, Cost, Knockout, LeftOut, Lens, NotKnown, Traced, TracedFact
from evals.tracing.summary import curve, figure, geometric
from evals.tracing.tables import Tables

if TYPE_CHECKING:
    from analyzers.tracing.plan import Tracing
    from analyzers.tracing.trace import Trace

FEW = 20
"""Facts below which it is told that intervals are likely too narrow."""


def summarised(
    config: TraceConfig,
    traces: "Sequence[Trace]",
    tracing: "Tracing",
    *,
    layers: int,
    model: dict[str, str],
    facts: Sequence[Fact],
    not_known: Sequence[NotKnown],
    left_out: Sequence[LeftOut],
    there: int,
    seconds: float,
) -> Traced:
    """Of traces that were made."""
    seed = config.seed
    tables = Tables(traces, tracing.kinds, layers)
    effects = {kind: [curve(own[:, :, place], seed=seed) for place in range(len(CLASSES))] for kind, own in tables.effects.items()}
    return Traced(
        model=dict(model),
        source=sources([config.facts]),
        seed=seed,
        layers=layers,
        kinds=list(tracing.kinds),
        window=tracing.window,
        samples=tracing.samples,
        noise=tracing.factor,
        sigma=tracing.sigma,
        known=len(traces),
        tried=len(traces) + len(not_known),
        there=there,
        probability=figure(np.array([trace.probability for trace in traces]), seed=seed),
        corrupted=figure(np.array([trace.corrupted for trace in traces]), seed=seed),
        total_effect=figure(tables.total, seed=seed),
        token_classes=list(CLASSES),
        effect={kind: [[own[place][layer] for place in range(len(CLASSES))] for layer in range(layers)] for kind, own in effects.items()},
        lens=_lens(tables, seed),
        knockout=_knockout(tables, seed),
        controls=Controls(
            random={at: {kind: curve(tables.random(at, kind), seed=seed) for kind in tables.kinds} for at in ("last_subject", "last")},
            elsewhere_total_effect=figure(tables.total_elsewhere, seed=seed),
            elsewhere={kind: curve(values, seed=seed) for kind, values in tables.elsewhere.items()},
        ),
        claims=claims(tables, seed=seed),
        facts=[
            TracedFact(
                id=fact.id,
                prompt=fact.prompt,
                subject=fact.subject,
                target=fact.target,
                probability=trace.probability,
                corrupted=trace.corrupted,
                tokens=trace.tokens,
                classes=trace.classes,
                effect=trace.effects,
            )
            for fact, trace in zip(facts, traces, strict=True)
        ],
        not_known=list(not_known),
        left_out=list(left_out),
        cost=Cost(
            passes=sum(trace.cost["passes"] for trace in traces),
            texts=sum(trace.cost["texts"] for trace in traces),
            tokens=sum(trace.cost["tokens"] for trace in traces),
            seconds=round(seconds, 3),
        ),
        notes=_notes(tables, tracing, left_out),
    )


def _lens(tables: Tables, seed: int) -> Lens:
    ranks = tables.lens("rank")
    return Lens(
        probability=curve(tables.lens("probability"), seed=seed),
        rank=geometric(curve(np.log(ranks), seed=seed)),
        top=curve((ranks == 1).astype(np.float64), seed=seed),
        other_probability=curve(tables.lens("other_probability"), seed=seed),
        other_rank=geometric(curve(np.log(tables.lens("other_rank")), seed=seed)),
    )


def _knockout(tables: Tables, seed: int) -> Knockout | Failure:
    if isinstance(tables.cut, str):
        return Failure(stage="knockout", reason=tables.cut)
    return Knockout(subject=curve(tables.cut, seed=seed), elsewhere=curve(tables.cut_elsewhere, seed=seed))


def _notes(tables: Tables, tracing: "Tracing", left_out: Sequence[LeftOut]) -> list[str]:
    facts = len(tables.traces)
    notes = [
        "only facts are traced whose target's first token the model finds likeliest; effects are on the probability of that token alone",
        f"MLPs and attention are restored in windows of {number_of('layer', tracing.window)} around each layer, so that a peak tells the "
        "layer only to within one window",
    ]
    if facts < FEW:
        notes.append(f"few facts ({facts}): their intervals are likely too narrow; see --limit")
    without = sum(trace.elsewhere is None for trace in tables.traces)
    if without:
        notes.append(f"{number_of('fact', without)} without a token elsewhere: noise elsewhere is of the others")
    if left_out:
        notes.append(f"{number_of('fact', len(left_out))} left out that cannot be traced, the first since {left_out[0].reason}")
    return notes
