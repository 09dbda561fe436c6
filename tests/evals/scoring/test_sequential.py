"""Stopping early: what is asked, what is left out, and whether intervals still hold what they should."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from analyzers.errors import Failed
from analyzers.evidence import Excerpt
from evals.results import Value
from evals.scoring.judged import Answer, Judged, Measure, Role
from evals.scoring.material import Item, Material
from evals.scoring.measures import Corrected, measured
from evals.scoring.sequential import Sequential, in_parts


def material(firing: int, silent: int) -> Material:
    items = tuple(
        Item(Excerpt(f"document {i}", 0, (f" {i}",), np.array([10.0 * (i < firing)], np.float32), "random"), i < firing, "random")
        for i in range(firing + silent)
    )
    return Material("L0.mlp.0", 10.0, items)


class Noisy:
    """Says of each item how much it fires and an error of its own: an AUROC known beforehand for each explanation, `effect` in words."""

    name = "noisy"
    prompt = ""
    measure: Measure = "auroc"
    role: Role = "items"
    chance = 0.5

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.asked: list[tuple[tuple[str, ...], tuple[str, ...]]] = []

    async def judge(self, explanations: Sequence[str], material: Material, *, seed: int) -> list[Judged | Failed]:
        self.asked.append((tuple(explanations), tuple(item.excerpt.key for item in material.items)))
        return [self.one(text, material) for text in explanations]

    def one(self, explanation: str, material: Material) -> Judged | Failed:
        if explanation == "broken" and len(self.asked) > 1:
            return Failed("score", "broken")
        answers = []
        for item in material.items:
            noise = np.random.default_rng([self.seed, int(item.excerpt.tokens[0])]).normal()
            effect = 0.0 if explanation == "broken" else float(explanation)
            answers.append(Answer(item.excerpt.key, item.excerpt.document, float(item.fires), item.fires * effect + noise, item.group))
        return Judged(tuple(answers))


def judge(scorer: Noisy, explanations: Sequence[str], items: Material, *, width: float, looks: int = 4) -> list[Judged | Failed]:
    return asyncio.run(Sequential(scorer, width=width, looks=looks).judge(explanations, items, seed=scorer.seed))


def test_a_clear_case_stops_early_and_an_unclear_one_does_not() -> None:
    scorer = Noisy(0)
    items = material(40, 40)
    clear, unclear = judge(scorer, ["6", "0.1"], items, width=0.3)
    assert isinstance(clear, Corrected)
    assert isinstance(unclear, Corrected)
    assert clear.saved > 0
    assert len(clear.answers) + clear.saved == len(unclear.answers) == 80
    assert unclear.saved == 0
    assert clear.level == unclear.level == pytest.approx(1 - 0.05 / 4)
    # The one that is known is not asked about any more.
    assert scorer.asked[0][0] == ("6", "0.1")
    assert scorer.asked[-1][0] == ("0.1",)
    # All items once, each part with both sorts.
    assert sorted(key for _, part in scorer.asked for key in part) == sorted(item.excerpt.key for item in items.items)


def test_the_answers_of_all_items_are_those_without_parts() -> None:
    items = material(10, 14)
    (parted,) = judge(Noisy(1), ["1"], items, width=1e-9)
    (whole,) = asyncio.run(Noisy(1).judge(["1"], items, seed=0))
    assert isinstance(parted, Judged)
    assert isinstance(whole, Judged)
    assert set(parted.answers) == set(whole.answers)
    assert parted.saved == 0


def test_the_wanted_width_is_reached_or_all_is_asked() -> None:
    for seed in range(10):
        (told,) = judge(Noisy(seed), ["2"], material(40, 40), width=0.3)
        assert isinstance(told, Corrected)
        value = measured(told, "auroc", draws=4000)["auroc"]
        assert isinstance(value, Value)
        assert told.saved == 0 or value.high - value.low <= 0.33  # as far as resampling tells


def test_a_perfect_score_on_few_items_is_not_enough() -> None:
    (told,) = judge(Noisy(2), ["50"], material(8, 8), width=0.3)
    assert isinstance(told, Corrected)
    assert told.saved == 0
    value = measured(told, "auroc")["auroc"]
    assert isinstance(value, Value)
    assert value.value == 1
    assert value.low == pytest.approx((0.05 / 8) ** (1 / 8))


@pytest.mark.parametrize(("effect", "auroc"), [("0", 0.5), ("1.2", 0.802), ("2.3", 0.948)])
def test_intervals_cover_the_truth_though_looks_decided_when_to_stop(effect: str, auroc: float) -> None:
    items, runs = material(60, 60), 150
    covered, asked = 0, 0
    for seed in range(runs):
        (told,) = judge(Noisy(seed), [effect], items, width=0.3)
        assert isinstance(told, Corrected)
        value = measured(told, "auroc", draws=400, seed=seed)["auroc"]
        assert isinstance(value, Value)
        covered += value.low <= auroc <= value.high
        asked += len(told.answers)
    # 95 % less two standard errors of 150 runs
    assert covered / runs >= 0.95 - 2 * np.sqrt(0.95 * 0.05 / runs)
    assert asked < 0.9 * runs * len(items.items) if effect != "0" else asked <= runs * len(items.items)


def test_a_part_that_fails_fails_its_explanation_alone() -> None:
    broken, fine = judge(Noisy(3), ["broken", "0.2"], material(20, 20), width=0.01)
    assert broken == Failed("score", "broken")
    assert isinstance(fine, Judged)
    assert len(fine.answers) == 40


@pytest.mark.parametrize(("firing", "silent", "parts"), [(40, 40, 4), (8, 40, 4), (5, 40, 2), (1, 40, 1), (0, 9, 4), (0, 0, 0)])
def test_parts_have_their_share_of_both_sorts(firing: int, silent: int, parts: int) -> None:
    items = material(firing, silent).items
    cut = in_parts(items, 4, seed=5)
    assert len(cut) == parts
    assert sorted(item.excerpt.key for part in cut for item in part) == sorted(item.excerpt.key for item in items)
    for part in cut:
        assert sum(item.fires for item in part) == pytest.approx(firing / parts, abs=1.01)
    if firing == silent == 40:
        fires = [item.fires for part in cut for item in part]
        assert all(one is not other for one, other in zip(fires[::2], fires[1::2], strict=True))
        assert cut == in_parts(items, 4, seed=5)
        assert cut != in_parts(items, 4, seed=6)


def test_nothing_to_ask_is_failed_and_no_plan_refused() -> None:
    (outcome,) = judge(Noisy(0), ["1"], material(0, 0), width=0.1)
    assert isinstance(outcome, Failed)
    with pytest.raises(ValueError, match="no plan"):
        Sequential(Noisy(0), looks=0)


class Ordering(Noisy):
    """Its predictions are no probabilities."""

    def one(self, explanation: str, material: Material) -> Judged | Failed:
        found = super().one(explanation, material)
        return found if isinstance(found, Failed) else Judged(found.answers, probabilities=False)


def test_predictions_that_only_order_stay_so() -> None:
    (told,) = judge(Ordering(0), ["2"], material(20, 20), width=0.3)
    assert isinstance(told, Corrected)
    assert not told.probabilities
    assert set(measured(told, "auroc")) == {"auroc", "auroc/random"}


class Twice(Noisy):
    """Asks two questions an item, as scorers that show marks do."""

    def questions(self, material: Material, seed: int) -> list[str] | Failed:
        return [f"{item.excerpt.key} {half}" for item in material.items for half in ("right", "wrong")]


def test_what_is_saved_is_questions() -> None:
    once, twice = (judge(made(0), ["6"], material(40, 40), width=0.3)[0] for made in (Noisy, Twice))
    assert isinstance(once, Judged)
    assert isinstance(twice, Judged)
    assert 0 < 2 * once.saved == twice.saved


def test_a_scorer_that_needs_all_items_together_cannot_stop() -> None:
    scorer = Noisy(0)
    scorer.role = "whole"
    with pytest.raises(ValueError, match="does not judge item by item"):
        Sequential(scorer)
