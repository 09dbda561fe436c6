"""Topics of true and false statements, each from a file with the columns `statement` and `label` and, if it has one, `negation`."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from analyzers.errors import ExplicateError
from analyzers.whole_text import whole_text
from evals.tasks.items import rows_of

STATEMENT, LABEL, NEGATION = "statement", "label", "negation"
SAMPLES = Path(__file__).parent / "samples" / "truth"
LABELS = {"1": True, "0": False, "true": True, "false": False}
_FORM = "a CSV, TSV or JSON lines file with the columns statement and label (1 or true, 0 or false)"


@dataclass(frozen=True)
class Statement:
    """One statement with whether it is true."""

    text: str
    true: bool
    negation: str | None = None
    """What denies it, where the file says it."""


@dataclass(frozen=True)
class Topic:
    """The statements of one file, each once."""

    name: str
    """Of the file, without its ending."""
    statements: tuple[Statement, ...]
    left_out: int
    """Statements that stand there again, and those that are both true and false there."""
    digest: str
    """SHA-256 of statements, labels and negations."""

    def __len__(self) -> int:
        return len(self.statements)


def samples() -> list[str]:
    """Paths of the small topics that come with explicate."""
    return [str(path) for path in sorted(SAMPLES.glob("*.csv"))]


def read_topics(sources: Sequence[str], *, option: str = "--csv", one_class: bool = False) -> list[Topic]:
    """The topics of files (or hf:DATASET), in their order.

    one_class: whether a topic may be all true or all false. Raises ExplicateError, naming the file and the line: no such file, no column
    statement or label, a label that is neither true nor false, a statement without text, one class only, a file or a name given twice.
    """
    topics: list[Topic] = []
    for source in sources:
        if sources.count(source) > 1:
            raise ExplicateError(f"{option} names {source!r} {sources.count(source)} times; name each file once, one for each topic")
        topics.append(_topic(source, one_class))
        if topics[-1].name in [topic.name for topic in topics[:-1]]:
            raise ExplicateError(f"{option}: two files are called {topics[-1].name!r}, which names a topic; rename one of them")
    return topics


def apart(topics: Sequence[Topic], others: Sequence[Topic] = ()) -> tuple[list[Topic], int]:
    """The topics without statements that an earlier one of them, or any of the others, has, and how many these are: what is tested must
    not have been trained on."""
    seen = {_key(statement) for other in others for statement in other.statements}
    kept, lost = [], 0
    for topic in topics:
        own = tuple(statement for statement in topic.statements if _key(statement) not in seen)
        seen |= {_key(statement) for statement in own}
        lost += len(topic) - len(own)
        kept.append(Topic(topic.name, own, topic.left_out, topic.digest))
    return kept, lost


def drawn(topics: Sequence[Topic], limit: int, seed: int) -> list[Topic]:
    """So many statements in all, or all that there are, from each topic and of true and false ones in proportion."""
    labels = np.array([each.true for topic in topics for each in topic.statements])
    numbers = np.repeat(np.arange(len(topics)), [len(topic) for topic in topics])
    kept = set(in_proportion(numbers * 2 + labels, limit, seed).tolist())
    found, at = [], 0
    for topic in topics:
        own = tuple(each for place, each in enumerate(topic.statements, at) if place in kept)
        found.append(Topic(topic.name, own, topic.left_out, topic.digest))
        at += len(topic)
    return found


def in_proportion(group: npt.NDArray[np.integer[Any]], limit: int, seed: int) -> npt.NDArray[np.int64]:
    """Numbers, ascending, of so many items drawn from all groups in proportion; group [item]."""
    _, index, sizes = np.unique(group, return_inverse=True, return_counts=True)
    if limit >= len(group):
        return np.arange(len(group))
    shares = sizes * limit / len(group)
    counts = np.floor(shares).astype(int)
    counts[np.argsort(counts - shares, kind="stable")[: limit - counts.sum()]] += 1
    rng = np.random.default_rng(seed)
    return np.sort(np.concatenate([rng.permutation(np.flatnonzero(index == at))[:count] for at, count in enumerate(counts)]))


def without_period(text: str) -> str:
    """A statement without the period that ends it."""
    bare = text.rstrip()
    return bare[:-1].rstrip() if bare.endswith(".") and not bare.endswith("..") else bare


def _key(statement: Statement) -> str:
    return without_period(statement.text).casefold()


def _topic(source: str, one_class: bool) -> Topic:
    rows = list(rows_of(source))
    if not rows:
        raise ExplicateError(f"{source!r} has no statement; give {_FORM}")
    columns = list(rows[0][1])
    for name in (STATEMENT, LABEL):
        if name not in columns:
            raise ExplicateError(f"{source!r} has no column {name!r} but {', '.join(map(repr, columns)) or 'none'}; give {_FORM}")
    found: dict[str, Statement] = {}
    labels: dict[str, set[bool]] = {}
    for where, row in rows:
        statement = _statement(where, row)
        found.setdefault(_key(statement), statement)
        labels.setdefault(_key(statement), set()).add(statement.true)
    kept = tuple(statement for key, statement in found.items() if len(labels[key]) == 1)
    true = sum(statement.true for statement in kept)
    if not one_class and true in (0, len(kept)):
        raise ExplicateError(f"{source!r} has {true} true statements and {len(kept) - true} false ones; give some of both")
    content = json.dumps([[each.text, each.true, each.negation] for each in kept], ensure_ascii=False)
    return Topic(_name(source), kept, len(rows) - len(kept), hashlib.sha256(content.encode()).hexdigest())


def _name(source: str) -> str:
    return source if source.startswith("hf:") else Path(source).name.removesuffix(".gz").rpartition(".")[0] or source


def _statement(where: str, row: Any) -> Statement:
    text, label, negation = row.get(STATEMENT), row.get(LABEL), row.get(NEGATION)
    if not isinstance(text, str) or not without_period(text).strip():
        raise ExplicateError(f"{where} has {str(text)[:60]!r} as its statement; give each row a text, or take the row out")
    true = LABELS.get(str(label).strip().casefold())
    if true is None:
        raise ExplicateError(f"{where} has the label {str(label)[:60]!r}; write 1 or true for a true statement, 0 or false for a false one")
    denied = whole_text(negation).strip() if isinstance(negation, str) else ""
    return Statement(whole_text(text).strip(), true, denied or None)
