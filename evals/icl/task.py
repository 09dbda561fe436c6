"""An in-context task: how a demonstration is written, which labels there are, and the items that are shown and asked about."""

import hashlib
import json
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from analyzers.corpus import text_lines
from analyzers.duplicates import Duplicates, normalise
from analyzers.errors import ExplicateError
from analyzers.progress import Report, quiet
from evals.icl.labelled_lines import labelled_lines
from evals.named_file import named_file, names_in
from evals.number_of import number_of
from evals.task_kinds import check_kind
from evals.tasks.items import CSV_SUFFIXES, JSON_SUFFIXES, Reading, read_items
from evals.toml_places import at_line, dotted

SOURCES = (
    "a .jsonl, .jsonl.gz, .csv or .tsv file with a text and its label in each row, hf:<dataset>[:config][:split], or any other text file "
    "whose lines are a label, a space and a text (TREC.train.all, stsa.binary.train)"
)
_FOLDER = Path(__file__).parent / "tasks"
_FORMS = MappingProxyType(
    {
        "template": r'template = "Review: {text}\nSentiment: {label}\n"',
        "labels": 'labels = ["negative", "positive"]',
        "items": 'items = "my_items.jsonl"',
        "text": 'text = "review", the name of the field with the text, or leave it out',
        "gold": 'gold = "stars", the name of the field with the true label, or leave it out',
        "gold_names": 'gold_names = {"1" = "positive", "0" = "negative"}',
    }
)
"""How each key of a task file is written."""
_FILES = MappingProxyType({"trec": "TREC.train", "sst2": "stsa.binary.train"})
"""Of the paper's tasks what the file of their items is called where they are passed around."""


@dataclass(frozen=True)
class IclItem:
    """A text and its true label."""

    number: int
    """From 0, in the order of the source, each text once, also where another is nearly the same, without spaces around it."""
    text: str
    label: int
    """Its number among the labels."""


@dataclass(frozen=True)
class IclTask:
    """What demonstrations are made of, and what is asked about."""

    name: str
    template: str
    labels: tuple[str, ...]
    items: tuple[IclItem, ...]
    source: str
    left_out: int
    """Texts without a true label, or with several."""
    near_duplicates: int = 0
    """Further texts that are nearly the same as an earlier one: of both one could be shown, and the other asked about."""

    @property
    def digest(self) -> str:
        """SHA-256 of template, labels and items."""
        content = [self.template, self.labels, [[item.text, item.label] for item in self.items]]
        return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()


class _TaskFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    template: str
    labels: tuple[str, ...]
    items: str | None = None
    text: str | None = None
    gold: str | None = None
    gold_names: dict[str, str] = Field(default_factory=dict)


def built_in() -> tuple[str, ...]:
    """Names of the tasks that come with explicate; those of the paper without items."""
    return names_in(_FOLDER)


def load_icl_task(name_or_path: str, *, items: str | None = None, report: Report = quiet) -> IclTask:
    """A built-in task by its name, or the task in a TOML file.

    items: where they are, relative to the working directory; a path in a TOML file is relative to that. Raises ExplicateError that names
    the file, the line and the key for what is not of the form of a task, and the line for items that are not.
    """
    path = named_file(name_or_path, _FOLDER, what="in-context task")
    written = _read(path)
    source, folder = (written.items, path.parent) if items is None else (items, Path())
    if source is None:
        names = ", ".join((*written.labels, *written.gold_names))
        raise ExplicateError(
            f"the task {name_or_path!r} comes without items; give --items {_FILES.get(path.stem, 'FILE')}, a text file with a label and a "
            f"text in each line ('{next(iter(written.gold_names), written.labels[0])} Some text'), the label one of {names}; or another of "
            f"these: {SOURCES}"
        )
    return _with_items(path.stem, written, source, _labelled(source, folder, written), report)


def _with_items(name: str, written: _TaskFile, source: str, found: Iterable[tuple[str, str | None]], report: Report) -> IclTask:
    labels: dict[str, set[str | None]] = {}
    texts: dict[str, str] = {}
    for text, label in found:
        same = normalise(text)
        labels.setdefault(same, set()).add(label)
        # A query is read without its outer spaces.
        texts.setdefault(same, text.strip())
    labelled = [(texts[same], label) for same, own in labels.items() if len(own) == 1 and (label := next(iter(own))) is not None]
    known, kept = Duplicates(), []
    for done, (text, label) in enumerate(labelled):
        report("compare texts", done, len(labelled))
        if known.seen(text) is None:
            kept.append((text, label))
    report("compare texts", len(labelled), len(labelled))
    if not kept:
        raise ExplicateError(
            f"{source!r} has {number_of('text', len(labels))}, none of them with one true label, and demonstrations need some; give each "
            f"text one of the labels {', '.join(written.labels)}"
        )
    items = tuple(IclItem(number, text, written.labels.index(label)) for number, (text, label) in enumerate(kept))
    return IclTask(name, written.template, written.labels, items, source, len(labels) - len(labelled), len(labelled) - len(kept))


def _labelled(source: str, folder: Path, written: _TaskFile) -> Iterable[tuple[str, str | None]]:
    if source.startswith("hf:") or source.endswith((*JSON_SUFFIXES, *CSV_SUFFIXES)):
        reading = Reading(written.text, written.gold, written.labels, written.gold_names, gold_needed=True)
        return [(item.text, item.gold) for item in read_items(source, reading, folder=folder).items]
    path = folder / source
    if not path.is_file():
        raise ExplicateError(f"there is no file {str(path)!r}; items are one of: {SOURCES}")
    return labelled_lines(path, written.labels, written.gold_names)


def _read(path: Path) -> _TaskFile:
    lines = [line for _, line in text_lines(path)]
    try:
        found = tomllib.loads("".join(lines))
        task = _TaskFile.model_validate(found)
    except tomllib.TOMLDecodeError as error:
        raise ExplicateError(f"{str(path)!r} is not TOML: {error}; write {_FORMS['template']}") from None
    except ValidationError as error:
        check_kind(path, found, "template", _FORMS["template"])
        # A misspelt key is why another one is missing.
        first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        place = list(first["loc"])
        if first["type"] == "extra_forbidden":
            told = f"unknown key {dotted(place)!r}; the keys are {', '.join(_FORMS)}"
        else:
            wrong = "the key is missing" if first["type"] == "missing" else first["msg"]
            told = f"{dotted(place)}: {wrong}; write {_FORMS[str(place[0])]}"
        raise ExplicateError(f"{str(path)!r}{at_line(lines, place)}: {told}") from None
    folded = [label.casefold() for label in task.labels]
    if len(set(folded)) < len(folded):
        raise ExplicateError(f"{str(path)!r}{at_line(lines, ['labels'])}: two labels are the same; write {_FORMS['labels']}")
    unknown = [name for name in task.gold_names.values() if name not in task.labels]
    if unknown:
        place = ["gold_names"]
        raise ExplicateError(f"{str(path)!r}{at_line(lines, place)}: {unknown[0]!r} is none of the labels {', '.join(task.labels)}")
    return task
