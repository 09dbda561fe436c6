"""Which code makes a run: the version stays what it is while a checkout changes."""

import hashlib
from functools import cache
from pathlib import Path

PACKAGES = ("agents", "analyzers", "evals", "explicate", "prompts")
SUFFIXES = (".py", ".md", ".json", ".toml")
"""Of code, prompts, and data that the code reads; what pages look like is left out."""


@cache
def code_hash() -> str:
    """`hash_of` this very program, as it was when a process first asks: what is imported stays as it is, and prompts have hashes of their
    own."""
    return hash_of(Path(__file__).parents[1])


def hash_of(root: Path) -> str:
    """First 12 hexadecimal digits of the SHA-256 of the packages' own sources in `root`, with their paths."""
    digest = hashlib.sha256()
    files = (path for package in PACKAGES for path in (root / package).rglob("*") if path.suffix in SUFFIXES)
    for name, path in sorted((path.relative_to(root).as_posix(), path) for path in files):
        digest.update(f"{name}\n{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:12]
