"""Which units of one text decide a local model's choice among labels: attribution by perturbing the text."""

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import BaseModel

from agents.label_beliefs import LabelBeliefs
from analyzers.attributions import METHODS, Floats, Kept, Plan
from analyzers.errors import ExplicateError, Failed
from analyzers.perturbations import OPERATORS
from analyzers.progress import Report, quiet
from analyzers.units import cut

MOST_UNITS = 500
"""A longer text would take hours, and most of its words would not matter."""


class AttributedBy(BaseModel):
    """What one method found."""

    values: list[float]
    """[unit] how much it adds to the log-odds of the label."""
    errors: list[float] | None
    """[unit] standard error from the sampling of sets; None for a method that sampled none."""
    sets: int
    """Different sets of kept units that the method asked for."""


class Attributed(BaseModel):
    """What `explicate attribute --json` prints."""

    model: dict[str, str]
    """Name, source, revision and number format."""
    prompt: str
    """Hash of the prompt file."""
    seed: int
    text: str
    units: list[str]
    label: str
    """Whose log-odds are attributed."""
    probabilities: dict[str, float]
    """Of the labels, on the whole text; they sum to 1."""
    label_mass: float
    """Probability that the model answers with any of the labels at all."""
    operator: str
    methods: dict[str, AttributedBy]
    sets_asked: int
    """Different sets of every method, added up."""
    texts_evaluated: int
    """Different texts; what several methods ask for is evaluated once."""
    prompt_tokens: int


def attribute(
    beliefs: LabelBeliefs,
    text: str,
    *,
    methods: Sequence[str],
    operator: str,
    unit: str,
    most: int,
    label: str | None,
    seed: int,
    report: Report = quiet,
) -> Attributed:
    """Attribute the log-odds of a label, by default the one that the model chooses, to the units of a text.

    most: sets of kept units that each method may ask for; equal texts are evaluated once for all methods. Raises ExplicateError for what
    the user can mend: an unknown name, a label that is none, a text without two units or with too many.
    """
    units = cut(text, unit)
    if not 1 < len(units) <= MOST_UNITS:
        raise ExplicateError(
            f"the text has {len(units)} units ({unit}); attribution needs 2 to {MOST_UNITS}: give another text, or another --unit"
        )
    if label is not None and label not in beliefs.labels:
        raise ExplicateError(f"{label!r} is none of the labels {', '.join(beliefs.labels)}")
    replace = OPERATORS.get(operator)
    rng = np.random.default_rng(seed)
    instead = {place: replace(units, place, units.texts, np.random.default_rng([seed, place])) for place in range(len(units))}
    plans = {name: METHODS.get(name)(len(units), most, rng) for name in dict.fromkeys(methods)}
    asked: list[Kept] = [kept for plan in plans.values() for kept in dict.fromkeys(plan.sets)]
    before = beliefs.prompt_tokens
    written = {kept: units.written({place: instead[place] for place in range(len(units)) if place not in kept}) for kept in asked}
    texts = list(dict.fromkeys([units.text, *written.values()]))
    found = dict(zip(texts, beliefs.logprobs(texts, report=report), strict=True))
    known = {text: value for text, value in found.items() if not isinstance(value, Failed)}
    if len(known) < len(found):
        failed = next(value for value in found.values() if isinstance(value, Failed))
        raise ExplicateError(f"the text cannot be attributed: {failed.reason}")
    at = int(np.argmax(known[units.text])) if label is None else beliefs.labels.index(label)
    odds = {kept: _log_odds(known[text], at) for kept, text in written.items()}
    return Attributed(
        model=dict(beliefs.model),
        prompt=beliefs.prompt,
        seed=seed,
        text=text,
        units=list(units.texts),
        label=beliefs.labels[at],
        probabilities={name: float(np.exp(value)) for name, value in zip(beliefs.labels, known[units.text], strict=True)},
        label_mass=beliefs.mass(units.text),
        operator=operator,
        methods={name: _by(plan, odds) for name, plan in plans.items()},
        sets_asked=len(asked),
        texts_evaluated=len(texts),
        prompt_tokens=beliefs.prompt_tokens - before,
    )


def _by(plan: Plan, odds: Mapping[Kept, float]) -> AttributedBy:
    errors = plan.errors(odds)
    return AttributedBy(values=plan.values(odds).tolist(), errors=None if errors is None else errors.tolist(), sets=len(set(plan.sets)))


def _log_odds(logprobs: Floats, at: int) -> float:
    """Of one label against all others together."""
    return float(logprobs[at] - np.logaddexp.reduce(np.delete(logprobs, at)))
