"""The scorer of CONTRIBUTING.md is taken out of it and used like any other."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evals.planted import planted
from evals.scorers import SCORERS
from evals.selftest_scorers import try_scorer

TEXT = (Path(__file__).parents[3] / "CONTRIBUTING.md").read_text("utf-8")
LINES = 25


@pytest.fixture
def example() -> Iterator[str]:
    """The code of the example, whose scorer is registered while a test runs."""
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    exec(compile(code, "overlap.py", "exec"), {"__name__": "overlap"})
    yield code
    SCORERS._folder._parts.pop("overlap")


def test_it_is_short(example: str) -> None:
    assert len([line for line in example.splitlines() if line.strip()]) <= LINES


async def test_it_judges_explanations_that_name_their_words(example: str) -> None:
    scorer: Any = SCORERS.create("overlap")
    words = [neuron for neuron in planted() if neuron.kind == "word"]
    found = await try_scorer(scorer, words)
    assert found.judged == ["word"]
    assert found.n_failed == 0
