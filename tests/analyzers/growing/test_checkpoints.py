"""Where checkpoints are: folders by their steps, and revisions by names of the Hub."""

from pathlib import Path

import pytest

from analyzers.errors import AssetError
from analyzers.growing.checkpoints import find_series, hub_series, step_of


def model(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("checkpoint-1000", 1000),
        ("step_20", 20),
        ("step143000", 143000),
        ("OLMo-7B-step4000-tokens16B", 4000),
        ("global_step7", 7),
        ("0012", 12),
        ("run2-0300", 300),
        ("main", None),
    ],
)
def test_the_step_of_a_name(name: str, step: int | None) -> None:
    assert step_of(name) == step


def test_a_folder_is_read_by_steps_and_not_by_letters(tmp_path: Path) -> None:
    for name in ("checkpoint-1000", "checkpoint-20", "checkpoint-0", ".checkpoint-3"):
        model(tmp_path / name)
    (tmp_path / "logs7").mkdir()
    (tmp_path / "tokenizer").mkdir()
    model(tmp_path / "final")
    (tmp_path / "checkpoint-30").mkdir()
    (tmp_path / "checkpoint-30" / "config.json").write_text("{}")
    (series,) = find_series(tmp_path)
    assert (series.name, series.steps) == (tmp_path.name, (0, 20, 1000))
    assert [checkpoint.name for checkpoint in series.checkpoints] == ["checkpoint-0", "checkpoint-20", "checkpoint-1000"]
    assert series.left_out == ("final", "checkpoint-30")


def test_a_folder_for_each_seed(tmp_path: Path) -> None:
    for seed in (10, 2):
        for step in (0, 8):
            model(tmp_path / f"seed-{seed}" / f"step_{step}")
    (tmp_path / "empty").mkdir()
    assert [(series.name, series.steps) for series in find_series(tmp_path)] == [("seed-2", (0, 8)), ("seed-10", (0, 8))]


def test_what_is_no_series_is_told(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="there is no folder"):
        find_series(tmp_path / "none")
    with pytest.raises(AssetError, match="holds no checkpoint"):
        find_series(tmp_path)
    model(tmp_path / "step_1")
    with pytest.raises(AssetError, match="a single checkpoint, 'step_1'"):
        find_series(tmp_path)
    model(tmp_path / "checkpoint-1")
    with pytest.raises(AssetError, match="both of step 1"):
        find_series(tmp_path)
    with pytest.raises(AssetError, match="one model, no series"):
        find_series(_alone(tmp_path))


def _alone(tmp_path: Path) -> Path:
    model(tmp_path / "alone" / "inner")
    for each in (tmp_path / "alone" / "inner").iterdir():
        each.rename(tmp_path / "alone" / each.name)
    return tmp_path / "alone"


def test_revisions_are_put_in_order_and_need_a_step() -> None:
    series = hub_series("org/model", ["step1000", "step0", "step16"])
    assert series.steps == (0, 16, 1000)
    assert [checkpoint.name for checkpoint in series.checkpoints] == ["step0", "step16", "step1000"]
    assert [checkpoint.model for checkpoint in series.checkpoints] == ["org/model@step0", "org/model@step16", "org/model@step1000"]
    with pytest.raises(AssetError, match="'main' tells no step"):
        hub_series("org/model", ["step0", "main"])
    with pytest.raises(AssetError, match="a single checkpoint"):
        hub_series("org/model", ["step0"])
    with pytest.raises(AssetError, match=r"'org/model@main' already names a revision; give the model as organisation/model"):
        hub_series("org/model@main", ["step0", "step1"])
