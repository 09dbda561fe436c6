"""Runs of MLflow: one for every task, in an experiment named after the suite. A run that is there already is not added again."""

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from analyzers.errors import ExplicateError
from evals.exports import EXPORTS
from evals.exports.facts import Facts, facts_of, flat
from evals.exports.places import make_folder
from evals.metrics.folder import kind_of
from evals.results import Failure
from evals.run_folder import read_json

STORE = "mlflow.db"
"""Where `mlflow ui` looks when it is told nothing."""
EXPERIMENT = "explicate"
"""Of runs without a suite."""
DIGEST = "explicate.results_sha256"
"""Tag by which a run is known."""
_ARTEFACTS = ("manifest.json", "results.json", "report.html")
_LONGEST_NAME, _LONGEST_VALUE = 240, 5000
_BATCH = 90
"""Parameters, tags and metrics that are sent at a time."""
_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9_\-. /:]")


@EXPORTS.add("mlflow")
def export_mlflow(run: Path, out: str | None) -> list[str]:
    """Into mlflow.db in the current folder, where nothing else is said; `out` is an SQLite file or the address of a tracking server."""
    # It would tell its makers that it is used.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError:
        raise ExplicateError(
            "runs of MLflow are written by the package mlflow-skinny, from the extra `mlflow`: .venv/bin/pip install -e '.[mlflow]'"
        ) from None
    found = list(facts_of(run))
    suite = str(read_json(run / "manifest.json").get("config", {}).get("name", "")) if kind_of(run) == "suite" else ""
    uri, artefacts = _store(out)
    try:
        client = MlflowClient(tracking_uri=uri)
        experiment = _experiment(client, suite or EXPERIMENT, artefacts)
        return [f"{uri} run {_written(client, experiment, facts, suite)}" for facts in found]
    except MlflowException as error:
        raise ExplicateError(f"MLflow could not write to {uri!r}: {str(error).splitlines()[0]}") from None


def _store(out: str | None) -> tuple[str, str | None]:
    """The address of the store, and of the folder of its artefacts where that is on this machine."""
    if out is not None and "://" in out and not out.startswith("sqlite:"):
        if "@" in out:
            raise ExplicateError("--out has a name or password in its address; give MLFLOW_TRACKING_USERNAME and _PASSWORD instead")
        return out, None
    path = Path((out or STORE).removeprefix("sqlite:///")).absolute()
    if path.is_dir():
        path /= STORE
    make_folder(path.parent)
    return f"sqlite:///{path.as_posix()}", (path.parent / "mlartifacts").as_uri()


def _experiment(client: Any, name: str, artefacts: str | None) -> str:
    known = client.get_experiment_by_name(name)
    return str(known.experiment_id if known is not None else client.create_experiment(name, artifact_location=artefacts))


def _written(client: Any, experiment: str, facts: Facts, suite: str) -> str:
    """Id of the run, which is written unless it is there."""
    from mlflow.entities import Metric, Param, RunTag

    for known in client.search_runs([experiment], filter_string=f"tags.`{DIGEST}` = '{facts.digest}'"):
        if known.info.status == "FINISHED" and known.info.lifecycle_stage == "active":
            return str(known.info.run_id)
        # A command that was killed did not end it.
        client.delete_run(known.info.run_id)
    moment = int(facts.finished.timestamp() * 1000)
    tags = {DIGEST: facts.digest, "explicate.kind": facts.kind, "explicate.suite": suite, "explicate.task": facts.task}
    tags |= {f"explicate.{key}": value for key, value in flat(facts.manifest) if not key.startswith("config.")}
    tags |= {f"failed.{name}": why for name, why in _failed(facts)}
    created = client.create_run(experiment, start_time=moment, run_name=facts.name, tags={DIGEST: facts.digest})
    run_id = str(created.info.run_id)
    config = dict(flat(facts.manifest.get("config", {})))
    params = [Param(_name(key), value[:_LONGEST_VALUE]) for key, value in config.items()]
    tagged = [RunTag(_name(key), value[:_LONGEST_VALUE]) for key, value in tags.items()]
    metrics = [Metric(_name(name), value, moment, 0) for name, value in _metrics(facts)]
    for start in range(0, max(len(params), len(tagged), len(metrics)), _BATCH):
        part = slice(start, start + _BATCH)
        client.log_batch(run_id, metrics=metrics[part], params=params[part], tags=tagged[part])
    for artefact in _ARTEFACTS:
        if (facts.folder / artefact).is_file():
            client.log_artifact(run_id, str(facts.folder / artefact))
    client.set_terminated(run_id, end_time=moment)
    return run_id


def _metrics(facts: Facts) -> Iterator[tuple[str, float]]:
    for metric in facts.metrics:
        name = f"{metric.of}/{metric.name}" if metric.of else metric.name
        if not isinstance(metric.value, Failure):
            yield name, metric.value.value
            yield f"{name}.low", metric.value.low
            yield f"{name}.high", metric.value.high
            yield f"{name}.n", metric.value.n
        yield f"{name}.n_failed", metric.n_failed


def _failed(facts: Facts) -> Iterator[tuple[str, str]]:
    for metric in facts.metrics:
        if isinstance(metric.value, Failure):
            yield f"{metric.of}/{metric.name}" if metric.of else metric.name, f"{metric.value.stage}: {metric.value.reason}"


def _name(name: str) -> str:
    """As MLflow allows it; where that changes it, with a hash of what it was, so that two names stay two."""
    plain = _NOT_ALLOWED.sub("_", name)[:_LONGEST_NAME]
    plain = "/".join(part if part.strip(". ") else "_" for part in plain.split("/"))
    return plain if plain == name else f"{plain} {hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:6]}"
