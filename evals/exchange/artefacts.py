"""The tables that an imported run has in common with a labelling run (docs/results.md)."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.explanation import Simulation
from analyzers.errors import Failed
from analyzers.evidence import SPLITS, Excerpt, Split
from analyzers.sites import Polarity
from evals.exchange.results import ImportedSite
from evals.label_artefacts import score_columns, score_rows, simulation_columns
from evals.results import Failure
from evals.run_folder import write_json_lines, write_parquet
from evals.site_scores import Outcomes, Simulations

Dealt = Mapping[Split, Sequence[Excerpt]]


def write_excerpts(run: Path, dealt: Mapping[tuple[str, Polarity], Dealt]) -> None:
    """excerpts.parquet, one row an excerpt."""
    rows = [
        {
            "site": site,
            "polarity": polarity,
            "split": split,
            "stratum": excerpt.stratum,
            "document": excerpt.document,
            "start": excerpt.start,
            "tokens": list(excerpt.tokens),
            "activations": excerpt.activations.tolist(),
        }
        for (site, polarity), splits in dealt.items()
        for split in SPLITS
        for excerpt in splits[split]
    ]
    write_parquet(run / "excerpts.parquet", rows, excerpt_columns())


def excerpt_columns() -> Any:
    """Schema of excerpts.parquet."""
    import pyarrow as pa

    texts = [(name, pa.string()) for name in ("site", "polarity", "split", "stratum", "document")]
    return pa.schema([*texts, ("start", pa.int64()), ("tokens", pa.list_(pa.string())), ("activations", pa.list_(pa.float32()))])


def write_tables(run: Path, sites: Sequence[ImportedSite], simulated: Mapping[tuple[str, Polarity], tuple[Dealt, Simulations]]) -> None:
    """simulations.parquet, explanations.jsonl and scores.parquet."""
    write_parquet(run / "simulations.parquet", list(_simulations(simulated)), simulation_columns())
    write_json_lines(run / "explanations.jsonl", [row for site in sites for row in _explanations(site)])
    write_parquet(run / "scores.parquet", list(score_rows(sites)), score_columns())


def _simulations(simulated: Mapping[tuple[str, Polarity], tuple[Dealt, Simulations]]) -> Iterator[dict[str, Any]]:
    for (site, polarity), (dealt, found) in simulated.items():
        groups: list[tuple[str, Split, Outcomes]] = [
            ("explanation", "calibrate", found.calibrate),
            ("null", "calibrate", found.calibrate_null),
            ("explanation", "test", found.test),
            ("null", "test", found.test_null),
            ("shuffled", "calibrate", found.calibrate_shuffled),
            ("shuffled", "test", found.shuffled),
        ]
        for of, split, outcomes in groups:
            for excerpt, outcome in zip(dealt[split], outcomes, strict=bool(outcomes)):
                place = {"split": split, "document": excerpt.document, "start": excerpt.start, "of": of}
                yield {"site": site, "polarity": polarity, **place, **_outcome(outcome)}


def _outcome(outcome: Simulation | Failed) -> dict[str, Any]:
    if isinstance(outcome, Failed):
        return {"values": None, "failed": outcome.reason}
    pairs = zip(outcome.values.tolist(), outcome.present.tolist(), strict=True)
    return {"values": [value if present else None for value, present in pairs], "failed": None}


def _explanations(site: ImportedSite) -> Iterator[dict[str, Any]]:
    selected = {candidate.explanation: candidate.select_score for candidate in site.candidates}
    chosen = next((told for told in site.explanations if told.explanation == site.explanation), None)
    for told in site.explanations:
        score = selected.get(told.explanation)
        yield {
            "site": site.site,
            "polarity": site.polarity,
            "explanation": told.explanation,
            "explainer": told.by,
            "prompt": "",
            "chosen": told is chosen,
            "select_score": None if score is None or isinstance(score, Failure) else score,
        }
