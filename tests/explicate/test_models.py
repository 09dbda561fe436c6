"""`explicate models`: what there is, what is here, and fetching by name."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from analyzers.asset_table import RECIPE_VERSION, assets
from analyzers.errors import AssetError
from explicate.cli import app

pytestmark = pytest.mark.usefixtures("workplace")


def put(name: str) -> None:
    """An asset of 2.5 MB in the cache, as fetching it would leave it."""
    asset = next(asset for asset in assets() if asset.name == name)
    asset.path.mkdir(parents=True)
    (asset.path / "weights").write_bytes(bytes(2_500_000))
    record = {"recipe_version": RECIPE_VERSION, "source": "wheel", "revision": "abc", "files": {"weights": {"bytes": 2_500_000}}}
    (asset.path / "asset.json").write_text(json.dumps(record))


def test_the_list_fits_a_terminal_and_says_what_is_here() -> None:
    put("minilm")
    lines = CliRunner().invoke(app, ["models"]).output.splitlines()
    names = [asset.name for asset in assets()]
    assert [line.split()[0] for line in lines if line[:1].isalnum()][: len(names)] == names
    here = lines[next(index for index, line in enumerate(lines) if line.startswith("minilm")) + 1]
    assert here.strip() == "Apache-2.0, 2 MB here, from wheels"
    assert sum("to download, not here yet" in line for line in lines) == len(names) - 1
    assert all(asset.licence in "\n".join(lines) for asset in assets())
    assert max(map(len, lines)) <= 120


def test_list_lists() -> None:
    assert CliRunner().invoke(app, ["models", "list"]).output == CliRunner().invoke(app, ["models"]).output
    assert CliRunner().invoke(app, ["models", "list", "--json"]).output == CliRunner().invoke(app, ["models", "--json"]).output


def test_json_is_one_object_with_hashes_and_what_is_cached() -> None:
    put("minilm")
    shown = json.loads(CliRunner().invoke(app, ["models", "--json"]).stdout)
    rows = {row["name"]: row for row in shown["models"]}
    assert rows.keys() == {asset.name for asset in assets()}
    assert rows["minilm"]["cached"]["bytes"] == 2_500_000
    assert Path(rows["minilm"]["cached"]["path"]).name == "minilm"
    assert rows["smollm2-135m"]["cached"] is None
    assert all(len(wheel["sha256"]) == 64 for row in rows.values() for wheel in row["wheels"])


def test_an_unknown_name_is_told_with_the_known_ones() -> None:
    result = CliRunner().invoke(app, ["models", "gpt-9"])
    assert isinstance(result.exception, AssetError)
    assert "'gpt-9'" in str(result.exception)
    assert "smollm2-135m" in str(result.exception)
