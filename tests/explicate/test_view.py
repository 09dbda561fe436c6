"""`explicate view`: where it answers, who needs a token, and what it says of what a user can mend."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from analyzers.errors import ExplicateError
from evals.database import open_database
from evals.run_folder import write_json, write_json_lines
from explicate.commands import view as command
from explicate.commands.view import view

TOKEN = "correct-horse-battery"
CODE = "from explicate.cli import main; main()"


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workplace: Path) -> Path:
    """The file of an empty results database, in an empty current folder."""
    file = tmp_path / "results.sqlite"
    monkeypatch.setenv("EXPLICATE_DATABASE_URL", f"sqlite:///{file}")
    return file


@contextmanager
def _serving(*options: str, **environment: str) -> Iterator[tuple[dict[str, object], "subprocess.Popen[str]"]]:
    """The program as a user starts it, on a free port: what it printed, and the process."""
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, "view", "--port", "0", "--json", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        yield json.loads(line), process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)


def _status(url: str, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def _run(folder: Path) -> None:
    """A measurement of confidence without items, as a run folder."""
    folder.mkdir(parents=True)
    manifest = {"format": 1, "command": "confidence", "config": {"model": "local:x"}}
    write_json(folder / "manifest.json", manifest)
    results = {"rows": [], "deletion": None, "replies": [], "n_items": 0, "n_without_gold": 0, "manifest": manifest}
    write_json(folder / "results.json", results | {"calls": {"made": 0, "cached": 0}, "tokens": {"prompt": 0, "completion": 0}, "usd": 0})
    write_json_lines(folder / "items.jsonl", [])


def test_it_shows_run_folders_of_the_current_folder_and_ends_by_ctrl_c(database: Path) -> None:
    _run(Path("runs") / "first")
    with _serving() as (said, process):
        address = str(said["address"])
        assert address.startswith("http://127.0.0.1:")
        assert said["token"] is False
        with urllib.request.urlopen(address + "api/runs", timeout=20) as answer:
            assert [row["name"] for row in json.load(answer)["rows"]] == ["first"]
            assert answer.headers.get("server") is None
        assert _status(address, host="evil.example") == 421
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert address in errors
    assert "Traceback" not in errors


def test_with_a_token_nothing_is_read_without_it(database: Path) -> None:
    with _serving("--host", "0.0.0.0", "--token-env", "PAGES_TOKEN", PAGES_TOKEN=TOKEN) as (said, _):
        address = f"http://127.0.0.1:{str(said['address']).rsplit(':', 1)[1]}"
        assert said["token"] is True
        assert TOKEN not in json.dumps(said)
        assert _status(address) == 401
        assert _status(address + "api/runs", authorization=f"Bearer {TOKEN}x") == 401
        assert _status(address + "api/runs", authorization=f"Bearer {TOKEN}", host="pages.example") == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org"])
def test_a_token_is_needed_where_other_machines_can_read(database: Path, host: str) -> None:
    with pytest.raises(ExplicateError, match="token-env"):
        view(port=0, host=host)
    assert not database.exists()


@pytest.mark.parametrize(
    ("token", "said"), [(None, "not set"), ("", "not set"), ("short", "16"), ("x" * 20 + "é", "ASCII"), (" " + TOKEN, "blanks")]
)
def test_a_token_that_is_missing_or_weak_is_refused_and_never_repeated(
    database: Path, monkeypatch: pytest.MonkeyPatch, token: str | None, said: str
) -> None:
    if token is not None:
        monkeypatch.setenv("PAGES_TOKEN", token)
    with pytest.raises(ExplicateError, match=said) as error:
        view(port=0, token_env="PAGES_TOKEN")
    assert not token or token not in str(error.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost"])
def test_this_machine_alone_needs_no_token(host: str) -> None:
    assert command._is_local(host)


def test_a_port_in_use_is_one_line_that_says_what_to_do(database: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ExplicateError, match=f"port {port} of 127.0.0.1 is in use; give another one with --port"):
            view(port=port)


def test_an_address_of_another_machine_is_refused(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGES_TOKEN", TOKEN)
    with pytest.raises(ExplicateError, match=r"192\.0\.2\.7"):
        view(port=0, host="192.0.2.7", token_env="PAGES_TOKEN")


def test_only_new_folders_are_imported_and_broken_ones_are_named(database: Path) -> None:
    _run(Path("runs") / "whole")
    _run(Path("runs") / "half")
    (Path("runs") / "half" / "items.jsonl").unlink()
    with open_database() as opened:
        said = command._import_new(opened, None)
        assert len(said) == 1
        assert "half deleted" in said[0]
        assert [row.name for row in opened.runs().rows] == ["whole"]
        indexed = opened.runs().rows[0].indexed_at
        command._import_new(opened, None)
        assert opened.runs().rows[0].indexed_at == indexed
        with pytest.raises(ExplicateError, match="no folder to look for runs in"):
            command._import_new(opened, [Path("nowhere")])


def test_help_has_an_example() -> None:
    import typer

    app = typer.Typer()
    app.command()(view)
    text = CliRunner().invoke(app, ["--help"]).output
    assert "Example: explicate view --port 8000" in text
