"""`explicate probe place` from end to end, on tiny random models that know no places."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evals.probes.place_results import HeldOut, PlaceNeuron, PlacePoint, PlaceProbed
from evals.probes.results import Probed
from explicate.commands.probe import app

Checkpoint = Callable[[str], Path]
DOCUMENTED = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")
WORDS = "river hills north town meadows harbour summer bridge flood years banks boat stone iron water evening markets"


Place = Callable[..., Any]


@pytest.fixture
def place(workplace: Path, ended: Callable[..., Any]) -> Place:
    """place("MODEL", ...) runs the command in this process."""

    return partial(ended, app, "place")


@pytest.fixture
def towns(workplace: Path) -> Path:
    """Sixty towns of the tiny tokenizer's words, in three lands, and the years of their bridges."""
    rng = np.random.default_rng(0)
    words = WORDS.split()
    path = workplace / "towns.csv"
    lines = ["name,latitude,longitude,land,bridge"]
    for number in range(60):
        name = " ".join(rng.choice(words, 2)) + f" {number}"
        lines.append(
            f"{name},{rng.uniform(-80, 80):.3f},{rng.uniform(-180, 180):.3f},{'ABC'[number % 3]},{1800 + int(rng.integers(200))}-06-01"
        )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("family", ["llama", "bert"])
def test_a_decoder_and_an_encoder_to_the_end(place: Place, tiny_checkpoint: Checkpoint, towns: Path, family: str) -> None:
    ended = place(
        str(tiny_checkpoint(family)),
        *("--csv", str(towns), "--template", "the town of {name} there", "--hold-out", "land", "--mlp", "--json"),
        *("-o", str(towns.parent / "map.html"), "--device", "cpu"),
    )
    assert ended.code == 0, ended.err
    found = PlaceProbed.model_validate(json.loads(ended.out))
    assert [each.layer for each in found.layers] == [0, 1, 2, 3]
    assert set(found.layers[0].metrics) == {"r2", "r2_latitude", "r2_longitude", "spearman", "haversine_km", "proximity_error"}
    metrics = DOCUMENTED.split("### The metrics of `explicate probe place`")[1].split("###")[0]
    named = (*found.layers[0].metrics, *found.baselines, *found.curves, *found.figures)
    assert [name for name in named if f"`{name}`" not in metrics] == []
    assert list(found.baselines) == ["layer0", "bag_of_tokens", "random_init", "shuffled", "mean"] == list(found.lifts)
    assert list(found.curves) == ["random_init", "mlp"]
    assert (found.items["train"], found.items["choose"], found.items["test"], found.items["unreadable"]) == (48, 10, 12, 0)
    assert len(found.points) == 12
    assert all(-90 <= point.true[0] <= 90 and point.error > 0 for point in found.points)
    assert found.held_out is not None
    assert (found.held_out.groups, found.held_out.folds) == (3, 3)
    assert list(found.held_out.baselines) == list(found.baselines)
    assert list(found.neurons) == ["latitude", "longitude"]
    for neurons in found.neurons.values():
        assert isinstance(neurons, list)
        assert len(neurons) == 5
    assert "Held out by land" in (towns.parent / "map.html").read_text(encoding="utf-8")


def test_every_field_is_documented() -> None:
    row = next(line for line in DOCUMENTED.splitlines() if line.startswith("| `explicate probe place` |"))
    own = [name for name in PlaceProbed.model_fields if name not in Probed.model_fields]
    fields = (*own, *PlacePoint.model_fields, *PlaceNeuron.model_fields, *HeldOut.model_fields)
    assert [name for name in fields if f"`{name}`" not in row] == []


def test_dates_for_people(place: Place, tiny_checkpoint: Checkpoint, towns: Path) -> None:
    out = towns.parent / "years.html"
    ended = place(str(tiny_checkpoint("gpt2")), "--csv", str(towns), "--target", "bridge", "-o", str(out), "--device", "cpu")
    assert ended.code == 0, ended.err
    for said in ("bridge", "absolute", "bag of tokens", "Neurons along bridge", "Farthest off"):
        assert said in ended.out
    assert "bridge: predicted against true" in out.read_text(encoding="utf-8")


def test_a_model_without_neurons_of_one_layer_says_so(place: Place, tiny_checkpoint: Checkpoint, towns: Path) -> None:
    ended = place(str(tiny_checkpoint("albert")), "--csv", str(towns), "--json", "--device", "cpu")
    assert ended.code == 0, ended.err
    neurons = json.loads(ended.out)["neurons"]
    assert all(each["failed"] and "blocks for 3 layers" in each["reason"] for each in neurons.values())


def test_the_cities_that_are_built_in_and_a_limit(place: Place, tiny_checkpoint: Checkpoint, workplace: Path) -> None:
    ended = place(str(tiny_checkpoint("llama")), "--limit", "60", "--json", "--device", "cpu")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert list(found["source"]) == ["places.csv"]
    assert found["items"]["train"] + found["items"]["test"] == 60
    assert found["items"]["not_drawn"] > 60
    assert any("few and well known" in note for note in found["notes"])
    again = json.loads(place(str(tiny_checkpoint("llama")), "--limit", "60", "--json", "--device", "cpu").out)
    assert again == found


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--csv", "none.csv"], "there is no file 'none.csv'"),
        (["--target", "height"], "has no column 'height'"),
        (["--name", "title"], "has no column 'title'"),
        (["--template", "a town"], "must say once where the name stands"),
        (["--split", "half"], "--split 'half' is none of auto, drawn"),
        (["--hold-out", "planet"], "has no column 'planet'"),
        (["--folds", "3"], "--folds are of held-out groups"),
        (["--hold-out", "continent", "--folds", "9"], "6 groups cannot be held out in 9 folds"),
        (["--limit", "20"], "are too few"),
        (["-o", "map.png"], "name a file that ends with .html, .json"),
    ],
)
def test_mistakes_are_told_before_a_model_is_loaded(place: Place, arguments: list[str], said: str) -> None:
    ended = place("no-such-model", *arguments)
    assert ended.code == 2
    assert said in ended.err
