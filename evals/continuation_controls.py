"""What ranks the units of a prompt without reading the model, and how far a method is above the best of that.

later-first    the last unit first: what stands nearest to a decoder's continuation; earlier-first is its reverse
longer-first   the unit with the most characters first
rarer-first    the unit first whose tokens would surprise most under Zipf's law, were the tokenizer's ids ranks by frequency
nearer-first   of an encoder: the unit first that is the fewest characters away from its masks

Ids are about in that order where a vocabulary was merged from the commonest pairs, or sorted, as those of BPE, WordPiece and unigram
tokenizers are; the single characters that some of them append stand behind rarer pieces. No file of frequencies is needed.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from analyzers.errors import Failed
from analyzers.tokens import Span
from analyzers.units import Units
from evals.ranking import outcome
from evals.results import Failure, Lift
from evals.statistics import mean

ABSENT = 0.2
"""Share of a method's prompts without its figure above which a control is passed over: what remains are chosen prompts."""


def control_values(units: Units, pieces: Sequence[Sequence[int]], masked: Span | None) -> dict[str, list[float]]:
    """[unit] of each control, the highest value first.

    pieces [unit]: token ids. masked: characters of an encoder's masks; None for a decoder.
    """
    places = [float(place) for place in range(len(units))]
    found = {
        "later-first": places,
        "earlier-first": places[::-1],
        "longer-first": [float(len(text.strip())) for text in units.texts],
        "rarer-first": [float(np.log1p(ids).sum()) for ids in pieces],
    }
    if masked is not None:
        first, last = masked
        found["nearer-first"] = [-float(max(first - end, start - last, 0)) for start, end in units.spans]
    return found


def lift(figure: str, mine: Sequence[float | None], controls: Mapping[str, Sequence[float | None]], *, seed: int = 0) -> Lift | Failure:
    """Mean of a method's figure less that of the control with the highest mean, paired over the prompts in which both have one.

    mine [prompt], controls name -> [prompt]; None where there is no figure. A Failure where there is no control to be held against.
    """
    own = sum(value is not None for value in mine)
    pairs = {
        name: [(value, other) for value, other in zip(mine, theirs, strict=True) if value is not None and other is not None]
        for name, theirs in controls.items()
    }
    enough = {name: both for name, both in pairs.items() if both and len(both) >= (1 - ABSENT) * own}
    if not enough:
        return outcome(Failed("score", f"there is no control with {figure} in these prompts"))
    over = max(enough, key=lambda name: float(np.mean([other for _, other in enough[name]])))
    found = outcome(mean([value - other for value, other in enough[over]], seed=seed))
    return found if isinstance(found, Failure) else Lift(**found.model_dump(), over=over, score=figure)
