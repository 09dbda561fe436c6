"""Inspect and MLflow read what is written for them; skipped where they are not installed, for they are extras."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analyzers.errors import ExplicateError
from evals.exports import EXPORTS
from evals.metrics import metrics_of
from evals.results import Value

MakeRun = Callable[[str], Path]
# Of the packages themselves, which we do not mend.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def inspect_log() -> Any:
    return pytest.importorskip("inspect_ai.log", reason="inspect-ai is not installed (extra `inspect`)", exc_type=ImportError)


@pytest.fixture
def mlflow_client(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    return pytest.importorskip("mlflow", reason="mlflow is not installed (extra `mlflow`)", exc_type=ImportError).MlflowClient


@pytest.mark.parametrize(("format", "package"), [("inspect", "inspect_ai"), ("mlflow", "mlflow")])
def test_a_missing_package_is_named(format: str, package: str, make_run: MakeRun, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [package, f"{package}.log", f"{package}.exceptions"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ExplicateError, match=rf"from the extra `{format}`: \.venv/bin/pip install -e '\.\[{format}\]'"):
        EXPORTS.get(format)(make_run("audit"), None)
    assert list(out.iterdir()) == []


def test_inspect_reads_every_metric_and_item(run: Path, out: Path, inspect_log: Any) -> None:
    written = EXPORTS.get("inspect")(run, None)
    logs = {Path(path).name: inspect_log.read_eval_log(path) for path in written}
    assert len(logs) == (2 if run.name == "suite" else 1)
    listed = inspect_log.list_eval_logs(str(out / "logs"))
    assert {Path(info.name).name for info in listed} == set(logs)
    shown: dict[tuple[str, str, str], tuple[float, float, float]] = {}
    failed = set()
    for log in logs.values():
        assert log.status == "success"
        task = log.eval.task.removeprefix(f"{run.name}-") if run.name == "suite" else ""
        for score in log.results.scores:
            of = "" if score.name == "label" else score.name
            for name, metric in score.metrics.items():
                shown[task, name, of] = (metric.value, metric.metadata["low"], metric.metadata["high"])
            failed |= {(task, name, of) for name in score.metadata["failed"]}
        assert log.samples
        assert log.eval.packages["explicate"] == "0.1.0"
        assert log.eval.metadata["code"] == "c0de"
    metrics = metrics_of(run)
    values = {metric.key: metric.value for metric in metrics}
    assert shown == {key: (found.value, found.low, found.high) for key, found in values.items() if isinstance(found, Value)}
    assert failed == {key for key, found in values.items() if not isinstance(found, Value)}


def test_inspect_reads_what_was_asked_and_written(make_run: MakeRun, out: Path, inspect_log: Any) -> None:
    log = inspect_log.read_eval_log(EXPORTS.get("inspect")(make_run("audit"), "one.eval")[0])
    assert log.eval.model == "openai/m"
    assert log.stats.model_usage["openai/m"].total_tokens == 78
    first = next(sample for sample in log.samples if sample.input.startswith("=HYPERLINK"))
    assert first.target == "positive"
    assert first.output.completion == "@positive"
    score = first.scores["self attribution predict-first delete"]
    assert score.value == {"comprehensiveness": 0.25, "sufficiency": None}
    assert score.explanation == "sufficiency: replies: +no reply could be read"


def test_the_same_run_is_the_same_log(make_run: MakeRun, out: Path, inspect_log: Any) -> None:
    run = make_run("label")
    assert EXPORTS.get("inspect")(run, None) == EXPORTS.get("inspect")(run, None)
    assert len(list((out / "logs").iterdir())) == 1


def test_the_command_of_inspect_lists_it(make_run: MakeRun, out: Path, inspect_log: Any) -> None:
    EXPORTS.get("inspect")(make_run("audit"), "logs")
    program = Path(sys.executable).with_name("inspect")
    listed = subprocess.run([program, "log", "list", "--log-dir", "logs"], check=True, capture_output=True, text=True, cwd=out)
    assert "_audit_" in listed.stdout


def test_a_suite_is_not_one_log(make_run: MakeRun, out: Path, inspect_log: Any) -> None:
    with pytest.raises(ExplicateError, match="has 2 tasks; name a folder"):
        EXPORTS.get("inspect")(make_run("suite"), "one.eval")


def test_mlflow_lists_every_metric(run: Path, out: Path, mlflow_client: Any) -> None:
    written = EXPORTS.get("mlflow")(run, None)
    client = mlflow_client(tracking_uri=f"sqlite:///{out / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("nightly" if run.name == "suite" else "explicate")
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == len(written) == (2 if run.name == "suite" else 1)
    for found in runs:
        task = found.data.tags["explicate.task"]
        assert found.info.status == "FINISHED"
        values = {f"{metric.of}/{metric.name}".lstrip("/"): metric for metric in metrics_of(run) if metric.task == task}
        assert values
        for name, metric in values.items():
            if isinstance(metric.value, Value):
                read = [found.data.metrics[f"{name}{end}"] for end in ("", ".low", ".high", ".n")]
                assert read == [metric.value.value, metric.value.low, metric.value.high, metric.value.n]
            else:
                assert name not in found.data.metrics
                assert found.data.tags[f"failed.{name}"] == f"{metric.value.stage}: {metric.value.reason}"
        assert found.data.tags["explicate.prompts.ask"] == "abc"
        assert {file.path for file in client.list_artifacts(found.info.run_id)} == {"manifest.json", "results.json", "report.html"}


def test_mlflow_has_a_run_once(make_run: MakeRun, out: Path, mlflow_client: Any) -> None:
    run = make_run("audit")
    first = EXPORTS.get("mlflow")(run, "new/store.db")
    assert EXPORTS.get("mlflow")(run, "sqlite:///new/store.db") == first
    text = (run / "results.json").read_text()
    (run / "results.json").write_text(text.replace('"n_items":3', '"n_items":4'))
    assert EXPORTS.get("mlflow")(run, "new/store.db") != first


def test_a_server_that_is_not_there_is_said(make_run: MakeRun, out: Path, mlflow_client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ExplicateError, match=r"MLflow could not write to 'http://127\.0\.0\.1:9'"):
        EXPORTS.get("mlflow")(make_run("audit"), "http://127.0.0.1:9")
    with pytest.raises(ExplicateError, match="MLFLOW_TRACKING_USERNAME") as refused:
        EXPORTS.get("mlflow")(make_run("label"), "https://me:s3cr3t@mlflow.example")
    assert "s3cr3t" not in str(refused.value)
