"""Which units of a prompt matter for one continuation of it: methods that perturb the prompt beside methods that read the model.

What is explained is f, the log-probability of the continuation in nats. A perturbed prompt is followed by the same token ids as the whole
one, also where its own text and the target would be cut into other tokens: so it is always the same continuation that is held to. Of an
encoder f is of what stands at the masks of its prompt, which are never taken away.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, log
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from pydantic import BaseModel
from scipy.stats import spearmanr

from analyzers.attributions import METHODS, Kept, Plan
from analyzers.errors import ExplicateError, Failed, SubjectError
from analyzers.progress import Report, quiet
from analyzers.tokens import Span
from analyzers.units import Units, cut
from evals.attribute import MOST_UNITS
from evals.audit.truth import Perturbed
from evals.continuation_controls import control_values
from evals.number_of import number_of
from evals.ranking import outcome
from evals.results import Failure, failure

if TYPE_CHECKING:
    from analyzers.saliency import Saliency
    from analyzers.text_model import Prompt, TextModel

Ids = tuple[int, ...]
BY_TOKEN = "token"  # noqa: S105 -- no password
"""The unit that is taken out of the prompt's tokens themselves; the others are cut from its text."""
Kind = Literal["deletion", "insertion"]
KINDS: tuple[Kind, ...] = get_args(Kind)
TRUTHS = ("occlusion", "shapley")
"""Perturbation methods that the others are held against: what taking units away does."""
LEAST_RANKED = 3
"""Units of which a rank correlation is made."""
MANY = 32
"""Prompts whose evaluation is reported."""
OUTSIDE = "share_outside_units"
"""Among the facts of a method that reads the model."""
GAP = "relative_gap"
"""Likewise, of integrated gradients: how far their values miss what they must add up to, relative to that."""
UNLIKELY = 0.01
"""Probability of a target's token, their geometric mean, below which the model would hardly write the target."""


class Curves(BaseModel):
    """f along an order of the units, the first one called most important."""

    deletion: list[float]
    """[k = 0..n] of the prompt without the first k units of the order."""
    insertion: list[float]
    """[k = 0..n] of the prompt with only the first k."""
    aopc: dict[Kind, float]
    """deletion: mean over k = 1..n of f(prompt) - f(without the first k); insertion: of f(only the first k) - f(none)."""


class ContinuationBy(BaseModel):
    """What one method found in one prompt."""

    values: list[float]
    """[unit] in the method's own scale; of a method that reads the model the sum over the unit's tokens."""
    errors: list[float] | None = None
    """[unit] standard error from the sampling of sets; None where none is sampled."""
    sets: int | None = None
    """Different sets of kept units that it asked for; None for a method that perturbs nothing."""
    facts: dict[str, float] = {}
    """What a method that reads the model says of itself, and the share of its values, by size, on tokens that are in no unit."""
    signed: bool = True
    """Whether a value below 0 speaks against the continuation; else values are sizes, of what speaks against it, too."""
    agreement: dict[str, float | Failure] = {}
    """Spearman over units with each of `TRUTHS` that was computed, itself left out; of values without a sign with the truth's sizes."""
    deletion: list[float] | None = None
    """As in `Curves`, along its ranking: the largest value first, ties in a drawn order; None without a comparison, and so below."""
    insertion: list[float] | None = None
    aopc: dict[Kind, float] | None = None
    normalised: dict[Kind, float | Failure] | None = None
    """Of its aopc, deletion and insertion: 0 is the mean of random orders, 1 the best order found."""


class ControlBy(ContinuationBy):
    """What a ranking gives that reads no model; `agreement` is with the truths' values."""

    agreement_with_sizes: dict[str, float | Failure] = {}
    """The same with the truths' sizes, for the methods whose values have no sign."""


class Instead(BaseModel):
    """What the model would write in the place of the target, of as many tokens: the likeliest one each time, of an encoder at each mask."""

    text: str
    value: float
    """Its log-probability, in nats."""


class Continuation(BaseModel):
    """What `explicate attribute --target --json` prints."""

    model: dict[str, str]
    """What identifies it: name, source, revision, number format."""
    seed: int
    text: str
    chat: bool
    """Whether the text was read as the user's turn in the model's chat template."""
    target: str
    target_ids: list[int]
    value: float
    """f: log-probability of the target behind the prompt, of an encoder at its masks, in nats."""
    instead: Instead
    unlikely: bool
    """Whether the model would hardly write the target: its tokens have less than UNLIKELY each, in geometric mean."""
    notes: list[str]
    """What stands against believing the values."""
    unit: str
    units: list[str]
    outside: list[str]
    """Tokens that are in no unit, whose values are left out. Special tokens, those of the chat template and the masks at which an encoder
    tells the target are never taken away; what stands between units may go with its neighbours where an operator writes the text anew."""
    operator: str
    methods: dict[str, ContinuationBy | Failure]
    controls: dict[str, ControlBy] = {}
    """Rankings that read no model (evals.continuation_controls), which a method that says something is better than."""
    random: Curves | None = None
    """Means over random orders; None without a comparison, as `best`."""
    best: Curves | None = None
    """The best orders found, one for each curve: by greedy search, or any ranking or random order."""
    texts_evaluated: int
    """Different prompts, each read once for all methods."""


@dataclass
class Valued:
    """f of a prompt with sets of its units kept; prompts that are the same are evaluated once."""

    ids: Callable[[Kept], Ids]
    evaluate: Callable[[Sequence[Ids]], Sequence[float]]
    """[prompt] f"""
    known: dict[Ids, float] = field(default_factory=dict)
    read: dict[Kept, Ids] = field(default_factory=dict)

    def __call__(self, sets: Iterable[Kept]) -> dict[Kept, float]:
        """f of each set."""
        wanted = list(dict.fromkeys(sets))
        self.read |= {kept: self.ids(kept) for kept in wanted if kept not in self.read}
        new = list(dict.fromkeys(ids for kept in wanted if (ids := self.read[kept]) not in self.known))
        if new:
            self.known |= {ids: float(value) for ids, value in zip(new, self.evaluate(new), strict=True)}
        return {kept: self.known[self.read[kept]] for kept in wanted}


@dataclass(frozen=True)
class How:
    """What is done with every prompt."""

    methods: Sequence[str]
    operator: str = "delete"
    unit: str = "word"
    most: int = 200
    """Sets of kept units that a method may ask for."""
    chat: bool = False
    seed: int = 0

    def check(self) -> None:
        """Raise ExplicateError where a name is none, before a model is loaded."""
        from analyzers.perturbations import OPERATORS
        from analyzers.saliency import SALIENCIES

        known = [*METHODS.all(), *SALIENCIES.all()]
        if not self.methods:
            raise ExplicateError(f"--method names no method; choose some of {', '.join(known)}")
        for name in self.methods:
            if name not in known:
                raise ExplicateError(f"no method is called {name!r}; with --target choose some of {', '.join(known)}")
        OPERATORS.get(self.operator)
        if self.unit == BY_TOKEN and self.operator != "delete":
            raise ExplicateError(f"--unit token takes tokens out as they are, and {self.operator!r} writes text: give --operator delete")
        if self.unit == "demonstration":
            raise ExplicateError("--unit demonstration is for the demonstrations of a --task; with --target choose word or token")
        if self.unit != BY_TOKEN:
            cut("", self.unit)


def attributed(
    model: "TextModel", text: str, target: str, how: How, *, number: int = 0, most_units: int = MOST_UNITS, report: Report = quiet
) -> tuple[Continuation, Valued]:
    """Attribute f to the units of one prompt by all methods; with it what evaluates further sets.

    number: of the prompt among several, which draws differently. A method that cannot read this model is a failure in its place. Raises
    SubjectError for what `TextModel.continuation` refuses, and ExplicateError for a text without two units or with too many, and where no
    method found anything.
    """
    from analyzers.saliency import SALIENCIES
    from analyzers.saliency.value import likeliest, values_of

    prompt = model.prompt(text, chat=how.chat)
    continuation = model.continuation(text, target, chat=how.chat)
    masks = [] if model.masks is None else model.masks.places(prompt.ids)
    spans = [None if at in masks else span for at, span in enumerate(prompt.spans)]
    masked = None if model.masks is None else model.masks.span(text, prompt.ids, prompt.spans)
    units = token_units(text, spans) if how.unit == BY_TOKEN else beside(cut(text, how.unit), masked)
    if not 1 < len(units) <= most_units:
        raise ExplicateError(
            f"the text has {number_of('unit', len(units))} ({how.unit}); this needs 2 to {most_units}: give another text, or another --unit"
        )
    member = members(units, spans)
    ids = _read(model, prompt, units, member, masked, how, number)

    def evaluate(prompts: Sequence[Ids]) -> list[float]:
        found: list[float] = values_of(model, prompts, continuation, report=report if len(prompts) >= MANY else quiet).tolist()
        return found

    valued = Valued(ids, evaluate)
    rng = np.random.default_rng([how.seed, number])
    names = list(dict.fromkeys(how.methods))
    of_text = [span is not None for span in spans]
    plans = {name: METHODS.get(name)(len(units), how.most, rng) for name in names if name in METHODS.all()}
    everything = frozenset(range(len(units)))
    f = valued([everything, *(kept for plan in plans.values() for kept in plan.sets)])
    found: dict[str, ContinuationBy | Failure] = {}
    for place, name in enumerate(names):
        report("methods", place, len(names))
        if name in plans:
            found[name] = _perturbed(plans[name], f)
            continue
        try:
            found[name] = summed(SALIENCIES.get(name)(model, prompt.ids, continuation, of_text), member, len(units))
        except SubjectError as error:
            found[name] = failure(Failed("attribute", str(error)))
    report("methods", len(names), len(names))
    told = [each for each in found.values() if isinstance(each, Failure)]
    if len(told) == len(found):
        raise ExplicateError(f"the text cannot be attributed: {told[0].reason}")
    pieces = [[number for number, unit in zip(prompt.ids, member, strict=True) if unit == place] for place in range(len(units))]
    others, chance = likeliest(model, prompt.ids, len(continuation))
    instead = Instead(text=_written(model, others), value=chance)
    unlikely = f[everything] < len(continuation) * log(UNLIKELY)
    return Continuation(
        model=dict(model.identity),
        seed=how.seed,
        text=text,
        chat=how.chat,
        target=target,
        target_ids=list(continuation),
        value=f[everything],
        instead=instead,
        unlikely=unlikely,
        notes=[_unlikely_note(f[everything], len(continuation), instead)] if unlikely else [],
        unit=how.unit,
        units=list(units.texts),
        outside=[token for token, unit in zip(prompt.tokens, member, strict=True) if unit is None],
        operator=how.operator,
        methods=agreeing(found),
        controls=controlled(control_values(units, pieces, masked), found),
        texts_evaluated=len(valued.known),
    ), valued


def _written(model: "TextModel", ids: Sequence[int]) -> str:
    """Text of tokens that a model writes, special ones by their names."""
    if model.causal:
        return model.tokens.decode(ids)
    found: str = model.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False)
    return found


def _unlikely_note(value: float, tokens: int, instead: Instead) -> str:
    mean = "" if tokens == 1 else f", {exp(value / tokens):.2g} a token"
    return (
        f"The model would hardly write this target (probability {exp(value):.2g}{mean}, below {UNLIKELY} a token); it would rather write "
        f"{instead.text!r} ({exp(instead.value):.2g}). The values tell what makes an unlikely target more or less unlikely, not why the "
        "model would write it."
    )


def token_units(text: str, spans: Sequence[Span | None]) -> Units:
    """Every token that covers some of the text is a unit; tokens that share a character are one."""
    found: list[Span] = []
    for span in spans:
        if span is None or span[0] == span[1]:
            continue
        if found and span[0] < found[-1][1]:
            found[-1] = (found[-1][0], max(span[1], found[-1][1]))
        else:
            found.append(span)
    return Units(text, tuple(found))


def beside(units: Units, masked: Span | None) -> Units:
    """What the units have beside the characters of the masks, which are in none: a unit around them is two."""
    if masked is None:
        return units
    first, last = masked
    found: list[Span] = []
    for start, end in units.spans:
        for begin, stop in ((start, min(end, first)), (max(start, last), end)):
            part = units.text[begin:stop]
            if part.strip():
                found.append((begin + len(part) - len(part.lstrip()), begin + len(part.rstrip())))
    return Units(units.text, tuple(found))


def members(units: Units, spans: Sequence[Span | None]) -> list[int | None]:
    """[token] the unit that it covers most of, the first one of several; None for a token that covers none."""
    found: list[int | None] = []
    for span in spans:
        shared = [0 if span is None else min(span[1], end) - max(span[0], start) for start, end in units.spans]
        most = max(shared)
        found.append(shared.index(most) if most > 0 else None)
    return found


def summed(saliency: "Saliency", member: Sequence[int | None], units: int) -> ContinuationBy:
    """The values of tokens summed within their units, and the share of their size that is on tokens in no unit."""
    values, outside = np.zeros(units), 0.0
    for unit, value in zip(member, saliency.values.tolist(), strict=True):
        if unit is None:
            outside += abs(value)
        else:
            values[unit] += value
    whole = float(np.abs(saliency.values).sum())
    facts = dict(saliency.facts) | ({OUTSIDE: outside / whole} if whole > 0 else {})
    return ContinuationBy(values=values.tolist(), facts=facts, signed=saliency.signed)


def agreeing(methods: Mapping[str, ContinuationBy | Failure]) -> dict[str, ContinuationBy | Failure]:
    """Each with its rank correlations with the truths among them: what has no sign cannot tell for from against, so with their sizes."""
    truths = _truths(methods)
    found = dict(methods)
    for name, by in methods.items():
        if not isinstance(by, Failure):
            others = {other: truth for other, truth in truths.items() if other != name}
            found[name] = by.model_copy(update={"agreement": _agreement(by.values, others, signed=by.signed)})
    return found


def controlled(controls: Mapping[str, list[float]], methods: Mapping[str, ContinuationBy | Failure]) -> dict[str, ControlBy]:
    """Each control with its rank correlations with the truths among the methods, both with their values and with their sizes."""
    truths = _truths(methods)
    return {
        name: ControlBy(
            values=values,
            agreement=_agreement(values, truths, signed=True),
            agreement_with_sizes=_agreement(values, truths, signed=False),
        )
        for name, values in controls.items()
    }


def spearman(values: Sequence[float], truth: Sequence[float]) -> float | Failed:
    """Rank correlation over units; Failed for fewer than three and where either gives all the same value."""
    if len(values) < LEAST_RANKED:
        return Failed("score", f"a rank correlation needs at least {LEAST_RANKED} units; there are {len(values)}")
    if min(np.ptp(values), np.ptp(truth)) == 0:
        return Failed("score", "all units have the same value")
    return float(spearmanr(values, truth).statistic)


def _truths(methods: Mapping[str, ContinuationBy | Failure]) -> dict[str, list[float]]:
    return {name: by.values for name in TRUTHS if isinstance(by := methods.get(name), ContinuationBy)}


def _agreement(values: Sequence[float], truths: Mapping[str, list[float]], *, signed: bool) -> dict[str, float | Failure]:
    return {name: outcome(spearman(values, truth if signed else [abs(value) for value in truth])) for name, truth in truths.items()}


def _perturbed(plan: Plan, f: Mapping[Kept, float]) -> ContinuationBy:
    errors = plan.errors(f)
    return ContinuationBy(values=plan.values(f).tolist(), errors=None if errors is None else errors.tolist(), sets=len(set(plan.sets)))


def _read(
    model: "TextModel", prompt: "Prompt", units: Units, member: Sequence[int | None], masked: Span | None, how: How, number: int
) -> Callable[[Kept], Ids]:
    """Token ids of the prompt with sets of its units kept; without any text those of the chat template, or what begins a text.

    masked: characters that every prompt keeps, beside the units.
    """
    everything = frozenset(range(len(units)))
    bare = tuple(number for number, span in zip(prompt.ids, prompt.spans, strict=True) if span is None)
    if how.unit == BY_TOKEN:
        return lambda kept: tuple(each for each, unit in zip(prompt.ids, member, strict=True) if unit is None or unit in kept)
    parts = Units(units.text, tuple(sorted([*units.spans, *([masked] if masked else [])])))
    place = [parts.spans.index(span) for span in units.spans]
    always = frozenset(range(len(parts))).difference(place)
    perturbed = Perturbed.by(how.operator, parts, units.texts, [how.seed, number])

    def read(kept: Kept) -> Ids:
        if kept == everything:
            return prompt.ids
        text = perturbed.text(always.union(place[unit] for unit in kept))
        return model.prompt(text, chat=how.chat).ids if text else bare

    return read
