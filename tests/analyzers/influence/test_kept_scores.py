"""Scores that were killed, and scores that are there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from analyzers.corpus import Document
from analyzers.errors import RunFolderError
from analyzers.influence import kept_scores, scoring
from analyzers.influence.fitting import fit
from analyzers.influence.kept_scores import answered, known_in, noting, question
from analyzers.influence.passages import Passage, passages
from analyzers.influence.scoring import LowRank, Query, Scores, batched, precondition, score
from analyzers.influence.watching import traces, watched
from analyzers.pass_folder import CHECKPOINT
from analyzers.progress import quiet
from analyzers.text_model import TextModel

TEXTS = [f"The river {word} in the hills, and {word} slowly" + " again" * number for number, word in enumerate(("rises", "runs", "was"))]
QUERIES = [Query("The river", " rises"), Query("The bridge was", " opened")]


class Stopped(Exception):
    pass


@pytest.fixture
def text(model: TextModel, monkeypatch: pytest.MonkeyPatch) -> list[Passage]:
    """Passages of several lengths, in more than four batches."""
    monkeypatch.setattr(scoring, "BATCH_TOKENS", 40)
    found = passages(model, [Document(str(number), "", each) for number, each in enumerate(TEXTS * 3)], length=16)
    assert len(batched(found)) > 4
    return found


@pytest.fixture
def low(model: TextModel, text: list[Passage], tmp_path: Path) -> Mapping[str, LowRank]:
    factors = fit(model, text, tmp_path / "factors")
    return precondition(model, watched(model, "mlp"), QUERIES, lambda name: factors.curvature(name, "ekfac", model.device))


def equal(one: Scores, other: Scores) -> bool:
    """To the bit."""
    pairs = [(one.by_layer, other.by_layer), (one.kept, other.kept), *zip(one.by_token, other.by_token, strict=True)]
    return one.layers == other.layers and all(np.array_equal(ours, theirs) for ours, theirs in pairs)


@pytest.mark.parametrize("at", [1, 2, 4])
def test_a_pass_that_was_killed_ends_with_the_same_scores(
    at: int, model: TextModel, text: list[Passage], low: Mapping[str, LowRank], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_scores, "KEEP_EVERY", 0.0)
    modules = watched(model, "mlp")
    whole = score(model, modules, low, text)
    calls: list[Any] = []

    def stopping(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == at:
            raise Stopped
        return traces(*given)

    monkeypatch.setattr(scoring, "traces", stopping)
    with pytest.raises(Stopped):
        score(model, modules, low, text, note=noting(tmp_path, text))
    known = known_in(tmp_path, text)
    assert (0 if known is None else known.batches) == at - 1
    found = score(model, modules, low, text, known=known, note=noting(tmp_path, text))
    assert equal(found, whole)
    # What was done was not done again.
    assert len(calls) == len(batched(text)) + 1
    # All is known now: no query and no pass over the text.
    assert equal(score(model, modules, {}, text, known=known_in(tmp_path, text)), whole)
    assert len(calls) == len(batched(text)) + 1


def test_a_pass_is_noted_now_and_then_and_at_its_end(
    model: TextModel, text: list[Passage], low: Mapping[str, LowRank], tmp_path: Path
) -> None:
    noted = []

    def note(known: scoring.Known) -> None:
        write(known)
        noted.append((tmp_path / CHECKPOINT).exists())

    write = noting(tmp_path, text)
    score(model, watched(model, "mlp"), low, text, note=note)
    assert noted == [False] * (len(noted) - 1) + [True]


def test_of_questions_the_last_answered_is_kept_what_was_begun_and_what_is_being_asked_again(tmp_path: Path) -> None:
    def ask(name: str) -> Path:
        with question(tmp_path / name, quiet):
            assert not answered(tmp_path / name)
            (tmp_path / name / "0").mkdir()
            (tmp_path / name / "0" / CHECKPOINT).touch()
            if name == "begun":
                raise Stopped
        return tmp_path / name

    zeroth, first = ask("zeroth"), ask("first")
    with FileLock(first / "lock"):
        with pytest.raises(Stopped):
            ask("begun")
        second, third = ask("second"), ask("third")
    places = (zeroth, first, tmp_path / "begun", second, third)
    assert [answered(place) for place in places] == [False, True, False, False, True]
    assert [(place / "0" / CHECKPOINT).exists() for place in places] == [False, True, True, False, True]


def test_a_question_that_nobody_may_remove_costs_no_answer(tmp_path: Path) -> None:
    (tmp_path / "other" / "lock").mkdir(parents=True)
    (tmp_path / "other" / kept_scores.ANSWERED).touch()
    with question(tmp_path / "this", quiet):
        pass
    assert answered(tmp_path / "this")
    assert answered(tmp_path / "other")


def test_what_is_damaged_is_told(model: TextModel, text: list[Passage], low: Mapping[str, LowRank], tmp_path: Path) -> None:
    score(model, watched(model, "mlp"), low, text, note=noting(tmp_path, text))
    (tmp_path / CHECKPOINT).write_bytes(b"damaged")
    with pytest.raises(RunFolderError, match=r"checkpoint.safetensors' is damaged; remove its folder"):
        known_in(tmp_path, text)
