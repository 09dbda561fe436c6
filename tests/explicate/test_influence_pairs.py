"""`explicate influence pairs` as a user gives it, and its page."""

import html
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from evals.influence.evaluate_results import Measure
from evals.influence.pairs_results import Both, Pairs, ScoredPair
from evals.results import Failure, Value
from explicate.commands.influence import app
from explicate.influence_pairs_page import render
from explicate.influence_words import PAIR_MEASURES

DOCUMENTED = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")
TEXTS = ["The river rises in the hills.", "A new bridge, built of stone.", "Herons and \x1b[2J [b]otters[/b].", "The town has a harbour."]
ASK = ("pairs", "factors", "--pairs", "pairs.jsonl", "--device", "cpu")


Call = Callable[..., Any]


@pytest.fixture
def call(workplace: Path, ended: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Call:
    """call("pairs", ...) runs the command in this process; there is a file of four pairs."""
    monkeypatch.setenv("COLUMNS", "160")
    write(workplace / "text.jsonl", *({"text": text} for text in TEXTS))
    write(workplace / "pairs.jsonl", *pairs())

    return partial(ended, app)


def write(path: Path, *rows: dict[str, str]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def pairs() -> list[dict[str, str]]:
    """Every text is asked for, and is to move itself more than the one before it does."""
    return [{"prompt": "", "completion": text, "one": text, "other": TEXTS[at - 1]} for at, text in enumerate(TEXTS)]


@pytest.fixture
def fitted(call: Call, tiny_checkpoint: Callable[[str], Path]) -> Any:
    """Factors in the folder `factors`."""
    ended = call("fit", tiny_checkpoint("llama"), "--train", "text.jsonl", "--length", 64, "-o", "factors", "--device", "cpu", "--json")
    assert ended.code == 0, ended.err
    return ended


@pytest.mark.usefixtures("fitted")
def test_json_is_documented_and_the_page_and_the_table_are_written(call: Call, workplace: Path) -> None:
    ended = call(*ASK, "--rank", 99, "--json", "-o", "pairs.html")
    assert ended.code == 0, ended.err
    told = json.loads(ended.out)
    assert told.pop("report") == "pairs.html"
    found = Pairs.model_validate(told)
    assert set(found.measures) == set(PAIR_MEASURES)
    ours = found.measures["preferred"].figures["ekfac"]
    assert isinstance(ours, Value)
    assert (ours.value, ours.n, found.method, found.in_file) == (1, 4, "ekfac", 4)
    assert found.model["name"].startswith("llama")
    assert list(found.source) == ["pairs.jsonl", "curvature"]
    line = next(each for each in DOCUMENTED.splitlines() if each.startswith("| `explicate influence pairs` |"))
    figures = found.measures["preferred"].figures
    fields = [key for kind in (Pairs, ScoredPair, Both, Measure, Value) for key in kind.model_fields]
    assert [key for key in (*fields, *found.measures, *figures, "curvature") if f"`{key}`" not in line] == []
    page = (workplace / "pairs.html").read_text("utf-8")
    assert "\x1b" not in page
    for expected in ("Not shown by this", "few pairs (4)", "is not on this machine", "EK-FAC influence", "other queries"):
        assert expected in page
    assert page.count('<div class="card"><h3>') == len(PAIR_MEASURES)
    shown = html.unescape(re.sub(r"<[^>]+>", "", page))
    assert shown.count("[b]otters[/b]") == 3
    assert page.count(">more</td>") == 4
    table = call(*ASK, "--method", "kfac", "-o", "pairs.json")
    assert table.code == 0, table.err
    assert "\x1b" not in table.out
    for expected in ("K-FAC: 4 pairs of 4", "The expected text moves its query more", "K-FAC, paired", "Report: pairs.json"):
        assert expected in table.out
    assert Pairs.model_validate_json((workplace / "pairs.json").read_text("utf-8")).method == "kfac"


@pytest.mark.usefixtures("fitted")
def test_the_text_of_the_factors_is_not_needed_and_plain_gradients_are_no_baseline_to_themselves(call: Call, workplace: Path) -> None:
    (workplace / "text.jsonl").unlink()
    ended = call(*ASK, "--method", "identity", "--limit", 2, "--seed", 3, "--json")
    assert ended.code == 0, ended.err
    found = Pairs.model_validate_json(ended.out)
    assert (len(found.pairs), found.in_file, found.seed) == (2, 4, 3)
    assert list(found.measures["preferred"].figures)[:2] == ["identity", "bm25"]


def test_a_page_of_what_failed() -> None:
    failed = Failure(stage="score", reason="too <few>")
    some = Value(value=0.5, low=0.25, high=0.75, n=2)
    figures = {"diagonal": some, "bm25": failed, "other_queries": some, "diagonal_one": some}
    both = Both(one=1.0, other=1.0)
    pair = ScoredPair(prompt="<i>", completion="<b>", logprob=-1, one="x", other="y", scores={"diagonal": both}, other_queries=0.25)
    found = Pairs(
        measures={"preferred": Measure(figures=figures, lifts={"bm25": failed}, over="pairs", chance=0.5)},
        pairs=[pair, pair],
        in_file=2,
        cut=0,
        length=8,
        layers=["a"],
        method="diagonal",
        rank=1,
        kept=1.0,
        model={"name": "<m>"},
        source={},
        seed=0,
    )
    page = render(found)
    assert "too &lt;few&gt;" in page
    assert "by words in common (BM25): not measured" in page
    assert "diagonal, the expected" in page
    assert page.count(">not more</td>") == 2
    assert not re.search(r"<m>|<i>&lt;|<b><b>", page)


@pytest.mark.usefixtures("fitted")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["pairs", "nowhere", *ASK[2:]], "there are no factors in"),
        ([*ASK[:3], "none.jsonl"], "--pairs: there is no file 'none.jsonl'"),
        ([*ASK[:3], "bad.jsonl"], "'bad.jsonl' line 1 has no text as prompt, completion, one and other"),
        ([*ASK[:3], "same.jsonl"], "'same.jsonl' line 2: `one` and `other` are the same"),
        ([*ASK[:3], "single.jsonl"], "holds 1 pair: intervals are over pairs"),
        ([*ASK[:3], "long.jsonl"], "'long.jsonl' line 2: the text is"),
        ([*ASK[:3], "twice.jsonl"], "'twice.jsonl' line 2 asks what"),
        ([*ASK, "--method", "best"], "choose one of ekfac, kfac, diagonal, identity"),
        ([*ASK, "--method", "diagonal"], "fit with --method diagonal"),
        ([*ASK, "--rank", "0"], "keeps nothing"),
        ([*ASK, "--limit", "1"], "--limit 1: intervals are over pairs"),
        ([*ASK, "-o", "pairs.pdf"], "name a file that ends with"),
    ],
)
def test_pairs_that_cannot_be(call: Call, workplace: Path, arguments: list[str], told: str) -> None:
    first, second, *_ = pairs()
    write(workplace / "bad.jsonl", {"completion": "a", "one": "b"})
    write(workplace / "same.jsonl", first, {**second, "other": second["one"]})
    write(workplace / "single.jsonl", first)
    write(workplace / "long.jsonl", first, {**second, "prompt": "river " * 1200, "completion": " rises"})
    write(workplace / "twice.jsonl", first, {**second, "completion": first["completion"]})
    ended = call(*arguments)
    assert ended.code == 2
    (line,) = [each for each in ended.err.splitlines() if each.startswith("error: ")]
    assert told in line


@pytest.mark.usefixtures("fitted")
def test_factors_of_another_model_and_unfinished_ones(call: Call, workplace: Path, tiny_checkpoint: Callable[[str], Path]) -> None:
    info = workplace / "factors" / "factors.json"
    told = json.loads(info.read_text("utf-8"))
    told["source"]["model"] = str(tiny_checkpoint("gpt2"))
    info.write_text(json.dumps(told), encoding="utf-8")
    assert "are of 'llama" in call(*ASK).err
    told["source"].pop("model")
    info.write_text(json.dumps(told), encoding="utf-8")
    assert "do not say what they are of" in call(*ASK).err
    info.unlink()
    ended = call(*ASK)
    assert ended.code == 2
    assert "were begun and not finished" in ended.err
