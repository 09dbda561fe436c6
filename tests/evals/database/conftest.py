"""Run folders with planted results, and an empty database of either kind."""

import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text

from evals.confidence.reliability import Reliability
from evals.confidence.results import ConfidenceResults, ConfidenceRow
from evals.database import Database, open_database
from evals.results import Calls, Failure, LeakAudit, Lift, RunResults, SiteResult, Tokens, Value
from evals.run_folder import write_json
from evals.suites.results import SuiteResults, TaskOutcome

Site = tuple[str, str, str | None, float | None, float | None]
"""Name, polarity, explanation, score, lift."""


def value(number: float, n: int = 12) -> Value:
    return Value(value=number, low=number - 0.1, high=number + 0.1, n=n)


def _failure(what: str) -> Failure:
    return Failure(stage="score", reason=f"no {what}")


def _site(site: Site) -> SiteResult:
    name, polarity, explanation, score, lift = site
    return SiteResult.model_validate(
        {
            "site": name,
            "polarity": polarity,
            "explanation": explanation,
            "explainer": "template",
            "simulator": "lexical",
            "scores": {"pearson": _failure("score") if score is None else value(score)},
            "lift": _failure("lift") if lift is None else Lift(**value(lift).model_dump(), over="token_lookup", score="pearson"),
            "q_value": None if score is None else 1 - score,
            "failures": [] if explanation is not None else [Failure(stage="explain", reason="no explanation")],
        }
    )


@pytest.fixture
def label_run() -> Callable[..., Path]:
    """label_run(folder, sites): a labelling run of these sites."""

    def build(folder: Path, sites: Sequence[Site], **manifest: Any) -> Path:
        folder.mkdir(parents=True)
        known = {"format": 1, "command": "label", "config": {"subject": "tiny"}, "version": "0.1.0", "code": "abc", **manifest}
        results = RunResults(
            sites=[_site(site) for site in sites],
            n_scored=len(sites),
            n_failed=0,
            calls=Calls(made=7, cached=2),
            tokens=Tokens(prompt=100, completion=11),
            usd=0.5,
            leak_audit=LeakAudit(passed=True, checked=1, largest_overlap=0.0),
            instrument=None,
            means={"pearson": value(0.25, len(sites)), "lift": _failure("lift")},
            manifest=known,
        )
        write_json(folder / "manifest.json", known)
        write_json(folder / "results.json", results.model_dump(mode="json"))
        for name in ("excerpts.parquet", "simulations.parquet", "explanations.jsonl", "scores.parquet", "report.html"):
            (folder / name).touch()
        return folder

    return build


@pytest.fixture
def confidence_run() -> Callable[..., Path]:
    """confidence_run(folder, accuracy): a measurement of confidence with that accuracy."""

    def build(folder: Path, accuracy: float = 0.5, **changes: Any) -> Path:
        folder.mkdir(parents=True)
        known = {"format": 1, "command": "confidence", "config": {"model": "openai:m"}, "version": "0.1.0", "model": {"name": "openai:m"}}
        row = ConfidenceRow(
            prompting="vanilla",
            sampling="none",
            aggregate="stated",
            n=12,
            n_failed=0,
            n_replies=12,
            n_replies_failed=0,
            measures={"accuracy": value(accuracy), "auroc": _failure("wrong answers")},
            chance={},
            reliability=Reliability(equal_width=[], equal_mass=[], histogram=[]),
        )
        results = ConfidenceResults(
            rows=[row],
            deletion=None,
            replies=[],
            n_items=12,
            n_without_gold=0,
            calls=Calls(made=12, cached=0),
            tokens=Tokens(prompt=50, completion=5),
            usd=0.0,
            manifest=known,
        )
        write_json(folder / "manifest.json", known)
        write_json(folder / "results.json", results.model_dump(mode="json") | changes)
        (folder / "items.jsonl").touch()
        return folder

    return build


@pytest.fixture
def suite_run(confidence_run: Callable[..., Path]) -> Callable[..., Path]:
    """suite_run(folder, {task: accuracy}): a suite's run, each task a measurement of confidence; None: the task failed."""

    def build(
        folder: Path, tasks: Mapping[str, float | None], *, name: str = "nightly", finished: str = "2026-03-01T03:10:00+00:00"
    ) -> Path:
        outcomes = []
        for task, accuracy in tasks.items():
            failure = Failure(stage="connect", reason="no answer") if accuracy is None else None
            status = "done" if failure is None else "failed"
            outcomes.append(
                TaskOutcome.model_validate(
                    {"name": task, "kind": "confidence", "status": status, "failure": failure, "folder": f"tasks/{task}"}
                )
            )
            if accuracy is not None:
                confidence_run(folder / "tasks" / task, accuracy)
        folder.mkdir(parents=True, exist_ok=True)
        known = {"format": 1, "command": "suite", "config": {"name": name}, "version": "0.1.0"}
        results = SuiteResults(
            name=name,
            tasks=outcomes,
            started="2026-03-01T03:00:00+00:00",
            finished=finished,
            calls=Calls(made=12, cached=0),
            tokens=Tokens(prompt=50, completion=5),
            usd=0.0,
            manifest=known,
        )
        write_json(folder / "manifest.json", known)
        write_json(folder / "results.json", results.model_dump(mode="json"))
        return folder

    return build


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Of an empty database, removed afterwards; PostgreSQL where EXPLICATE_TEST_POSTGRES_URL names a database to make a schema in."""
    if request.param == "sqlite":
        yield f"sqlite:///{(tmp_path / 'data' / 'results.sqlite').as_posix()}"
        return
    server = os.environ.get("EXPLICATE_TEST_POSTGRES_URL")
    if not server:
        pytest.skip("EXPLICATE_TEST_POSTGRES_URL names no PostgreSQL database to test with")
    schema = f"test_{uuid.uuid4().hex}"
    engine = create_engine(server)
    try:
        with engine.begin() as connection:
            connection.execute(text(f"CREATE SCHEMA {schema}"))
        yield make_url(server).update_query_dict({"options": f"-csearch_path={schema}"}).render_as_string(hide_password=False)
    finally:
        with engine.begin() as connection:
            connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
        engine.dispose()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """An empty one."""
    with open_database(url) as opened:
        yield opened


@pytest.fixture
def change() -> Callable[..., None]:
    """change(file, key=value, ...): a JSON file with other values."""

    def build(path: Path, **changes: Any) -> None:
        path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")

    return build
