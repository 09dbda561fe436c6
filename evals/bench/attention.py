"""Reading all attention of a prompt against one forward pass with eager attention, alternated; medians of wall seconds."""

import statistics
import time
from collections.abc import Callable
from typing import Any

from analyzers.attention.reading import read_attention
from analyzers.text_model import TextModel

MODEL = "smollm2-135m"
ROUNDS = 15
TOKENS = 128
TEXT = "The river rises in the hills north of the town and runs slowly through meadows before it reaches the harbour. "


def main() -> dict[str, Any]:
    """Seconds of both, and their ratio, in both number formats."""
    return {"model": MODEL, "tokens": TOKENS, **{dtype: _reading(dtype) for dtype in ("float32", "bfloat16")}}


def _reading(dtype: str) -> dict[str, float]:
    model = TextModel.load(MODEL, dtype=dtype)
    ids = list(model.prompt(TEXT * 20).ids)[:TOKENS]
    batch = model.tokenizer.pad({"input_ids": [ids]}, return_tensors="pt")["input_ids"]
    model.model.set_attn_implementation("eager")
    ways: dict[str, Callable[[], object]] = {"eager": lambda: model.forward(batch), "reading": lambda: read_attention(model, ids)}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, run in ways.items():
            began = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - began)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    return {**{f"{name}_s": round(value, 4) for name, value in median.items()}, "ratio": round(median["reading"] / median["eager"], 3)}
