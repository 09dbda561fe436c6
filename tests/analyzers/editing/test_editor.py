"""Edits that are made once and kept, keys whose reading goes on where it was killed, and the layers that methods change."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from analyzers.corpus import Document
from analyzers.editing.covariance import key_covariances
from analyzers.editing.deltas import weights_hash
from analyzers.editing.editor import Editor, memit_layers, usual_layer
from analyzers.editing.methods import Tuning, projections
from analyzers.editing.values import Search
from analyzers.errors import SubjectError
from analyzers.facts import Fact
from analyzers.influence.passages import Passage, passages
from analyzers.text_model import TextModel

FACTS = [Fact("The old bridge was", "old bridge", " opened", "1"), Fact("The school teaches", "school", " honey", "2")]


@pytest.fixture
def model(tiny_checkpoint: Callable[[str], Path], workplace: Path, monkeypatch: pytest.MonkeyPatch) -> TextModel:
    assert workplace.is_dir()
    monkeypatch.setattr("analyzers.editing.contexts.LENGTHS", ((2, 4),))
    return TextModel.load(str(tiny_checkpoint("gpt2")), dtype="float32", device="cpu")


def text(model: TextModel) -> list[Passage]:
    words = "The river rises in the hills north of the town and runs slowly through meadows before it reaches the harbour. " * 40
    return passages(model, [Document("1", "", words)], length=64)


def editor(model: TextModel, **changes: Any) -> Editor:
    return Editor(model, 1, text(model), search=Search(steps=4), tuning=Tuning(steps=3), **changes)


def test_edits_are_made_once(model: TextModel, monkeypatch: pytest.MonkeyPatch) -> None:
    first = editor(model)
    hashed = weights_hash(model)
    edit, seconds = first.made("rome", FACTS[:1])
    second, _ = first.made("rome", FACTS[1:], earlier=FACTS[:1], edits=[edit])
    other, _ = first.made("rome", FACTS[1:])
    assert weights_hash(model) == hashed
    (name,) = edit
    assert not torch.equal(second[name].matrix, other[name].matrix)  # of a model that was edited before
    again = editor(model)
    for broken in ("rome", "memit", "fine_tuned"):
        monkeypatch.setattr(f"analyzers.editing.editor.{broken}", None)
    kept, took = again.made("rome", FACTS[:1])
    assert torch.equal(kept[name].left, edit[name].left)
    assert took == seconds
    for changed in (editor(model, seed=1), Editor(model, 1, text(model), search=Search(steps=5))):
        with pytest.raises(TypeError):
            changed.made("rome", FACTS[:1])


def test_memit_finds_each_value_once_whichever_facts_are_written_together(model: TextModel, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    from analyzers.editing import editor as editing

    real = editing.memit_value

    def counted(*arguments: Any) -> Any:
        calls.append(arguments[1].id)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(editing, "memit_value", counted)
    with pytest.raises(KeyboardInterrupt):
        editor(model).made("memit", FACTS)
    both, seconds = editor(model).made("memit", FACTS)
    assert calls == ["1", "2", "2"]  # the one that was killed is looked for again, and no other
    alone, less = editor(model).made("memit", FACTS[1:])
    heavier, _ = editor(model, weight=1e6).made("memit", FACTS)
    assert calls == ["1", "2", "2"]
    assert seconds > less > 0
    (name,) = both
    assert both[name].left.shape[1] == 2 * alone[name].left.shape[1]
    assert float(heavier[name].matrix.norm()) < float(both[name].matrix.norm())
    # As all at once, without anything that is kept.
    whole = editor(model)
    found = [real(model, fact, 1, whole._beginnings, whole.search) for fact in FACTS]
    written = editing.memit(model, FACTS, found, [1], whole._covariances("memit"), whole._beginnings)
    torch.testing.assert_close(written.edit[name].matrix, both[name].matrix)


def test_nobody_waits_who_makes_another_edit(model: TextModel, monkeypatch: pytest.MonkeyPatch) -> None:
    from analyzers.editing import editor as editing

    def never(what: str, done: int, total: int) -> None:
        assert "waiting" not in what

    real, made = editing.fine_tuned, []

    def beside(given: TextModel, facts: Any, *more: Any) -> Any:
        if facts == FACTS[:1]:
            made.append(Editor(model, 1, text(model), tuning=Tuning(steps=3), report=never).made("ft", FACTS[1:])[0])
        return real(given, facts, *more)

    monkeypatch.setattr(editing, "fine_tuned", beside)
    editor(model).made("ft", FACTS[:1])
    assert len(made) == 1


def test_reading_keys_goes_on_where_it_was_killed(model: TextModel, monkeypatch: pytest.MonkeyPatch) -> None:
    layers = dict(projections(model)[:2])
    monkeypatch.setattr("analyzers.editing.covariance.KEEP_EVERY", -1.0)
    monkeypatch.setattr("analyzers.padding.BATCH_TOKENS", 128)
    monkeypatch.setattr("analyzers.editing.covariance.like_lengths", lambda lengths: iter([[at] for at in range(len(lengths))]))
    whole = text(model)
    wanted = key_covariances(model, layers, whole)
    calls: list[int] = []
    from analyzers.editing import covariance

    real = covariance.bare_pass

    def killed(*arguments: Any) -> None:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        real(*arguments)

    monkeypatch.setattr("analyzers.editing.covariance.bare_pass", killed)
    monkeypatch.setattr("analyzers.editing.covariance._FORMAT", 99)
    with pytest.raises(KeyboardInterrupt):
        key_covariances(model, layers, whole)
    found = key_covariances(model, layers, whole)
    assert len(calls) == len(whole) + 1  # the one that was killed is made again, and no other
    for name in layers:
        assert torch.equal(found[name], wanted[name])
    monkeypatch.setattr("analyzers.editing.covariance.bare_pass", None)
    (name, layer), *_ = layers.items()
    assert torch.equal(key_covariances(model, {name: layer}, whole)[name], wanted[name])


def test_layers(model: TextModel) -> None:
    assert editor(model).layers("rome") == editor(model).layers("ft") == [1]
    assert memit_layers(8, 30) == [5, 6, 7, 8]
    assert memit_layers(1, 48) == [0, 1]
    assert memit_layers(17, 48) == [13, 14, 15, 16, 17]
    assert usual_layer(model) == 0
    with pytest.raises(SubjectError, match="has the layers 0 to 2"):
        Editor(model, 3, text(model))
