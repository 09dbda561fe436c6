"""Where wrong marks come to lie, against the tokens they must keep away from."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.evidence import Excerpt
from evals.scoring.mark_placing import draw_for, fires, moved, runs, shown, silent

TOKENS = ["The", " cat", " sat", ",", " and", " the", " dog", " ran", "."]


def excerpt(tokens: list[str], activations: list[float], start: int = 0) -> Excerpt:
    return Excerpt("document", start, tuple(tokens), np.array(activations, np.float32), "top")


def test_marks_are_shown_around_runs_and_no_text_can_pose_as_one() -> None:
    marked = np.array([False, True, True, False, False, False, True, False, False])
    assert shown(excerpt(TOKENS, [0] * 9), marked) == "The <<cat sat>>, and the <<dog>> ran."
    odd = excerpt(["a", " <<b>>", "\n", " c"], [0] * 4)
    assert shown(odd, np.array([False, False, False, True])) == "a <<b>>\\n <<<c>>>"


def test_firing_and_silent_tokens_leave_out_what_is_neither() -> None:
    some = excerpt(["a", " b", " c", " ", " d"], [9.0, 3.0, 2.9, 0.0, 0.9])
    assert fires(some, 10.0).tolist() == [True, True, False, False, False]
    assert silent(some, 10.0).tolist() == [False, False, False, False, True]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=30), st.integers(0, 5))
def test_wrong_marks_are_as_many_and_on_free_tokens_only(drawn: list[tuple[bool, bool, bool]], seed: int) -> None:
    right = np.array([fires for fires, _, _ in drawn])
    free = np.array([quiet and not fires for fires, quiet, _ in drawn])
    tokens = [" word" if word else "," for _, _, word in drawn]
    wrong = moved(right, free, tokens, np.random.default_rng(seed))
    if wrong is None:
        assert free.sum() < right.sum() or len(runs(right)) > 1
    else:
        assert wrong.sum() == right.sum()
        assert not (wrong & ~free).any()
    if right.sum() <= free.sum() and len(runs(right)) <= 1:
        assert wrong is not None


def test_wrong_marks_have_the_shape_and_the_sort_of_the_right_ones() -> None:
    tokens = [" word", ","] * 20
    right = np.zeros(40, np.bool_)
    right[[4, 5, 6, 12, 21]] = True  # a run of three from a word on, a word, a sign
    free = ~right
    for seed in range(20):
        wrong = moved(right, free, tokens, np.random.default_rng(seed))
        assert wrong is not None
        found = sorted((run.stop - run.start, tokens[run.start]) for run in runs(wrong))
        assert found == [(1, " word"), (1, ","), (3, " word")] or found == sorted([(3, " word"), (1, " word"), (1, ",")])


def test_draws_depend_on_the_excerpt_and_the_seed_alone() -> None:
    right, free = np.arange(9) == 1, np.arange(9) > 3

    def draws(seed: int, start: int) -> list[int]:
        rng = draw_for(seed, excerpt(TOKENS, [0] * 9, start))
        wrong = [moved(right, free, TOKENS, rng) for _ in range(8)]
        return [int(np.flatnonzero(marks)[0]) for marks in wrong if marks is not None]

    assert draws(1, 0) == draws(1, 0)
    assert draws(1, 0) != draws(2, 0)
    assert draws(1, 0) != draws(1, 1)
    assert len(draws(1, 0)) == 8


@pytest.mark.parametrize("marked", [[], [True], [False, True, True, False, True]])
def test_runs_cover_the_marks(marked: list[bool]) -> None:
    found = runs(np.array(marked, np.bool_))
    assert [place for run in found for place in range(run.start, run.stop)] == [place for place, mark in enumerate(marked) if mark]
