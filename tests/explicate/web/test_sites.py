"""All sites of a run: searched, filtered, ordered, paged, and drawn by layer; hostile text stays text."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from evals.database import Database
from evals.results import Failure, SiteResult, Value

LABELS = ["L0.mlp.3", "L0.mlp.3-", "L1.mlp.7", "L2.mlp.9-"]


@pytest.fixture
def run(store: Database, label_run: Callable[..., Path], tmp_path: Path) -> str:
    return store.add_run(label_run(tmp_path / "labels"))


def _labels(client: TestClient, run: str, **query: Any) -> list[str]:
    found = client.get(f"/api/runs/{run}/sites", params=query)
    assert found.status_code == 200, found.text
    return [site["label"] for site in found.json()["sites"]]


def _shown(page: str) -> list[str]:
    return re.findall(r'<a class="site" href="[^"]*/sites/([^"]+)"', page)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["L0.mlp.3", "L2.mlp.9-", "L0.mlp.3-", "L1.mlp.7"]),
        ({"order": "site"}, LABELS),
        ({"order": "lift"}, ["L0.mlp.3", "L2.mlp.9-", "L0.mlp.3-", "L1.mlp.7"]),
        ({"q": "BRIDGE towns"}, ["L2.mlp.9-"]),
        ({"q": "bridge herons"}, []),
        ({"q": "L0.mlp.3"}, ["L0.mlp.3", "L0.mlp.3-"]),
        ({"layer": 0}, ["L0.mlp.3", "L0.mlp.3-"]),
        ({"min_score": 0.5}, ["L0.mlp.3", "L2.mlp.9-"]),
        ({"min_lift": 0.2}, ["L0.mlp.3"]),
        ({"layer": 0, "min_lift": 0.0, "q": "the word"}, ["L0.mlp.3"]),
        ({"limit": 2, "offset": 1, "order": "site"}, ["L0.mlp.3-", "L1.mlp.7"]),
    ],
)
def test_search_filters_order_and_paging(client: TestClient, run: str, query: dict[str, Any], expected: list[str]) -> None:
    assert _labels(client, run, **query) == expected
    if "limit" not in query:
        # As a form sends it: what was left empty is there.
        form = {"q": "", "layer": "", "min_score": "", "min_lift": ""} | query
        assert _shown(client.get(f"/runs/{run}/sites", params=form).text) == expected


def test_a_page_says_how_many_there_are_and_leads_to_the_next(
    store: Database, client: TestClient, label_run: Callable[..., Path], tmp_path: Path
) -> None:
    none = Failure(stage="score", reason="none")
    score = Value(value=0.5, low=0.4, high=0.6, n=9)
    sites = [
        SiteResult(
            site=f"L{at // 60}.mlp.{at}",
            polarity="+",
            explanation=f"word {at}",
            explainer="x",
            simulator="y",
            scores={"pearson": score},
            lift=none,
        )
        for at in range(120)
    ]
    run = store.add_run(label_run(tmp_path / "many", sites=sites))
    seen: list[str] = []
    path = f"/runs/{run}/sites?order=site&q=word"
    while path:
        page = client.get(path).text
        assert "120 of 120 sites" in page
        seen += _shown(page)
        following = re.search(r'rel="next" href="([^"]+)"', page)
        path = following[1].replace("&amp;", "&") if following else ""
    assert seen == [f"L{at // 60}.mlp.{at}" for at in range(120)]


def test_the_map_counts_every_scored_site_once_and_its_cells_lead_to_them(client: TestClient, run: str) -> None:
    page = client.get(f"/runs/{run}/sites").text
    cells = re.findall(r'<a tabindex="-1" href="(\?[^"]+)" title="layer (\d+), score from ([\d.]+): (\d+) site', page)
    assert [(int(layer), float(least), int(n)) for _, layer, least, n in cells] == [(0, 0.8, 1), (0, 0.3, 1), (2, 0.5, 1)]
    assert _shown(client.get(f"/runs/{run}/sites{cells[1][0].replace('&amp;', '&')}").text) == ["L0.mlp.3", "L0.mlp.3-"]


def test_hostile_text_stays_text(client: TestClient, run: str) -> None:
    page = client.get(f"/runs/{run}/sites", params={"q": "<script>"}).text
    assert "<script>alert" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert _shown(page) == ["L0.mlp.3-"]


@pytest.mark.parametrize("query", ["layer=two", "min_score=much", "min_lift=nan", "min_score=inf", "order=none", "offset=-1"])
def test_what_is_no_filter_is_a_page_that_says_so(client: TestClient, run: str, query: str) -> None:
    answer = client.get(f"/runs/{run}/sites?{query}")
    assert answer.status_code == 422
    assert query.partition("=")[0].removeprefix("min_") in answer.text
    assert client.get(f"/api/runs/{run}/sites?{query}").status_code == 422


def test_other_runs_and_runs_that_are_not_there(
    store: Database, client: TestClient, audit_run: Callable[..., Path], tmp_path: Path
) -> None:
    audit = store.add_run(audit_run(tmp_path / "audit"))
    for path in (f"/runs/{audit}/sites", "/runs/none/sites", f"/runs/{quote('../../etc/passwd', safe='')}/sites"):
        assert client.get(path).status_code == 404
        assert client.get(f"/api{path}").status_code == 404
    assert "explicate audit" in client.get(f"/runs/{audit}/sites").text


def test_the_list_stays_when_the_folder_is_gone(client: TestClient, run: str, tmp_path: Path) -> None:
    (tmp_path / "labels" / "results.json").unlink()
    assert _labels(client, run, order="site") == LABELS


def test_a_browser_filters_while_one_types(run: str, browse: Callable[..., Any], tmp_path: Path) -> None:
    page = browse(f"/runs/{run}/sites")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_label("Search").press_sequentially("bridge")
    page.wait_for_url("**q=bridge*")
    assert page.locator("#found tbody tr").count() == 1
    assert page.screenshot(path=tmp_path / "sites.png")
    assert page.trouble() == []
