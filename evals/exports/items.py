"""The items of a run as all formats take them: what was asked, what was written, and the scores of it."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from agents.free_answers import alike
from evals.audit.results import Answered, AuditItem
from evals.confidence.results import ConfidenceItem, ItemDeletion
from evals.metrics.metric import named, of_text
from evals.results import Failure, RunResults, Scores, Value
from evals.run_folder import read_items, read_results

Line = TypeVar("Line", bound=BaseModel)
Score = Value | float | Failure


@dataclass(frozen=True)
class Item:
    """A text that a model was asked about, or a site that was labelled."""

    key: str
    """A site, or a hash of the text by which it is found in another run."""
    asked: str
    """The text, or the site again."""
    gold: str | None
    written: str
    """What the model wrote, or the explanation of the site."""
    scores: Mapping[str, Mapping[str, Score]]
    """By what they are of, and by name."""

    @property
    def text(self) -> str:
        """What tells a reader which it is."""
        return self.asked if self.asked != self.key else self.written


def items_of_run(folder: Path, kind: str) -> Iterator[Item]:
    """The items of a folder of kind label, audit or confidence; raises RunFolderError where they cannot be read."""
    if kind == "label":
        return _labels(folder)
    return _audited(folder) if kind == "audit" else _stated(folder)


def _labels(folder: Path) -> Iterator[Item]:
    for site in read_results(folder, RunResults).sites:
        scores: dict[str, Scores] = {"explanation": {**site.scores, "lift": site.lift}}
        scores |= {f"explanation {stratum}": found for stratum, found in site.by_stratum.items()}
        scores |= dict(site.controls)
        name = site.site + ("-" if site.polarity == "-" else "")
        yield Item(name, name, None, site.explanation or "", scores)


def _audited(folder: Path) -> Iterator[Item]:
    """Ways of asking and of perturbing are scores of one and the same item."""
    seen: dict[tuple[str, ...], dict[str, int]] = defaultdict(dict)
    found: dict[str, list[AuditItem]] = defaultdict(list)
    for line in read_items(folder, AuditItem):
        found[of_text(line.text, seen[line.elicitation, line.order, line.persona, line.operator])].append(line)
    for key, lines in found.items():
        scores: dict[str, dict[str, Score]] = {}
        replies: dict[str, str] = {}
        for line in lines:
            way = (line.elicitation, line.order, line.persona)
            answered = isinstance(line.answer, Answered)
            scores[named(*way)] = {"confidence": line.answer.confidence if isinstance(line.answer, Answered) else line.answer}
            if line.gold is not None and isinstance(line.answer, Answered):
                scores[named(*way)]["correct"] = float(alike(line.answer.label, line.gold))
            for source, metrics in line.metrics.items() if answered else ():
                scores[named(source, *way, line.operator)] = dict(metrics)
            if line.reply is not None:
                replies[named(*way)] = line.reply
        yield Item(key, lines[0].text, lines[0].gold, _joined(replies), scores)


def _stated(folder: Path) -> Iterator[Item]:
    seen: dict[str, int] = {}
    for line in read_items(folder, ConfidenceItem):
        scores: dict[str, dict[str, Score]] = {}
        for answer in line.answers:
            missing = answer.failed or Failure(stage="replies", reason="no answer")
            scores[named(answer.prompting, answer.sampling, answer.aggregate)] = {
                "confidence": missing if answer.confidence is None else answer.confidence,
                "correct": missing if answer.correct is None else float(answer.correct),
            }
        found = line.deletion
        if isinstance(found, ItemDeletion):
            figures = ("whole", "without", "changed", "changed_random")
            scores["deletion"] = {figure: float(getattr(found, figure)) for figure in figures}
        elif found is not None:
            scores["deletion"] = {"without": found}
        replies: dict[str, str] = {}
        for asked in line.replies:
            if not isinstance(asked.replies, Failure):
                said = [written for reply in asked.replies for written in reply.written]
                replies[named(asked.prompting, asked.sampling)] = "\n\n".join(said)
        yield Item(of_text(line.text, seen), line.text, line.gold, _joined(replies), scores)


def _joined(replies: Mapping[str, str]) -> str:
    if len(replies) == 1:
        return next(iter(replies.values()))
    return "\n\n".join(f"[{way}]\n{reply}" for way, reply in replies.items())
