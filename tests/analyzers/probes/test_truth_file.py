"""Detectors in files: what is written is read, and nothing else is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from analyzers.errors import AssetError, SubjectError
from analyzers.probes.region import Region, distances_left_out, quantiles, random_parts
from analyzers.probes.truth import KINDS, Detector, Kind, fit
from analyzers.probes.truth_file import SavedDetector, Told, is_saved_detector
from analyzers.text_model import TextModel


@pytest.fixture
def model(tiny_model: Callable[..., tuple[Any, Any]]) -> TextModel:
    return TextModel(*tiny_model("llama"), name="tiny", identity={"revision": "1"})


def saved(model: TextModel, kind: Kind = "logistic") -> SavedDetector:
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2 == 0
    x = rng.normal(size=(60, 32)) + y[:, None]
    detector = fit(kind, x, y, seed=0, pairs=(x, rng.normal(size=(60, 32)) + ~y[:, None]))
    assert isinstance(detector, Detector)
    told = Told(
        kind=kind,
        layer=2,
        model=dict(model.identity),
        keep_period=False,
        topics=["a", "b"],
        statements=60,
        error=(0.2, 0.1, 0.3, 60),
        left_out="topic",
    )
    nearer = quantiles(distances_left_out(x, random_parts(60, 0)))
    return SavedDetector(detector, Region.of(x), nearer, quantiles(distances_left_out(x, np.arange(60) % 2)), told)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_read(model: TextModel, kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analyzers.probes.truth.STEPS", 3)
    path, one = tmp_path / "d.safetensors", saved(model, kind)
    one.save(path)
    assert is_saved_detector(path)
    other = SavedDetector.load(path, model)
    assert other.told == one.told
    x = np.random.default_rng(1).normal(size=(7, 32))
    assert other.detector.score(x) == pytest.approx(one.detector.score(x))
    assert other.region.distance(x) == pytest.approx(one.region.distance(x))
    assert np.array_equal(other.nearer, one.nearer)
    assert other.nearer_left_out is not None


def test_another_model_s_detector_is_refused(model: TextModel, tiny_model: Callable[..., tuple[Any, Any]], tmp_path: Path) -> None:
    path = tmp_path / "d.safetensors"
    saved(model).save(path)
    with pytest.raises(SubjectError, match=r"reads states of tiny, 1, float32 and cannot be used with tiny, 2, float32; load that model"):
        SavedDetector.load(path, TextModel(*tiny_model("llama"), name="tiny", identity={"revision": "2"}))


def damaged(path: Path, change: Callable[[dict[str, Any], dict[str, str]], None]) -> None:
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata())
    change(tensors, metadata)
    save_file(tensors, path, metadata)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda tensors, note: tensors.pop("mean"), "not those of a logistic detector of states of width 32"),
        (lambda tensors, note: tensors.update({"weight.0": tensors["weight.0"][:, 1:].contiguous()}), "not those of a logistic"),
        (lambda tensors, note: tensors.update({"more": tensors["mean"].clone()}), "not those of a logistic"),
        (lambda tensors, note: tensors.update({"mean": tensors["mean"] * float("nan")}), "not all finite"),
        (lambda tensors, note: tensors.update({"mean": tensors["mean"].float()}), "in float64"),
        (lambda tensors, note: tensors.update({"scale": -tensors["scale"]}), "not above 0"),
        (lambda tensors, note: note.update(note=note["note"].replace('"layer": 2', '"layer": 9')), "layer 9 is none of the 3"),
        (
            lambda tensors, note: note.update(note=note["note"].replace('"format": 1', '"format": 9')),
            "has format 9, and this version reads 1",
        ),
        (lambda tensors, note: note.update(note=note["note"].replace("logistic", "oracle")), "is no detector that was saved by"),
        (lambda tensors, note: note.clear(), "is no detector that was saved by explicate probe truth"),
    ],
)
def test_a_damaged_file_is_refused(model: TextModel, tmp_path: Path, change: Any, told: str) -> None:
    path = tmp_path / "d.safetensors"
    saved(model).save(path)
    damaged(path, change)
    with pytest.raises(AssetError, match=told):
        SavedDetector.load(path, model)


def test_another_file_is_no_detector(model: TextModel, tmp_path: Path) -> None:
    path = tmp_path / "notes.safetensors"
    path.write_text("mine")
    assert not is_saved_detector(path)
    with pytest.raises(AssetError, match="is no detector"):
        SavedDetector.load(path, model)
