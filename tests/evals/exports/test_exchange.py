"""Runs in the formats of other tools: what was imported comes back the same, and what was labelled can be read."""

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from analyzers.errors import ExplicateError, RunFolderError
from evals.exchange import Feature, Options, Record, Told
from evals.exchange.held_out import deal
from evals.exchange.importing import import_run, read_features
from evals.exchange.kept import features_of, keep
from evals.exports import EXPORTS
from evals.label import label
from evals.label_artefacts import simulation_columns
from evals.label_config import LabelConfig, Limits


def record(number: int, group: str, *, loudest: bool = False, shown: bool = False, **details: Any) -> Record:
    tokens = (*(f" w{number}-{at}" for at in range(6)), "\n", " é")
    values = np.array([0.1 * number, -0.25, 1 / 3, 0, 2.5e-7, 7, 1, 0.0])
    return Record(tokens, values, group, loudest=loudest, shown=shown, details=details)


def openai_features() -> list[Feature]:
    """All that the format can say of two neurons, one of them by its negative side."""
    features = []
    for index, polarity in ((3, "+"), (4, "-")):
        records = [record(number, "top", loudest=True, shown=number % 4 == 0) for number in range(9)]
        records += [record(number, "random") for number in range(20, 24)] + [record(40, "quantile 0"), record(41, "quantile 1")]
        details = {"activation_scale": "neuron_activations", "scores": {"ev_correlation_score": 0.5}}
        scored = {"explanation": 0, "expected_activations": [0.5] * 8, **details}
        records += [record(2, "scored", **scored)]
        told = [Told("dogs — and “cats”", "openai", {"ev_correlation_score": 0.25, "rsquared_score": None}, (records[-1].text,))]
        facts = {"mean": 0.1, "variance": 2.5}
        features.append(
            Feature(f"L1.mlp.{index}", polarity, layer=1, index=index, records=records, told=told, shown_known=True, facts=facts)
        )
    return features


def neuronpedia_features() -> list[Feature]:
    """Features with names, bins, explanations and scores as they are there."""
    features = []
    for index in (7, 2000):
        records = []
        for number in range(24):
            low, high, share = (-1, 2.5, -1) if number < 22 else (0.5, 1.75, 0.25)
            group = "top" if number < 22 else "bin 0.5 to 1.75"
            details = {"id": f"{index}-{number}", "binMin": low, "binMax": high, "binContains": share, "maxValue": 7.0}
            records.append(record(number, group, loudest=number < 22, **details))
        scored = tuple(each.text for each in records[:3])
        told = Told(
            "dogs",
            "oai_token-act-pair(gpt-4o)",
            {"eleuther_fuzz(gpt-4o-mini)": 0.875, "embedding": None},
            scored,
            {"id": "e", "notes": "n"},
        )
        site = f"gpt2-small/0-res-jb/{index}"
        facts = {"pos_str": [" a"], "pos_values": [0.5]}
        features.append(Feature(site, model="gpt2-small", layer=0, index=index, records=records, told=[told], firing=0.0625, facts=facts))
    return features


def same(one: Feature, other: Feature) -> None:
    assert (one.key, one.model, one.layer, one.index, one.firing) == (other.key, other.model, other.layer, other.index, other.firing)
    assert [(each.text, each.by, dict(each.published), each.scored) for each in one.told] == [
        (each.text, each.by, dict(each.published), each.scored) for each in other.told
    ]
    assert len(one.records) == len(other.records) > 0
    for a, b in zip(one.records, other.records, strict=True):
        assert (a.tokens, a.values.tolist(), a.group, a.loudest, a.shown) == (b.tokens, b.values.tolist(), b.group, b.loudest, b.shown)
        assert dict(b.details).items() >= dict(a.details).items()
    assert dict(other.facts).items() >= dict(one.facts).items()


def shown(feature: Feature) -> set[str]:
    return {record.text for record in feature.records if record.shown}


def imported(folder: Path, features: list[Feature]) -> Path:
    """What an import of these features leaves, as far as exports read it."""
    folder.mkdir()
    (folder / "manifest.json").write_text('{"format": 1, "command": "import", "config": {}}')
    keep(folder, features)
    return folder


def test_what_is_kept_is_what_was_read(tmp_path: Path) -> None:
    features = [*openai_features(), *neuronpedia_features()]
    for one, other in zip(features, features_of(imported(tmp_path / "run", features)), strict=True):
        same(one, other)
        assert dict(one.facts) == dict(other.facts)


@pytest.mark.parametrize(("name", "features"), [("openai", openai_features()), ("neuronpedia", neuronpedia_features())])
async def test_import_export_import_gives_the_same(name: str, features: list[Feature], workplace: Path) -> None:
    """From an export of ours to the import, its export, and the import of that."""
    EXPORTS.get(name)(imported(workplace / "made", features), str(workplace / "first"))
    await import_run(workplace / "first", workplace / "run-1")
    EXPORTS.get(name)(workplace / "run-1", str(workplace / "second"))
    await import_run(workplace / "second", workplace / "run-2")
    first, second = list(features_of(workplace / "run-1")), list(features_of(workplace / "run-2"))
    assert [feature.key for feature in first] == [feature.key for feature in features]
    for made, one, two in zip(features, first, second, strict=True):
        same(one, two)
        assert dict(one.facts) == dict(two.facts)
        if name == "openai":
            same(made, one)
        else:
            assert [each.values.tolist() for each in made.records] == [each.values.tolist() for each in one.records]


@pytest.mark.parametrize("form", ["lines", "packed", "api"])
async def test_every_form_of_neuronpedia_comes_back_the_same(form: str, workplace: Path) -> None:
    folder = workplace / "theirs"
    folder.mkdir()
    named = {"modelId": "gpt2-small", "layer": "6-res-jb", "index": "12"}
    activations = [
        {
            **named,
            "id": f"a{number}",
            "tokens": [f" w{number}", " x"],
            "values": [number / 7, 0],
            "binMin": 0.25,
            "binMax": 4,
            "binContains": 0.5,
        }
        for number in range(23)
    ]
    score = {"value": 0.5, "explanationScoreTypeName": "recall_alt", "explanationScoreModelName": "m", "jsonDetails": ""}
    explanation = {**named, "id": "e", "description": "x", "typeName": "np_max-act", "explanationModelName": "gpt", "scores": [score]}
    feature = {**named, "frac_nonzero": 0.5, "neg_str": ["a"]}
    if form == "api":
        (folder / "12.json").write_text(json.dumps({**feature, "activations": activations, "explanations": [explanation]}, indent=1))
    else:
        data = "".join(json.dumps(row) + "\n" for row in (feature, *activations, explanation)).encode()
        (folder / f"batch-0.jsonl{'.gz' if form == 'packed' else ''}").write_bytes(gzip.compress(data) if form == "packed" else data)
    await import_run(folder, workplace / "run-1")
    EXPORTS.get("neuronpedia")(workplace / "run-1", str(workplace / "ours"))
    await import_run(workplace / "ours", workplace / "run-2")
    (one,), (two,) = features_of(workplace / "run-1"), features_of(workplace / "run-2")
    same(one, two)
    assert [each.values.tolist() for each in one.records] == [[number / 7, 0.0] for number in range(23)]
    assert {each.group for each in one.records} == {"bin 0.25 to 4"}
    lines = EXPORTS.get("neuronpedia")(workplace / "run-1", str(workplace / "only.jsonl"))
    (row,) = [json.loads(line) for line in Path(lines[0]).read_text().splitlines()]
    assert (row["modelId"], row["layer"], row["index"], row["description"]) == ("gpt2-small", "6-res-jb", "12", "x")
    assert row["scores"] == [{**score, "jsonDetails": "[]"}]


async def test_a_labelling_run_in_every_format(workplace: Path, tiny_corpus: Path, tiny_checkpoint: Callable[[str], Path]) -> None:
    config = LabelConfig.checked(
        subject=str(tiny_checkpoint("llama")),
        sites=("L0.mlp.6", "L1.mlp.7-"),
        corpus=str(tiny_corpus),
        tokens=9000,
        explainer="template",
        simulator="lexical",
    )
    results = await label(config, workplace / "run", limits=Limits(), tell=lambda line: None)
    rows = pq.read_table(workplace / "run" / "excerpts.parquet").to_pylist()
    (path,) = EXPORTS.get("saelens")(workplace / "run", None)
    table = pq.read_table(path).to_pylist()
    assert path == "run.parquet"
    assert [(row["site"], row["text"], row["values"]) for row in table] == [
        (row["site"], "".join(row["tokens"]), row["activations"]) for row in rows
    ]
    assert [row["shown"] for row in table] == [row["split"] == "explain" for row in rows]
    assert "tokens" not in table[0]
    assert "input_ids" not in table[0]
    for name in ("openai", "neuronpedia"):
        EXPORTS.get(name)(workplace / "run", None)
        again = await import_run(workplace / f"run-{name}", workplace / f"back-{name}")
        assert "shown-unknown" not in {problem.kind for problem in again.problems}
        back = list(features_of(workplace / f"back-{name}"))
        for site, feature in zip(results.sites, back, strict=True):
            mine = [row for row in rows if row["site"] == site.site]
            explained = {"".join(row["tokens"]) for row in mine if row["split"] == "explain"}
            assert feature.shown_known
            assert shown(feature) == explained
            dealt = deal(feature)
            assert {excerpt.text for excerpt in dealt["explain"]} >= explained
            assert dealt["test"]
            for split in ("select", "calibrate", "test"):
                assert explained.isdisjoint(excerpt.text for excerpt in dealt[split])
            theirs = [each for each in feature.records if each.group != "scored"]
            assert sorted(each.text for each in theirs) == sorted("".join(row["tokens"]) for row in mine)
            assert sorted(each.values.tolist() for each in theirs) == sorted(row["activations"] for row in mine)
            assert feature.told[0].text == site.explanation
    neuron, negative = features_of(workplace / "back-openai")
    assert (neuron.key, negative.key) == ("L0.mlp.6", "L1.mlp.7-")
    tested = [row for row in rows if row["site"] == "L0.mlp.6" and row["split"] == "test"]
    assert sorted(each.text for each in neuron.records if each.group == "scored") == sorted("".join(row["tokens"]) for row in tested)


def run_of_ours(folder: Path, told: int = 1, **changes: Any) -> Path:
    """A site whose explanations come from records that are neither the loudest nor every fourth of them; two share a document."""
    records = [
        replace(record(number, "top", loudest=number < 8), shown=number in (1, 2, 10, 11), document=f"d{max(number, 3)}")
        for number in range(30)
    ]
    explanations = [Told(f"dogs {number}", "us") for number in range(told)]
    site = Feature("L1.mlp.3", model="m", layer=1, index=3, records=records, told=explanations, shown_known=True)
    return imported(folder, [replace(site, **changes)])


@pytest.mark.parametrize("name", ["openai", "neuronpedia"])
def test_exports_say_what_was_shown(name: str, tmp_path: Path) -> None:
    EXPORTS.get(name)(run_of_ours(tmp_path / "run", told=2), str(tmp_path / "out"))
    (feature,) = read_features(tmp_path / "out", name, Options())
    assert feature.shown_known
    # Records 0 and 3 are of the document of records 1 and 2, and the format has no documents.
    assert shown(feature) == {record(number, "top").text for number in (0, 1, 2, 3, 10, 11)}
    assert feature.told[0].text == "dogs 0"


@pytest.mark.parametrize("name", ["openai", "neuronpedia"])
async def test_exports_say_that_it_is_not_known_what_was_shown(name: str, workplace: Path) -> None:
    EXPORTS.get(name)(run_of_ours(workplace / "run", shown_known=False), str(workplace / "out"))
    results = await import_run(workplace / "out", workplace / "again")
    assert "shown-unknown" in {problem.kind for problem in results.problems}
    (feature,) = features_of(workplace / "again")
    assert not feature.shown_known


async def test_records_that_are_not_of_the_published_data_do_not_follow_its_rule(workplace: Path) -> None:
    """Without the file that says what was shown, an export of ours is not taken for data in which every fourth record was."""
    EXPORTS.get("openai")(run_of_ours(workplace / "run"), str(workplace / "out"))
    (workplace / "out" / "shown" / "1" / "3.json").unlink()
    results = await import_run(workplace / "out", workplace / "again")
    assert "shown-unknown" in {problem.kind for problem in results.problems}


def test_what_was_shown_is_found_beside_a_results_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [replace(record(number, "scored"), shown=number < 2) for number in range(4)]
    told = {"explanation": 0, "expected_activations": [0.5] * 8}
    records = [replace(each, details=told, group="top") for each in records]
    EXPORTS.get("openai")(run_of_ours(tmp_path / "run", records=records), str(tmp_path / "out"))
    monkeypatch.chdir(tmp_path / "out" / "explanations" / "1")
    (feature,) = read_features(Path("3.jsonl"), "openai", Options())
    assert feature.shown_known
    assert [each.shown for each in feature.records] == [True, True, False, False]


def test_files_with_the_published_layout_have_no_further_keys(tmp_path: Path) -> None:
    """The code that was published with the format refuses objects with keys beyond its own, and results of more than one line."""
    EXPORTS.get("openai")(run_of_ours(tmp_path / "run"), str(tmp_path / "out"))
    (line,) = (tmp_path / "out" / "explanations" / "1" / "3.jsonl").read_text().splitlines()
    collated = json.loads((tmp_path / "out" / "collated-activations" / "1" / "3.json").read_text())
    assert set(json.loads(line)) == {"dataclass_name", "neuron_id", "scored_explanations"}
    assert {key for group in ("most_positive_activation_records", "random_sample") for row in collated[group] for key in row} == {
        "dataclass_name",
        "tokens",
        "activations",
    }


def test_what_chose_among_explanations_counts_as_shown(workplace: Path) -> None:
    """Of a site with several candidates, the select excerpts too: the chosen explanation was the best on them."""
    from evals.results import Calls as Made
    from evals.results import Candidate, Failure, LeakAudit, RunResults, SiteResult, Tokens
    from evals.run_folder import write_json, write_parquet

    missing = Failure(stage="score", reason="not scored")
    sites = [
        SiteResult(
            site=f"L0.mlp.{count}",
            polarity="+",
            explanation="a",
            explainer="us",
            simulator="none",
            scores={"pearson": missing},
            lift=missing,
            candidates=[Candidate(explanation=str(number), select_score=0.5) for number in range(count)],
        )
        for count in (1, 2)
    ]
    results = RunResults(
        sites=sites,
        n_scored=0,
        n_failed=2,
        calls=Made(made=0, cached=0),
        tokens=Tokens(prompt=0, completion=0),
        usd=0,
        leak_audit=LeakAudit(passed=True, checked=1, largest_overlap=0),
        instrument=None,
        manifest={},
    )
    write_json(workplace / "manifest.json", {"format": 1, "command": "label", "config": {}})
    write_json(workplace / "results.json", results.model_dump(mode="json"))
    rows = [
        {"split": split, "stratum": "top", "document": split, "start": 0, "tokens": [f" {split}"], "activations": [1.0]}
        for split in ("explain", "select", "calibrate", "test")
    ]
    write_parquet(workplace / "excerpts.parquet", [{"site": site.site, "polarity": "+", **row} for site in sites for row in rows])
    write_parquet(workplace / "simulations.parquet", [], simulation_columns())
    one, two = features_of(workplace)
    assert (shown(one), shown(two)) == ({" explain"}, {" explain", " select"})


def test_names_that_a_format_cannot_hold_are_told(tmp_path: Path) -> None:
    nameless = imported(tmp_path / "a", [Feature("layers.x.mlp_latent3", index=3)])
    with pytest.raises(ExplicateError, match=r"'layers\.x\.mlp_latent3' has no number of a layer"):
        EXPORTS.get("openai")(nameless, str(tmp_path / "o"))
    twice = imported(tmp_path / "b", [Feature("a/1/3", layer=1, index=3), Feature("b/1/3", layer=1, index=3)])
    with pytest.raises(ExplicateError, match="'b/1/3' and 'a/1/3' are both neuron 3 of layer 1"):
        EXPORTS.get("openai")(twice, str(tmp_path / "p"))
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "manifest.json").write_text('{"format": 1, "command": "audit", "config": {}}')
    for name in ("openai", "neuronpedia", "saelens"):
        with pytest.raises(RunFolderError, match="a run of 'audit', which has no records of sites"):
            EXPORTS.get(name)(tmp_path / "c", str(tmp_path / name))


def test_other_tools_names_become_places(tmp_path: Path) -> None:
    features = [
        Feature("layers.5.mlp_latent12", model="m", layer=5, index=12),
        Feature("L7.mlp.3", "-", model="m", layer=7, index=3),
        Feature("L7.mlp.3", "+", layer=7, index=3),
    ]
    paths = EXPORTS.get("neuronpedia")(imported(tmp_path / "a", features), str(tmp_path / "n"))
    rows = [json.loads(line) for line in gzip.decompress(Path(paths[0]).read_bytes()).splitlines()]
    assert [(row["modelId"], row["layer"], row["index"]) for row in rows] == [
        ("m", "layers.5.mlp", "12"),
        ("m", "7-mlp-negative", "3"),
        ("unknown", "7-mlp", "3"),
    ]


async def test_features_without_explanations_come_back_without_any(workplace: Path) -> None:
    features = [replace(feature, told=[]) for feature in neuronpedia_features()]
    EXPORTS.get("neuronpedia")(imported(workplace / "made", features), str(workplace / "first"))
    assert not (workplace / "first" / "explanations").exists()
    await import_run(workplace / "first", workplace / "run")
    for made, read in zip(features, features_of(workplace / "run"), strict=True):
        assert read.told == []
        assert [record.text for record in read.records] == [record.text for record in made.records]
