"""Reading the hidden states of all layers at 10,000 words against the bare forward passes over the same batches, alternated."""

import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

from analyzers.corpus import SAMPLE, documents
from analyzers.padding import like_lengths, padded
from analyzers.states.pieces import Piece
from analyzers.states.reading import bare_pass, read_states, wanted
from analyzers.text_model import TextModel
from analyzers.units import cut

MODEL = "smollm2-135m"
WORDS = 10_000
FEW = 2_500
"""Words of the reading whose memory is compared."""
ROUNDS = 3


def main() -> dict[str, Any]:
    """Medians of seconds, their ratio, and the largest memory of the process after few and after all words."""
    model = TextModel.load(MODEL)
    pieces = _pieces(WORDS)
    few = _pieces(FEW)
    ids = [read for read, _ in wanted(model, pieces, "mean")]
    _fresh(model, few)
    before = _peak()
    ways: dict[str, Callable[[], object]] = {
        "passes": lambda: [bare_pass(model, *padded([ids[at] for at in batch])) for batch in like_lengths([len(each) for each in ids])],
        "reading": lambda: _fresh(model, pieces),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, run in ways.items():
            began = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - began)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "model": MODEL,
        "words": WORDS,
        "tokens": sum(map(len, ids)),
        **{f"{name}_s": round(value, 2) for name, value in median.items()},
        "ratio": round(statistics.median(one / other for one, other in zip(seconds["reading"], seconds["passes"], strict=True)), 3),
        "peak_mb_few_words": round(before),
        "peak_mb_all_words": round(_peak()),
    }


def _fresh(model: TextModel, pieces: Sequence[Piece]) -> None:
    """Read into a folder of their own, as if for the first time."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["EXPLICATE_PASSES"] = folder
        try:
            read_states(model, pieces)
        finally:
            del os.environ["EXPLICATE_PASSES"]


def _pieces(words: int) -> list[Piece]:
    """Sentences of the sample with a span for each word."""
    found: list[Piece] = []
    left = words
    for document in documents(SAMPLE):
        for text in cut(document.text, "sentence").texts:
            spans = cut(text, "word").spans[:left]
            if spans:
                found.append(Piece(text, spans))
                left -= len(spans)
            if not left:
                return found
    raise ValueError(f"the sample has fewer than {words} words")


def _peak() -> float:
    """Largest memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
