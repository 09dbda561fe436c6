"""Scores of a planted site, whose activations, simulations and tables are known, beside scikit-learn and a closed form."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from agents.explanation import Simulation
from analyzers.errors import Failed
from analyzers.evidence import SPLITS, Evidence, Excerpt, Moments, Split, Stratum
from analyzers.sites import Site
from evals.results import Failure, Value
from evals.site_scores import Simulations, best_of, score_site

STRATA: tuple[Stratum, ...] = ("top", "q95", "q75", "random")
RNG = np.random.default_rng(0)


def excerpts(split: Split) -> tuple[Excerpt, ...]:
    """Of a neuron that fires on " dog", more loudly in some documents, with a little noise everywhere."""
    made = []
    for number in range(16):
        tokens = tuple(RNG.choice([" dog", " cat", " a", " the"], size=12).tolist())
        noise = RNG.random(12) * 0.3
        activations = np.array([token == " dog" for token in tokens]) * (1 + number % 4) + noise
        made.append(Excerpt(f"{split}/{number}", 0, tokens, activations.astype(np.float32), STRATA[number % 4]))
    return tuple(made)


EVIDENCE = Evidence(Site(0, 0, "+"), {split: excerpts(split) for split in SPLITS}, Moments(1000, 0.0, 1.0, 0.01))


def levels(split: Split, signal: float) -> list[Simulation]:
    outcomes = []
    for excerpt in EVIDENCE.splits[split]:
        values = signal * np.array([token == " dog" for token in excerpt.tokens]) + RNG.random(12)
        outcomes.append(Simulation(values.astype(np.float32), np.ones(12, bool), "level"))
    return outcomes


def truth_of(split: Split, strata: tuple[str, ...] = STRATA) -> np.ndarray:
    return np.concatenate([excerpt.activations for excerpt in EVIDENCE.splits[split] if excerpt.stratum in strata])


def values_of(outcomes: list[Simulation], strata: tuple[str, ...] = STRATA) -> np.ndarray:
    return np.concatenate([outcome.values for outcome, e in zip(outcomes, EVIDENCE.splits["test"], strict=True) if e.stratum in strata])


async def test_every_score_of_the_explanation_stands_beside_the_same_of_its_controls() -> None:
    simulations = Simulations(
        calibrate=levels("calibrate", 5),
        calibrate_null=levels("calibrate", 0),
        test=levels("test", 5),
        test_null=levels("test", 0),
        shuffled=levels("test", 1),
        calibrate_shuffled=levels("calibrate", 1),
    )
    site = await score_site(EVIDENCE, 'the word "dog"', simulations, has_prior=True, seed=0)
    plain = {name for name in site.scores if "null_contrast" not in name}
    assert len(plain) == 7
    assert set(site.scores) == plain | {name for name in site.scores if "null_contrast" in name}
    assert set(site.controls["shuffled"]) == set(site.scores)
    for control in ("null", "token_lookup", "bigram_lookup", "lexical"):
        assert set(site.controls[control]) == plain
        assert all(isinstance(value, Value) for value in site.controls[control].values())

    # Calibration is fitted on its own split; R2 is scikit-learn's.
    def r2(on_test: list[Simulation], on_calibrate: list[Simulation]) -> float:
        fitted = LinearRegression().fit(np.concatenate([o.values for o in on_calibrate])[:, None], truth_of("calibrate"))
        return float(r2_score(truth_of("test"), fitted.predict(values_of(on_test)[:, None])))

    for of, on_test, on_calibrate in (
        (site.scores, simulations.test, simulations.calibrate),
        (site.controls["shuffled"], simulations.shuffled, simulations.calibrate_shuffled),
        (site.controls["null"], simulations.test_null, simulations.calibrate_null),
    ):
        value = of["r2_centred"]
        assert isinstance(value, Value)
        assert value.value == pytest.approx(r2(on_test, on_calibrate), abs=1e-5)  # type: ignore[arg-type]


async def test_kinds_of_excerpts_are_scored_alone_as_simulated_and_with_null_contrast() -> None:
    simulations = Simulations(
        calibrate=levels("calibrate", 5),
        calibrate_null=levels("calibrate", 0),
        test=(told := levels("test", 5)),
        test_null=(null := levels("test", 0)),
        shuffled=levels("test", 0),
        calibrate_shuffled=levels("calibrate", 0),
    )
    site = await score_site(EVIDENCE, "dogs", simulations, has_prior=True, seed=0)
    kinds: dict[str, tuple[str, ...]] = {**{stratum: (stratum,) for stratum in STRATA}, "top_and_random": ("top", "random")}
    assert list(site.by_stratum) == list(kinds)
    for kind, strata in kinds.items():
        truth, mine, empty = truth_of("test", strata), values_of(told, strata), values_of(null, strata)
        for name, prediction in (("pearson", mine), ("pearson_null_contrast", mine - empty)):
            value = site.by_stratum[kind][name]
            assert isinstance(value, Value)
            assert value.value == pytest.approx(np.corrcoef(truth, prediction)[0, 1], abs=1e-6)
            assert value.n == len(truth)


async def test_a_control_that_cannot_be_calibrated_says_so() -> None:
    same = Simulations(**{name: levels("test" if "cal" not in name else "calibrate", 5) for name in Simulations.__dataclass_fields__})
    site = await score_site(EVIDENCE, 'the word "horse"', same, has_prior=True, seed=0)
    assert all(isinstance(value, Failure) for value in site.controls["lexical"].values())


def test_the_best_is_the_first_of_those_that_do_alike_and_what_failed_is_the_worst() -> None:
    failed = Failed("select", "constant")
    assert best_of([0.1, 0.5, 0.5]) == 1
    assert best_of([failed, -1.0, failed]) == 1
    assert best_of([failed, failed]) == 0
