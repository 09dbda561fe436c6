"""`explicate doctor` finds what is wrong, says how to mend it, and shows no key."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from explicate import checks
from explicate.checks import own
from explicate.cli import app

pytestmark = pytest.mark.usefixtures("workplace")

Doctor = Callable[..., Result]


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """doctor("--json") on a machine with room and memory enough, out of the Hub's reach."""
    monkeypatch.setattr("analyzers.hub.find", lambda name: None)
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 50e9}))
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"available": 16e9}))
    return lambda *arguments: CliRunner().invoke(app, ["doctor", *arguments])


def install(folder: Path, distribution: str, package: str) -> None:
    """A distribution that owns a package, as pip would leave it."""
    (folder / package).mkdir(parents=True)
    (folder / package / "__init__.py").write_text("")
    info = folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "top_level.txt").write_text(f"{package}\n")


def test_a_sound_installation_is_in_order(doctor: Doctor) -> None:
    result = doctor()
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert all(line.startswith("ok ") for line in lines[:-1])
    assert lines[-1] == "Everything is in order; try: explicate demo"
    assert "not reachable: models by name come from the package index" in result.output


def test_what_is_wrong_gives_a_remedy_and_exit_code_2(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"available": 1e9}))
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1e9}))
    result = doctor()
    assert result.exit_code == 2
    wrong = {line.split()[1]: line for line in result.output.splitlines() if line.startswith("FIX")}
    assert wrong.keys() == {"assets", "passes", "replies", "memory"}
    assert "1.0 GB free: about 8 GB are wanted: free some, or set EXPLICATE_ASSETS" in wrong["assets"]
    assert "local:qwen2.5-coder-0.5b" in wrong["memory"]
    assert result.output.splitlines()[-1].startswith("4 to fix")


def test_keys_are_never_shown(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    for result in (doctor(), doctor("--json")):
        assert "sk-secret" not in result.output
        assert "OPENAI_API_KEY" in result.output
    found: dict[str, Any] = {check["name"]: check["found"] for check in json.loads(doctor("--json").stdout)["checks"]}
    assert found["OPENAI_API_KEY"] == "set"


def test_json_is_one_object(doctor: Doctor) -> None:
    shown = json.loads(doctor("--json").stdout)
    assert shown["ok"] is True
    assert {"name", "ok", "found", "remedy"} == set(shown["checks"][0])


def test_our_packages_are_ours() -> None:
    assert all(own(name).ok for name in ("agents", "analyzers", "evals", "explicate", "prompts"))


@pytest.mark.parametrize(("distribution", "package"), [("openai-agents", "agents"), ("evals", "evals")])
def test_another_distribution_with_one_of_our_names_is_named(
    distribution: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "site", distribution, package)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "site")])
    check = own(package)
    assert not check.ok
    assert check.found == f"{distribution} also installs {package!r}"
    assert "an environment of its own" in check.remedy
    assert own("analyzers").ok


def test_it_is_told_also_where_the_other_one_is_imported_instead_of_ours(tmp_path: Path) -> None:
    install(tmp_path / "site", "openai-agents", "agents")
    code = f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); from explicate.checks import own; print(own('agents'))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "ok=False" in shown
    assert "openai-agents also installs 'agents'" in shown


def test_a_folder_that_comes_before_ours_is_named(tmp_path: Path) -> None:
    (tmp_path / "site" / "evals").mkdir(parents=True)
    (tmp_path / "site" / "evals" / "__init__.py").write_text("")
    code = f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); from explicate.checks import own; print(own('evals').found)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == f"{str(tmp_path / 'site' / 'evals')!r} is found first"


def test_a_missing_library_and_a_folder_that_cannot_be_written_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not own("no_such_package").ok
    monkeypatch.setattr("os.access", lambda path, mode: False)
    by_name = {check.name: check for check in checks.run_checks()}
    assert "not writable" in by_name["assets"].found
    assert "EXPLICATE_ASSETS" in by_name["assets"].remedy
