"""Style sheets and scripts of the pages: files of our own, known by name when the program starts, so that no request names a path."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from fastapi import APIRouter, HTTPException, Response

router = APIRouter(include_in_schema=False)

_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_SHARED = ("style.css", "table.js")
"""Of the static reports, which the pages use, too."""


@dataclass(frozen=True)
class Asset:
    """A file as it is sent; digest: first 12 hexadecimal digits of its SHA-256."""

    content: bytes
    type: str
    digest: str


@cache
def assets() -> dict[str, Asset]:
    """By name."""
    folder = files("explicate") / "templates"
    found = [folder / name for name in _SHARED] + [each for each in (folder / "web").iterdir() if each.name.endswith(tuple(_TYPES))]
    return {each.name: _asset(each.name, each.read_bytes()) for each in found}


def _asset(name: str, content: bytes) -> Asset:
    return Asset(content=content, type=_TYPES[name[name.rindex(".") :]], digest=hashlib.sha256(content).hexdigest()[:12])


def address(name: str) -> str:
    """Where a browser finds the file; another one when its content changes, so that it may be kept for ever."""
    return f"/static/{assets()[name].digest}/{name}"


@router.get("/static/{digest}/{name}")
def static(digest: str, name: str) -> Response:
    """A file whose content has this digest."""
    found = assets().get(name)
    if found is None or found.digest != digest:
        raise HTTPException(404, "There is no such file.")
    return Response(found.content, media_type=found.type, headers={"cache-control": "public, max-age=31536000, immutable"})
