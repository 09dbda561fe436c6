"""What a live audit leaves in its folder beside results.json: items.jsonl and perturbations.parquet."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from agents.self_explanations import Elicited
from analyzers.errors import Failed
from evals.audit.faithfulness import Ranking
from evals.audit.results import Answered, AuditItem
from evals.audit.work import Group, Work
from evals.results import Failure, failure
from evals.run_folder import write_json_lines, write_parquet


def write_items(folder: Path, works: Sequence[Work]) -> None:
    """A line an item, way of asking and operator."""
    lines = [_line(work, group, operator) for work in works for group, operator in work.figures]
    lines += [_failed_line(work) for work in works if not work.figures]
    write_json_lines(folder / "items.jsonl", [line.model_dump(mode="json") for line in lines])


def _line(work: Work, group: Group, operator: str) -> AuditItem:
    figures, single, said = work.figures[group, operator], work.singles[group, operator], work.said[group]
    return AuditItem(
        elicitation=group.elicitation,
        order=group.order,
        operator=operator,
        persona=group.persona,
        text=work.units.text,
        units=list(work.units.texts),
        gold=work.item.gold,
        answer=_answered(work, group, operator, said),
        attributions={name: _values(ranking) for name, ranking in figures.rankings.items()},
        effects=failure(single) if isinstance(single, Failed) else single.effects.tolist(),
        metrics={
            source: {name: failure(value) if isinstance(value, Failed) else value for name, value in found.items()}
            for source, found in figures.figures.items()
        },
        reply=work.replies.get(group),
        match={} if isinstance(said, Failed) else dict(vars(said.said.match)),
    )


def _values(ranking: Ranking | Failed) -> list[float] | Failure:
    return failure(ranking) if isinstance(ranking, Failed) else list(ranking.values)


def _answered(work: Work, group: Group, operator: str, said: Elicited | Failed) -> Answered | Failure:
    """What the perturbations are about: the model's answer to the whole text, and its f."""
    belief = work.wholes.get((group, operator), work.failed or Failed("predict", "not asked"))
    if isinstance(belief, Failed):
        return failure(belief)
    if belief.label is None:
        return Failure(stage="predict", reason="the model is undecided on the whole text")
    stated = None if isinstance(said, Failed) or isinstance(said.confidence, Failed) else said.confidence
    return Answered(label=belief.label, confidence=belief.probabilities[belief.label], stated=stated)


def _failed_line(work: Work) -> AuditItem:
    why = failure(work.failed or Failed("item", "not audited"))
    return AuditItem(
        elicitation="",
        operator="",
        text=work.units.text,
        units=list(work.units.texts),
        gold=work.item.gold,
        answer=why,
        attributions={"self": why},
        effects=why,
        metrics={},
    )


def write_perturbations(folder: Path, works: Sequence[Work]) -> None:
    """A row a text that the model was asked about."""
    import pyarrow as pa

    schema = pa.schema(
        [
            ("item", pa.int64()),
            ("persona", pa.string()),
            ("prompt", pa.string()),
            ("operator", pa.string()),
            ("kept", pa.list_(pa.int64())),
            ("text", pa.string()),
            ("answer", pa.string()),
            ("probabilities", pa.string()),
            ("label_mass", pa.float64()),
            ("failed", pa.string()),
        ]
    )
    write_parquet(folder / "perturbations.parquet", list(_rows(works)), schema)


def _rows(works: Sequence[Work]) -> list[Mapping[str, object]]:
    found: list[Mapping[str, object]] = []
    for work in works:
        for (persona, form, operator, _), truth in work.truths.items():
            of = {text: sorted(kept) for kept, text in truth.sets.items()}
            for text, belief in truth.beliefs.items():
                found.append(
                    {
                        "item": work.item.number,
                        "persona": persona,
                        "prompt": form,
                        "operator": operator,
                        "kept": of.get(text),
                        "text": text,
                        "answer": None if isinstance(belief, Failed) else belief.label,
                        "probabilities": None if isinstance(belief, Failed) else json.dumps(dict(belief.probabilities), ensure_ascii=False),
                        "label_mass": None if isinstance(belief, Failed) else belief.mass,
                        "failed": belief.reason if isinstance(belief, Failed) else None,
                    }
                )
    return found
