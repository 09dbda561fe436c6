"""Labelling is killed at every stage, by the machinery in conftest.py; the same command goes on."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SAME = ("excerpts.parquet", "simulations.parquet", "scores.parquet", "explanations.jsonl", "activations/evidence.safetensors")


@pytest.fixture
def command(killable: Callable[..., Any], server: Any, tiny_checkpoint: Callable[[str], Path], tiny_corpus: Path) -> Callable[..., Any]:
    """command("name") is the command in a new folder of that name; command("name", "local:FOLDER") with another simulator."""

    def build(name: str, simulator: str = "openai:reader") -> Any:
        argv = ["label", str(tiny_checkpoint("llama")), "--sites", "L0.mlp.3,L1.mlp.7-", "--corpus", str(tiny_corpus), "--tokens", "9000"]
        argv += ["--explainer", "openai:writer", "--simulator", simulator, "--base-url", server.url, "--concurrency", "1"]
        return killable(name, argv, answer=server.labeller, same=SAME)

    return build


def test_killed_in_every_stage_the_same_command_goes_on(command: Callable[..., Any], kill_in_turn: Callable[..., None]) -> None:
    calm = command("calm")
    assert calm.attempt() == 0
    draw = random.Random(0)
    plan: list[dict[str, Any]] = [
        {"request": calm.some("probe", draw)},
        {"before": r"write .*\.part/test\.index", "nth": 1},
        {"before": r"put .*/blocks/[0-9a-f]{20}$"},
        {"before": r"put .*/out/manifest\.json$"},
        {"before": r"put .*/out/manifest\.json$", "nth": 2},
        {"before": r"put .*checkpoint\.safetensors$"},
        {"before": r"put .*/calibrate\.safetensors$"},
        {"before": r"put .*/activations\.json$"},
        {"before": r"put .*/excerpts\.parquet$"},
        {"before": r"put .*/evidence\.safetensors$"},
        {"request": calm.some("explain", draw)},
        {"before": r"write .*transcript\.jsonl$", "nth": draw.randint(1, 4)},
        {"request": calm.some("selftest", draw), "late": True},
        {"before": r"put .*/instruments/"},
        {"request": calm.some("select", draw)},
        {"request": calm.some("simulate", draw), "late": True},
        {"before": r"put .*/simulations\.parquet$"},
        {"before": r"put .*/results\.json$"},
        {"before": r"put .*/report\.html$"},
    ]
    kill_in_turn(command, calm, plan)


STAGES = {
    "sampling": r"^progress sample$",
    "explain": r"^put .*/evidence\.safetensors$",
    "select and simulate": r"^progress selftest$",
    "report": r"^put .*/simulations\.parquet$",
    "end": r"^put .*/report\.html$",
}
"""How each begins."""


def test_killed_at_random_in_every_stage_the_same_command_goes_on(command: Callable[..., Any], kill_at_random: Callable[..., None]) -> None:
    """Six times in each stage, over both seeds."""
    kill_at_random(command, STAGES, seeds=range(2))


def test_killed_at_random_in_every_stage_a_run_with_a_local_model_goes_on(
    command: Callable[..., Any], kill_at_random: Callable[..., None], tiny_llm: Path
) -> None:
    kill_at_random(lambda name: command(name, f"local:{tiny_llm}"), STAGES, seeds=[0])
