"""Rows in and out: what a run folder holds is what comes back, by either server, and searching agrees with a loop over everything."""

import math
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from analyzers.errors import ExplicateError, RunFolderError
from evals.bench.database import SERIES, fill_runs, fill_sites, queries
from evals.database import Database, SiteRow, open_database
from evals.database.rows import run_id
from evals.database.tables import metadata, run
from evals.metrics import metrics_of
from evals.results import Failure, Value

Build = Callable[..., Path]
MARCH = datetime(2026, 3, 1, 3, 10, tzinfo=UTC)
SITES = [
    ("L0.mlp.1", "+", "verbs of motion", 0.5, 0.2),
    ("L0.mlp.1", "-", "100% of \\_ Straße", 0.7, -0.1),
    ("L1.mlp.20", "+", None, None, None),
    ("L1.mlp.21", "+", "verbs and NOUNS\0", 0.7, None),
    ("L2.mlp.3", "-", "ÄRGER and joy", -0.3, 0.3),
]


def contents(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Every row that comes of run folders, but for when it was imported."""
    found = {}
    with database.engine.connect() as connection:
        for name in ("run", "metric", "site", "artefact"):
            table = metadata.tables[name]
            columns = [column for column in table.c if column.name != "indexed_at"]
            rows = [tuple(map(str, row)) for row in connection.execute(select(*columns).order_by(*table.primary_key))]
            found[name] = rows
    return found


def test_a_labelling_run_comes_back_as_its_folder_holds_it(database: Database, label_run: Build, tmp_path: Path) -> None:
    folder = label_run(tmp_path / "runs" / "labels", SITES, subject={"name": "tiny-1", "revision": "r"}, prompts={"explainer": "p"})
    os.utime(folder / "results.json", (MARCH.timestamp(),) * 2)
    row = database.run(database.add_run(folder))
    assert row is not None
    assert replace(row, indexed_at=MARCH) == replace(
        row,
        id=run_id(folder),
        parent=None,
        folder=str(folder),
        kind="label",
        name="labels",
        suite="",
        series="labels",
        model="tiny-1",
        status="done",
        void=False,
        started=None,
        finished=MARCH,
        code="abc",
        version="0.1.0",
        calls=7,
        tokens=111,
        usd=0.5,
        provenance={"version": "0.1.0", "code": "abc", "subject": {"name": "tiny-1", "revision": "r"}, "prompts": {"explainer": "p"}},
        indexed_at=MARCH,
    )
    assert database.artefacts(row.id) == {path.name: path for path in sorted(folder.iterdir())}
    assert database.layers(row.id) == [0, 1, 2]
    assert [(each.site, each.polarity, each.score, each.lift) for each in database.sites(row.id, order="site").rows] == [
        (name, polarity, score, lift) for name, polarity, _, score, lift in SITES
    ]
    failed = database.site(row.id, "L1.mlp.20", "+")
    assert failed == SiteRow(row.id, 2, "L1.mlp.20", "+", 1, None, None, None, None, "no explanation")
    without_lift = database.site(row.id, "L1.mlp.21", "+")
    assert without_lift is not None
    assert (without_lift.explanation, without_lift.q_value, without_lift.failed) == ("verbs and NOUNS\ufffd", 1 - 0.7, "no lift")
    assert database.site(row.id, "L1.mlp.21", "-") is None


def test_metrics_come_back_with_interval_or_reason(database: Database, label_run: Build, confidence_run: Build, tmp_path: Path) -> None:
    for folder in (label_run(tmp_path / "a", SITES), confidence_run(tmp_path / "b", 0.25)):
        found = database.metrics(database.add_run(folder))
        assert [(row.task, row.name, row.of, row.value, row.n_failed, row.better) for row in found] == [
            (each.task, each.name, each.of, each.value, each.n_failed, each.better) for each in metrics_of(folder)
        ]
        assert {type(row.value) for row in found} == {Value, Failure}
    assert Value(value=0.25, low=0.15, high=0.35, n=12) in [row.value for row in found]


def test_a_suite_brings_its_tasks(database: Database, suite_run: Build, tmp_path: Path) -> None:
    folder = suite_run(tmp_path / "night-1", {"one": 0.5, "two": 0.75, "three": None})
    own = database.add_run(folder)
    assert [(each.id, each.kind, each.name, each.status, each.model) for each in database.runs().rows] == [
        (own, "suite", "nightly", "failed", "openai:m")
    ]
    tasks = sorted(database.runs(parent=own).rows, key=lambda each: each.name)
    assert [(each.parent, each.name, each.suite, each.series, each.kind) for each in tasks] == [
        (own, name, "nightly", f"nightly/{name}", "confidence") for name in ("one", "two")
    ]
    # The artefacts of tasks are theirs, not the suite's.
    assert set(database.artefacts(own)) == {"manifest.json", "results.json"}
    assert {(row.task, row.name) for row in database.metrics(own)} >= {("one", "accuracy"), ("two", "accuracy")}
    assert {row.task for row in database.metrics(tasks[0].id)} == {""}
    before = contents(database)
    assert database.add_run(folder / "tasks" / "two") == tasks[1].id
    assert contents(database) == before


def test_importing_again_replaces_and_keeps_what_refers_to_it(database: Database, suite_run: Build, change: Any, tmp_path: Path) -> None:
    folder = suite_run(tmp_path / "night-1", {"one": 0.5, "two": 0.75})
    own = database.add_run(folder)
    database.set_baseline("nightly", own)
    before = contents(database)
    assert database.add_run(folder) == own
    assert contents(database) == before
    shutil.rmtree(folder / "tasks" / "two")
    change(folder / "results.json", tasks=[{"name": "one", "kind": "confidence", "status": "done", "folder": "tasks/one", "void": True}])
    assert database.add_run(folder) == own
    assert [each.name for each in database.runs(parent=own).rows] == ["one"]
    assert {row.task for row in database.metrics(own)} == {"one"}
    assert database.baseline("nightly") == own
    again = database.run(own)
    assert again is not None
    assert again.void


def test_a_run_is_found_by_another_path_to_its_folder(database: Database, label_run: Build, tmp_path: Path, monkeypatch: Any) -> None:
    label_run(tmp_path / "runs" / "a", SITES)
    (tmp_path / "link").symlink_to(tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    assert len({database.add_run(path) for path in (tmp_path / "runs/a", tmp_path / "link/a", Path("runs/../runs/a"))}) == 1
    assert database.runs().total == 1


def test_runs_are_paged_and_searched(database: Database) -> None:
    ids = fill_runs(database, 45, 2)
    newest = [row.id for offset in (0, 20, 40) for row in database.runs(limit=20, offset=offset).rows]
    assert newest == ids[::-1]
    page = database.runs(search="MODEL-2 suite-04")
    assert [row.id for row in page.rows] == [row for at, row in reversed(list(enumerate(ids))) if at % SERIES == 4 and at % 3 == 2]
    assert page.total == len(page.rows) > 0
    assert database.runs(suite="suite-00").total == 3
    assert database.runs(suite="suite-0").total == database.runs(kind="label").total == database.runs(search="suite-0_").total == 0
    last = database.latest("suite-04")
    assert last is not None
    assert last.id == ids[44]
    assert database.latest("suite") is None
    for limit, offset in ((0, 0), (1, -1)):
        with pytest.raises(ValueError, match="are no page"):
            database.runs(limit=limit, offset=offset)


def test_history_is_that_of_the_series_oldest_first(database: Database) -> None:
    ids = fill_runs(database, 5 * SERIES, 3)
    wanted = [at for at in range(5 * SERIES) if at % SERIES == 4]
    found = database.history("suite-04", "task-0", "metric-1", "of-1", limit=3)
    assert [row.id for row, _ in found] == [ids[at] for at in wanted[-3:]]
    assert [metric.run_id for _, metric in found] == [row.id for row, _ in found]
    for at, (_, metric) in zip(wanted[-3:], found, strict=True):
        assert isinstance(metric.value, Failure) == ((at + 1) % 25 == 0)
    assert len(database.history("suite-04", "task-0", "metric-1", "of-1")) == 5
    assert database.history("suite-04", "task-0", "metric-1", "of-2") == []


def test_baselines_are_set_moved_and_lost_with_their_run(database: Database, label_run: Build, tmp_path: Path) -> None:
    first, second = (database.add_run(label_run(tmp_path / name, SITES)) for name in ("a", "b"))
    assert database.baseline("s") is None
    database.set_baseline("s", first)
    database.set_baseline("s", second)
    database.set_baseline("other", first)
    assert (database.baseline("s"), database.baseline("other")) == (second, first)
    with pytest.raises(ExplicateError, match=r"no run in the database .* has the id 'unknown'; import its folder with explicate reindex"):
        database.set_baseline("s", "unknown")
    assert database.delete_run(second)
    assert (database.baseline("s"), database.baseline("other")) == (None, first)


def test_a_deleted_run_takes_its_rows_along_and_leaves_its_folder(
    database: Database, suite_run: Build, label_run: Build, tmp_path: Path
) -> None:
    database.add_run(label_run(tmp_path / "a", SITES))
    before = contents(database)
    folder = suite_run(tmp_path / "night-1", {"one": 0.5})
    own = database.add_run(folder)
    assert contents(database) != before
    assert database.delete_run(own)
    assert not database.delete_run(own)
    assert contents(database) == before
    assert (folder / "tasks" / "one" / "results.json").exists()


def test_searching_sites_agrees_with_a_loop(database: Database, label_run: Build, tmp_path: Path) -> None:
    own = database.add_run(label_run(tmp_path / "a", SITES))
    texts = [f"{name}{polarity}\n{(text or '').replace(chr(0), chr(0xFFFD))}".casefold() for name, polarity, text, _, _ in SITES]

    @given(
        st.lists(
            st.text(st.sampled_from("aeß%_\\/'ÄäSsT0L.- \0"), max_size=4) | st.sampled_from(SITES).map(lambda site: site[2] or ""),
            max_size=3,
        )
    )
    @settings(deadline=None, max_examples=60)
    def check(words: list[str]) -> None:
        search = " ".join(words)
        wanted = [at for at, text in enumerate(texts) if all(word.replace("\0", "\ufffd") in text for word in search.casefold().split())]
        found = database.sites(own, search=search, order="site")
        assert [row.position for row in found.rows] == wanted
        assert found.total == len(wanted)

    check()
    assert [row.position for row in database.sites(own, search="strasse 100%").rows] == [1]
    assert [row.position for row in database.sites(own, search="ärger").rows] == [4]
    assert database.sites(own, search="x" * 100_000).total == 0


def test_ordering_filtering_and_paging_sites_agree_with_a_loop(database: Database) -> None:
    own = fill_sites(database, 300)
    everything = database.sites(own, order="site", limit=1000).rows
    assert [row.position for row in everything] == list(range(300))
    assert {row.score is None for row in everything} == {True, False}

    def best(order: str, row: SiteRow) -> tuple[bool, float, int]:
        value = {"site": 0.0, "score": row.score, "lift": row.lift, "q_value": row.q_value}[order]
        return value is None, (value or 0.0) * (1 if order == "q_value" else -1), row.position

    def at_least(value: float | None, least: float | None) -> bool:
        return least is None or (value is not None and value >= least)

    @given(
        order=st.sampled_from(["site", "score", "lift", "q_value"]),
        layer=st.none() | st.integers(0, 24),
        min_score=st.none() | st.floats(-0.3, 1.0),
        min_lift=st.none() | st.floats(-0.6, 0.7),
        search=st.sampled_from(["", "french", "verbs stars", "L7.mlp"]),
        limit=st.integers(1, 40),
        offset=st.integers(0, 310),
    )
    @settings(deadline=None, max_examples=60)
    def check(order: str, layer: int | None, min_score: float | None, min_lift: float | None, search: str, limit: int, offset: int) -> None:
        wanted = [
            row
            for row in sorted(everything, key=lambda row: best(order, row))
            if (layer is None or row.layer == layer)
            and at_least(row.score, min_score)
            and at_least(row.lift, min_lift)
            and all(word in f"{row.site}{row.polarity}\n{row.explanation or ''}".casefold() for word in search.casefold().split())
        ]
        found = database.sites(
            own, order=order, layer=layer, min_score=min_score, min_lift=min_lift, search=search, limit=limit, offset=offset
        )
        assert found.rows == wanted[offset : offset + limit]
        assert (found.total, found.limit, found.offset) == (len(wanted), limit, offset)

    check()
    with pytest.raises(ExplicateError, match="cannot be ordered by 'size'; choose one of site, score, lift, q_value"):
        database.sites(own, order="size")


def test_what_a_limit_stopped_says_so(database: Database, confidence_run: Build, tmp_path: Path) -> None:
    missing = [{"failed": True, "stage": "budget", "reason": "10 calls are made", "n": 2}]
    replies = [{"prompting": "vanilla", "sampling": "none", "n": 12, "parsed": 10, "failed": missing}]
    row = database.run(database.add_run(confidence_run(tmp_path / "a", replies=replies, void=True)))
    assert row is not None
    assert (row.status, row.void) == ("stopped", True)


@pytest.mark.parametrize("gone", ["manifest.json", "results.json", "excerpts.parquet", "explanations.jsonl"])
def test_a_half_deleted_folder_is_named_and_nothing_of_it_imported(database: Database, label_run: Build, gone: str, tmp_path: Path) -> None:
    folder = label_run(tmp_path / "a", SITES)
    own = database.add_run(folder)
    before = contents(database)
    (folder / gone).unlink()
    with pytest.raises(RunFolderError, match=f"'{folder}'.* has no {gone}"):
        database.add_run(folder)
    # What was imported before it was damaged stays.
    assert contents(database) == before
    assert database.delete_run(own)
    with pytest.raises(RunFolderError):
        database.add_run(folder)
    assert database.runs().total == 0


def test_damage_inside_is_named_and_nothing_of_it_imported(database: Database, suite_run: Build, change: Any, tmp_path: Path) -> None:
    folder = suite_run(tmp_path / "night-1", {"one": 0.5, "two": 0.75})
    (folder / "tasks" / "two" / "items.jsonl").unlink()
    with pytest.raises(RunFolderError, match=r"'.*/tasks/two' is half deleted: it has no items.jsonl"):
        database.add_run(folder)
    assert {name: len(rows) for name, rows in contents(database).items()} == {"run": 0, "metric": 0, "site": 0, "artefact": 0}
    outside = [{"name": "one", "kind": "confidence", "status": "done", "folder": "../elsewhere"}]
    change(folder / "results.json", tasks=outside)
    with pytest.raises(RunFolderError, match="the folder of its task 'one' is not within it"):
        database.add_run(folder)
    (folder / "results.json").write_text("{", "utf-8")
    with pytest.raises(RunFolderError, match="is damaged"):
        database.add_run(folder)
    change(folder / "manifest.json", command="dance")
    with pytest.raises(RunFolderError, match="is a run of 'dance'; runs of label, audit, confidence, suite can be"):
        database.add_run(folder)
    with pytest.raises(RunFolderError, match="is no folder"):
        database.add_run(tmp_path / "nowhere")


def test_reindexing_a_lost_database_restores_the_same_rows(url: str, label_run: Build, suite_run: Build, tmp_path: Path) -> None:
    roots = [tmp_path / "runs", tmp_path / "more"]
    label_run(roots[0] / "deep" / "down" / "labels", SITES)
    suite_run(roots[0] / "night-1", {"one": 0.5, "two": 0.75})
    suite_run(roots[1] / "night-2", {"one": 0.6, "two": None}, finished="2026-03-02T03:10:00+00:00")
    with open_database(url) as database:
        for folder in (roots[0] / "deep/down/labels", roots[0] / "night-1", roots[1] / "night-2"):
            database.add_run(folder)
        before = contents(database)
        assert [len(before[name]) for name in ("run", "site")] == [3 + 3, len(SITES)]
        if database.engine.dialect.name == "postgresql":
            for row in database.runs().rows:
                assert database.delete_run(row.id)
    if url.startswith("sqlite"):
        Path(url.removeprefix("sqlite:///")).unlink()
    with open_database(url) as database:
        assert contents(database)["run"] == []
        found = database.reindex([*roots, roots[1]])
        assert (found.found, found.added, found.failed) == (3, 3, [])
        assert contents(database) == before
        found = database.reindex(roots)
        assert (found.found, found.added) == (3, 3)
        assert contents(database) == before


def test_reindex_names_what_it_skips(database: Database, label_run: Build, suite_run: Build, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    whole = label_run(root / "a-whole", SITES)
    for gone in ("manifest.json", "results.json", "scores.parquet"):
        (label_run(root / f"b-{gone}", SITES) / gone).unlink()
    for gone in ("manifest.json", "results.json"):
        (label_run(root / "c-traces", SITES) if gone == "manifest.json" else root / "c-traces").joinpath(gone).unlink()
    (suite_run(root / "d-suite", {"one": 0.5}) / "tasks" / "one" / "results.json").unlink()
    # Files of other programs, and folders without any.
    (root / "website").mkdir()
    (root / "website" / "manifest.json").write_text('{"name": "app", "icons": []}')
    (root / "website" / "results.json").write_text("[]")
    (root / ".hidden").mkdir()
    found = database.reindex([root])
    assert [(Path(folder).name, reason.split(";")[0]) for folder, reason in found.failed] == [
        ("b-manifest.json", f"{str(root / 'b-manifest.json')!r} is half deleted: it has no manifest.json"),
        ("b-results.json", f"{str(root / 'b-results.json')!r} has no results.json: its run did not end, or is half deleted"),
        ("b-scores.parquet", f"{str(root / 'b-scores.parquet')!r} is half deleted: it has no scores.parquet"),
        ("c-traces", f"{str(root / 'c-traces')!r} is half deleted: it has no manifest.json"),
        ("d-suite", f"{str(root / 'd-suite' / 'tasks' / 'one')!r} has no results.json: its run did not end, or is half deleted"),
    ]
    assert (found.found, found.added) == (6, 1)
    assert [row.folder for row in database.runs().rows] == [str(whole)]
    with pytest.raises(ExplicateError, match="is no folder to look for runs in"):
        database.reindex([root, tmp_path / "nowhere"])


def test_the_queries_that_are_timed_find_something(database: Database) -> None:
    fill_runs(database, 2 * SERIES, 3)
    labelled = fill_sites(database, 100)
    found = queries(database, labelled)
    assert all(math.isfinite(milliseconds) and milliseconds > 0 for milliseconds in found.values())
    with database.engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(run)) == 2 * SERIES + 1
