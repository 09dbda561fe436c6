"""The tables that an imported run has in common with a labelling run (docs/results.md)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from analyzers.evidence import Excerpt, Split
from analyzers.sites import Polarity
from evals.exchange.results import ImportedSite
from evals.label_artefacts import excerpt_columns, excerpt_rows, score_columns, score_rows, simulation_columns, simulation_rows
from evals.results import Failure
from evals.run_folder import write_json_lines, write_parquet
from evals.site_scores import Simulations

Dealt = Mapping[Split, Sequence[Excerpt]]


def write_excerpts(run: Path, dealt: Iterable[tuple[str, Polarity, Dealt]]) -> None:
    """excerpts.parquet, one row an excerpt, from the sites in turn."""
    write_parquet(run / "excerpts.parquet", (row for each in dealt for row in excerpt_rows(*each)), excerpt_columns())


def write_tables(run: Path, sites: Sequence[ImportedSite], simulated: Iterable[tuple[str, Polarity, Dealt, Simulations]]) -> None:
    """simulations.parquet, explanations.jsonl and scores.parquet."""
    write_parquet(run / "simulations.parquet", (row for each in simulated for row in simulation_rows(*each)), simulation_columns())
    write_json_lines(run / "explanations.jsonl", [row for site in sites for row in _explanations(site)])
    write_parquet(run / "scores.parquet", score_rows(sites), score_columns())


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
