"""The look-ups as controls of imported data: learnt on half of a site's records, scored on the other half.

Copies of a text are one record; in the order of their loudest activation, those at even ranks (0, 2, ...) teach and those at odd ranks are
scored. This needs no explanation, and says what a table of words is worth on these records.
"""

from agents.simulators.lookup import fit_bigram, fit_token
from analyzers.errors import Failed
from evals.exchange.held_out import excerpt
from evals.exchange.record import Feature, distinct
from evals.results import Scores, Value, stored
from evals.scores import Pairs, paired
from evals.statistics import scores


async def look_ups(feature: Feature, *, seed: int) -> dict[str, Scores]:
    """token_lookup and bigram_lookup; intervals over records. No control where there are not two records."""
    records = sorted(distinct(feature.records), key=lambda record: -record.peak)
    excerpts = [excerpt(feature, record, number) for number, record in enumerate(records)]
    taught, scored = excerpts[::2], excerpts[1::2]
    found: dict[str, Scores] = {}
    for looker in (fit_token(taught), fit_bigram(taught)) if scored else ():
        pairs = paired(scored, await looker.simulate("", scored))
        found[looker.name] = stored({"pearson": pairs} if isinstance(pairs, Failed) else _by_name(pairs, seed))
    return found


def _by_name(pairs: Pairs, seed: int) -> dict[str, Value | Failed]:
    return dict(scores(pairs, seed=seed).items())
