"""Labelling runs of sites that are no neurons, with scorers, twins and an explainer that experiments, on tiny models."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from agents.experimenter import replay
from analyzers.errors import ExplicateError, Failed, ProviderError, SubjectError
from evals.label import label
from evals.label_config import LabelConfig, Limits
from evals.leak_audit import audit
from evals.results import Failure, RunResults, ScorerResult, Value
from evals.scoring.material import LOUD, SILENT
from explicate.report import write_report

HIDDEN = 32
Label = Callable[..., Any]


@pytest.fixture
def run(workplace: Path, tiny_corpus: Path, tiny_checkpoint: Callable[[str], Path]) -> Label:
    """await run("folder", **options): label sites of the tiny llama with the template and the lexical simulator."""

    async def work(out: str, limits: Limits | None = None, **changes: Any) -> RunResults:
        options: dict[str, Any] = {
            "subject": str(tiny_checkpoint("llama")),
            "corpus": str(tiny_corpus),
            "tokens": 9000,
            "explainer": "template",
            "simulator": "lexical",
            "neighbours": False,
        } | changes
        return await label(LabelConfig.checked(**options), workplace / out, limits=limits or Limits(), tell=lambda line: None)

    return work


def autoencoder(folder: Path) -> Path:
    """A small one in SAELens' layout, of what leaves block 1."""
    folder.mkdir()
    torch.manual_seed(0)
    encoder = torch.randn(HIDDEN, 24)
    tensors = {"W_enc": encoder, "b_enc": torch.full((24,), -0.5), "W_dec": encoder.T.contiguous(), "b_dec": torch.zeros(HIDDEN)}
    save_file(tensors, folder / "sae_weights.safetensors")
    config = {"architecture": "standard", "hook_name": "blocks.1.hook_resid_post", "d_in": HIDDEN, "d_sae": 24}
    (folder / "cfg.json").write_text(json.dumps(config))
    return folder


async def test_every_kind_of_site_is_sampled_explained_and_scored(run: Label, workplace: Path) -> None:
    save_file({"L1": torch.randn(2, HIDDEN)}, workplace / "directions.safetensors")
    names = ("L0.mlp.6", "L1.attn.2", "L2.resid.5-", "L1.random.7", "L1.sae.3", "L1.direction.1-")
    results = await run("out", sites=names, sae=(str(autoencoder(workplace / "sae")),), directions="directions.safetensors")
    assert [site.site + ("-" if site.polarity == "-" else "") for site in results.sites] == list(names)
    for site in results.sites:
        assert site.explanation is not None
        assert isinstance(site.scores["pearson"], Value | Failure)
        assert {"token_lookup", "bigram_lookup", "lexical", "shuffled"} <= site.controls.keys()
    assert results.leak_audit.passed
    assert results.leak_audit.checked > 0


async def test_sites_of_a_kind_are_drawn(run: Label) -> None:
    heads = await run("heads", kind="attn", layers="1", sample=3)
    assert [site.site for site in heads.sites] == ["L1.attn.0", "L1.attn.1", "L1.attn.3"] or len({s.site for s in heads.sites}) == 3
    assert all(site.site.startswith("L1.attn.") and site.polarity == "+" for site in heads.sites)
    both = await run("both", kind="resid", layers="0", sample=2, polarity="both")
    assert [site.polarity for site in both.sites] == ["+", "-", "+", "-"]


async def test_what_there_is_none_of_is_said_before_anything_is_made(run: Label, workplace: Path) -> None:
    with pytest.raises(SubjectError, match="--sae"):
        await run("out", sites=("L1.sae.3",))
    with pytest.raises(ExplicateError, match="no negative side"):
        await run("out", kind="attn", polarity="both")
    with pytest.raises(ProviderError, match="no scorer is called 'detecting'"):
        await run("out", sites=("L0.mlp.6",), scorers=("detecting",))
    assert not (workplace / "out").exists()


SCRIPT = {
    "rules": [],
    "default": {
        "text": "ing",
        "options": {
            " yes": -0.4,
            " no": -1.2,
            **{f" {number}": -1.6 for number in range(1, 6)},
            **{str(digit): -2.3 for digit in range(10)},
        },
    },
    "capabilities": ["chat", "choice", "readout"],
}


async def test_scorers_stand_beside_the_score_with_their_controls(run: Label, workplace: Path) -> None:
    (workplace / "script.json").write_text(json.dumps(SCRIPT))
    results = await run(
        "out", sites=("L0.mlp.6", "L1.mlp.7-"), simulator="scripted:script.json", scorers=("detection", "intruder"), items=16
    )
    for site in results.sites:
        found = site.scorers["detection"]
        assert isinstance(found, ScorerResult)
        # The script says the same of every text, so the measure is chance, and so is what it says of another explanation.
        assert isinstance(found.scores["auroc"], Value)
        assert found.scores["auroc"].value == found.chance == 0.5
        assert isinstance(found.lift, Value)
        assert found.lift.value == 0
        assert found.warning is not None
    rows = pq.read_table(workplace / "out" / "judgements.parquet").to_pylist()
    assert {row["of"] for row in rows} == {"explanation", "shuffled", "null"}
    items = pq.read_table(workplace / "out" / "items.parquet").to_pylist()
    split = {row["document"]: row["split"] for row in pq.read_table(workplace / "out" / "excerpts.parquet").to_pylist()}
    assert items
    assert {split.get(row["document"], "test") for row in items} == {"test"}
    rows = pq.read_table(workplace / "out" / "excerpts.parquet").to_pylist()
    for site in results.sites:
        shown = [max(row["activations"]) for row in rows if row["site"] == site.site and row["split"] == "explain"]
        mine = [row for row in items if row["site"] == site.site and row["group"] != "weighted"]
        assert {row["fires"] for row in mine} == {True, False}
        for row in mine:
            loudest = max(row["activations"]) / max(shown)
            assert loudest >= LOUD if row["fires"] else loudest < SILENT
    assert audit(workplace / "out").passed
    again = await run("out", sites=("L0.mlp.6", "L1.mlp.7-"), simulator="scripted:script.json", scorers=("detection", "intruder"), items=16)
    assert again.calls.made == 0
    assert again.sites == results.sites


async def test_a_leak_into_the_items_of_scorers_is_found(run: Label, workplace: Path) -> None:
    (workplace / "script.json").write_text(json.dumps(SCRIPT))
    await run("out", sites=("L0.mlp.6",), simulator="scripted:script.json", scorers=("detection",), items=16)
    path = workplace / "out" / "items.parquet"
    table = pq.read_table(path).to_pylist()
    shown = next(row for row in pq.read_table(workplace / "out" / "excerpts.parquet").to_pylist() if row["split"] == "explain")
    import pyarrow as pa

    pq.write_table(pa.Table.from_pylist([{**table[0], "tokens": shown["tokens"]}, *table[1:]]), path)
    assert not audit(workplace / "out").passed


async def test_twins_are_labelled_like_the_sites(run: Label, workplace: Path) -> None:
    results = await run("out", sites=("L0.mlp.6", "L1.mlp.7-"), twins=("random-direction", "random-init"))
    for site in results.sites:
        assert set(site.twins) == {"random-direction", "random-init"}
        assert site.twins["random-direction"].site.startswith(site.site[:2] + ".random.")
        assert site.twins["random-init"].site == site.site + ("-" if site.polarity == "-" else "")
    assert set(results.twins) == {"random-direction", "random-init"}
    kept = RunResults.model_validate_json((workplace / "out" / "results.json").read_text())
    assert kept == results
    inner = RunResults.model_validate_json((workplace / "out" / "twins" / "random-init" / "results.json").read_text())
    assert inner.manifest["subject"]["weights"].startswith("random")
    for twin, value in results.twins.items():
        mine = [site.scores["pearson"] for site in results.sites]
        theirs = [site.twins[twin].scores["pearson"] for site in results.sites]
        both = [(a.value, b.value) for a, b in zip(mine, theirs, strict=True) if isinstance(a, Value) and isinstance(b, Value)]
        if isinstance(value, Value):
            assert value.value == pytest.approx(sum(a - b for a, b in both) / len(both))


def tool(name: str, **arguments: Any) -> dict[str, Any]:
    return {"tool_calls": [{"id": f"{name}-1", "name": name, "arguments": json.dumps(arguments)}]}


SCIENTIST = {
    "rules": [
        {
            "contains": '"experiment": 2',
            "reply": tool("conclude", clauses=[{"text": "the word rain", "experiments": [2]}, {"text": "rivers"}], confidence=0.7),
        },
        {"contains": '"experiment": 1', "reply": tool("activations", texts=["Rain fell on the river.", "Nobody came."])},
    ],
    "default": tool("excerpts"),
    "capabilities": ["chat", "tools"],
}


async def test_an_explainer_that_experiments_measures_on_the_subject(run: Label, workplace: Path) -> None:
    (workplace / "scientist.json").write_text(json.dumps(SCIENTIST))
    results = await run("out", sites=("L0.mlp.6",), explainer="agent:scripted:scientist.json")
    (site,) = results.sites
    assert site.explanation == "the word rain; rivers"
    assert site.explainer == "agent(scripted:scientist.json)"
    assert site.experiments is not None
    assert site.experiments.confidence == 0.7
    assert [clause["supported"] for clause in site.experiments.clauses] == [True, False]
    assert [(made["experiment"], made["tool"]) for made in site.experiments.made] == [(1, "excerpts"), (2, "activations")]
    assert "the word rain" in write_report(workplace / "out").read_text("utf-8")
    assert isinstance(site.scores["pearson"], Value | Failure)
    assert results.leak_audit.passed
    assert results.leak_audit.prompts >= 3
    rows = [json.loads(line) for line in (workplace / "out" / "experiments.jsonl").read_text("utf-8").splitlines()]
    # It looks around in more than the excerpts that others are shown, and only in documents of the explain split.
    kept = [row for row in pq.read_table(workplace / "out" / "excerpts.parquet").to_pylist() if row["split"] == "explain"]
    around = [shown["key"].rpartition(":")[0] for shown in rows[0]["excerpts"]]
    assert len(around) > len(kept)
    others = {row["document"] for row in pq.read_table(workplace / "out" / "excerpts.parquet").to_pylist() if row["split"] != "explain"}
    assert not others & set(around)
    again = await replay(rows)
    assert not isinstance(again.outcome, Failed)
    assert again.outcome.explanation.text == site.explanation
    assert again.outcome.confidence == 0.7
    # The same command asks nothing and finds the same.
    repeated = await run("out", sites=("L0.mlp.6",), explainer="agent:scripted:scientist.json")
    assert repeated.calls.made == 0
    assert repeated.sites == results.sites


async def test_a_limit_of_the_agent_ends_it_with_what_it_has(run: Label, workplace: Path) -> None:
    (workplace / "scientist.json").write_text(json.dumps(SCIENTIST))
    results = await run("out", sites=("L0.mlp.6",), explainer="agent:scripted:scientist.json", experiment={"steps": 1})
    (site,) = results.sites
    assert site.explanation is None
    assert "steps" in site.failures[-1].reason


async def test_only_a_language_model_can_experiment(run: Label) -> None:
    with pytest.raises(ProviderError, match="only a language model can experiment"):
        await run("out", sites=("L0.mlp.6",), explainer="agent:template")
