"""Settings: environment over file over default, read afresh, and no value repeated in an error."""

from pathlib import Path

import pytest

from analyzers.errors import ExplicateError
from analyzers.settings import settings, settings_file


@pytest.fixture(autouse=True)
def own_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("EXPLICATE_ASSETS", "EXPLICATE_REPLIES", "EXPLICATE_DATABASE_URL"):
        monkeypatch.delenv(variable, raising=False)
    for kind in ("CONFIG", "CACHE", "DATA"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind))
    monkeypatch.setattr("analyzers.settings.settings_file", lambda: tmp_path / "settings.toml")


def test_defaults_are_absolute_and_create_nothing(tmp_path: Path) -> None:
    now = settings()
    assert now.assets.is_absolute()
    assert now.assets.name == "assets"
    assert now.replies.is_absolute()
    assert now.database_url.startswith("sqlite:///")
    assert not list(tmp_path.iterdir())


def test_environment_over_file_over_default_read_afresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    default = settings().replies
    (tmp_path / "settings.toml").write_text(f'assets = "{(tmp_path / "a").as_posix()}"\ndatabase_url = "sqlite:///from-file"\n')
    assert settings().assets == tmp_path / "a"
    assert settings().database_url == "sqlite:///from-file"
    assert settings().replies == default
    monkeypatch.setenv("EXPLICATE_ASSETS", str(tmp_path / "b"))
    assert settings().assets == tmp_path / "b"
    monkeypatch.setenv("EXPLICATE_ASSETS", "")
    assert settings().assets == tmp_path / "a"


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("EXPLICATE_ASSETS", "~/models")
    assert settings().assets == tmp_path / "models"


@pytest.mark.parametrize(
    "text", ['asets = "x"\ndatabase_url = "postgresql://me:s3cret@host/db"', 'database_url = ["s3cret"]', "assets = ["]
)
def test_a_wrong_file_is_named_without_its_values(tmp_path: Path, text: str) -> None:
    (tmp_path / "settings.toml").write_text(text)
    with pytest.raises(ExplicateError, match=r"settings\.toml") as caught:
        settings()
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_password_of_the_database_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPLICATE_DATABASE_URL", "postgresql://me:s3cret@host/db")
    assert settings().database_url.endswith("@host/db")
    assert "s3cret" not in repr(settings())


def test_the_file_is_in_the_users_config_directory() -> None:
    assert settings_file().name == "settings.toml"
