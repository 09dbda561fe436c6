"""`explicate probe view` to the end, and its page."""

import json
import re
import shutil
from collections.abc import Callable
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from analyzers.errors import ExplicateError
from evals.probes.view_results import Plane, Point, Viewed, ViewedLayer
from evals.results import Failure, Value
from explicate.commands.probe_view import view
from explicate.probe_view_page import BINS, kinds_of, render

HOSTILE = "\u202e</title></svg><script>alert(1)</script>{{ 7 * 7 }}\x1b"

DOCUMENTED = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")

app = typer.Typer()
app.command()(view)


def value(of: float) -> Value:
    return Value(value=of, low=of - 0.125, high=of + 0.125, n=30)


def found(text: str = "word", *, numbers: bool = False, points: int = 30) -> Viewed:
    figures = {name: value(0.5) for name in ("trustworthiness", "neighbours_kept", "neighbours_kept_over_random", "same_label")}
    planes = {
        name: Plane(x=[float(number % 7) for number in range(points)], y=[float(number % 5) for number in range(points)], figures=figures)
        for name in ("pca", "probe")
    }
    planes["neighbours"] = Plane(failure=Failure(stage="view", reason=text))
    return Viewed(
        model={"name": text},
        task=text,
        labelled="numbers" if numbers else "labels",
        columns=["latitude", "longitude"] if numbers else [],
        source={text: "ab12"},
        seed=7,
        items={"shown": points, "fitted": points},
        unit=text,
        pool="mean",
        neighbours=10,
        chance=0.25,
        points=[
            Point(
                text=f"{text} {number}",
                context=f"before [{text} {number}] after",
                label=None if numbers else ["noun", "verb", text][number % 3],
                numbers=[number, -10 * number] if numbers else None,
            )
            for number in range(points)
        ],
        layers=[
            ViewedLayer(layer=layer, explained=[0.5, 0.125], planes=planes, controls={"random_plane": figures}, same_label=value(0.75))
            for layer in (0, 8)
        ],
        notes=[text],
    )


class Read(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}


def text_of(markup: str) -> str:
    return unescape(re.sub(r"\s+", " ", re.sub("<[^>]*>", "", markup.partition("</head>")[2].partition("<script>")[0])))


@pytest.mark.parametrize("family", ["llama", "bert"])
def test_a_model_is_drawn_to_the_end(family: str, tiny_checkpoint: Callable[[str], Path], workplace: Path) -> None:
    out = workplace / "view.html"
    called = [str(tiny_checkpoint(family)), "--layers", "0,3", "--limit", "40", "--dtype", "float32", "--json", "-o", str(out)]
    result = CliRunner().invoke(app, called, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told.pop("report") == str(out)
    viewed = Viewed.model_validate(told)
    shown = viewed.items["shown"]
    assert len(viewed.points) == shown == 40
    assert [layer.layer for layer in viewed.layers] == [0, 3]
    for layer in viewed.layers:
        assert all(len(plane.x) == shown for plane in layer.planes.values())
        assert isinstance(layer.planes["pca"].figures["trustworthiness"], Value)
    told = DOCUMENTED.split("### The views of `explicate probe view`")[1].split("###")[0]
    named = (*layer.planes, *layer.planes["pca"].figures, *layer.controls)
    assert [name for name in named if f"`{name}`" not in told] == []
    page = out.read_text("utf-8")
    assert page.count("<circle") == 2 * 3 * shown
    assert "Distances between groups in t-SNE mean nothing." in page
    again = CliRunner().invoke(app, called[:-3], catch_exceptions=False, env={"COLUMNS": "160"})
    assert again.exit_code == 0, again.output
    assert re.findall(r"layer (\d+), components", again.stdout) == ["0", "3"]
    assert "control: random plane" in " ".join(again.stdout.split())


def test_every_field_is_documented() -> None:
    row = next(line for line in DOCUMENTED.splitlines() if line.startswith("| `explicate probe view` |"))
    assert [name for name in (*Viewed.model_fields, *Point.model_fields) if f"`{name}`" not in row] == []
    told = DOCUMENTED.split("### The views of `explicate probe view`")[1].split("###")[0]
    assert [name for name in (*ViewedLayer.model_fields, *Plane.model_fields) if f"`{name}`" not in told] == []


def test_a_table_of_places_is_drawn(tiny_checkpoint: Callable[[str], Path], workplace: Path) -> None:
    lines = [f"place number {number},{number - 30},{3 * number - 90}" for number in range(60)]
    Path("places.csv").write_text("\n".join(["name,latitude,longitude", *lines]) + "\n", encoding="utf-8")
    called = [str(tiny_checkpoint("gpt2")), "--csv", "places.csv", "--label", "latitude,longitude", "-o", "places.json"]
    result = CliRunner().invoke(app, called, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    viewed = Viewed.model_validate_json(Path("places.json").read_text("utf-8"))
    assert (viewed.labelled, viewed.columns, viewed.pool) == ("numbers", ["latitude", "longitude"], "last")
    assert viewed.items["shown"] == viewed.items["fitted"] == 30


def test_words_of_ones_own_texts_are_drawn(tiny_checkpoint: Callable[[str], Path], workplace: Path) -> None:
    called = [str(tiny_checkpoint("bert")), "--text", "They sat on the bank of a river.", "--text", "The bank lent money.", "--json"]
    result = CliRunner().invoke(app, called, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    viewed = Viewed.model_validate_json(result.stdout)
    assert [layer.layer for layer in viewed.layers] == [2]
    assert set(viewed.layers[0].planes) == {"pca", "neighbours"}
    assert {point.label for point in viewed.points} == {"text 1", "text 2"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--layers 9", "0-3"),
        ("--task nothing", "no task is called 'nothing'"),
        ("--pool middle", "choose mean"),
        ("--pool start", "decoder"),
        ("-o view.svg", ".html, .json"),
        ("--csv none.csv", "there is no file"),
        ("--text one --conllu a.conllu", "give one of them"),
    ],
)
def test_bad_input_is_told_in_a_line(arguments: str, said: str, tiny_checkpoint: Callable[[str], Path], workplace: Path) -> None:
    with pytest.raises(ExplicateError, match=re.escape(said)) as told:
        CliRunner().invoke(app, [str(tiny_checkpoint("llama")), *arguments.split()], catch_exceptions=False)
    assert "\n" not in str(told.value)


def test_the_page_has_every_view_and_what_it_keeps() -> None:
    page = render(found())
    told = text_of(page)
    assert re.findall(r"<h2>(Layer \d+)</h2>", page) == ["Layer 0", "Layer 8"]
    assert page.count("<svg") == 4
    assert page.count("None: word") == 2
    assert "Principal components0.500 [0.375, 0.625]" in told
    assert "control: random plane" in told
    assert "62.5% of the variance" in told
    assert "knowing nothing of where points lie, 0.250 would" in told
    assert "noun 10" in told
    # What stands around a word is in the page once, in the first view.
    assert page.count("before [word 3] after") == 1


def test_numbers_have_colours_in_their_order_with_as_many_points_each() -> None:
    kinds, colours = kinds_of(found(numbers=True))
    longitudes = [-10 * number for number in range(30)]
    assert len(colours) == BINS
    assert [kinds.count(name) for name in colours] == [5] * BINS
    order = [list(colours).index(kind) for _, kind in sorted(zip(longitudes, kinds, strict=True))]
    assert order == sorted(order)
    page = render(found(numbers=True))
    assert "By longitude:" in page
    assert "longitude, predicted" in page
    same = found(numbers=True)
    for point in same.points:
        point.numbers = [3.0]
    assert set(kinds_of(same)[0]) == {"3"}


def test_what_a_text_says_adds_no_tag_and_turns_no_line() -> None:
    hostile, plain = render(found(HOSTILE)), render(found("z"))
    assert not {"\u202e", "\x1b"} & set(hostile)
    assert Read(hostile).tags == Read(plain).tags
    assert not {"src", "href", "onload"} & Read(hostile).attributes
    assert "script-src 'sha256-" in hostile


def test_a_browser_tells_a_point_in_all_views(tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="the extra with playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no Chromium on this machine: apt install chromium")
    file = tmp_path / "view.html"
    file.write_text(render(found(points=6)), encoding="utf-8")
    said: list[str] = []
    arguments = "--no-sandbox --disable-gpu --disable-dev-shm-usage"
    with playwright.sync_playwright() as driver, driver.chromium.launch(executable_path=chromium, args=arguments.split()) as browser:
        for width in (1200, 390):
            tab = browser.new_context(viewport={"width": width, "height": 900}).new_page()
            tab.on("console", lambda message: said.append(message.text))
            tab.goto(file.as_uri())
            scroll, client = tab.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
            assert scroll <= client
            last = tab.locator(".scatter svg").nth(3)
            last.evaluate("each => each.scrollIntoView({block: 'center'})")
            box = last.locator("circle").nth(0).bounding_box()
            tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
            assert tab.locator("#said-of").inner_text().startswith("before [word 0] after")
            assert tab.locator("circle.at").count() == 4
    assert said == []
