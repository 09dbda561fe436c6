"""What a run folder remembers of how it was made, and what it refuses to go on with."""

import json
from pathlib import Path
from typing import Any

import pytest

from analyzers.errors import RunFolderError
from evals.run_folder import RunFolder


def manifest(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "manifest.json").read_text("utf-8"))
    return found


def test_what_was_recorded_must_be_the_same_when_the_run_goes_on(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run", "label", {"seed": 0}) as folder:
        folder.record({"version": "1", "pass": "abc"})
    with RunFolder(tmp_path / "run", "label", {"seed": 0}) as folder:
        folder.record({"version": "1", "prompts": {"explainer": "e"}})
        before = manifest(tmp_path / "run")
        with pytest.raises(RunFolderError, match="was begun with version '1', now it is '2'"):
            folder.record({"version": "2"})
    assert manifest(tmp_path / "run") == before == folder.manifest
    assert before["pass"] == "abc"
    assert before["prompts"] == {"explainer": "e"}


def test_what_may_differ_is_kept_as_the_last_command_found_it(tmp_path: Path) -> None:
    for numpy in ("2.0", "2.1"):
        with RunFolder(tmp_path / "run", "label", {}) as folder:
            folder.record({"version": "1"}, latest={"packages": {"numpy": numpy}})
        assert manifest(tmp_path / "run")["packages"] == {"numpy": numpy}
