"""By hand, against closed forms and a search of the whole simplex, and whatever the order of the replies."""

import itertools
import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from analyzers.errors import Failed
from evals.confidence.aggregation import AGGREGATIONS, RIDGE, Aggregated, Guess, Reply, avg_conf, consistency, pair_rank

LOST = Failed("parse", "no answer in the reply")

guesses = st.builds(Guess, st.sampled_from("ABCDE"), st.none() | st.integers(0, 20).map(lambda twentieth: twentieth / 20))
replies = st.lists(st.just(LOST) | st.lists(guesses, max_size=4).map(tuple), min_size=1, max_size=6)


def ranked(*answers: str) -> list[Reply | Failed]:
    """A reply for each string, a guess for each letter."""
    return [tuple(Guess(letter, None) for letter in answer) for answer in answers]


def stated(*pairs: tuple[str, float | None]) -> list[Reply | Failed]:
    return [(Guess(answer, confidence),) for answer, confidence in pairs]


def given_by(found: Aggregated | Failed) -> Aggregated:
    assert isinstance(found, Aggregated), found
    return found


def loss(probabilities: dict[str, float], rankings: Sequence[str]) -> float:
    """The paper's, and the ridge."""
    total = 0.0
    for ranking in rankings:
        for u, v in itertools.permutations(probabilities, 2):
            if u in ranking and (v not in ranking or ranking.index(u) < ranking.index(v)):
                total -= math.log(probabilities[u] / (probabilities[u] + probabilities[v]))
    logits = np.log(list(probabilities.values()))
    return total + RIDGE / 2 * float(((logits - logits.mean()) ** 2).sum())


def test_consistency_by_hand() -> None:
    found = given_by(consistency([*stated(("B", 0.9), ("A", 0.2), ("B", None)), LOST, ()]))
    assert found == Aggregated("B", 2 / 5, n=3, n_failed=2)


def test_avg_conf_by_hand() -> None:
    # The reply without a confidence counts on neither side, though it is the second for A.
    found = given_by(avg_conf([*stated(("A", 0.3), ("B", 0.9), ("A", 0.4), ("A", None)), LOST]))
    assert found.answer == "B"
    assert found.confidence == pytest.approx(0.9 / 1.6)
    assert (found.n, found.n_failed) == (3, 2)


def test_only_the_first_guess_counts_but_for_pair_rank() -> None:
    top: list[Reply | Failed] = [
        (Guess("A", 0.6), Guess("B", 0.4)),
        (Guess("B", 0.5), Guess("C", 0.4)),
        (Guess("C", 0.5), Guess("B", 0.4)),
    ]
    assert given_by(consistency(top)) == Aggregated("A", 1 / 3, n=3, n_failed=0)
    assert given_by(avg_conf(top)).confidence == pytest.approx(0.6 / 1.6)
    # B is in every reply, and first or second.
    assert given_by(pair_rank(top)).answer == "B"


def test_of_tied_answers_the_first_is_given() -> None:
    for aggregate in AGGREGATIONS.values():
        found = given_by(aggregate(stated(("B", 0.5), ("A", 0.5), ("A", 0.5), ("B", 0.5))))
        assert found.answer == "B"
        assert found.confidence == pytest.approx(0.5)
    # By floats 0.1 + 0.2 is more than 0.3.
    assert given_by(avg_conf(stated(("B", 0.3), ("A", 0.1), ("A", 0.2)))).answer == "B"


def test_replies_that_all_fail() -> None:
    for aggregate in AGGREGATIONS.values():
        failed = aggregate([LOST, (), LOST])
        assert failed == Failed("aggregate", "none of 3 replies gives an answer: no answer in the reply")
        assert aggregate([]) == Failed("aggregate", "no replies")
    silent = avg_conf(stated(("A", None), ("B", 0.0)))
    assert silent == Failed("aggregate", "none of the 2 replies with an answer states a confidence above 0")


def test_the_names() -> None:
    assert dict(AGGREGATIONS) == {"consistency": consistency, "avg-conf": avg_conf, "pair-rank": pair_rank}


@pytest.mark.parametrize(("wins", "losses"), [(4, 1), (3, 2), (7, 2), (1, 1)])
def test_pair_rank_of_two_answers_is_the_share_of_wins(wins: int, losses: int) -> None:
    found = given_by(pair_rank(ranked(*["AB"] * wins, *["BA"] * losses)))
    assert found.answer == "A"
    assert found.confidence == pytest.approx(wins / (wins + losses), abs=3e-3)


@pytest.mark.parametrize(("times", "rounded"), [(1, 0.997), (5, 0.9993)])
def test_agreement_gives_what_the_ridge_allows(times: int, rounded: float) -> None:
    found = given_by(pair_rank(ranked(*["AB"] * times)))
    # Logits d/2 and -d/2: the slope of times * log(1 + exp(-d)) + RIDGE * d^2 / 4 is 0.
    d = brentq(lambda d: RIDGE * d / 2 - times / (1 + math.exp(d)), 0, 50)
    assert found.confidence == pytest.approx(1 / (1 + math.exp(-d)), abs=1e-6)
    assert found.confidence == pytest.approx(rounded, abs=5e-4 if times == 1 else 5e-5)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from("ABCD"), min_size=1, max_size=9))
def test_pair_rank_of_single_guesses_is_consistency(answers: list[str]) -> None:
    """An answer that a reply lists stands above those it does not: P_u / (P_u + P_v) is then n_u / (n_u + n_v) for every pair."""
    found = given_by(pair_rank(ranked(*answers)))
    assert found.confidence == pytest.approx(max(Counter(answers).values()) / len(answers), abs=0.01)
    assert Counter(answers)[found.answer] == max(Counter(answers).values())


@pytest.mark.parametrize(
    "rankings",
    [
        ("ABC", "ACB", "BAC"),
        ("AB", "BC", "CA", "A"),
        ("AB", "AB", "CB", "C"),
        ("ABC", "CBA", "BCA", "B"),
        ("AB", "B"),
        ("BC", "AC", "CB", "A", "B"),
    ],
)
def test_pair_rank_is_the_minimum_of_all_probabilities(rankings: tuple[str, ...]) -> None:
    found = given_by(pair_rank(ranked(*rankings)))
    answers = sorted(set("".join(rankings)))
    steps = 200
    splits = (parts for parts in itertools.product(range(1, steps), repeat=len(answers) - 1) if sum(parts) < steps)
    grid = [dict(zip(answers, np.array([*parts, steps - sum(parts)]) / steps, strict=True)) for parts in splits]
    best = min(grid, key=lambda probabilities: loss(probabilities, rankings))
    assert found.confidence == pytest.approx(max(best.values()), abs=2 / steps)
    assert best[found.answer] == pytest.approx(max(best.values()), abs=2 / steps)


@pytest.mark.parametrize("rankings", [("AA", "BA", "AB"), ("ABA", "BAB", "AB")])
def test_an_answer_listed_twice_has_its_better_place(rankings: tuple[str, ...]) -> None:
    once = ["".join(dict.fromkeys(ranking)) for ranking in rankings]
    assert pair_rank(ranked(*rankings)) == pair_rank(ranked(*once))


def test_one_answer_alone_is_certain() -> None:
    assert pair_rank([*ranked("A", "A"), LOST]) == Aggregated("A", 1.0, n=2, n_failed=1)


def test_long_lists_of_many_replies_have_a_minimum() -> None:
    rng = np.random.default_rng(0)
    for m, k in ((1, 26), (5, 10), (40, 26), (200, 4)):
        lists = ["".join(rng.permutation(list("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))[:k]) for _ in range(m)]
        assert 0 < given_by(pair_rank(ranked(*lists))).confidence <= 1


@settings(deadline=None, max_examples=150)
@given(replies.flatmap(lambda some: st.tuples(st.just(some), st.permutations(some))))
def test_the_order_of_replies_decides_nothing_but_ties(pair: tuple[list[Reply | Failed], list[Reply | Failed]]) -> None:
    for name, aggregate in AGGREGATIONS.items():
        one, other = (aggregate(order) for order in pair)
        if isinstance(one, Failed) or isinstance(other, Failed):
            assert isinstance(one, Failed)
            assert isinstance(other, Failed)
            continue
        assert one.confidence == pytest.approx(other.confidence, abs=2e-6), name
        assert (one.n, one.n_failed) == (other.n, other.n_failed)
        assert one.n + one.n_failed == len(pair[0])
        assert 0 < one.confidence <= 1
        assert any(not isinstance(reply, Failed) and one.answer in {guess.answer for guess in reply} for reply in pair[0])


@settings(deadline=None, max_examples=100)
@given(replies, st.permutations("ABCDE"))
def test_the_spelling_of_answers_decides_nothing(some: list[Reply | Failed], names: list[str]) -> None:
    renamed = dict(zip("ABCDE", names, strict=True))
    others: list[Reply | Failed] = [
        reply if isinstance(reply, Failed) else tuple(Guess(renamed[guess.answer], guess.confidence) for guess in reply) for reply in some
    ]
    for aggregate in AGGREGATIONS.values():
        one, other = aggregate(some), aggregate(others)
        if isinstance(one, Failed) or isinstance(other, Failed):
            assert one == other
            continue
        assert other.answer == renamed[one.answer]
        assert other.confidence == pytest.approx(one.confidence, abs=1e-6)
