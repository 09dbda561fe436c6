"""A task: what a model is asked about every text, which answers there are, and what is taken away from the text."""

import difflib
import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from agents.self_explanations import Asking
from analyzers.corpus import text_lines
from analyzers.errors import ExplicateError
from analyzers.units import Units, cut
from evals.named_file import named_file, names_in
from evals.task_kinds import check_kind
from evals.tasks.items import SOURCES, Item, Items, Reading, read_items
from evals.toml_places import at_line, dotted

Unit = Literal["word", "spaced", "sentence", "span", "demonstration"]

CALLED: Mapping[str, str] = MappingProxyType({"spaced": "word", "span": "phrase"})
"""What a unit is called when the model is asked about it, where it is not called by its name."""
LEAST = 2
"""Labels between which a model can be torn."""
_FOLDER = Path(__file__).parent
_FORMS = MappingProxyType(
    {
        "instruction": 'instruction = "Is the review positive or negative?"',
        "labels": 'labels = ["positive", "negative"], or free = true for a task without labels',
        "free": 'labels = ["positive", "negative"], or free = true for a task without labels',
        "items": f'items = "my_items.jsonl": {SOURCES}',
        "text": 'text = "review", the name of the field with the text, or leave it out',
        "gold": 'gold = "stars", the name of the field with the true answer, or leave it out',
        "unit": f"unit = one of {', '.join(get_args(Unit))}",
        "demonstrations": 'demonstrations = [{text = "...", answer = "positive"}]',
        "gold_names": 'gold_names = {"1" = "positive", "0" = "negative"}',
    }
)
"""How each key of a task file is written."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Demonstration(_Strict):
    """A text and the right answer to it, shown before the text that is asked about."""

    text: str
    answer: str

    @field_validator("text", "answer")
    @classmethod
    def _said(cls, value: str) -> str:
        return _not_empty(value)


class Task(_Strict):
    """What is asked of every item; two tasks of one digest ask the same."""

    name: str
    instruction: str
    labels: tuple[str, ...] = ()
    """The answers there are; empty where the answer is free."""
    free: Annotated[bool, Field(strict=True, validate_default=True)] = False
    unit: Unit = "word"
    demonstrations: Annotated[tuple[Demonstration, ...], Field(validate_default=True)] = ()

    @field_validator("instruction")
    @classmethod
    def _instructed(cls, value: str) -> str:
        return _not_empty(value).strip()

    @field_validator("labels")
    @classmethod
    def _named(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        labels = tuple(" ".join(_not_empty(label).split()) for label in value)
        if len({label.casefold() for label in labels}) < len(labels):
            raise ValueError("two labels are the same")
        if len(labels) == 1:
            raise ValueError(f"a task has at least {LEAST} labels")
        return labels

    @field_validator("free")
    @classmethod
    def _answerable(cls, value: bool, info: ValidationInfo) -> bool:
        if "labels" in info.data and value == bool(info.data["labels"]):
            raise ValueError("a task has labels or a free answer, not both" if value else "a task without labels needs free = true")
        return value

    @field_validator("demonstrations")
    @classmethod
    def _answered(cls, value: tuple[Demonstration, ...], info: ValidationInfo) -> tuple[Demonstration, ...]:
        if info.data.get("unit") == "demonstration" and not value:
            raise ValueError('with unit = "demonstration" the demonstrations are taken away, and there are none')
        labels = {label.casefold(): label for label in info.data.get("labels", ())}
        if not labels:
            return value
        for shown in value:
            if shown.answer.strip().casefold() not in labels:
                raise ValueError(f"the answer {shown.answer!r} is none of the labels {', '.join(labels.values())}")
        return tuple(Demonstration(text=shown.text, answer=labels[shown.answer.strip().casefold()]) for shown in value)

    def asking(self, persona: str = "", *, example: bool = False) -> Asking:
        """What a model is asked about every item, in the name of a persona of prompts/personas.md or, where it is empty, in nobody's;
        example: whether it is shown the form of a reply first."""
        shown = tuple((each.text, each.answer) for each in self.demonstrations)
        return Asking(self.instruction, self.labels, persona, CALLED.get(self.unit, self.unit), shown, example)

    @property
    def digest(self) -> str:
        """SHA-256 of all that is asked, the task's name apart."""
        return hashlib.sha256(json.dumps(self.model_dump(exclude={"name"}), sort_keys=True).encode()).hexdigest()


class _TaskFile(Task):
    """A task with where its items are."""

    items: str | None = None
    text: str | None = None
    gold: str | None = None
    gold_names: dict[str, str] = Field(default_factory=dict)

    @field_validator("gold_names")
    @classmethod
    def _among_labels(cls, value: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        labels = info.data.get("labels", ())
        for name in value.values():
            if labels and name.strip().casefold() not in {label.casefold() for label in labels}:
                raise ValueError(f"{name!r} is none of the labels {', '.join(labels)}")
        return {key.strip(): name.strip() for key, name in value.items()}


def built_in() -> tuple[str, ...]:
    """Names of the tasks that come with explicate."""
    return names_in(_FOLDER)


def load_task(name_or_path: str, *, items: str | None = None) -> tuple[Task, Items]:
    """A built-in task by its name, or the task in a TOML file, with its items.

    items: where they are instead; a path is then relative to the working directory, and to the TOML file otherwise. Raises ExplicateError
    that names the file, the line and the key for what is not of the form of a task, and see read_items.
    """
    path = named_file(name_or_path, _FOLDER, what="task")
    written = _read(path)
    source, folder = (written.items, path.parent) if items is None else (items, Path())
    if source is None:
        raise ExplicateError(f"{str(path)!r} does not say where the items are; add {_FORMS['items']}")
    reading = Reading(written.text, written.gold, written.labels, written.gold_names)
    found = read_items(source, reading, folder=folder)
    shown = {each.text.strip() for each in written.demonstrations}
    for item in found.items:
        if item.text.strip() in shown:
            raise ExplicateError(
                f"{str(path)!r}: the text {item.text[:60]!r} is a demonstration and an item, so the model is told its answer; "
                "take it out of one of them"
            )
    return Task(**{key: getattr(written, key) for key in Task.model_fields}), found


def units_of(item: Item, task: Task) -> Units:
    """What is taken away from an item: units of its text, or the task's demonstrations, whose texts then stand one below the other."""
    if task.unit == "demonstration":
        text, spans = "", []
        for shown in task.demonstrations:
            text += "\n\n" if text else ""
            spans.append((len(text), len(text) + len(shown.text)))
            text += shown.text
        return Units(text, tuple(spans))
    if task.unit == "span" and item.spans:
        return Units(item.text, item.spans)
    return cut(item.text, task.unit)


def _not_empty(value: str) -> str:
    if not value.strip():
        raise ValueError("it is empty")
    return value


def _read(path: Path) -> _TaskFile:
    lines = [line for _, line in text_lines(path)]
    try:
        found = tomllib.loads("".join(lines))
    except tomllib.TOMLDecodeError as error:
        raise ExplicateError(f"{str(path)!r} is not TOML: {error}; {_form('instruction')}") from None
    if not found:
        raise ExplicateError(f"{str(path)!r} is empty; a task has at least an instruction, labels and items: {_form('instruction')}")
    check_kind(path, found, "instruction", _FORMS["instruction"])
    for key in found:
        if key not in _FORMS:
            raise _unknown(path, lines, [key], tuple(_FORMS))
    try:
        return _TaskFile(name=path.stem, **found)
    except ValidationError as error:
        # A misspelt key is why another one is missing.
        first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        place = list(first["loc"])
        if first["type"] == "extra_forbidden":
            raise _unknown(path, lines, place, tuple(Demonstration.model_fields)) from None
        wrong = _message(first)
        raise ExplicateError(f"{str(path)!r}{at_line(lines, place)}: {dotted(place)}: {wrong}; {_form(str(place[0]))}") from None


def _message(error: Mapping[str, Any]) -> str:
    if error["type"] == "missing":
        return "the key is missing"
    said = str(error["ctx"]["error"]) if error["type"] == "value_error" else f"{str(error['input'])[:60]!r}: {error['msg']}"
    near = difflib.get_close_matches(str(error["input"]), get_args(Unit), n=1) if error["type"] == "literal_error" else []
    return said + (f" (did you mean {near[0]!r}?)" if near else "")


def _form(key: str) -> str:
    return f"write {_FORMS[key]}"


def _unknown(path: Path, lines: Sequence[str], place: Sequence[str | int], known: Sequence[str]) -> ExplicateError:
    near = difflib.get_close_matches(str(place[-1]), known, n=1)
    return ExplicateError(
        f"{str(path)!r}{at_line(lines, place)}: unknown key {dotted(place)!r}{f'; did you mean {near[0]!r}?' if near else ''}; "
        f"the keys are {', '.join(known)}"
    )
