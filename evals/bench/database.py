"""The results database of a team that has measured for years: queries over 10,000 runs of 50 metrics, and over 50,000 sites of a run."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from sqlalchemy import insert

from evals.database import Database, open_database
from evals.database.rows import run_id
from evals.database.tables import metric, run, site
from evals.database.texts import searched

RUNS, METRICS, SITES = 10_000, 50, 50_000
SERIES = 20
"""Suites that the runs are of, in turn."""
ROUNDS = 20
BATCH = 20_000
"""Rows an INSERT."""
_WORDS = [
    f"{quality} {thing}"
    for quality in ("French", "quoted", "first", "plural", "past", "capital", "negated", "rare")
    for thing in (
        "verbs",
        "nouns",
        "names",
        "cities",
        "months",
        "numbers",
        "colours",
        "animals",
        "plants",
        "rivers",
        "taxes",
        "courts",
        "metals",
        "stars",
        "wars",
        "roads",
    )
]


def fill_runs(database: Database, n: int, metrics: int) -> list[str]:
    """Add n runs of their own folders, which do not exist, with so many metrics each, and return their ids, the oldest first.

    They are of SERIES suites in turn, `suite-00` to `suite-19`, an hour apart; metric j is called `metric-<j>` of the task `task-<j // 10>`
    and of `of-<j % 3>`, and every 25th value failed. Nothing of them is drawn by a clock.
    """
    rng = np.random.default_rng(0)
    begin = datetime(2020, 1, 1, tzinfo=UTC)
    runs = [_run(f"suite-{at % SERIES:02d}", at, begin + timedelta(hours=at)) for at in range(n)]
    values = rng.random((n, metrics))
    rows = [_metric(runs[at]["id"], j, float(values[at, j]), failed=(at + j) % 25 == 0) for at in range(n) for j in range(metrics)]
    with database.write() as connection:
        for table, filled in ((run, runs), (metric, rows)):
            for first in range(0, len(filled), BATCH):
                connection.execute(insert(table), filled[first : first + BATCH])
    return [row["id"] for row in runs]


def fill_sites(database: Database, n: int) -> str:
    """Add a labelling run of n sites, whose folder does not exist, and return its id.

    Site i is neuron i // 24 of layer i % 24; its explanation is of eight drawn words, every 20th failed. Nothing is drawn by a clock.
    """
    rng = np.random.default_rng(1)
    row = _run("", n, datetime(2019, 1, 1, tzinfo=UTC)) | {"kind": "label", "name": "all-sites", "series": "all-sites"}
    drawn, scores = rng.integers(len(_WORDS), size=(n, 8)), rng.uniform(-0.2, 0.9, size=(n, 2))
    rows = [_site(row["id"], at, " ".join(_WORDS[word] for word in drawn[at]), scores[at]) for at in range(n)]
    with database.write() as connection:
        connection.execute(insert(run), [row])
        for first in range(0, n, BATCH):
            connection.execute(insert(site), rows[first : first + BATCH])
    return str(row["id"])


def main() -> dict[str, Any]:
    """Milliseconds of each query at the 95th percentile, with SQLite."""
    with TemporaryDirectory() as folder, open_database(f"sqlite:///{Path(folder) / 'results.sqlite'}") as database:
        began = time.perf_counter()
        fill_runs(database, RUNS, METRICS)
        labelled = fill_sites(database, SITES)
        filled = time.perf_counter() - began
        found = {"runs": RUNS, "metrics": RUNS * METRICS, "sites": SITES, "fill_s": round(filled, 1)} | queries(database, labelled)
        return found | pages(folder, labelled)


def queries(database: Database, labelled: str) -> dict[str, float]:
    """Milliseconds of each query at the 95th percentile of ROUNDS, in a database that fill_runs and fill_sites have filled.

    labelled: id of the run with the sites.
    """
    asked: dict[str, Callable[[int], object]] = {
        "runs_first_page": lambda _: database.runs(),
        "runs_any_page": lambda at: database.runs(offset=50 * (at * 7 % 190)),
        "runs_search": lambda at: database.runs(search=f"SUITE-{at % SERIES:02d} model-{at % 3}"),
        "runs_search_nothing": lambda _: database.runs(search="no run has this"),
        "runs_of_suite": lambda at: database.runs(suite=f"suite-{at % SERIES:02d}", kind="suite", offset=100),
        "metrics_of_run": lambda at: database.metrics(database.runs(limit=1, offset=at).rows[0].id),
        "trend": lambda at: database.history(f"suite-{at % SERIES:02d}", "task-0", "metric-1", "of-1", 100),
        "sites_first_page": lambda _: database.sites(labelled),
        "sites_last_page": lambda _: database.sites(labelled, offset=SITES - 50),
        "sites_search": lambda at: database.sites(labelled, search=f"{_WORDS[at]} {_WORDS[at + 1]}"),
        "sites_search_nothing": lambda _: database.sites(labelled, search="no explanation has this"),
        "sites_filtered": lambda at: database.sites(labelled, layer=at % 24, min_score=0.2, min_lift=0.1, order="lift"),
        "sites_by_q_value": lambda at: database.sites(labelled, order="q_value", offset=50 * at),
    }
    return {f"{name}_p95_ms": percentile_ms(ask) for name, ask in asked.items()}


def pages(folder: str, labelled: str) -> dict[str, float]:
    """Milliseconds in which `explicate view` answers, from the request to the last byte, at the 95th percentile of ROUNDS.

    folder: that of the database that fill_runs and fill_sites have filled; labelled: id of the run with the sites.
    """
    last = run_id(Path(f"/nowhere/run-{RUNS - 1:06d}"))
    asked: dict[str, Callable[[int], str]] = {
        "runs": lambda _: "/",
        "runs_any_page": lambda at: f"/?page={1 + at * 7 % 190}",
        "runs_search": lambda at: f"/?q=suite-{at % SERIES:02d}",
        "runs_of_suite": lambda at: f"/?suite=suite-{at % SERIES:02d}",
        "run": lambda _: f"/runs/{last}",
        "trend": lambda at: f"/trends?group=suite-{at % SERIES:02d}&task=task-0&name=metric-1&of=of-1",
        "api_runs": lambda at: f"/api/runs?offset={at}",
        "sites": lambda _: f"/runs/{labelled}/sites",
        "sites_last_page": lambda _: f"/runs/{labelled}/sites?offset={SITES - 50}",
        "sites_search": lambda at: f"/runs/{labelled}/sites?q={_WORDS[at]}+{_WORDS[at + 1]}".replace(" ", "+"),
        "sites_filtered": lambda at: f"/runs/{labelled}/sites?layer={at % 24}&min_score=0.2&order=lift",
    }
    program = [str(Path(sys.executable).with_name("explicate")), "view", "--port", "0", "--json"]
    environment = os.environ | {"EXPLICATE_DATABASE_URL": f"sqlite:///{Path(folder) / 'results.sqlite'}"}
    with subprocess.Popen(program, stdout=subprocess.PIPE, cwd=folder, env=environment) as server:  # noqa: S603 -- our own program
        assert server.stdout is not None
        address = json.loads(server.stdout.readline())["address"].rstrip("/")
        try:
            return {f"page_{name}_p95_ms": percentile_ms(partial(_fetch, address, path)) for name, path in asked.items()}
        finally:
            server.terminate()


def _fetch(address: str, path: Callable[[int], str], at: int) -> None:
    with urllib.request.urlopen(address + path(at)) as answer:  # noqa: S310 -- the server that was started here
        answer.read()


def percentile_ms(ask: Callable[[int], object], rounds: int = ROUNDS) -> float:
    """95th percentile of the milliseconds of `ask(round)`, after one round that does not count."""
    ask(0)
    seconds: list[float] = []
    for at in range(rounds):
        began = time.perf_counter()
        ask(at)
        seconds.append(time.perf_counter() - began)
    return round(float(np.percentile(seconds, 95)) * 1e3, 1)


def _run(suite: str, at: int, finished: datetime) -> dict[str, Any]:
    folder, model = f"/nowhere/run-{at:06d}", f"model-{at % 3}"
    return {
        "id": run_id(Path(folder)),
        "parent": None,
        "folder": folder,
        "kind": "suite",
        "name": suite,
        "suite": suite,
        "series": suite,
        "model": model,
        "status": "done",
        "void": False,
        "started": finished - timedelta(minutes=5),
        "finished": finished,
        "code": f"{at // 100:012x}",
        "version": "0.1.0",
        "calls": 1000,
        "tokens": 100_000,
        "usd": 0.25,
        "provenance": {"version": "0.1.0", "model": {"name": model, "revision": f"{at // 500:040x}"}, "prompts": {"ask": "2e2bdd21e7ca"}},
        "searched": searched(suite, "suite", model, folder),
        "indexed_at": finished,
    }


def _metric(of_run: str, j: int, value: float, *, failed: bool) -> dict[str, Any]:
    row = {"run_id": of_run, "task": f"task-{j // 10}", "name": f"metric-{j}", "of": f"of-{j % 3}", "position": j, "n_failed": int(failed)}
    row |= {"better": ("higher", "lower", "")[j % 3]}
    if failed:
        return row | {"value": None, "low": None, "high": None, "n": None, "stage": "score", "failure": "every value is the same"}
    return row | {"value": value, "low": value - 0.05, "high": value + 0.05, "n": 50, "stage": None, "failure": None}


def _site(of_run: str, at: int, explanation: str, scores: Sequence[float]) -> dict[str, Any]:
    name, polarity, failed = f"L{at % 24}.mlp.{at // 24}", "+-"[at // 24 % 2], at % 20 == 0
    return {
        "run_id": of_run,
        "position": at,
        "site": name,
        "polarity": polarity,
        "layer": at % 24,
        "explanation": None if failed else explanation,
        "score": None if failed else float(scores[0]),
        "lift": None if failed else float(scores[1]) - 0.3,
        "q_value": None if failed else float(scores[0] + 0.2) / 1.1,
        "failed": "the model gave no explanation" if failed else None,
        "searched": searched(f"{name}{polarity}", None if failed else explanation),
    }
