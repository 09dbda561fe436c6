"""The page of edits: every number where it belongs, nothing of a file or a model as markup, and no trouble in a browser."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analyzers.errors import ExplicateError
from evals.editing.measures import MEASURES
from evals.editing.results import Asking, Edited, EditsAsked, EditTold, Outcome, Step
from evals.results import Failure, Value
from explicate.edit_page import check_folder, render, write_edited
from explicate.edit_table import show_asked, show_edited
from explicate.edit_words import headline

HOSTILE = "<script>alert(1)</script>\x1b[2J\u202e[b]"


def exact(number: float) -> Value:
    return Value(value=number, low=number - 0.05, high=number + 0.05, n=12)


def outcome(gap: float | None, text: str) -> Outcome:
    return Outcome(
        text=text,
        success=1.0,
        success_true=None if gap is None else 0.0,
        prefers=None if gap is None else gap > 0,
        logprob=-1.0,
        logprob_true=None if gap is None else -1.0 - gap,
        rephrased=[],
        rephrased_prefers=[],
        ported={},
        kept=[],
        neighbours=[],
        elsewhere=[],
        written=None,
        seconds=3.0,
    )


def edited(methods: tuple[str, ...] = ("unedited", "rome", "ft", "random_rome", "random_ft")) -> Edited:
    shares = {"unedited": 0.05, "rome": 0.97, "ft": 0.4, "random_rome": 0.06, "random_ft": 0.3}
    measures = {
        name: {
            **{measure: exact(shares[name]) for measure in MEASURES},
            "consistency": Failure(stage="measure", reason=f"none {HOSTILE}"),
            "portability/Reasoning": exact(0.31),
        }
        for name in methods
    }
    steps = [
        Step(
            edits=edits,
            success=exact(0.9),
            locality=exact(0.8),
            perplexity=exact(20.0 + edits) if edits != 2 else Failure(stage="m", reason="r"),
        )
        for edits in (0, 1, 2, 5, 1000)
    ]
    written = [name for name in methods if name in ("rome", "ft")]
    return Edited(
        model={"name": HOSTILE, "dtype": "float32"},
        source={f"{HOSTILE}.json": "0" * 64},
        format="auto",
        methods=measures,
        above={name: {"unedited": exact(0.9), f"random_{name}": exact(0.02 if name == "ft" else 0.9)} for name in written},
        seconds=dict.fromkeys(written, 12.0),
        layer=6,
        layer_by="as asked for",
        layers={"rome": [6], "memit": [4, 5, 6]},
        sequence={"rome": steps},
        edits=[
            EditTold(
                id="7",
                prompt=f"{HOSTILE} was born in",
                subject=HOSTILE,
                target=" Rome",
                true=" Oslo" if gap is not None else None,
                said_before=False,
                knew=False if gap is not None else None,
                before=f" Oslo {HOSTILE}",
                after=" Rome, where",
                outcomes={name: outcome(gap, " Rome, where" if name == "rome" else " Oslo") for name in methods},
            )
            for gap in (-2.5, None, 4.0, None, None)
        ],
        left_out=[["9", f"too long {HOSTILE}"]],
        saved="rome",
        restored_exactly=True,
        corpus={"name": "c", "identity": "1", "tokens": "2"},
        seed=0,
        notes=[f"mind {HOSTILE}"],
    )


def test_nothing_from_outside_is_markup() -> None:
    page = render(edited())
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_numbers_stand_beside_their_controls() -> None:
    page = render(edited())
    assert "ROME: edit success 0.970 [0.920, 1.020], beside unedited 0.050 [0.000, 0.100], random, as ROME 0.060" in page
    assert "random, as fine-tuning 0.300" in page
    assert page.count('<b class="good">Seen</b>') == 1  # of ROME alone: fine-tuning is not apart from the random edit
    assert page.count('<b class="dim">Not seen</b>') == 1
    assert page.count('class="forest "') == 5
    # Two of five edits have a true target, each a dot for each of five methods and controls.
    assert len(re.findall(r'<i class="dot (?:line\d|of-\w+)"', page)) == 10
    assert 'title="ROME: -2.500"' in page
    assert "ROME, 1,000 edits: 1020.0" in page or "1020" in page
    assert ">1,000<" in page
    assert "none at 1 of 5: r" in page
    assert page.count('class="new">Rome') + page.count('class="new"> Rome') == 5
    assert "portability: Reasoning" in page
    assert "MEMIT 4, 5, 6" in page


def test_headlines_need_both_controls() -> None:
    assert [word for _, _, word in headline(edited())] == ["Seen", "Not seen"]
    failed = edited()
    failed.above["rome"]["random_rome"] = Failure(stage="score", reason="one edit")
    assert headline(failed)[0][2] == "Not measured"


def test_without_measures(capsys: pytest.CaptureFixture[str]) -> None:
    bare = edited(())
    bare.above, bare.sequence, bare.saved = {}, {}, None
    page = render(bare)
    assert "with all edits" in page
    assert "beside its controls" not in page
    show_edited(bare, None)
    shown = capsys.readouterr().out
    assert "says now" in shown
    assert "\x1b[2J" not in shown


def test_the_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    found = edited()
    found.restored_exactly = False
    show_edited(found, Path("edited/report.html"))
    shown = capsys.readouterr().out
    for said in (
        "5 edits, layer 6 (as asked for)",
        "Above its controls: Seen",
        "random, as ROME",
        "weights are not as they were",
        "left out 9",
    ):
        assert said in shown
    assert "\u202e" not in shown
    answers = [Asking(prompt=HOSTILE, without="Oslo", edited="Rome")]
    show_asked(
        EditsAsked(
            paths=["p", "q"],
            model={"name": "m"},
            methods=["rome", "ft"],
            edits=[["a", "b", "c"]],
            answers=answers,
            exported="whole",
            restored_exactly=False,
        )
    )
    shown = capsys.readouterr().out
    assert "without: Oslo" in shown
    assert "edited:  Rome" in shown
    assert "\x1b[2J" not in shown


def test_folders(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path, said in (
        (tmp_path / "file", "is a file"),
        (tmp_path / "e.json", "name a folder"),
        (tmp_path / "no" / "e", "there is no folder"),
    ):
        with pytest.raises(ExplicateError, match=said):
            check_folder(path)
    check_folder(tmp_path)
    assert write_edited(edited(), tmp_path) == tmp_path / "report.html"
    assert Edited.model_validate_json((tmp_path / "results.json").read_text("utf-8")) == edited()


def test_in_a_browser(show: Callable[..., Any], tmp_path: Path) -> None:
    path = write_edited(edited(), tmp_path)
    for width in (1300, 390):
        page = show(path, viewport={"width": width, "height": 900})
        assert page.overflow() <= 0
        assert page.locator(".odds .row").count() == 3
