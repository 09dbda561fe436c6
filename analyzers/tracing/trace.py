"""Causal tracing of one fact: noise on its subject makes a model forget it, and one clean state after the other is put back.

Source: Meng et al. 2022 (ROME), arXiv 2202.05262, section 2. TE = p - p*, IE = p*_restored - p*: p of the target's first token in the
clean run, p* with noise N(0, (factor sigma)^2) on the embeddings of the subject's tokens.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch

from analyzers.errors import SubjectError
from analyzers.tracing.kinds import Kind
from analyzers.tracing.knockout import Cut, cut_off
from analyzers.tracing.located import Located
from analyzers.tracing.plan import Tracing, around, places_elsewhere
from analyzers.tracing.restoring import Clean, Restoration, clean_run, corrupted_run, of_target, restored
from analyzers.tracing.stack import Stack


@dataclass(frozen=True)
class Elsewhere:
    """The control: noise on as many tokens that are not the subject, or all there are, and what the last of them restores."""

    places: list[int]
    corrupted: float
    effects: dict[str, list[float]]
    """[layer] by kind"""
    cut: list[float] | None
    """[layer] p when the last token does not see them in the window around it; None where attention cannot be cut."""


@dataclass(frozen=True)
class Trace:
    """Of one fact; plain data."""

    tokens: list[str]
    classes: list[str | None]
    """[place]"""
    probability: float
    """p"""
    corrupted: float
    """p*, mean over samples"""
    effects: dict[str, list[list[float | None]]]
    """By kind [layer][place] IE, mean over samples; None before the subject, where nothing is changed by noise."""
    random: dict[str, dict[str, list[float]]]
    """By class of the token (last_subject, last) and kind [layer] IE of a change as large in a random direction."""
    elsewhere: Elsewhere | None
    lens: dict[str, list[float]]
    """[layer] `probability` and `rank` of the target's first token behind each block, and the same of `other`, another fact's target."""
    cut: list[float] | str
    """[layer] p when the last token does not see the subject in the window around it; else why not."""
    uncut: float | None
    """p as computed with attention that can be cut."""
    cost: dict[str, int] = field(default_factory=dict)
    """`passes`, `texts` in them and `tokens`."""


def restorations(located: Located, tracing: Tracing, layers: int) -> list[Restoration]:
    """Of every kind, layer and token from the subject on, in this order, each with its clean state; then the controls."""
    places = range(located.first, len(located.ids))

    def each(kind: Kind, layer: int, place: int, random: bool) -> Restoration:
        within = range(layer, layer + 1) if kind == "residual" else around(layer, tracing.window, layers)
        return Restoration(kind, within, (place,), random)

    ends = (located.last, len(located.ids) - 1)
    return [
        *(each(kind, layer, place, False) for kind in tracing.kinds for layer in range(layers) for place in places),
        *(each(kind, layer, place, True) for place in ends for kind in tracing.kinds for layer in range(layers)),
    ]


def texts_of(located: Located, tracing: Tracing, layers: int) -> int:
    """How many texts a trace runs through the model, whole or in part, about: those of its restorations."""
    elsewhere = len(tracing.kinds) * layers if located.elsewhere else 0
    return tracing.samples * (len(restorations(located, tracing, layers)) + elsewhere)


@torch.inference_mode()
def trace(
    stack: Stack, located: Located, tracing: Tracing, other: int | None = None, *, ran: Callable[[int], None] = lambda _: None
) -> Trace:
    """See above. other: a token that is not the answer; ran: is told how many texts have run since it was told last.

    Raises SubjectError for probabilities that are no numbers.
    """
    before = (stack.passes, stack.texts, stack.tokens)
    layers = stack.model.layers
    clean = clean_run(stack, located)
    corrupted = corrupted_run(stack, located, list(located.subject), tracing)
    asked = restorations(located, tracing, layers)
    found = restored(stack, located, clean, corrupted, asked, tracing, ran=ran).mean(1) - corrupted.probabilities.mean()
    places = len(located.ids) - located.first
    many = len(tracing.kinds) * layers
    effects = found[: many * places].reshape(len(tracing.kinds), layers, places)
    random = found[many * places :].reshape(2, len(tracing.kinds), layers)
    uncut, cut, cut_elsewhere = _cuts(stack, located, tracing)
    elsewhere = None
    if drawn := places_elsewhere(located, tracing):
        noised = corrupted_run(stack, located, drawn, tracing)
        last = [Restoration(each.kind, each.layers, (drawn[-1],)) for each in asked[: many * places] if each.places == (located.last,)]
        gained = restored(stack, located, clean, noised, last, tracing, ran=ran).mean(1) - noised.probabilities.mean()
        elsewhere = Elsewhere(
            drawn,
            float(noised.probabilities.mean()),
            dict(zip(tracing.kinds, gained.reshape(len(tracing.kinds), layers).tolist(), strict=True)),
            cut_elsewhere,
        )
    made = Trace(
        tokens=list(located.tokens),
        classes=located.classes,
        probability=clean.probability,
        corrupted=float(corrupted.probabilities.mean()),
        effects={kind: [[*[None] * located.first, *row] for row in own.tolist()] for kind, own in zip(tracing.kinds, effects, strict=True)},
        random={
            name: dict(zip(tracing.kinds, own.tolist(), strict=True)) for name, own in zip(("last_subject", "last"), random, strict=True)
        },
        elsewhere=elsewhere,
        lens=_lens(stack, located, clean, other),
        cut=cut,
        uncut=uncut,
        cost={
            name: now - then
            for name, now, then in zip(("passes", "texts", "tokens"), (stack.passes, stack.texts, stack.tokens), before, strict=True)
        },
    )
    if not np.isfinite(list(_figures(made))).all():
        raise SubjectError(
            f"{stack.model.name!r} gives probabilities that are no numbers in {stack.model.identity['dtype']}; load it in float32"
        )
    return made


def _figures(made: Trace) -> Iterator[float]:
    """All that are measured."""
    yield from (made.probability, made.corrupted)
    for own in made.effects.values():
        yield from (value for row in own for value in row if value is not None)
    curves = [*made.lens.values(), *(curve for own in made.random.values() for curve in own.values())]
    if made.elsewhere is not None:
        yield made.elsewhere.corrupted
        curves += [*made.elsewhere.effects.values(), made.elsewhere.cut or []]
    if made.uncut is not None and not isinstance(made.cut, str):
        curves += [[made.uncut], made.cut]
    for curve in curves:
        yield from curve


def _cuts(stack: Stack, located: Located, tracing: Tracing) -> tuple[float | None, list[float] | str, list[float] | None]:
    """(p with nothing cut, [layer] p with the subject cut off or why not, the same of tokens elsewhere)"""
    layers, drawn = stack.model.layers, places_elsewhere(located, tracing)
    windows = [around(layer, tracing.window, layers) for layer in range(layers)]
    cuts: list[Cut] = [(list(located.subject), window) for window in windows]
    if drawn:
        cuts += [(drawn, window) for window in windows]
    try:
        found = of_target(cut_off(stack, located.ids, cuts), located).tolist()
    except SubjectError as error:
        return None, str(error), None
    return found[0], found[1 : 1 + layers], found[1 + layers :] if drawn else None


def _lens(stack: Stack, located: Located, clean: Clean, other: int | None) -> dict[str, list[float]]:
    """What the model would say were each block its last one."""
    states = clean.gave["residual"]
    ids = torch.tensor([located.ids]).expand(len(states), -1)
    with stack.begun(len(states), states):
        logits = stack.next_logits(ids)
    found = {}
    for name, token in (("", located.target[0]), ("other_", other)):
        if token is not None:
            found[f"{name}probability"] = logits.double().softmax(-1)[:, token].tolist()
            own = logits[:, token, None]
            # Those as likely as the target share the ranks that they have together.
            found[f"{name}rank"] = ((logits > own).sum(-1) + ((logits == own).sum(-1) + 1) / 2).double().tolist()
    return found
