"""Whatever is broken in a file of another tool, only errors that the user can mend come out."""

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analyzers.errors import ExplicateError
from analyzers.token_texts import TokenTexts
from evals.exchange import Options
from evals.exchange.held_out import deal
from evals.exchange.importing import format_of, read_features
from evals.exchange.problems import problems_of, problems_of_all

NAMES = ["neuronpedia lines", "neuronpedia", "neuronpedia api", "openai", "saedashboard", "transluce", "delphi"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from([10**400, -(10**25), "\ud800", "\x00"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.fixture(scope="session")
def sources(write: Callable[[str, Path], Path], tmp_path_factory: pytest.TempPathFactory, tokenizer: str) -> dict[str, Path]:
    """Valid files of every format."""
    folder = tmp_path_factory.mktemp("sources")
    return {name: write(name, folder / name.replace(" ", "-")) for name in NAMES}


@pytest.fixture
def loaded_once(tokenizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = TokenTexts.load(tokenizer)
    monkeypatch.setattr(TokenTexts, "load", lambda name: found)


def read_whole(source: Path, name: str) -> str:
    """Everything that importing does with what it reads; what came of it."""
    try:
        features = read_features(source, name.partition(" ")[0], Options(tokenizer="tiny"))
        for feature in features:
            deal(feature)
            list(problems_of(feature))
        list(problems_of_all(features))
    except ExplicateError:
        return "refused"
    return "read"


def copied(sources: dict[str, Path], name: str, folder: Path) -> tuple[Path, list[Path]]:
    """A fresh copy, and its files."""
    shutil.rmtree(folder, ignore_errors=True)
    source = sources[name]
    if source.is_file():
        folder.mkdir()
        shutil.copy(source, folder / source.name)
        return folder / source.name, [folder / source.name]
    shutil.copytree(source, folder)
    return folder, sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", NAMES)
def test_valid_files_are_read(name: str, sources: dict[str, Path], tmp_path: Path, loaded_once: None) -> None:
    assert read_whole(copied(sources, name, tmp_path / "f")[0], name) == "read"


@pytest.mark.parametrize("name", NAMES)
@QUICK
@given(data=st.data())
def test_broken_bytes_give_only_typed_errors(
    name: str, data: st.DataObject, sources: dict[str, Path], tmp_path: Path, loaded_once: None
) -> None:
    source, files = copied(sources, name, tmp_path / "f")
    path = data.draw(st.sampled_from(files))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(0, len(content) - 1)))
        content[at : at + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=8))
    path.write_bytes(content)
    read_whole(source, name)
    with contextlib.suppress(ExplicateError):
        format_of(path)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of the values in a JSON value, of lists only the first elements and the last."""
    found = [path]
    if isinstance(value, dict):
        found += [place for key in value for place in places(value[key], (*path, key))]
    elif isinstance(value, list):
        found += [place for at in sorted({0, 1, len(value) - 1} & set(range(len(value)))) for place in places(value[at], (*path, at))]
    return found


def changed(value: Any, path: tuple[Any, ...], new: Any, *, remove: bool) -> Any:
    if not path:
        return new
    inner = value
    for step in path[:-1]:
        inner = inner[step]
    if remove:
        del inner[path[-1]]
    else:
        inner[path[-1]] = new
    return value


@pytest.mark.parametrize("name", [name for name in NAMES if name != "neuronpedia"])
@QUICK
@given(data=st.data())
def test_other_values_in_their_places_give_only_typed_errors(
    name: str, data: st.DataObject, sources: dict[str, Path], tmp_path: Path, loaded_once: None
) -> None:
    source, files = copied(sources, name, tmp_path / "f")
    path = data.draw(st.sampled_from([file for file in files if file.suffix != ".safetensors"]))
    lines = path.read_text().splitlines()
    at = data.draw(st.integers(0, len(lines) - 1))
    value = json.loads(lines[at])
    place = data.draw(st.sampled_from(places(value)))
    lines[at] = json.dumps(changed(value, place, data.draw(JSON), remove=data.draw(st.booleans())))
    path.write_text("\n".join(lines))
    read_whole(source, name)
