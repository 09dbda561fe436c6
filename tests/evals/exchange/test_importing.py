"""An import leaves a run folder like that of a labelling run, with what is wrong with the data."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from analyzers.errors import ExplicateError, RunFolderError
from evals.exchange import Options, importing
from evals.exchange.audit import audit_imported
from evals.exchange.importing import import_run, read_features
from evals.exchange.results import ImportedResults
from evals.results import Failure, RunResults
from evals.run_folder import read_results
from explicate.report import write_report

Write = Callable[[str, Path], Path]


@pytest.mark.parametrize("name", ["delphi", "neuronpedia", "openai", "saedashboard", "transluce"])
async def test_every_format_becomes_a_run(name: str, write: Write, workplace: Path, tokenizer: str) -> None:
    results = await import_run(write(name, workplace / "theirs"), workplace / "out", tokenizer=tokenizer if name == "delphi" else None)
    out = workplace / "out"
    needed = {"results.json", "manifest.json", "excerpts.parquet", "simulations.parquet", "explanations.jsonl", "scores.parquet"}
    assert needed <= {path.name for path in out.iterdir()}
    assert read_results(out, ImportedResults) == results
    assert len(read_results(out, RunResults).sites) == len(results.sites) == 2
    for site in results.sites:
        assert site.controls.keys() == {"token_lookup", "bigram_lookup"}
        assert isinstance(site.scores["pearson"], Failure)
        assert site.n_records >= site.n_distinct > 0
    assert results.leak_audit.passed
    assert results.leak_audit.checked > 0
    assert results.manifest == json.loads((out / "manifest.json").read_text())
    assert results.manifest["config"]["format"] == name
    page = write_report(out).read_text()
    assert results.sites[0].site.split("/")[0] in page


async def test_more_than_fits_into_memory_is_told_before_it_is_read(write: Write, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write("neuronpedia", workplace / "n")
    size = sum(feature.size for feature in read_features(source, "neuronpedia", Options()))
    # Of each feature 30 records of 14 tokens, one explanation, and every line is a site until it is put together.
    assert size >= 2 * 30 * (14 + 32)
    monkeypatch.setattr(importing, "MOST_HELD", size // 2)
    with pytest.raises(ExplicateError, match=r"too large to be imported at once: .* import it in parts, .*: --features 0-999"):
        await import_run(source, workplace / "out")
    assert not (workplace / "out").exists()
    # A part of it does fit.
    monkeypatch.setattr(importing, "MOST_HELD", size)
    assert len((await import_run(source, workplace / "out", features="8")).sites) == 1


async def test_problems_of_the_data_are_told(write: Write, workplace: Path, tokenizer: str) -> None:
    delphi = await import_run(write("delphi", workplace / "d"), workplace / "out-d", tokenizer=tokenizer)
    found = {(problem.kind, problem.site) for problem in delphi.problems}
    assert {("unparsed-explanation", "layers.1.mlp_latent12"), ("shown-unknown", "layers.1.mlp_latent10")} <= found
    assert "documents-unknown" in {kind for kind, _ in found}
    bad = next(site for site in delphi.sites if site.site.endswith("12"))
    assert bad.explanation is None
    assert bad.explanations[0].explanation == "Explanation could not be parsed."
    api = await import_run(write("neuronpedia api", workplace / "n"), workplace / "out-n")
    leaks = [problem for problem in api.problems if problem.kind == "leak"]
    assert [(leak.n, leak.site) for leak in leaks] == [(5, "gpt2-small/0-res-jb/7")]
    assert "5 of the 5 texts" in leaks[0].what
    openai = await import_run(write("openai", workplace / "o"), workplace / "out-o")
    assert not [problem for problem in openai.problems if problem.kind == "leak"]
    assert {(problem.kind, problem.site) for problem in openai.problems} >= {("dead", "L1.mlp.4"), ("undefined-score", "L1.mlp.3")}


async def test_the_same_import_gives_the_same_and_another_source_is_refused(write: Write, workplace: Path) -> None:
    source = write("openai", workplace / "o")
    first = await import_run(source, workplace / "out")
    assert await import_run(source, workplace / "out") == first
    path = source / "collated" / "1" / "3.json"
    path.write_text(path.read_text().replace("river", "stream"))
    with pytest.raises(RunFolderError, match="was begun with source"):
        await import_run(source, workplace / "out")
    with pytest.raises(RunFolderError, match="was begun with features"):
        await import_run(source, workplace / "out", features="3")


async def test_what_cannot_be_read_makes_no_folder(workplace: Path) -> None:
    (workplace / "x.json").write_text('{"most_positive_activation_records": 3, "neuron_id": {"layer_index": 0, "neuron_index": 0}}')
    with pytest.raises(ExplicateError, match=r"x.json' line 1, at \$.most_positive_activation_records: expected a list"):
        await import_run(workplace / "x.json", workplace / "out")
    assert not (workplace / "out").exists()


async def test_the_audit_finds_what_was_dealt_out_wrongly(write: Write, workplace: Path) -> None:
    await import_run(write("neuronpedia", workplace / "n"), workplace / "out")
    path = workplace / "out" / "excerpts.parquet"
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    assert audit_imported(workplace / "out").passed
    shown = next(row for row in rows if row["split"] == "explain")
    test = next(row for row in rows if row["split"] == "test" and row["site"] == shown["site"])
    test["tokens"] = [*shown["tokens"][:12], " else"]
    import pyarrow as pa

    pq.write_table(pa.Table.from_pylist(rows), path)
    found = audit_imported(workplace / "out")
    assert [(leak["kind"], leak["split"], leak["site"]) for leak in found.leaks] == [("text in explain excerpt", "test", shown["site"])]
    test["tokens"], test["document"] = [" quite", " another"], shown["document"]
    pq.write_table(pa.Table.from_pylist(rows), path)
    assert [leak["kind"] for leak in audit_imported(workplace / "out").leaks] == ["document in two splits"]


async def test_a_site_s_text_may_have_been_shown_to_another_site_s_explainer(workplace: Path) -> None:
    """It is counted, and no leak: nobody explained the one from the other's records."""
    text = [" the", " old", " bridge", " was", " carried", " away", " by", " floods"]
    rows = []
    for index in ("1", "2"):
        named = {"modelId": "m", "layer": "0", "index": index}
        rows.append({**named, "description": "bridges"})
        for number in range(24):
            own = [f" w{index}{number}{at}" for at in range(8)]
            loud = 9.0 if (number == 0) == (index == "1") else 1.0
            rows.append({**named, "tokens": text if number == 0 else own, "values": [loud, *[0.0] * 7]})
    (workplace / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    results = await import_run(workplace / "rows.jsonl", workplace / "out")
    assert results.leak_audit.passed
    assert results.leak_audit.repeated_across_sites == 1
