"""A suite runs its tasks under one budget; what one dies of does not touch the others; and killed anywhere it goes on."""

import json
import re
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from analyzers.errors import RunFolderError
from evals.run_folder import read_results
from evals.suites import SuiteResults, load_suite, run_suite
from evals.suites import run as suite_run

ROWS = (("the plot was superb", "positive"), ("a dull film, not bad", "negative"), ("its lovely slow start", "positive"))


def planted(body: dict[str, Any]) -> str:
    asked = body["messages"][-1]["content"]
    drawn = zlib.crc32(json.dumps([asked, body.get("seed")]).encode())
    return f"Answer: {('positive', 'negative')[drawn % 2]}\nConfidence: {50 + drawn % 50}%"


def task(name: str, url: str, **changes: str) -> str:
    options = {"kind": '"confidence"', "model": '"openai:m"', "base_url": json.dumps(url), "items": '"items.jsonl"'}
    options |= {"prompting": '["vanilla"]', "sampling": '["none"]', "deletion": "false"} | changes
    return "\n".join([f'[[task]]\nname = "{name}"', *(f"{key} = {value}" for key, value in options.items()), ""])


def written(folder: Path, tasks: Sequence[str], *, head: str = "") -> Path:
    rows = (json.dumps({"text": text, "gold": gold}) + "\n" for text, gold in ROWS)
    (folder / "items.jsonl").write_text("".join(rows), encoding="utf-8")
    path = folder / "suite.toml"
    path.write_text('name = "mine"\n' + head + "".join(tasks), encoding="utf-8")
    return path


@pytest.fixture
def run(workplace: Path, server: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """await run(tasks, head) runs a suite in the folder `out`."""
    server.answer = lambda body: server.chat(planted(body))
    monkeypatch.setenv("OPENAI_API_KEY", "none-of-this")

    async def work(tasks: Sequence[str], *, head: str = "", told: list[str] | None = None) -> SuiteResults:
        suite = load_suite(written(workplace, tasks, head=head))
        return await run_suite(suite, workplace / "out", tell=[].append if told is None else told.append)

    return work


async def test_tasks_are_runs_of_their_own_and_a_failing_one_stops_none(run: Callable[..., Any], server: Any, workplace: Path) -> None:
    broken = task("broken", server.url, model='"nobody:m"')
    results = await run([task("one", server.url), broken, task("two", server.url, seed="1")])
    assert [(each.name, each.status) for each in results.tasks] == [("one", "done"), ("broken", "failed"), ("two", "done")]
    assert results.tasks[1].failure.stage == "confidence"
    assert "nobody" in results.tasks[1].failure.reason
    assert read_results(workplace / "out", SuiteResults) == results
    for name in ("one", "two"):
        assert json.loads((workplace / "out" / "tasks" / name / "results.json").read_text())["n_items"] == len(ROWS)


async def test_run_again_what_failed_is_done_and_what_is_done_is_not_asked(
    run: Callable[..., Any], server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = suite_run.measure_confidence

    async def dies(config: Any, out: Path, *given: Any, **named: Any) -> Any:
        if out.name == "two":
            raise KeyError("what nobody foresaw")
        return await measure(config, out, *given, **named)

    monkeypatch.setattr(suite_run, "measure_confidence", dies)
    tasks = [task(name, server.url, seed=str(seed)) for seed, name in enumerate(("one", "two", "three"))]
    first = await run(tasks)
    assert [each.status for each in first.tasks] == ["done", "failed", "done"]
    assert first.tasks[1].failure.reason == "KeyError: 'what nobody foresaw'"
    monkeypatch.undo()
    told: list[str] = []
    assert [each.status for each in (await run(tasks, told=told)).tasks] == ["done"] * 3
    assert [line for line in told if line.endswith("done before")] == ["one: done before", "three: done before"]


async def test_a_task_whose_folder_is_half_deleted_is_done_again(run: Callable[..., Any], server: Any, workplace: Path) -> None:
    tasks = [task("one", server.url)]
    await run(tasks)
    results = workplace / "out" / "tasks" / "one" / "results.json"
    results.unlink()
    again = await run(tasks)
    assert results.exists()
    assert again.calls.made == 0


async def test_what_all_tasks_take_is_told_before_the_first_question(run: Callable[..., Any], server: Any) -> None:
    told: list[str] = []
    asked_before: list[int] = []
    answer = server.answer

    def watched(body: dict[str, Any]) -> Any:
        asked_before.append(sum("forecast of" in line for line in told))
        return answer(body)

    server.answer = watched
    await run([task("one", server.url), task("broken", server.url, model='"nobody:m"'), task("two", server.url, seed="1")], told=told)
    (line,) = [line for line in told if line.startswith("forecast of")]
    own = [int(re.search(r"at most ([\d,]+) calls", line)[1]) for line in told if re.match(r"(one|two): .*at most", line)]
    assert len(own) == 2
    assert f"forecast of 2 tasks: at most {sum(own)} calls" in line
    assert line.endswith("broken cannot be run")
    # What the endpoint can do is found out first.
    reviews = [at for at, body in enumerate(server.bodies) if any(text in json.dumps(body) for text, _ in ROWS)]
    assert reviews
    assert all(asked_before[at] == 1 for at in reviews)


async def test_a_limit_that_the_first_task_takes_stops_the_second(run: Callable[..., Any], server: Any, workplace: Path) -> None:
    tasks = [task("one", server.url), task("two", server.url, prompting='["cot"]')]
    results = await run(tasks, head=f"[limits]\ncalls = {len(ROWS) + 2}\n")
    assert [each.status for each in results.tasks] == ["done", "stopped"]
    assert results.tasks[1].failure.stage == "budget"
    assert results.calls.made <= len(ROWS) + 2
    # What there was of it has been written, which does not make it done.
    partial = workplace / "out" / "tasks" / "two" / "results.json"
    before = partial.read_bytes()
    raised = await run(tasks, head="[limits]\ncalls = 100\n")
    assert [each.status for each in raised.tasks] == ["done", "done"]
    assert partial.read_bytes() != before


async def test_another_suite_has_another_folder(run: Callable[..., Any], server: Any) -> None:
    await run([task("one", server.url)])
    with pytest.raises(RunFolderError, match=r"was begun with tasks\.0\.config\.seed 0, now it is 3"):
        await run([task("one", server.url, seed="3")])


def test_killed_anywhere_a_suite_goes_on(killable: Callable[..., Any], server: Any, tmp_path: Path) -> None:
    file = written(
        tmp_path, [task("one", server.url), task("two", server.url, seed="1", prompting='["cot"]')], head="[limits]\nconcurrency = 1\n"
    )
    argv = ["suite", "run", str(file), "--no-record"]

    def command(name: str) -> Any:
        return killable(name, argv, answer=lambda body: server.chat(planted(body)), same=())

    def found(shaken: Any) -> list[Any]:
        return [(shaken.out / "tasks" / name / "items.jsonl").read_bytes() for name in ("one", "two")]

    calm = command("calm")
    assert calm.attempt() == 0
    shaken = command("shaken")
    plan: list[dict[str, Any]] = [
        {"before": r"put .*/out/manifest\.json$", "nth": 2},
        {"request": calm.requests[0][1], "late": True},
        {"before": r"put .*/one/results\.json$"},
        {"before": r"put .*/out/outcomes\.json$"},
        {"request": calm.requests[0][-1]},
        {"before": r"put .*/two/report\.html$"},
        {"before": r"put .*/out/results\.json$"},
    ]
    for moment in plan:
        assert shaken.attempt(**moment) != 0, moment
    assert shaken.attempt() == 0
    assert found(shaken) == found(calm)
    assert shaken.asked_again() == []
    mine, theirs = (json.loads((each.out / "results.json").read_text())["tasks"] for each in (shaken, calm))
    assert mine == theirs


async def test_a_threshold_that_fits_no_metric_is_said(run: Callable[..., Any], server: Any) -> None:
    told: list[str] = []
    head = "[thresholds.ecce]\nminimum_effect = 0.1\n[thresholds.ece]\nminimum_effect = 0.1\n"
    results = await run([task("one", server.url)], head=head, told=told)
    assert [line for line in told if "threshold" in line] == ["the threshold 'ecce' is of no metric that this run has"]
    assert results.thresholds["ece"].minimum_effect == 0.1
