"""Claims on traces that are made up: seen where they are planted, and not seen where any control does as well."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from analyzers.tracing.trace import Elsewhere, Trace
from evals.results import Failure, Value
from evals.tracing.claims import claims
from evals.tracing.results import Claim
from evals.tracing.tables import Tables

LAYERS, KINDS = 12, ("residual", "mlp", "attention")
CLASSES = [None, "first_subject", "middle_subject", "middle_subject", "last_subject", "next", "further", "last"]


def made(seed: int, mlp: int = 5, attention: int = 9, size: float = 0.2) -> Trace:
    """With MLPs that restore at the last subject token in one layer, and attention at the last token in another."""
    rng = np.random.default_rng(seed)
    effects = {kind: rng.normal(size=(LAYERS, 7)) * 0.02 for kind in KINDS}
    effects["mlp"][mlp, 3] += size
    effects["attention"][attention, 6] += size
    cut = 0.8 - rng.normal(size=(2, LAYERS)) * 0.02
    cut[0, 7] -= size
    return Trace(
        tokens=["a"] * 8,
        classes=list(CLASSES),
        probability=0.8,
        corrupted=0.5 + 0.02 * rng.normal(),
        effects={kind: [[None, *row] for row in own.tolist()] for kind, own in effects.items()},
        random={at: {kind: (rng.normal(size=LAYERS) * 0.02).tolist() for kind in KINDS} for at in ("last_subject", "last")},
        elsewhere=Elsewhere([5, 6], 0.75, {kind: (rng.normal(size=LAYERS) * 0.02).tolist() for kind in KINDS}, cut[1].tolist()),
        lens={"probability": [0.1] * LAYERS, "rank": [2.0] * LAYERS},
        cut=cut[0].tolist(),
        uncut=0.8,
    )


def found(change: Callable[[Trace], Trace] = lambda trace: trace, **how: int) -> dict[str, Claim]:
    return claims(Tables([change(made(seed, **how)) for seed in range(25)], KINDS, LAYERS), seed=0)


def test_what_is_planted_is_seen() -> None:
    told = found()
    assert {name: claim.seen for name, claim in told.items()} == dict.fromkeys(
        ("subject_noise", "mlp_last_subject", "attention_last", "subject_attention"), True
    )
    assert told["mlp_last_subject"].peak == Value(value=5, low=5, high=5, n=25)
    assert (told["mlp_last_subject"].within, told["attention_last"].within) == ((3, 8), (6, 11))
    assert set(told["mlp_last_subject"].lifts) == {"other_tokens", "random", "elsewhere", "attention"}
    for claim in told.values():
        assert isinstance(claim.effect, Value)
        assert claim.effect.value == pytest.approx(0.3 if claim.peak is None else 0.2, abs=0.02)


@pytest.mark.parametrize(("mlp", "attention", "seen"), [(0, 9, (False, True)), (11, 9, (False, True)), (5, 2, (True, False))])
def test_a_peak_in_other_layers_is_not_what_is_claimed(mlp: int, attention: int, seen: tuple[bool, bool]) -> None:
    told = found(mlp=mlp, attention=attention)
    assert (told["mlp_last_subject"].seen, told["attention_last"].seen) == seen


def doing_as_well(trace: Trace, control: str) -> Trace:
    own = [row[4] for row in trace.effects["mlp"]]
    assert trace.elsewhere is not None
    values = [0.0 if value is None else value for value in own]
    if control == "random":
        return replace(trace, random={**trace.random, "last_subject": {**trace.random["last_subject"], "mlp": values}})
    if control == "elsewhere":
        return replace(trace, elsewhere=replace(trace.elsewhere, effects={**trace.elsewhere.effects, "mlp": values}))
    places = range(1, 8) if control == "other_tokens" else [4]
    kind = "mlp" if control == "other_tokens" else "attention"
    effects = [
        [own[layer] if place in places else value for place, value in enumerate(row)] for layer, row in enumerate(trace.effects[kind])
    ]
    return replace(trace, effects={**trace.effects, kind: effects})


@pytest.mark.parametrize("control", ["random", "elsewhere", "other_tokens", "attention"])
def test_it_is_not_seen_where_a_control_does_as_well(control: str) -> None:
    told = found(lambda trace: doing_as_well(trace, control))["mlp_last_subject"]
    assert not told.seen
    lift = told.lifts[control]
    assert isinstance(lift, Value)
    assert [lift.low, lift.value, lift.high] == pytest.approx([0, 0, 0])
    assert sum(isinstance(each, Value) and each.low > 0 for each in told.lifts.values()) == 3


def test_noise_alone_is_no_finding() -> None:
    told = found(lambda trace: replace(trace, corrupted=0.8, elsewhere=None), size=0)
    assert not any(claim.seen for claim in told.values())
    assert isinstance(told["subject_noise"].lifts["elsewhere"], Failure)


def test_classes_are_means_of_their_tokens_and_kinds_may_be_missing() -> None:
    trace = made(0)
    tables = Tables([trace, replace(trace, classes=[None, None, None, None, *CLASSES[4:]])], ("attention",), LAYERS)
    effects = tables.effects["attention"]
    own = np.array([row[1:] for row in trace.effects["attention"]], np.float64)
    np.testing.assert_allclose(effects[0, :, 1], own[:, 1:3].mean(1))
    np.testing.assert_allclose(effects[0, :, 5], own[:, 6])
    assert np.isnan(effects[1, :, :2]).all()
    assert set(claims(tables, seed=0)) == {"subject_noise", "attention_last", "subject_attention"}
    failed = replace(trace, cut="cannot", uncut=None)
    assert "subject_attention" not in claims(Tables([failed, failed], ("mlp",), LAYERS), seed=0)
