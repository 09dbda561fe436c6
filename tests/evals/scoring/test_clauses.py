"""What clauses add, for a scorer that says yes to the items that a clause is about."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzers.errors import Failed
from evals.results import Value
from evals.scoring.clauses import clauses, gains
from evals.scoring.judged import Answer, Judged, Measure
from evals.scoring.material import Material

MATERIAL = Material("L0.mlp.1", 1.0, ())
ITEMS = 60


class Reads:
    """60 items: 24 about cats, 12 about dogs, 24 about neither; right where a clause names what it is about and none names fish."""

    name = "reads"
    prompt = ""
    measure: Measure = "share"
    chance = 0.0

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    async def judge(self, explanations: Sequence[str], material: Material, *, seed: int) -> list[Judged | Failed]:
        self.asked.append(list(explanations))
        return [Failed("score", "silence") if "mute" in explanation else self._one(explanation) for explanation in explanations]

    def _one(self, explanation: str) -> Judged:
        about = ["cats"] * 24 + ["dogs"] * 12 + ["neither"] * 24
        right = [float(what in explanation and "fish" not in explanation) for what in about]
        return Judged(tuple(Answer(str(at), f"d{at // 2}", 1.0, share) for at, share in enumerate(right)))


async def test_gains_are_what_the_clauses_add() -> None:
    scorer = Reads()
    found = await gains(scorer, "cats; dogs; dogs again", MATERIAL, seed=0)
    assert [gain.clause for gain in found] == ["cats", "dogs", "dogs again"]
    values = [gain.gain for gain in found]
    assert all(isinstance(value, Value) for value in values)
    assert [value.value for value in values if isinstance(value, Value)] == pytest.approx([24 / ITEMS, 0, 0])
    first, second = values[:2]
    assert isinstance(first, Value)
    assert isinstance(second, Value)
    assert first.low > 0.1
    assert first.high < 0.7
    # Paired: clauses that say the same differ on no item, whatever is drawn.
    assert (second.low, second.high) == (0, 0)
    assert scorer.asked == [["cats; dogs; dogs again", "dogs; dogs again", "cats; dogs again", "cats; dogs"]]


async def test_a_wrong_clause_has_a_negative_gain() -> None:
    found = await gains(Reads(), "cats; fish", MATERIAL, seed=0)
    (cats, fish) = (gain.gain for gain in found)
    assert isinstance(cats, Value)
    assert isinstance(fish, Value)
    assert cats.value == 0
    assert fish.value == pytest.approx(-24 / ITEMS)
    assert fish.high < 0


async def test_a_single_clause_is_held_against_the_null_explanation() -> None:
    scorer = Reads()
    (gain,) = await gains(scorer, "cats", MATERIAL, seed=0)
    assert scorer.asked == [["cats", ""]]
    assert isinstance(gain.gain, Value)
    assert gain.gain.value == pytest.approx(24 / ITEMS)


async def test_what_failed_is_failed() -> None:
    cats, mute = await gains(Reads(), "cats; mute", MATERIAL, seed=0)
    assert isinstance(cats.gain, Failed)
    assert isinstance(mute.gain, Failed)
    assert await gains(Reads(), " ; ", MATERIAL, seed=0) == []


@pytest.mark.parametrize(
    ("explanation", "parts"),
    [
        ("one thing", ("one thing",)),
        ("a; b ;c", ("a", "b", "c")),
        ('the sign ";" in code; dates', ('the sign ";" in code', "dates")),
        ("\u201c;\u201d and `;`; x", ("\u201c;\u201d and `;`", "x")),
        ('5" pipes; nails', ('5" pipes', "nails")),
        ("", ()),
        (";; a;", ("a",)),
    ],
)
def test_semicolons_separate_unless_quoted(explanation: str, parts: tuple[str, ...]) -> None:
    assert clauses(explanation) == parts


@given(st.lists(st.text(st.characters(codec="ascii", exclude_characters=';"`'), min_size=1).map(str.strip).filter(bool), max_size=5))
def test_clauses_come_back_from_what_they_were_joined_to(parts: list[str]) -> None:
    assert clauses("; ".join(parts)) == tuple(parts)
