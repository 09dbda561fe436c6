"""The choice of a head's role and its interval, against plain means, another bootstrap and cases that are known."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap

from analyzers.attention import Role
from evals.attention import HeadRoles
from evals.attention_roles import LEAST, head_roles
from evals.statistics import mean

ROLES: tuple[Role, ...] = ("previous", "first", "self", "duplicate", "induction")
CHANCE: dict[Role, float] = dict(zip(ROLES, (0.02, 0.03, 0.04, 0.05, 0.06), strict=True))


def one_head(**shares: list[float]) -> HeadRoles:
    """Roles of a single head; roles that are not given get nothing."""
    sequences = len(next(iter(shares.values())))
    found = head_roles({role: np.reshape(shares.get(role, [0.0] * sequences), (-1, 1, 1)) for role in ROLES}, CHANCE)
    assert len(found) == 1
    return found[0]


def test_equal_shares_are_the_score_with_no_width() -> None:
    found = one_head(induction=[0.75] * 5, first=[0.25] * 5)
    assert found.role == "induction"
    assert list(found.scores) == list(ROLES)
    score = found.scores["induction"]
    assert (score.value, score.low, score.high, score.n, score.chance) == (0.75, 0.75, 0.75, 5, 0.06)
    assert found.scores["first"].value == 0.25


def test_a_role_needs_its_whole_interval_above_the_least(monkeypatch: pytest.MonkeyPatch) -> None:
    assert one_head(first=[LEAST - 0.01] * 8).role is None
    assert one_head(first=[LEAST + 0.01] * 8).role == "first"
    unsure = one_head(first=[0.0, 0.9] * 4)
    assert unsure.scores["first"].value > LEAST > unsure.scores["first"].low
    assert unsure.role is None
    monkeypatch.setattr("evals.attention_roles.LEAST", 0.25)
    assert one_head(first=[0.25] * 8).role is None


def test_a_surer_but_smaller_share_does_not_take_the_place_of_the_largest() -> None:
    assert one_head(first=[0.0, 1.0] * 4, previous=[0.4] * 8).role is None
    assert one_head(first=[0.5] * 8, previous=[0.4] * 8).role == "first"


def test_heads_come_layer_by_layer() -> None:
    shares = np.zeros((4, 2, 3))
    shares[:, 1, 2] = 0.8
    shares[:, 0, 1] = 0.7
    found = head_roles({"self": shares, "first": shares / 10}, CHANCE)
    assert [(one.layer, one.head) for one in found] == [(layer, head) for layer in range(2) for head in range(3)]
    assert {(one.layer, one.head): one.role for one in found if one.role} == {(0, 1): "self", (1, 2): "self"}


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), sequences=st.integers(2, 20))
def test_scores_are_means_with_the_interval_of_every_other_mean(seed: int, sequences: int) -> None:
    draw = np.random.default_rng(seed)
    parts: npt.NDArray[np.float64] = draw.dirichlet(np.full(len(ROLES) + 1, 0.3), size=(sequences, 2, 2))
    found = head_roles({role: parts[..., number] for number, role in enumerate(ROLES)}, CHANCE, seed=seed)
    for one in found:
        for number, role in enumerate(ROLES):
            expected = mean(parts[:, one.layer, one.head, number], seed=seed)
            score = one.scores[role]
            assert score.model_dump(exclude={"chance"}) == pytest.approx(expected.model_dump(), abs=1e-12)  # type: ignore[union-attr]
            assert score.chance == CHANCE[role]
        largest = max(one.scores, key=lambda role: one.scores[role].value)
        assert one.role == (largest if one.scores[largest].low > LEAST else None)


def test_the_interval_is_that_of_another_bootstrap() -> None:
    values = np.random.default_rng(3).beta(2, 3, size=16)
    score = one_head(previous=values.tolist()).scores["previous"]
    other = bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", random_state=0).confidence_interval
    assert score.low == pytest.approx(other.low, abs=0.02)
    assert score.high == pytest.approx(other.high, abs=0.02)


def test_the_same_seed_gives_the_same_interval_and_one_sequence_gives_none() -> None:
    values = {"first": np.random.default_rng(0).random((6, 1, 1))}
    assert head_roles(values, CHANCE, seed=1) == head_roles(values, CHANCE, seed=1)  # type: ignore[arg-type]
    assert head_roles(values, CHANCE, seed=1) != head_roles(values, CHANCE, seed=2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least two"):
        head_roles({"first": np.ones((1, 1, 1))}, CHANCE)
