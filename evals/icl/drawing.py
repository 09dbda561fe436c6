"""Which items are asked about, and which are shown before them: apart, and every class shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analyzers.errors import ExplicateError
from evals.icl.task import IclItem
from evals.number_of import number_of

Classes = npt.NDArray[np.int64]
KEPT = 2
"""Times the shots that are kept of every class where there are as many, so that different seeds show different demonstrations."""
MOST = 2
"""Of a class at most one item in so many is kept beyond that for further draws: the rest is to be asked about."""


@dataclass(frozen=True)
class Drawn:
    """No text is in two of the parts of one draw."""

    asked: tuple[IclItem, ...]
    shown: tuple[tuple[IclItem, ...], ...]
    """[draw] demonstrations in their order, as many of each class."""
    further: tuple[tuple[IclItem, ...], ...]
    """[draw] what is neither asked about nor shown, in random order."""


def draw(items: Sequence[IclItem], labels: Sequence[str], *, shots: int, n: int, seeds: int, seed: int) -> Drawn:
    """n items to ask about (0: all there are), the same for all draws, and `seeds` draws of `shots` demonstrations a class.

    Fewer are asked about where a class would not be left KEPT times its shots, or, up to one item in MOST, as many as all draws show. An
    item is shown again only where too few of its class are left that were not shown; see `shown_again`. Raises ExplicateError for a
    class with too few items.
    """
    of_class = np.array([item.label for item in items], np.int64)
    counts = _counts(of_class, labels, shots)
    kept = np.maximum(KEPT * shots, np.minimum(seeds * shots, counts // MOST))
    allowed = np.maximum(counts - kept, 0)
    order = np.random.default_rng(seed).permutation(len(items))
    asked: list[int] = []
    for number in order:
        if allowed[of_class[number]] > 0 and (n == 0 or len(asked) < n):
            allowed[of_class[number]] -= 1
            asked.append(int(number))
    if len(asked) < 2:
        raise ExplicateError(
            f"of {number_of('item', len(items))} {len(asked)} can be asked about beside the demonstrations, and an interval needs two; "
            "give more items (--items, --n), or show fewer (--shots)"
        )
    taken = set(asked)
    left = [int(number) for number in order if int(number) not in taken]
    draws = _demonstrations({number: int(of_class[number]) for number in left}, shots, seeds, seed)
    further = [[number for number in left if number not in shown] for shown in draws]
    return Drawn(
        asked=tuple(items[number] for number in sorted(asked)),
        shown=tuple(tuple(items[number] for number in shown) for shown in draws),
        further=tuple(tuple(items[number] for number in rest) for rest in further),
    )


def demonstrations(items: Sequence[IclItem], labels: Sequence[str], *, shots: int, seed: int) -> tuple[IclItem, ...]:
    """`shots` of each class in random order, where nothing is asked about: any item may be shown. ExplicateError as in `draw`."""
    of_class = np.array([item.label for item in items], np.int64)
    _counts(of_class, labels, shots)
    (chosen,) = _demonstrations(dict(enumerate(of_class.tolist())), shots, 1, seed)
    return tuple(items[number] for number in chosen)


def shown_again(drawn: Drawn, classes: int) -> dict[int, tuple[int, int]]:
    """By class of which some item is in several draws: how many items are shown in how many places."""
    shown = [[item.number for own in drawn.shown for item in own if item.label == label] for label in range(classes)]
    return {label: (len(set(own)), len(own)) for label, own in enumerate(shown) if len(set(own)) < len(own)}


def _counts(of_class: Classes, labels: Sequence[str], shots: int) -> Classes:
    """[class] items there are; ExplicateError where they are fewer than the shots."""
    counts = np.bincount(of_class, minlength=len(labels))
    for label, count in zip(labels, counts, strict=True):
        if count < shots:
            raise ExplicateError(
                f"the label {label!r} has {number_of('item', int(count))}, and {shots} of each are shown; give more items (--items), or "
                "show fewer (--shots)"
            )
    return counts


def _demonstrations(left: Mapping[int, int], shots: int, seeds: int, seed: int) -> list[list[int]]:
    """[draw] some of each class, in random order, from the classes of items by number."""
    classes: dict[int, list[int]] = {}
    for number, label in left.items():
        classes.setdefault(label, []).append(number)
    rng = np.random.default_rng([seed, 1])
    dealt: list[list[int]] = [[] for _ in range(seeds)]
    for _, own in sorted(classes.items()):
        order: list[int] = []
        for chosen in dealt:
            if len(order) < shots:
                order = rng.permutation(own).tolist()
            chosen += [order.pop() for _ in range(shots)]
    return [rng.permutation(chosen).tolist() for chosen in dealt]
