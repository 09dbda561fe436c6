"""The page of a continuation: what is drawn is what was found, no text can break it, and a real browser shows it."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from evals.continuation import KINDS, Continuation, ContinuationBy, ControlBy, Curves, Instead
from evals.continuation_compare import Compared, Comparison, Control, PromptFailure
from evals.results import Failure, Value
from explicate.continuation_page import HEIGHT, WIDTH, render

TURNED = "\u202e"
HOSTILE = f"{TURNED}</span><script>alert(1)</script>{{{{ 7 * 7 }}}}\x1b"
GONE = Failure(stage="attribute", reason="this model has no door")


def curves(deletion: list[float], insertion: list[float]) -> Curves:
    return Curves(deletion=deletion, insertion=insertion, aopc={"deletion": 1.5, "insertion": 0.25})


def continued(units: list[str], values: list[float], *, text: str | None = None, compare: bool = True, target: str = " z") -> Continuation:
    """With one method that reads the model, occlusion, and one that failed; n + 1 points on a line from 0 to -n, and from -n to 0."""
    n = len(units)
    down, up = [float(-k) for k in range(n + 1)], [float(k - n) for k in range(n + 1)]
    held = {
        "deletion": down,
        "insertion": up,
        "aopc": {"deletion": 1.5, "insertion": 0.25},
        "normalised": {"deletion": 0.75, "insertion": Failure(stage="score", reason="all orders do the same")},
    }
    mine = held if compare else {}
    return Continuation(
        model={"name": "m", "dtype": "float32"},
        seed=3,
        text=" ".join(units) if text is None else text,
        chat=False,
        target=target,
        target_ids=[1],
        value=-1.0,
        instead=Instead(text=" y", value=-0.5),
        unlikely=False,
        notes=[],
        unit="word",
        units=units,
        outside=["<s>"],
        operator="delete",
        methods={
            "occlusion": ContinuationBy(values=values, sets=n + 1, **mine),
            "gradient-x-input": ContinuationBy(
                values=values[::-1], facts={"gap": 0.125, "share_outside_units": 0.0}, agreement={"occlusion": -0.5}, **mine
            ),
            "attention": GONE,
        },
        random=curves([0.0] + [float(-n)] * n, up) if compare else None,
        best=curves(down, up) if compare else None,
        texts_evaluated=1000,
    )


def compared(prompts: list[Continuation | PromptFailure]) -> Comparison:
    value = Value(value=0.5, low=0.25, high=0.75, n=9)

    def method(deletion: Value | Failure, *, trusted: bool) -> Compared:
        both = {"deletion": deletion, "insertion": deletion}
        return Compared.model_validate(
            {**both, "agreement": {"occlusion": value}, "aopc": both, "p": 0.01, "q": 0.02, "n": 9, "n_failed": 1}
            | {"lift": {kind: {**value.model_dump(), "over": "longer-first", "score": kind} for kind in KINDS} | {"occlusion": GONE}}
            | {"missing": [{"stage": "s", "reason": HOSTILE, "n": 1}], "void": False, "trusted": trusted}
        )

    return Comparison(
        model={"name": "m"},
        source="mine.jsonl",
        seed=0,
        chat=True,
        unit="word",
        operator="mask",
        comparison={"attention": method(GONE, trusted=False), "value-norm": method(value, trusted=True)},
        controls={
            "longer-first": Control(
                agreement={"occlusion": Value(value=0.125, low=0.0, high=0.25, n=9)},
                agreement_with_sizes={"occlusion": Value(value=-0.125, low=-0.25, high=0.0, n=9)},
                deletion=Value(value=0.25, low=0.125, high=0.375, n=9),
                insertion=GONE,
                aopc={"deletion": value, "insertion": value},
            )
        },
        random={"deletion": value, "insertion": value},
        best={"deletion": value, "insertion": value},
        too_few=False,
        notes=[],
        trusted=["value-norm"],
        prompts=prompts,
    )


class Read(HTMLParser):
    """The elements of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))


def test_every_method_shades_the_text_as_it_stands() -> None:
    page = render(continued(["Cold", "cold", "lovely"], [-0.5, 0.0, 1.0], text=" Cold , cold\nand lovely!"))
    readings = [part.split("</p>")[0] for part in page.split("<h2>The text</h2>")[1].split('<p dir="auto">')[1:3]]
    assert [re.sub(r"<[^>]*>", "", reading) for reading in readings] == [" Cold , cold\nand lovely!"] * 2
    shaded = [re.findall(r'--f:(\S+);--g:(\S+)" title="([^"]*)">(\w+)<', reading) for reading in readings]
    assert shaded[0] == [("0.00", "0.50", "-0.5", "Cold"), ("1.00", "0.00", "+1", "lovely")]
    assert [(each[3], each[0], each[1]) for each in shaded[1]] == [("Cold", "1.00", "0.00"), ("lovely", "0.00", "0.50")]
    for said in ("none: this model has no door", "gap 0.125", "<code>&lt;s&gt;</code>", "1,000 different prompts read", "probability 0.37"):
        assert said in page
    # What stands between units is in none of them, and may go with its neighbours.
    assert "(special tokens and those of a chat template are never taken away, what stands between units may go" in page
    # Where all values are in units, nothing is said of it.
    assert "share outside" not in page


@pytest.mark.parametrize(("gap", "said"), [(0.03, True), (0.009, False)])
def test_what_a_method_says_of_itself_is_told_and_where_it_did_not_converge(gap: float, said: bool) -> None:
    found = continued(["a", "b", "c"], [1.0, 2.0, 3.0], compare=False)
    steps = {"baseline": -9.5, "gap": 0.25, "relative_gap": gap, "steps": 256.0}
    path = ContinuationBy(values=[1.0, 2.0, 3.0], facts=steps)
    page = render(found.model_copy(update={"methods": {"integrated-gradients": path}}))
    assert f"baseline -9.5; gap 0.25; relative gap {gap}; steps 256" in page
    assert ("its values miss what they must add up to by 3.0%" in page) == said == ("its values miss" in page)


def test_methods_that_agree_with_sizes_are_named() -> None:
    one = continued(["a", "b", "c"], [1.0, 2.0, 3.0], compare=False)
    assert "without a sign" not in render(one)
    one.methods["value-norm"] = ContinuationBy(values=[1.0, 2.0, 3.0], signed=False, agreement={"occlusion": 0.5})
    assert "longer-first, sizes: -0.12 [-0.25, 0.00]" in render(compared([one]))
    for page in (render(one), render(compared([one]))):
        assert "Values without a sign (value-norm) are held against the sizes of those of occlusion, for or against." in page


def test_the_curves_are_what_was_found() -> None:
    page = render(continued(["a", "b", "c", "d"], [1.0, 2.0, 3.0, 4.0]))
    deletion = page.split("<h2>Taking units away</h2>")[1].split("<h2>Putting units in</h2>")[0]
    own = re.findall(r'class="own" points="([^"]*)"', deletion)
    assert len(own) == 2
    # From 0 to -4, on an axis from 0 to -4: a straight line through the whole drawing.
    expected = [(at * WIDTH / 4, HEIGHT * at / 4) for at in range(5)]
    points = [tuple(map(float, point.split(","))) for point in own[0].split()]
    assert points == [pytest.approx(point, abs=0.06) for point in expected]
    random = re.findall(r'class="random" points="([^"]*)"', deletion)[0].split()
    assert [float(point.split(",")[1]) for point in random] == pytest.approx([0, *[HEIGHT] * 4])
    assert "1.50 nats" in deletion
    held = page.split('<table class="held">')[1].split("</table>")[0]
    rows = [re.findall(r'<td class="n">([^<]*)</td>', row) for row in held.split("<tr>")[2:]]
    assert rows == [["", "1.50", "0.75", "0.25", "none"], ["-0.50", "1.50", "0.75", "0.25", "none"]]
    assert "Taking units away" not in render(continued(["a", "b"], [1.0, 2.0], compare=False))


def test_what_the_model_would_write_and_what_stands_against_it_is_told() -> None:
    one = continued(["a", "b"], [1.0, 2.0], compare=False)
    page = render(one)
    assert "the model would write &#39; y&#39;, probability 0.61" in page
    assert "note bad" not in page
    assert page.count("Not shown by this.") == 1
    noted = render(one.model_copy(update={"notes": [HOSTILE], "instead": Instead(text=" z", value=-1.0)}))
    assert "it is what the model would write itself" in noted
    assert noted.count('<p class="note bad" dir="auto">⟨U+202E⟩&lt;/span&gt;') == 1


def test_of_too_few_prompts_the_page_gives_no_verdict() -> None:
    few = compared([continued(["a", "b"], [1.0, 2.0])]).model_copy(update={"too_few": True, "trusted": [], "notes": ["Few prompts (1)."]})
    page = render(few)
    assert "Too few prompts to tell which method to trust." in page
    assert "Few prompts (1)." in page
    assert "No method is to be trusted" not in page
    assert page.count('<td><span class="dim">too few</span></td>') == 2
    assert "<td>yes</td>" not in page


def test_controls_stand_below_the_methods_of_one_text() -> None:
    one = continued(["a", "b", "c"], [1.0, 2.0, 3.0])
    by_hand: dict[str, Any] = {"aopc": {"deletion": 0.5, "insertion": 2.5}, "normalised": {"deletion": 0.25, "insertion": -0.25}}
    one.controls["later-first"] = ControlBy(values=[0.0, 1.0, 2.0], agreement={"occlusion": 1.0}, **by_hand)
    page = render(one)
    rows = page.split('<table class="held">')[1].split("</table>")[0].split("<tr")
    assert re.findall(r"<td[^>]*>([^<]*)</td>", rows[-1]) == ["later-first", "1.00", "0.50", "0.25", "2.50", "-0.25", "reads no model"]
    assert len(re.findall('class="line"', page)) == len(re.findall('class="line"', render(continued(["a", "b", "c"], [1.0, 2.0, 3.0]))))
    alone = continued(["a", "b", "c"], [1.0, 2.0, 3.0], compare=False)
    alone.controls["later-first"] = ControlBy(values=[0.0, 1.0, 2.0], agreement={"occlusion": 1.0})
    assert "later-first" not in render(alone)


def test_many_prompts_are_a_forest_with_those_to_trust_first() -> None:
    failed = PromptFailure(stage="attribute", reason="too long", text="a long one", target=" z")
    page = render(compared([continued(["a", "b"], [1.0, 2.0], text="a b"), failed]))
    assert "To trust on this model, best first: value-norm." in page
    deletion = page.split("<h3>Deletion")[1].split("<h3>")[0]
    assert deletion.index("value-norm") < deletion.index("attention")
    assert "none: this model has no door" in deletion
    # On an axis from -.5 to 1.
    places = [float(at) for at in re.findall(r'class="dot" style="left:([\d.]+)%', deletion)]
    assert places == pytest.approx([100 * (0.5 + 0.5) / 1.5, 100 * (0.25 + 0.5) / 1.5], abs=0.01)
    for said in ("2 prompts of mine.jsonl", "word by mask", "in its chat template", "Agreement with occlusion", "a long one", "too long"):
        assert said in page
    # Controls stand below the methods, and in the table what each method has above the best of them.
    assert deletion.index('title="longer-first: 0.25 [0.12, 0.38], n = 9"') > deletion.index("attention")
    assert 'title="longer-first: 0.12 [0.00, 0.25], n = 9"' in page.split("<h3>Agreement with occlusion")[1].split("<h3>")[0]
    assert "longer-first, sizes" not in page
    assert "Controls read no model: longer-first (the one with most characters)" in page
    row = page.split("<tr><td>value-norm")[1].split("</tr>")[0]
    assert re.sub(r"<[^>]*>", "|", row).count("+0.50 |[0.25, 0.75] over longer-first") == len(KINDS)
    assert row.index("none: this model has no door") < row.index("+0.50")
    nobody = compared([failed])
    nobody.trusted = []
    assert "No method is to be trusted" in render(nobody)


def test_what_a_text_says_adds_no_tag_and_turns_no_line() -> None:
    hostile, plain = (render(continued(["a", unit, "b"], [1.0, -0.5, 0.25], target=unit)) for unit in (HOSTILE, "c"))
    assert not {TURNED, "\x1b"} & set(hostile)
    assert [tag for tag, _ in Read(hostile).elements] == [tag for tag, _ in Read(plain).elements]
    assert "⟨U+202E⟩&lt;/span&gt;" in hostile
    assert "{{ 7 * 7 }}" in hostile
    many = render(compared([PromptFailure(stage="attribute", reason=HOSTILE, text=HOSTILE, target=HOSTILE)]))
    assert not {TURNED, "\x1b"} & set(many)
    assert not [tag for tag, _ in Read(many).elements if tag == "script"]


def test_the_page_loads_nothing() -> None:
    for page in (render(continued(["a", "b"], [0.0, 0.0])), render(compared([continued(["a", "b"], [1.0, 2.0])]))):
        assert page.startswith("<!doctype html>")
        assert "default-src 'none'" in page
        assert not [attributes for _, attributes in Read(page).elements if {"src", "href"} & set(attributes)]
        assert re.findall(r"[\d.]*\b(?:nan|inf)\b", page.partition("</style>")[2]) == []


@pytest.mark.parametrize("width", [1200, 390])
def test_a_browser_shows_it_whole(show: Callable[..., Any], tmp_path: Path, width: int) -> None:
    one = continued([f"word{at}" for at in range(30)], [float(at) for at in range(30)])
    for name, found in (("one", one), ("many", compared([one]))):
        (tmp_path / f"{name}.html").write_text(render(found), encoding="utf-8")
        tab = show(tmp_path / f"{name}.html", viewport={"width": width, "height": 900})
        for details in tab.query_selector_all("details"):
            details.query_selector("summary").click()
        assert tab.overflow() <= 0
        assert tab.locator(".reading .line").count() == 3
        if found is one:
            assert tab.locator("svg").count() == 4
            assert all(box["height"] > 60 for box in (each.bounding_box() for each in tab.locator("svg").all()))
