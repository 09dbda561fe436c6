"""`explicate --help` against an empty typer program, alternated; medians of wall seconds."""

import statistics
import subprocess
import sys
import time
from typing import Any

ROUNDS = 15
EMPTY = "import typer\napp = typer.Typer()\n@app.command()\ndef nothing() -> None:\n    pass\napp()"


def main() -> dict[str, Any]:
    """Seconds of both and their ratio."""
    programs = {
        "explicate": [sys.executable, "-c", "from explicate.cli import main; main()", "--help"],
        "empty_typer": [sys.executable, "-c", EMPTY, "--help"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(ROUNDS):
        for name, command in programs.items():
            began = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own programs
            seconds[name].append(time.perf_counter() - began)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    return {**{name: round(value, 3) for name, value in median.items()}, "ratio": round(median["explicate"] / median["empty_typer"], 2)}
