"""Audit a model from recorded answers, without asking it anything: what `explicate audit --replay FILE` does."""

from functools import partial
from pathlib import Path

import numpy as np

from analyzers.errors import Failed
from evals.audit.faithfulness import deletions, measure
from evals.audit.published import published
from evals.audit.recording import RecordedItem, Recording, read
from evals.audit.results import AuditResults, Metric
from evals.audit.rows import Asked, Chance, ItemFigures, adjust, agreements, differences, rows
from evals.code_version import code_hash
from evals.results import failure
from evals.run_folder import RunFolder, write_json, write_json_lines


def replay(path: Path, out: Path, *, seed: int) -> AuditResults:
    """Audit a file of recorded answers into a run folder and return what its results.json holds; raises ExplicateError."""
    recording = read(path, seed=seed)
    folder = RunFolder(out, "audit", {"replay": str(path), "seed": seed})
    with folder:
        folder.record({"model": recording.model}, latest={"code": code_hash()})
        items = [_figures(recording, item, np.random.default_rng([seed, number])) for number, item in enumerate(recording.items)]
        asked = Asked(elicitation="attribution", order=recording.order, operator="delete")
        found, compared = rows(items, asked, seed=seed), differences(items, asked, seed=seed)
        adjust([value for row in found for value in row.metrics.values() if isinstance(value, Metric)])
        adjust(compared)
        results = AuditResults(
            rows=found,
            paired_differences=compared,
            agreement=agreements(items, seed=seed),
            n_items=len(items),
            verdict="undecided",
            verdict_reason="a verdict needs at least two operators; a recording has one, words left out",
            manifest=dict(folder.manifest),
        )
        write_json_lines(folder.path / "items.jsonl", [_record(recording, *pair) for pair in zip(recording.items, items, strict=True)])
        write_json(folder.path / "results.json", results.model_dump(mode="json"))
    return results


def _figures(recording: Recording, item: RecordedItem, rng: np.random.Generator) -> ItemFigures:
    believes = partial(recording.believes, item)
    single = deletions(len(item.words), believes)
    return ItemFigures(
        rankings=item.rankings,
        figures={source: measure(ranking, believes) for source, ranking in item.rankings.items()},
        chance={source: Chance.of_deletions(ranking.values, single, rng) for source, ranking in item.rankings.items()},
        published={
            source: published(ranking.values, ranking.order, partial(recording.answer, item))
            for source, ranking in item.by_positivity.items()
        },
    )


def _record(recording: Recording, item: RecordedItem, found: ItemFigures) -> dict[str, object]:
    """The item's line of items.jsonl."""
    single = deletions(len(item.words), partial(recording.believes, item))
    return {
        "text": item.text,
        "units": item.words,
        "gold": item.gold,
        "answer": recording.answers[item.text],
        "attributions": {source: ranking.values for source, ranking in item.rankings.items()},
        "effects": failure(single).model_dump() if isinstance(single, Failed) else single.effects.tolist(),
        "metrics": {
            source: {name: failure(value).model_dump() if isinstance(value, Failed) else value for name, value in figures.items()}
            for source, figures in found.figures.items()
        },
    }
