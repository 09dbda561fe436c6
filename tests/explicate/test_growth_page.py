"""The page of growth: every number where it belongs, nothing of a file or a folder as markup, and no trouble in a browser."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evals.growing.results import Before, Chance, Curve, Grown, Moment, Series
from evals.results import Failure, Value
from explicate.growth_page import render
from explicate.growth_table import show_grown
from explicate.growth_words import before_told, is_above_chance, order_told, step_told, t90_told, tick_told, verdict

HOSTILE = "<script>alert(1)</script>\x1b[2J\u202e"
STEPS = [0, 1, 2, 4, 143_000]


def exact(number: float) -> Value:
    return Value(value=number, low=number - 0.01, high=number + 0.01, n=50)


def curve(name: str, values: list[Value | Failure], t90: Value | Failure, *, better: Any = "higher", chance: float | None = 0.5) -> Curve:
    summary = {"grown": exact(0.4), "t90": t90, "area": exact(0.6), "monotonicity": exact(0.9), "forgetting": exact(0.2)}
    return Curve(
        name=name,
        probe=name.partition("/")[0],
        better=better,
        unit="pairs",
        counts="pairs",
        chance=None if chance is None else Chance(value=chance, of="a coin"),
        values=values,
        summary=summary,
    )


NEVER = Failure(stage="score", reason="did not grow: final less first 0.010, interval -0.100 to 0.120")


def series(name: str) -> Series:
    broken: list[Value | Failure] = [exact(0.5), exact(0.5), Failure(stage="probe", reason=f"diverged {HOSTILE}"), exact(0.8), exact(0.7)]
    t90 = Value(value=3.25, low=2.0, high=4.0, n=50)
    return Series(
        name=name,
        checkpoints=[Moment(step=step, name=f"step{step}", revision="0" * 40) for step in STEPS],
        curves=[
            curve("minimal-pairs", broken, t90),
            curve(f"minimal-pairs/{HOSTILE}", [exact(0.51)] * 5, NEVER),
            curve("facts", [exact(0.1)] * 5, NEVER),
            curve("next-token/surprisal", [exact(8 - each) for each in range(5)], exact(3.0), better="lower", chance=5.0),
            curve("next-token", [exact(each / 10) for each in range(5)], exact(120_000.0), chance=None),
        ],
    )


def grown(*names: str) -> Grown:
    return Grown(
        checkpoints=HOSTILE,
        probes=["minimal-pairs", "next-token", "facts"],
        source={HOSTILE: "0" * 64},
        seed=0,
        depth=0.5,
        items={"facts": {"facts": 50, "given_away": 2}},
        series=[series(name) for name in names],
        order=["next-token/surprisal", "minimal-pairs", "next-token", "facts", f"minimal-pairs/{HOSTILE}"],
        tau=exact(0.8) if len(names) > 1 else Failure(stage="score", reason="there is one"),
        before=[
            Before(first="minimal-pairs", then="next-token", seeds=len(names), apart=len(names), alone=0),
            Before(first="next-token", then="facts", seeds=len(names), apart=0, alone=len(names)),
        ],
        notes=[f"mind {HOSTILE}"],
    )


def test_nothing_from_outside_is_markup() -> None:
    page = render(grown(HOSTILE))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_points_and_ticks_tell_steps_and_not_their_logarithms() -> None:
    page = render(grown("pythia"))
    assert "pythia, step 143,000: 0.700 [0.690, 0.710]" in page
    assert ">143k<" in page
    # The order's axis ends at the last step, and a t90 of 3.25 stands at log2(4.25) / log2(143001) of it.
    dot = re.search(r'class="dot line0" style="left:([\d.]+)%" title="pythia: step 3.2 \[2, 4\]"', page)
    assert dot is not None
    assert float(dot[1]) == pytest.approx(100 * 2.0875 / 17.1257, abs=0.05)
    assert page.count("did not grow") >= 2
    # A checkpoint that failed breaks its line in two.
    assert "minimal-pairs" in page
    assert "none at 1 of 5: diverged" in page


def test_several_trainings_are_lines_of_one_chart() -> None:
    one, two = render(grown("seed-0")), render(grown("seed-0", "seed-1"))
    assert two.count("<figure") == one.count("<figure") == 5
    assert two.count("<polyline") == 2 * one.count("<polyline") > 10
    assert "Kendall's tau of the order between trainings: <b>0.800" in two
    assert "Kendall" not in one
    assert "minimal-pairs before next-token in 2 of 2 trainings, intervals apart in 2" in two
    assert one.count('<b class="good">Seen</b>') == 1


def test_what_did_not_grow_is_not_said_to_come_later() -> None:
    def said(trainings: int, **of: int) -> tuple[str, str]:
        told = Before(first="pos", then="facts", **of)
        return verdict(told, trainings)[0], before_told(told, trainings)

    assert said(1, seeds=1, apart=0, alone=1) == ("Alone", "pos grew, and facts did not")
    assert said(2, seeds=2, apart=0, alone=2) == ("Alone", "pos grew, and facts did not, in 2 of 2 trainings")
    both = "pos before facts in 2 of 2 trainings, intervals apart in 1; in 1 facts did not grow"
    assert said(2, seeds=2, apart=1, alone=1) == ("Not seen", both)
    assert said(1, seeds=1, apart=1, alone=0) == ("Seen", "pos before facts, intervals apart")
    assert said(1, seeds=1, apart=0, alone=0) == ("Not seen", "pos before facts, intervals overlap")


def test_curves_of_parts_are_folded_behind_a_line() -> None:
    found = grown("seed-0")
    parts = [curve(f"next-token/surprisal/{tag}", [exact(each) for each in range(5)], exact(3.0)) for tag in ("NOUN", "VERB")]
    parts += [curve("facts/a/b_c", [exact(0.1)] * 5, NEVER), curve("facts/logprob", [exact(-2.0)] * 5, NEVER, chance=None)]
    found.series[0].curves += parts
    found.order += [part.name for part in parts]
    page = render(found)
    folded = re.findall(r"<details><summary[^>]*>(.*?)</summary>(.*?)</details>", page, re.DOTALL)
    charts = {re.sub("<.*?>", "", line): re.findall("<figcaption>(.*?)</figcaption>", inside) for line, inside in folded}
    assert charts["Surprisal by part of speech: 2 curves, 2 seen to grow, first NOUN"] == ["surprisal, NOUN", "surprisal, VERB"]
    assert charts["P@1 by relation: 1 curve, none seen to grow"] == ["a, b c"]
    assert sum(map(len, charts.values())) == 4
    shown = re.sub("<details>.*?</details>", "", page, flags=re.DOTALL)
    assert re.findall("<figcaption>(.*?)</figcaption>", shown) == [
        "Accuracy",
        "Surprisal, nats",
        "Accuracy",
        "P@1",
        "Log-probability, nats",
    ]
    # In the order and in the table of summaries, too.
    assert "VERB" in page
    assert "VERB" not in shown
    assert "<details open" not in page


def test_what_is_said_of_the_order() -> None:
    found = grown("seed-0")
    told = order_told(found, found.series[0])
    assert told == (
        "90% of its growth is reached by minimal-pairs (step 3.2 [2, 4]), then by next-token (step 120,000 [120,000, 120,000]); no growth "
        "is seen in facts"
    )
    low = curve("facts", [exact(0.1), exact(0.3)], exact(1.0))
    assert not is_above_chance(low)
    assert is_above_chance(found.series[0].curves[3])  # 4 nats where knowing nothing gets 5
    found.series[0].curves[2] = low
    assert order_told(found, found.series[0]).endswith("; in the end not above chance: facts")
    assert t90_told(Failure(stage="score", reason="the first checkpoint could not be measured")) == (
        "none: the first checkpoint could not be measured"
    )
    assert [step_told(step) for step in (0.0, 3.25, 12.4, 143_000.2)] == ["0", "3.2", "12", "143,000"]
    assert [tick_told(step) for step in (0, 512, 143_000, 1_500_000)] == ["0", "512", "143k", "1.5M"]


def test_the_table_tells_failures_and_steers_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    show_grown(grown("seed-0", HOSTILE), Path("growth [b].html"))
    shown = capsys.readouterr().out
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", shown)
    assert shown.count("diverged") == 2
    for said in ("minimal-pairs at step2: diverged", "did not grow", "0.200 [0.190, 0.210]", "Kendall's tau", "growth [b].html"):
        assert said in shown


def test_what_fails_together_is_told_once(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    found = grown("seed-0")
    for each in found.series[0].curves:
        each.values[1] = Failure(stage="probe", reason="its weights are no numbers")
    show_grown(found, None)
    shown = capsys.readouterr().out
    assert shown.count("its weights are no numbers") == 1
    assert "facts and 2 more at step1: its weights are no numbers" in shown


def test_a_table_of_many_curves_leaves_parts_to_the_report(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    found = grown("seed-0")
    parts = [curve(f"facts/relation{number}", [exact(0.1)] * 5, exact(3.0)) for number in range(16)]
    found.series[0].curves += parts
    found.order += [part.name for part in parts]
    show_grown(found, None)
    shown = capsys.readouterr().out
    assert "17 curves of parts of these are in the report" in shown
    assert "relation3" not in shown
    assert "next-token, surprisal" in shown


def test_in_a_browser(show: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "growth.html"
    path.write_text(render(grown("seed-0", "seed-1")), encoding="utf-8")
    for width in (1300, 390):
        page = show(path, viewport={"width": width, "height": 900})
        assert page.overflow() == 0
        assert page.locator("figure svg").count() == 5
