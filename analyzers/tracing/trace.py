"""Causal tracing of one fact: noise on its subject makes a model forget it, and one clean state after the other is put back.

Source: Meng et al. 2022 (ROME), arXiv 2202.05262, section 2. TE = p - p*, IE = p*_restored - p*: p of the target's first token in the
clean run, p* with noise N(0, (factor sigma)^2) on the embeddings of the subject's tokens.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from analyzers.errors import SubjectError
from analyzers.padding import BATCH_TOKENS
from analyzers.tracing.kinds import KINDS, Kind
from analyzers.tracing.knockout import Cut, cut_off
from analyzers.tracing.located import Located, subject_tokens
from analyzers.tracing.stack import Stack


@dataclass(frozen=True)
class Restoration:
    """What is put back in one pass."""

    kind: Kind
    layers: range
    """In which the outputs of this kind are what they are in the clean run."""
    places: tuple[int, ...]
    """Of the tokens at which they are."""
    random: bool = False
    """The control: the output is changed by as much, in a random direction."""


@dataclass(frozen=True)
class Tracing:
    """What decides a trace, but for the model and the fact."""

    sigma: float
    """Standard deviation of the embeddings of subjects' tokens."""
    window: int
    """Layers in which outputs of MLPs and attention are put back together, and in which attention is cut."""
    factor: float = 3.0
    samples: int = 5
    """Draws of noise."""
    kinds: tuple[Kind, ...] = KINDS
    seed: int = 0


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


def window_of(layers: int) -> int:
    """A third of the layers, at most 10 as in the paper."""
    return max(1, min(10, layers // 3))


def around(layer: int, window: int, layers: int) -> range:
    """Layers of a window that is centred at a layer, as the paper cuts it off at both ends."""
    return range(max(0, layer - window // 2), min(layers, layer - (-window // 2)))


def spread(stack: Stack, facts: Sequence[Located]) -> float:
    """Standard deviation of the embeddings of all subjects' tokens, all dimensions together.

    Raises SubjectError where they are no numbers.
    """
    ids = torch.tensor(subject_tokens(facts), device=stack.model.device)
    with torch.inference_mode():
        found = float(stack.embeddings(ids).float().std(correction=0))
    if not np.isfinite(found):
        raise SubjectError(f"the embeddings of {stack.model.name!r} are no numbers; load another model")
    return found


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
    if not (np.isfinite(made.probability) and np.isfinite(made.corrupted) and bool(found.isfinite().all())):
        raise SubjectError(
            f"{stack.model.name!r} gives probabilities that are no numbers in {stack.model.identity['dtype']}; load it in float32"
        )
    return made


@dataclass(frozen=True, eq=False)
class Clean:
    """The run without noise."""

    probability: float
    gave: Mapping[Kind, Tensor]
    """[layer, pos, width]"""


@dataclass(frozen=True, eq=False)
class Corrupted:
    """Runs with noise."""

    probabilities: Tensor
    """float64 [sample] on the CPU"""
    entered: Tensor
    """[block, sample, pos, width]"""


def clean_run(stack: Stack, located: Located) -> Clean:
    """Also keeps what every module gave."""
    logits, gave = stack.giving(torch.tensor([located.ids]))
    return Clean(float(_of_target(logits, located)[0]), {kind: given[:, 0] for kind, given in gave.items()})


def corrupted_run(stack: Stack, located: Located, places: Sequence[int], tracing: Tracing) -> Corrupted:
    """With noise at places, in every sample another; the same one for the same seed, prompt and places."""
    drawn = _generator(tracing, located, "noise", tuple(places))
    noise = torch.randn(tracing.samples, len(places), stack.embedded, generator=drawn) * (tracing.factor * tracing.sigma)
    ids = torch.tensor([located.ids]).expand(tracing.samples, -1)
    with stack.noised(places, noise):
        logits, entered = stack.entering(ids, lambda: stack.next_logits(ids))
    return Corrupted(_of_target(logits, located), entered)


def restored(
    stack: Stack,
    located: Located,
    clean: Clean,
    corrupted: Corrupted,
    asked: Sequence[Restoration],
    tracing: Tracing,
    *,
    ran: Callable[[int], None] = lambda _: None,
) -> Tensor:
    """float64 [restoration, sample] p of the target's first token with each restoration in every corrupted run.

    Many in one pass, of BATCH_TOKENS at most, which begins at the first block that any of them changes.
    """
    samples, length = len(corrupted.probabilities), len(located.ids)
    order = sorted(range(len(asked)), key=lambda number: asked[number].layers.start)
    rows = [(number, sample) for number in order for sample in range(samples)]
    directions = _directions(stack, located, tracing) if any(each.random for each in asked) else {}
    most = max(1, BATCH_TOKENS // length)
    found = torch.zeros(len(asked), samples, dtype=torch.float64)
    for start in range(0, len(rows), most):
        batch = rows[start : start + most]
        begin = min(asked[number].layers.start for number, _ in batch)
        ids = torch.tensor([located.ids]).expand(len(batch), -1)
        changes = _changes(batch, asked, clean, directions)
        with stack.begun(begin, corrupted.entered[begin][[sample for _, sample in batch]]), stack.changed(changes):
            probabilities = _of_target(stack.next_logits(ids), located)
        for (number, sample), probability in zip(batch, probabilities, strict=True):
            found[number, sample] = probability
        ran(len(batch))
    return found


Change = Callable[[Tensor], Tensor]


def _changes(
    batch: Sequence[tuple[int, int]], asked: Sequence[Restoration], clean: Clean, directions: Mapping[Kind, Tensor]
) -> dict[tuple[Kind, int], Change]:
    """By kind and layer what its outputs [row, pos, width] become; a row is one of (restoration, sample)."""
    at: dict[tuple[Kind, int], list[tuple[int, int, int, bool]]] = {}
    for row, (number, sample) in enumerate(batch):
        own = asked[number]
        for layer in own.layers:
            at.setdefault((own.kind, layer), []).extend((row, sample, place, own.random) for place in own.places)

    def change(kind: Kind, layer: int, cells: Sequence[tuple[int, int, int, bool]]) -> Change:
        row, sample, place, random = torch.tensor(cells).T
        random = random.bool()
        whole = clean.gave[kind][layer]
        right = whole[place.to(whole.device)]

        def put(given: Tensor) -> Tensor:
            new = given.clone()
            here = right.to(given)
            if bool(random.any()):
                current = given[row, place].float()
                away = (here.float() - current).norm(dim=-1, keepdim=True) * directions[kind][layer, sample].to(current)
                here = here.where(~random[:, None].to(here.device), (current + away).to(here))
            new[row, place] = here
            return new

        return put

    return {(kind, layer): change(kind, layer, cells) for (kind, layer), cells in at.items()}


def _directions(stack: Stack, located: Located, tracing: Tracing) -> dict[Kind, Tensor]:
    """By kind [layer, sample, width] of length 1."""
    drawn = _generator(tracing, located, "directions")
    found = {kind: torch.randn(stack.model.layers, tracing.samples, stack.width, generator=drawn) for kind in tracing.kinds}
    return {kind: each / each.norm(dim=-1, keepdim=True) for kind, each in found.items()}


def places_elsewhere(located: Located, tracing: Tracing) -> list[int]:
    """As many tokens as the subject has, drawn by seed from those elsewhere, or all where they are fewer, in order."""
    rng = np.random.default_rng(_number(tracing, located, "elsewhere"))
    places = located.elsewhere
    drawn: list[int] = rng.choice(places, min(len(located.subject), len(places)), replace=False).tolist() if places else []
    return sorted(drawn)


def _cuts(stack: Stack, located: Located, tracing: Tracing) -> tuple[float | None, list[float] | str, list[float] | None]:
    """(p with nothing cut, [layer] p with the subject cut off or why not, the same of tokens elsewhere)"""
    layers, drawn = stack.model.layers, places_elsewhere(located, tracing)
    windows = [around(layer, tracing.window, layers) for layer in range(layers)]
    cuts: list[Cut] = [(list(located.subject), window) for window in windows]
    if drawn:
        cuts += [(drawn, window) for window in windows]
    try:
        found = _of_target(cut_off(stack, located.ids, cuts), located).tolist()
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


def _of_target(logits: Tensor, located: Located) -> Tensor:
    """float64 [row] on the CPU"""
    return logits.double().softmax(-1)[:, located.target[0]].cpu()


def _number(tracing: Tracing, located: Located, *what: object) -> int:
    told = repr((tracing.seed, located.ids, located.target, located.first, located.last, *what))
    return int.from_bytes(hashlib.sha256(told.encode()).digest()[:7], "big")


def _generator(tracing: Tracing, located: Located, *what: object) -> torch.Generator:
    return torch.Generator().manual_seed(_number(tracing, located, *what))
