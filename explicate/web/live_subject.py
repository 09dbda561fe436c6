"""The subject of the live page: one model, loaded once, asked by one request at a time, and only models that are allowed."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import HTTPException

if TYPE_CHECKING:
    from analyzers.read_text import TextReading
    from analyzers.sites import Site
    from analyzers.subject import Subject

WAITING = 4
"""Requests that may wait for the model, the one that has it counted; more are sent away."""
LONGEST = 256
"""Tokens of a text."""


class LiveSubject:
    """Holds the model that was asked last; a request for another one takes its place."""

    def __init__(self) -> None:
        self._alone = threading.Lock()
        self._places = threading.BoundedSemaphore(WAITING)
        self._held: tuple[tuple[str, str], Subject] | None = None

    def read(self, name: str, dtype: str, text: str, sites: Sequence["Site"]) -> tuple["TextReading", str]:
        """What the sites do on the text, and the revision of the model; blocks until the model is free, so call it on a thread.

        Raises HTTPException 503 where too many wait already, SubjectError and AssetError for a model, site or text that cannot be.
        """
        from analyzers.read_text import read_text

        if not self._places.acquire(blocking=False):
            raise HTTPException(503, "The model is busy with the texts of others; try again in a moment.", headers={"retry-after": "5"})
        try:
            with self._alone:
                subject = self._subject(name, dtype)
                for site in sites:
                    subject.check(site)
                return read_text(subject, text, sites, longest=LONGEST), subject.identity["revision"]
        finally:
            self._places.release()

    def _subject(self, name: str, dtype: str) -> "Subject":
        from analyzers.subject import Subject

        if self._held is None or self._held[0] != (name, dtype):
            self._held = None  # two large models at once may not fit
            self._held = ((name, dtype), Subject.load(name, dtype=dtype))
        return self._held[1]


def on_this_machine(name: str) -> str | None:
    """What a subject can be loaded by without fetching anything, its name or its folder; None where it is not here."""
    from analyzers import hub
    from analyzers.assets import assets

    for asset in assets():
        if asset.name == name:
            return name if asset.kind == "model" and asset.cached is not None else None
    folder = Path.home() / name[2:] if name.startswith("~/") else Path(name)
    try:
        if folder.is_dir():
            return str(folder) if hub.is_model(folder) else None
        found = hub.cached(name)
    except (OSError, ValueError):
        return None
    return None if found is None else str(found)


def cached_models() -> list[str]:
    """Names of `explicate models` that are cached and can be read."""
    from analyzers.assets import assets

    return [asset.name for asset in assets() if asset.kind == "model" and asset.cached is not None]
