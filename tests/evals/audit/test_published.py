"""The published formulas on cases small enough to be worked out by hand, defects included."""

import pytest

from analyzers.errors import Failed
from analyzers.units import Kept
from evals.audit.published import Answer, published


def answers(table: dict[str, tuple[int, float]]):  # type: ignore[no-untyped-def]
    """From `ab`: which of the units a, b, ... are kept."""

    def answer(kept: Kept) -> Answer | Failed:
        key = "".join("abc"[unit] for unit in sorted(kept))
        return (bool(table[key][0]), table[key][1]) if key in table else Failed("replay", "missing")

    return answer


def test_a_positive_prediction_by_hand() -> None:
    table = {"ab": (1, 0.9), "b": (1, 0.7), "a": (0, 0.6), "": (0, 0.5)}
    found = published([0.5, 0.2], [0, 1], answers(table))
    # x without a: .9 - .7; x without both: .9 - .5; over n + 1 = 3.
    assert found["comprehensiveness"] == pytest.approx((0.2 + 0.4) / 3)
    # Nothing kept: |.9 - .5|; a kept: |.9 - .4|; both: 0.
    assert found["sufficiency"] == pytest.approx((0.4 + 0.5) / 3)
    assert found["df_mit"] == 0
    # The empty text was answered 0: a flip at the second step, of n + 1.
    assert found["df_frac"] == pytest.approx(2 / 3)
    # Differences of stated confidences, whatever the label: a .9 - .7, b .9 - .6.
    assert found["deletion_rank"] == pytest.approx(-1)


def test_the_reference_of_a_negative_prediction_turns_at_every_step() -> None:
    table = {"abc": (0, 0.8), "bc": (0, 0.8), "c": (0, 0.8), "b": (0, 0.8), "a": (0, 0.8), "ab": (0, 0.8), "ac": (0, 0.8)}
    found = published([0.3, 0.2, 0.1], [0, 1, 2], answers(table))
    # The model never changes, so every difference should be 0 but for the empty text; the published ones are .2 - .2, .8 - .2, .8 - .5.
    assert found["comprehensiveness"] == pytest.approx((0.0 + 0.6 + 0.3) / 4)
    # The empty text has no recorded answer: no flip.
    assert found["df_frac"] == 1


def test_a_text_without_an_answer_fails_the_item() -> None:
    table = {"ab": (1, 0.9), "b": (1, 0.7)}
    assert set(published([0.5, 0.2], [0, 1], answers(table)).values()) == {Failed("replay", "missing")}
