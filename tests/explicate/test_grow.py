"""`explicate grow` from end to end, on tiny models: what stands on stdout, what --json holds, and the page."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

from evals.growing.growth import SUMMARIES
from evals.growing.results import Before, Chance, Curve, Grown, Moment, Series
from explicate.cli import app
from explicate.growth_words import MEASURES

DOCUMENTED = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture
def checkpoints(tiny_model: Callable[..., tuple[Any, Any]], workplace: Path) -> Callable[[str], Path]:
    """checkpoints("llama") is a folder with the tiny model at two steps, of which the second one has other weights."""

    def build(family: str) -> Path:
        folder = workplace / "of [b] training"
        for step in (0, 100):
            model, tokenizer = tiny_model(family)
            draw = torch.Generator().manual_seed(1)
            with torch.no_grad():
                for each in model.parameters():
                    each.add_(step / 1000 * torch.randn(each.shape, generator=draw))
            for part in (model, tokenizer):
                part.save_pretrained(folder / f"step_{step}")
        return folder

    return build


def test_a_decoder_to_a_page(call: Callable[..., Result], checkpoints: Callable[[str], Path]) -> None:
    folder = checkpoints("llama")
    arguments = ("grow", folder, "--probes", "tree,facts,minimal-pairs", "--device", "cpu")
    shown = " ".join(call(*arguments, "-o", "growth.html").stdout.split())
    for said in ("of [b] training: 2 checkpoints, step 0 to 100", "minimal-pairs", "word order", "few checkpoints", "growth.html"):
        assert said in shown
    page = Path("growth.html").read_text(encoding="utf-8")
    for said in ("How of [b] training grew", "Order of acquisition", "Minimal pairs", "Syntax trees", "UUAS", "Facts", "P@1"):
        assert said in page
    assert "http" not in page.replace("http-equiv", "")
    printed = json.loads(call(*arguments, "-o", "growth.json", "--json").stdout)
    assert printed.pop("report") == "growth.json"
    assert json.loads(Path("growth.json").read_text(encoding="utf-8")) == printed
    assert Grown.model_validate(printed).probes == ["tree", "facts", "minimal-pairs"]


def test_an_encoder(call: Callable[..., Result], checkpoints: Callable[[str], Path]) -> None:
    printed = json.loads(call("grow", checkpoints("bert"), "--probes", "pos", "--depth", "1", "--device", "cpu", "--json").stdout)
    (series,) = printed["series"]
    assert [curve["name"] for curve in series["curves"]] == ["pos", "pos/best-layer", "pos/layer0"]
    assert all(0 < value["value"] < 1 for curve in series["curves"] for value in curve["values"])


def test_a_model_of_ones_own(call: Callable[..., Result], workplace: Path, tiny_corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from analyzers.growing.recipe import Recipe

    tiny = Recipe(width=32, layers=2, heads=2, inner=48, vocabulary=400, context=64, batch=8)
    monkeypatch.setattr("analyzers.growing.training.USUAL", tiny)
    result = call(
        *("grow", "mine", "--train", tiny_corpus, "--steps", 4, "--seeds", 2, "--probes", "next-token", "-o", "growth.html"),
        *("--device", "cpu"),
    )
    assert "seed-1: 4 checkpoints, step 0 to 4" in result.stdout
    assert "train seed 1: 4/4" in result.stderr
    page = Path("growth.html").read_text(encoding="utf-8")
    assert "How 2 trainings grew" in page
    assert "loss on held-out text" in page
    assert (workplace / "mine" / "seed-1" / "checkpoint-4" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to look at"),
        (["none"], "there is no folder 'none'"),
        (["none", "--probes", "pos,semantics"], "--probes: 'semantics'; choose some of"),
        (["--train", "corpus.jsonl", "--minutes", "0"], "--minutes 0: give more than 0"),
        (["none", "--seeds", "2"], "--seeds is of a training here"),
        (["none", "-o", "growth.png"], "name a file that ends with .html, .json"),
    ],
)
def test_mistakes_are_told(workplace: Path, arguments: list[str], said: str) -> None:
    if not arguments:
        arguments = ["--json"]  # without any argument the help is printed
    ended = CliRunner().invoke(app, ["grow", *arguments])
    assert ended.exit_code != 0
    assert said in " ".join(f"{ended.stderr} {ended.exception}".split())


def test_every_field_is_documented() -> None:
    row = next(line for line in DOCUMENTED.splitlines() if line.startswith("| `explicate grow` |"))
    named = set(re.findall(r"`(\w+)`", row))
    kinds = (Grown, Series, Moment, Curve, Chance, Before)
    assert {field for kind in kinds for field in kind.model_fields} - named == set()
    section = DOCUMENTED.split("### The curves of `explicate grow`")[1].split("\n## ")[0]
    assert {name for name in (*SUMMARIES, *MEASURES) if f"`{name}`" not in section} == set()
