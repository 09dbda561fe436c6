"""The pages in a real browser: they ask nobody else, say nothing in the console, fit a phone, and work by keyboard and without scripts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evals.bench.database import fill_runs
from evals.database import Database

Build = Callable[..., Path]
FOCUSED = """(() => {
    const at = document.activeElement;
    return [at.tagName === "BODY" ? "" : at.id || at.getAttribute("href") || at.tagName, getComputedStyle(at).outlineStyle];
})()"""
"""What has the focus, and how that is seen."""


@pytest.fixture
def watched(store: Database, tmp_path: Path, label_run: Build) -> str:
    """Sixty runs of suites, and a labelling run with hostile texts that is held against another one; its id."""
    fill_runs(store, 60, 12)
    before = store.add_run(label_run(tmp_path / "before" / "labels"))
    known = store.add_run(label_run(tmp_path / "after" / "labels", revision="r2"))
    store.set_baseline("labels", before)
    return known


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390)])
def test_runs_and_run_are_drawn_whole_and_quiet(browse: Callable[..., Any], watched: str, scheme: str, width: int) -> None:
    for path in (
        "/",
        f"/runs/{watched}",
        f"/compare?run={watched}",
        "/trends?group=suite-01&task=task-0&name=metric-1&of=of-1",
        "/schedules",
    ):
        tab = browse(path, color_scheme=scheme)
        tab.set_viewport_size({"width": width, "height": 800})
        tab.wait_for_load_state("networkidle")
        assert tab.trouble() == [], path
        assert tab.overflow() <= 0, path
        assert tab.evaluate("getComputedStyle(document.querySelector('.top')).position") == "sticky"
        light = tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(247, 247, 244)"
        assert light == (scheme == "light")
        for svg in tab.query_selector_all("svg.spark, svg.chart"):
            box = svg.bounding_box()
            assert box is None or (box["width"] > 20 and box["height"] > 10)


def test_the_verdict_comes_into_the_page_of_a_run_by_itself(browse: Callable[..., Any], watched: str) -> None:
    tab = browse(f"/runs/{watched}")
    tab.wait_for_selector("#verdict")
    assert "Nothing is worse than the baseline" in tab.inner_text("#verdict")
    assert tab.trouble() == []


def test_the_list_is_searched_while_one_types(browse: Callable[..., Any], watched: str) -> None:
    tab = browse("/")
    assert tab.locator("table.runs tbody tr").count() == 25
    tab.fill("#q", "suite-07")
    # Not by a function in the page: its policy forbids to make one of a text.
    tab.locator("text=1 to 3 of 3").wait_for()
    assert tab.locator("table.runs tbody tr").count() == 3
    assert "q=suite-07" in tab.url
    tab.select_option("#kind", "label")
    tab.wait_for_selector(".empty")
    assert tab.trouble() == []


def test_pages_work_without_scripts(browse: Callable[..., Any], watched: str) -> None:
    tab = browse("/", java_script_enabled=False)
    tab.fill("#q", "suite-07")
    tab.click("form.filter button")
    assert tab.locator("table.runs tbody tr").count() == 3
    tab.click("table.runs tbody tr a >> nth=0")
    assert tab.inner_text("h1") == "suite-07"
    tab.goto(tab.url.split("/runs/")[0] + f"/runs/{watched}")
    tab.click("text=Compare them")
    assert "Nothing is worse" in tab.inner_text("main")


def test_everything_is_reached_by_keyboard(browse: Callable[..., Any], watched: str) -> None:
    tab = browse("/")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    tab.keyboard.press("Enter")
    assert tab.evaluate("location.hash") == "#main"
    reached: set[str] = set()
    for _ in range(120):
        tab.keyboard.press("Tab")
        name, outline = tab.evaluate(FOCUSED)
        assert outline != "none" or not name, name
        reached.add(name)
    assert {"q", "kind", "suite", f"/runs/{watched}"} <= reached
