"""A site: numbers as planted, excerpts in their tabs, neighbours, and a page that hostile text cannot break."""

import asyncio
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from statistics import correlation
from typing import Any

import pytest
from fastapi.testclient import TestClient

from evals.database import Database
from evals.exchange.importing import import_run
from explicate.top_tokens import top_tokens

LABELS = ["L0.mlp.3", "L0.mlp.3-", "L1.mlp.7", "L2.mlp.9-"]


@pytest.fixture
def run(store: Database, label_run: Callable[..., Path], tmp_path: Path) -> str:
    return store.add_run(label_run(tmp_path / "labels"))


class Tags(HTMLParser):
    """Every tag of a page with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_json_of_a_site_is_what_the_folder_holds(client: TestClient, run: str, tmp_path: Path) -> None:
    found = client.get(f"/api/runs/{run}/sites/L0.mlp.3").json()
    stored = json.loads((tmp_path / "labels" / "results.json").read_text(encoding="utf-8"))["sites"][0]
    assert found["result"] == stored
    assert (found["other_side"], found["previous"], found["next"]) == ("L0.mlp.3-", None, "L0.mlp.3-")
    assert [each["activations"][2] for each in found["excerpts"]] == [6.0, 5.0, 4.0, 3.0, 2.0]
    assert [each["simulated"] for each in found["excerpts"]] == [[0.5, 0.4, 7.5, 0.4, 0.4, None]] * 4 + [None]
    loudest = found["top_tokens"][0]
    assert (loudest["text"], loudest["n"], loudest["mean"], loudest["largest"]) == (" on", 5, 4.0, 6.0)
    assert loudest["simulated"] == pytest.approx(7.1)


def test_neighbours_lead_through_all_sites_of_the_run(client: TestClient, run: str) -> None:
    seen, label = [], "L0.mlp.3"
    while label:
        seen.append(label)
        label = client.get(f"/api/runs/{run}/sites/{label}").json()["next"]
    assert seen == LABELS
    page = client.get(f"/runs/{run}/sites/L2.mlp.9-").text
    assert re.findall(r'rel="prev" href="[^"]*/sites/([^"]+)"', page) == ["L1.mlp.7"]
    assert 'rel="next" href' not in page
    landed = {client.get(f"/runs/{run}/random-site", follow_redirects=False).headers["location"].rpartition("/")[2] for _ in range(60)}
    assert landed == set(LABELS)


def test_the_page_has_score_controls_candidates_tokens_and_excerpts(client: TestClient, run: str) -> None:
    page = client.get(f"/runs/{run}/sites/L0.mlp.3").text
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    for expected in (
        "the word on",
        "0.80 [0.70, 0.90]",
        "+0.25 [+0.15, +0.35]",
        "lift over token look-up",
        "another site's explanation",
        "a worse one",
        "0.41",
        "1.25%",
        "cannot judge: position",
        "activation 6, simulated +7.10",
    ):
        assert expected.replace("'", "&#39;") in text or expected in text or expected in page, expected
    tags = Tags(page).found
    tabs = [attributes["id"] for tag, attributes in tags if tag == "input" and attributes.get("name") == "tab"]
    groups = [attributes["id"] for tag, attributes in tags if attributes.get("class") == "group"]
    assert tabs == ["tab-top", "tab-q95", "tab-random", "tab-missed", "tab-shown"]
    assert [str(each).replace("group", "tab") for each in groups] == tabs
    shades = [attributes["id"] for tag, attributes in tags if tag == "input" and attributes.get("name") == "shade"]
    assert shades == ["shade-both", "shade-true", "shade-simulated"]
    # Every radio button has its rule, and its label.
    rules = client.get(next(str(each["href"]) for tag, each in tags if tag == "link" and "reading.css" in str(each["href"]))).text
    labelled = {attributes.get("for") for tag, attributes in tags if tag == "label"}
    for each in (*tabs, *shades):
        assert f"#{each}:checked" in rules
        assert each in labelled
    expected = correlation([0.0, 0.1, 6.0, 0.5, 0.0], [0.1, 0.0, 7.1, 0.0, 0.0])
    assert f"r {expected:.2f}" in text


def test_a_site_that_failed_says_why_and_has_no_number(client: TestClient, run: str) -> None:
    page = client.get(f"/runs/{run}/sites/L1.mlp.7").text
    assert "no explanation" in page
    assert "Failed at explain: the explainer refused" in page
    assert "tab-missed" not in page
    assert "shade-both" not in page
    assert client.get(f"/api/runs/{run}/sites/L1.mlp.7").json()["result"]["scores"]["pearson"]["failed"] is True


@pytest.mark.parametrize("label", LABELS)
def test_hostile_text_adds_no_tag(client: TestClient, run: str, label: str) -> None:
    tags = Tags(client.get(f"/runs/{run}/sites/{label}").text).found
    assert [attributes["src"] for tag, attributes in tags if tag == "script"] == [
        attributes["src"] for tag, attributes in Tags(client.get("/live").text).found if tag == "script"
    ]
    assert "img" not in {tag for tag, _ in tags}
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]


@pytest.mark.parametrize("label", ["L0.mlp.4", "L9.mlp.3", "none", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "L0.mlp.3%00", "x" * 60])
def test_no_other_name_finds_anything(client: TestClient, run: str, label: str) -> None:
    for path in (f"/runs/{run}/sites/{label}", f"/api/runs/{run}/sites/{label}"):
        assert client.get(path).status_code in (404, 422)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("results.json", None, "did not end"),
        ("results.json", b'{"sites": [', "is damaged"),
        ("results.json", b'{"sites": [{}], "instrument": null, "manifest": {"config": {"subject": "x"}}}', "has no name"),
        ("results.json", b'{"sites": [], "instrument": null, "manifest": {"config": null}}', "manifest.config"),
        (
            "results.json",
            b'{"sites": [{"site": "L0.mlp.3", "polarity": "+"}], "instrument": null, "manifest": {"config": {"subject": "x"}}}',
            "L0.mlp.3 is damaged",
        ),
        ("excerpts.parquet", b"PAR1 no", "excerpts.parquet"),
        ("simulations.parquet", None, "there is no such file"),
    ],
)
def test_a_damaged_folder_is_a_page_that_names_the_file(
    client: TestClient, run: str, tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    assert client.get(f"/runs/{run}/sites/L0.mlp.3").status_code == 200
    path = tmp_path / "labels" / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    answer = client.get(f"/runs/{run}/sites/L0.mlp.3")
    assert answer.status_code == 409
    assert said in answer.text
    assert "Traceback" not in answer.text
    assert said in client.get(f"/api/runs/{run}/sites/L0.mlp.3").json()["detail"]


def test_what_is_written_anew_is_read_anew(client: TestClient, run: str, tmp_path: Path) -> None:
    path = tmp_path / "labels" / "results.json"
    assert "another text now" not in client.get(f"/runs/{run}/sites/L0.mlp.3").text
    path.write_text(path.read_text(encoding="utf-8").replace("the word on", "another text now"), encoding="utf-8")
    assert "another text now" in client.get(f"/runs/{run}/sites/L0.mlp.3").text


def test_sites_of_imported_data_are_found_by_names_of_several_parts(client: TestClient, store: Database, workplace: Path) -> None:
    lines: list[dict[str, Any]] = []
    for index in ("1", "9?#%"):
        named = {"modelId": "gemma-2-2b", "layer": "20-gemmascope-res-16k", "index": index}
        score = {"value": 0.875, "explanationScoreTypeName": "fuzz", "explanationScoreModelName": "gpt", "jsonDetails": ""}
        lines.append({**named, "description": "dogs", "scores": [score]})
        lines += [{**named, "tokens": [f" w{at}{number}" for at in range(8)], "values": [number / 8, *[0.0] * 7]} for number in range(40)]
    (workplace / "theirs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    asyncio.run(import_run(workplace / "theirs.jsonl", workplace / "theirs"))
    run = store.add_run(workplace / "theirs")
    listed = client.get(f"/runs/{run}/sites").text
    assert "try a text" not in listed
    links = re.findall(rf'href="(/runs/{run}/sites/[^"]+)"', listed)
    assert len(links) == 2
    for link in links:
        page = client.get(link)
        assert page.status_code == 200
        assert "fuzz(gpt) <b>0.88</b>" in page.text
        assert "Held out: among the loudest." in page.text
        assert "try a text" not in page.text
    following = re.findall(r'rel="next" href="([^"]+)"', client.get(links[0]).text)
    assert following == links[1:]
    assert client.get(f"/api/runs/{run}/sites/gemma-2-2b/20-gemmascope-res-16k/1").json()["label"].endswith("/1")
    assert client.get(f"/runs/{run}/random-site").status_code == 200


def test_top_tokens_are_ordered_by_mean_and_leave_out_what_is_silent_or_seldom() -> None:
    rows = [
        {"tokens": [f"t{at}" for at in range(14)], "activations": [float(14 - at) for at in range(14)]},
        {"tokens": [f"t{at}" for at in range(14)], "activations": [0.0] * 14},
        {"tokens": ["once", "silent", "silent"], "activations": [99.0, 0.0, 0.0]},
    ]
    found = top_tokens(rows, [None, [1.0] * 14, None])
    assert [each["text"] for each in found] == [f"t{at}" for at in range(12)]
    assert [each["mean"] for each in found] == [(14 - at) / 2 for at in range(12)]
    assert {each["simulated"] for each in found} == {1.0}
    few = top_tokens([rows[2]], [None])
    assert [(each["text"], each["at"], each["simulated"]) for each in few] == [("once", 1.0, None)]


def test_a_browser_changes_tabs_and_shading_without_javascript(run: str, browse: Callable[..., Any], tmp_path: Path) -> None:
    page = browse(f"/runs/{run}/sites/L0.mlp.3", java_script_enabled=False)
    assert page.locator("#group-top").is_visible()
    assert not page.locator("#group-random").is_visible()
    page.get_by_text("Random 1").click()
    assert page.locator("#group-random").is_visible()
    assert not page.locator("#group-top").is_visible()
    shaded = page.locator("#group-random .excerpt span[style]").first

    def look() -> tuple[str, str]:
        return tuple(shaded.evaluate("each => [getComputedStyle(each).boxShadow, getComputedStyle(each).backgroundColor]"))

    both = look()
    page.get_by_text("simulated", exact=True).first.click()
    simulated = look()
    page.get_by_text("true", exact=True).first.click()
    true = look()
    assert both[0] != "none"
    assert (true[0], simulated[0]) == ("none", "none")
    assert true[1] == both[1] != simulated[1]
    assert page.screenshot(path=tmp_path / "site.png")


def test_the_page_fits_a_phone_and_asks_nobody_else(run: str, browse: Callable[..., Any]) -> None:
    page = browse(f"/runs/{run}/sites/L0.mlp.3-")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.trouble() == []
