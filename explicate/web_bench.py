"""The pages over a database of years: milliseconds of a request, with 10,000 runs of 50 metrics, and 50,000 sites of a run.

`python -m explicate.web_bench` prints them as JSON. It stands here, since the benchmarks in evals may not know the pages.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fastapi.testclient import TestClient
from sqlalchemy import insert, update

from evals.bench.database import METRICS, RUNS, SERIES, SITES, fill_runs, fill_sites, percentile_ms
from evals.database import Database, open_database
from evals.database.tables import alert, metric
from evals.database.times import now
from explicate.web.app import create_app
from explicate.web.headlines import NAMES


def main(runs: int = RUNS, metrics: int = METRICS, sites: int = SITES) -> dict[str, Any]:
    """95th percentile of each page, in a process that answers one request at a time."""
    with TemporaryDirectory() as folder, open_database(f"sqlite:///{Path(folder) / 'results.sqlite'}") as database:
        ids = fill_runs(database, runs, metrics)
        _name_metrics(database, ids)
        labelled = fill_sites(database, sites)
        client = TestClient(create_app(database), base_url="http://127.0.0.1")

        def page(path: Callable[[int], str]) -> Callable[[int], None]:
            def ask(at: int) -> None:
                answer = client.get(path(at))
                assert answer.status_code == 200, (path(at), answer.text[:300])

            return ask

        pages: dict[str, Callable[[int], str]] = {
            "runs": lambda _: "/",
            "runs_any_page": lambda at: f"/?page={1 + at * 7 % (runs // 25)}",
            "runs_search": lambda at: f"/?q=suite-{at % SERIES:02d}+model-1",
            "runs_of_suite": lambda at: f"/?suite=suite-{at % SERIES:02d}",
            "run": lambda at: f"/runs/{ids[-1 - at]}",
            "trend": lambda at: f"/trends?group=suite-{at % SERIES:02d}&task=task-0&name={NAMES[1]}&of=of-1",
            "compare_form": lambda at: f"/compare?run={ids[-1 - at]}",
            "api_runs": lambda at: f"/api/runs?limit=200&offset={200 * at}",
            "sites": lambda at: f"/runs/{labelled}/sites?q=french+verbs" if at % 2 else f"/runs/{labelled}/sites",
        }
        found = {f"{name}_p95_ms": percentile_ms(page(path)) for name, path in pages.items()}
    return {"runs": runs, "metrics": runs * metrics, "sites": sites, **found}


def _name_metrics(database: Database, ids: list[str]) -> None:
    """Call some metrics what pages show first, set a baseline for every suite, and let two suites be worse than theirs."""
    with database.write() as connection:
        for at, name in enumerate(NAMES):
            connection.execute(update(metric).where(metric.c.name == f"metric-{at}").values(name=name))
        for at in range(2):
            key = json.dumps(["task-0", NAMES[1], "of-1"])
            row = {"suite": f"suite-{at:02d}", "key": key, "state": "regressed", "since": now(), "last_run": ids[-SERIES + at]}
            connection.execute(insert(alert).values(row))
    for at in range(SERIES):
        database.set_baseline(f"suite-{at:02d}", ids[at])


if __name__ == "__main__":
    json.dump(main(), sys.stdout, indent=1)
    print()
