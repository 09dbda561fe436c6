"""Schedules as a user has them: added, shown, paused, run when due, and what is told of mistakes."""

import json
import re
import shlex
import socket
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import typer.main
from sqlalchemy import update
from typer.testing import CliRunner, Result

from evals.database import open_database, tables
from evals.database.times import now
from evals.schedule import servers
from explicate import cli
from explicate.cli import app

GROUP: Any = typer.main.get_command(app)
COMMANDS: dict[str, Any] = {f"schedule {name}": command for name, command in GROUP.commands["schedule"].commands.items()}
COMMANDS["run-due"] = GROUP.commands["run-due"]


@pytest.fixture(autouse=True)
def results(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The results database, in the workplace."""
    url = f"sqlite:///{workplace / 'store' / 'results.sqlite'}"
    monkeypatch.setenv("EXPLICATE_DATABASE_URL", url)
    monkeypatch.setenv("COLUMNS", "160")
    return url


@pytest.fixture
def suite(workplace: Path, tiny_checkpoint: Callable[[str], Path], tiny_corpus: Path) -> Path:
    """A suite of one task that asks no language model."""
    path = workplace / "suites" / "nightly.toml"
    path.parent.mkdir()
    task = {
        "name": "neurons",
        "kind": "label",
        "subject": str(tiny_checkpoint("llama")),
        "sites": ["L0.mlp.3"],
        "corpus": str(tiny_corpus),
        "tokens": 9000,
        "explainer": "template",
        "simulator": "lexical",
    }
    path.write_text('name = "nightly"\n\n[[task]]\n' + "".join(f"{key} = {json.dumps(value)}\n" for key, value in task.items()))
    return path


def overdue(name: str, **changes: Any) -> None:
    """The schedule was due a minute ago."""
    with open_database() as database, database.write() as connection:
        values = {"next_due": now().replace(second=0, microsecond=0) - timedelta(minutes=1), **changes}
        assert connection.execute(update(tables.schedule).where(tables.schedule.c.name == name).values(values)).rowcount == 1


def wrong(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What a command says of a mistake: one line."""
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["explicate", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    out, err = capsys.readouterr()
    assert (stop.value.code, out) == (2, "")
    (line,) = err.splitlines()
    return line


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_example_parses_and_every_option_is_explained(name: str) -> None:
    command = COMMANDS[name]
    example = re.search(r"Example: (explicate .+?)(?:\n\s*\n|\Z)", command.help, re.DOTALL)
    assert example is not None
    words = shlex.split(example[1])
    called = ["explicate", *name.split()]
    assert words[: len(called)] == called
    assert command.make_context(name, words[len(called) :]).params["json"] is False
    options = {option: parameter for parameter in command.params for option in parameter.opts}
    assert "--json" in options
    assert [option for option, parameter in options.items() if not parameter.help] == []


def test_a_schedule_is_added_shown_paused_resumed_and_removed(call: Callable[..., Result], suite: Path) -> None:
    assert "No schedules" in call("schedule", "list").stdout
    said = call("schedule", "add", suite, "--cron", "0 3 * * *", "--timezone", "Europe/Berlin").stderr
    assert re.search(r"added nightly: next at \w{3} \d{4}-\d\d-\d\d 03:00 CES?T; it runs where", said)
    shown = " ".join(call("schedule", "list").stdout.split())
    for expected in ("nightly", "0 3 * * *", "Europe/Berlin", "03:00 CE", "No server is there to run them"):
        assert expected in shown
    (one,) = json.loads(call("schedule", "list", "--json").stdout)["schedules"]
    assert (one["name"], one["suite_file"], one["paused"], one["running"]) == ("nightly", str(suite.resolve()), False, False)
    assert json.loads(call("schedule", "pause", "nightly", "--json").stdout)["paused"] is True
    assert "paused" in call("schedule", "list").stdout
    assert "nothing is due" in call("run-due").stdout
    assert "next at" in call("schedule", "resume", "nightly").stderr
    assert json.loads(call("schedule", "remove", "nightly", "--json").stdout) == {"removed": "nightly"}
    assert json.loads(call("schedule", "list", "--json").stdout) == {"schedules": [], "servers": []}


def test_a_server_that_is_there_is_shown_and_one_that_is_silent_is_not(call: Callable[..., Result], suite: Path) -> None:
    call("schedule", "add", suite, "--cron", "0 3 * * *")
    with open_database() as database:
        servers.register(database, "silent", now() - timedelta(hours=1))
        assert "No server is there" in call("schedule", "list").stdout
        servers.register(database, "here", now())
    shown = call("schedule", "list").stdout
    assert f"Served by {socket.gethostname()}, process" in shown
    assert len(json.loads(call("schedule", "list", "--json").stdout)["servers"]) == 1


def test_what_is_due_is_run_once_beside_its_suite_and_shown(call: Callable[..., Result], suite: Path) -> None:
    call("schedule", "add", suite, "--cron", "0 3 * * *", "--name", "nights")
    assert json.loads(call("run-due", "--json").stdout) == {"ran": []}
    overdue("nights")
    (ran,) = json.loads(call("run-due", "--json").stdout)["ran"]
    folder = Path(ran["folder"])
    assert (ran["schedule"], ran["status"], ran["resumed"], ran["regressed"], ran["error"]) == ("nights", "done", False, False, None)
    assert folder.parent == suite.parent.resolve() / "runs"
    assert re.fullmatch(r"nights-\d{8}T\d{6}Z", folder.name)
    assert json.loads((folder / "results.json").read_text())["tasks"][0]["status"] == "done"
    assert (folder / "report.html").exists()
    assert (folder / "tasks" / "neurons" / "report.html").exists()
    (after,) = json.loads(call("schedule", "list", "--json").stdout)["schedules"]
    assert (after["last_status"], after["last_run_id"], after["claimed_by"]) == ("done", ran["run_id"], None)
    with open_database() as database:
        row = database.run(ran["run_id"])
        assert row is not None
        assert (Path(row.folder), row.kind, row.suite) == (folder.resolve(), "suite", "nightly")
    assert "nothing is due" in call("run-due").stdout
    assert "done" in call("schedule", "list").stdout


def test_a_run_begun_before_is_gone_on_with_in_its_folder(call: Callable[..., Result], suite: Path) -> None:
    call("schedule", "add", suite, "--cron", "0 3 * * *", "--name", "nights")
    overdue("nights")
    (ran,) = json.loads(call("run-due", "--json").stdout)["ran"]
    # As a process that died before it could say that it was done leaves it.
    held = {"last_status": "running", "claimed_by": "dead", "claimed_until": now() - timedelta(seconds=1)}
    overdue("nights", next_due=now() + timedelta(days=1), **held)
    (again,) = json.loads(call("run-due", "--json").stdout)["ran"]
    assert (again["status"], again["resumed"], again["folder"], again["run_id"]) == ("done", True, ran["folder"], ran["run_id"])


def test_a_suite_that_cannot_be_read_any_more_is_a_failure_with_its_reason(call: Callable[..., Result], suite: Path) -> None:
    call("schedule", "add", suite, "--cron", "0 3 * * *")
    overdue("nightly")
    suite.write_text(suite.read_text().replace("explainer", "explaner"))
    result = CliRunner().invoke(app, ["run-due"])
    assert result.exit_code == 2
    assert "nightly failed" in result.stdout
    assert "explaner" in result.stderr
    shown = call("schedule", "list").stdout
    assert "failed" in shown
    assert "explaner" in shown


def test_a_run_that_waits_for_its_folder_is_shown_with_the_reason(call: Callable[..., Result], suite: Path) -> None:
    call("schedule", "add", suite, "--cron", "0 3 * * *")
    overdue("nightly", last_due=now(), last_status="interrupted", last_error="'runs/[x]' is in use")
    shown = " ".join(call("schedule", "list").stdout.split())
    assert "interrupted, to be gone on with" in shown
    assert "'runs/[x]' is in use" in shown


def test_what_is_missed_is_said_and_no_failure(call: Callable[..., Result], suite: Path) -> None:
    call("schedule", "add", suite, "--cron", "0 3 * * *", "--grace", 60)
    overdue("nightly", next_due=now() - timedelta(minutes=2), cron="0 3 29 2 *")
    result = call("run-due")
    assert "nightly missed" in result.stdout
    assert "its grace is 60 s" in result.stderr
    assert not (suite.parent / "runs").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--cron", "0 25 * * *"], "hour '25'"),
        (["--cron", "0 3 * *"], "has 4 fields"),
        (["--cron", "0 3 * * *", "--timezone", "Europe/Berln"], "did you mean 'Europe/Berlin'?"),
        (["--cron", "0 3 * * *", "--name", "a/b"], "cannot be called 'a/b'"),
        (["--cron", "0 3 * * *", "--grace", "5"], "--grace"),
    ],
)
def test_a_wrong_schedule_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], suite: Path, options: list[str], expected: str
) -> None:
    assert expected in wrong(monkeypatch, capsys, "schedule", "add", suite, *options)


def test_a_wrong_suite_or_name_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], call: Callable[..., Result], suite: Path
) -> None:
    cron = ("--cron", "0 3 * * *")
    assert "no suite 'none.toml'" in wrong(monkeypatch, capsys, "schedule", "add", "none.toml", *cron)
    call("schedule", "add", suite, *cron)
    assert "a schedule 'nightly' already" in wrong(monkeypatch, capsys, "schedule", "add", suite, *cron)
    assert "did you mean 'nightly'?" in wrong(monkeypatch, capsys, "schedule", "pause", "nightli")
    suite.write_text(suite.read_text().replace("tokens", "tokes"))
    assert "did you mean 'tokens'?" in wrong(monkeypatch, capsys, "schedule", "add", suite, *cron, "--name", "other")


def test_a_port_in_use_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = wrong(monkeypatch, capsys, "schedule", "serve", "--port", port)
    assert f"port {port} on '127.0.0.1' is in use; give another --port" in said
