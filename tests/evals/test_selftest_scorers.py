"""Scorers on planted neurons: those that know the truth, know nothing, like length, or fail."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from analyzers.embeddings import Embedder
from analyzers.errors import AssetError, Failed, ProviderError
from evals.kept_tests import identity, known
from evals.label_config import Limits
from evals.planted import planted
from evals.results import Failure, Value
from evals.scorers import SCORERS
from evals.scoring.ensemble import ENSEMBLE
from evals.scoring.judged import Answer, Judged, Measure, Role
from evals.scoring.material import Material
from evals.selftest_run import run_scorer_tests
from evals.selftest_scorers import ScorerTest, try_ensemble, try_scorer

NEURONS = planted()
TRUE = {neuron.name: neuron.explanation for neuron in NEURONS}

Says = Callable[[str, Material], float | Failed]


class Fake:
    """A scorer whose figure of an explanation is what a function says."""

    prompt = ""
    measure: Measure = "share"
    role: Role = "whole"
    chance = 0.5

    def __init__(self, says: Says, name: str = "fake") -> None:
        self.name = name
        self._says = says

    async def judge(self, explanations: Sequence[str], material: Material, *, seed: int) -> list[Judged | Failed]:
        said = [self._says(text, material) for text in explanations]
        return [each if isinstance(each, Failed) else Judged((Answer("all", "all", 1.0, each),)) for each in said]


def knows(text: str, material: Material) -> float:
    return float(text == TRUE[material.site])


def number(value: Value | Failure | None) -> float:
    assert isinstance(value, Value)
    return value.value


async def test_a_scorer_that_knows_the_truth_judges_every_kind() -> None:
    found = await try_scorer(Fake(knows), NEURONS)
    assert found.judged == list(found.kinds)
    assert number(found.overall.within) == number(found.overall.auroc) == number(found.overall.first) == number(found.overall.longer) == 1
    assert found.instrument.cannot_judge == []


async def test_a_scorer_that_says_the_same_of_all_judges_nothing() -> None:
    found = await try_scorer(Fake(lambda text, _: 0.3), NEURONS)
    assert found.judged == []
    assert number(found.overall.within) == number(found.overall.auroc) == number(found.overall.longer) == 0.5


async def test_liking_length_shows_where_lengths_are_equal_or_against_it() -> None:
    found = await try_scorer(Fake(lambda text, _: min(1.0, len(text) / 200)), NEURONS)
    naive = [
        (len(false) < len(neuron.explanation)) + 0.5 * (len(false) == len(neuron.explanation))
        for neuron in NEURONS
        for false in neuron.false_explanations
    ]
    assert number(found.overall.within) == pytest.approx(sum(naive) / len(naive))
    assert number(found.kinds["conditional"].within) > 0.8
    at_least = [len(n.explanation) == len(false) for n in NEURONS for false in n.false_explanations if len(false) >= len(n.explanation)]
    assert number(found.overall.longer) == pytest.approx(0.5 * sum(at_least) / len(at_least))
    assert number(found.overall.longer) < 0.5


async def test_a_scorer_that_fails_on_a_kind_loses_its_pairs_and_does_not_judge_it() -> None:
    def says(text: str, material: Material) -> float | Failed:
        kind = next(neuron.kind for neuron in NEURONS if neuron.name == material.site)
        return Failed("score", "no items") if kind == "position" else knows(text, material)

    found = await try_scorer(Fake(says), NEURONS)
    assert "position" not in found.judged
    assert found.n_failed == sum(1 + len(neuron.false_explanations) for neuron in NEURONS if neuron.kind == "position")
    assert found.kinds["position"].unranked == found.kinds["position"].pairs
    assert number(found.overall.within) == pytest.approx(1 - found.kinds["position"].pairs / found.overall.pairs)


async def test_an_ensemble_of_the_knowing_and_the_ignorant_still_knows() -> None:
    tests = {name: await try_scorer(Fake(says, name), NEURONS) for name, says in (("knows", knows), ("nothing", lambda text, _: 0.3))}
    both = try_ensemble("both", tests, NEURONS)
    assert both.members == ["knows", "nothing"]
    assert number(both.overall.within) == 1


SCRIPT = {
    "rules": [{"contains": 'the word "river"', "reply": {"options": {" yes": -0.1, " no": -3.0}}}],
    "default": {"options": {" yes": -1.0, " no": -0.5, **{f" {number}": -1.6 for number in range(1, 6)}}},
    "capabilities": ["chat", "choice"],
}


@pytest.fixture
def script(workplace: Path) -> str:
    (workplace / "script.json").write_text(json.dumps(SCRIPT))
    return "scripted:script.json"


async def test_results_are_kept_for_runs_and_what_cannot_be_served_is_told(script: str, workplace: Path) -> None:
    found = await run_scorer_tests(script, ["detection", "fuzzing", "intruder"], None, limits=Limits())
    assert list(found.tests) == ["detection", "fuzzing", "intruder", ENSEMBLE]
    assert found.tests[ENSEMBLE].members == ["detection", "fuzzing"]
    assert found.tests["intruder"].judged == []
    assert set(found.best) == {neuron.kind for neuron in NEURONS}
    kept = list((workplace / "store" / "kept" / "instruments").iterdir())
    assert len(kept) == 3
    (workplace / "chat.json").write_text(json.dumps({**SCRIPT, "capabilities": ["chat"]}))
    with pytest.raises(ProviderError, match="cannot serve the scorer 'likelihood'"):
        await run_scorer_tests("scripted:chat.json", ["likelihood"], None, limits=Limits())
    assert SCORERS.entries()["embedding"].needs is None
    assert known(identity("scorer", Fake(lambda text, _: 0.0)), ScorerTest) is None


async def test_of_all_scorers_those_that_cannot_be_served_are_told_and_the_others_tested(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model of embeddings that cannot be fetched is told like an ability that is lacking."""

    def unreachable(name: str) -> None:
        raise AssetError(f"{name!r} cannot be fetched")

    monkeypatch.setattr(Embedder, "load", unreachable)
    neurons = {neuron.name: neuron.model_dump(mode="json") for neuron in NEURONS[:3]}
    (workplace / "few.json").write_text(json.dumps(neurons))
    (workplace / "chat.json").write_text(json.dumps({"rules": [], "default": "yes", "capabilities": ["chat"]}))
    found = await run_scorer_tests("scripted:chat.json", ["all"], workplace / "few.json", limits=Limits())
    assert found.tests.keys() - {ENSEMBLE} | found.unserved.keys() == set(SCORERS.entries())
    assert "lacks choice" in found.unserved["likelihood"]
    assert "minilm" in found.unserved["embedding"]
    assert {"detection", "contest", "simulation", "generation"} <= found.tests.keys()
    # Of a user's own neurons it is not known on which a wording was chosen.
    assert all(test.held_out is None for test in found.tests.values())


def test_the_command_gives_an_auroc_a_scorer_and_kind(script: str, workplace: Path) -> None:
    from explicate.cli import app

    done = CliRunner().invoke(app, ["selftest", "--simulator", script, "--scorers", "detection,intruder", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    for name in ("detection", "intruder"):
        scorer = told["scorers"][name]
        assert {"value", "low", "high", "n"} <= scorer["auroc"].keys()
        assert set(scorer["kinds"]) == {neuron.kind for neuron in NEURONS}
        assert all("auroc" in kind for kind in scorer["kinds"].values())
    table = CliRunner().invoke(app, ["selftest", "--simulator", script, "--scorers", "detection,intruder"])
    assert table.exit_code == 0
    assert "Best by kind" in table.stdout
