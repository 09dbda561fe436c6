"""What a model is told of a result: data in a fence that nothing in it can close, and how much it may still do."""

import json
import re

from agents.experimenter.session import Result
from prompts import Prompt


def fence(text: str, kind: str = "") -> str:
    """The text between fences that are longer than any run of backticks in it."""
    mark = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{mark}{kind}\n{text}\n{mark}"


def told(result: Result, prompt: Prompt, *, steps: int, calls: int) -> str:
    """The result as the model reads it. steps, calls: how many turns and calls of tools it has left."""
    data = {"experiment": result.number, **result.data} if result.number is not None else result.data
    left = prompt.render("left", steps=str(steps), calls=str(calls)) if steps > 1 and calls > 0 else prompt.render("last")
    return prompt.render("result", data=fence(json.dumps(data, ensure_ascii=False, allow_nan=False), "json"), left=left)
