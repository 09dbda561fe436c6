"""Edits in a file: what was saved is what is loaded, to the bit, and by the right model alone."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from analyzers.editing.control import randomised
from analyzers.editing.deltas import Delta, applied, weights_hash
from analyzers.editing.methods import projections
from analyzers.editing.saved import SavedEdits, save
from analyzers.errors import AssetError, SubjectError
from analyzers.facts import Fact
from analyzers.text_model import TextModel

FACTS = [Fact("Anna was born in", "Anna", " Rome", "1"), Fact("Emil sings", "Emil", " songs", "2")]


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def model(tiny_checkpoint: Callable[[str], Path]) -> TextModel:
    return TextModel.load(str(tiny_checkpoint("gpt2")), dtype="float32", device="cpu")


def edits(model: TextModel) -> list[dict[str, Delta]]:
    (first, _), (second, _) = projections(model)[:2]
    return [
        {first: Delta(normal(32, 1, seed=0), normal(48, 1, seed=1))},
        {first: Delta(normal(32, 3, seed=2), normal(48, 3, seed=3)), second: Delta.whole(normal(32, 48, seed=4))},
    ]


def test_what_was_saved_is_loaded_and_applied(model: TextModel, tmp_path: Path) -> None:
    made, path = edits(model), tmp_path / "deltas.safetensors"
    save(path, made, FACTS, "rome", {"layers": "[0]"}, model)
    found = SavedEdits.read(path)
    assert (list(found.facts), found.method, dict(found.settings), dict(found.model)) == (FACTS, "rome", {"layers": "[0]"}, model.identity)
    before = weights_hash(model)
    with applied(model, made):
        wanted = weights_hash(model)
    found.check(model)
    with applied(model, found.edits):
        assert weights_hash(model) == wanted
        with pytest.raises(SubjectError, match="the edits were written into"):
            found.check(model)  # what is edited already is another model
    assert weights_hash(model) == before != wanted


def test_of_another_model_or_format(model: TextModel, tiny_checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    path = tmp_path / "deltas.safetensors"
    save(path, edits(model), FACTS, "rome", {}, model)
    found = SavedEdits.read(path)
    other = TextModel.load(str(tiny_checkpoint("llama")), dtype="float32", device="cpu")
    with pytest.raises(SubjectError, match="cannot be used with"):
        found.check(other)
    found.check(TextModel.load(str(tiny_checkpoint("gpt2")), dtype="bfloat16", device="cpu"))
    with pytest.raises(AssetError, match="is no file of edits"):
        SavedEdits.read(tmp_path / "none.safetensors")
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(AssetError, match="is no file of edits"):
        SavedEdits.read(path)


def test_the_control_has_the_same_keys_and_size_and_another_direction(model: TextModel) -> None:
    one, several = edits(model)
    (first, _), *_ = projections(model)
    common, key = normal(32, 1, seed=5), normal(48, seed=6)
    # Two columns that nearly cancel out, as those of two keys that are nearly one.
    alike = {first: Delta(torch.cat([common, -0.95 * common + 0.01 * normal(32, 1, seed=7)], 1), normal(48, 1, seed=8).expand(48, 2))}
    for edit in (one, several, alike):
        drawn = randomised(edit, 10)
        assert list(drawn) == sorted(edit)
        for name, own in edit.items():
            torch.testing.assert_close(drawn[name].matrix.norm(), own.matrix.norm(), rtol=1e-3, atol=1e-4)
            torch.testing.assert_close((drawn[name].matrix @ key).norm(), (own.matrix @ key).norm(), rtol=1e-3, atol=1e-4)
            cosine = torch.nn.functional.cosine_similarity(drawn[name].matrix.flatten(), own.matrix.flatten(), dim=0)
            assert abs(float(cosine)) < 0.7
            assert torch.equal(randomised(edit, 10)[name].left, drawn[name].left)
            assert not torch.equal(randomised(edit, 11)[name].left, drawn[name].left)
