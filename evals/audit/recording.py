"""Recorded answers of a model to texts and to the same texts with words left out, audited without asking anyone.

A file, also gzipped, is JSON or JSONL rows of {`text`, `label`, `confidence`}; an item is a row that also has `explanation`, a list of
[word, value] over the words of its text (split at single spaces), positive values speaking for the answer; `gold` is its true label.
A row without `explanation` is an answer to a perturbed text. The recordings of Huang et al. 2023 (an object with `sentences`,
`recorded`, `published_self`, ...) are read as well; their values speak for the positive label.
"""

import gzip
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from analyzers.errors import ExplicateError, Failed
from evals.audit.belief import Belief, Kept
from evals.audit.faithfulness import Ranking, deletions
from evals.audit.published import Answer

NOISE = 1e-3
"""The code of Huang et al. adds up to this to every value; what lies above the last multiple of it is cut off."""


@dataclass(frozen=True)
class RecordedItem:
    """A text and the explanations of the answer to it."""

    words: tuple[str, ...]
    gold: str | None
    rankings: Mapping[str, Ranking]
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
    order: str
    """explain-first or predict-first; empty where the file does not say."""
    labels: tuple[str, ...]
    answers: Mapping[str, tuple[str, float]]
    items: tuple[RecordedItem, ...]

    def believes(self, item: RecordedItem, kept: Kept) -> Belief | Failed:
        """What the model said of these words of the item; the paper's convention, all labels alike, where none is left."""
        if not kept:
            return Belief.undecided(self.labels)
        answer = self.answers.get(_text(item, kept))
        return Failed("replay", "the recording lacks a text") if answer is None else Belief.stated(*answer, self.labels)

    def answer(self, item: RecordedItem, kept: Kept) -> Answer | Failed:
        """The same in the terms of the published code: whether the second label was answered, and the confidence."""
        found = self.answers.get(_text(item, kept))
        return Failed("replay", "the recording lacks a text") if found is None else (found[0] == self.labels[1], found[1])


def read(path: Path, *, seed: int = 0) -> Recording:
    """Read a file of recorded answers; ties of its explanations are broken by draws from `seed`.

    Raises ExplicateError that names the file and the row for what is not of the form above.
    """
    text = _open(path)
    found = _parsed(path, text)
    if isinstance(found, dict) and "recorded" in found:
        return _huang(path, found)
    rows = [found] if isinstance(found, dict) else found
    return _rows(path, rows, np.random.default_rng(seed))


def _text(item: RecordedItem, kept: Kept) -> str:
    return " ".join(item.words[unit] for unit in sorted(kept))


def _wrong(path: Path, what: str) -> ExplicateError:
    return ExplicateError(
        f"{str(path)!r}: {what}; give JSON or JSONL rows of {{text, label, confidence}}, with explanation ([[word, value], ...]) on the "
        "rows that are to be audited"
    )


def _open(path: Path) -> str:
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8")
    except FileNotFoundError:
        raise ExplicateError(f"there is no file {str(path)!r}; --replay takes a file of recorded answers") from None
    except OSError as error:
        raise ExplicateError(
            f"{str(path)!r} cannot be read: {error.strerror or error}; --replay takes a file of recorded answers"
        ) from None
    except (UnicodeDecodeError, EOFError):
        raise _wrong(path, "it is no text") from None


def _parsed(path: Path, text: str) -> Any:
    if not text.strip():
        raise _wrong(path, "it is empty")
    try:
        return json.loads(text)
    except ValueError:
        pass
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise _wrong(path, f"line {number} is no JSON ({error})") from None
    return rows


def _answer(path: Path, number: int, row: Any) -> tuple[str, str, float]:
    if not isinstance(row, dict):
        raise _wrong(path, f"row {number} is no object")
    text, label, confidence = (row.get(name) for name in ("text", "label", "confidence"))
    if not isinstance(text, str) or not isinstance(label, str | int) or isinstance(label, bool):
        raise _wrong(path, f"row {number} has no text or no label")
    if isinstance(confidence, bool) or not isinstance(confidence, int | float) or not 0 <= confidence <= 1:
        raise _wrong(path, f"row {number} has no confidence from 0 to 1, but {confidence!r}")
    return text, str(label), float(confidence)


def _answers(path: Path, rows: Sequence[tuple[str, str, float]]) -> dict[str, tuple[str, float]]:
    answers: dict[str, tuple[str, float]] = {}
    for text, label, confidence in rows:
        if answers.setdefault(text, (label, confidence)) != (label, confidence):
            raise _wrong(path, f"the text {text[:60]!r} has two different answers")
    return answers


def _rows(path: Path, rows: Any, rng: np.random.Generator) -> Recording:
    if not isinstance(rows, list):
        raise _wrong(path, "it holds neither rows nor a recording")
    answers = _answers(path, [_answer(path, number, row) for number, row in enumerate(rows, 1)])
    labels = tuple(sorted({label for label, _ in answers.values()}))
    if len(labels) < 2:
        raise _wrong(path, f"all answers are {labels[0]!r}, and an audit needs two labels" if labels else "it has no rows")
    recording = Recording(path.stem, "", labels, answers, ())
    items = []
    for number, row in enumerate(rows, 1):
        if "explanation" in row:
            words = tuple(row["text"].split(" "))
            values = _values(path, number, words, row["explanation"])
            gold = None if row.get("gold") is None else str(row["gold"])
            bare = RecordedItem(words, gold, {})
            rankings = {"self": Ranking.of(values, rng)}
            single = deletions(len(words), partial(recording.believes, bare))
            if not isinstance(single, Failed):
                rankings["occlusion"] = Ranking.of(single.effects.tolist(), rng)
            items.append(RecordedItem(words, gold, rankings))
    if not items:
        raise _wrong(path, "no row has an explanation, so there is nothing to audit")
    return Recording(path.stem, "", labels, answers, tuple(items))


def _values(path: Path, number: int, words: Sequence[str], said: Any) -> list[float]:
    """[word] the values of an explanation, which must be of exactly these words."""
    pairs = [pair for pair in said if isinstance(pair, list) and len(pair) == 2] if isinstance(said, list) else []
    numbers = [value for _, value in pairs if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)]
    if [word for word, _ in pairs] != list(words) or len(numbers) != len(words):
        raise _wrong(path, f"the explanation of row {number} is not a [word, number] for every word of its text")
    return [float(value) for value in numbers]


def _huang(path: Path, found: Mapping[str, Any]) -> Recording:
    """The recordings of Huang et al. 2023: published orders, in which noise has broken the ties."""
    try:
        rows = [(str(text), str(label), float(confidence)) for text, label, confidence in found["recorded"]]
        sentences, gold = found["sentences"], found["gold"]
        explained = {name: found[f"published_{name}"] for name in ("self", "occlusion")}
        order = "predict-first" if str(found["order"]).startswith("predict") else "explain-first"
        answers = _answers(path, rows)
        items = tuple(
            _huang_item(text, true, {name: each[number] for name, each in explained.items()}, answers)
            for number, (text, true) in enumerate(zip(sentences, gold, strict=True))
        )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise _wrong(path, f"it is not quite a recording of Huang et al. ({type(error).__name__}: {error})") from None
    return Recording(str(found["model"]), order, ("0", "1"), answers, items)


def _huang_item(
    text: str, gold: float, explained: Mapping[str, Sequence[tuple[str, int, float]]], answers: Mapping[str, tuple[str, float]]
) -> RecordedItem:
    words = tuple(text.split(" "))
    sign = 1 if answers[text][0] == "1" else -1
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
