"""Clean states put back into runs with noise, many at once, each as if it were the only one.

What stands before the token at which something is put back is as in the run with noise, and so is all below the first block that changes:
neither is computed again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from analyzers.padding import BATCH_TOKENS
from analyzers.tracing.kinds import Kind
from analyzers.tracing.located import Located
from analyzers.tracing.plan import Tracing
from analyzers.tracing.stack import Remembered, Stack

PASS_TOKENS = 512
"""That are computed in one pass: fewer than memory allows, since it begins at the first block that any of its texts changes."""


@dataclass(frozen=True)
class Restoration:
    """What is put back in one text."""

    kind: Kind
    layers: range
    """In which the outputs of this kind are what they are in the clean run."""
    places: tuple[int, ...]
    """Of the tokens at which they are."""
    random: bool = False
    """The control: the output is changed by as much, in a random direction."""


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
    remembered: Remembered | None
    """Of all samples; None where nothing can be read behind them."""


def clean_run(stack: Stack, located: Located) -> Clean:
    """Also keeps what every module gave."""
    logits, gave = stack.giving(torch.tensor([located.ids]))
    return Clean(float(of_target(logits, located)[0]), {kind: given[:, 0] for kind, given in gave.items()})


def corrupted_run(stack: Stack, located: Located, places: Sequence[int], tracing: Tracing) -> Corrupted:
    """With noise at places, in every sample another; the same one for the same seed, prompt and places."""
    drawn = tracing.generator(located, "noise", tuple(places))
    noise = torch.randn(tracing.samples, len(places), stack.embedded, generator=drawn) * (tracing.factor * tracing.sigma)
    ids = torch.tensor([located.ids]).expand(tracing.samples, -1)
    with stack.noised(places, noise):
        (logits, remembered), entered = stack.entering(ids, lambda: stack.remember(ids))
    return Corrupted(of_target(logits, located), entered, remembered)


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

    ran: is told how many texts have run since it was told last.
    """
    samples = len(corrupted.probabilities)
    directions = _directions(stack, located, tracing) if any(each.random for each in asked) else {}
    found = torch.zeros(len(asked), samples, dtype=torch.float64)
    for first, batch in _batches(asked, samples, len(located.ids), whole=corrupted.remembered is None):
        begin = min(asked[number].layers.start for number, _ in batch)
        of = [sample for _, sample in batch]
        ids = torch.tensor([located.ids[first:]]).expand(len(batch), -1)
        behind = None if corrupted.remembered is None else corrupted.remembered.of(of, first)
        changes = _changes(batch, asked, clean, directions, first)
        with stack.begun(begin, corrupted.entered[begin][of, first:]), stack.changed(changes):
            probabilities = of_target(stack.next_logits(ids, behind=behind), located)
        for (number, sample), probability in zip(batch, probabilities, strict=True):
            found[number, sample] = probability
        ran(len(batch))
    return found


def of_target(logits: Tensor, located: Located) -> Tensor:
    """float64 [row] probability of the target's first token, on the CPU."""
    return logits.double().softmax(-1)[:, located.target[0]].cpu()


Row = tuple[int, int]
"""(restoration, sample): one text of a pass"""


def _batches(asked: Sequence[Restoration], samples: int, length: int, *, whole: bool) -> Iterator[tuple[int, list[Row]]]:
    """(place of the first token that is computed, texts) of each pass: texts are computed from one place on, and in order of layers."""

    def first(number: int) -> int:
        return 0 if whole else min(asked[number].places)

    order = sorted(range(len(asked)), key=lambda number: (first(number), asked[number].layers.start))
    for place, numbers in groupby(order, first):
        rows = [(number, sample) for number in numbers for sample in range(samples)]
        most = max(1, min(BATCH_TOKENS // length, PASS_TOKENS // (length - place)))
        for start in range(0, len(rows), most):
            yield place, rows[start : start + most]


Change = Callable[[Tensor], Tensor]


def _changes(
    batch: Sequence[Row], asked: Sequence[Restoration], clean: Clean, directions: Mapping[Kind, Tensor], first: int
) -> dict[tuple[Kind, int], Change]:
    """By kind and layer what its outputs [row, pos from the first on, width] become."""
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
        here = place - first

        def put(given: Tensor) -> Tensor:
            new = given.clone()
            there = right.to(given)
            if bool(random.any()):
                current = given[row, here].float()
                away = (there.float() - current).norm(dim=-1, keepdim=True) * directions[kind][layer, sample].to(current)
                there = there.where(~random[:, None].to(there.device), (current + away).to(there))
            new[row, here] = there
            return new

        return put

    return {(kind, layer): change(kind, layer, cells) for (kind, layer), cells in at.items()}


def _directions(stack: Stack, located: Located, tracing: Tracing) -> dict[Kind, Tensor]:
    """By kind [layer, sample, width] of length 1."""
    drawn = tracing.generator(located, "directions")
    found = {kind: torch.randn(stack.model.layers, tracing.samples, stack.width, generator=drawn) for kind in tracing.kinds}
    return {kind: each / each.norm(dim=-1, keepdim=True) for kind, each in found.items()}
