"""The commands as a user gives them: what stands on stdout, what --json holds, which files appear."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from evals.results import RunResults
from explicate.cli import app
from explicate.commands import demo


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture
def text(tiny_checkpoint: Callable[[str], Path], tiny_corpus: Path) -> list[object]:
    """A subject and the text it is run over, as arguments."""
    return [tiny_checkpoint("llama"), "--corpus", tiny_corpus, "--tokens", 9000]


@pytest.fixture
def quick(text: list[object], tiny_llm: Path) -> list[object]:
    """Arguments of a labelling run with a tiny simulator, which knows nothing."""
    return [*text, "--sites", "L0.mlp.3,L1.mlp.7-", "--explainer", "template", "--simulator", f"local:{tiny_llm}", "--out", "out"]


def test_label_prints_a_table_with_cautions_the_instrument_and_the_report(call: Callable[..., Result], quick: list[object]) -> None:
    shown = " ".join(call("label", *quick).stdout.split())
    for expected in ("L0.mlp.3", "L1.mlp.7", "2 scored, 0 failed", "leak audit passed", "The instrument, tested with", "✱"):
        assert expected in shown
    assert "Report: out/report.html" in shown
    assert Path("out/report.html").stat().st_size > 10_000
    # One planted neuron is no test of an instrument, and that stands beside its scores.
    assert "untested" in shown.split("2 scored")[0]


def test_label_json_is_what_results_json_holds_and_report_shows_it_again(call: Callable[..., Result], quick: list[object]) -> None:
    shown = json.loads(call("label", *quick, "--json").stdout)
    assert shown == json.loads(Path("out/results.json").read_text())
    assert RunResults.model_validate(shown).n_scored == 2
    page = Path("out/report.html")
    before = page.read_bytes()
    page.unlink()
    again = json.loads(call("report", "out", "--json").stdout)
    assert again.pop("report") == "out/report.html"
    assert again == shown
    sections = documented()
    assert shown.keys() == sections["results.json"]
    assert all(site.keys() == sections["sites"] for site in shown["sites"])
    assert shown["instrument"].keys() == sections["instrument"]
    assert page.read_bytes() == before
    audit = json.loads(call("report", "out", "--leak-audit", "--json").stdout)
    assert audit == shown["leak_audit"]
    assert call("report", "out", "--leak-audit").stdout.startswith("passed: ")


def documented() -> dict[str, set[str]]:
    """The keys that docs/results.md names in the tables of results.json, of one of its sites and of the instrument."""
    text = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8").split("## results.json")[1].split("\n## ")[0]
    parts = re.split(r"^Each of `sites`:$|^`instrument`:$", text, flags=re.MULTILINE)
    keys = [{key for row in re.findall(r"^\| (`.*?) \|", part, re.MULTILINE) for key in re.findall(r"`(\w+)`", row)} for part in parts]
    return dict(zip(("results.json", "sites", "instrument"), keys, strict=True))


@pytest.fixture
def results(call: Callable[..., Result], text: list[object]) -> dict[str, Any]:
    """results.json of a run without a language model in `out`."""
    shown = call("label", *text, "--sites", "L0.mlp.3", "--explainer", "template", "--simulator", "lexical", "--out", "out", "--json")
    found: dict[str, Any] = json.loads(shown.stdout)
    return found


def test_what_a_later_version_added_to_results_is_left_out_on_reading(call: Callable[..., Result], results: dict[str, Any]) -> None:
    more: dict[str, Any] = json.loads(json.dumps(results))
    for part in (more, more["sites"][0], more["sites"][0]["lift"], *more["sites"][0]["scores"].values(), more["calls"], more["leak_audit"]):
        part["added_later"] = {"value": 1}
    Path("out/results.json").write_text(json.dumps(more))
    again = json.loads(call("report", "out", "--json").stdout)
    assert {key: again[key] for key in results} == results


def test_a_score_that_failed_says_why_below_its_explanation(call: Callable[..., Result], results: dict[str, Any]) -> None:
    (site,) = results["sites"]
    site["explanation"] = "words about war"
    site["scores"] = {name: {"failed": True, "stage": "score", "reason": "the site is constant here"} for name in site["scores"]}
    site["failures"] = [{"failed": True, "stage": "explain", "reason": "another candidate was refused"}]
    Path("out/results.json").write_text(json.dumps(results))
    shown = " ".join(call("report", "out").stdout.split())
    assert "words about war" in shown
    assert "the site is constant here" in shown
    assert "another candidate" not in shown


def test_the_name_of_a_folder_is_no_markup(call: Callable[..., Result], results: dict[str, Any]) -> None:
    Path("out").rename("of [red] and [b")
    assert "Report: of [red] and [b/report.html" in call("report", "of [red] and [b").stdout


HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b2J"


def test_text_of_a_model_or_a_corpus_does_not_steer_the_terminal(call: Callable[..., Result], results: dict[str, Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (site,) = results["sites"]
    site["explanation"] = f"words {HOSTILE}"
    results["manifest"]["config"]["subject"] = HOSTILE
    Path("out/results.json").write_text(json.dumps(results))
    table = call("report", "out").stdout
    rows = pq.read_table("out/excerpts.parquet").to_pylist()
    rows += [row | {"document": HOSTILE, "split": split} for row in rows[:1] for split in ("explain", "test")]
    pq.write_table(pa.Table.from_pylist(rows), "out/excerpts.parquet")
    leaks = CliRunner().invoke(app, ["report", "out", "--leak-audit"]).stdout
    for shown in (table, leaks):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", shown)
        assert "\\u001b]0;owned" in shown


def test_sites_are_drawn_by_layer_and_seed(call: Callable[..., Result], text: list[object]) -> None:
    drawn = [*text, "--layers", "1", "--sample", 2, "--polarity", "both", "--explainer", "template", "--simulator", "lexical", "--json"]
    first, second = (
        [(site["site"], site["polarity"]) for site in json.loads(call("label", *drawn, "--seed", seed).stdout)["sites"]] for seed in (0, 1)
    )
    assert len(first) == 4
    assert all(site.startswith("L1.") for site, _ in first)
    assert {polarity for _, polarity in first} == {"+", "-"}
    assert first != second
    assert len(list(Path("runs").iterdir())) == 2  # a folder each, where --out names none


def test_sample_json_gives_what_is_documented(call: Callable[..., Result], text: list[object]) -> None:
    shown: dict[str, Any] = json.loads(call("sample", *text, "--json").stdout)
    documented = {"sites", "tokens", "seconds", "tokens_per_second", "peak_rss_mb", "model_path", "dtype", "batch_size", "excerpt_tokens"}
    assert documented <= shown.keys()
    assert shown["sites"] == 2 * 3 * 48
    assert 0 < shown["tokens"] <= 9000
    assert shown["model_path"] == str(text[0])
    assert "288 sites (both sides of every neuron)" in call("sample", *text).stdout


def test_selftest_prints_a_table_by_kind_or_json(call: Callable[..., Result], workplace: Path) -> None:
    sentences = [[["We", 0.0], [" sat", 0.0], [" on", 5.0], [" it", 0.0]], [["He", 0.0], [" ran", 0.0], [" off", 0.0], [" on", 4.0]]]
    planted = {
        "on": {"explanation": "the word on", "false_explanations": ["the word he"], "sentences": [*sentences, ["No", " such", " word"]]}
    }
    (workplace / "planted.json").write_text(json.dumps(planted))
    shown = json.loads(call("selftest", "--simulator", "lexical", "--planted", "planted.json", "--json").stdout)
    assert shown["simulator"] == "lexical"
    assert len(shown["explanations"]) == 2
    assert "cannot judge" in call("selftest", "--simulator", "lexical", "--planted", "planted.json").stdout


def test_demo_labels_its_sites_into_runs_demo(call: Callable[..., Result], quick: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    from evals.label_config import LabelConfig

    asked: list[dict[str, Any]] = []
    checked = LabelConfig.checked

    def small(**options: Any) -> LabelConfig:
        asked.append(options)
        swapped = {"subject": str(quick[0]), "corpus": str(quick[2]), "tokens": 9000, "explainer": "template", "simulator": "lexical"}
        return checked(**options | swapped | {"sites": ("L0.mlp.3",)})

    monkeypatch.setattr(LabelConfig, "checked", small)
    result = call("demo", "--json")
    assert asked[0]["sites"] == demo.SITES
    assert asked[0]["subject"] == "smollm2-135m"
    assert json.loads(result.stdout)["n_scored"] + json.loads(result.stdout)["n_failed"] == 1
    assert Path("runs/demo/report.html").exists()
    assert "explicate label smollm2-135m --sample" in result.stderr
