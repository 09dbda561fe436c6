"""Factors fitted on a tiny model: by a naive loop, in shards, killed and gone on with, and refused for another model."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from analyzers.corpus import Document
from analyzers.errors import CorpusError, RunFolderError, SubjectError
from analyzers.influence import fitting
from analyzers.influence.curvature import Covariances
from analyzers.influence.factors import Factors
from analyzers.influence.fitting import fit, plan_fit, sampled
from analyzers.influence.kinds import Method
from analyzers.influence.passages import Passage, drawn, passages
from analyzers.influence.watching import shapes, traces, watched
from analyzers.text_model import TextModel

WORDS = "The river rises in the hills north of the town and runs slowly through meadows before it reaches the harbour."
DOCUMENTS = [Document(str(number), "", WORDS[number * 7 :]) for number in range(8)]


class Stopped(Exception):
    pass


@pytest.fixture
def text(model: TextModel) -> list[Passage]:
    return passages(model, DOCUMENTS, length=16)


def whole(folder: Path) -> dict[str, torch.Tensor]:
    return {name: each for path in sorted(folder.glob("shard-*.safetensors")) for name, each in load_file(path).items()}


def test_passages_are_the_documents_in_stretches(model: TextModel, text: list[Passage]) -> None:
    (start,) = model.around[0]
    for document in DOCUMENTS:
        own = [passage for passage in text if passage.document == document.id]
        assert "".join(passage.text for passage in own) == document.text
        assert [token for passage in own for token in passage.ids[1:]] == model.tokens.encode(document.text)
        for passage in own:
            assert passage.ids[0] == start
            assert len(passage.ids) == len(passage.spans) <= 16
            assert passage.text == document.text[slice(*passage.span)]
            assert "".join(passage.text[slice(*span)] for span in passage.spans if span) == passage.text
    assert drawn(text, None, 0) == text == drawn(text, 999, 0)
    few = drawn(text, 3, 0)
    assert few == [passage for passage in text if passage in few]
    assert len(few) == 3
    with pytest.raises(CorpusError, match="makes 1 passage; influence compares: give at least two"):
        passages(model, [Document("one", "", "The river")])
    with pytest.raises(SubjectError, match=r"--length 1: .* reads 1 tokens before every text; give more than those"):
        passages(model, DOCUMENTS, length=1)
    with pytest.raises(SubjectError, match=r"--length 2000: .* takes at most 1024"):
        passages(model, DOCUMENTS, length=2000)


@pytest.mark.parametrize("kind", ["mlp", "attention"])
def test_factors_equal_a_loop_over_passages(kind: str, model: TextModel, text: list[Passage], tmp_path: Path) -> None:
    fitted = fit(model, text, tmp_path, kind=kind, seed=5)
    modules = watched(model, kind)
    sums = {name: Covariances.none(shape, torch.device("cpu")) for name, shape in shapes(modules).items()}
    found = [traces(model, modules, [passage.ids], sampled(5, [number])) for number, passage in enumerate(text)]
    tokens = sum(len(passage.ids) - 1 for passage in text)
    for name in modules:
        for each in found:
            sums[name].add(each[name])
        curved = fitted.curvature(name, "ekfac", model.device)
        assert curved.basis is not None
        a, s = sums[name].inputs / tokens, sums[name].errors / tokens
        turn_in, turn_out = curved.basis.inputs, curved.basis.outputs
        for turn, covariance in ((turn_in, a), (turn_out, s)):
            torch.testing.assert_close(turn.T @ turn, torch.eye(len(turn)), rtol=0, atol=1e-4)
            values = torch.diag(turn.T @ covariance @ turn)
            torch.testing.assert_close(turn @ torch.diag(values) @ turn.T, covariance, rtol=1e-3, atol=1e-4 * float(covariance.abs().max()))
        squares = torch.stack([(turn_out.T @ each[name].gradients()[0] @ turn_in).square() for each in found])
        torch.testing.assert_close(curved.values, squares.mean(0), rtol=1e-3, atol=1e-6)
        kfac = fitted.curvature(name, "kfac", model.device)
        wanted = tokens / len(text) * torch.outer(torch.diag(turn_out.T @ s @ turn_out), torch.diag(turn_in.T @ a @ turn_in))
        torch.testing.assert_close(kfac.values, wanted, rtol=1e-3, atol=1e-4 * float(wanted.max()))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["factors.json", "lock", "shard-0.safetensors"]


def test_the_diagonal_is_the_mean_square(model: TextModel, text: list[Passage], tmp_path: Path) -> None:
    fitted = fit(model, text, tmp_path, method="diagonal")
    modules = watched(model, "mlp")
    found = [traces(model, modules, [passage.ids], sampled(0, [number])) for number, passage in enumerate(text)]
    for name in modules:
        squares = torch.stack([each[name].gradients()[0].square() for each in found]).mean(0)
        torch.testing.assert_close(fitted.curvature(name, "diagonal", model.device).values, squares, rtol=1e-3, atol=1e-7)
    assert fitted.methods == ("diagonal", "identity")
    with pytest.raises(SubjectError, match=r"serve diagonal, identity, not 'ekfac'; fit with --method ekfac"):
        fitted.curvature(next(iter(modules)), "ekfac", model.device)


def test_labels_are_drawn_from_the_model_by_passage(model: TextModel) -> None:
    logits = torch.randn(2, 50, 7, generator=torch.Generator().manual_seed(1))
    said = torch.zeros(2, 50, dtype=torch.long)
    both = sampled(0, [3, 8])(logits, said)
    assert torch.equal(sampled(0, [8])(logits[1:], said[1:]), both[1:])
    assert not torch.equal(sampled(1, [3, 8])(logits, said), both)
    # As often as they are probable: 4,000 draws of the same place.
    place = torch.randn(7, generator=torch.Generator().manual_seed(2))
    many = sampled(0, [0])(place.expand(1, 4000, 7), torch.zeros(1, 4000, dtype=torch.long))
    share = np.bincount(many[0].numpy(), minlength=7) / 4000
    assert np.abs(share - place.softmax(0).numpy()).max() < 4 * np.sqrt(0.25 / 4000)


def test_shards_and_batches_change_nothing_but_memory(
    model: TextModel, text: list[Passage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(model, text, tmp_path / "one")
    layer = plan_fit(watched(model, "mlp"), "ekfac").disk / 9
    gigabytes = 3.5 * layer / 1e9
    plan = plan_fit(watched(model, "mlp"), "ekfac", gigabytes)
    assert len(plan.shards) == 3
    assert plan.memory <= gigabytes * 1e9 < plan.disk
    monkeypatch.setattr(fitting, "BATCH_TOKENS", 40)
    fit(model, text, tmp_path / "three", memory_gb=gigabytes)
    one, three = whole(tmp_path / "one"), whole(tmp_path / "three")
    assert one.keys() == three.keys()
    for name, each in one.items():
        if name.endswith("kfac"):  # eigenvectors can have another sign
            torch.testing.assert_close(three[name], each, rtol=1e-3, atol=1e-4 * float(each.max()))
    with pytest.raises(SubjectError, match=r"alone take .* more than --memory 1e-06; raise it"):
        plan_fit(watched(model, "mlp"), "ekfac", 1e-6)


@pytest.mark.parametrize("at", [2, 9, 14, 23])
def test_a_fit_that_was_killed_ends_with_the_same_factors(
    at: int, model: TextModel, text: list[Passage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "BATCH_TOKENS", 40)
    monkeypatch.setattr(fitting, "KEEP_EVERY", 0.0)
    gigabytes = plan_fit(watched(model, "mlp"), "ekfac").disk / 1e9 / 1.5
    fit(model, text, tmp_path / "whole", memory_gb=gigabytes)
    calls: list[Sequence[Any]] = []

    def stopping(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == at:
            raise Stopped
        return traces(*given)

    monkeypatch.setattr(fitting, "traces", stopping)
    with pytest.raises(Stopped):
        fit(model, text, tmp_path / "killed", memory_gb=gigabytes)
    with pytest.raises(RunFolderError, match="begun and not finished"):
        Factors.open(tmp_path / "killed")
    with pytest.raises(RunFolderError, match="holds a fit with another seed 0, not 1"):
        fit(model, text, tmp_path / "killed", memory_gb=gigabytes, seed=1)
    before = len(calls)
    fit(model, text, tmp_path / "killed", memory_gb=gigabytes)
    one, other = whole(tmp_path / "whole"), whole(tmp_path / "killed")
    assert one.keys() == other.keys()
    assert all(torch.equal(other[name], each) for name, each in one.items())
    # What was done was not done again.
    calls_after = len(calls) - before
    monkeypatch.setattr(fitting, "traces", lambda *given: calls.append(given) or traces(*given))
    calls.clear()
    fit(model, text, tmp_path / "count", memory_gb=gigabytes)
    assert calls_after == len(calls) - (at - 1)


def test_factors_are_of_one_model(model: TextModel, text: list[Passage], tmp_path: Path, tiny_checkpoint: Callable[[str], Path]) -> None:
    fitted = fit(model, text, tmp_path)
    fitted.check(model)
    Factors.open(tmp_path).check(model)
    other = TextModel.load(str(tiny_checkpoint("gpt2")), dtype="float32", device="cpu")
    with pytest.raises(SubjectError, match=r"are of .* \(revision .*\), not of .*; fit some to it"):
        fitted.check(other)
    with pytest.raises(RunFolderError, match="holds a fit with another model"):
        fit(other, passages(other, DOCUMENTS, length=16), tmp_path)
    with pytest.raises(RunFolderError, match=r"there are no factors in .*; make some by `explicate influence fit"):
        Factors.open(tmp_path / "nowhere")
    with pytest.raises(SubjectError, match="needs no fit or is none; fit ekfac or diagonal"):
        fit(model, text, tmp_path / "x", method="identity")


def test_an_encoder_and_experts_are_refused(tiny_checkpoint: Callable[[str], Path]) -> None:
    with pytest.raises(SubjectError, match="is an encoder"):
        watched(TextModel.load(str(tiny_checkpoint("bert")), device="cpu"), "mlp")
    with pytest.raises(SubjectError, match="mixture of experts"):
        watched(TextModel.load(str(tiny_checkpoint("mixtral")), device="cpu"), "mlp")


@pytest.mark.parametrize("method", ["ekfac", "diagonal"])
def test_what_is_not_finite_is_told_and_no_factor(method: Method, model: TextModel, text: list[Passage], tmp_path: Path) -> None:
    weight = model.model.get_parameter("model.layers.1.mlp.down_proj.weight")
    weight[0, 0] = torch.inf
    with pytest.raises(SubjectError, match=r"not finite in 'float32'; fit with --dtype float32 into another folder"):
        fit(model, text, tmp_path, method=method)
    with pytest.raises(RunFolderError, match="begun and not finished"):
        Factors.open(tmp_path)
