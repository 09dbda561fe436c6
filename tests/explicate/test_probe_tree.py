"""`explicate probe tree` as a user gives it, on the built-in sentences and tiny random models."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from evals.probes.results import Probed
from evals.probes.tree_results import AtRank, DrawnTree, TreeProbed
from explicate.commands.probe import app

DOCUMENTED = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")
SAMPLE = (Path(__file__).parents[2] / "evals" / "probes" / "samples" / "sample.conllu").read_text(encoding="utf-8")


Tree = Callable[..., Any]


@pytest.fixture
def tree(workplace: Path, ended: Callable[..., Any]) -> Tree:
    """tree("MODEL", ...) runs the command in this process."""

    return partial(ended, app, "tree")


@pytest.fixture
def arguments(workplace: Path, tiny_checkpoint: Callable[[str], Path]) -> list[str]:
    blocks = SAMPLE.strip().split("\n\n")
    for name, some in (("train", blocks[:-20]), ("dev", blocks[-20:])):
        (workplace / f"{name}.conllu").write_text("\n\n".join(some) + "\n\n", encoding="utf-8")
    return [str(tiny_checkpoint("llama")), "--conllu", "train.conllu,dev.conllu", "--layers", "0,2", "--rank", "4", "--device", "cpu"]


def test_json_and_a_page(tree: Tree, arguments: list[str], workplace: Path) -> None:
    ended = tree(*arguments, "--ranks", "1", "--limit", 30, "--test", 15, "--json", "-o", "tree.html")
    assert ended.code == 0, ended.err
    told = json.loads(ended.out)
    assert told.pop("report") == "tree.html"
    found = TreeProbed.model_validate(told)
    assert [(layer["layer"], set(layer) - {"layer"}) for layer in told["layers"]] == [
        (number, {"uuas", "uuas_apart", "dspr", "nspr", "root"}) for number in (0, 2)
    ]
    assert set(told["layers"][0]["uuas"]) == {"value", "low", "high", "n"}
    assert list(told["baselines"]) == ["chance", "linear_chain", "random_projection", "layer0", "random_init"]
    assert (found.items["train"] + found.items["held_out"], found.items["test"]) == (30, 15)
    assert [each.rank for each in found.ranks] == [1, 4]
    metrics = DOCUMENTED.split("### The metrics of `explicate probe tree`")[1].split("###")[0]
    named = (*found.layers[0].metrics, *found.baselines, *found.curves, *found.figures)
    assert [name for name in named if f"`{name}`" not in metrics] == []
    row = next(line for line in DOCUMENTED.splitlines() if line.startswith("| `explicate probe tree` |"))
    own = [name for name in TreeProbed.model_fields if name not in Probed.model_fields]
    fields = (*own, *AtRank.model_fields, *DrawnTree.model_fields, *found.items)
    assert [name for name in fields if f"`{name}`" not in row] == []
    page = (workplace / "tree.html").read_text("utf-8")
    assert page.count('<svg class="tree"') == len(found.trees) == 6


def test_the_table(tree: Tree, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    ended = tree(*arguments, "--ranks", "none", "--limit", 20)
    assert ended.code == 0, ended.err
    for expected in ("UUAS", "linear chain", "random projection", "a decoder"):
        assert expected in ended.out
    assert "Ranks at layer" not in ended.out


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (("--conllu", "train.conllu"), "--conllu names 1 files; give two"),
        (("--conllu", "train.conllu,gone.conllu"), "there is no file 'gone.conllu'"),
        (("--conllu", "train.conllu,bad.conllu"), "'bad.conllu' line 2:"),
        (("--layers", "0,9"), "is not within this model's layers 0-3"),
        (("--ranks", "1,many"), "--ranks '1,many': give whole numbers"),
        (("--ranks", "99"), "--ranks 99: the states are 32 wide"),
        (("--rank", "0"), "a rank of 0 holds nothing"),
        (("--rank", "40"), "--rank 40: the states are 32 wide"),
        (("--limit", "5"), "5 sentences to train on are too few"),
        (("--out", "tree.txt"), "name a file that ends with .html, .json"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(tree: Tree, arguments: list[str], workplace: Path, changes: tuple[str, str], why: str) -> None:
    (workplace / "bad.conllu").write_text("# text = a\n1\ta\tb\n\n", encoding="utf-8")
    ended = tree(*arguments, *changes)
    assert (ended.code, ended.out) == (2, "")
    assert why in " ".join(ended.err.split())
