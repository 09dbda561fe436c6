"""A measurement of stated confidence is killed at every stage, by the machinery in tests/evals/conftest.py; the same command goes on."""

import json
import random
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SAME = ("items.jsonl", "report.html")
ROWS = (("the plot was superb", "positive"), ("a dull film, not bad", "negative"), ("its lovely slow start", "positive"))
STAGES = {
    "ask": r"^put .*/out/manifest\.json$",
    "delete": r"^progress ask$",
    "write": r"^progress delete$",
    "end": r"^put .*/report\.html$",
}
"""How each begins."""


def planted(body: dict[str, Any]) -> str:
    """Answers by a checksum of the text, is as sure as one of all that it is asked says, and calls the first word decisive."""
    asked = body["messages"][-1]["content"]
    drawn = zlib.crc32(json.dumps([asked, body.get("seed")]).encode())
    if "\nText: " not in asked:
        return f"In other words: What does it say, for the {drawn}th time?"
    words = asked.rpartition("\nText: ")[2].split()
    label = ("positive", "negative")[zlib.crc32(words[-1].encode()) % 2]
    said = f"Answer: {label}\nConfidence: {50 + drawn % 50}%"
    return f"{said}\nWords: {words[0]}" if "Words:" in asked else said


@pytest.fixture
def command(killable: Callable[..., Any], server: Any, tmp_path: Path) -> Callable[..., Any]:
    """command("name") is the measurement of a planted model in a new folder of that name."""
    items = tmp_path / "items.jsonl"
    items.write_text("".join(json.dumps({"text": text, "gold": gold}) + "\n" for text, gold in ROWS), encoding="utf-8")
    argv = ["confidence", "openai:m", "--base-url", server.url, "--items", str(items), "--prompting", "vanilla,self-probing"]
    argv += ["--sampling", "none,self-random,paraphrase", "--samples", "2", "--concurrency", "1"]
    return lambda name: killable(name, argv, answer=lambda body: server.chat(planted(body)), same=SAME)


def test_killed_in_every_stage_the_same_command_goes_on(command: Callable[..., Any], kill_in_turn: Callable[..., None]) -> None:
    calm = command("calm")
    assert calm.attempt() == 0
    assert not calm.results()["void"]
    assert calm.results()["deletion"]["n"] > 0
    draw = random.Random(0)
    plan: list[dict[str, Any]] = [
        {"before": r"put .*/out/manifest\.json$", "nth": 2},
        {"request": calm.some("prepare", draw)},
        {"request": calm.some("state", draw), "late": True},
        {"before": r"progress ask$", "nth": 2},
        {"request": calm.some("elicit", draw)},
        {"request": calm.some("delete", draw), "late": True},
        {"before": r"put .*/items\.jsonl$"},
        {"before": r"put .*/results\.json$"},
        {"before": r"put .*/report\.html$"},
    ]
    kill_in_turn(command, calm, plan)


def test_killed_at_random_in_every_stage_the_same_command_goes_on(command: Callable[..., Any], kill_at_random: Callable[..., None]) -> None:
    kill_at_random(command, STAGES, seeds=[0], times=1)
