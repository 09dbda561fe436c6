"""The reliability diagrams of a measurement of confidence, each way of asking beside what it came to."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel

from evals.confidence.measures import MEASURES
from evals.confidence.reliability import Reliability
from evals.confidence.results import ConfidenceRow
from evals.results import Failure, Value
from explicate.confidence_page import measure_of, row_of
from explicate.confidence_table import name_of, title
from explicate.web.read_runs import confidence, of_kind
from explicate.web.rendering import Run, page

router = APIRouter()

KIND = "confidence"


class ReliabilityRow(BaseModel):
    """One way of asking, of sampling and of aggregating."""

    prompting: str
    sampling: str
    aggregate: str
    n: int
    n_failed: int
    void: bool
    measures: dict[str, Value | Failure]
    chance: dict[str, float]
    reliability: Reliability


class ReliabilityAnswer(BaseModel):
    """The reliability of stated confidence in a run."""

    run: str
    void: bool
    rows: list[ReliabilityRow]


@router.get("/runs/{run_id}/reliability", response_class=HTMLResponse, include_in_schema=False)
def reliability_page(request: Request, run: Run) -> HTMLResponse:
    """The page of the diagrams."""
    results = confidence(of_kind(run, KIND, "reliability diagrams"))
    return page(
        request,
        "reliability_page.html",
        title=title(results),
        run=run,
        void=results.void,
        n_items=results.n_items,
        rows=[row_of(row) for row in results.rows],
        names=[name_of(row) for row in results.rows],
        measures=[measure_of(name, results.rows) for name in MEASURES],
    )


@router.get("/api/runs/{run_id}/reliability")
def reliability_json(run: Run) -> ReliabilityAnswer:
    """Bins, bands, histogram and measures of every way of asking of a measurement of confidence."""
    results = confidence(of_kind(run, KIND, "reliability diagrams"))
    return ReliabilityAnswer(run=run.id, void=results.void, rows=[_reduced(row) for row in results.rows])


def _reduced(row: ConfidenceRow) -> ReliabilityRow:
    return ReliabilityRow.model_validate(row.model_dump(include=set(ReliabilityRow.model_fields)))
