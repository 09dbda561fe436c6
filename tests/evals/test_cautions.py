"""Each caution appears where its reason holds, and nowhere else."""

from typing import Any

import pytest

from evals.cautions import cautions
from evals.results import Failure, Instrument, Lift, SiteResult, Value

FAILED = Failure(stage="score", reason="constant")


def value(number: float, low: float, high: float) -> Value:
    return Value(value=number, low=low, high=high, n=100)


def instrument(auroc: Value | Failure) -> Instrument:
    return Instrument(simulator="s", auroc=auroc, within=auroc, kinds={}, cannot_judge=[])


GOOD = instrument(value(0.8, 0.7, 0.9))


def site(**changes: Any) -> SiteResult:
    """A site that nothing stands against, with changes."""
    fields: dict[str, Any] = {
        "site": "L1.mlp.2",
        "polarity": "+",
        "explanation": "x",
        "explainer": "e",
        "simulator": "s",
        "scores": {"pearson": value(0.1, 0.0, 0.2), "pearson_null_contrast": value(0.6, 0.5, 0.7)},
        "controls": {"shuffled": {"pearson": value(0.9, 0.8, 1.0), "pearson_null_contrast": value(0.1, 0.0, 0.2)}},
        "lift": Lift(value=0.2, low=0.1, high=0.3, n=100, over="token_lookup", score="pearson_null_contrast"),
        "q_value": 0.01,
    }
    return SiteResult(**fields | changes)


def lift(number: float, low: float, high: float) -> Lift:
    return Lift(value=number, low=low, high=high, n=100, over="bigram_lookup", score="pearson_null_contrast")


def tags(found: SiteResult, tested: Instrument | None = GOOD) -> list[str]:
    return [caution.tag for caution in cautions(found, tested)]


def test_nothing_stands_against_a_specific_score_above_its_controls_by_a_tested_instrument() -> None:
    assert tags(site()) == []


@pytest.mark.parametrize(
    ("tested", "tag"),
    [
        (None, "untested"),
        (instrument(FAILED), "untested"),
        (instrument(value(0.6, 0.5, 0.7)), "instrument at chance"),
        (instrument(value(0.1, 0.0, 0.2)), "instrument at chance"),
    ],
)
def test_an_instrument_must_be_better_than_chance(tested: Instrument | None, tag: str) -> None:
    assert tags(site(), tested) == [tag]


@pytest.mark.parametrize(
    ("changes", "tag"),
    [
        ({"q_value": 0.05}, "not significant"),
        ({"q_value": None}, "not significant"),
        ({"lift": lift(0.1, 0.0, 0.2)}, "no lift"),
        ({"lift": lift(-0.2, -0.3, -0.1)}, "below look-up"),
        ({"lift": FAILED}, "no comparison"),
        ({"controls": {"shuffled": {"pearson_null_contrast": value(0.6, 0.5, 0.7)}}}, "not specific"),
        # The headline of a simulator without a prior is the plain score.
        ({"scores": {"pearson": value(0.8, 0.7, 0.9)}}, "not specific"),
    ],
)
def test_each_reason_is_named(changes: dict[str, Any], tag: str) -> None:
    assert tags(site(**changes)) == [tag]


def test_a_look_up_that_does_as_well_is_named_with_the_lift() -> None:
    (caution,) = cautions(site(lift=lift(-0.2, -0.3, -0.1)), GOOD)
    assert caution.text == ("A look-up of the token and the one before does better, without a language model: lift -0.20 [-0.30, -0.10].")


def test_a_site_without_a_score_needs_no_caution_beside_its_failure() -> None:
    assert tags(site(scores={"pearson": FAILED}, lift=FAILED), None) == []
