"""A real server: killed in the middle, asked to end in the middle, hung, and beside another one. Every call is paid once."""

import json
import os
import re
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.event import listen
from sqlalchemy.exc import OperationalError

from analyzers.errors import ExplicateError
from analyzers.progress import Report
from evals.database import Database
from evals.database.times import now
from evals.schedule.health import answering
from evals.schedule.heartbeat import Pulse
from evals.schedule.schedules import add_schedule, find_schedule
from evals.schedule.serve import serve as serve_here
from evals.schedule.servers import Server, all_servers, leave, register, say
from evals.schedule.times import Times
from evals.schedule.work import Ended, Tell

SCRIPT = Path(__file__).with_name("scripted.py")
PREPARE = "import evals.run_folder, evals.schedule.serve"
PREPARE_SUITE = f"{PREPARE}, evals.schedule.suite_run, langchain_openai"
PATIENCE_S = 120


def until(true: Callable[[], Any], what: str) -> Any:
    """Wait until something is true, and return it."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := true()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
    return found


class Served:
    """One server process, and what it logs."""

    def __init__(self, forks: Any, url: str, place: Path, number: int, command: str, **times: float) -> None:
        self.log = place / f"log-{number}"
        self.log.touch()
        given = {"poll": 0.1, "lease": 60, "beat": 0.1, "tick": 0.05, **times}
        arguments, prepare = (command, url, str(place), json.dumps(given)), PREPARE_SUITE if command == "suite" else PREPARE
        self.process = forks.start(SCRIPT, *arguments, folder=place, prepare=prepare, log=self.log)

    def events(self, name: str) -> list[dict[str, Any]]:
        rows = [json.loads(line) for line in self.log.read_text().split("\n")[:-1]]
        assert all(row.keys() >= {"time", "level", "event"} and datetime.fromisoformat(row["time"]).tzinfo for row in rows)
        return [row for row in rows if row["event"] == name]

    def address(self) -> str:
        started = until(lambda: self.events("started"), f"the start: {self.log.read_text()}")
        return str(started[0]["healthz"])

    def health(self) -> int:
        try:
            with urllib.request.urlopen(self.address(), timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    def kill(self) -> None:
        self.process.kill()

    def end(self) -> int:
        self.process.send(signal.SIGTERM)
        return int(self.process.wait())


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def serve(forks: Any, database_url: str, place: Path) -> Iterator[Callable[..., Served]]:
    servers: list[Served] = []

    def start(command: str = "serve", **times: float) -> Served:
        servers.append(Served(forks, database_url, place, len(servers), command, **times))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


@pytest.fixture
def due_once(database: Database, suite_file: Path) -> None:
    """A schedule that was due a minute ago, and is again in a day."""
    due = now() - timedelta(minutes=1)
    cron = f"{due.minute} {due.hour} * * *"
    add_schedule(database, suite_file, cron=cron, name="nightly", clock=lambda: due - timedelta(minutes=1))


def paid(place: Path) -> list[str]:
    file = place / "paid"
    return file.read_text().splitlines() if file.exists() else []


def waiting(place: Path) -> bool:
    """Whether three calls are paid, and the fourth waits at the gate."""
    return len(paid(place)) == 3


def completed(database: Database, place: Path) -> None:
    """Wait for the end of the suite; all of it is there, once, and recorded once."""
    until(lambda: find_schedule(database, "nightly").last_status == "done", "the end of the suite")
    after = find_schedule(database, "nightly")
    assert after.last_due is not None
    name = f"nightly-{after.last_due:%Y%m%dT%H%M%SZ}"
    assert paid(place) == [f"{name} {call}" for call in range(6)]
    assert (place / "recorded").read_text() == f"{name}\n"
    assert [folder.name for folder in (place / "runs").iterdir()] == [name]
    assert (after.last_run_id, after.claimed_by, after.last_error) == (f"run-{name}", None, None)
    assert after.next_due > now()


@pytest.mark.usefixtures("due_once")
def test_killed_in_the_middle_and_started_again_the_suite_completes(serve: Callable[..., Served], database: Database, place: Path) -> None:
    first = serve(lease=3)
    until(lambda: waiting(place), "three calls")
    first.kill()
    held = find_schedule(database, "nightly")
    assert (held.last_status, held.claimed_by is None) == ("running", False)
    (place / "gate").touch()
    second = serve()
    completed(database, place)
    assert second.events("begun") == []
    assert len(second.events("resumed")) == 1
    # It waited for the lease of the dead one to run out.
    assert held.claimed_until is not None
    assert datetime.fromisoformat(second.events("resumed")[0]["time"]) >= held.claimed_until - timedelta(milliseconds=1)


REVIEW = re.compile(r"review (\d+) of a film")


@pytest.fixture
def paid_suite(workplace: Path, suite_file: Path, server: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A suite of two measurements of stated confidence, of a model behind an endpoint that is asked one thing at a time."""
    monkeypatch.setenv("OPENAI_API_KEY", "none-of-this")
    rows = [{"text": f"review {number} of a film", "gold": ("positive", "negative")[number % 2]} for number in range(6)]
    (suite_file.parent / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    tasks = [
        f'[[task]]\nname = "{name}"\nkind = "confidence"\nmodel = "openai:m"\nbase_url = "{server.url}"\nitems = "items.jsonl"\n'
        f'prompting = ["{name}"]\nsampling = ["none"]\ndeletion = false\n'
        for name in ("vanilla", "top-k")
    ]
    suite_file.write_text('name = "nightly"\n[limits]\nconcurrency = 1\n' + "".join(tasks), encoding="utf-8")
    return suite_file


@pytest.mark.usefixtures("due_once", "paid_suite")
def test_killed_in_the_middle_of_a_suite_no_reply_is_paid_twice_and_no_result_is_missing(
    serve: Callable[..., Served], database: Database, place: Path, server: Any
) -> None:
    said: list[str] = []
    kills = [4, 10]
    """Killed while that request is answered: in the first task, and in the second."""
    under_way: list[str] = []
    running: list[Served] = []

    def answer(body: dict[str, Any]) -> Any:
        said.append(json.dumps(body, sort_keys=True))
        if kills and len(said) >= kills[0]:
            kills.pop(0)
            under_way.append(said[-1])
            running[-1].process.send(signal.SIGKILL)
        number = int(REVIEW.findall(body["messages"][-1]["content"])[-1]) if REVIEW.search(said[-1]) else 0
        label = ("positive", "negative")[number % 2]
        return server.chat(f"Answer: {label}\nConfidence: {60 + number}%\nG1: {label}\nP1: {60 + number}%\nG2: none\nP2: 5%")

    server.answer = answer
    for kill in range(2):
        running.append(serve("suite", lease=2))
        until(lambda: len(under_way) == kill + 1, f"kill {kill + 1}; {running[-1].log.read_text()}")  # noqa: B023
        running[-1].process.wait()
    running.append(serve("suite", lease=2))
    until(lambda: find_schedule(database, "nightly").last_status == "done", f"the end; {running[-1].log.read_text()}")
    # What was under way at a kill was received by nobody.
    again = [asked for asked in set(said) if said.count(asked) > 1 + under_way.count(asked)]
    assert again == []
    (folder,) = (place / "runs").iterdir()
    (row,) = database.runs().rows
    assert (row.folder, row.status, row.id) == (str(folder), "done", find_schedule(database, "nightly").last_run_id)
    for name in ("vanilla", "top-k"):
        found = json.loads((folder / "tasks" / name / "results.json").read_text(encoding="utf-8"))
        (measured,) = found["rows"]
        assert (found["n_items"], measured["n"], measured["n_failed"]) == (6, 6, 0)
        assert measured["measures"]["accuracy"]["value"] == 1
    assert running[-1].end() == 0


@pytest.mark.usefixtures("due_once")
def test_asked_to_end_in_the_middle_it_lets_go_and_the_next_goes_on_at_once(
    serve: Callable[..., Served], database: Database, place: Path
) -> None:
    first = serve(lease=100_000)
    until(lambda: waiting(place), "three calls")
    assert len(all_servers(database)) == 1
    assert first.end() == 0, first.log.read_text()
    assert [event["status"] for event in first.events("ended")] == ["interrupted"]
    assert len(first.events("stopped")) == 1
    assert all_servers(database) == []
    between = find_schedule(database, "nightly")
    assert (between.last_status, between.claimed_by, between.claimed_until) == ("interrupted", None, None)
    (place / "gate").touch()
    second = serve(lease=100_000)
    completed(database, place)
    assert second.end() == 0


@pytest.mark.usefixtures("due_once")
def test_of_two_servers_one_runs_the_suite(serve: Callable[..., Served], database: Database, place: Path) -> None:
    servers = [serve(), serve()]
    addresses = [server.address() for server in servers]
    assert len(set(addresses)) == 2
    until(lambda: waiting(place), "three calls")
    assert len(all_servers(database)) == 2
    (place / "gate").touch()
    completed(database, place)
    assert [server.end() for server in servers] == [0, 0]
    assert sorted(len(server.events("begun")) for server in servers) == [0, 1]
    assert [server.events("resumed") for server in servers] == [[], []]
    completed(database, place)


@pytest.mark.usefixtures("due_once")
def test_one_server_dies_and_the_other_goes_on_with_its_suite(serve: Callable[..., Served], database: Database, place: Path) -> None:
    servers = [serve(lease=3), serve(lease=3)]
    until(lambda: waiting(place), "three calls")
    (busy,) = [server for server in servers if server.events("begun")]
    busy.kill()
    (place / "gate").touch()
    completed(database, place)


@pytest.mark.usefixtures("due_once")
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_healthz_tells_a_server_that_hangs(serve: Callable[..., Served], database: Database, place: Path) -> None:
    (place / "block").touch()
    server = serve(hung=2)
    until(lambda: waiting(place), "three calls")
    until(lambda: server.health() == 503, "a server that hangs")
    assert waiting(place)
    (place / "gate").touch()
    completed(database, place)
    until(lambda: server.health() == 200, "a server that does not")
    assert server.end() == 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_server_with_nothing_to_do_is_healthy_and_ends_when_asked(serve: Callable[..., Served], database: Database) -> None:
    server = serve()
    assert server.health() == 200
    (there,) = all_servers(database)
    assert (there.pid, there.alive(now(), 60)) == (server.process.pid, True)
    until(lambda: all_servers(database)[0].heartbeat > there.heartbeat, "a sign of life")
    assert server.end() == 0


def test_a_database_that_goes_away_is_tried_again(database: Database) -> None:
    """Locked for too long, as both kinds may be, from the start of the server until it says so."""
    away, said = [False], list[str]()

    def begin(_: Any) -> None:
        if away[0]:
            raise OperationalError("BEGIN", {}, Exception("locked"))

    def log(event: str, /, **facts: object) -> None:
        said.append(event)
        away[0] = event == "started"
        if event == "database":
            assert "locked" in str(facts["error"])
            os.kill(os.getpid(), signal.SIGTERM)

    async def never(suite_file: Path, folder: Path, *, report: Report, tell: Tell) -> Ended:
        raise AssertionError("nothing is due")

    listen(database.engine, "begin", begin)
    serve_here(database, run=never, port=0, log=log, times=Times(poll=0.01, beat=0.001))
    assert said == ["started", "database", "stopping", "stopped"]
    assert all_servers(database) == []


def test_health_answers_one_path_and_says_little() -> None:
    at = [0.0]
    pulse = Pulse(10, clock=lambda: at[0])

    def get(path: str, method: str = "GET") -> tuple[int, bytes]:
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    with answering(pulse, "127.0.0.1", 0) as port:
        assert get("/healthz") == (200, b'{"status": "ok", "seconds_since_progress": "0.0"}')
        at[0] = 10.5
        assert get("/healthz?probe=1") == (503, b'{"status": "hung", "seconds_since_progress": "10.5"}')
        assert get("/healthz", "HEAD") == (503, b"")
        pulse.beat()
        assert get("/healthz")[0] == 200
        assert get("/../../etc/passwd")[0] == get("/")[0] == 404
        assert get("/healthz", "POST")[0] == 501


def test_a_port_in_use_is_told() -> None:
    pulse = Pulse(10)
    with answering(pulse, "127.0.0.1", 0) as port:
        wanted = re.escape(f"port {port} on '127.0.0.1' is in use; give another --port")
        with pytest.raises(ExplicateError, match=wanted), answering(pulse, "127.0.0.1", port):
            raise AssertionError("both have the port")
    # It is free again afterwards.
    with answering(pulse, "127.0.0.1", port) as again:
        assert again == port


def test_servers_come_and_go_and_the_silent_are_forgotten(database: Database, clock: Any) -> None:
    register(database, "one", clock())
    clock.go(hours=20)
    register(database, "two", clock())
    assert [server.id for server in all_servers(database)] == ["two", "one"]
    clock.go(hours=5)
    say(database, "two", clock())
    register(database, "three", clock())
    assert [server.id for server in all_servers(database)] == ["three", "two"]
    # Whoever was forgotten and is there after all is entered again.
    say(database, "one", clock())
    assert {server.id for server in all_servers(database)} == {"one", "two", "three"}
    leave(database, "two")
    found: dict[str, Server] = {server.id: server for server in all_servers(database)}
    assert found.keys() == {"one", "three"}
    assert found["one"].pid == os.getpid()
    assert found["one"].alive(clock() + timedelta(seconds=120), 120)
    assert not found["one"].alive(clock() + timedelta(seconds=121), 120)
