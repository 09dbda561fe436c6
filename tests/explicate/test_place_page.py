"""The page of `explicate probe place`: dots stand where they should, on land, and no name can break it."""

import re
from html import unescape

import pytest

from evals.probes.place_results import HeldOut, PlaceNeuron, PlacePoint, PlaceProbed
from evals.probes.place_table import SAMPLE, read_entities
from evals.probes.results import Baseline, Layer, Lift
from evals.results import Failure, Value
from explicate.coast import _LANDS, coast
from explicate.place_page import BANDS, MOST_GROUPS, MOST_POINTS, WIDTH, band, render

HOSTILE = "\u202e</title><script>alert(1)</script>{{ 7 * 7 }}\x1b"


def value(of: float) -> Value:
    return Value(value=of, low=of - 0.1, high=of + 0.1, n=40)


def lifted(of: float, p: float = 0.001) -> Lift:
    return Lift(value=of, low=of - 0.1, high=of + 0.1, n=40, p=p)


def found(points: list[PlacePoint], *, target: tuple[str, ...] = ("latitude", "longitude"), held: HeldOut | None = None) -> PlaceProbed:
    neuron = PlaceNeuron(
        site="L3.mlp.7", side="out", weights=f"mlp.{HOSTILE}", cosine=0.31, by_chance=0.19, spearman=Failure(stage="score", reason=HOSTILE)
    )
    return PlaceProbed(
        model={"name": HOSTILE},
        task=", ".join(target),
        source={HOSTILE: "ab"},
        seed=0,
        items={"train": 10, "test": len(points)},
        unit="entities",
        pool="last",
        main="r2",
        best=1,
        layers=[Layer.of(number, {"r2": value(0.2 * number)}) for number in range(3)],
        baselines={"layer0": Baseline.of({"r2": value(0.0)}, 0), "mean": Baseline.of({"r2": value(0.0)})},
        lifts={"layer0": lifted(0.2), "mean": lifted(0.2)},
        target=list(target),
        template="{name}",
        alphas={"0": 6.3},
        points=points,
        neurons={target[0]: [neuron], target[-1]: [neuron]} if len(target) == 2 else {target[0]: Failure(stage="neurons", reason=HOSTILE)},
        held_out=held,
    )


def held_out() -> HeldOut:
    return HeldOut(
        column=HOSTILE,
        groups=30,
        folds=5,
        unit="entities",
        items={"test": 200},
        metrics={"r2": value(0.25), "haversine_km": value(1234.5)},
        baselines={"layer0": Baseline.of({"r2": value(0.5)}, 0), "mean": Baseline.of({"r2": Failure(stage="score", reason="undefined")})},
        lifts={"layer0": lifted(-0.25, 1.0), "mean": Failure(stage="score", reason="undefined")},
    )


def point(name: str, true: list[float], predicted: list[float] | None = None, group: str | None = None) -> PlacePoint:
    return PlacePoint(name=name, true=true, predicted=predicted or true, error=123.4, group=group)


def dots(page: str, label: str) -> list[tuple[float, float]]:
    """Where the dots of a name stand on the maps, in order."""
    circles = re.findall(r'<circle cx="([-.\d]+)" cy="([-.\d]+)"[^>]*><title>([^<]*)</title>', page)
    return [(float(x), float(y)) for x, y, told in circles if unescape(told).startswith(label)]


def test_dots_stand_at_their_longitude_to_the_right_and_latitude_upwards() -> None:
    page = render(found([point("Quito", [0.0, -90.0], [45.0, 200.0]), point("Pole", [90.0, 180.0]), point("South", [-90.0, -180.0])]))
    (guessed, true), (pole, _), (south, _) = dots(page, "Quito"), dots(page, "Pole"), dots(page, "South")
    across, up = pole[0], south[1]
    assert (south[0], pole[1]) == (0, 0)
    assert across == pytest.approx(2 * up, rel=0.01)
    assert WIDTH / 2 < across <= WIDTH
    assert true == pytest.approx((across / 4, up / 2), abs=0.1)
    assert guessed == pytest.approx((across, up / 4), abs=0.1)
    assert "Quito: 123 km" in page


def test_colours_say_the_group_where_there_are_few_and_else_the_longitude() -> None:
    few = [point(f"p{number}", [1.0, 2.0], group=f"land {number % 3}") for number in range(9)]
    assert "land 2 <small>3</small>" in render(found(few, held=held_out()))
    many = [point(f"p{number}", [1.0, -175.0 + 5 * number], group=f"land {number}") for number in range(MOST_GROUPS + 1)]
    page = render(found(many, held=held_out()))
    assert "land 1 <small>" not in page
    assert "180-150 W" in page


@pytest.mark.parametrize(
    ("longitude", "told"), [(-180, "180-150 W"), (-0.1, "30-0 W"), (0, "0-30 E"), (179.9, "150-180 E"), (180, "150-180 E")]
)
def test_bands_of_longitude(longitude: float, told: str) -> None:
    assert band(longitude) == told
    assert len(BANDS) == len(set(BANDS.values())) == 12


def test_no_name_can_break_the_page() -> None:
    page = render(found([point(HOSTILE, [1.0, 2.0], group=HOSTILE), point("other", [3.0, 4.0], group="b")], held=held_out()))
    assert "<script>alert" not in page
    assert "\u202e" not in page
    assert "\x1b" not in page
    assert "{{ 7 * 7 }}" in unescape(page)
    assert "The opposite" in page
    assert "0.250 [0.150, 0.350]" in page
    assert "L3.mlp.7" in page
    dated = render(found([point(HOSTILE, [1900.0], [1950.0]), point("b", [2000.0], [1960.0])], target=(HOSTILE,)))
    assert "<script>alert" not in dated
    assert "predicted against true" in dated


def test_both_maps_and_their_legend_hang_together() -> None:
    """The script lights up what is pointed at in all drawings of one group, and chooses its kinds."""
    page = render(found([point("Quito", [0.0, -90.0]), point("Pole", [90.0, 180.0])]))
    (together,) = re.findall(r'<div class="together">(.*?)</figure>', page, re.DOTALL)
    assert together.count("<svg") == 2
    assert together.count('class="kinds') == 1
    assert 'aria-label="predicted places"' in together.split('class="kinds')[0]


def test_large_maps_are_thinned_evenly_and_say_so() -> None:
    page = render(found([point(f"n{number}.", [1.0, 2.0]) for number in range(2 * MOST_POINTS + 1)]))
    assert len(dots(page, "n")) == 2 * (MOST_POINTS * 2 // 3 + 1)
    assert "1,001 of 3,001 are drawn" in page
    assert dots(page, "n3000.")


def lands() -> list[list[tuple[float, float]]]:
    numbers = [[float(each) for each in corners.split()] for corners in _LANDS.values()]
    return [list(zip(each[::2], each[1::2], strict=True)) for each in numbers]


def inside(x: float, y: float, corners: list[tuple[float, float]]) -> bool:
    """By how often a line to the right crosses the edges."""
    crossed = False
    for (x1, y1), (x2, y2) in zip(corners, [*corners[1:], corners[0]], strict=True):
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) / (y2 - y1) * (x2 - x1):
            crossed = not crossed
    return crossed


def test_cities_lie_on_the_drawn_land_and_not_with_their_axes_exchanged() -> None:
    places = [each.target for each in read_entities(SAMPLE).entities]
    polygons = lands()

    def ashore(longitude: float, latitude: float) -> bool:
        """With two degrees to spare, since most cities lie at a coast."""
        near = [(dx, dy) for dx in (-2, 0, 2) for dy in (-2, 0, 2)]
        return any(inside(longitude + dx, latitude + dy, land) for dx, dy in near for land in polygons)

    right = sum(ashore(longitude, latitude) for latitude, longitude in places) / len(places)
    exchanged = sum(ashore(latitude, longitude) for latitude, longitude in places) / len(places)
    assert right > 0.97
    assert exchanged < 0.7


def test_the_sketch_stays_within_the_world_and_is_small() -> None:
    for land in lands():
        assert len(land) >= 3
        assert all(-180 <= x <= 180 and -90 <= y <= 90 for x, y in land)
    assert len(coast()) < 8000
