"""The page of a probe: what it claims is what was found, no text can break it, and a real browser shows it."""

import re
import shutil
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from evals.probes.results import Baseline, Layer, Lift, Probed
from evals.results import Failure, Value
from explicate.probe_page import MAIN_HEIGHT, MAIN_WIDTH, Drawing, page
from explicate.scatter import scatter

TURNED = "\u202e"
HOSTILE = f"{TURNED}</span><script>alert(1)</script>{{{{ 7 * 7 }}}}\x1b"
GONE = Failure(stage="probe", reason="it did not converge")


class Read(HTMLParser):
    """Tags with their attributes, in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))


def value(of: float, spread: float = 0.125) -> Value:
    return Value(value=of, low=of - spread, high=of + spread, n=150)


def lift(of: float, *, spread: float = 0.125, p: float = 0.001) -> Lift:
    return Lift(value=of, low=of - spread, high=of + spread, n=150, p=p)


def found(lifts: dict[str, Lift | Failure] | None = None, *, text: str = "plain") -> Probed:
    accuracies = [0.25, 0.5, 0.875, 0.75]
    return Probed(
        kind="labels",
        model={"name": text, "dtype": "float32"},
        task=text,
        source={f"{text}.conllu": "ab12"},
        seed=7,
        items={"train": 4000, "test": 150, "left_out": 2},
        unit="sentences",
        pool="mean",
        main="accuracy",
        best=2,
        layers=[Layer.of(layer, {"accuracy": value(of), "selectivity": value(of / 2)}) for layer, of in enumerate(accuracies)],
        baselines={
            "layer0": Baseline.of({"accuracy": value(0.25)}, at=0),
            "majority": Baseline.of({"accuracy": value(0.125, 0)}),
            "random_init": Baseline.of({"accuracy": value(0.5)}, at=1),
        },
        lifts={"layer0": lift(0.625), "majority": lift(0.75), "random_init": lift(0.375)} if lifts is None else lifts,
        curves={"mlp": [Layer.of(layer, {"accuracy": value(of)}) for layer, of in enumerate(accuracies)]},
        figures={"centre_of_gravity": value(1.5), f"accuracy/{text}": GONE},
        notes=[f"a note, {text}"],
    )


def text_of(markup: str) -> str:
    return unescape(re.sub(r"\s+", " ", re.sub("<[^>]*>", "", markup.partition("</head>")[2])))


def points(drawn: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (point.split(",") for point in drawn.split())]


def test_the_headline_has_the_figure_its_interval_and_chance() -> None:
    told = text_of(page(found(), title="What it knows"))
    assert "At layer 2, the probe gets accuracy 0.875 [0.750, 1.000]; knowing nothing (commonest label) gets 0.125." in told
    assert "Above every baseline: Seen" in told
    assert "train 4,000, test 150, left out 2. Intervals are of 95%, over sentences." in told
    assert "not that the model uses it" in told


@pytest.mark.parametrize(
    ("lifts", "word", "which"),
    [
        ({"layer0": lift(0.5), "majority": lift(0.5)}, "Seen", ""),
        ({"layer0": lift(0.5), "majority": lift(0.125)}, "Not seen", "commonest label"),  # touches 0
        ({"layer0": lift(0.5, p=0.05), "majority": lift(0.5)}, "Not seen", "layer 0"),
        ({"layer0": lift(-0.5, p=1.0), "majority": lift(0.125)}, "No, it lies below", "layer 0"),
        ({"layer0": lift(0.5), "majority": GONE}, "Not measured", "commonest label"),
        ({"layer0": GONE, "majority": lift(0.0, p=0.5)}, "Not seen", "commonest label"),
        ({}, "Not measured", "there is no baseline"),
    ],
)
def test_it_claims_what_holds_for_every_baseline(lifts: dict[str, Lift | Failure], word: str, which: str) -> None:
    shown = page(found(lifts), title="t")
    claim = re.search(r'class="claim">Above every baseline: <b class="\w+">([^<]*)</b>( <small>([^<]*)</small>)?', shown)
    assert claim is not None
    assert (claim[1], claim[3] or "") == (word, which)


def test_every_lift_has_its_row_on_one_axis() -> None:
    shown = page(found({"layer0": lift(0.5), "majority": lift(-0.5), "random_init": GONE}), title="t")
    rows = shown.split('<div class="card lifts">')[1].split('<div class="row')[1:]
    # From -1 to 1 in steps of .5.
    at = [re.findall(r'class="dot" style="left:([\d.]+)%', row) for row in rows]
    assert at == [["75.0"], ["25.0"], [], []]
    assert re.findall(r'class="interval" style="left:([\d.]+)%;width:([\d.]+)%', rows[0]) == [("68.75", "12.5")]
    for row, said in zip(rows, ("Seen", "The opposite", "Not measured"), strict=False):
        assert f">{said}</b>" in row
    assert "+0.500 [+0.375, +0.625], p = 0.001" in text_of("</head>" + rows[0])
    assert "0.250 [0.125, 0.375]" in rows[0]
    assert "random weights, layer 1" in rows[2]
    assert "it did not converge" in rows[2]


def test_the_chart_has_the_layers_the_chosen_one_and_the_baselines() -> None:
    shown = page(found(), title="t")
    chart = shown.split('<div class="on-wide">')[1].split("</svg>")[0]
    assert re.search(rf'viewBox="-42 -8 [\d.]+ {MAIN_HEIGHT + 44}"', chart)
    # The axis goes from 0 to 1; the probe's own line is drawn last.
    lines = [points(each) for each in re.findall(r'<polyline points="([^"]*)"', chart)]
    expected = [(MAIN_WIDTH * layer / 3, MAIN_HEIGHT * (1 - of)) for layer, of in enumerate((0.25, 0.5, 0.875, 0.75))]
    assert [point for line in lines[-1:] for point in line] == [pytest.approx(point, abs=0.06) for point in expected]
    assert re.findall(r'<g class="(\w+)">', chart) == ["line3", "line0"]
    marked = re.findall(r'<line class="marked" x1="([\d.]+)"', chart)
    assert [float(x) for x in marked] == pytest.approx([2 * MAIN_WIDTH / 3], abs=0.06)
    levels = {name: float(y) for y, name in re.findall(r'class="level" [^>]*y1="([\d.]+)".*?<text[^>]*>([^<]*)</text>', chart)}
    assert levels == {
        "layer 0 0.250": pytest.approx(0.75 * MAIN_HEIGHT, abs=0.06),
        "commonest label 0.125": pytest.approx(0.875 * MAIN_HEIGHT, abs=0.06),
        "random weights 0.500": pytest.approx(0.5 * MAIN_HEIGHT, abs=0.06),
    }
    assert "the probe, layer 2: 0.875 [0.750, 1.000]" in chart
    assert "<figcaption>Selectivity</figcaption>" in shown


def test_what_has_a_curve_is_no_line_across() -> None:
    probed = found()
    curve = [Layer.of(layer, {"accuracy": value(0.5)}) for layer in range(4)]
    shown = page(probed.model_copy(update={"curves": {"random_init": curve}}), title="t")
    chart = shown.split('<div class="on-wide">')[1].split("</svg>")[0]
    assert re.findall(r'<g class="(\w+)">', chart) == ["random", "line0"]
    assert "random weights 0.500" not in chart


def test_all_figures_stand_in_tables() -> None:
    shown = page(found(), title="t")
    told = text_of(shown)
    for said in ("centre of gravity1.500 [1.375, 1.625]150", "none: it did not converge", "a note, plain", "ab12", "Seed 7", "pool"):
        assert said in told
    tables = shown.split('<details class="all">')[1].split("</details>")[0]
    assert re.findall("<h3>(.*?)</h3>", tables) == ["the probe", "MLP probe", "baselines"]
    best = re.findall('<tr class="best">(.*?)</tr>', tables)
    assert len(best) == 1
    assert re.findall("<td[^>]*>(.*?)</td>", best[0]) == ["2", "0.875 [0.750, 1.000]", "0.438 [0.312, 0.562]"]


def test_drawings_are_put_in_as_they_are_and_told_in_words() -> None:
    drawn = Drawing("A tree <1>", "It shows & hides.", '<svg class="tree"><path d="M0 0"/></svg>', wide=True)
    shown = page(found(), title="t", drawings=[drawn])
    assert drawn.svg in shown
    assert "A tree &lt;1&gt;" in shown
    assert "It shows &amp; hides." in shown
    assert '<figure class="card wide">' in shown


def test_only_a_page_with_points_has_a_script_and_it_may_run_no_other() -> None:
    plain = page(found(), title="t", drawings=[Drawing("a", "b", "<svg></svg>")])
    pointed = page(found(), title="t", drawings=[Drawing("a", "b", scatter([(0, 0)], labels=["x"]))])
    assert [tag for tag, _ in Read(plain).elements].count("script") == 0
    assert "script-src" not in plain
    assert [tag for tag, _ in Read(pointed).elements].count("script") == 1
    assert "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-" in pointed


def test_what_a_text_says_adds_no_tag_and_turns_no_line() -> None:
    def shown(text: str) -> str:
        gone = Failure(stage="s", reason=text)
        probed = found({"layer0": lift(0.5), text: gone}, text=text)
        more = {text: [Layer.of(0, {"accuracy": gone, text: value(0.5)})]}
        baselines = {**probed.baselines, text: Baseline.of({"accuracy": value(0.5), text: gone}, at=3)}
        probed = probed.model_copy(update={"curves": more, "baselines": baselines, "unit": text, "items": {text: 3}})
        return page(probed, title=text, drawings=[Drawing(text, text, "<svg></svg>")])

    hostile, plain = shown(HOSTILE), shown("c")
    assert not {TURNED, "\x1b"} & set(hostile)
    assert [tag for tag, _ in Read(hostile).elements] == [tag for tag, _ in Read(plain).elements]
    assert "{{ 7 * 7 }}" in unescape(hostile)


def test_the_page_loads_nothing() -> None:
    shown = page(found(), title="t", drawings=[Drawing("a", "b", scatter([(0, 0)], labels=["x"]))])
    assert shown.startswith("<!doctype html>")
    assert "default-src 'none'" in shown
    assert not [attributes for _, attributes in Read(shown).elements if {"src", "href"} & set(attributes)]
    assert not re.findall(r"https?://|url\(", shown)


def test_one_layer_and_nothing_beside_it_is_a_page_too() -> None:
    bare = found({}).model_copy(update={"baselines": {}, "curves": {}, "figures": {}, "notes": [], "layers": found().layers[2:3]})
    told = text_of(page(bare, title="t"))
    assert "At layer 2, the probe gets accuracy 0.875 [0.750, 1.000]." in told
    gone = bare.model_copy(update={"layers": [Layer.of(2, {"accuracy": GONE})]})
    assert "accuracy none: it did not converge" in text_of(page(gone, title="t"))


def test_a_browser_shows_it_on_screens_of_any_width(tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="the extra with playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no Chromium on this machine: apt install chromium")
    file = tmp_path / "probe.html"
    drawn = scatter([(0, 0), (1, 2), (3, 1)], labels=["one", "two", "three"], kinds=["a", "a", "b"])
    probed = found(text="long" * 30)
    probed = probed.model_copy(update={"baselines": {**probed.baselines, "log_probability": Baseline.of({"accuracy": value(-0.125)})}})
    file.write_text(page(probed, title="w" * 80, drawings=[Drawing("d", "s", drawn, wide=True)]), encoding="utf-8")
    said: list[str] = []
    arguments = "--no-sandbox --disable-gpu --disable-dev-shm-usage"
    with playwright.sync_playwright() as driver, driver.chromium.launch(executable_path=chromium, args=arguments.split()) as browser:
        for width in (1200, 390):
            tab = browser.new_context(viewport={"width": width, "height": 900}).new_page()
            tab.on("console", lambda message: said.append(message.text))
            tab.goto(file.as_uri())
            tab.locator("details summary").click()
            scroll, client = tab.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
            assert scroll <= client
            assert tab.locator(".on-wide svg").is_visible() == (width == 1200)
            assert tab.locator(".on-narrow svg").is_visible() == (width == 390)
            cut = "drawn => [...drawn.querySelectorAll('text')].filter(name => right(name) > right(drawn)).map(name => name.textContent)"
            right = "const right = each => each.getBoundingClientRect().right;"
            assert tab.locator(".on-wide svg").evaluate(f"drawn => {{ {right} return ({cut})(drawn); }}") == []
            tab.locator(".scatter svg").scroll_into_view_if_needed()
            box = tab.locator(".scatter circle").nth(1).bounding_box()
            tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
            assert tab.locator("#said-of").inner_text() == "two (a)"
            # A kind alone: what is not of it cannot be pointed at, until it is chosen once more.
            tab.locator(".kinds .kind").nth(1).click()
            tab.mouse.move(box["x"] + 2, box["y"] + 2)
            assert tab.locator("#said-of").is_hidden()
            tab.locator(".kinds .kind").nth(1).press("Enter")
            tab.mouse.move(box["x"] + 3, box["y"] + 3)
            assert tab.locator("#said-of").inner_text() == "two (a)"
    assert said == []


@pytest.mark.parametrize(
    ("main", "baselines", "said"),
    [
        ("auroc", {"majority": Baseline.of({"auroc": GONE})}, "knowing nothing (chance) gets 0.500."),
        (
            "r2",
            {"shuffled": Baseline.of({"r2": value(-0.125)}), "mean": Baseline.of({"r2": value(0.0)})},
            "(mean of the targets) gets 0.000.",
        ),
        ("uuas", {"chance": Baseline.of({"uuas": value(0.25)})}, "knowing nothing (chance) gets 0.250."),
        ("accuracy", {"layer0": Baseline.of({"accuracy": value(0.25)}, at=0)}, "accuracy 0.875 [0.750, 1.000]."),
    ],
)
def test_chance_is_what_was_measured_or_what_is_known_beforehand(main: str, baselines: dict[str, Baseline], said: str) -> None:
    layers = [Layer.of(2, {main: value(0.875)})]
    probed = found({}).model_copy(update={"main": main, "layers": layers, "baselines": baselines, "curves": {}})
    assert said in text_of(page(probed, title="t"))
