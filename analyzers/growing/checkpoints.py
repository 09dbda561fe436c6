"""Series of checkpoints: folders that are called by their steps, or revisions on the Hugging Face Hub."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from analyzers import hub
from analyzers.errors import AssetError, SubjectError
from analyzers.progress import Report, quiet

if TYPE_CHECKING:
    from analyzers.text_model import TextModel

LEAST = 2
"""Checkpoints of a series."""
_STEP = re.compile(r"(?:step|checkpoint|ckpt|iter|global)[-_ ]?(\d+)", re.IGNORECASE)
_FORM = "a folder of checkpoints in Hugging Face's layout, each called by its step, such as checkpoint-1000 or step_1000"


@dataclass(frozen=True)
class Checkpoint:
    """One moment of a training."""

    step: int
    name: str
    """Of its folder, or its revision."""
    model: str
    """Its folder, or organisation/model@revision on the Hub."""

    def load(self, *, dtype: str, device: str, report: Report = quiet) -> "TextModel":
        """Load it. Raises AssetError and SubjectError as TextModel.load does."""
        from analyzers.text_model import TextModel

        return TextModel.load(self.model, dtype=dtype, device=device, report=report)


@dataclass(frozen=True)
class Series:
    """The checkpoints of one training, by ascending step."""

    name: str
    """Of its folder, or of the model."""
    checkpoints: tuple[Checkpoint, ...]
    left_out: tuple[str, ...] = ()
    """Models in its folder that are none of these: their names tell no step, or they lack weights."""

    @property
    def steps(self) -> tuple[int, ...]:
        """[checkpoint]"""
        return tuple(checkpoint.step for checkpoint in self.checkpoints)


def step_of(name: str) -> int | None:
    """The step that a name tells: the number behind step or checkpoint, or else the last number; None without a number."""
    numbers = _STEP.findall(name) or re.findall(r"\d+", name)
    return int(numbers[-1]) if numbers else None


def find_series(folder: Path) -> list[Series]:
    """The checkpoints in a folder; or of each folder in it that holds some, as of several seeds.

    Raises AssetError where there is no folder, no checkpoint or a single one in it, and where two have the same step.
    """
    if not folder.is_dir():
        raise AssetError(f"there is no folder {str(folder)!r}; give {_FORM}, a name on the Hugging Face Hub with --revisions, or --train")
    alone = _checkpoints(folder)
    if alone:
        return [_checked(folder.absolute().name, str(folder), alone, _others(folder, alone))]
    inner = {path: _checkpoints(path) for path in _folders(folder)}
    found = [_checked(path.name, str(path), some, _others(path, some)) for path, some in inner.items() if some]
    if not found:
        if hub.is_model(folder):
            raise AssetError(f"{str(folder)!r} is one model, no series; give {_FORM}")
        raise AssetError(f"{str(folder)!r} holds no checkpoint; give {_FORM}, with config.json and all of its weights")
    return found


def hub_series(name: str, revisions: Sequence[str]) -> Series:
    """Revisions of a model on the Hub, of which nothing is asked yet.

    Raises AssetError for one without a number, for a name that has a revision in it, and as `find_series`.
    """
    if hub.parted(name)[1] is not None:
        raise AssetError(f"{name!r} already names a revision; give the model as organisation/model, and its revisions by --revisions")
    found = []
    for revision in revisions:
        step = step_of(revision)
        if step is None:
            raise AssetError(f"--revisions: {revision!r} tells no step; give names with their step, such as step0,step1000,step143000")
        found.append(Checkpoint(step, revision, f"{name}@{revision}"))
    return _checked(name, f"--revisions of {name}", found)


def check_causal(model: "TextModel", probe: str) -> None:
    """Raise SubjectError for an encoder, where a probe reads what comes next."""
    if not model.causal:
        raise SubjectError(
            f"{model.name!r} is an encoder, which gives no text a probability from left to right: {probe} needs a decoder; leave it out "
            "of --probes, of which pos and tree are for both"
        )


def has_finite_weights(model: "TextModel") -> bool:
    """Whether all weights are numbers; those of a training that diverged are not."""
    return all(bool(each.isfinite().all()) for each in model.model.parameters())


def _folders(folder: Path) -> list[Path]:
    """Hidden ones left out; in the order of the numbers in their names."""
    inner = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return sorted(inner, key=lambda path: (step_of(path.name) or 0, path.name))


def _checkpoints(folder: Path) -> list[Checkpoint]:
    found = []
    for path in _folders(folder):
        step = step_of(path.name)
        if step is not None and hub.is_model(path):
            found.append(Checkpoint(step, path.name, str(path)))
    return found


def _others(folder: Path, taken: Sequence[Checkpoint]) -> tuple[str, ...]:
    names = {checkpoint.name for checkpoint in taken}
    return tuple(path.name for path in _folders(folder) if path.name not in names and (path / "config.json").is_file())


def _checked(name: str, where: str, checkpoints: Sequence[Checkpoint], left_out: tuple[str, ...] = ()) -> Series:
    ordered = sorted(checkpoints, key=lambda checkpoint: checkpoint.step)
    for one, other in pairwise(ordered):
        if one.step == other.step:
            raise AssetError(f"{where}: {one.name!r} and {other.name!r} are both of step {one.step}; take one of them away, or rename it")
    if len(ordered) < LEAST:
        only = "no checkpoint" if not ordered else f"a single checkpoint, {ordered[0].name!r}"
        raise AssetError(f"{where}: {only}; growth is seen over {LEAST} or more, better ten, from step 0 on")
    return Series(name, tuple(ordered), left_out)
