"""The test of the instrument, itself tested on simulators whose judgement is known."""

import asyncio
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from agents.explanation import Scale, Simulation
from agents.simulators.lexical import Lexical
from analyzers.errors import ExplicateError, Failed, LimitReached
from analyzers.evidence import Excerpt, FloatArray
from evals.instrument import quick
from evals.kept_tests import identity, known, store
from evals.planted import Planted, planted
from evals.ranking import Explained, rank
from evals.results import Failure, Instrument, Value
from evals.selftest import SelftestResult, selftest

NEURONS = planted()
KINDS = {neuron.kind for neuron in NEURONS}
TRUE = {(neuron.name, neuron.explanation) for neuron in NEURONS}


def noise(*key: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32("|".join(key).encode()))


class Fake:
    """Simulates by a function of explanation and excerpt."""

    prompt = ""

    def __init__(self, values: Callable[[str, Excerpt], FloatArray | Failed], scale: Scale = "level", name: str = "fake") -> None:
        self.values, self.scale, self.name = values, scale, name

    async def simulate(self, explanation: str, excerpts: Sequence[Excerpt]) -> list[Simulation | Failed]:
        outcomes: list[Simulation | Failed] = []
        for excerpt in excerpts:
            values = self.values(explanation, excerpt)
            outcomes.append(
                values
                if isinstance(values, Failed)
                else Simulation(np.nan_to_num(values).astype(np.float32), ~np.isnan(values), self.scale)
            )
        return outcomes


def true(explanation: str, excerpt: Excerpt) -> bool:
    """Whether the explanation is the true one of the excerpt's neuron; it can be a false one of another."""
    return (excerpt.document.split("/")[1], explanation) in TRUE


def oracle(explanation: str, excerpt: Excerpt) -> FloatArray:
    """The truth for a true explanation, nothing for none, noise for a false one."""
    if true(explanation, excerpt):
        return excerpt.activations
    if not explanation:
        return np.zeros_like(excerpt.activations)
    return noise(explanation, excerpt.key).random(len(excerpt.tokens), np.float32)


def figure(value: Value | Failure) -> float:
    assert isinstance(value, Value), value
    return value.value


async def test_an_oracle_ranks_every_true_explanation_first() -> None:
    seen: list[tuple[int, int]] = []
    result = await selftest(Fake(oracle), NEURONS, seed=1, report=lambda what, done, total: seen.append((done, total)))
    assert figure(result.overall.within) == figure(result.overall.auroc) == 1
    assert result.overall.unranked == result.n_failed == 0
    assert result.overall.pairs == sum(len(neuron.false_explanations) for neuron in NEURONS)
    assert set(result.kinds) == KINDS
    assert all(figure(ranking.within) == figure(ranking.auroc) == 1 for ranking in result.kinds.values())
    assert result.instrument.cannot_judge == []
    assert result.null_contrast
    assert seen[0] == (0, len(NEURONS))
    assert seen[-1] == (len(NEURONS), len(NEURONS))


async def test_a_reversed_oracle_ranks_every_true_explanation_last() -> None:
    result = await selftest(Fake(lambda text, excerpt: -oracle(text, excerpt)), NEURONS)
    assert figure(result.overall.within) == figure(result.overall.auroc) == 0
    assert set(result.instrument.cannot_judge) == KINDS


async def test_a_simulator_that_ignores_the_explanation_judges_nothing() -> None:
    result = await selftest(Fake(lambda text, excerpt: noise(excerpt.key).random(len(excerpt.tokens), np.float32)), NEURONS)
    assert isinstance(result.overall.within, Failure)
    assert isinstance(result.overall.auroc, Failure)
    assert "constant" in result.overall.within.reason
    assert set(result.instrument.cannot_judge) == KINDS
    assert result.n_failed == len(result.explanations)
    assert result.overall.unranked == result.overall.pairs
    # without null contrast it has scores, all tied within a neuron
    assert figure(result.raw_overall.within) == 0.5
    assert {figure(ranking.within) for ranking in result.raw_kinds.values()} == {0.5}


async def test_noise_is_at_chance() -> None:
    result = await selftest(Fake(lambda text, excerpt: noise(text, excerpt.key).random(len(excerpt.tokens), np.float32)), NEURONS)
    assert isinstance(result.overall.within, Value)
    assert result.overall.within.low < 0.5 < result.overall.within.high
    assert result.overall.within.n == len(NEURONS)
    assert set(result.instrument.cannot_judge) == KINDS


def test_a_simulator_that_knows_nothing_hardly_ever_seems_to_judge() -> None:
    """Random scores for the planted neurons of the quick test, many times: at most one test in twenty may name a kind."""
    rng = np.random.default_rng(3)
    few = quick()

    def seems(seed: int) -> bool:
        rows = [
            Explained(neuron=n.name, kind=n.kind, explanation=str(j), true=j == 0, score=rng.random(), raw=0.0)
            for n in few
            for j in range(1 + len(n.false_explanations))
        ]
        kinds = {kind: rank([row for row in rows if row.kind == kind], seed=seed) for kind in dict.fromkeys(n.kind for n in few)}
        whole = rank(rows, seed=seed)
        result = SelftestResult(
            simulator="noise",
            planted="",
            null_contrast=False,
            overall=whole,
            kinds=kinds,
            raw_overall=whole,
            raw_kinds=kinds,
            explanations=rows,
        )
        return bool(result.judged)

    assert np.mean([seems(seed) for seed in range(200)]) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)


async def test_null_contrast_lets_a_simulator_with_a_strong_prior_judge() -> None:
    """Its answer is hidden under a prior that differs between neurons; subtracting its null simulation uncovers it."""

    def biased(explanation: str, excerpt: Excerpt) -> FloatArray:
        prior = 50 * noise(excerpt.key).random(len(excerpt.tokens), np.float32)
        return prior + oracle(explanation, excerpt) - 1.2 * excerpt.activations * (true(explanation, excerpt) and len(explanation) % 2)

    result = await selftest(Fake(biased), NEURONS)
    raw, contrasted = result.raw_overall.auroc, result.overall.auroc
    honest = [row for row in result.explanations if row.true and not len(row.explanation) % 2]
    assert all(isinstance(row.score, float) and row.score > 0.999 for row in honest)
    assert all(isinstance(row.raw, float) and row.raw < 0.5 for row in honest)
    assert figure(contrasted) != figure(raw)
    assert result.instrument.raw == {"auroc": raw, "within": result.raw_overall.within}


async def test_an_indicator_is_scored_as_it_is() -> None:
    asked: list[str] = []

    def values(explanation: str, excerpt: Excerpt) -> FloatArray:
        asked.append(explanation)
        return oracle(explanation, excerpt)

    result = await selftest(Fake(values, scale="indicator"), NEURONS[:3])
    assert "" not in asked
    assert not result.null_contrast
    assert result.overall == result.raw_overall
    assert all(row.score == row.raw for row in result.explanations)


async def test_failing_never_looks_like_judging_well() -> None:
    def never_for_false(explanation: str, excerpt: Excerpt) -> FloatArray | Failed:
        return oracle(explanation, excerpt) if true(explanation, excerpt) or not explanation else Failed("simulate", "refused")

    result = await selftest(Fake(never_for_false), NEURONS)
    assert isinstance(result.overall.within, Failure)
    assert "refused" in result.overall.within.reason
    assert set(result.instrument.cannot_judge) == KINDS

    first = {(neuron.name, neuron.false_explanations[0]) for neuron in NEURONS}

    def not_the_first(explanation: str, excerpt: Excerpt) -> FloatArray | Failed:
        refused = (excerpt.document.split("/")[1], explanation) in first
        return Failed("simulate", "refused") if refused else oracle(explanation, excerpt)

    result = await selftest(Fake(not_the_first), NEURONS)
    pairs = sum(len(neuron.false_explanations) for neuron in NEURONS)
    assert result.overall.unranked == result.n_failed == len(NEURONS)
    assert figure(result.overall.within) == pytest.approx(1 - len(NEURONS) / pairs)
    assert figure(result.overall.auroc) == pytest.approx(1 - len(NEURONS) / pairs)
    assert result.instrument.n_failed == len(NEURONS)
    assert result.instrument.n_explanations == len(NEURONS) + pairs


@pytest.mark.parametrize(("lost", "scored"), [(0.1, True), (0.4, False)])
async def test_missing_predictions_are_left_out_until_too_many_are(lost: float, scored: bool) -> None:
    def gappy(explanation: str, excerpt: Excerpt) -> FloatArray:
        return np.where(noise("gaps", excerpt.key).random(len(excerpt.tokens)) < lost, np.nan, oracle(explanation, excerpt)).astype(
            np.float32
        )

    result = await selftest(Fake(gappy), NEURONS)
    assert (result.n_failed == 0) == scored
    if scored:
        assert figure(result.overall.within) == 1
    else:
        assert all(isinstance(row.score, Failure) and "tokens have no prediction" in row.score.reason for row in result.explanations)


async def test_a_failed_null_simulation_fails_the_contrast_but_not_the_raw_score() -> None:
    result = await selftest(Fake(lambda text, excerpt: oracle(text, excerpt) if text else Failed("simulate", "no answer")), NEURONS[:4])
    assert isinstance(result.overall.within, Failure)
    assert figure(result.raw_overall.within) == 1


async def test_the_lexical_simulator_judges_words_but_no_conditions() -> None:
    result = await selftest(Lexical(), NEURONS)
    assert figure(result.kinds["word"].within) == 1
    assert "word" not in result.instrument.cannot_judge
    assert {"conditional", "context", "position"} <= set(result.instrument.cannot_judge)
    assert figure(result.kinds["context"].within) == 0.5  # all meanings of one word look alike


async def test_a_simulator_that_sees_only_bare_words_beats_chance_and_still_does_not_judge_conditions() -> None:
    neurons = [neuron for neuron in NEURONS if neuron.kind == "conditional"]
    bare = {neuron.name: neuron.false_explanations[0] for neuron in neurons}

    def blind(explanation: str, excerpt: Excerpt) -> FloatArray:
        """Fires alike for the true explanation and for the bare words, differently for any other."""
        name = excerpt.document.split("/")[1]
        if (name, explanation) in TRUE or explanation == bare[name]:
            return excerpt.activations + noise(name, excerpt.key).random(len(excerpt.tokens), np.float32)
        return oracle(explanation, excerpt)

    result = await selftest(Fake(blind), neurons)
    (ranking,) = result.kinds.values()
    assert isinstance(ranking.within, Value)
    assert ranking.within.low > 0.5
    assert figure(ranking.first) == 0.5
    assert result.instrument.cannot_judge == ["conditional"]
    assert result.instrument.first == {"conditional": ranking.first}


async def test_a_kind_with_too_few_neurons_is_not_judged() -> None:
    by_kind = {kind: [neuron for neuron in NEURONS if neuron.kind == kind] for kind in ("word", "next", "format")}
    result = await selftest(Fake(oracle), [*by_kind["word"][:1], *by_kind["next"][:2], *by_kind["format"][:3]])
    assert result.instrument.cannot_judge == ["word", "next"]
    assert isinstance(result.kinds["word"].within, Failure)  # one neuron has no interval


async def test_a_limit_passes_through_and_stops_what_is_under_way() -> None:
    finished = []

    class Limited:
        name, scale, prompt = "limited", "level", ""

        async def simulate(self, explanation: str, excerpts: Sequence[Excerpt]) -> list[Simulation | Failed]:
            if explanation == NEURONS[0].false_explanations[0]:
                raise LimitReached("no more calls")
            await asyncio.sleep(0.01)
            finished.append(explanation)
            return []

    with pytest.raises(LimitReached):
        await selftest(Limited(), NEURONS)  # type: ignore[arg-type]
    await asyncio.sleep(0.05)
    assert finished == []


def explained(scores: Sequence[Sequence[float | None]]) -> list[Explained]:
    """Rows of neurons from [neuron][explanation] scores, the true one first."""
    failure = Failure(stage="simulate", reason="refused")
    return [
        Explained(neuron=str(i), kind="k", explanation=str(j), true=j == 0, score=failure if value is None else value, raw=0.0)
        for i, values in enumerate(scores)
        for j, value in enumerate(values)
    ]


some_score = st.one_of(st.none(), st.integers(-3, 3).map(float))


@given(st.lists(st.lists(some_score, min_size=2, max_size=5), min_size=2, max_size=6))
@settings(deadline=None)
def test_ranking_equals_counting_pairs(scores: list[list[float | None]]) -> None:
    def points(true: float | None, false: float | None) -> float:
        if true is None or false is None:
            return 0.0
        return 1.0 if true > false else 0.5 if true == false else 0.0

    own = [points(values[0], other) for values in scores for other in values[1:]]
    every = [points(values[0], other) for values in scores for others in scores for other in others[1:]]
    firsts = [min(points(values[0], other) for other in values[1:]) for values in scores]
    ranking = rank(explained(scores))
    assert (ranking.neurons, ranking.pairs) == (len(scores), len(own))
    assert ranking.unranked == sum(values[0] is None or other is None for values in scores for other in values[1:])
    if ranking.unranked == ranking.pairs:
        assert isinstance(ranking.within, Failure)
    else:
        assert figure(ranking.within) == pytest.approx(np.mean(own))
        assert figure(ranking.auroc) == pytest.approx(np.mean(every))
        assert figure(ranking.first) == pytest.approx(np.mean(firsts))
        assert isinstance(ranking.within, Value)
        assert ranking.within.low <= ranking.within.value + 1e-12
        assert ranking.within.value <= ranking.within.high + 1e-12


def test_auroc_equals_that_of_scikit_learn_and_its_interval_that_of_drawing_neurons() -> None:
    rng = np.random.default_rng(0)
    scores = np.round(rng.normal(np.array([1, 0, 0, 0]), size=(25, 4)), 1)
    label = np.tile([True, False, False, False], (25, 1))
    ranking = rank(explained(scores.tolist()))
    assert isinstance(ranking.auroc, Value)
    assert ranking.auroc.value == pytest.approx(roc_auc_score(label.ravel(), scores.ravel()))

    def of_drawn() -> float:
        drawn = scores[rng.integers(25, size=25)]
        true, false = drawn[:, :1], drawn[:, 1:].ravel()
        return float(((true > false) + 0.5 * (true == false)).mean())

    low, high = np.quantile([of_drawn() for _ in range(1500)], [0.025, 0.975])
    assert ranking.auroc.low == pytest.approx(low, abs=0.03)
    assert ranking.auroc.high == pytest.approx(high, abs=0.03)


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EXPLICATE_REPLIES", str(tmp_path / "kept" / "replies.sqlite"))
    return tmp_path / "kept" / "instruments"


async def test_a_stored_result_is_known_to_later_runs(beside: Path) -> None:
    result = await selftest(Fake(oracle), NEURONS)
    of = {"simulator": "fake", "llm model": "m"}
    assert known(of, SelftestResult) is None
    assert not beside.exists()
    path = store(result, of)
    assert [file.name for file in beside.iterdir()] == [path.name]
    found = known(of, SelftestResult)
    assert found == result
    assert found.instrument == Instrument.model_validate_json(found.instrument.model_dump_json())
    assert known({**of, "llm model": "other"}, SelftestResult) is None
    assert known({**of, "prompt": "other"}, SelftestResult) is None
    assert known(of, SelftestResult, "other planted neurons") is None
    store(result, of)
    assert len(list(beside.iterdir())) == 1


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"result": {}}'])
async def test_a_damaged_result_is_named(beside: Path, text: str) -> None:
    path = store(await selftest(Fake(oracle), NEURONS[:3]), {"simulator": "fake"})
    path.write_text(text)
    with pytest.raises(ExplicateError, match="damaged; remove the file"):
        known({"simulator": "fake"}, SelftestResult, (await selftest(Fake(oracle), NEURONS[:3])).planted)


def test_identity_tells_models_and_prompts_apart() -> None:
    class Model:
        name = "local:m"
        capabilities: frozenset[str] = frozenset()

        def __init__(self, revision: str) -> None:
            self.identity = {"model": "m", "revision": revision}

    class Prompted(Fake):
        prompt = "abc"

    fake = Fake(oracle)
    assert identity("simulator", Lexical()) == {"simulator": "lexical", "prompt": ""}
    assert identity("simulator", fake, Model("1")) != identity("simulator", fake, Model("2"))  # type: ignore[arg-type]
    assert identity("simulator", fake) != identity("simulator", Prompted(oracle))


async def test_a_user_file_without_kinds_gets_one_kind() -> None:
    neurons = [Planted.model_validate({**neuron.model_dump(exclude={"kind"})}) for neuron in NEURONS[:4]]
    result = await selftest(Fake(oracle), neurons)
    assert list(result.kinds) == ["unspecified"]
    assert result.planted != (await selftest(Fake(oracle), NEURONS[:4])).planted
