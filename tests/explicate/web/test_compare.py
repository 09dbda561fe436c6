"""Two runs on a page: what got worse first, what else changed, and the same numbers as the comparison itself."""

import re
from collections.abc import Callable
from pathlib import Path
from threading import BoundedSemaphore
from typing import get_args

import pytest
from fastapi.testclient import TestClient

from evals.comparison import Comparison, compare
from evals.comparison.results import Verdict
from evals.database import Database
from evals.results import RunResults, SiteResult, Value
from evals.run_folder import read_json, write_json
from explicate.web.compare import ORDER

Build = Callable[..., Path]


def _sites(shift: float) -> list[SiteResult]:
    """Thirty sites, whose scores and lifts differ by a little, all moved by `shift`."""
    made = []
    for at in range(30):
        number = 0.5 + 0.01 * (at % 5) + shift
        value = Value(value=number, low=number - 0.1, high=number + 0.1, n=40)
        lift = {**value.model_dump(), "over": "token_lookup", "score": "pearson_null_contrast"}
        known = {"site": f"L0.mlp.{at}", "polarity": "+", "explanation": "on", "explainer": "e", "simulator": "s", "lift": lift}
        made.append(SiteResult.model_validate(known | {"scores": {"pearson": value, "pearson_null_contrast": value}}))
    return made


@pytest.fixture
def pair(store: Database, tmp_path: Path, label_run: Build) -> tuple[str, str, Path, Path]:
    """Ids and folders of a run whose lift fell by .2, and of its baseline, one of another revision."""
    folders = []
    for name, shift, revision in (("before", 0.0, "r1"), ("after", -0.2, "<i>r2</i>")):
        sites = _sites(shift)
        folder = label_run(tmp_path / name / "labels", sites=sites, revision=revision)
        results = RunResults.model_validate(read_json(folder / "results.json"))
        number = sum(site.lift.value for site in sites if isinstance(site.lift, Value)) / len(sites)
        means = {key: Value(value=number, low=number - 0.01, high=number + 0.01, n=30) for key in results.means}
        write_json(folder / "results.json", results.model_copy(update={"means": means}).model_dump(mode="json"))
        folders.append(folder)
    before, after = (store.add_run(folder) for folder in folders)
    return after, before, folders[1], folders[0]


def test_the_page_says_what_got_worse_and_json_is_the_comparison(client: TestClient, pair: tuple[str, str, Path, Path]) -> None:
    after, before, after_folder, before_folder = pair
    expected = compare(after_folder, before_folder)
    worse = [change.name for change in expected.regressed]
    assert "lift" in worse
    answer = Comparison.model_validate(client.get("/api/compare", params={"run": after, "baseline": before}).json())
    assert answer == expected
    page = client.get("/compare", params={"run": after, "baseline": before}).text
    assert f"{len(worse)} of {len(expected.changes)} metrics worse than the run of" in page
    open_table = page[page.index('<table class="metrics changes">') : page.index("</table>", page.index('<table class="metrics changes">'))]
    assert re.findall(r'<tr class="([\w-]+)">', open_table) == ["regressed"] * len(worse)
    assert "-.20" in open_table
    assert "30 shared items" in open_table
    assert "&lt;i&gt;r2&lt;/i&gt;" in page
    assert "<i>r2" not in page


def test_the_other_way_round_nothing_is_worse(client: TestClient, pair: tuple[str, str, Path, Path]) -> None:
    after, before, _, _ = pair
    page = client.get("/compare", params={"run": before, "baseline": after}).text
    assert "Nothing is worse" in page
    assert 'class="verdict improved"' in page


def test_a_run_is_held_against_the_baseline_of_its_series(client: TestClient, store: Database, pair: tuple[str, str, Path, Path]) -> None:
    after, before, _, _ = pair
    assert client.get("/api/compare", params={"run": after}).status_code == 404
    assert "set one for all" in client.get("/compare", params={"run": after}).text
    assert "/verdict" not in client.get(f"/runs/{after}").text
    store.set_baseline("labels", before)
    assert client.get("/api/compare", params={"run": after}).json()["baseline"] == pair[3].as_posix()
    assert "worse than the run of" in client.get("/compare", params={"run": after}).text
    page = client.get(f"/runs/{after}").text
    assert f'hx-get="/runs/{after}/verdict"' in page
    assert f"/compare?run={after}&amp;baseline={before}" in page
    part = client.get(f"/runs/{after}/verdict").text
    assert "metrics worse than the baseline of" in part
    assert "<html" not in part
    assert client.get(f"/runs/{before}/verdict").status_code == 404


def test_folders_that_are_gone_are_said_not_guessed(client: TestClient, store: Database, pair: tuple[str, str, Path, Path]) -> None:
    after, before, folder, _ = pair
    store.set_baseline("labels", before)
    folder.rename(folder.parent / "away")
    answer = client.get("/compare", params={"run": after, "baseline": before})
    assert answer.status_code == 409
    assert "manifest.json" in answer.text or "no folder" in answer.text
    assert client.get("/api/compare", params={"run": after}).status_code == 409
    part = client.get(f"/runs/{after}/verdict")
    assert part.status_code == 200
    assert "cannot be held against" in part.text


def test_a_comparison_is_made_anew_when_a_folder_changed(client: TestClient, pair: tuple[str, str, Path, Path]) -> None:
    after, before, folder, other = pair
    asked = {"run": after, "baseline": before}
    assert client.get("/api/compare", params=asked).json()["changes"][0]["verdict"] == "regressed"
    written = read_json(other / "results.json")
    write_json(folder / "results.json", written)
    assert client.get("/api/compare", params=asked).json()["changes"][0]["verdict"] == "unchanged"


def test_choices_that_make_no_comparison_are_explained(client: TestClient, pair: tuple[str, str, Path, Path]) -> None:
    after, before, _, _ = pair
    page = client.get("/compare").text
    assert "Choose a run, and what to hold it against." in page
    assert after in page
    assert before in page
    assert "one and the same run" in client.get("/compare", params={"run": after, "baseline": after}).text
    for query in ({"run": "none"}, {"run": after, "baseline": "none"}):
        assert client.get("/compare", params=query).status_code == 404
        assert client.get("/api/compare", params=query).status_code == 404
    assert client.get("/api/compare").status_code == 422


def test_every_verdict_has_its_place_in_the_order() -> None:
    assert sorted(ORDER) == sorted(get_args(Verdict))


def test_who_comes_when_many_wait_is_asked_to_come_again(
    client: TestClient, pair: tuple[str, str, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    after, before, *_ = pair
    asked = {"run": after, "baseline": before}
    full = BoundedSemaphore(1)
    monkeypatch.setattr("explicate.web.compare._WAITING", full)
    full.acquire()
    assert client.get("/api/compare", params=asked).status_code == 503
    full.release()
    assert client.get("/api/compare", params=asked).status_code == 200
    assert full.acquire(blocking=False)
