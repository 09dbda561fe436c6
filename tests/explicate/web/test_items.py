"""An audit's items by disagreement, one item word by word, and the reliability diagrams of a measurement of confidence."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from evals.database import Database
from evals.run_folder import read_json

FIRST, SECOND = "attribution, explain-first", "attribution, predict-first"


@pytest.fixture
def run(store: Database, audit_run: Callable[..., Path], tmp_path: Path) -> str:
    return store.add_run(audit_run(tmp_path / "audit"))


@pytest.fixture
def confidence(store: Database, confidence_run: Callable[..., Path], tmp_path: Path) -> str:
    return store.add_run(confidence_run(tmp_path / "confidence"))


def _numbers(page: str) -> list[int]:
    return [int(each) for each in re.findall(r'class="number-of" href="[^"]*/items/(\d+)', page)]


def test_items_are_ordered_by_how_far_claim_and_truth_are_apart(client: TestClient, run: str) -> None:
    found = client.get(f"/api/runs/{run}/items").json()
    # Item 1 was explained as was found; item 2 the other way round: (2 + 0 + 2) / 3; item 3 not at all.
    assert [each["number"] for each in found["items"]] == [2, 1, 3]
    assert [each["disagreement"] for each in found["items"]] == [pytest.approx(4 / 3), pytest.approx(0), None]
    assert (found["way"], found["ways"], found["total"]) == (FIRST, [FIRST, SECOND], 3)
    page = client.get(f"/runs/{run}/items").text
    assert _numbers(page) == [2, 1, 3]
    assert "disagreement 1.33" in page
    assert "nothing to compare" in page


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"q": "SOUP"}, [2]),
        ({"q": "soup staff"}, []),
        ({"which": "wrong"}, [2]),
        ({"which": "right"}, [1, 3]),
        ({"which": "failed"}, [3]),
        ({"asked": SECOND}, [2, 1, 3]),
        ({"offset": 1}, [1, 3]),
    ],
)
def test_search_and_filters(client: TestClient, run: str, query: dict[str, Any], expected: list[int]) -> None:
    assert [each["number"] for each in client.get(f"/api/runs/{run}/items", params=query).json()["items"]] == expected
    assert _numbers(client.get(f"/runs/{run}/items", params=query).text) == expected


def test_an_item_has_its_words_shaded_by_claim_beside_truth(client: TestClient, run: str) -> None:
    page = client.get(f"/runs/{run}/items/1").text
    said, found = re.findall(r'<span class="name">(?:said|found)</span><p dir="auto">(.*?)</p>', page)[:2]
    strengths = [re.findall(r"--f:([\d.]+);--g:([\d.]+)", line) for line in (said, found)]
    assert strengths[0] == strengths[1] == [("1.00", "0.00"), ("0.50", "0.00")]
    assert "2nd of 3 by disagreement" in page
    other = client.get(f"/runs/{run}/items/2").text
    said, found = re.findall(r'<span class="name">(?:said|found)</span><p dir="auto">(.*?)</p>', other)[:2]
    assert re.findall(r"--f:([\d.]+);--g:([\d.]+)", said) == [("1.00", "0.00"), ("0.00", "1.00")]
    assert re.findall(r"--f:([\d.]+);--g:([\d.]+)", found) == [("0.00", "1.00"), ("1.00", "0.00")]
    assert other.count('<tr class="apart">') == 4  # two words, asked in two ways
    assert "0.125" in other
    assert 'rel="prev" href' not in other
    assert f'href="/runs/{run}/items/1"' in other
    failed = client.get(f"/runs/{run}/items/3").text
    assert "none: no list in" in failed


def test_the_json_of_an_item_is_what_the_folder_holds(client: TestClient, run: str, tmp_path: Path) -> None:
    lines = (tmp_path / "audit" / "items.jsonl").read_text(encoding="utf-8").splitlines()
    found = client.get(f"/api/runs/{run}/items/3").json()
    assert [each["order"] for each in found["lines"]] == ["explain-first", "predict-first"]
    assert [each["text"] for each in found["lines"]] == ["no idea"] * 2
    assert len(lines) == 6
    assert found["lines"][0]["attributions"]["self"]["failed"] is True
    assert found["disagreement"] is None


def test_hostile_text_stays_text(client: TestClient, run: str, confidence: str) -> None:
    for path in (f"/runs/{run}/items", f"/runs/{run}/items/2", f"/runs/{run}/items/3", f"/runs/{confidence}/reliability"):
        page = client.get(path).text
        assert "&lt;script&gt;alert(1)" in page, path
        assert "<script>alert" not in page
        assert "<img" not in page


@pytest.mark.parametrize("number", ["0", "4", "-1", "none", "99999999999999999999"])
def test_no_other_number_finds_anything(client: TestClient, run: str, number: str) -> None:
    assert client.get(f"/runs/{run}/items/{number}").status_code in (404, 422)
    assert client.get(f"/api/runs/{run}/items/{number}").status_code in (404, 422)


def test_ways_that_were_not_asked_and_other_runs(client: TestClient, run: str, confidence: str) -> None:
    assert client.get(f"/runs/{run}/items", params={"asked": "top-k"}).status_code == 404
    assert client.get(f"/runs/{confidence}/items").status_code == 404
    assert "explicate confidence" in client.get(f"/runs/{run}/reliability").text


@pytest.mark.parametrize("content", [None, b"{}\n", b"\xff\xfe", b'{"text": '])
def test_damaged_items_are_a_page_that_names_the_file(client: TestClient, run: str, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "audit" / "items.jsonl"
    assert client.get(f"/runs/{run}/items").status_code == 200
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    for page in (f"/runs/{run}/items", f"/runs/{run}/items/1", f"/api/runs/{run}/items"):
        answer = client.get(page)
        assert answer.status_code == 409
        assert "items.jsonl" in answer.text
        assert "Traceback" not in answer.text


def test_the_diagram_has_the_planted_shares(client: TestClient, confidence: str, tmp_path: Path) -> None:
    found = client.get(f"/api/runs/{confidence}/reliability").json()
    [row] = found["rows"]
    assert [(each["lower"], each["accuracy"]["value"], each["accuracy"]["n"]) for each in row["reliability"]["equal_width"]] == [
        (0.6, 0.5, 2),
        (0.9, 0.75, 8),
    ]
    assert row["measures"] == read_json(tmp_path / "confidence" / "results.json")["rows"][0]["measures"]
    page = client.get(f"/runs/{confidence}/reliability").text
    assert "stated 90%, right 75%" in page
    assert "90% stated for 8 items, 6 of them right" in page
    assert page.count("<circle") == 2


def test_a_damaged_confidence_run_is_a_page(client: TestClient, confidence: str, tmp_path: Path) -> None:
    (tmp_path / "confidence" / "results.json").write_text('{"rows": 3}', encoding="utf-8")
    answer = client.get(f"/runs/{confidence}/reliability")
    assert answer.status_code == 409
    assert "is damaged" in answer.text


@pytest.mark.parametrize("page", ["items", "items/2", "reliability"])
def test_the_pages_fit_a_phone_and_ask_nobody_else(
    run: str, confidence: str, browse: Callable[..., Any], tmp_path: Path, page: str
) -> None:
    shown = browse(f"/runs/{confidence if page == 'reliability' else run}/{page}")
    assert shown.evaluate("document.documentElement.scrollWidth") <= 390
    assert shown.screenshot(path=tmp_path / "page.png")
    assert shown.trouble() == []
