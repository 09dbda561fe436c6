"""Where assets, replies and results live: from the environment, else settings.toml, else the platform's user directories."""

from pathlib import Path

import platformdirs
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError, TomlConfigSettingsSource

from analyzers.errors import ExplicateError


def settings_file() -> Path:
    """The user's settings.toml, which need not exist."""
    return platformdirs.user_config_path("explicate") / "settings.toml"


def _data(name: str) -> Path:
    return platformdirs.user_data_path("explicate") / name


class Settings(BaseSettings):
    """`EXPLICATE_<FIELD>` in the environment wins over `<field>` in settings.toml; nothing is created by reading them."""

    model_config = SettingsConfigDict(env_prefix="EXPLICATE_", env_ignore_empty=True, extra="forbid", frozen=True)

    assets: Path = Field(default_factory=lambda: platformdirs.user_cache_path("explicate") / "assets")
    """Folder of models and corpora; what is in it can be fetched again."""
    passes: Path = Field(default_factory=lambda: platformdirs.user_cache_path("explicate") / "passes")
    """Folder of sampling passes; what is in it can be computed again."""
    replies: Path = Field(default_factory=lambda: _data("replies.sqlite"))
    """File of the reply cache; what is in it was paid for."""
    database_url: str = Field(default_factory=lambda: f"sqlite:///{_data('results.sqlite').as_posix()}", repr=False)
    """SQLAlchemy URL of the results database; it can hold a password."""

    @field_validator("assets", "passes", "replies")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        return path.expanduser().absolute()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del dotenv_settings, file_secret_settings  # settings come from nowhere else
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, settings_file())


def settings() -> Settings:
    """Read environment and settings.toml afresh; raises ExplicateError where the file is wrong, never repeating its values."""
    try:
        return Settings()
    except ValidationError as error:
        wrong = ", ".join(repr(".".join(map(str, each["loc"]))) for each in error.errors())
        known = ", ".join(Settings.model_fields)
        raise ExplicateError(f"settings not understood: {wrong}; allowed in {str(settings_file())!r}: {known}, each a text") from None
    except (SettingsError, ValueError, OSError) as error:
        raise ExplicateError(f"{str(settings_file())!r} cannot be read as TOML: {error}; mend or remove it") from error
