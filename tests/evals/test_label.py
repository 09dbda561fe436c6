"""A labelling run from end to end on tiny models: its results, its failures, its repetitions, and an endpoint that has bad moments."""

import functools
import json
import re
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from agents.connect import connect
from analyzers.errors import LimitReached
from evals.code_version import code_hash
from evals.each import Stopped
from evals.label import label
from evals.label_config import LabelConfig, Limits
from evals.leak_audit import audit
from evals.results import Failure, Lift, RunResults, SiteResult, Value

SITES = ("L0.mlp.6", "L1.mlp.7-")
DOCS = Path(__file__).parents[2] / "docs" / "results.md"

Label = Callable[..., Any]


@pytest.fixture(scope="session")
def passes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all tests of this file keep their sampling passes: none of them is about sampling."""
    return tmp_path_factory.mktemp("passes")


@pytest.fixture
def run(
    workplace: Path,
    passes: Path,
    tiny_corpus: Path,
    tiny_checkpoint: Callable[[str], Path],
    server: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Label:
    """await run("folder", **options): label the tiny llama; by default the loopback server explains and simulates."""
    monkeypatch.setenv("EXPLICATE_PASSES", str(passes))
    server.answer = server.labeller

    async def work(out: str, limits: Limits | None = None, tell: Callable[[str], None] = lambda line: None, **changes: Any) -> RunResults:
        options: dict[str, Any] = {
            "subject": str(tiny_checkpoint("llama")),
            "sites": SITES,
            "corpus": str(tiny_corpus),
            "tokens": 9000,
            "explainer": "openai:writer",
            "simulator": "openai:reader",
        } | changes
        if any(options[who].startswith("openai") for who in ("explainer", "simulator")):
            options["base_url"] = server.url
        return await label(LabelConfig.checked(**options), workplace / out, limits=limits or Limits(), tell=tell)

    return work


def fresh_replies(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on nothing that was answered before is known."""
    for number in range(100):
        path = workplace / "store" / f"replies-{number}" / "replies.sqlite"
        if not path.exists():
            monkeypatch.setenv("EXPLICATE_REPLIES", str(path))
            return


def plain(results: RunResults) -> list[dict[str, Any]]:
    return [site.model_dump(mode="json") for site in results.sites]


def documented(heading: str) -> set[str]:
    """Names in the first column of the table below a line of docs/results.md."""
    table = DOCS.read_text("utf-8").split(heading, 1)[1].split("\n\n")[1:]
    rows = next(part for part in table if part.startswith("|")).splitlines()[2:]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])}


def read(path: Path) -> list[dict[str, Any]]:
    return list(pq.read_table(path).to_pylist())


# ---- what a run leaves behind


async def test_results_and_artefacts_are_as_documented(run: Label, workplace: Path) -> None:
    await run("out")
    out = workplace / "out"
    results = json.loads((out / "results.json").read_text("utf-8"))
    assert set(results) == documented("## results.json")
    for site in results["sites"]:
        assert set(site) == documented("Each of `sites`")
    assert documented("# What a run leaves behind") >= {path.name for path in out.glob("*.*") if not path.name.startswith(".")}
    rows = [line.split("|") for line in DOCS.read_text("utf-8").splitlines() if line.startswith("| `")]
    said = {row[1].strip(" `"): set(re.findall(r"`([a-z_]+)`", row[2])) for row in rows}
    for name in ("excerpts", "simulations", "scores"):
        assert set(pq.read_schema(out / f"{name}.parquet").names) <= said[f"{name}.parquet"], name
    for line in (out / "explanations.jsonl").read_text("utf-8").splitlines():
        assert set(json.loads(line)) <= said["explanations.jsonl"]
    calls = [json.loads(line) for line in (out / "transcript.jsonl").read_text("utf-8").splitlines()]
    assert {key for call in calls for key in call} >= said["transcript.jsonl"]
    assert len({call["key"] for call in calls}) == len(calls)
    assert {call["role"] for call in calls} == {"probe", "explain", "selftest", "select", "simulate"}
    shown = [call for call in calls if call["role"] == "explain"]
    assert len(shown) == 4
    assert all(call["prompt"] and call["shown"] for call in shown)
    assert results["calls"]["made"] == sum(not call["cached"] for call in calls)
    assert results["leak_audit"]["passed"]
    assert results["leak_audit"]["prompts"] == 4
    assert audit(out).model_dump(mode="json") == results["leak_audit"]
    assert json.loads((out / "manifest.json").read_text("utf-8")) == results["manifest"]


def tokens_of(out: Path, site: SiteResult, of: str, split: str = "test") -> tuple[Any, Any, Any]:
    """[token] truth, prediction and null prediction of all scored excerpts, read from the tables."""
    mine = {"site": site.site, "polarity": site.polarity, "split": split}

    def rows(name: str) -> list[dict[str, Any]]:
        return [row for row in read(out / f"{name}.parquet") if all(row[key] == value for key, value in mine.items())]

    truth = {(row["document"], row["start"]): row["activations"] for row in rows("excerpts")}
    told = {(row["document"], row["start"]): row["values"] for row in rows("simulations") if row["of"] == of}
    null = {(row["document"], row["start"]): row["values"] for row in rows("simulations") if row["of"] == "null"}
    return tuple(np.concatenate([one[key] for key in truth]) for one in (truth, told, null))  # type: ignore[return-value]


async def test_scores_stand_beside_their_controls(run: Label, workplace: Path, tiny_llm: Path) -> None:
    results: RunResults = await run("out", explainer="template", simulator=f"local:{tiny_llm}")
    assert (results.n_scored, results.n_failed, results.void) == (2, 0, False)
    assert [site.site + site.polarity for site in results.sites] == ["L0.mlp.6+", "L1.mlp.7-"]
    for site, other in zip(results.sites, reversed(results.sites), strict=True):
        assert site.simulator == f"all-at-once(local:{tiny_llm})"
        truth, told, null = tokens_of(workplace / "out", site, "explanation")
        assert (truth >= 0).all()
        assert truth.max() > 0
        _, shuffled, _ = tokens_of(workplace / "out", site, "shuffled")
        expected = {
            "pearson": (site.scores["pearson"], told),
            "null contrast": (site.scores["pearson_null_contrast"], told - null),
            "null": (site.controls["null"]["pearson"], null),
            "shuffled": (site.controls["shuffled"]["pearson"], shuffled),
            "shuffled, contrasted": (site.controls["shuffled"]["pearson_null_contrast"], shuffled - null),
        }
        for name, (value, prediction) in expected.items():
            assert isinstance(value, Value), name
            assert value.value == pytest.approx(np.corrcoef(truth, prediction)[0, 1], abs=1e-6), name
            assert value.low <= value.value <= value.high
            assert value.n == len(truth)
        assert set(site.controls) == {"null", "shuffled", "token_lookup", "bigram_lookup", "lexical"}
        assert site.shuffled_explanation == other.explanation != site.explanation
        assert isinstance(site.lift, Lift)
        free = {name: site.controls[name]["pearson"] for name in ("token_lookup", "bigram_lookup", "lexical")}
        best = max((value.value, name) for name, value in free.items() if isinstance(value, Value))
        assert (site.lift.over, site.lift.score) == (best[1], "pearson_null_contrast")
        assert site.lift.value == pytest.approx(site.scores["pearson_null_contrast"].value - best[0], abs=1e-6)  # type: ignore[union-attr]
        assert site.firing is not None
        assert 0 < site.firing < 0.1
        assert set(site.by_stratum) <= {"top", "q95", "q75", "random", "top_and_random"}
    # Benjamini-Hochberg of two: the smaller is doubled, unless the larger is less than that.
    small, large = sorted((site.p_value for site in results.sites), key=lambda p: p or 0)
    assert small is not None
    assert large is not None
    assert small >= 1 / 1000
    assert sorted(site.q_value or 0 for site in results.sites) == pytest.approx([min(2 * small, large), large])
    assert results.instrument is not None
    assert results.instrument.simulator == results.sites[0].simulator


async def test_the_candidate_that_scores_best_on_select_is_chosen(run: Label, workplace: Path) -> None:
    results: RunResults = await run("out", candidates=3)
    for site in results.sites:
        assert len({candidate.explanation for candidate in site.candidates}) == 3
        scores = {candidate.explanation: candidate.select_score for candidate in site.candidates}
        numbers = {text: score for text, score in scores.items() if isinstance(score, float)}
        assert site.explanation == max(numbers, key=lambda text: numbers[text])
        lines = [json.loads(line) for line in (workplace / "out" / "explanations.jsonl").read_text("utf-8").splitlines()]
        chosen = [line["explanation"] for line in lines if line["site"] == site.site and line["chosen"]]
        assert chosen == [site.explanation]


async def test_without_a_language_model_nothing_is_asked(run: Label, server: Any) -> None:
    results: RunResults = await run("out", explainer="template", simulator="lexical")
    assert server.bodies == []
    assert (results.calls.made, results.calls.cached) == (0, 0)
    for site in results.sites:
        assert "null" not in site.controls
        assert "pearson_null_contrast" not in site.scores
        assert site.simulator == "lexical"
    assert results.leak_audit.passed
    assert results.leak_audit.prompts == 0


async def test_what_will_be_asked_is_told_before(run: Label, workplace: Path) -> None:
    told: list[str] = []
    results: RunResults = await run("out", tell=told.append)
    explanations, excerpts = map(int, re.findall(r"(\d+) (?:explanations|excerpts)", told[0]))
    calls = [json.loads(line) for line in (workplace / "out" / "transcript.jsonl").read_text("utf-8").splitlines()]
    assert explanations == sum(call["role"] == "explain" for call in calls)
    probes = sum(call["role"] == "probe" for call in calls)
    assert results.calls.made + results.calls.cached == explanations + probes + excerpts


# ---- failures


@pytest.fixture
def with_dead_neuron(tiny_model: Callable[..., tuple[Any, Any]], tmp_path: Path) -> Path:
    """The tiny llama, of which neuron L0.mlp.5 never fires."""
    model, tokenizer = tiny_model("llama")
    model.model.layers[0].mlp.up_proj.weight.data[5] = 0
    model.save_pretrained(tmp_path / "dead")
    tokenizer.save_pretrained(tmp_path / "dead")
    return tmp_path / "dead"


async def test_failures_are_a_type_and_stay_in_the_denominator(run: Label, server: Any, with_dead_neuron: Path, workplace: Path) -> None:
    seen: list[str] = []

    def answer(body: dict[str, Any]) -> Any:
        text = body["messages"][-1]["content"]
        if "What are the marked tokens?" not in text:
            return server.labeller(body)
        seen.extend([text] if text not in seen else [])
        bad = ["I'm sorry, I cannot help with that.", '{"no": "explanation"}', ""]
        return server.chat(bad[seen.index(text)]) if seen.index(text) < 3 else server.labeller(body)

    server.answer = answer
    sites = ("L0.mlp.5", "L0.mlp.1", "L0.mlp.2", "L0.mlp.3", "L0.mlp.4")
    results: RunResults = await run("out", Limits(concurrency=1), subject=str(with_dead_neuron), sites=sites)
    assert results.n_scored + results.n_failed == len(results.sites) == 5
    assert (results.n_failed, results.void) == (4, True)
    dead, refused, unread, empty, good = results.sites
    for site, reason in ((dead, "never fires"), (refused, "refused"), (unread, "not an explanation"), (empty, "empty")):
        assert site.explanation is None
        assert {failure.stage for failure in site.failures} == {"explain"}
        assert reason in site.failures[-1].reason
        assert isinstance(site.scores["pearson"], Failure)
        assert isinstance(site.lift, Failure)
        assert site.p_value is None
        assert site.q_value is None
        assert (site.controls, site.candidates) == ({}, [])
    assert isinstance(good.scores["pearson"], Value)
    assert good.q_value == good.p_value
    # Only the one that was scored is in the means; a mean of one has no interval, which is said instead of a number.
    assert isinstance(results.means["pearson"], Failure)
    assert "NaN" not in (workplace / "out" / "results.json").read_text("utf-8")
    failed = [json.loads(line).get("failed") for line in (workplace / "out" / "explanations.jsonl").read_text("utf-8").splitlines()]
    assert sum(bool(reason) for reason in failed) == 7


@pytest.mark.parametrize(("sites", "void"), [(5, False), (4, True)])
async def test_more_than_a_fifth_of_failures_voids_a_run(run: Label, with_dead_neuron: Path, sites: int, void: bool) -> None:
    names = tuple(f"L0.mlp.{index}" for index in range(5, 5 + sites))
    results: RunResults = await run("out", subject=str(with_dead_neuron), sites=names, explainer="template")
    assert (results.n_failed, results.void) == (1, void)


async def test_one_failed_candidate_leaves_the_other(run: Label, server: Any) -> None:
    def answer(body: dict[str, Any]) -> Any:
        return server.chat("I cannot say.") if body.get("seed") == 1 else server.labeller(body)

    server.answer = answer
    results: RunResults = await run("out")
    for site in results.sites:
        assert isinstance(site.scores["pearson"], Value)
        assert len(site.candidates) == 1
        assert [failure.stage for failure in site.failures] == ["explain"]


async def test_a_limit_keeps_what_there_is_and_the_run_goes_on(run: Label, server: Any, workplace: Path) -> None:
    with pytest.raises(LimitReached, match="--max-calls 5 is reached") as nothing:
        await run("out", Limits(calls=5, concurrency=1))
    assert not isinstance(nothing.value, Stopped)
    assert not (workplace / "out" / "results.json").exists()
    assert len(server.bodies) == 5
    with pytest.raises(Stopped, match="1 of 2 sites are not scored") as some:
        await run("out", Limits(calls=95, concurrency=1))
    assert len(server.bodies) == 100
    assert (some.value.results.n_scored, some.value.results.n_failed, some.value.results.void) == (1, 1, True)
    (stopped,) = [site for site in some.value.results.sites if site.failures]
    assert stopped.failures[-1].stage == "budget"
    results = await run("out")
    asked = len(server.bodies)
    assert results.n_failed == 0
    assert len({json.dumps(body, sort_keys=True) for body in server.bodies}) == asked


# ---- repetitions


async def test_a_repeated_run_asks_nothing_and_finds_the_same(
    run: Label, server: Any, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first: RunResults = await run("first")
    asked = len(server.bodies)
    before = {path.name: path.read_bytes() for path in (workplace / "first").glob("*.*")}
    for out in ("second", "first"):
        again: RunResults = await run(out)
        assert again.calls.made == 0
        assert again.calls.cached >= first.calls.made
        assert (again.tokens.prompt, again.tokens.completion, again.usd) == (0, 0, 0)
        assert plain(again) == plain(first)
        assert again.means == first.means
    assert len(server.bodies) == asked
    assert len({json.dumps(body, sort_keys=True) for body in server.bodies}) == asked
    after = {path.name: path.read_bytes() for path in (workplace / "first").glob("*.*")}
    assert {name for name in before if before[name] != after[name]} == {"results.json"}
    fresh_replies(workplace, monkeypatch)
    uncached: RunResults = await run("third")
    assert len(server.bodies) == 2 * asked
    assert plain(uncached) == plain(first)


async def test_going_on_with_other_code_is_told_and_recorded(run: Label, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = {"explainer": "template", "simulator": "lexical"}
    told: list[str] = []
    first: RunResults = await run("out", tell=told.append, **free)
    again: RunResults = await run("out", tell=told.append, **free)
    assert first.manifest["code"] == again.manifest["code"] == code_hash()
    assert not any("other code" in line for line in told)
    monkeypatch.setattr("evals.label.code_hash", lambda: "0123456789ab")
    changed: RunResults = await run("out", tell=told.append, **free)
    (line,) = (line for line in told if "other code" in line)
    assert f"({code_hash()}, now 0123456789ab)" in line
    assert changed.manifest["code"] == "0123456789ab"
    assert json.loads((workplace / "out" / "manifest.json").read_text("utf-8"))["code"] == "0123456789ab"
    assert plain(changed) == plain(first)


async def test_an_endpoint_with_bad_moments_ends_with_the_same_results(
    run: Label, server: Any, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm: RunResults = await run("calm")
    asked = len(server.bodies)
    tries: Counter[str] = Counter()
    faults: Counter[int] = Counter()

    def answer(body: dict[str, Any]) -> Any:
        request = json.dumps(body, sort_keys=True)
        tries[request] += 1
        fault = zlib.crc32(request.encode()) % 8
        if fault > 3 or tries[request] > 2:
            return server.labeller(body)
        faults[fault] += 1
        headers = {"retry-after": "0"}
        return [
            server.error(500, "broken"),
            server.error(429, "slower", headers=headers),
            server.die,
            (200, {}, b'{"choices": []}'),
        ][fault]

    async def soon(seconds: float) -> None:
        return None

    server.answer = answer
    monkeypatch.setattr("evals.calls.connect", functools.partial(connect, sleep=soon))
    fresh_replies(workplace, monkeypatch)
    shaken: RunResults = await run("shaken")
    assert set(faults) == {0, 1, 2, 3}
    assert len(server.bodies) == 2 * asked + faults.total()
    assert plain(shaken) == plain(calm)
    # An answer that nobody can read was given, and counts.
    assert shaken.calls.made == calm.calls.made + faults[3]
    assert shaken.tokens != calm.tokens


def nearly(value: Any) -> Any:
    """The value, equal to one whose numbers are the same but for their last digits."""
    if isinstance(value, dict):
        return {key: nearly(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [nearly(inner) for inner in value]
    return pytest.approx(value, rel=1e-4, abs=1e-4) if isinstance(value, float) else value


async def test_sites_alone_and_together_score_the_same(
    run: Label,
    workplace: Path,
    tiny_model: Callable[..., tuple[Any, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What may differ: the shuffled control, which is lent by another site of the run, and q, which is corrected for all. The excerpts
    that sites have in common are computed with others, by a model whose last bits depend on that."""
    for part in tiny_model("llama", hidden_size=256, max_position_embeddings=16_384):
        part.save_pretrained(workplace / "llm")
    together: RunResults = await run("together", explainer="template", simulator=f"local:{workplace / 'llm'}")
    for site, name in zip(together.sites, SITES, strict=True):
        fresh_replies(workplace, monkeypatch)
        alone: RunResults = await run(name, sites=(name,), explainer="template", simulator=f"local:{workplace / 'llm'}")
        assert alone.calls.made > alone.calls.cached
        one, many = plain(alone)[0], site.model_dump(mode="json")
        assert one["q_value"] == one["p_value"] == many["p_value"]
        assert one["controls"].keys() == many["controls"].keys()
        for result in (one, many):
            del result["q_value"], result["warning"], result["shuffled_explanation"], result["controls"]["shuffled"]
        assert one == nearly(many)


async def test_the_time_that_a_call_may_take_reaches_the_model(run: Label, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    async def noting(spec: str, **options: Any) -> Any:
        asked.append(options["timeout"])
        return await connect(spec, **options)

    monkeypatch.setattr("evals.calls.connect", noting)
    await run("out", Limits(timeout=7.5))
    assert asked == [7.5, 7.5]
