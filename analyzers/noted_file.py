"""A safetensors file whose header has a note of one kind: known by it, and read only where the note is whole and of the known version."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from analyzers.errors import AssetError, RunFolderError, SubjectError
from analyzers.pass_folder import write_tensors

if TYPE_CHECKING:
    from torch import Tensor


class Note(BaseModel):
    """What goes with the tensors; each kind adds its own fields."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    format: int
    model: dict[str, str]
    """Identity of the model without which the tensors say nothing."""


N = TypeVar("N", bound=Note)


class _Version(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    format: int


@dataclass(frozen=True)
class NotedFile(Generic[N]):
    """One kind of such files."""

    name: str
    """What the note is called in the header."""
    note: type[N]
    format: int
    """The version that is written and read."""
    what: str
    """Such as "context that was saved by explicate icl"."""
    anew: str
    """What to do where the version is another one, such as "compress the context anew"."""

    def write(self, path: Path, tensors: Mapping[str, "Tensor"], note: N) -> None:
        """Write it, whole or not at all; AssetError where that is not possible."""
        try:
            write_tensors(path, tensors, {self.name: note.model_dump(mode="json")})
        except RunFolderError as error:
            why = error.__cause__.strerror if isinstance(error.__cause__, OSError) else None
            raise AssetError(f"{str(path)!r} cannot be written ({why or 'no reason is given'}); make room, or name another file") from error

    def is_at(self, path: Path) -> bool:
        """Whether the file there is one of this kind, of any version, going by its note."""
        try:
            with self._open(path):
                return True
        except AssetError:
            return False

    def check(self, path: Path) -> None:
        """Raise AssetError for a file of another kind or version, going by its note alone."""
        with self._open(path) as opened:
            self._check_version(path, opened.version)

    def read(self, path: Path, device: str = "cpu") -> tuple[N, dict[str, "Tensor"]]:
        """The note, its fields checked, and all tensors, which are not; AssetError for a file of another kind or version."""
        with self._open(path, device) as opened:
            self._check_version(path, opened.version)
            note = self.note.model_validate_json(opened.note)
            return note, {name: opened.file.get_tensor(name) for name in opened.file.keys()}  # noqa: SIM118  (it is no dictionary)

    def refused(self, path: Path, why: str) -> AssetError:
        """What is told of a file that is none of this kind, or not as it was written."""
        return AssetError(f"{str(path)!r} is no {self.what} ({why}); save one with --save")

    @contextmanager
    def _open(self, path: Path, device: str = "cpu") -> Iterator["_Opened"]:
        """Raises AssetError for what cannot be read or has no such note, also within the context."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt", device=device) as file:
                notes = json.loads((file.metadata() or {}).get("note", "null"))
                if not isinstance(notes, dict) or self.name not in notes:
                    raise ValueError(f"it has no note {self.name!r}")
                note = json.dumps(notes[self.name])
                yield _Opened(file, note, _Version.model_validate_json(note).format)
        except (SafetensorError, OSError, ValueError, RecursionError) as error:
            raise self.refused(path, " ".join(str(error).split())[:200]) from error

    def _check_version(self, path: Path, version: int) -> None:
        if version != self.format:
            raise AssetError(f"{str(path)!r} has format {version}, and this version reads {self.format}; {self.anew}")


@dataclass(frozen=True)
class _Opened:
    """A file of some version."""

    file: Any
    note: str
    """As JSON."""
    version: int


def check_model(found: Mapping[str, str], identity: Mapping[str, str], does: str, remedy: str) -> None:
    """Raise SubjectError where a file is of another model than the one at hand, going by what identifies them.

    does: what the file has to do with its model, such as "the context was read by"; remedy: what else to do than load that one.
    """
    if found != identity:
        # A file has its keys in another order.
        of_file = sorted(found, key=lambda key: [*identity, key].index(key))
        raise SubjectError(
            f"{does} {_brief(found[key] for key in of_file)} and cannot be used with {_brief(identity.values())}; load that "
            f"model, or {remedy}"
        )


def _brief(values: Iterable[str]) -> str:
    """Of a hash its beginning, which tells it from another."""
    return ", ".join(f"{value[:12]}…" if re.fullmatch(r"[0-9a-f]{40,}", value) else value for value in values)
