"""Points in a plane: where they are drawn, what they are called, and that no text can break the page that they are in."""

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explicate.scatter import COLOURS, LONGEST, Point, is_scatter, legend_of, scatter

SPACE = "{http://www.w3.org/2000/svg}"
HOSTILE = "\u202e</title></svg><script>alert(1)</script>\x1b&\"'"


def read(drawn: str) -> ElementTree.Element:
    """As XML, so that every tag must be closed."""
    return ElementTree.fromstring(drawn)


def circles(drawn: str) -> list[tuple[float, float, str]]:
    return [(float(each.attrib["cx"]), float(each.attrib["cy"]), each.findtext("title") or "") for each in read(drawn).iter("circle")]


def frame(drawn: str) -> tuple[float, float]:
    (rect,) = read(drawn).iter("rect")
    return float(rect.attrib["width"]), float(rect.attrib["height"])


def test_points_lie_where_their_values_are() -> None:
    drawn = scatter([(0, 0), (10, 5), (5, 20)], labels=["a", "b", "c"], bounds=(0, 10, 0, 20), width=252, height=142)
    across, up = frame(drawn)
    assert (across, up) == (200, 100)  # less the room for numbers
    assert circles(drawn) == [(0, 100, "a"), (200, 75, "b"), (100, 0, "c")]
    numbers = [each.text for each in read(drawn).iter("text")]
    assert numbers == ["0", "2", "4", "6", "8", "10", "0", "5", "10", "15", "20"]


def test_what_lies_beyond_the_bounds_is_drawn_at_the_edge() -> None:
    drawn = scatter([(-100, 3), (50, -9)], labels=["a", "b"], bounds=(0, 10, 0, 5), width=252, height=142)
    assert circles(drawn) == [(0, 40, "a"), (200, 100, "b")]


@given(st.lists(st.tuples(*[st.floats(-1e6, 1e6)] * 2), min_size=1, max_size=12), st.booleans())
def test_points_keep_their_order_and_lie_within_the_frame(points: list[Point], square: bool) -> None:
    drawn = scatter(points, labels=[str(number) for number in range(len(points))], square=square)
    found = circles(drawn)
    across, up = frame(drawn)
    assert [label for _, _, label in found] == [str(number) for number in range(len(points))]
    for (left, top, _), (x, y) in zip(found, points, strict=True):
        assert 0 <= left <= across
        assert 0 <= top <= up
        for (other_left, other_top, _), (other_x, other_y) in zip(found, points, strict=True):
            assert (left <= other_left) or x > other_x
            assert (top >= other_top) or y > other_y


def test_with_one_scale_distances_are_the_same_in_both_directions() -> None:
    found = circles(scatter([(0, 0), (3, 0), (0, 3)], labels=["a", "b", "c"], square=True))
    (x, y, _), (right, _, _), (_, top, _) = found
    assert right - x == pytest.approx(y - top, abs=0.2)
    assert right - x > 100


def test_what_is_drawn_beneath_has_the_units_of_the_points() -> None:
    drawn = scatter([(20, 10), (140, -37)], labels=["a", "b"], bounds=(-180, 180, -90, 90), under='<path d="M20 10"/>', height=200)
    (group,) = [each for each in read(drawn).iter("g") if each.attrib["class"] == "under"]
    a, b, c, d, e, f = map(float, re.findall(r"-?[\d.]+(?:e-?\d+)?", group.attrib["transform"]))
    for (x, y), (left, top, _) in zip([(20, 10), (140, -37)], circles(drawn), strict=True):
        assert (a * x + c * y + e, b * x + d * y + f) == pytest.approx((left, top), abs=0.06)


def test_kinds_have_their_colours_and_their_numbers() -> None:
    kinds = ["noun", "verb", "noun", "rare", "noun", "verb"]
    drawn = scatter([(number, number) for number in range(6)], labels=list("abcdef"), kinds=kinds, colours={"rare": "#123456"})
    groups = [each for each in read(drawn).iter("g") if "kind" in each.attrib["class"]]
    assert [each.attrib["class"] for each in groups] == ["kind", "kind k0", "kind k1"]
    assert [each.attrib.get("style") for each in groups] == ["--k: #123456", None, None]
    assert [[circle.findtext("title") for circle in each] for each in groups] == [
        ["d (rare)"],
        ["a (noun)", "c (noun)", "e (noun)"],
        ["b (verb)", "f (verb)"],
    ]
    legend = ["".join(each.itertext()).strip() for each in read(drawn).iter("span")]
    assert legend == ["rare 1", "noun 3", "verb 2"]
    assert [each.attrib["data-k"] for each in read(drawn).iter("span")] == [each.attrib["data-k"] for each in groups] == ["0", "1", "2"]
    assert "<p" not in scatter([(0, 0)], labels=["a"])
    assert "<p" not in scatter([(0, 0)], labels=["a"], kinds=["noun"], legend=False)


def test_many_kinds_have_rings_and_then_no_colour() -> None:
    kinds = [f"kind {number:02d}" for number in range(2 * COLOURS + 2)]
    looks = re.findall(r'<span class="kind ([^"]*)"', legend_of(kinds))
    assert looks[:COLOURS] == [f"k{number}" for number in range(COLOURS)]
    assert looks[COLOURS:] == [f"k{number} ring" for number in range(COLOURS)] + ["rest", "rest"]


def test_no_text_adds_a_tag_or_turns_a_line() -> None:
    drawn = scatter(
        [(0, 0), (1, 1)],
        labels=[HOSTILE, "b"],
        kinds=[HOSTILE, "k"],
        colours={HOSTILE: 'red" onload="alert(1)'},
        x=HOSTILE,
        y=HOSTILE,
        title=HOSTILE,
    )
    plain = scatter([(0, 0), (1, 1)], labels=["a", "b"], kinds=["a", "k"], colours={"a": "red"}, x="x", y="y", title="t")
    assert [each.tag for each in read(drawn).iter()] == [each.tag for each in read(plain).iter()]
    assert [sorted(each.attrib) for each in read(drawn).iter()] == [sorted(each.attrib) for each in read(plain).iter()]
    assert not {"\u202e", "\x1b"} & set(drawn)


def test_some_thousand_points_stay_small() -> None:
    points = [(number / 7, number % 97) for number in range(4000)]
    drawn = scatter(points, labels=["a word in its sentence, with what stands around it " * 2] * 4000, kinds=["NOUN", "VERB"] * 2000)
    assert len(circles(drawn)) == 4000
    assert len(drawn.encode()) < 1_000_000
    long = scatter([(0, 0)], labels=["x" * 5000])
    assert len(circles(long)[0][2]) == LONGEST


@pytest.mark.parametrize(
    ("points", "labels", "bounds", "said"),
    [
        ([(0.0, 0.0)], ["a", "b"], None, "1 points, 2 labels"),
        ([(0.0, float("nan"))], ["a"], None, "not finite"),
        ([(float("inf"), 0.0)], ["a"], None, "not finite"),
        ([(0.0, 0.0)], ["a"], (0.0, 0.0, 1.0, 2.0), "no area"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    points: list[Point], labels: list[str], bounds: tuple[float, float, float, float], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        scatter(points, labels=labels, bounds=bounds)


def test_a_page_knows_whether_it_has_one() -> None:
    assert is_scatter(scatter([], labels=[]))
    assert is_scatter(scatter([(1, 1), (1, 1)], labels=["a", "b"]))
    assert not is_scatter('<svg class="map"></svg>')
