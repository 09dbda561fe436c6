"""Edits of one model in one file, each of low rank, which that model alone takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from torch import Tensor

from analyzers.editing.deltas import Delta, Edit
from analyzers.facts import Fact
from analyzers.noted_file import Note, NotedFile, check_model
from analyzers.text_model import TextModel

FORMAT = 1
KIND: Final = "explicate-edits"
"""What the note in the header of the file is called."""
_OTHER_MODEL = ("the edits were written into", "edit this one anew")
_PART = "|"
"""Between the number of an edit, the name of a layer and the side of its change, in the name of a tensor."""


class _Note(Note):
    """What goes with the tensors."""

    method: str
    settings: dict[str, str]
    facts: list[list[str]]
    """[fact] prompt, subject, target, id"""
    edits: int


_FILE = NotedFile(KIND, _Note, FORMAT, "file of edits that were saved by explicate edit", "edit the model anew")


@dataclass(frozen=True, eq=False)
class SavedEdits:
    """Edits in the order in which they were written, with all that says what they are."""

    edits: tuple[Edit, ...]
    facts: tuple[Fact, ...]
    """What they write."""
    method: str
    settings: Mapping[str, str]
    """What decided them."""
    model: Mapping[str, str]
    """Identity of the model that they were made for."""

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all; AssetError where that is not possible."""
        tensors = {
            _PART.join((str(number), name, side)): part.detach().contiguous().cpu()
            for number, edit in enumerate(self.edits)
            for name, delta in edit.items()
            for side, part in (("left", delta.left), ("right", delta.right))
        }
        facts = [[each.prompt, each.subject, each.target, each.id] for each in self.facts]
        note = _Note(
            format=FORMAT,
            model=dict(self.model),
            method=self.method,
            settings=dict(self.settings),
            facts=facts,
            edits=len(self.edits),
        )
        _FILE.write(path, tensors, note)

    @classmethod
    def read(cls, path: Path) -> "SavedEdits":
        """Those of a file; AssetError for a file of another kind or version, or one that is not as it was written."""
        note, tensors = _FILE.read(path)
        edits: list[dict[str, Delta]] = [{} for _ in range(note.edits)]
        try:
            for named in tensors:
                number, name, side = named.split(_PART)
                if side == "left":
                    edits[int(number)][name] = _delta(tensors[named], tensors[_PART.join((number, name, "right"))])
            facts = tuple(Fact(*each) for each in note.facts)
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise _FILE.refused(path, f"its tensors are not those of {note.edits} edits") from error
        return cls(tuple(edits), facts, note.method, note.settings, note.model)

    def check(self, model: TextModel) -> None:
        """Raise SubjectError where they are of another model; the number format in which it computes may be another one."""
        check_model(_weights(self.model), _weights(model.identity), *_OTHER_MODEL)


def save(path: Path, edits: Sequence[Edit], facts: Sequence[Fact], method: str, settings: Mapping[str, str], model: TextModel) -> None:
    """Write edits of a model, whose identity must be that without them."""
    SavedEdits(tuple(edits), tuple(facts), method, settings, dict(model.identity)).write(path)


def _delta(left: Tensor, right: Tensor) -> Delta:
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[1]:
        raise ValueError("left and right have no common rank")
    return Delta(left.float(), right.float())


def _weights(identity: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in identity.items() if key != "dtype"}
