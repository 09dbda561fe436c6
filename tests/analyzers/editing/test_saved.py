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
    (edit, _), (first, *_) = edits(model), projections(model)
    drawn = randomised(edit, 10)[first[0]]
    own = edit[first[0]]
    assert torch.equal(drawn.right, own.right)
    torch.testing.assert_close(drawn.matrix.norm(), own.matrix.norm())
    assert abs(float(torch.nn.functional.cosine_similarity(drawn.left, own.left, dim=0))) < 0.7
    assert torch.equal(randomised(edit, 10)[first[0]].left, drawn.left)
    assert not torch.equal(randomised(edit, 11)[first[0]].left, drawn.left)
