"""What the tests share that kill a command at every stage: the same command goes on, ends with the results of an undisturbed run, and
asks no language model twice for what it had answered.

Each attempt is a process of its own (see Forks in tests/conftest.py). A process
is killed with SIGKILL just before it does a given thing (a file opened for writing or put in its place, seen by Python's audit events;
a request sent; a line of progress), or at a random moment after that.
"""

import json
import os
import random
import re
import signal
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agents.connect import LOCAL_BATCH

PREPARE = """
import functools
import torch, transformers, pyarrow.parquet, scipy.stats, safetensors.torch, langchain_openai
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.conversion_mapping import get_checkpoint_conversion_mapping
from langchain.chat_models import init_chat_model
import evals.audit.live, evals.confidence.run, evals.label, explicate.audit_page, explicate.audit_table, explicate.confidence_table
import explicate.cli, explicate.progress, explicate.report, explicate.running
import agents.providers.batch, agents.providers.chat, agents.connect, analyzers.engine, analyzers.subject, evals.calls, evals.instrument
from agents.explainers import EXPLAINERS
from agents.simulators import SIMULATORS
EXPLAINERS.entries(), SIMULATORS.entries()
# A table that transformers makes when it first loads a model.
get_checkpoint_conversion_mapping("llama")
torch.set_num_threads(1)
# It asks no language model and writes nothing: made once, and what it found is in every process.
evals.audit.live.selftest = functools.cache(evals.audit.live.selftest)
evals.audit.live.selftest(seed=0)
"""
"""What the program below needs, whatever the command."""

WATCHED = r"""
import json, os, re, signal, sys, threading, time
import evals.instrument, explicate.cli, explicate.progress
from agents.cache import request_key
from agents.providers.local import LocalLLM

order = json.loads(sys.argv[1])
evals.instrument.QUICK_NEURONS = dict(word=1)
evals.instrument.QUICK_FALSE = evals.instrument.QUICK_SENTENCES = 1
seen = os.open(order["seen"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
pattern, left = re.compile(order["before"] or "$^"), order["nth"]

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def happens(what):
    global left
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
        happens(f"compute {request.kind} {request_key(self.identity, request)}")
    return compute(self, requests)

sys.addaudithook(watch)
explicate.progress.Lines.report, LocalLLM._answer = reported, computed
sys.argv = ["explicate", *order["argv"]]
explicate.cli.main()
"""

KILLED = -signal.SIGKILL
COST = re.compile(rb"[\d,]+ (LLM )?calls made, [\d,]+ from the cache, [\d,]+ tokens, [\d.,]+ USD")
"""On a page: what tells how this very command came by its results."""


class Command:
    """The same command, over and over, in a folder of its own."""

    def __init__(
        self,
        forks: Any,
        server: Any,
        folder: Path,
        arguments: Sequence[str],
        answer: Callable[[dict[str, Any]], Any],
        same: Sequence[str],
    ) -> None:
        """arguments: all but --out; answer: what the server says; same: files of the run folder, each byte of which, but for COST on a
        page, is decided by the arguments and the answers."""
        folder.mkdir()
        self.forks, self.server, self.answer, self.folder, self.same = forks, server, answer, folder, same
        self.out = folder / "out"
        self.argv = [*arguments, "--out", str(self.out)]
        self.requests: list[list[str]] = []
        """Of each attempt, in order."""
        self.kept: list[int] = []
        """Of each attempt, how many of their replies it kept."""
        self.seen: list[tuple[float, str]] = []
        """Of the last attempt: when, and what."""

    def attempt(self, *, before: str = "", nth: int = 1, request: str = "", late: bool = False, seconds: float | None = None) -> int:
        """Run it once and return its exit code, KILLED where it was killed: before the nth file operation like this, at this request
        (before it is answered, or right after), or so many seconds after that file operation or line of progress."""
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
            return self.answer(body)

        self.server.answer = answer
        order = {"argv": self.argv, "before": before, "nth": nth, "seconds": seconds, "seen": str(self.folder / "seen")}
        names = {"ASSETS": "assets", "PASSES": "passes", "REPLIES": "kept/replies.sqlite"}
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "EXPLICATE_"))}
        environment |= {f"EXPLICATE_{name}": str(self.folder / "store" / where) for name, where in names.items()}
        environment |= {"XDG_CONFIG_HOME": str(self.folder / "config"), "HF_HUB_OFFLINE": "1"}
        had = self.cached()
        process = self.forks.start(WATCHED, json.dumps(order), folder=self.folder, prepare=PREPARE, environment=environment)
        pid = process.pid
        known.set()
        code = process.wait()
        whole = (self.folder / "seen").read_text("utf-8").rpartition("\n")[0].splitlines()
        self.seen = [(float(moment), what) for moment, what in (line.split(" ", 1) for line in whole)]
        self.requests.append(asked)
        assert code in (0, KILLED), process.err.read_text("utf-8")
        computed = [what.split(" ")[1:] for _, what in self.seen if what.startswith("compute ")]
        keys, now = {key for _, key in computed}, self.cached()
        assert had.isdisjoint(keys)
        assert len(keys) == len(computed)
        assert len(keys - now) <= (LOCAL_BATCH[computed[-1][0]] if code == KILLED and computed else 0)
        self.kept.append(len(now - had - keys))
        # One request at a time: what was under way when it was killed is the last.
        assert self.kept[-1] <= len(asked) <= self.kept[-1] + (code == KILLED)
        return code

    def cached(self) -> set[str]:
        """Keys of the replies that are kept."""
        path = self.folder / "store" / "kept" / "replies.sqlite"
        if not path.exists():
            return set()
        with closing(sqlite3.connect(path)) as file:
            has_table = file.execute("SELECT count(*) FROM sqlite_master WHERE name = 'replies'").fetchone()[0]
            return {key for (key,) in file.execute("SELECT key FROM replies")} if has_table else set()

    def some(self, role: str, draw: random.Random) -> str:
        """One of the requests of the first attempt, which must have ended, that were asked for this."""
        lines = [json.loads(line) for line in (self.out / "transcript.jsonl").read_text("utf-8").splitlines()]
        roles = [line["role"] for line in lines if not line["cached"]]
        # One call at a time: the transcript is in the order of the requests.
        assert len(roles) == len(self.requests[0])
        return self.requests[0][draw.choice([place for place, other in enumerate(roles) if other == role])]

    def asked_again(self) -> list[str]:
        """Requests that were asked once more, other than those whose process was killed before it had kept the reply."""
        lost = Counter(asked[-1] for asked, kept in zip(self.requests, self.kept, strict=True) if len(asked) > kept)
        times = Counter(request for asked in self.requests for request in asked)
        return [request for request, count in times.items() if count > 1 + lost[request]]

    def results(self) -> dict[str, Any]:
        """results.json, without what tells how this very command came by it."""
        results: dict[str, Any] = json.loads((self.out / "results.json").read_text("utf-8"))
        for told in ("calls", "tokens", "usd"):
            del results[told]
        return results

    def check_equal(self, calm: "Command") -> None:
        """It ended as an undisturbed command did."""
        assert self.results() == calm.results()
        for name in self.same:
            mine, theirs = ((command.out / name).read_bytes() for command in (self, calm))
            # Only there: of other files every byte counts.
            assert mine == theirs or (name.endswith(".html") and COST.sub(b"", mine) == COST.sub(b"", theirs)), name
        assert self.asked_again() == []
        assert {path.name for path in self.out.rglob(".*")} == {".lock"}
        keys = [json.loads(line)["key"] for line in (self.out / "transcript.jsonl").read_text("utf-8").splitlines()]
        assert len(keys) == len(set(keys))
        # A reply that was under way at a kill may be in the cache without a line of its own; then the line says that it was cached.
        assert set(keys) == {json.loads(line)["key"] for line in (calm.out / "transcript.jsonl").read_text("utf-8").splitlines()}
        assert sorted(path.name for path in self.out.glob("*.*")) == sorted(path.name for path in calm.out.glob("*.*"))


@pytest.fixture
def killable(forks: Any, server: Any, tmp_path: Path) -> Callable[..., Command]:
    """killable("name", arguments, answer=..., same=...) is a command in a new folder of that name: see Command. Its attempts return their
    exit code, KILLED (that of SIGKILL) where they were killed."""

    def build(name: str, arguments: Sequence[str], *, answer: Callable[[dict[str, Any]], Any], same: Sequence[str]) -> Command:
        return Command(forks, server, tmp_path / name, arguments, answer, same)

    return build


@pytest.fixture
def kill_in_turn() -> Callable[..., None]:
    """kill_in_turn(command, plan): kill a command at each moment of a plan (arguments of attempt), let it end, and check it; command(name)
    makes it, and calm is one that was not disturbed."""

    def check(command: Callable[[str], Command], calm: Command, plan: Sequence[Mapping[str, Any]]) -> None:
        shaken = command("shaken")
        for moment in plan:
            assert shaken.attempt(**moment) == KILLED, moment
        assert shaken.attempt() == 0
        shaken.check_equal(calm)

    return check


@pytest.fixture
def kill_at_random() -> Callable[..., None]:
    """kill_at_random(command, stages, seeds=[0], times=3): for each seed, kill so many times at random within each stage; what ends
    nonetheless is checked and begun anew. stages: how each begins, the last of them is the end."""

    def check(command: Callable[[str], Command], stages: Mapping[str, str], *, seeds: Iterable[int], times: int = 3) -> None:
        calm = command("calm")
        assert calm.attempt() == 0
        begins = [next(moment for moment, what in calm.seen if re.search(pattern, what)) for pattern in stages.values()]
        for seed in seeds:
            draw = random.Random(seed)
            shaken, finished = command(f"shaken-{seed}-0"), 0
            for (stage, pattern), begin, end in zip(list(stages.items())[:-1], begins, begins[1:], strict=False):
                assert begin < end, stage
                left, killed = end - begin, 0
                while killed < times:
                    seconds = draw.uniform(0, left)
                    if shaken.attempt(before=pattern, seconds=seconds) == KILLED:
                        # What was done is not done again, so the stage is so much shorter now.
                        left, killed = left - seconds, killed + 1
                    else:
                        shaken.check_equal(calm)
                        left, finished = (end - begin) / 2, finished + 1
                        shaken = command(f"shaken-{seed}-{finished}")
            assert shaken.attempt() == 0
            shaken.check_equal(calm)

    return check
