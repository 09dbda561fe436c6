"""A labelling run by batches from end to end: as a live one, for half the price, in few batches, and gone on with when it is killed."""

import asyncio
import functools
import json
import os
import signal
import time
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from agents.connect import OPENAI_KEY, connect
from agents.prices import listed_price
from agents.providers.batch import BATCHES, DISCOUNT
from evals.label import label
from evals.label_config import LabelConfig, Limits
from evals.results import RunResults, ScorerResult, Value
from evals.scoring.asking import MAX_TOKENS

SITES = ("L0.mlp.6", "L1.mlp.7-")
SAME = ("excerpts.parquet", "simulations.parquet", "scores.parquet", "explanations.jsonl")
"""Files of a run that are the same to the byte, however it was asked."""
STAGES = 3
"""Batches of a run: explanations; what tests the instruments and chooses among explanations; what scores the chosen ones."""

Run = Callable[..., Any]


async def turns(seconds: float) -> None:
    """Waits no time, and long enough for all that is ready to be asked to be asked."""
    for _ in range(300):
        await asyncio.sleep(0)


def asked_together(monkeypatch: pytest.MonkeyPatch) -> None:
    # The client asks in a thread what machine this is: without it, what is asked together is under way after a few turns of the loop.
    monkeypatch.setattr("openai._base_client.asyncify", lambda call: lambda: asyncio.sleep(0, call()))
    monkeypatch.setattr("evals.calls.connect", functools.partial(connect, sleep=turns))


@pytest.fixture(scope="module")
def passes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("passes")


@pytest.fixture
def run(
    workplace: Path,
    passes: Path,
    tiny_corpus: Path,
    tiny_checkpoint: Callable[[str], Path],
    batches: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """await run("folder", Limits(batch=True), **options): label the tiny llama; nothing that an earlier run was answered is known."""
    monkeypatch.setenv("EXPLICATE_PASSES", str(passes))
    asked_together(monkeypatch)
    batches.model = batches.labeller

    async def work(out: str, limits: Limits, **changes: Any) -> RunResults:
        monkeypatch.setenv("EXPLICATE_REPLIES", str(workplace / "store" / out / "replies.sqlite"))
        options: dict[str, Any] = {
            "subject": str(tiny_checkpoint("llama")),
            "sites": SITES,
            "corpus": str(tiny_corpus),
            "tokens": 9000,
            "explainer": "openai:writer",
            "simulator": "openai:reader",
            "base_url": batches.url,
        } | changes
        return await label(LabelConfig.checked(**options), workplace / out, limits=limits, tell=lambda line: None)

    return work


def plain(results: RunResults) -> list[dict[str, Any]]:
    return [site.model_dump(mode="json") for site in results.sites]


def calls_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "transcript.jsonl").read_text("utf-8").splitlines()]


def submitted(batches: Any) -> list[list[str]]:
    """[batch] the keys of its requests."""
    return [[line["custom_id"] for line in batches.lines(nth)] for nth in range(len(batches.batches))]


async def test_a_run_by_batches_finds_what_a_live_one_finds_in_one_batch_a_stage(run: Run, batches: Any, workplace: Path) -> None:
    live = await run("live", Limits())
    asked = len(batches.calls)
    assert batches.batches == []
    by_batch = await run("batch", Limits(batch=True))
    assert live.n_scored == len(SITES)
    assert plain(by_batch) == plain(live)
    assert (by_batch.means, by_batch.instrument, by_batch.leak_audit) == (live.means, live.instrument, live.leak_audit)
    for name in SAME:
        assert (workplace / "batch" / name).read_bytes() == (workplace / "live" / name).read_bytes(), name
    calls = calls_of(workplace / "batch")
    roles = Counter(call["role"] for call in calls if not call["cached"])
    assert roles.keys() == {"probe", "explain", "selftest", "select", "simulate"}
    assert [len(keys) for keys in submitted(batches)] == [
        roles["explain"],
        roles["selftest"] + roles["select"],
        roles["simulate"],
    ]
    assert len(batches.batches) == STAGES
    # Live was asked only what the models can do; and that, and nothing else, the transcript says of another name.
    assert len(batches.calls) - asked == roles["probe"]
    assert {call["llm"] for call in calls if call["role"] == "probe"} == {"openai:writer (live)", "openai:reader (live)"}
    assert {call["llm"] for call in calls if call["role"] != "probe"} == {"openai:writer", "openai:reader"}
    assert by_batch.calls == live.calls
    assert by_batch.tokens == live.tokens
    again = await run("batch", Limits(batch=True))
    assert again.calls.made == 0
    assert plain(again) == plain(live)
    assert len(batches.batches) == STAGES


async def test_scorers_take_no_batch_of_their_own(run: Run, batches: Any, workplace: Path) -> None:
    def model(body: dict[str, Any]) -> Any:
        reply = batches.labeller(body)
        if MAX_TOKENS in (body.get("max_tokens"), body.get("max_completion_tokens")):
            odd = zlib.crc32(json.dumps(body["messages"]).encode()) % 2
            reply["choices"][0]["message"]["content"] = ("yes", "no")[odd]
        return reply

    batches.model = model
    options: dict[str, Any] = {"scorers": ("detection", "token-question-contrast", "simulation"), "items": 16, "neighbours": False}
    live = await run("live", Limits(), **options)
    by_batch = await run("batch", Limits(batch=True), **options)
    assert plain(by_batch) == plain(live)
    for site in by_batch.sites:
        # In the order in which they are named, whichever was the first to be done.
        assert tuple(name for name in site.scorers if name in options["scorers"]) == options["scorers"]
        for name in options["scorers"]:
            found = site.scorers[name]
            assert isinstance(found, ScorerResult)
            assert isinstance(next(iter(found.scores.values())), Value)
    for name in (*SAME, "judgements.parquet"):
        assert (workplace / "batch" / name).read_bytes() == (workplace / "live" / name).read_bytes(), name
    assert len(batches.batches) == STAGES
    assert len(batches.lines(2)) > len(batches.lines(1)) > 0


async def test_where_only_the_explainer_is_asked_by_batches_there_is_one(run: Run, batches: Any) -> None:
    live = await run("live", Limits(), simulator="lexical")
    assert plain(await run("batch", Limits(batch=True), simulator="lexical")) == plain(live)
    assert len(batches.batches) == 1


async def test_a_run_costs_half_the_listed_price_and_the_price_that_is_given(
    run: Run, batches: Any, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.connect.OPENAI_URL", batches.url)
    monkeypatch.setenv(OPENAI_KEY, "sk-test-0123456789abcdef")
    models = {"explainer": "openai:gpt-4.1-mini", "simulator": "openai:gpt-4.1-nano", "base_url": None}
    live = await run("live", Limits(), **models)
    by_batch = await run("batch", Limits(batch=True), **models)
    assert plain(by_batch) == plain(live)
    price = {f"openai:{name}": listed_price("openai", name) for name in ("gpt-4.1-mini", "gpt-4.1-nano")}
    whole = probes = 0.0
    for call in calls_of(workplace / "batch"):
        # Each is said to take 10 tokens and 5.
        listed = price[call["llm"].removesuffix(" (live)")]
        assert listed is not None
        usd = listed.usd(10, 5) * (not call["cached"])
        whole += usd
        probes += usd * (call["role"] == "probe")
    assert live.usd == pytest.approx(whole)
    assert by_batch.usd == pytest.approx(probes + DISCOUNT * (whole - probes))
    assert 0 < probes < 0.1 * whole
    # A price that somebody gives is what a batch costs them.
    given = await run("given", Limits(batch=True, price="2,10"), **models)
    assert given.usd == pytest.approx(given.calls.made * (10 * 2 + 5 * 10) / 1e6)


async def test_what_fails_in_a_batch_is_sent_again_and_what_stays_away_is_a_failure(
    run: Run, batches: Any, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = await run("live", Limits())
    seen: Counter[str] = Counter()
    failed: Counter[Any] = Counter()

    def verdict(nth: int, text: str) -> Any:
        seen[text] += 1
        found = ([(500, "oops"), "expired", "missing", (429, "slow down")] + ["ok"] * 8)[zlib.crc32(text.encode()) % 12]
        if found == "ok" or seen[text] >= BATCHES:
            return "ok"
        failed[found] += 1
        return found

    batches.verdict = verdict
    shaken = await run("shaken", Limits(batch=True))
    assert len(failed) == 4
    assert plain(shaken) == plain(live)
    assert shaken.calls.made == live.calls.made
    sent = Counter(key for keys in submitted(batches) for key in keys)
    assert sent.total() - len(sent) == failed.total()
    assert max(sent.values()) == BATCHES
    # Each further try of a stage is one batch, whatever failed.
    assert len(batches.batches) <= STAGES * BATCHES

    # Of one prompt in the last stage nothing ever comes, and one is refused.
    stage = [line["body"]["messages"][-1]["content"] for line in batches.lines(len(batches.batches) - 1)]
    before = len(batches.batches)
    never, wrong = sorted(set(stage))[:2]
    batches.verdict = lambda nth, text: (500, "never") if text == never else (400, "no such thing") if text == wrong else "ok"
    hurt = await run("hurt", Limits(batch=True))
    reasons = [row["failed"] for row in pq.read_table(workplace / "hurt" / "simulations.parquet").to_pylist() if row["failed"]]
    assert any(reason.endswith(f"answered 500 (never); given up after {BATCHES} batches") for reason in reasons), reasons
    assert any(reason == "rejected (400): no such thing" for reason in reasons), reasons
    assert [len(keys) for keys in submitted(batches)[before + STAGES :]] == [1] * (BATCHES - 1)
    assert hurt.n_scored + hurt.n_failed == len(SITES)


PREPARE = """
import torch, transformers, pyarrow.parquet, scipy.stats, safetensors.torch, langchain_openai, openai._base_client
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast
from langchain.chat_models import init_chat_model
import agents.connect, agents.providers.batch, agents.providers.chat, analyzers.subject, evals.calls, evals.instrument, evals.label
import explicate.cli, explicate.report, explicate.running
"""
HURRIED = """
import asyncio, functools
import agents.connect, evals.calls, evals.instrument, explicate.cli, openai._base_client, sys

async def turns(seconds):
    for _ in range(300):
        await asyncio.sleep(0)

evals.instrument.QUICK_NEURONS = dict(word=1)
evals.instrument.QUICK_FALSE = evals.instrument.QUICK_SENTENCES = 1
openai._base_client.asyncify = lambda call: lambda: asyncio.sleep(0, call())
evals.calls.connect = functools.partial(agents.connect.connect, sleep=turns)
sys.argv[0] = "explicate"
explicate.cli.main()
"""
"""The command, as `asked_together` has it in this process."""


def test_killed_while_each_batch_is_under_way_it_goes_on_and_nothing_is_submitted_twice(
    forks: Any, batches: Any, workplace: Path, tiny_checkpoint: Callable[[str], Path], tiny_corpus: Path
) -> None:
    batches.model = batches.labeller
    end, released = batches.end, 0

    def held(nth: int, batch: dict[str, Any], lines: list[dict[str, Any]]) -> None:
        if nth < released:
            end(nth, batch, lines)

    batches.end = held
    argv = ["label", str(tiny_checkpoint("llama")), "--sites", ",".join(SITES), "--corpus", str(tiny_corpus), "--tokens", "9000"]
    argv += ["--explainer", "openai:writer", "--simulator", "openai:reader", "--base-url", batches.url, "--price", "1,2"]
    log = workplace / "log"

    def told() -> str:
        return log.read_text("utf-8") if log.exists() else ""

    def attempt(out: str, *options: str, killed: bool = False) -> int:
        replies = {"EXPLICATE_REPLIES": str(workplace / "store" / out / "replies.sqlite")}
        environment = {**os.environ, **replies}
        process = forks.start(HURRIED, *argv, "--out", out, *options, folder=workplace, prepare=PREPARE, environment=environment, log=log)
        deadline = time.monotonic() + 120
        while killed and not (len(batches.batches) > released and batches.batches[released]["looked"] > 1):
            assert time.monotonic() < deadline, told()
            time.sleep(0.01)
        if killed:
            process.send(signal.SIGKILL)
        return int(process.wait())

    assert attempt("live") == 0, told()
    live_calls = len(batches.calls)
    for stage in range(STAGES):
        released = stage
        assert attempt("shaken", "--batch", killed=True) == -signal.SIGKILL, told()
        assert [batch["status"] for batch in batches.batches] == ["completed"] * stage + ["in_progress"]
        assert not (workplace / "shaken" / "results.json").exists()
    released = STAGES
    assert attempt("shaken", "--batch") == 0, told()
    keys = [key for batch in submitted(batches) for key in batch]
    assert len(batches.batches) == STAGES
    assert len(set(keys)) == len(keys)
    # What the models can do was asked once, too.
    probes = sum(call["role"] == "probe" for call in calls_of(workplace / "live"))
    assert len(batches.calls) - live_calls == probes
    shaken, live = (json.loads((workplace / out / "results.json").read_text("utf-8")) for out in ("shaken", "live"))
    # The last command took what lay in the last batch, and had all else from those before.
    assert shaken["calls"]["made"] == len(submitted(batches)[-1])
    for results in (shaken, live):
        for told_of_itself in ("calls", "tokens", "usd"):
            del results[told_of_itself]
    assert shaken == live
    for name in SAME:
        assert (workplace / "shaken" / name).read_bytes() == (workplace / "live" / name).read_bytes(), name
    rows = calls_of(workplace / "shaken")
    assert len({row["key"] for row in rows}) == len(rows)
