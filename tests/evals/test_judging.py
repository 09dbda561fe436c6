"""What a run makes of the answers of scorers: figures beside controls, and failures that stay."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from agents.explanation import Explanation
from analyzers.errors import Failed, LimitReached
from analyzers.progress import quiet
from analyzers.sites import Site
from evals.judging import Said, answers_of, ensemble_of, judge, results_of, scorer_result
from evals.results import Failure, ScorerResult, Value
from evals.scoring.judged import Answer, Judged, Measure, Role
from evals.scoring.material import Material
from evals.work import Work

TRUTH = [1, 0] * 10
SHARES = {"cats": 1.0, "dogs": 0.4, "": 0.0}


class Knows:
    """Says of each item its truth times what the explanation is worth, and some noise; of `blind` the same whatever the explanation."""

    name = "knows(test)"
    prompt = "0"
    measure: Measure = "auroc"
    role: Role = "items"
    chance = 0.5

    def __init__(self, *, blind: bool = False, calls: int | None = None) -> None:
        self.blind = blind
        self.left = calls

    async def judge(self, explanations: Sequence[str], material: Material, *, seed: int) -> list[Judged | Failed]:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise LimitReached("1 calls were made")
        noise = np.random.default_rng(0).random(len(TRUTH))
        outcomes: list[Judged | Failed] = []
        for text in explanations:
            predictions = [SHARES[text] * truth / 2 + each / 2 for truth, each in zip(TRUTH, noise.tolist(), strict=True)]
            rows = [Answer(str(at), f"d{at}", float(TRUTH[at]), value, "top") for at, value in enumerate(predictions)]
            outcomes.append(Judged(tuple(rows)))
        return [outcomes[0]] * len(explanations) if self.blind else outcomes


def work(shuffled: str | Failed = "dogs") -> Work:
    found = Work(Site(0, 1), cast(Any, SimpleNamespace()), ())
    found.chosen, found.shuffled, found.material = Explanation("cats", "test", "0"), shuffled, Material("L0.mlp.1", 1.0, ())
    return found


async def judged(scorer: Knows, one: Work) -> ScorerResult | Failure:
    await judge([one], {"knows": scorer}, lent=False, seed=0, report=quiet, at_once=1)
    return scorer_result(scorer, one.said["knows"], None, 0)


async def test_figures_stand_beside_those_of_another_explanation_and_of_none() -> None:
    found = await judged(Knows(), work())
    assert isinstance(found, ScorerResult)
    assert isinstance(found.lift, Value)
    noise = np.random.default_rng(0).random(len(TRUTH)) / 2
    own, other, null = (roc_auc_score(TRUTH, np.array(TRUTH) * share / 2 + noise) for share in (1, 0.4, 0))
    values = [found.scores["auroc"], found.controls["shuffled"]["auroc"], found.controls["null"]["auroc"]]
    assert [value.value for value in values if isinstance(value, Value)] == pytest.approx([own, other, null])
    assert found.lift.value == pytest.approx(own - other)
    assert found.warning is not None


async def test_a_scorer_that_reads_no_explanation_has_no_lift() -> None:
    found = await judged(Knows(blind=True), work())
    assert isinstance(found, ScorerResult)
    assert found.lift is None
    assert found.scores == found.controls["shuffled"]


async def test_an_explanation_that_is_lacking_is_a_failure_and_no_figure() -> None:
    nothing = Failed("shuffle", "no other site has an explanation")
    found = await judged(Knows(), work(nothing))
    assert isinstance(found, ScorerResult)
    assert found.lift == Failure(stage="shuffle", reason=nothing.reason)
    assert found.controls["shuffled"] == {"auroc": found.lift}
    assert isinstance(found.controls["null"]["auroc"], Value)
    bare = work()
    bare.material = None
    assert await judged(Knows(), bare) == Failure(stage="score", reason="there are no items to judge on")
    silent = work()
    silent.chosen = None
    await judge([silent], {"knows": Knows()}, lent=False, seed=0, report=quiet, at_once=1)
    assert not silent.said


async def test_a_limit_that_stops_a_scorer_is_known_to_the_run() -> None:
    works = [work(), work()]
    await judge(works, {"knows": Knows(calls=1)}, lent=False, seed=0, report=quiet, at_once=1)
    assert isinstance(works[0].said["knows"], Said)
    assert works[0].failures == []
    stopped = Failed("budget", "1 calls were made")
    assert works[1].said["knows"] == stopped
    assert works[1].failures == [stopped]
    rows = list(answers_of(works))
    assert len(rows) == 3 * len(TRUTH)
    assert {row["of"] for row in rows} == {"explanation", "shuffled", "null"}


async def test_an_ensemble_ranks_the_explanation_against_all_that_its_members_judged() -> None:
    one, other = work(), work()
    other.chosen = Explanation("dogs too", "test", "0")
    one.stand_ins = ("stand in",)
    SHARES.update({"dogs too": 0.6, "stand in": 0.1})
    scorers: dict[str, Any] = {"knows": Knows(), "blind": Knows(blind=True)}
    await judge([one, other], scorers, lent=True, seed=0, report=quiet, at_once=1)
    # shuffled, another site's, a stand-in and the null explanation: the member that is blind adds the same to each
    found = ensemble_of(one, scorers)
    assert isinstance(found, Judged)
    assert [answer.prediction for answer in found.answers] == [1.0, 1.0, 1.0, 1.0]
    below = ensemble_of(other, scorers)
    assert isinstance(below, Judged)
    assert [answer.prediction for answer in below.answers] == [1.0, 0.0, 1.0]
    result = results_of(other, scorers, {}, 0)["ensemble"]
    assert isinstance(result, ScorerResult)
    assert isinstance(result.scores["share"], Value)
    assert result.scores["share"].value == pytest.approx(2 / 3)
    assert result.warning is not None


async def test_an_ensemble_needs_two_members_and_fails_with_one_that_failed() -> None:
    one = work()
    apart = Knows(blind=True)
    apart.role = "apart"
    alone: dict[str, Any] = {"knows": Knows(), "apart": apart}
    await judge([one], alone, lent=True, seed=0, report=quiet, at_once=1)
    assert ensemble_of(one, alone) is None
    both: dict[str, Any] = {"knows": Knows(), "spent": Knows(calls=0)}
    two = work()
    await judge([two], both, lent=True, seed=0, report=quiet, at_once=1)
    assert isinstance(ensemble_of(two, both), Failed)
    assert isinstance(results_of(two, both, {}, 0)["ensemble"], Failure)
