"""From several sampled replies to one item to one answer with one confidence, by the rules of Xiong et al. (ICLR 2024, arXiv 2306.13063).

consistency   share of replies that give the answer
avg-conf      confidence of the replies that give the answer, as a share of the confidence of all replies
pair-rank     probability P of the answer where P best explains which answers the replies rank above which: it minimises
              -sum log(P_u / (P_u + P_v)) over replies and pairs of answers of which the reply ranks u above v

The first two look at a reply's first guess alone, as the published code does. Pair-rank looks at all guesses; a reply that lists u and not
v ranks u above v, as in the published code, and says nothing of two answers that it does not list. With one guess a reply P is the share
of replies. Deviations from the published code, which minimises -sum P_u / (P_u + P_v) by 1000 steps from a random start: here it is the
paper's logarithm, convex in the logits, brought to its minimum. Where all replies agree on an order that minimum lies at infinity, so
RIDGE / 2 times the sum of squared logits is added: one reply that ranks one answer above another gives it .997, five give .9993.

A confidence says how sure the replies are *among the answers they give*: avg-conf and pair-rank are 1 where all give one answer, however
low the confidence they state, and so is avg-conf of one reply alone.

Answers are compared as strings: who calls has brought equal answers to one spelling.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from types import MappingProxyType

import numpy as np
from scipy.optimize import minimize, root
from scipy.special import expit, softmax

from analyzers.errors import Failed
from evals.scores import Floats

RIDGE = 1e-3

_SLOPE = 1e-6
"""Largest slope of the loss at what counts as its minimum."""

_TIE = 1e-5
"""Confidences that differ by less are tied: more than the minimum is off, less than a reply makes."""


@dataclass(frozen=True)
class Guess:
    """An answer that a reply gives."""

    answer: str
    confidence: float | None
    """Stated, 0 to 1; None where the reply states none."""


Reply = tuple[Guess, ...]
"""Most likely first; several only where several were asked for."""


@dataclass(frozen=True)
class Aggregated:
    """What the replies to one item come to."""

    answer: str
    """The one of largest confidence; of several the one that comes first in the replies."""
    confidence: float
    n: int
    """Replies that count towards it."""
    n_failed: int
    """Replies that do not: failed, without a guess, or, for avg-conf, without a confidence."""


def consistency(replies: Sequence[Reply | Failed]) -> Aggregated | Failed:
    """Share of replies that give the answer; a failed one gives none and counts as a reply. Failed where all are."""
    first = [reply[0].answer for reply in _given(replies)]
    if not first:
        return _nothing(replies)
    return _largest({answer: times / len(replies) for answer, times in Counter(first).items()}, len(first), len(replies))


def avg_conf(replies: Sequence[Reply | Failed]) -> Aggregated | Failed:
    """Confidence of the replies that give the answer over that of all; replies without one count on neither side.

    Failed where no reply states a confidence above 0.
    """
    given = _given(replies)
    if not given:
        return _nothing(replies)
    stated: dict[str, list[float]] = {}
    for guess in (reply[0] for reply in given):
        if guess.confidence is not None:
            stated.setdefault(guess.answer, []).append(guess.confidence)
    # Exact sums, which do not depend on the order of the replies.
    total = fsum(value for values in stated.values() for value in values)
    if not total:
        return Failed("aggregate", f"none of the {len(given)} replies with an answer states a confidence above 0")
    shares = {answer: fsum(values) / total for answer, values in stated.items()}
    return _largest(shares, sum(map(len, stated.values())), len(replies))


def pair_rank(replies: Sequence[Reply | Failed]) -> Aggregated | Failed:
    """Probability of the answer that best explains the replies' rankings. Failed where all replies are, or no minimum is found."""
    # An answer that a reply lists twice has the better of its places.
    rankings = [tuple(dict.fromkeys(guess.answer for guess in reply)) for reply in _given(replies)]
    if not rankings:
        return _nothing(replies)
    by_appearance = list(dict.fromkeys(answer for ranking in rankings for answer in ranking))
    answers = sorted(by_appearance)
    place = {answer: index for index, answer in enumerate(answers)}
    above = np.zeros((len(answers), len(answers)))
    for ranking in rankings:
        below = np.ones(len(answers))
        for answer in ranking:
            below[place[answer]] = 0
            above[place[answer]] += below
    probabilities = _fit(above)
    if isinstance(probabilities, Failed):
        return probabilities
    return _largest({answer: float(probabilities[place[answer]]) for answer in by_appearance}, len(rankings), len(replies))


AGGREGATIONS: Mapping[str, Callable[[Sequence[Reply | Failed]], Aggregated | Failed]] = MappingProxyType(
    {"consistency": consistency, "avg-conf": avg_conf, "pair-rank": pair_rank}
)


def _fit(above: Floats) -> Floats | Failed:
    """P [answer] from how often the row's answer stands above the column's [answer, answer]."""

    def loss(logits: Floats) -> float:
        return float((above * np.logaddexp(0, logits[None] - logits[:, None])).sum() + RIDGE / 2 * logits @ logits)

    def gradient(logits: Floats) -> Floats:
        missed = above * expit(logits[None] - logits[:, None])
        slope: Floats = missed.sum(axis=0) - missed.sum(axis=1) + RIDGE * logits
        return slope

    def curvature(logits: Floats) -> Floats:
        chance = expit(logits[None] - logits[:, None])
        pairs = (above + above.T) * chance * (1 - chance)
        matrix: Floats = np.diag(pairs.sum(axis=1) + RIDGE) - pairs
        return matrix

    near = minimize(loss, np.zeros(len(above)), jac=gradient, hess=curvature, method="trust-exact", options={"gtol": 1e-4})
    # Near the minimum the loss of many replies is too flat for a step to show: the rest of the way goes by the slope alone.
    found = root(gradient, near.x, jac=curvature)
    if np.abs(found.fun).max() > _SLOPE:
        return Failed("aggregate", f"the fit of pair-rank found no minimum: {found.message}")
    probabilities: Floats = softmax(found.x)
    return probabilities


def _given(replies: Sequence[Reply | Failed]) -> list[Reply]:
    """Those with a guess."""
    return [reply for reply in replies if not isinstance(reply, Failed) and reply]


def _nothing(replies: Sequence[Reply | Failed]) -> Failed:
    if not replies:
        return Failed("aggregate", "no replies")
    reasons = dict.fromkeys(reply.reason for reply in replies if isinstance(reply, Failed))
    return Failed("aggregate", f"none of {len(replies)} replies gives an answer: {'; '.join(reasons) or 'they are empty'}")


def _largest(confidences: Mapping[str, float], n: int, replies: int) -> Aggregated:
    """Of confidences in the order in which the answers come."""
    largest = max(confidences.values())
    answer = next(answer for answer, confidence in confidences.items() if confidence >= largest - _TIE)
    return Aggregated(answer, confidences[answer], n=n, n_failed=replies - n)
