"""`explicate label` is killed at every stage of a run, again and again; the same command goes on, ends with the results of an undisturbed
run, and asks no language model twice for what it had answered.

Each attempt is a process of its own, forked from one that has imported what takes seconds to import and done nothing else. A process
is killed with SIGKILL just before it does a given thing (a file opened for writing or put in its place, seen by Python's audit events;
a request sent; a line of progress), or at a random moment after that.
"""

import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agents.connect import LOCAL_BATCH

ZYGOTE = r"""
import contextlib, importlib, json, os, pathlib, re, signal, sys, threading, time
import torch, transformers, pyarrow.parquet, scipy.stats, safetensors.torch, langchain_openai
from langchain.chat_models import init_chat_model
import evals.label, explicate.cli, explicate.progress, explicate.report, explicate.running
import agents.providers.chat, agents.connect, analyzers.engine, analyzers.subject, evals.instrument
from agents.cache import request_key
from agents.providers.local import LocalLLM
from agents.explainers import EXPLAINERS
from agents.simulators import SIMULATORS
EXPLAINERS.entries(), SIMULATORS.entries()
torch.set_num_threads(1)
evals.instrument.QUICK_NEURONS = dict(word=1)
evals.instrument.QUICK_FALSE = evals.instrument.QUICK_SENTENCES = 1

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def child(order):
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    seen = os.open(order["seen"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    pattern, left = re.compile(order["before"] or "$^"), order["nth"]

    def happens(what):
        nonlocal left
        os.write(seen, f"{time.monotonic()} {what}\n".encode())
        if pattern.search(what):
            left -= 1
            if left == 0 and order["seconds"] is None:
                die()
            elif left == 0:
                timer = threading.Timer(order["seconds"], die)
                timer.daemon = True
                timer.start()

    def watch(event, arguments):
        if event == "os.rename":
            what = f"put {os.fspath(arguments[1])}"
        elif event == "open" and isinstance(arguments[0], str | os.PathLike) and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR):
            what = f"write {os.fspath(arguments[0])}"
        elif event == "os.mkdir":
            what = f"make {os.fspath(arguments[0])}"
        else:
            return
        happens(what)

    report, compute = explicate.progress.Lines.report, LocalLLM._answer

    def reported(self, what, done, total):
        happens(f"progress {what}")
        report(self, what, done, total)

    def computed(self, requests):
        for request in requests:
            happens(f"compute {request_key(self.identity, request)}")
        return compute(self, requests)

    sys.addaudithook(watch)
    explicate.progress.Lines.report, LocalLLM._answer = reported, computed
    sys.argv = ["explicate", *order["argv"]]
    before = set(sys.modules)
    try:
        explicate.cli.main()
    finally:
        # What takes part only on the way is imported once and for all: later processes have it from the start.
        pathlib.Path(order["modules"]).write_text("\n".join(name for name in sys.modules if name not in before))

print("ready", flush=True)
for line in sys.stdin:
    order = json.loads(line)
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            child(order)
        except SystemExit as stop:
            code = stop.code or 0
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    print(pid, flush=True)
    _, status = os.waitpid(pid, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
    learned = pathlib.Path(order["modules"])
    for name in learned.read_text().split() if learned.exists() else ():
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    learned.unlink(missing_ok=True)
"""

KILLED = -signal.SIGKILL
SAME = ("excerpts.parquet", "simulations.parquet", "scores.parquet", "explanations.jsonl", "activations/evidence.safetensors")


@pytest.fixture(scope="module")
def zygote() -> Iterator["subprocess.Popen[str]"]:
    quiet = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "EXPLICATE_"))} | quiet
    process = subprocess.Popen([sys.executable, "-c", ZYGOTE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield process
    process.stdin.close()
    process.wait(10)
    process.stdout.close()


class Command:
    """The same `explicate label` command, over and over, in a folder of its own."""

    def __init__(
        self, zygote: "subprocess.Popen[str]", server: Any, folder: Path, subject: Path, corpus: Path, simulator: str = "openai:reader"
    ) -> None:
        folder.mkdir()
        self.zygote, self.server, self.folder = zygote, server, folder
        self.out = folder / "out"
        self.argv = ["label", str(subject), "--sites", "L0.mlp.3,L1.mlp.7-", "--corpus", str(corpus), "--tokens", "9000"]
        self.argv += ["--explainer", "openai:writer", "--simulator", simulator, "--base-url", server.url]
        self.argv += ["--concurrency", "1", "--out", str(self.out)]
        self.requests: list[list[str]] = []
        """Of each attempt, in order."""
        self.codes: list[int] = []
        self.seen: list[tuple[float, str]] = []
        """Of the last attempt: when, and what."""

    def attempt(self, *, before: str = "", nth: int = 1, request: str = "", late: bool = False, seconds: float | None = None) -> int:
        """Run it once and return its exit code, KILLED where it was killed: before the nth file operation like this, at this request
        (before it is answered, or right after), or so many seconds after that file operation or line of progress."""
        pipe_in, pipe_out = self.zygote.stdin, self.zygote.stdout
        assert pipe_in is not None
        assert pipe_out is not None
        asked: list[str] = []
        pid = 0
        known = threading.Event()

        def answer(body: dict[str, Any]) -> Any:
            asked.append(json.dumps(body, sort_keys=True))
            if asked[-1] == request:
                known.wait(10)
                if late:
                    threading.Timer(0.002, os.kill, (pid, signal.SIGKILL)).start()
                else:
                    os.kill(pid, signal.SIGKILL)
            return self.server.labeller(body)

        self.server.answer = answer
        names = {"ASSETS": "assets", "PASSES": "passes", "REPLIES": "kept/replies.sqlite"}
        order = {
            "argv": self.argv,
            "before": before,
            "nth": nth,
            "seconds": seconds,
            "log": str(self.folder / "log"),
            "seen": str(self.folder / "seen"),
            "modules": str(self.folder / "modules"),
            "folder": str(self.folder),
            "environment": {f"EXPLICATE_{name}": str(self.folder / "store" / where) for name, where in names.items()}
            | {"XDG_CONFIG_HOME": str(self.folder / "config")},
        }
        had = self.cached()
        pipe_in.write(json.dumps(order) + "\n")
        pipe_in.flush()
        pid = int(pipe_out.readline())
        known.set()
        code = int(pipe_out.readline())
        whole = (self.folder / "seen").read_text("utf-8").rpartition("\n")[0].splitlines()
        self.seen = [(float(moment), what) for moment, what in (line.split(" ", 1) for line in whole)]
        self.requests.append(asked)
        self.codes.append(code)
        assert code in (0, KILLED), (self.folder / "log").read_text("utf-8")
        computed = [what.removeprefix("compute ") for _, what in self.seen if what.startswith("compute ")]
        assert had.isdisjoint(computed)
        assert len(set(computed)) == len(computed)
        assert len(set(computed) - self.cached()) <= (LOCAL_BATCH if code == KILLED else 0)
        return code

    def cached(self) -> set[str]:
        """Keys of the replies that are kept."""
        path = self.folder / "store" / "kept" / "replies.sqlite"
        if not path.exists():
            return set()
        with closing(sqlite3.connect(path)) as file:
            has_table = file.execute("SELECT count(*) FROM sqlite_master WHERE name = 'replies'").fetchone()[0]
            return {key for (key,) in file.execute("SELECT key FROM replies")} if has_table else set()

    def asked_again(self) -> list[str]:
        """Requests that were asked once more, other than the one that was under way when its process was killed."""
        in_flight = Counter(asked[-1] for asked, code in zip(self.requests, self.codes, strict=True) if code == KILLED and asked)
        times = Counter(request for asked in self.requests for request in asked)
        return [request for request, count in times.items() if count > 1 + in_flight[request]]

    def results(self) -> dict[str, Any]:
        """results.json, without what tells how this very command came by it."""
        results: dict[str, Any] = json.loads((self.out / "results.json").read_text("utf-8"))
        for told in ("calls", "tokens", "usd"):
            del results[told]
        return results


@pytest.fixture
def command(
    zygote: "subprocess.Popen[str]",
    server: Any,
    tmp_path: Path,
    tiny_checkpoint: Callable[[str], Path],
    tiny_corpus: Path,
) -> Callable[..., Command]:
    """command("name") is the command in a new folder of that name; command("name", "local:FOLDER") with another simulator."""
    return lambda name, *simulator: Command(zygote, server, tmp_path / name, tiny_checkpoint("llama"), tiny_corpus, *simulator)


def check_equal(shaken: Command, calm: Command) -> None:
    assert shaken.results() == calm.results()
    for name in SAME:
        assert (shaken.out / name).read_bytes() == (calm.out / name).read_bytes(), name
    assert shaken.asked_again() == []
    assert {path.name for path in shaken.out.rglob(".*")} == {".lock"}
    keys = [json.loads(line)["key"] for line in (shaken.out / "transcript.jsonl").read_text("utf-8").splitlines()]
    assert len(keys) == len(set(keys))
    # A reply that was under way at a kill may be in the cache without a line of its own; then the line says that it was cached.
    assert set(keys) == {json.loads(line)["key"] for line in (calm.out / "transcript.jsonl").read_text("utf-8").splitlines()}
    assert sorted(path.name for path in shaken.out.glob("*.*")) == sorted(path.name for path in calm.out.glob("*.*"))


def test_killed_in_every_stage_the_same_command_goes_on(command: Callable[[str], Command]) -> None:
    calm = command("calm")
    assert calm.attempt() == 0
    (sequence,) = calm.requests
    lines = [json.loads(line) for line in (calm.out / "transcript.jsonl").read_text("utf-8").splitlines()]
    roles = [line["role"] for line in lines if not line["cached"]]
    # One call at a time: the transcript is in the order of the requests.
    assert len(roles) == len(sequence)
    draw = random.Random(0)

    def some(role: str) -> str:
        return sequence[draw.choice([place for place, other in enumerate(roles) if other == role])]

    shaken = command("shaken")
    plan: list[dict[str, Any]] = [
        {"request": some("probe")},
        {"before": r"write .*\.part/test\.index", "nth": 1},
        {"before": r"put .*/blocks/[0-9a-f]{20}$"},
        {"before": r"put .*/out/manifest\.json$"},
        {"before": r"put .*/out/manifest\.json$", "nth": 2},
        {"before": r"put .*checkpoint\.safetensors$"},
        {"before": r"put .*/calibrate\.safetensors$"},
        {"before": r"put .*/activations\.json$"},
        {"before": r"put .*/excerpts\.parquet$"},
        {"before": r"put .*/evidence\.safetensors$"},
        {"request": some("explain")},
        {"before": r"write .*transcript\.jsonl$", "nth": draw.randint(1, 4)},
        {"request": some("selftest"), "late": True},
        {"before": r"put .*/instruments/"},
        {"request": some("select")},
        {"request": some("simulate"), "late": True},
        {"before": r"put .*/simulations\.parquet$"},
        {"before": r"put .*/results\.json$"},
        {"before": r"put .*/report\.html$"},
    ]
    for moment in plan:
        assert shaken.attempt(**moment) == KILLED, moment
    assert shaken.attempt() == 0
    check_equal(shaken, calm)


STAGES = {
    "sampling": r"^progress sample$",
    "explain": r"^put .*/evidence\.safetensors$",
    "select and simulate": r"^progress selftest$",
    "report": r"^put .*/simulations\.parquet$",
    "end": r"^put .*/report\.html$",
}
"""How each begins."""


def check_random_kills(command: Callable[[str], Command], seed: int) -> None:
    """Kill three times at random within each stage; what ends nonetheless is checked and begun anew."""
    calm = command("calm")
    assert calm.attempt() == 0
    begins = [next(moment for moment, what in calm.seen if re.search(pattern, what)) for pattern in STAGES.values()]
    draw = random.Random(seed)
    shaken, finished = command("shaken-0"), 0
    for (stage, pattern), begin, end in zip(list(STAGES.items())[:-1], begins, begins[1:], strict=False):
        assert begin < end, stage
        left, killed = end - begin, 0
        while killed < 3:
            seconds = draw.uniform(0, left)
            if shaken.attempt(before=pattern, seconds=seconds) == KILLED:
                # What was done is not done again, so the stage is so much shorter now.
                left, killed = left - seconds, killed + 1
            else:
                check_equal(shaken, calm)
                left, finished = (end - begin) / 2, finished + 1
                shaken = command(f"shaken-{finished}")
    assert shaken.attempt() == 0
    check_equal(shaken, calm)


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_random_in_every_stage_the_same_command_goes_on(command: Callable[[str], Command], seed: int) -> None:
    """Twelve times in each stage, over all seeds."""
    check_random_kills(command, seed)


def test_killed_at_random_in_every_stage_a_run_with_a_local_model_goes_on(command: Callable[..., Command], tiny_llm: Path) -> None:
    check_random_kills(lambda name: command(name, f"local:{tiny_llm}"), seed=0)
