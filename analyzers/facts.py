"""Facts that a model may know: a text about a subject, and what it goes on with."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analyzers.corpus import json_objects, text_lines
from analyzers.errors import CorpusError
from analyzers.tokens import Span
from analyzers.whole_text import whole_text

FORM = '{"prompt": "The Eiffel Tower stands in", "subject": "The Eiffel Tower", "target": " Paris"}'


@dataclass(frozen=True)
class Fact:
    """Where the prompt ends, the target begins."""

    prompt: str
    subject: str
    """Stands in the prompt."""
    target: str
    """With its leading space, where it has one."""
    id: str

    @property
    def span(self) -> Span:
        """Characters of the prompt that are the subject, where it stands first."""
        start = self.prompt.index(self.subject)
        return start, start + len(self.subject)


def read_facts(path: Path) -> list[Fact]:
    """Those of JSON lines, or of a JSON file that is one list.

    Keys: `prompt`, `subject`, and `target`, or as in known_1000 `attribute`, or as in CounterFact `requested_rewrite` with a prompt that
    has {} for the subject and `target_true`. Raises CorpusError, naming the record, for one that is none of these, whose subject does not
    stand in its prompt, or that is empty, and for a file without any.
    """
    found = [fact_of(record, where, f"{path.stem}:{number}") for number, (where, record) in enumerate(records(path, FORM), 1)]
    if not found:
        raise CorpusError(f"{str(path)!r} holds no fact; give lines such as {FORM}")
    return found


def fact_of(record: dict[str, Any], where: str, name: str) -> Fact:
    """As `read_facts` of one record, which messages call `where`."""
    rewrite = record.get("requested_rewrite")
    if rewrite is not None:
        return _rewritten(rewrite, where, str(record.get("case_id", name)))
    prompt, subject = (_text(record.get(key), key, where) for key in ("prompt", "subject"))
    target = _text(record.get("target", record.get("attribute")), "target", where)
    return checked(prompt, subject, target, where, str(record.get("id", record.get("known_id", name))))


def checked(prompt: str, subject: str, target: str, where: str, name: str) -> Fact:
    """A fact whose parts fit; the target has a space before it where neither it nor the prompt has one between them."""
    if subject not in prompt:
        raise CorpusError(f"{where}: the subject {subject[:60]!r} does not stand in the prompt {prompt[:80]!r}; write it there as it is")
    return Fact(prompt.rstrip(), subject, target if target[0].isspace() else f" {target}", name)


def records(path: Path, form: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """What each record is called in messages, and the record, of JSON lines or of a .json file that is one list of objects.

    Raises CorpusError, which shows the form of a record, for what is neither.
    """
    if path.suffix != ".json":
        yield from (each for _, each in json_objects(path, f"give one object a line, such as {form}"))
        return
    try:
        whole = json.loads("".join(line for _, line in text_lines(path)))
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{str(path)!r} is not JSON ({error}); give a list of objects such as {form}") from None
    if not isinstance(whole, list):
        raise CorpusError(f"{str(path)!r} holds {type(whole).__name__}, not a list; give a list of objects such as {form}")
    for number, record in enumerate(whole, 1):
        where = f"{str(path)!r} record {number}"
        if not isinstance(record, dict):
            raise CorpusError(f"{where} holds no JSON object but {type(record).__name__}; give objects such as {form}")
        yield where, record


def _rewritten(rewrite: Any, where: str, name: str) -> Fact:
    """A CounterFact record's true fact."""
    if not isinstance(rewrite, dict) or not isinstance(rewrite.get("target_true"), dict):
        raise CorpusError(f"{where}: requested_rewrite has no target_true; give CounterFact's records as they are")
    template, subject = (_text(rewrite.get(key), f"requested_rewrite.{key}", where) for key in ("prompt", "subject"))
    if template.count("{}") != 1:
        raise CorpusError(f"{where}: requested_rewrite.prompt is {template[:60]!r}; write {{}} once, where the subject stands")
    target = _text(rewrite["target_true"].get("str"), "requested_rewrite.target_true.str", where)
    return checked(template.replace("{}", subject), subject, target, where, name)


def _text(value: Any, key: str, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise CorpusError(f"{where}: {key!r} holds {str(value)[:40]!r}; give a text that is not empty, as in {FORM}")
    return whole_text(value)
