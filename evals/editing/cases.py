"""Edits to make and what is asked after each, from files in the forms of CounterFact, zsRE and KnowEdit, and from plain lines."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analyzers.errors import CorpusError
from analyzers.facts import Fact, checked, records
from analyzers.whole_text import whole_text

FORM = '{"prompt": "The capital of France is", "subject": "France", "target_new": " Rome", "ground_truth": " Paris"}'
FORMATS = ("counterfact", "zsre", "knowedit", "plain")


@dataclass(frozen=True)
class Asked:
    """A prompt, and what stands behind it if all is right."""

    prompt: str
    target: str | None
    """With its leading space; None where the file does not say."""
    kind: str = ""
    """Of portability: how it follows from the edit."""


@dataclass(frozen=True)
class Case:
    """One edit, and what is asked after it."""

    fact: Fact
    """Its target is the new one."""
    true: str | None
    """What was right before, with its leading space."""
    rephrases: tuple[str, ...] = ()
    portability: tuple[Asked, ...] = ()
    """What follows from the edit."""
    locality: tuple[Asked, ...] = ()
    """What it leaves as it is."""
    neighbours: bool = False
    """Whether what the locality asks for is of the edit's own relation, so that the new target would be a mistake there."""
    writing: str | None = None
    """A prompt that the model writes on; None: the fact's own."""
    reference: str | None = None
    """A text on what the new target is true of, which is to be like what is written."""


def read_cases(path: Path, form: str = "auto") -> tuple[list[Case], list[str]]:
    """(edits, notes) of JSON lines or a JSON list; auto takes the form of the first record.

    Raises CorpusError, naming the record, for one of another form, for a subject that does not stand in its prompt, for two edits of one
    prompt and subject with other targets, and for a file without any.
    """
    if not path.is_file():
        raise CorpusError(f"--edits: there is no file {str(path)!r}; give a file with lines such as {FORM}")
    found: dict[tuple[str, str], tuple[str, Case]] = {}
    read: Callable[[dict[str, Any], str, str], Case] | None = None
    again = 0
    for number, (where, record) in enumerate(records(path, FORM), 1):
        read = read or _READERS[_form_of(record) if form == "auto" else form]
        case = read(record, where, f"{path.stem}:{number}")
        key = case.fact.prompt, case.fact.subject
        if key not in found:
            found[key] = where, case
            continue
        earlier, other = found[key]
        if other.fact.target != case.fact.target:
            raise CorpusError(
                f"{where} contradicts {earlier}: of {case.fact.prompt!r} one writes {case.fact.target.strip()!r} and the other "
                f"{other.fact.target.strip()!r}; keep one of them"
            )
        again += 1
    if not found:
        raise CorpusError(f"--edits {str(path)!r} holds no edit; give lines such as {FORM}")
    notes = [f"{again} of the edits in {path.name} stand there before, word for word, and are made once"] if again else []
    return [case for _, case in found.values()], notes


def _form_of(record: Mapping[str, Any]) -> str:
    if "requested_rewrite" in record or "locality_prompt" in record:
        return "counterfact"
    if "src" in record:
        return "zsre"
    return "knowedit" if isinstance(record.get("locality"), dict) or isinstance(record.get("portability"), dict) else "plain"


def _counterfact(record: dict[str, Any], where: str, name: str) -> Case:
    """As it was published, or flat with one rephrase and one prompt elsewhere."""
    name = str(record.get("case_id", name))
    rewrite = record.get("requested_rewrite")
    if rewrite is None:
        case = _plain(record, where, name)
        return Case(**{**vars(case), "neighbours": True})
    template, subject, new, true = (_within(rewrite, key, where) for key in ("prompt", "subject", "target_new", "target_true"))
    if template.count("{}") != 1:
        raise CorpusError(f"{where}: requested_rewrite.prompt is {template[:60]!r}; write {{}} once, where the subject stands")
    fact = checked(template.replace("{}", subject), subject, new, where, name)
    writing = _texts(record.get("generation_prompts"), "generation_prompts", where)
    return Case(
        fact,
        _spaced(true),
        tuple(_texts(record.get("paraphrase_prompts"), "paraphrase_prompts", where)),
        locality=tuple(Asked(each, _spaced(true)) for each in _texts(record.get("neighborhood_prompts"), "neighborhood_prompts", where)),
        neighbours=True,
        writing=writing[0] if writing else None,
    )


def _zsre(record: dict[str, Any], where: str, name: str) -> Case:
    """A question, its new answer (alt), and a question on something else (loc)."""
    prompt, subject, new = (_text(record.get(key), key, where) for key in ("src", "subject", "alt"))
    answers = _texts(record.get("answers", record.get("pred")), "answers", where)
    elsewhere = _texts(record.get("loc"), "loc", where)
    told = _texts(record.get("loc_ans"), "loc_ans", where)
    return Case(
        checked(prompt, subject, new, where, name),
        _spaced(answers[0]) if answers else None,
        tuple(_texts(record.get("rephrase"), "rephrase", where)),
        locality=tuple(Asked(each, _spaced(told[0]) if told else None) for each in elsewhere),
    )


def _knowedit(record: dict[str, Any], where: str, name: str) -> Case:
    """With portability and locality by kind, each a list of prompts with their answers."""
    case = _plain({key: value for key, value in record.items() if key not in ("portability", "locality")}, where, name)
    parts = {part: tuple(_grouped(record.get(part), part, where)) for part in ("portability", "locality")}
    return Case(**{**vars(case), **parts})


def _plain(record: dict[str, Any], where: str, name: str) -> Case:
    prompt, subject = (_text(record.get(key), key, where) for key in ("prompt", "subject"))
    if "target" in record and "target_new" not in record:
        # As of the facts that are traced, which are true.
        raise CorpusError(f"{where} has 'target', what a fact says, and not what it is to say; give lines such as {FORM}")
    new = _text(record.get("target_new"), "target_new", where)
    true = _texts(record.get("ground_truth", record.get("target_true")), "ground_truth", where)
    rephrases = _texts(record.get("rephrase_prompt", record.get("rephrase")), "rephrase", where)
    elsewhere = _texts(record.get("locality_prompt", record.get("locality")), "locality", where)
    told = _texts(record.get("locality_ground_truth"), "locality_ground_truth", where)
    if told and len(told) != len(elsewhere):
        raise CorpusError(f"{where} has {len(elsewhere)} prompts as locality and {len(told)} answers; give one for each")
    further = _texts(record.get("portability_prompt"), "portability_prompt", where)
    answers = _texts(record.get("portability_ground_truth"), "portability_ground_truth", where)
    if len(answers) != len(further):
        raise CorpusError(f"{where} has {len(further)} prompts as portability and {len(answers)} answers; give one for each")
    writing, reference = (_texts(record.get(key), key, where) for key in ("generation_prompt", "reference"))
    return Case(
        checked(prompt, subject, new, where, str(record.get("id", name))),
        _spaced(true[0]) if true else None,
        tuple(rephrases),
        tuple(Asked(each, _spaced(answer)) for each, answer in zip(further, answers, strict=True)),
        tuple(Asked(each, _spaced(told[at]) if told else None) for at, each in enumerate(elsewhere)),
        writing=writing[0] if writing else None,
        reference=" ".join(reference) or None,
    )


_READERS: Mapping[str, Callable[[dict[str, Any], str, str], Case]] = {
    "counterfact": _counterfact,
    "zsre": _zsre,
    "knowedit": _knowedit,
    "plain": _plain,
}


def _grouped(value: Any, key: str, where: str) -> Iterator[Asked]:
    """Of KnowEdit's {kind: [{prompt, ground_truth}, ...]}."""
    if value is None:
        return
    if not isinstance(value, dict):
        raise CorpusError(f'{where}: {key!r} holds no object; give it by kind, as {{"Reasoning": [{{"prompt", "ground_truth"}}]}}')
    for kind, items in value.items():
        for item in items if isinstance(items, list) else [items]:
            if not isinstance(item, dict):
                raise CorpusError(f"{where}: {key}.{kind} holds {str(item)[:40]!r}; give objects with prompt and ground_truth")
            prompt = _text(item.get("prompt"), f"{key}.{kind}.prompt", where)
            answers = _texts(item.get("ground_truth"), f"{key}.{kind}.ground_truth", where)
            if not answers:
                raise CorpusError(f"{where}: {key}.{kind} asks {prompt[:60]!r} and has no ground_truth; give the answer")
            yield Asked(prompt.rstrip(), _spaced(answers[0]), kind)


def _within(rewrite: Any, key: str, where: str) -> str:
    value = rewrite.get(key) if isinstance(rewrite, dict) else None
    return _text(value.get("str") if isinstance(value, dict) else value, f"requested_rewrite.{key}", where)


def _text(value: Any, key: str, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise CorpusError(f"{where}: {key!r} holds {str(value)[:40]!r}; give a text that is not empty, as in {FORM}")
    return whole_text(value)


def _texts(value: Any, key: str, where: str) -> list[str]:
    """A text alone, or those of a list, lists within it taken by their first; none where there is no such key."""
    if value is None or value == "":
        return []
    items = value if isinstance(value, list) else [value]
    return [_text(each[0] if isinstance(each, list) and each else each, key, where).rstrip() for each in items]


def _spaced(target: str) -> str:
    return target if target[0].isspace() else f" {target}"
