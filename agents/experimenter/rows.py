"""Rows of the steps file of an experiment, JSON lines: how it began, every call of a tool with what came of it, and how it ended."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from analyzers.errors import RunFolderError


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Shown(_Row):
    """An explain excerpt, which the model may look at."""

    key: str
    text: str


class Start(_Row):
    """What an experiment starts from."""

    kind: Literal["start"] = "start"
    explainer: str
    prompt: str
    """Hash of the prompt file."""
    seed: int
    limits: Mapping[str, int | None]
    peak: float = Field(gt=0)
    """Activation of strength 10, raw units."""
    excerpts: tuple[Shown, ...]
    loud: tuple[str, ...]
    """Tokens of the excerpts that the site fires on."""


class Step(_Row):
    """A call of a tool."""

    kind: Literal["call"] = "call"
    name: str
    arguments: Mapping[str, Any] | None
    """None where they are no JSON object."""
    raw: str = ""
    """What was written instead."""
    experiment: int | None
    """Its number, where it found something that can be cited."""
    result: Mapping[str, Any]


class End(_Row):
    """How an experiment ended."""

    kind: Literal["end"] = "end"
    stopped: str
    on_budget: bool
    model_calls: int
    tokens: int


Row = Annotated[Start | Step | End, Field(discriminator="kind")]
SITE = ("site", "polarity")
"""What a run of several sites adds to each row."""

_row: TypeAdapter[Row] = TypeAdapter(Row)


def read_rows(rows: Iterable[Mapping[str, Any]]) -> tuple[Start, list[Step], End]:
    """The rows of one experiment; raises RunFolderError where they are not those of a whole one."""
    read: list[Row] = []
    for number, row in enumerate(rows, start=1):
        try:
            # A labelling run puts the site before each row.
            read.append(_row.validate_python({key: value for key, value in dict(row).items() if key not in SITE}))
        except (ValidationError, TypeError, ValueError) as error:
            raise RunFolderError(f"row {number} of an experiment's steps is damaged ({' '.join(str(error).split())[:200]})") from error
    if len(read) < 2 or not isinstance(start := read[0], Start) or not isinstance(end := read[-1], End):
        raise RunFolderError("an experiment's steps do not begin with its start and end with its end: they are cut off, or of several")
    steps = [row for row in read[1:-1] if isinstance(row, Step)]
    if len(steps) != len(read) - 2:
        raise RunFolderError("an experiment's steps hold a start or an end in the middle: they are those of several experiments")
    return start, steps, end
