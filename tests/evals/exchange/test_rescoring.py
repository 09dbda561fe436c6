"""Somebody else's explanations scored under our rules: on what they were not shown, beside controls, resumable, within limits."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from analyzers.errors import RunFolderError
from evals.calls import Foretold
from evals.each import Stopped
from evals.exchange.config import RescoreConfig
from evals.exchange.importing import import_run
from evals.exchange.kept import features_of
from evals.exchange.rescoring import rescore
from evals.exchange.results import ImportedResults
from evals.label_config import Limits
from evals.results import Failure, Value
from explicate.report import write_report

Write = Callable[[str, Path], Path]
Rescore = Callable[..., Any]


@pytest.fixture
def run(workplace: Path, write: Write, server: Any) -> Rescore:
    """await run("openai"): imported and rescored; by default the loopback server simulates."""
    server.answer = server.labeller

    async def work(name: str, limits: Limits | None = None, **changes: Any) -> ImportedResults:
        if not (workplace / name).exists():
            await import_run(write(name, workplace / f"{name} theirs"), workplace / name)
        options = {"simulator": "openai:reader", "base_url": server.url, **changes}
        if not options["simulator"].startswith("openai"):
            options["base_url"] = None
        forecast_only = options.pop("forecast_only", False)
        config = RescoreConfig(**options)
        return await rescore(workplace / name, config, limits=limits or Limits(), tell=lambda line: None, forecast_only=forecast_only)

    return work


def rows(path: Path) -> list[dict[str, Any]]:
    return list(pq.read_table(path).to_pylist())


async def test_scores_stand_beside_controls_and_what_was_published(run: Rescore, workplace: Path, tiny_llm: Path) -> None:
    results = await run("openai", simulator=f"local:{tiny_llm}")
    assert isinstance(results, ImportedResults)
    live, dead = results.sites
    assert (results.n_scored, results.n_failed) == (1, 1)
    assert isinstance(dead.scores["pearson"], Failure)
    assert "dead site" in dead.scores["pearson"].reason
    assert live.published == {"ev_correlation_score": 0.75, "rsquared_score": None}
    assert set(live.controls) == {"null", "shuffled", "token_lookup", "bigram_lookup", "lexical"}
    assert live.shuffled_explanation == "dogs, 4"
    truth, told = [], []
    excerpts = {(row["document"], row["start"]): row for row in rows(workplace / "openai" / "excerpts.parquet") if row["split"] == "test"}
    for row in rows(workplace / "openai" / "simulations.parquet"):
        if row["of"] == "explanation" and row["split"] == "test":
            truth += excerpts[row["document"], row["start"]]["activations"]
            told += row["values"]
    score = live.scores["pearson"]
    assert isinstance(score, Value)
    assert score.value == pytest.approx(np.corrcoef(truth, told)[0, 1], abs=1e-6)
    assert score.n == len(truth)
    assert results.leak_audit.passed
    assert results.instrument is not None
    assert results.manifest["config"]["simulator"] == f"local:{tiny_llm}"
    shown = {record.text for feature in features_of(workplace / "openai") for record in feature.records if record.shown}
    assert shown.isdisjoint("".join(row["tokens"]) for row in excerpts.values())
    assert "reader" not in write_report(workplace / "openai").read_text()


async def test_without_a_language_model(run: Rescore, server: Any) -> None:
    results = await run("neuronpedia", simulator="lexical")
    assert server.bodies == []
    assert "null" not in results.sites[0].controls
    # "dogs" is no word of the texts: the lexical simulator says nothing, and that is no score.
    assert isinstance(results.sites[0].scores["pearson"], Failure)


async def test_a_second_time_nothing_is_asked_and_all_is_the_same(run: Rescore, server: Any) -> None:
    first = await run("transluce")
    asked = len(server.bodies)
    assert first.n_scored == 2
    assert asked > 20
    again = await run("transluce")
    assert len(server.bodies) == asked
    assert again.sites == first.sites
    assert again.calls.made == 0
    assert again.calls.cached > 20


async def test_a_limit_stops_it_and_the_same_command_goes_on(run: Rescore, server: Any) -> None:
    whole = await run("transluce", records=4)
    made = whole.calls.made
    server.bodies.clear()
    with pytest.raises(Stopped) as stopped:
        await run("transluce", limits=Limits(calls=30, concurrency=1), seed=0, records=40)
    assert isinstance(stopped.value.results, ImportedResults)
    assert stopped.value.results.n_failed == 1
    first = len(server.bodies)
    assert 0 < first <= 30
    done = await run("transluce", records=40)
    assert done.n_scored == 2
    texts = [json.dumps(body, sort_keys=True) for body in server.bodies]
    assert len(texts) == len(set(texts))
    assert made > 0


async def test_the_forecast_asks_nothing_of_the_sites(run: Rescore, server: Any) -> None:
    with pytest.raises(Foretold) as told:
        await run("openai", forecast_only=True)
    assert told.value.total.prompt_tokens > 0
    assert not any("dogs" in prompt for prompt in server.prompts())


async def test_the_records_are_bounded(run: Rescore, workplace: Path) -> None:
    await run("openai", simulator="lexical", records=5)
    splits = [row["split"] for row in rows(workplace / "openai" / "excerpts.parquet") if row["site"] == "L1.mlp.3"]
    assert splits.count("test") == 5
    assert splits.count("calibrate") == 2


async def test_of_several_explanations_the_one_that_does_best_on_select_is_scored(workplace: Path) -> None:
    named = {"modelId": "m", "layer": "0", "index": "1"}
    lines: list[dict[str, Any]] = [{**named, "description": text} for text in ('the word "cat"', 'the word "dog"', "N/A")]
    for number in range(60):
        tokens = [f" w{number}{at}" for at in range(8)]
        tokens[number % 8], tokens[(number + 3) % 8] = " dog", " cat"
        lines.append({**named, "tokens": tokens, "values": [5.0 + number / 9 if token == " dog" else 0.0 for token in tokens]})
    (workplace / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    await import_run(workplace / "rows.jsonl", workplace / "out")
    results = await rescore(workplace / "out", RescoreConfig(simulator="lexical"), limits=Limits(), tell=lambda line: None)
    (site,) = results.sites
    assert site.explanation == 'the word "dog"'
    scores = {candidate.explanation: candidate.select_score for candidate in site.candidates}
    assert list(scores) == ['the word "cat"', 'the word "dog"']
    assert isinstance(scores['the word "dog"'], float)
    assert scores['the word "dog"'] > 0.9
    score = site.scores["pearson"]
    assert isinstance(score, Value)
    assert score.value > 0.9
    chosen = [json.loads(line) for line in (workplace / "out" / "explanations.jsonl").read_text().splitlines()]
    assert [row["explanation"] for row in chosen if row["chosen"]] == ['the word "dog"']


@pytest.mark.parametrize("shown", [None, [" dog w00"]])
async def test_a_score_says_where_what_was_shown_is_not_known(shown: list[str] | None, workplace: Path) -> None:
    named = {"modelId": "m", "layer": "0", "index": "1"}
    lines: list[dict[str, Any]] = [{**named, "description": 'the word "dog"', "shown_to_explainer": shown}]
    for number in range(40):
        tokens = [" dog", *(f" w{number}{at}" for at in range(8))]
        lines.append({**named, "tokens": tokens, "values": [5.0 + number / 9, *[0.0] * 8]})
    (workplace / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    await import_run(workplace / "rows.jsonl", workplace / "out")
    results = await rescore(workplace / "out", RescoreConfig(simulator="lexical"), limits=Limits(), tell=lambda line: None)
    (site,) = results.sites
    assert isinstance(site.scores["pearson"], Value)
    assert site.shown_known == (shown is not None)
    assert ("It is not known which records its explainer was shown" in (site.warning or "")) == (shown is None)


async def test_only_imported_runs_are_rescored(workplace: Path) -> None:
    (workplace / "out").mkdir()
    (workplace / "out" / "manifest.json").write_text('{"format": 1, "command": "label", "config": {}}')
    with pytest.raises(RunFolderError, match="a run of 'label'; only imported data is rescored"):
        await rescore(workplace / "out", RescoreConfig(simulator="lexical"), limits=Limits(), tell=lambda line: None)
