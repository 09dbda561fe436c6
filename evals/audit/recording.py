"""Recorded answers of a model to texts and to the same texts with words left out, audited without asking anyone.

A file, also gzipped, is JSON or JSONL rows of {`text`, `label`, `confidence`}; an item is a row that also has `explanation`, a list of
[word, value] over the words of its text (split at single spaces), positive values speaking for the answer; `gold` is its true label.
A row without `explanation` is an answer to a perturbed text. What failed is null or {"failed": why}, in place of the label or of the
explanation. The recordings of Huang et al. 2023 (an object with `sentences`, `recorded`, `published_self`, ...) are read as well; their
values speak for the label 1.
"""

import gzip
import hashlib
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError

from agents.beliefs import Belief
from analyzers.errors import ExplicateError, Failed
from analyzers.units import Kept
from evals.audit.faithfulness import Deletions, Ranking, deletions
from evals.audit.published import Answer

NOISE = 1e-3
"""The code of Huang et al. adds up to this to every value; what lies above the last multiple of it is cut off."""

Confidence = Annotated[float, Field(ge=0, le=1, strict=True)]
Label = Annotated[str, Field(min_length=1, strict=True)] | Annotated[int, Field(strict=True)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Why(_Strict):
    failed: str


class _Row(_Strict):
    text: str
    label: Label | _Why | None
    confidence: Confidence | None = None
    explanation: list[tuple[str, Annotated[FiniteFloat, Field(strict=True)]]] | _Why | None = None
    gold: Label | None = None


class _Huang(_Strict):
    model: str
    order: str
    sentences: Annotated[list[str], Field(min_length=1)]
    gold: list[float]
    recorded: list[tuple[str, Literal[0, 1], Confidence]]
    published_self: list[list[tuple[str, int, FiniteFloat]]]
    published_occlusion: list[list[tuple[str, int, FiniteFloat]]]


@dataclass(frozen=True)
class RecordedItem:
    """A text and the explanations of the answer to it."""

    words: tuple[str, ...]
    gold: str | None
    rankings: Mapping[str, Ranking | Failed]
    """By source: self, occlusion. Signed for the predicted label."""
    by_positivity: Mapping[str, Ranking] = field(default_factory=dict)
    """The same as published code ranks them, where there are two labels: by how much they speak for the second."""

    @property
    def text(self) -> str:
        return " ".join(self.words)


@dataclass(frozen=True)
class Recording:
    """Answers by text, and the items among the texts."""

    model: str
    """Empty where the file does not say."""
    order: str
    """explain-first or predict-first; empty where the file does not say."""
    labels: tuple[str, ...]
    answers: Mapping[str, tuple[str, float] | Failed]
    items: tuple[RecordedItem, ...]

    def recorded(self, item: RecordedItem, kept: Kept) -> tuple[str, float] | Failed:
        """Label and confidence of these words of the item."""
        text = " ".join(item.words[unit] for unit in sorted(kept))
        return self.answers.get(text, Failed("replay", "the recording lacks a text"))

    def believes(self, item: RecordedItem, kept: Kept) -> Belief | Failed:
        """What the model said of these words of the item; the paper's convention, all labels alike, where none is left."""
        if not kept:
            return Belief.undecided(self.labels)
        answer = self.recorded(item, kept)
        return answer if isinstance(answer, Failed) else Belief.stated(*answer, self.labels)

    def answer(self, item: RecordedItem, kept: Kept) -> Answer | Failed:
        """The same in the terms of the published code: whether the second label was answered, and the confidence."""
        found = self.recorded(item, kept)
        return found if isinstance(found, Failed) else (found[0] == self.labels[1], found[1])

    def deletions(self, item: RecordedItem) -> Deletions | Failed:
        """What leaving out each word alone did."""
        return deletions(len(item.words), partial(self.believes, item))


def digest(path: Path) -> str:
    """SHA-256 of the file; raises ExplicateError where it cannot be read."""
    return hashlib.sha256(_bytes(path)).hexdigest()


def read(path: Path, *, seed: int = 0) -> Recording:
    """Read a file of recorded answers; ties of its explanations are broken by draws from `seed`.

    Raises ExplicateError that names the file and the row for what is not of the form above.
    """
    found = _parsed(path, _text(path))
    if isinstance(found, dict) and "recorded" in found:
        return _huang(path, found)
    return _rows(path, [found] if isinstance(found, dict) else found, np.random.default_rng(seed))


def _wrong(path: Path, what: str) -> ExplicateError:
    return ExplicateError(
        f"{str(path)!r}: {what}; give JSON or JSONL rows of {{text, label, confidence}}, with explanation ([[word, value], ...]) on the "
        "rows that are to be audited"
    )


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ExplicateError(f"there is no file {str(path)!r}; --replay takes a file of recorded answers") from None
    except OSError as error:
        reason = error.strerror or error
        raise ExplicateError(f"{str(path)!r} cannot be read: {reason}; --replay takes a file of recorded answers") from None


def _text(path: Path) -> str:
    data = _bytes(path)
    try:
        return (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8")
    except (OSError, EOFError, zlib.error):
        raise _wrong(path, "it is a damaged gzip file") from None
    except UnicodeDecodeError:
        raise _wrong(path, "it is no text") from None


def _parsed(path: Path, text: str) -> Any:
    if not text.strip():
        raise _wrong(path, "it is empty")
    try:
        return json.loads(text)
    except RecursionError:
        raise _wrong(path, "it is nested too deep") from None
    except ValueError:
        pass
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise _wrong(path, f"line {number} is no JSON ({error})") from None
    return rows


def _first_error(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if not str(part).startswith(("function-", "constrained-")))
    return f"{place}: {first['msg']}"


def _failed(stage: str, said: _Why | None) -> Failed:
    return Failed(stage, "recorded as failed" if said is None else said.failed)


def _answered(path: Path, rows: Sequence[tuple[str, tuple[str, float] | Failed]]) -> dict[str, tuple[str, float] | Failed]:
    answers: dict[str, tuple[str, float] | Failed] = {}
    for text, answer in rows:
        if answers.setdefault(text, answer) != answer:
            raise _wrong(path, f"the text {text[:60]!r} has two different answers")
    return answers


def _rows(path: Path, found: Any, rng: np.random.Generator) -> Recording:
    if not isinstance(found, list):
        raise _wrong(path, "it holds neither rows nor a recording")
    rows: list[tuple[int, _Row, tuple[str, float] | Failed]] = []
    for number, each in enumerate(found, 1):
        try:
            row = _Row.model_validate(each)
        except ValidationError as error:
            raise _wrong(path, f"row {number}: {_first_error(error)}") from None
        if isinstance(row.label, _Why | None):
            rows.append((number, row, _failed("answer", row.label)))
        elif row.confidence is None:
            raise _wrong(path, f"row {number} has a label and no confidence from 0 to 1")
        else:
            rows.append((number, row, (str(row.label), row.confidence)))
    answers = _answered(path, [(row.text, answer) for _, row, answer in rows])
    labels = tuple(sorted({answer[0] for answer in answers.values() if not isinstance(answer, Failed)}))
    if len(labels) < 2:
        raise _wrong(path, f"all answers are {labels[0]!r}, and an audit needs two labels" if labels else "it has no answers")
    recording = Recording("", "", labels, answers, ())
    items = [
        _item(path, number, recording, row, answer, rng)
        for (number, row, answer), each in zip(rows, found, strict=True)
        if "explanation" in each
    ]
    if not items:
        raise _wrong(path, "no row has an explanation, so there is nothing to audit")
    if len({item.text for item in items}) < len(items):
        raise _wrong(path, "two rows explain the answer to the same text")
    return Recording("", "", labels, answers, tuple(items))


def _item(
    path: Path, number: int, recording: Recording, row: _Row, answer: tuple[str, float] | Failed, rng: np.random.Generator
) -> RecordedItem:
    words = tuple(row.text.split(" "))
    gold = None if row.gold is None else str(row.gold)
    if isinstance(answer, Failed):
        return RecordedItem(words, gold, {"self": answer, "occlusion": answer})
    if isinstance(row.explanation, _Why | None):
        said: Ranking | Failed = _failed("explain", row.explanation)
    elif [word for word, _ in row.explanation] != list(words):
        raise _wrong(
            path,
            f"the explanation of row {number} is not a [word, number] for every word of its text, which are what stands between single "
            f"spaces: {', '.join(map(repr, words[:6]))}{', ...' if len(words) > 6 else ''}",
        )
    else:
        said = Ranking.of([value for _, value in row.explanation], rng)
    single = recording.deletions(RecordedItem(words, gold, {}))
    effects = single if isinstance(single, Failed) else Ranking.of(single.effects.tolist(), rng)
    rankings = {"self": said, "occlusion": effects}
    positive = {}
    if len(recording.labels) == 2:
        sign = 1 if answer[0] == recording.labels[1] else -1
        positive = {
            name: Ranking(tuple(sign * value for value in ranking.values), ranking.order[::sign])
            for name, ranking in rankings.items()
            if not isinstance(ranking, Failed)
        }
    return RecordedItem(words, gold, rankings, positive)


def _huang(path: Path, found: Mapping[str, Any]) -> Recording:
    """The recordings of Huang et al. 2023: published orders, in which noise has broken the ties."""
    try:
        data = TypeAdapter(_Huang).validate_python(found)
    except ValidationError as error:
        raise _wrong(path, f"it is not quite a recording of Huang et al. ({_first_error(error)})") from None
    answers = _answered(path, [(text, (str(label), confidence)) for text, label, confidence in data.recorded])
    items = []
    try:
        for text, gold, said, left_out in zip(data.sentences, data.gold, data.published_self, data.published_occlusion, strict=True):
            items.append(_huang_item(text, gold, {"self": said, "occlusion": left_out}, answers))
    except (KeyError, ValueError) as error:
        raise _wrong(path, f"it is not quite a recording of Huang et al. ({error})") from None
    order = "predict-first" if data.order.startswith("predict") else "explain-first"
    return Recording(data.model, order, ("0", "1"), answers, tuple(items))


def _huang_item(
    text: str, gold: float, explained: Mapping[str, Sequence[tuple[str, int, float]]], answers: Mapping[str, tuple[str, float] | Failed]
) -> RecordedItem:
    words = tuple(text.split(" "))
    answer = answers[text]
    sign = 1 if not isinstance(answer, Failed) and answer[0] == "1" else -1
    signed, positive = {}, {}
    for name, triples in explained.items():
        if sorted(unit for _, unit, _ in triples) != list(range(len(words))):
            raise ValueError(f"the explanation {name!r} of {text[:40]!r} does not have every word once")
        by_unit = {unit: math.floor(value / NOISE + 1e-6) * NOISE for _, unit, value in triples}
        values = [by_unit[unit] for unit in range(len(words))]
        order = tuple(unit for _, unit, _ in triples)
        positive[name] = Ranking(tuple(values), order)
        signed[name] = Ranking(tuple(sign * value for value in values), order[::sign])
    return RecordedItem(words, str(int(gold > 0.5)), signed, positive)
