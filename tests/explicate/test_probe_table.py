"""What a probe prints at the terminal."""

import re
from pathlib import Path

import pytest

from evals.probes.results import Baseline, Layer, Lift, Probed
from evals.results import Failure, Value
from explicate.probe_table import PLACES, show_probed

GONE = Failure(stage="probe", reason="it did not converge")


def value(of: float) -> Value:
    return Value(value=of, low=of - 0.125, high=of + 0.125, n=150)


def found(layers: int, *, best: int, name: str = "m") -> Probed:
    return Probed(
        kind="labels",
        model={"name": name},
        task="pos",
        source={},
        seed=0,
        items={"train": 4000, "left_out": 2},
        unit="sentences",
        pool="mean",
        main="accuracy",
        best=best,
        layers=[
            Layer.of(layer, {"accuracy": value(layer / 64), "selectivity": GONE if layer == 1 else value(0.25)}) for layer in range(layers)
        ],
        baselines={"majority": Baseline.of({"accuracy": value(0.125)}), "random_init": Baseline.of({"accuracy": GONE}, at=3)},
        lifts={"majority": Lift(value=0.375, low=0.25, high=0.5, n=150, p=0.001), "random_init": GONE},
        curves={"mlp": [Layer.of(layer, {"accuracy": value(0.75)}) for layer in range(layers)]},
        figures={"centre_of_gravity": value(1.5)},
        notes=["[b]a note[/]"],
    )


def printed(probed: Probed, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, out: Path | None = None) -> str:
    monkeypatch.setenv("COLUMNS", "160")
    show_probed(probed, out)
    return capsys.readouterr().out


def test_it_prints_the_figure_beside_chance_and_every_baseline(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = printed(found(4, best=2), capsys, monkeypatch, tmp_path / "probe.html")
    assert "m, pos: train 4,000, left out 2" in text
    assert "accuracy 0.031 [-0.094, 0.156] at layer 2; commonest label 0.125 [0.000, 0.250]" in text
    assert "above every baseline: Not measured (random weights)" in text
    assert re.search(r"commonest label +0\.125 \[0\.000, 0\.250\] +\+0\.375 \[\+0\.250, \+0\.500\] +0\.001 +Seen", text)
    assert re.search(r"random weights, layer 3 +none: it did not converge", text)
    assert re.search(r"\* 2 +0\.031 \[-0\.094, 0\.156\] +0\.250 +0\.750", text)
    assert "layer 1, selectivity: it did not converge" in text
    assert re.search(r"centre of gravity +1\.500 \[1\.375, 1\.625\] +150", text)
    assert "[b]a note[/]" in text
    assert "Report: " in text


@pytest.mark.parametrize("best", [0, 17, 30])
def test_of_many_layers_some_are_printed_the_chosen_one_among_them(
    best: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = printed(found(31, best=best), capsys, monkeypatch)
    numbers = [int(each) for each in re.findall(r"^ *(?:\* )?(\d+) +-?0\.\d+ \[", text, re.MULTILINE)]
    assert len(numbers) in (PLACES - 1, PLACES)
    assert numbers == sorted(numbers)
    assert {0, 30, best} <= set(numbers)
    assert re.findall(r"\* (\d+)", text) == [str(best)]


def test_a_name_steers_no_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    text = printed(found(2, best=0, name="[red]a\x1b[31m\u202eb"), capsys, monkeypatch)
    assert not {"\x1b", "\u202e"} & set(text)
    assert "[red]a" in text


def test_what_a_narrow_terminal_has_no_room_for_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = {name: value(0.5) for name in ("accuracy", "r2_latitude", "spearman", "proximity_error", "haversine_km", "selectivity")}
    probed = found(3, best=1).model_copy(update={"layers": [Layer.of(layer, metrics) for layer in range(3)]})
    monkeypatch.setenv("COLUMNS", "80")
    show_probed(probed, None)
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    assert "not shown in so narrow a terminal: distance, km, selectivity" in " ".join(said.split())
    heads = said.partition("layer   accuracy")[0].splitlines()[-1] + said.partition("layer   accuracy")[2].splitlines()[0]
    assert {"latitude", "Spearman", "error", "probe"} <= set(heads.split())
    wide = printed(probed, capsys, monkeypatch)
    assert "narrow" not in wide
    assert "selectivity" in wide
