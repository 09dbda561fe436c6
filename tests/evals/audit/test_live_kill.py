"""A live audit is killed at every stage, by the machinery in tests/evals/conftest.py; the same command goes on."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SAME = ("items.jsonl", "perturbations.parquet", "report.html")
TEXTS = ("the plot was superb", "a dull film, not bad", "its lovely slow start")
STAGES = {
    "explain": r"^put .*/out/manifest\.json$",
    "perturb": r"^progress explain$",
    "check and write": r"^progress redaction",
    "end": r"^put .*/report\.html$",
}
"""How each begins."""


@pytest.fixture
def command(killable: Callable[..., Any], planted_server: Any, tmp_path: Path) -> Callable[..., Any]:
    """command("name") is the audit of a planted model in a new folder of that name."""
    items = tmp_path / "items.jsonl"
    items.write_text("".join(json.dumps({"text": text, "gold": "positive"}) + "\n" for text in TEXTS), encoding="utf-8")
    argv = ["audit", "openai:m", "--base-url", planted_server.url, "--items", str(items), "--order", "predict-first,explain-first"]
    argv += ["--operators", "delete,mask", "--random", "2", "--checks", "redaction", "--concurrency", "1"]
    answer = planted_server.answer
    return lambda name: killable(name, argv, answer=answer, same=SAME)


def test_killed_in_every_stage_the_same_command_goes_on(command: Callable[..., Any], kill_in_turn: Callable[..., None]) -> None:
    calm = command("calm")
    assert calm.attempt() == 0
    draw = random.Random(0)
    plan: list[dict[str, Any]] = [
        {"request": calm.some("probe", draw)},
        {"before": r"put .*/out/manifest\.json$"},
        {"before": r"put .*/out/manifest\.json$", "nth": 2},
        {"request": calm.some("elicit", draw), "late": True},
        {"before": r"progress explain$", "nth": 2},
        {"request": calm.some("perturb", draw)},
        {"before": r"progress perturb$", "nth": draw.randint(2, 3)},
        {"request": calm.some("check", draw), "late": True},
        {"before": r"put .*/items\.jsonl$"},
        {"before": r"put .*/perturbations\.parquet$"},
        {"before": r"put .*/results\.json$"},
        {"before": r"put .*/report\.html$"},
    ]
    kill_in_turn(command, calm, plan)


def test_killed_at_random_in_every_stage_the_same_command_goes_on(command: Callable[..., Any], kill_at_random: Callable[..., None]) -> None:
    kill_at_random(command, STAGES, seeds=[0], times=2)
