"""Audit a model from recorded answers, without asking it anything: what `explicate audit --replay FILE` does."""

from functools import partial
from pathlib import Path

import numpy as np

from analyzers.errors import Failed
from evals.audit.faithfulness import Deletions, measure
from evals.audit.published import published
from evals.audit.recording import RecordedItem, Recording, digest, read
from evals.audit.results import AuditResults, Metric
from evals.audit.rows import Asked, Chance, ItemFigures, add_naopc, adjust, agreements, differences, random_chains, rows
from evals.audit.selftest import selftest
from evals.audit.verdict import together, verdicts
from evals.code_version import code_hash
from evals.results import failure
from evals.run_folder import RunFolder, write_json, write_json_lines


def replay(path: Path, out: Path, *, seed: int) -> AuditResults:
    """Audit a file of recorded answers into a run folder and return what its results.json holds; raises ExplicateError."""
    folder = RunFolder(out, "audit", {"replay": str(path), "sha256": digest(path), "seed": seed})
    folder.check()
    recording = read(path, seed=seed)
    with folder:
        folder.record({"model": recording.model}, latest={"code": code_hash()})
        singles = [recording.deletions(item) for item in recording.items]
        items = [
            _figures(recording, item, single, np.random.default_rng([seed, number]))
            for number, (item, single) in enumerate(zip(recording.items, singles, strict=True))
        ]
        asked = Asked(elicitation="attribution", order=recording.order, operator="delete")
        found, compared = rows(items, asked, seed=seed), differences(items, asked, seed=seed)
        # What occlusion has to say of single deletions is no question: only the model's own explanations are tested.
        adjust([value for row in found if row.source == "self" for value in row.metrics.values() if isinstance(value, Metric)])
        adjust(compared)
        judged, tested = verdicts(found, compared), selftest(seed=seed)
        verdict, reason = together(judged, tested)
        results = AuditResults(
            rows=found,
            paired_differences=compared,
            agreement=agreements(items, seed=seed),
            n_items=len(items),
            verdict=verdict,
            verdict_reason=reason,
            verdicts=judged,
            void=found[0].void,
            selftest=tested,
            manifest=dict(folder.manifest),
        )
        write_json_lines(
            folder.path / "items.jsonl", [_record(recording, *each) for each in zip(recording.items, singles, items, strict=True)]
        )
        write_json(folder.path / "results.json", results.model_dump(mode="json"))
    return results


def _figures(recording: Recording, item: RecordedItem, single: Deletions | Failed, rng: np.random.Generator) -> ItemFigures:
    rankings = {source: ranking for source, ranking in item.rankings.items() if not isinstance(ranking, Failed)}
    believes = partial(recording.believes, item)
    chains = random_chains(len(item.words), believes, rng)
    figures = {source: measure(ranking, believes, single) for source, ranking in rankings.items()}
    add_naopc(figures, chains)
    return ItemFigures(
        rankings=item.rankings,
        figures=figures,
        chance={source: Chance.of(ranking.values, single, chains, rng) for source, ranking in rankings.items()},
        published={
            source: published(ranking.values, ranking.order, partial(recording.answer, item))
            for source, ranking in item.by_positivity.items()
        },
    )


def _record(recording: Recording, item: RecordedItem, single: Deletions | Failed, found: ItemFigures) -> dict[str, object]:
    """The item's line of items.jsonl."""
    answer = recording.answers[item.text]
    return {
        "text": item.text,
        "units": item.words,
        "gold": item.gold,
        "answer": _stored(answer) if isinstance(answer, Failed) else {"label": answer[0], "confidence": answer[1]},
        "attributions": {
            source: _stored(ranking) if isinstance(ranking, Failed) else ranking.values for source, ranking in item.rankings.items()
        },
        "effects": _stored(single) if isinstance(single, Failed) else single.effects.tolist(),
        "metrics": {
            source: {name: _stored(value) if isinstance(value, Failed) else value for name, value in figures.items()}
            for source, figures in found.figures.items()
        },
    }


def _stored(failed: Failed) -> dict[str, object]:
    return failure(failed).model_dump()
