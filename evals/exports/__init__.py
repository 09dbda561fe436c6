"""Runs in the formats of others. Each format is a file here that adds one function."""

from collections.abc import Callable
from pathlib import Path

from analyzers.folder import Folder

Export = Callable[[Path, str | None], list[str]]
"""Takes a run folder of any kind and where to write, None for the usual place; returns where what was written is.

Raises ExplicateError where the folder is no whole run, the place cannot be used, or a package is missing.
"""

EXPORTS: Folder[Export] = Folder("evals.exports", "format")

__all__ = ["EXPORTS", "Export"]
