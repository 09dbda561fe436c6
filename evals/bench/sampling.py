"""Sampling against the bare forward pass: tokens a second, alternated in one process, and peak memory, each in a process of its own.

`python -m evals.bench.sampling 200000 bfloat16` prints the result as JSON.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from analyzers.blocks import Blocks, BlockSettings
from analyzers.memory import peak_rss_mb
from analyzers.sampling import sample
from analyzers.subject import Subject

MODEL = "smollm2-135m"
CORPUS = "wikipedia-sample"
STRETCH = 4
"""Batches sampled, then the same batches bare: short enough that a host's changing speed strikes both alike."""
MEMORY_TOKENS = (50_000, 100_000)
"""Peak memory is measured at two lengths, since it must not grow with the corpus."""


def main(tokens: int, dtype: str) -> dict[str, Any]:
    """Tokens a second of `sample`, all its writing included, and of the forward pass alone; peak memory in MB."""
    with tempfile.TemporaryDirectory() as folder:
        speed = _speed(tokens, dtype, Path(folder))
    memory = {"bare_mb": _peak("bare", MEMORY_TOKENS[-1], dtype)}
    memory |= {f"sampling_{length}_tokens_mb": _peak("sampling", length, dtype) for length in MEMORY_TOKENS}
    return {"model": MODEL, "dtype": dtype, **speed, "peak_rss": memory}


def _blocks(subject: Subject, tokens: int, folder: Path) -> Blocks:
    return Blocks.build(CORPUS, subject.encode, folder / "blocks", tokenizer_identity=MODEL, settings=BlockSettings(tokens=tokens))


def _speed(tokens: int, dtype: str, folder: Path) -> dict[str, Any]:
    subject = Subject.load(MODEL, dtype=dtype)
    blocks = _blocks(subject, tokens, folder)
    batches: list[Any] = []
    seconds: list[tuple[float, float, int]] = []
    """(sampled, bare, tokens) of every stretch"""
    before, replaying, began = 0, False, 0.0

    def remember(_module: object, _args: object, kwargs: dict[str, Any]) -> None:
        if not replaying:
            batches.append(kwargs["input_ids"])

    def replay(what: str, done: int, total: int) -> None:
        nonlocal began, before, replaying
        if what == "sample" and (len(batches) == STRETCH or done == total):
            sampled = time.perf_counter() - began
            replaying = True
            began = time.perf_counter()
            for ids in batches:
                subject.forward(ids)
            seconds.append((sampled, time.perf_counter() - began, done - before))
            batches.clear()
            before, replaying, began = done, False, time.perf_counter()

    _forward_once(subject)
    handle = subject.base.register_forward_pre_hook(remember, with_kwargs=True)
    began = time.perf_counter()
    sample(subject, blocks, folder / "pass", report=replay)
    rest = time.perf_counter() - began
    handle.remove()
    sampled, bare = sum(each[0] for each in seconds) + rest, sum(each[1] for each in seconds)
    return {
        "tokens": blocks.tokens,
        "sampling_tokens_per_second": blocks.tokens / sampled,
        "bare_tokens_per_second": blocks.tokens / bare,
        "ratio": bare / sampled,
        "by_stretch": [round(each[1] / each[0], 3) for each in seconds],
        "written_mb": sum(path.stat().st_size for path in (folder / "pass").iterdir()) / 1e6,
    }


def _forward_once(subject: Subject) -> None:
    """What is done only once (memory, kernels chosen by shape) belongs to neither side."""
    subject.forward(subject.tokenizer(["word" + " word" * 127] * 16, return_tensors="pt").input_ids)


def _peak(kind: str, tokens: int, dtype: str) -> int:
    command = [sys.executable, "-m", "evals.bench.sampling", kind, str(tokens), dtype]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - its own program
    return int(done.stdout.splitlines()[-1])


def _run_for_peak(kind: str, tokens: int, dtype: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        subject = Subject.load(MODEL, dtype=dtype)
        blocks = _blocks(subject, tokens, Path(folder))
        if kind == "bare":
            for _ in range(4):
                _forward_once(subject)
        else:
            sample(subject, blocks, Path(folder) / "pass")
    print(round(peak_rss_mb()))


if __name__ == "__main__":
    if sys.argv[1] in ("bare", "sampling"):
        _run_for_peak(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    else:
        print(json.dumps(main(int(sys.argv[1]), sys.argv[2]), indent=1))
