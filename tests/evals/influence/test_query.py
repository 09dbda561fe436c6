"""What is read off one pass for queries, controls and pieces of other passages, and log-probabilities."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from analyzers.corpus import Document
from analyzers.influence import scoring
from analyzers.influence.fitting import fit
from analyzers.influence.kinds import Method
from analyzers.influence.passages import Passage, passages
from analyzers.influence.scoring import Query, Tokens, joined, precondition, score
from analyzers.influence.watching import shapes, watched
from analyzers.text_model import TextModel
from evals.influence.controls import elsewhere
from evals.influence.influences import Influence, influence, logprobs, passes

pytestmark = pytest.mark.usefixtures("workplace")

TEXTS = ["The river rises in the hills.", "A new bridge, built of stone.", "Herons and otters.", "The town has a harbour.", "Markets."]


@pytest.fixture
def model(tiny_checkpoint: Callable[[str], Path]) -> TextModel:
    return TextModel.load(str(tiny_checkpoint("llama")), dtype="float32", device="cpu")


@pytest.fixture
def text(model: TextModel) -> list[Passage]:
    return passages(model, [Document(str(number), "", each) for number, each in enumerate(TEXTS)])


def test_elsewhere_is_influence_on_other_passages_without_their_own(model: TextModel, text: list[Passage], tmp_path: Path) -> None:
    modules = watched(model, "mlp")
    factors = fit(model, text, tmp_path)
    pieces = elsewhere(text, seed=0)
    queries = [Query("The river", " rises")]
    found = influence(
        model, modules, factors, queries, [Query("The river", " built")], [each for _, each in pieces], text, method="ekfac", rank=99
    )
    rows = []
    for _, piece in pieces:
        low = precondition(model, modules, [piece], lambda name: factors.curvature(name, "ekfac", model.device), rank=99)
        row = score(model, modules, low, text).total[0].astype(float)
        rows.append(row / np.sqrt((row**2).mean()))
    naive = [np.mean([row[at] for (place, _), row in zip(pieces, rows, strict=True) if place != at]) for at in range(len(text))]
    np.testing.assert_allclose(found.elsewhere([place for place, _ in pieces]), naive, rtol=1e-3, atol=1e-4)
    own = precondition(model, modules, queries, lambda name: factors.curvature(name, "identity", model.device), rank=99)
    plain = found.plain(0)
    assert plain is not None
    np.testing.assert_allclose(plain, score(model, modules, own, text).total[0], rtol=1e-3, atol=1e-4)


class Computed(Exception):
    pass


def computed(*_: object) -> None:
    raise Computed


def test_the_same_question_is_answered_at_once_and_another_is_not(
    model: TextModel, text: list[Passage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    factors = fit(model, text, tmp_path / "factors")
    told: list[str] = []

    def ask(*queries: Query, rank: int = 99, method: Method = "ekfac") -> Influence:
        given = (model, watched(model, "mlp"), factors, queries, [], [], text)
        return influence(*given, method=method, rank=rank, tell=told.append)

    query, other = Query("The river", " rises"), Query("The river", " built")
    monkeypatch.setattr("evals.influence.influences.ROOM", 1)
    first = ask(query, other)
    assert "in 4 passes" in told[-1]
    with monkeypatch.context() as patch:
        patch.setattr(scoring, "traces", computed)
        again = ask(query, other)
        assert told[-1] == f"scored before, and kept: {len(text)} passages; nothing is computed again"
        np.testing.assert_array_equal(again.scores.by_layer, first.scores.by_layer)
        for ours, theirs in zip(again.scores.by_token, first.scores.by_token, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        for changed in (
            lambda: ask(query),
            lambda: ask(other, query),
            lambda: ask(query, other, rank=1),
            lambda: ask(query, method="kfac"),
        ):
            with pytest.raises(Computed):
                changed()
            assert told[-1].startswith("to score: ")
    # So are factors that were fitted anew.
    for shard in factors.folder.glob("shard-*"):
        os.utime(shard, (1, 1))
    ask(query, other)
    assert told[-1].startswith("to score: ")
    ask(other)
    # Only the last answer is kept.
    ask(query, other)
    assert told[-1].startswith("to score: ")


def test_log_probabilities_are_of_the_completion_alone(model: TextModel) -> None:
    query = Query("The river", " rises in the hills")
    ids, first = query.ids(model)
    said = logprobs(model, [query, Query("The river rises in", " the hills")])
    parts = [logprobs(model, [Tokens("The river", "", ids[first:at])])[0] for at in range(first + 1, len(ids) + 1)]
    assert said[0] == pytest.approx(parts[-1], rel=1e-5)
    assert parts == sorted(parts, reverse=True)


def test_as_many_share_a_pass_as_there_is_room_for() -> None:
    """None is left out, whatever its size, and a long query does not come on top of a room that is full."""
    assert passes([3, 3, 3, 3], 6) == [[0, 1], [2, 3]]
    assert passes([3, 9, 1, 1, 1], 6) == [[0], [1], [2, 3, 4]]
    assert passes([1, 5, 1, 5, 6], 6) == [[0, 1], [2, 3], [4]]
    assert passes([7, 8], 1) == [[0], [1]]
    assert passes([], 6) == []


@pytest.mark.parametrize("together", [1, 3, 4])
def test_queries_that_do_not_share_a_pass_get_the_same(
    model: TextModel, text: list[Passage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    """Two queries, their controls and a piece, and plain gradients: the parts of a pass are of one method or of both."""
    factors = fit(model, text, tmp_path)
    queries = [Query("The river", " rises"), Query("The town has", " a harbour")]
    parts = (queries, [queries[1], queries[0]], [Query("There are", " markets")])

    def found() -> Influence:
        return influence(model, watched(model, "mlp"), factors, *parts, text, method="ekfac", rank=99)

    whole = found()
    longest = max(len(query.ids(model)[0]) for some in parts for query in some) + 99
    row = 4 * sum(map(sum, shapes(watched(model, "mlp")).values()))
    monkeypatch.setattr("evals.influence.influences.ROOM", row * longest * together)
    made: list[int] = []
    monkeypatch.setattr(scoring, "joined", lambda some: made.append(len(some)) or joined(some))
    apart = found()
    assert made == [-(-7 // together)]
    assert len(apart.scores.by_layer) == 2 + 2 + 1 + 2
    for name in ("by_layer", "kept"):
        np.testing.assert_allclose(getattr(apart.scores, name), getattr(whole.scores, name), rtol=1e-3, atol=1e-4)
    for one, other in zip(apart.scores.by_token, whole.scores.by_token, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)
    assert not np.allclose(whole.of(0), whole.of(1))
    assert not np.allclose(whole.of(0), whole.plain(0))
