"""All methods on models that are built by hand, whose answer one known token is copied to: each points at it, or gives what its own formula
must give of these models in place of that, which is derived here from what was planted."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import networkx
import numpy as np
import numpy.typing as npt
import pytest

from analyzers.saliency import SALIENCIES
from analyzers.text_model import TextModel
from evals.continuation import ContinuationBy, How, attributed

Floats = npt.NDArray[np.float64]

GAP, TOKENS, SIZE = 10.0, 66, 640
"""Logit of the token that is copied, over those of all others; tokens of the vocabulary; dimensions of the residual stream."""
DOUBT = GAP * (TOKENS - 1) / (math.exp(GAP) + TOKENS - 1)
"""Gap times the probability of all other tokens: the size of the gradient at the target's logit, times what the logit is of."""
SPREAD = 1 / (TOKENS - 1)
"""Sum of the squares of the gradient at the logits of all other tokens, as a share of that at the target's."""
DRAWS = range(4)


@dataclass(frozen=True, eq=False)
class Planted:
    """A text at whose end the model says `target`, which stands at `source` and is copied from there.

    Of the induction pair the last token stood at `key`, right before the source, which the induction head finds it by. Place 0 is <s>.
    """

    kind: str
    model: TextModel
    text: str
    target: str
    key: int
    source: int

    @property
    def ids(self) -> tuple[int, ...]:
        return self.model.prompt(self.text).ids

    @property
    def said(self) -> tuple[int, ...]:
        return self.model.continuation(self.text, self.target)

    @property
    def last(self) -> int:
        return len(self.text)

    def at(self, places: dict[int, float]) -> Floats:
        """[token] 0 but at these."""
        values = np.zeros(len(self.text) + 1)
        for place, value in places.items():
            values[place] += value
        return values

    def value(self, ids: list[int]) -> float:
        """What the planted heads make of any tokens, after <s>: log-probability of the target, in nats."""
        before = [ids[max(at - 1, 0)] for at in range(len(ids))]
        coming = np.zeros(TOKENS)
        if self.kind == "copy":
            coming[before[-1]] = 1
        else:
            found = [at for at, own in enumerate(before) if own == ids[-1]] or list(range(len(ids)))
            for at in found:
                coming[ids[at]] += 1 / len(found)
        # The last normalisation is planted for one-hot parts, and makes up for the length of one that is none.
        ones = 3 if self.kind == "copy" else 4
        logits = GAP * coming * math.sqrt(ones / (ones - 1 + coming @ coming))
        return float(logits[self.said[0]] - np.log(np.exp(logits).sum()))


Draw = Callable[..., Planted]


@pytest.fixture
def draw(planted_heads: Any, planted_copy: Any) -> Draw:
    """A text of some different letters, for the induction pair with one of them again at its end."""

    def drawn(kind: str, seed: int, letters: int = 0) -> Planted:
        heads = planted_copy if kind == "copy" else planted_heads
        model = TextModel(heads.model.requires_grad_(False), heads.tokenizer, name="planted", identity={"dtype": "float32"})
        rng = random.Random(f"{kind} {seed}")
        text = rng.sample("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLM", letters or rng.randint(5, 12))
        if kind == "copy":
            return Planted(kind, model, "".join(text), text[-2], key=len(text), source=len(text) - 1)
        # The source is not the last token but one, which the previous-token head reads at the end.
        key = rng.randint(1, len(text) - 2)
        text.append(text[key - 1])
        return Planted(kind, model, "".join(text), text[key], key=key, source=key + 1)

    return drawn


def patterns(planted: Planted) -> list[Floats]:
    """[query, key] of both layers: half of each head's mean attention and half of the own place, as planted."""
    length, last = planted.last + 1, planted.last
    own = np.eye(length)
    even = np.tril(np.ones((length, length))) / np.arange(1, length + 1)[:, None]
    first, before = own[[0] * length], own[[0, *range(length - 1)]]
    same = even.copy()
    for query in range(1, length):
        same[query] = (np.arange(length) < query) / query  # its own place least of all
    induction = even.copy()
    if planted.kind == "induction":
        same[last], induction[last] = own[planted.key], own[planted.source]
    return [(even + first + before + same) / 8 + own / 2, (3 * even + induction) / 8 + own / 2]


def rolled(planted: Planted) -> Floats:
    """Both layers keep half of each place where it is, so that a quarter stays at the last token, and of the first token, which one head
    rests on and all see, there is more than one head of four copies."""
    below, above = patterns(planted)
    return (above @ below)[-1]


def flowing(planted: Planted) -> Floats:
    """To the first token flows what reaches any place, since all can attend to it: more than to any that later places alone see."""
    graph = networkx.DiGraph()
    for layer, weights in enumerate(patterns(planted)):
        for (query, key), share in np.ndenumerate(weights):
            graph.add_edge((layer + 1, query), (layer, key), capacity=float(share))
    return np.array([networkx.maximum_flow_value(graph, (2, planted.last), (0, key)) for key in range(planted.last + 1)])


def even(planted: Planted) -> Floats:
    """The copying is done in the first layer, and in the last one no head has a role."""
    return np.full(planted.last + 1, 1 / (planted.last + 1))


def written(planted: Planted) -> Floats:
    """What heads write is as long wherever they write it: the previous-token head writes at the end what stands there, which nothing
    reads, as the induction head writes the target."""
    return planted.at({planted.source: 1, planted.last - 1: 1})


def multiplied(planted: Planted) -> Floats:
    """The last normalisation divides by the length of three ones, of which the last token's is one and what the source adds another: as the
    first grows, a third of the logit is lost, and as the other does, two thirds are won. Of these the normalisation before the copying head
    leaves half, since the source is one of two ones there."""
    return planted.at({planted.source: DOUBT / 3, planted.last: -DOUBT / 3})


def steep(planted: Planted) -> Floats:
    """As `multiplied`, but in all directions and without signs: at the last token by r - h / 3, with r the gradient at the parts that are
    to come and h the three ones, at the source by what is left of it there, r / 3 - (the place's one) / 3.

    Of the induction pair there are four ones, and three before the induction head. What stood before the source and the last token has a
    part in them, too, by which only lengths change: each an eighth, along its own one and against its place's.
    """
    if planted.kind == "copy":
        return planted.at({planted.source: DOUBT * math.sqrt(2 / 9 + SPREAD), planted.last: DOUBT * math.sqrt(2 / 3 + SPREAD)})
    small = DOUBT * math.sqrt(2) / 8
    return planted.at(
        {
            planted.key: small,
            planted.source: DOUBT * math.sqrt(1 / 4 + 1 / 16 + 1 / 16 + SPREAD),
            planted.last - 1: small,
            planted.last: DOUBT * math.sqrt(3 / 4 + SPREAD),
        }
    )


ELSEWHERE: dict[tuple[str, str], Callable[[Planted], Floats]] = {
    ("copy", "attention"): even,
    ("copy", "attention-flow"): flowing,
    ("copy", "attention-rollout"): rolled,
    ("copy", "gradient-norm"): steep,
    ("copy", "gradient-x-input"): multiplied,
    ("induction", "attention-flow"): flowing,
    ("induction", "attention-rollout"): rolled,
    ("induction", "gradient-norm"): steep,
    ("induction", "value-norm"): written,
}
"""Of methods of which the largest value is not that of the token that is copied, all values."""


def alone(values: Floats, place: int) -> bool:
    """Whether the value at the place is by size the largest one, by more than a tenth."""
    sizes = np.abs(values)
    return bool(sizes[place] > 1.1 * np.delete(sizes, place).max())


@pytest.mark.parametrize("seed", DRAWS)
@pytest.mark.parametrize("kind", ["copy", "induction"])
@pytest.mark.parametrize("method", SALIENCIES.all())
def test_methods_point_at_the_token_that_is_copied(method: str, kind: str, seed: int, draw: Draw) -> None:
    planted = draw(kind, seed)
    assert planted.value(list(planted.ids)) == pytest.approx(-DOUBT / GAP, rel=0.01)
    values = SALIENCIES.get(method)(planted.model, planted.ids, planted.said).values
    if (kind, method) not in ELSEWHERE:
        assert alone(values, planted.source)
        assert values[planted.source] > 0
        return
    expected = ELSEWHERE[kind, method](planted)
    assert not alone(expected, planted.source)
    assert values == pytest.approx(expected, abs=0.03 * np.abs(expected).max())
    assert not alone(values, planted.source)


@pytest.mark.parametrize("seed", DRAWS)
def test_the_first_token_and_the_last_one_gather_what_is_rolled_out(seed: int, draw: Draw) -> None:
    for kind in ("copy", "induction"):
        planted = draw(kind, seed)
        found = {
            method: SALIENCIES.get(method)(planted.model, planted.ids, planted.said).values
            for method in ("attention-rollout", "attention-flow")
        }
        assert found["attention-rollout"].argmax() == planted.last
        assert found["attention-flow"].argmax() == 0


@pytest.mark.parametrize("seed", DRAWS)
def test_values_of_the_induction_pair_have_their_closed_form(seed: int, draw: Draw) -> None:
    planted = draw("induction", seed)
    # As in `multiplied` and `steep`.
    expected = planted.at({planted.key: -DOUBT / 8, planted.source: DOUBT / 2, planted.last - 1: -DOUBT / 8, planted.last: -DOUBT / 4})
    values = SALIENCIES.get("gradient-x-input")(planted.model, planted.ids, planted.said).values
    assert values == pytest.approx(expected, abs=0.03 * DOUBT)
    # The induction head is one of four, and the others attend evenly.
    attended = (3 * even(planted) + planted.at({planted.source: 1})) / 4
    assert SALIENCIES.get("attention")(planted.model, planted.ids, planted.said).values == pytest.approx(attended, abs=1e-4)


@pytest.mark.parametrize("seed", DRAWS)
def test_integrated_gradients_of_the_copy_have_their_closed_form(seed: int, draw: Draw) -> None:
    planted = draw("copy", seed)
    end, copied, said = 0, planted.ids[planted.source], planted.ids[planted.last]

    def normalised(parts: Floats, ones: int) -> Floats:
        """Layer normalisation of one vector, undone for as many ones."""
        apart = parts - parts.mean()
        return apart * math.sqrt(ones / SIZE - (ones / SIZE) ** 2) / math.sqrt(float(apart @ apart) / SIZE)

    def value(source: float, last: float) -> float:
        """Of the target, with the source and the last token that far on their way from the end of a text to themselves."""
        read, residual = np.zeros(SIZE), np.zeros(SIZE)
        read[[end, copied, TOKENS]] = 1 - source, source, 1  # the last one for its place
        residual[[end, said, TOKENS]] = 1 - last, last, 1
        residual[-TOKENS:] += normalised(read, 2)[:TOKENS]
        logits = GAP * normalised(residual, 3)[-TOKENS:]
        return float(logits[copied] - np.log(np.exp(logits).sum()))

    places, step = np.linspace(0, 1, 2001), 1e-5
    middles = (places[1:] + places[:-1]) / 2
    by_source = np.mean([value(place + step, place) - value(place - step, place) for place in middles]) / (2 * step)
    by_last = np.mean([value(place, place + step) - value(place, place - step) for place in middles]) / (2 * step)
    assert by_source + by_last == pytest.approx(value(1, 1) - value(0, 0), abs=1e-4)
    path = SALIENCIES.get("integrated-gradients")(planted.model, planted.ids, planted.said)
    assert path.values == pytest.approx(planted.at({planted.source: by_source, planted.last: by_last}), abs=0.01 * by_source)
    assert path.facts["baseline"] == pytest.approx(value(0, 0), abs=1e-3)


@pytest.mark.parametrize("seed", DRAWS)
@pytest.mark.parametrize("kind", ["copy", "induction"])
def test_taking_tokens_away_points_at_the_token_that_is_copied(kind: str, seed: int, draw: Draw) -> None:
    planted = draw(kind, seed, letters=5)
    units = range(1, planted.last + 1)

    def value(kept: frozenset[int]) -> float:
        return planted.value([0, *(planted.ids[place] for place in units if place in kept)])

    whole = frozenset(units)
    without = [value(whole) - value(whole - {place}) for place in units]
    added = np.zeros(len(units))
    orders = list(permutations(units))
    known = {kept: value(kept) for kept in {frozenset(order[:size]) for order in orders for size in range(len(units) + 1)}}
    for order in orders:
        for size, place in enumerate(order):
            added[place - 1] += (known[frozenset(order[: size + 1])] - known[frozenset(order[:size])]) / len(orders)
    # As many orders as make the drawn ones of the method tell the mean of all.
    found, _ = attributed(planted.model, planted.text, planted.target, How(["occlusion", "shapley"], unit="token", most=10_000))
    by = {method: np.array(each.values) for method, each in found.methods.items() if isinstance(each, ContinuationBy)}
    assert by["occlusion"] == pytest.approx(np.array(without), abs=0.02)
    assert by["shapley"] == pytest.approx(added, abs=0.2)
    for values in by.values():
        if kind == "induction":
            assert alone(values, planted.source - 1)
        else:
            # Without the last token it is the one before that which is asked for: each is worth nothing but with the other.
            assert (
                values[[planted.source - 1, planted.last - 1]].min() > 2 * np.delete(values, [planted.source - 1, planted.last - 1]).max()
            )
            assert values[planted.source - 1] == pytest.approx(values[planted.last - 1], abs=0.2)
