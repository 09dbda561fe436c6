"""Which units of one text decide a model's choice among labels: attribution by perturbing the text, or the demonstrations before it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Literal

import numpy as np
from pydantic import BaseModel

from agents.beliefs import Belief, Question, Reader, believe
from agents.llm import LLM
from agents.self_explanations import ASK, Asking, ask
from analyzers.attributions import METHODS, Kept, Plan
from analyzers.errors import ExplicateError, Failed
from analyzers.units import Units, cut
from evals.audit.truth import Perturbed
from evals.number_of import number_of
from evals.results import Failure, failure

MOST_UNITS = 500
"""A longer text would take hours, and most of its words would not matter."""
PAIRED_UNITS = 60
"""Units of which all pairs are taken away, for interactions."""


class AttributedBy(BaseModel):
    """What one method found."""

    values: list[float]
    """[unit] how much it adds to the log-odds of the label."""
    errors: list[float] | None
    """[unit] standard error from the sampling of sets; None for a method that sampled none."""
    sets: int
    """Different sets of kept units that the method asked for."""


class Interaction(BaseModel):
    """What two units do together beyond what each does alone: v(all) - v(without one) - v(without the other) + v(without both)."""

    units: tuple[int, int]
    value: float


class Listed(BaseModel):
    """What the model chooses, of the whole text, where the question lists the labels in another order."""

    labels: list[str]
    """As they are listed."""
    label: str | None
    """What it chooses; None where it is undecided."""
    probabilities: dict[str, float]


class Attributed(BaseModel):
    """What `explicate attribute --json` prints."""

    model: dict[str, str]
    """What identifies it: provider, model, revision, number format, address."""
    prompt: str
    """Hash of the prompt file."""
    seed: int
    text: str
    units: list[str]
    label: str
    """Whose value is attributed."""
    belief: str
    """logprobs, samples or stated: how the probabilities were found."""
    value: Literal["log-odds", "probability"]
    """What is attributed: log-odds against the other labels where probabilities are read, else the probability itself."""
    probabilities: dict[str, float]
    """Of the labels, on the whole text; they sum to 1."""
    label_mass: float | None
    """Probability that the model answers with any of the labels at all; None where that is not known."""
    other_orders: list[Listed | Failure]
    """The same question with the labels listed in reverse, and where there are more than two, the first one last."""
    order_decides: bool
    """Whether the model chooses otherwise in any of these orders than in the one that is attributed."""
    notes: list[str]
    """What stands against believing the values."""
    operator: str
    methods: dict[str, AttributedBy]
    interactions: list[Interaction] | None = None
    """Of every two units, largest first; None where they were not asked for."""
    sets_asked: int
    """Different sets of every method, added up."""
    texts_evaluated: int
    """Different texts; what several methods ask for is evaluated once."""
    prompt_tokens: int


async def attribute(
    llm: LLM,
    reader: Reader,
    asking: Asking,
    text: str,
    *,
    methods: Sequence[str],
    operator: str,
    unit: str,
    most: int,
    label: str | None,
    seed: int,
    interactions: bool = False,
) -> Attributed:
    """Attribute a model's belief in a label, by default the one that it answers, to the units of a text or to the demonstrations before it.

    unit: word, spaced, span, sentence or demonstration. most: sets of kept units that each method may ask for; equal texts are asked about
    once for all methods. interactions: of all pairs of units, too. Raises ExplicateError for what the user can mend: an unknown name, a
    label that is none, a text without two units or with too many; and what the model raises.
    """
    units, question = _perturbed(asking, text, unit, operator, seed, sure=reader.name == "stated")
    if not 1 < len(units) <= MOST_UNITS:
        raise ExplicateError(
            f"the text has {number_of('unit', len(units))} ({unit}); attribution needs 2 to {MOST_UNITS}: give another text, or another "
            "--unit"
        )
    if interactions and len(units) > PAIRED_UNITS:
        raise ExplicateError(f"--interactions takes at most {PAIRED_UNITS} units, and the text has {len(units)}: give --unit sentence")
    if label is not None and label not in asking.labels:
        raise ExplicateError(f"--label {label!r} is none of the labels {', '.join(asking.labels)}")
    rng = np.random.default_rng(seed)
    plans = {name: METHODS.get(name)(len(units), most, rng) for name in dict.fromkeys(methods)}
    everything = frozenset(range(len(units)))
    pairs = [everything - set(pair) for pair in combinations(range(len(units)), 2)] if interactions else []
    alone = [everything - {at} for at in everything] if interactions else []
    asked: list[Kept] = [kept for plan in plans.values() for kept in dict.fromkeys(plan.sets)] + pairs + alone
    questions = {kept: question(kept) for kept in [everything, *asked]}
    different = list(dict.fromkeys(questions.values()))
    orders = other_orders(asking.labels)
    turned = [
        _perturbed(replace(asking, labels=order), text, unit, operator, seed, sure=reader.name == "stated")[1](everything)
        for order in orders
    ]
    # What is asked in another order stands last, so that a limit stops it last.
    beliefs = await believe(llm, reader, [*different, *turned])
    found = dict(zip(different, beliefs, strict=False))
    listed = [_listed(order, belief) for order, belief in zip(orders, beliefs[len(different) :], strict=True)]
    known = {asked_: belief for asked_, belief in found.items() if not isinstance(belief, Failed)}
    if len(known) < len(found):
        failed = next(belief for belief in found.values() if isinstance(belief, Failed))
        raise ExplicateError(f"the text cannot be attributed: {failed.reason}")
    whole = known[questions[everything]]
    chosen = whole.label if label is None else label
    if chosen is None:
        raise ExplicateError(f"the model is undecided between {' and '.join(asking.labels)}; say with --label which one is attributed")
    value_of = _log_odds if reader.name == "logprobs" else _probability
    v = {kept: value_of(known[asked_], chosen) for kept, asked_ in questions.items()}
    if not np.isfinite(list(v.values())).all():
        raise ExplicateError(f"the text cannot be attributed: for some texts {chosen!r} is not among the likeliest answers at all")
    return Attributed(
        model=dict(llm.identity),
        prompt=ASK.hash,
        seed=seed,
        text=text,
        units=list(units.texts),
        label=chosen,
        belief=reader.name,
        value="log-odds" if reader.name == "logprobs" else "probability",
        probabilities=dict(whole.probabilities),
        label_mass=whole.mass,
        other_orders=listed,
        order_decides=any(isinstance(each, Listed) and each.label != whole.label for each in listed),
        notes=_order_notes(asking.labels, whole, listed),
        operator=operator,
        methods={name: _by(plan, v) for name, plan in plans.items()},
        interactions=_interactions(v, everything) if interactions else None,
        sets_asked=len(asked),
        texts_evaluated=len(different),
        prompt_tokens=0,
    )


def other_orders(labels: Sequence[str]) -> list[tuple[str, ...]]:
    """Orders in which labels are listed, too: the reverse, and of more than two, whose middle one that may leave in its place, the first
    one last."""
    turned = [tuple(labels[::-1]), (*labels[1:], *labels[:1])]
    return list(dict.fromkeys(turned))


def _listed(labels: Sequence[str], belief: Belief | Failed) -> Listed | Failure:
    if isinstance(belief, Failed):
        return failure(belief)
    return Listed(labels=list(labels), label=belief.label, probabilities=dict(belief.probabilities))


def _order_notes(labels: Sequence[str], whole: Belief, listed: Sequence[Listed | Failure]) -> list[str]:
    """That the choice follows the order of the labels, or that this is not known; nothing where it stays."""
    notes = []
    other = next((each for each in listed if isinstance(each, Listed) and each.label != whole.label), None)
    if other is not None:
        notes.append(
            f"The order in which the labels are listed decides: listed as {', '.join(labels)}, the model {_chooses(whole)}; as "
            f"{', '.join(other.labels)}, it {_chooses(other)}. The values hold for the first of these orders alone."
        )
    notes += [f"What the order of the labels does is not known: {each.reason}." for each in listed[:1] if isinstance(each, Failure)]
    return notes


def _chooses(belief: Belief | Listed) -> str:
    return "is undecided" if belief.label is None else f"chooses {belief.label} ({belief.probabilities[belief.label]:.2f})"


def _perturbed(asking: Asking, text: str, unit: str, operator: str, seed: int, *, sure: bool) -> tuple[Units, Callable[[Kept], Question]]:
    """The units, and how the model is asked with some of them."""
    if unit == "demonstration":
        if operator != "delete":
            raise ExplicateError(f"--operator {operator!r} is for units of the text; demonstrations can only be taken out: delete")
        shown = [f"{given} ({answer})" for given, answer in asking.demonstrations]
        ends = np.cumsum([len(each) + 1 for each in shown])
        units = Units("\n".join(shown), tuple((int(end) - len(each) - 1, int(end) - 1) for end, each in zip(ends, shown, strict=True)))

        def without(kept: Kept) -> Question:
            left = tuple(each for number, each in enumerate(asking.demonstrations) if number in kept)
            return ask(replace(asking, demonstrations=left), text, None, sure=sure)

        return units, without
    units = cut(text, unit)
    perturbed = Perturbed.by(operator, units, units.texts, [seed])
    return units, lambda kept: ask(asking, perturbed.text(kept), None, sure=sure)


def _by(plan: Plan, of: Mapping[Kept, float]) -> AttributedBy:
    errors = plan.errors(of)
    return AttributedBy(values=plan.values(of).tolist(), errors=None if errors is None else errors.tolist(), sets=len(set(plan.sets)))


def _interactions(v: Mapping[Kept, float], everything: Kept) -> list[Interaction]:
    found = [
        Interaction(units=(a, b), value=v[everything] - v[everything - {a}] - v[everything - {b}] + v[everything - {a, b}])
        for a, b in combinations(sorted(everything), 2)
    ]
    return sorted(found, key=lambda each: -abs(each.value))


def _log_odds(belief: Belief, label: str) -> float:
    """Of one label against all others together."""
    p = belief.probabilities[label]
    others = sum(value for name, value in belief.probabilities.items() if name != label)
    with np.errstate(divide="ignore"):
        return float(np.log(p) - np.log(others))


def _probability(belief: Belief, label: str) -> float:
    return belief.probabilities[label]
