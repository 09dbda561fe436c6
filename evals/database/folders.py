"""What a run folder looks like from outside: whether it is one, and whether it is whole."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from analyzers.errors import RunFolderError
from evals.run_folder import read_json

NEEDED: Mapping[str, tuple[str, ...]] = {
    "label": ("results.json", "excerpts.parquet", "simulations.parquet", "explanations.jsonl", "scores.parquet"),
    "audit": ("results.json", "items.jsonl"),
    "confidence": ("results.json", "items.jsonl"),
    "suite": ("results.json",),
}
"""By kind of run, what its folder holds beside the manifest once the run has ended."""
_TRACES = {"excerpts.parquet", "simulations.parquet", "scores.parquet", "explanations.jsonl", "perturbations.parquet", "transcript.jsonl"}
"""What a folder still holds where manifest and results are gone."""


def run_folders(root: Path) -> Iterator[Path]:
    """Every run folder at or below `root`, half deleted ones among them, in the order of their names; tasks of a suite's run are its own.

    Folders whose names begin with a dot are left out, and links are not followed.
    """
    for place, below, files in os.walk(root):
        folder = Path(place)
        if _looks_like_a_run(folder, set(files)):
            below.clear()
            yield folder
        else:
            below[:] = sorted(name for name in below if not name.startswith("."))


def check_whole(folder: Path) -> tuple[str, dict[str, Any]]:
    """Kind and manifest of a run folder from which nothing is missing; raises RunFolderError for any other, naming what is."""
    if not folder.is_dir():
        raise RunFolderError(f"{str(folder)!r} is no folder; give one that --out named")
    if not (folder / "manifest.json").exists() and _looks_like_a_run(folder, {path.name for path in folder.iterdir()}):
        raise RunFolderError(f"{str(folder)!r} is half deleted: it has no manifest.json; restore it, or remove the folder")
    manifest = read_json(folder / "manifest.json")
    kind = manifest.get("command")
    # What was imported has the layout of a labelling run.
    kind = "label" if kind == "import" else kind
    if not isinstance(kind, str) or kind not in NEEDED:
        raise RunFolderError(f"{str(folder)!r} is a run of {kind!r}; runs of {', '.join(NEEDED)} can be in the database")
    missing = [name for name in NEEDED[kind] if not (folder / name).is_file()]
    if "results.json" in missing:
        raise RunFolderError(
            f"{str(folder)!r} has no results.json: its run did not end, or is half deleted; the same command with the same --out goes on"
        )
    if missing:
        raise RunFolderError(f"{str(folder)!r} is half deleted: it has no {', '.join(missing)}; restore it, or remove the folder")
    return kind, manifest


def task_of(folder: Path) -> Path | None:
    """The folder of the suite's run that this run folder is a task of; None for a run of its own."""
    above = folder.resolve().parent
    manifest = above.parent / "manifest.json"
    return above.parent if above.name == "tasks" and manifest.exists() and read_json(manifest).get("command") == "suite" else None


def _looks_like_a_run(folder: Path, files: set[str]) -> bool:
    """Whether this is, or was, a run folder; other programs have a manifest.json or a results.json, too."""
    for name, keys in (("manifest.json", {"format", "command"}), ("results.json", {"schema_version", "manifest"})):
        if name in files:
            try:
                return keys <= read_json(folder / name).keys()
            except RunFolderError:
                # Damaged or unreadable: ours where more of a run stands beside it.
                if files & (_TRACES | {"manifest.json", "results.json"}) - {name}:
                    return True
    return len(files & _TRACES) > 1
