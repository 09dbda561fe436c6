"""Rankings that read no model, against texts counted by hand, and lifts over the best of them against a loop over prompts."""

from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.units import Units, cut
from evals.continuation_controls import control_values, lift
from evals.results import Failure, Lift


def test_controls_of_a_text_counted_by_hand() -> None:
    units = cut("The river rises, a bit", "word")
    assert units.texts == ("The", "river", "rises", ",", "a", "bit")
    found = control_values(units, [[9], [99, 999], [9999], [1], [4], []], None)
    assert found["later-first"] == [0, 1, 2, 3, 4, 5]
    assert found["earlier-first"] == [5, 4, 3, 2, 1, 0]
    assert found["longer-first"] == [3, 5, 5, 1, 1, 3]
    # ln(1 + id), summed: two tokens are rarer than either, and a unit without tokens of its own is not rare.
    assert found["rarer-first"] == pytest.approx([log(10), log(100) + log(1000), log(10000), log(2), log(5), 0])
    assert set(found) == {"later-first", "earlier-first", "longer-first", "rarer-first"}
    # Characters between the unit and the masks, which stand at 10 to 15.
    assert control_values(units, [[1]] * 6, (10, 15))["nearer-first"] == [-7, -1, 0, 0, -2, -4]
    # Of a token its spaces are no characters.
    assert control_values(Units("a  b", ((0, 1), (1, 4))), [[1], [2]], None)["longer-first"] == [1, 1]


FIGURES = st.lists(st.one_of(st.none(), st.integers(-8, 8).map(lambda each: each / 8)), min_size=6, max_size=6)


@given(FIGURES, FIGURES, FIGURES)
@settings(deadline=None, max_examples=150)
def test_the_lift_is_over_the_best_control_on_the_prompts_that_both_have(
    mine: list[float | None], one: list[float | None], two: list[float | None]
) -> None:
    found = lift("deletion", mine, {"one": one, "two": two})
    own = [at for at in range(6) if mine[at] is not None]
    means, differences = {}, {}
    for name, theirs in (("one", one), ("two", two)):
        both = [at for at in own if theirs[at] is not None]
        if both and len(own) - len(both) <= len(own) / 5:
            means[name] = sum(theirs[at] or 0 for at in both) / len(both)
            differences[name] = [(mine[at] or 0) - (theirs[at] or 0) for at in both]
    if not means:
        assert isinstance(found, Failure)
        assert "no control with deletion" in found.reason
        return
    best = max(means, key=lambda name: means[name])
    if len(differences[best]) < 2:
        assert isinstance(found, Failure)
        assert "two units" in found.reason
        return
    assert isinstance(found, Lift)
    assert means[found.over] == pytest.approx(means[best])
    assert found.value == pytest.approx(np.mean(differences[found.over]))
    assert found.n == len(differences[found.over])
    assert min(differences[found.over]) - 1e-9 <= found.low <= found.value + 1e-9
    assert found.value - 1e-9 <= found.high <= max(differences[found.over]) + 1e-9


def test_a_control_on_chosen_prompts_is_passed_over() -> None:
    mine, few, all_of_them = [0.5] * 10, [*[0.9] * 7, *[None] * 3], [0.1] * 10
    found = lift("occlusion", mine, {"few": few, "all": all_of_them})
    assert isinstance(found, Lift)
    assert (found.over, found.n, found.value) == ("all", 10, pytest.approx(0.4))
    found = lift("occlusion", mine, {"few": [*[0.9] * 8, None, None], "all": all_of_them})
    assert isinstance(found, Lift)
    assert (found.over, found.n, found.value) == ("few", 8, pytest.approx(-0.4))
    assert isinstance(lift("occlusion", mine, {}), Failure)
    assert isinstance(lift("occlusion", [None] * 10, {"all": all_of_them}), Failure)
