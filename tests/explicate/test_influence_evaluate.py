"""`explicate influence evaluate` as a user gives it, and its page."""

import html
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evals.influence import planted
from evals.influence.evaluate_config import CHOSEN_ON
from evals.influence.evaluate_results import Evaluated, Measure
from evals.results import Failure, Value
from explicate.commands.influence import app
from explicate.influence_evaluation_page import render
from explicate.influence_words import KNOWN, MEASURES, method_name

DOCUMENTED = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")
SMALL = ("evaluate", "--steps", "3", "--queries", "2", "--halves", "3")


def test_json_is_documented_and_the_page_and_the_table_are_written(
    workplace: Path, tiny_corpus: Path, ended: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    # Less made-up text, which is read the sooner.
    monkeypatch.setattr(planted, "LINES", 20)
    monkeypatch.setattr(planted, "BRIDGES", 8)
    more = ("--corpus", str(tiny_corpus), "--limit", "5")
    first = ended(app, *SMALL, *more, "--json", "-o", "evaluation.html")
    assert first.code == 0, first.err
    told = json.loads(first.out)
    assert told.pop("report") == "evaluation.html"
    found = Evaluated.model_validate(told)
    assert found.background == 5
    assert set(found.measures) == set(MEASURES)
    line = next(each for each in DOCUMENTED.splitlines() if each.startswith("| `explicate influence evaluate` |"))
    methods = {name for measure in ("recall_at_1", "mislabelled") for name in found.measures[measure].figures}
    assert methods - KNOWN.keys() == set()
    fields = (*Evaluated.model_fields, *Measure.model_fields, *found.measures, *methods, *Value.model_fields)
    assert [key for key in fields if f"`{key}`" not in line] == []
    # What intervals are over is told as it is, and from which seed the settings are.
    for measure in found.measures.values():
        assert measure.over in line
    assert f"figures of seed {CHOSEN_ON}, on which settings were settled" in line
    page = html.unescape((workplace / "evaluation.html").read_text("utf-8"))
    for name, measure in found.measures.items():
        assert f"{MEASURES[name][1]}. Over {measure.over}." in page
        assert all(f">{method_name(method)}</span>" in page for method in measure.figures)
    assert 'embedding</span><span class="bad small" dir="auto">' in page
    for expected in ("Not shown by this", "Planted facts, recall at 10", "Linear datamodelling score", "few queries (2)", "no fresh test"):
        assert expected in page
    assert page.count('<div class="card"><h3>') == len(found.measures)
    again = ended(app, *SMALL, *more)
    assert again.code == 0, again.err
    assert "train one half" not in again.err  # all was kept
    for expected in (
        f"{found.trainings} trainings",
        "Exchanged labels",
        "facts learnt in other words",
        "over queries and trainings",
        "over lines",
        "no fresh test",
        "is not on this machine",
    ):
        assert expected in again.out


def test_a_page_of_what_failed() -> None:
    failed = Failure(stage="score", reason="too <few>")
    some = Value(value=0.5, low=0.25, high=0.75, n=4)
    measure = Measure(figures={"ekfac": some, "bm25": failed}, lifts={"bm25": failed}, over="queries", chance=0.1)
    found = Evaluated(
        measures=dict.fromkeys(("recall_at_10", "lds", "a_new_one"), measure),
        known=failed,
        known_by_chance=0.2,
        steps=1,
        passages=2,
        background=0,
        queries=4,
        halves=3,
        removed=2,
        k=1,
        trainings=4,
        seed=0,
        source={},
    )
    page = render(found)
    assert "too &lt;few&gt;" in page
    assert "EK-FAC not measured" not in page
    assert "a new one" in page
    # No sentence stands at the head where nothing was measured on both sides.
    assert '<p class="headline">' not in page


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--steps", "5", "--minutes", "1"], "give one of them"),
        (["--steps", "0"], "trains nothing"),
        (["--minutes", "0"], "trains nothing"),
        (["--queries", "1"], "give 2 to 400"),
        (["--halves", "2"], "give 3 or more"),
        (["--corpus", "none.txt"], "there is no corpus 'none.txt'"),
        (["-o", "evaluation.pdf"], "name a file that ends with"),
    ],
)
def test_what_cannot_be_evaluated(workplace: Path, ended: Callable[..., Any], more: list[str], told: str) -> None:
    found = ended(app, "evaluate", *more)
    assert found.code == 2
    (line,) = [each for each in found.err.splitlines() if each.startswith("error: ")]
    assert told in line
