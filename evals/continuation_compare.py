"""Which method to trust on a model: what taking units away by each method's ranking does, beside random orders and the best one found.

deletion   mean over k = 1..n of f(prompt) - f(prompt without the first k units of the ranking), in nats
insertion  mean over k = 1..n of f(only the first k) - f(none)

Of both, high is good; `normalised` is 0 for the mean of random orders and 1 for the best order found in that prompt. Source: Samek et
al. 2017 (arXiv 1509.06321); Petsiuk et al. 2018 (arXiv 1806.07421). A method is trusted where over at least FEW prompts the intervals of
the figures that count lie above 0, chance does not explain its deletion, each of these figures is above that of the best control, which
reads no model, with the whole interval of the paired difference, and no more than a fifth of the prompts lack one of them. What counts
are both curves, and the agreement with every truth. A truth itself is judged by its curves alone: it cannot fail to agree with itself,
and where it differs from the other one, neither is known to be wrong.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel

from analyzers.corpus import json_objects
from analyzers.errors import ExplicateError, Failed, SubjectError
from analyzers.progress import Report, quiet
from analyzers.units import Kept
from analyzers.whole_text import whole_text
from evals.attribute import MOST_UNITS
from evals.audit.faithfulness import Ranking, kept, removed
from evals.audit.results import Missing
from evals.continuation import KINDS, TRUTHS, UNLIKELY, Continuation, ContinuationBy, ControlBy, Curves, How, Kind, attributed
from evals.continuation_controls import lift
from evals.ranking import outcome
from evals.results import Failure, Lift, Value
from evals.scores import Floats
from evals.statistics import benjamini_hochberg, mean, sign_flip_p

if TYPE_CHECKING:
    from analyzers.text_model import TextModel

RANDOM = 50
"""Random orders, each second one the reverse of the one before: what the one removes the other keeps."""
MOST_COMPARED = 60
"""Units of a prompt that is compared: the search for the best order takes the square of them."""
ALPHA = 0.05
VOID = 0.2
"""Share of prompts without a figure above which a method's figures are not to be used."""
FEW = 20
"""Prompts below which no verdict is given: intervals over fewer are likely too narrow, and chance could hardly be excluded."""
ALONE = "One prompt says little: a method that does well here may do badly on the next; --prompts compares over many."
SHIPPED = "facts"
_FACTS = Path(__file__).parent / "tasks" / "continuations.jsonl"

Evaluate = Callable[[Iterable[Kept]], Mapping[Kept, float]]


@dataclass(frozen=True)
class Continued:
    """A prompt with its target."""

    prompt: str
    target: str


class PromptFailure(Failure):
    """A prompt that could not be attributed."""

    text: str
    target: str


class Compared(BaseModel):
    """One method over all prompts."""

    agreement: dict[str, Value | Failure]
    """Mean over prompts of the rank correlation with each truth, itself left out."""
    deletion: Value | Failure
    """Mean over prompts of the normalised aopc; likewise `insertion`."""
    insertion: Value | Failure
    aopc: dict[Kind, Value | Failure]
    """deletion and insertion in nats, means over prompts."""
    lift: dict[str, Lift | Failure]
    """Of deletion, of insertion and of the agreement with each truth: the figure less that of the best control, paired over prompts. What
    agrees with sizes is held against what a control has there."""
    p: float | None
    """One-sided, of normalised deletion against random orders: the signs of the prompts' figures exchanged; None where there is none."""
    q: float | None
    """After Benjamini-Hochberg over the methods."""
    n: int
    """Prompts with every figure that counts: normalised deletion and insertion, and, unless it is a truth, agreement with each truth."""
    n_failed: int
    missing: list[Missing]
    """Why the others lack one, of each the first that it lacks."""
    void: bool
    """More than a fifth of the prompts lack one."""
    trusted: bool
    """Never where there are too few prompts to tell."""


class Control(BaseModel):
    """One ranking that reads no model, over all prompts; the fields are those of `Compared`."""

    agreement: dict[str, Value | Failure]
    """With the truths' values."""
    agreement_with_sizes: dict[str, Value | Failure]
    """With their sizes."""
    deletion: Value | Failure
    insertion: Value | Failure
    aopc: dict[Kind, Value | Failure]


class Comparison(BaseModel):
    """What `explicate attribute --prompts --json` prints."""

    model: dict[str, str]
    source: str
    """Where the prompts are from."""
    seed: int
    chat: bool
    unit: str
    operator: str
    comparison: dict[str, Compared]
    controls: dict[str, Control]
    """On the same prompts (evals.continuation_controls)."""
    random: dict[Kind, Value | Failure]
    """aopc of random orders, deletion and insertion in nats, means over prompts; of the best orders found likewise."""
    best: dict[Kind, Value | Failure]
    too_few: bool
    """Whether there are too few prompts, fewer than FEW that could be attributed, to say of any method that it is to be trusted or not."""
    notes: list[str]
    """What stands against believing the figures."""
    trusted: list[str]
    """Methods, the one with the highest normalised deletion first."""
    prompts: list[Continuation | PromptFailure]


def run_continuation(
    model: str, text: str, target: str, how: How, *, compare: bool, dtype: str = "auto", device: str = "auto", report: Report = quiet
) -> Continuation:
    """Attribute a continuation of one prompt of a model by name, and hold the methods' rankings against each other where so asked.

    Raises ExplicateError for what the user can mend.
    """
    found = _one(_load(model, how, compare, dtype, device, report), text, target, how, compare=compare, report=report)
    return found.model_copy(update={"notes": [*found.notes, ALONE]}) if compare else found


def run_prompts(model: str, source: str, how: How, *, dtype: str = "auto", device: str = "auto", report: Report = quiet) -> Comparison:
    """Compare methods over many prompts with their targets, from a file or those that come along.

    A prompt that this model cannot be asked is a failure. Raises ExplicateError for what the user can mend, and where all prompts failed.
    """
    prompts = read_prompts(source)
    read = _load(model, how, True, dtype, device, report)
    found: list[Continuation | PromptFailure] = []
    for number, each in enumerate(prompts):
        report("prompts", number, len(prompts))
        try:
            found.append(_one(read, each.prompt, each.target, how, compare=True, number=number))
        except ExplicateError as error:
            found.append(PromptFailure(stage="attribute", reason=str(error), text=each.prompt, target=each.target))
    report("prompts", len(prompts), len(prompts))
    failed = [each for each in found if isinstance(each, PromptFailure)]
    if len(failed) == len(found):
        raise ExplicateError(f"none of the {len(found)} prompts of {source!r} could be attributed; the first: {failed[0].reason}")
    return compared(found, how, model=dict(read.identity), source=source)


def read_prompts(source: str) -> list[Continued]:
    """The prompts of a JSON-lines file, or of `SHIPPED`; raises ExplicateError that names the file and the line."""
    path = _FACTS if source == SHIPPED else Path(source)
    if not path.is_file():
        raise ExplicateError(f"--prompts {source!r}: there is no such file; give a JSON-lines file, or {SHIPPED} for those that come along")
    found = []
    form = 'give one object a line, {"prompt": "The capital of France is", "target": " Paris"}'
    for _, (where, row) in json_objects(path, form):
        match row:
            case {"prompt": str(prompt), "target": str(target)} if prompt.strip() and target:
                found.append(Continued(whole_text(prompt), whole_text(target)))
            case _:
                raise ExplicateError(f"{where} has no texts prompt and target; {form}")
    if len(found) < 2:
        raise ExplicateError(f"--prompts {source!r} has {len(found)} prompts; an interval needs at least two")
    return found


def with_curves(found: Continuation, f: Evaluate, seed: Sequence[int]) -> Continuation:
    """The rankings of all methods beside random orders and the best found; f evaluates sets of the prompt's units."""
    units = len(found.units)
    rng = np.random.default_rng(seed)
    orders = {name: Ranking.of(by.values, rng).order for name, by in found.methods.items() if isinstance(by, ContinuationBy)}
    drawn = [tuple(rng.permutation(units).tolist()) for _ in range(RANDOM // 2)]
    random = [order for one in drawn for order in (one, one[::-1])]
    # Last of all, so that what the methods and the random orders draw is theirs alone.
    without = {name: Ranking.of(by.values, rng).order for name, by in found.controls.items()}
    every = [*orders.values(), *without.values(), *random]
    f([some for order in every for some in (*removed(order), *kept(order))])
    curves = {order: along(order, f) for order in every}
    best = {kind: _best(kind, [*curves.values(), along(greedy(units, f, kind), f)]) for kind in KINDS}
    chance = _mean_curves([curves[order] for order in random])

    def held(order: Sequence[int]) -> dict[str, object]:
        mine = curves[tuple(order)]
        placed = {kind: outcome(normalised(mine.aopc[kind], chance.aopc[kind], best[kind].aopc[kind])) for kind in KINDS}
        return {**dict(mine), "normalised": placed}

    methods = found.methods | {name: found.methods[name].model_copy(update=held(order)) for name, order in orders.items()}
    controls = {name: found.controls[name].model_copy(update=held(order)) for name, order in without.items()}
    both = Curves(
        deletion=best["deletion"].deletion, insertion=best["insertion"].insertion, aopc={kind: best[kind].aopc[kind] for kind in KINDS}
    )
    return found.model_copy(update={"methods": methods, "controls": controls, "random": chance, "best": both})


def along(order: Sequence[int], f: Evaluate) -> Curves:
    """Both curves of one order."""
    out, only = ([f([some])[some] for some in sets] for sets in (removed(order), kept(order)))
    aopc: dict[Kind, float] = {
        "deletion": float(np.mean(out[0] - np.array(out[1:]))),
        "insertion": float(np.mean(np.array(only[1:]) - only[0])),
    }
    return Curves(deletion=out, insertion=only, aopc=aopc)


def greedy(units: int, f: Evaluate, kind: Kind) -> list[int]:
    """An order that at every step takes away the unit without which f is lowest, or adds the one with which it is highest."""
    order: list[int] = []
    everything = frozenset(range(units))
    while len(order) < units:
        left = sorted(everything.difference(order))
        if kind == "deletion":
            sets = {unit: everything.difference(order, {unit}) for unit in left}
            values = f(sets.values())
            order.append(min(left, key=lambda unit: values[sets[unit]]))
        else:
            sets = {unit: frozenset({*order, unit}) for unit in left}
            values = f(sets.values())
            order.append(max(left, key=lambda unit: values[sets[unit]]))
    return order


def normalised(value: float, random: float, best: float) -> float | Failed:
    """Failed where the best order found is no better than random ones."""
    room = best - random
    return Failed("score", "all orders of the units do the same") if room <= 1e-9 * max(1.0, abs(best)) else (value - random) / room


def compared(prompts: Sequence[Continuation | PromptFailure], how: How, *, model: dict[str, str], source: str) -> Comparison:
    """All methods over the prompts, each on those in which it has a figure."""
    names = list(dict.fromkeys(how.methods))
    read = [each for each in prompts if isinstance(each, Continuation)]
    found = {name: _over_prompts(name, prompts, how.seed) for name in names}
    adjusted = benjamini_hochberg([each.p for each in found.values()])
    methods = {}
    for (name, each), q in zip(found.items(), adjusted, strict=True):
        methods[name] = each.model_copy(update={"q": q, "trusted": len(read) >= FEW and trusted(name, each, q)})
    # Intervals stand only where there is a value.
    ranked = sorted((name for name in names if methods[name].trusted), key=lambda name: -_value(methods[name].deletion))
    random, best = ([curves for each in read if (curves := getattr(each, which))] for which in ("random", "best"))
    return Comparison(
        model=model,
        source=source,
        seed=how.seed,
        chat=how.chat,
        unit=how.unit,
        operator=how.operator,
        comparison=methods,
        controls={name: _control(name, read, how.seed) for name in dict.fromkeys(name for each in read for name in each.controls)},
        too_few=len(read) < FEW,
        notes=_notes(read),
        trusted=ranked,
        prompts=list(prompts),
        random={kind: _mean([curves.aopc[kind] for curves in random], how.seed) for kind in KINDS},
        best={kind: _mean([curves.aopc[kind] for curves in best], how.seed) for kind in KINDS},
    )


def _notes(read: Sequence[Continuation]) -> list[str]:
    """That prompts are few, and of how many the model would hardly write the target."""
    notes = []
    if len(read) < FEW:
        notes.append(
            f"Few prompts ({len(read)}): their intervals are likely too narrow, and no verdict is given below {FEW}; give more (--prompts)."
        )
    if unlikely := sum(each.unlikely for each in read):
        notes.append(
            f"In {unlikely} of {len(read)} prompts the model would hardly write the target (probability below {UNLIKELY} a token): there "
            "methods are compared at what it does not do."
        )
    return notes


def trusted(name: str, found: Compared, q: float | None) -> bool:
    """Whether every interval that counts for the method of that name lies above 0, in enough of the prompts."""
    counting = [found.deletion, found.insertion, *(found.lift[kind] for kind in KINDS)]
    if name not in TRUTHS:
        counting += [*found.agreement.values(), *(found.lift[truth] for truth in found.agreement)]
    return not found.void and q is not None and q < ALPHA and all(isinstance(each, Value) and each.low > 0 for each in counting)


def _over_prompts(name: str, prompts: Sequence[Continuation | PromptFailure], seed: int) -> Compared:
    """Without q and the verdict, which hang on the other methods."""
    mine = [each if isinstance(each, Failure) else each.methods[name] for each in prompts]
    by = [each for each in mine if isinstance(each, ContinuationBy)]
    figures = {kind: [each if isinstance(each, Failure) else (each.normalised or {})[kind] for each in mine] for kind in KINDS}
    scored = [value for value in figures["deletion"] if isinstance(value, float)]
    truths = [truth for truth in TRUTHS if any(truth in each.agreement for each in by)]
    lacking = [_lacking(each, [] if name in TRUTHS else truths) for each in mine]
    reasons = [each for each in lacking if each is not None]
    alike = {
        (each.stage, each.reason): sum((other.stage, other.reason) == (each.stage, each.reason) for other in reasons) for each in reasons
    }
    return Compared(
        agreement={truth: _mean([each.agreement[truth] for each in by if truth in each.agreement], seed) for truth in truths},
        deletion=_mean(figures["deletion"], seed),
        insertion=_mean(figures["insertion"], seed),
        aopc={kind: _mean([each.aopc[kind] for each in by if each.aopc is not None], seed) for kind in KINDS},
        lift={figure: _lift(name, figure, prompts, seed) for figure in (*KINDS, *truths)},
        p=sign_flip_p(scored, two_sided=False, seed=seed) if scored else None,
        q=None,
        n=len(prompts) - len(reasons),
        n_failed=len(reasons),
        missing=[Missing(stage=stage, reason=reason, n=count) for (stage, reason), count in alike.items()],
        void=len(reasons) > VOID * len(prompts),
        trusted=False,
    )


def _lacking(by: ContinuationBy | Failure, truths: Sequence[str]) -> Failure | None:
    """Why a prompt lacks a figure that counts; None where it has all."""
    if isinstance(by, Failure):
        return by
    absent = Failure(stage="score", reason="there is nothing to agree with")
    counting = [*((by.normalised or {}).get(kind, absent) for kind in KINDS), *(by.agreement.get(truth, absent) for truth in truths)]
    return next((figure for figure in counting if isinstance(figure, Failure)), None)


def _lift(name: str, figure: str, prompts: Sequence[Continuation | PromptFailure], seed: int) -> Lift | Failure:
    """Of deletion, insertion, or the agreement with a truth."""
    both = [
        (by, each.controls) for each in prompts if isinstance(each, Continuation) and isinstance(by := each.methods[name], ContinuationBy)
    ]
    controls = dict.fromkeys(control for _, held in both for control in held)
    return lift(
        figure,
        [_figure(by, figure, signed=by.signed) for by, _ in both],
        {control: [_figure(held.get(control), figure, signed=by.signed) for by, held in both] for control in controls},
        seed=seed,
    )


def _figure(by: ContinuationBy | None, figure: str, *, signed: bool) -> float | None:
    """Normalised deletion or insertion, or agreement with a truth, of a control with its values or its sizes; None where there is none."""
    if by is None:
        return None
    agreement = by.agreement_with_sizes if isinstance(by, ControlBy) and not signed else by.agreement
    placed = {str(kind): value for kind, value in (by.normalised or {}).items()}
    value = placed.get(figure) if figure in KINDS else agreement.get(figure)
    return value if isinstance(value, float) else None


def _control(name: str, read: Sequence[Continuation], seed: int) -> Control:
    by = [each.controls[name] for each in read if name in each.controls]
    truths = list(dict.fromkeys(truth for each in by for truth in each.agreement))
    placed = {kind: _mean([each.normalised[kind] for each in by if each.normalised is not None], seed) for kind in KINDS}
    return Control(
        agreement={truth: _mean([each.agreement[truth] for each in by], seed) for truth in truths},
        agreement_with_sizes={truth: _mean([each.agreement_with_sizes[truth] for each in by], seed) for truth in truths},
        deletion=placed["deletion"],
        insertion=placed["insertion"],
        aopc={kind: _mean([each.aopc[kind] for each in by if each.aopc is not None], seed) for kind in KINDS},
    )


def _mean(values: Sequence[float | Failure], seed: int) -> Value | Failure:
    """Over prompts, of those that have a value."""
    return outcome(mean([value for value in values if isinstance(value, float)], seed=seed))


def _mean_curves(curves: Sequence[Curves]) -> Curves:
    def over(rows: Sequence[Sequence[float]]) -> list[float]:
        means: Floats = np.mean(rows, axis=0)
        return [float(each) for each in means]

    aopc = {kind: float(np.mean([each.aopc[kind] for each in curves])) for kind in KINDS}
    return Curves(deletion=over([each.deletion for each in curves]), insertion=over([each.insertion for each in curves]), aopc=aopc)


def _best(kind: Kind, curves: Sequence[Curves]) -> Curves:
    return max(curves, key=lambda each: each.aopc[kind])


def _value(found: Value | Failure) -> float:
    assert isinstance(found, Value)
    return found.value


def _load(model: str, how: How, compare: bool, dtype: str, device: str, report: Report) -> "TextModel":
    from analyzers.text_model import TextModel

    name = model.removeprefix("local:")
    if ":" in name and not Path(name).exists():
        raise SubjectError(f"{model!r} is asked over a network, and --target reads the model itself: give a local one by name or folder")
    how.check()
    if compare and not set(how.methods) & set(TRUTHS):
        raise ExplicateError(f"a comparison holds methods against {' or '.join(TRUTHS)}: name one of them in --method, too")
    return TextModel.load(name, dtype=dtype, device=device, report=report)


def _one(model: "TextModel", text: str, target: str, how: How, *, compare: bool, number: int = 0, report: Report = quiet) -> Continuation:
    most = MOST_COMPARED if compare else MOST_UNITS
    found, valued = attributed(model, text, target, how, number=number, most_units=most, report=report)
    if not compare:
        return found
    held = with_curves(found, valued, [how.seed, number, 1])
    return held.model_copy(update={"texts_evaluated": len(valued.known)})
