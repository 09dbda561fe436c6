"""A tiny random model at work on a made-up task of three classes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from analyzers.text_model import TextModel
from evals.icl.drawing import draw
from evals.icl.run import prepared
from evals.icl.setting import Setting
from evals.icl.task import IclItem, IclTask

WORDS = ("the", "river", "hills", "north", "town", "harbour", "bank", "runs", "slowly", "it")
LABELS = ("Negative", "Positive", "Mixed")


@pytest.fixture
def setting_of(tiny_model: Callable[..., tuple[Any, Any]]) -> Callable[..., Setting]:
    """setting_of(labels=3, items=30, n=12, **changes of the model) is a fresh setting of two draws of one demonstration a class."""

    def build(*, labels: int = 3, items: int = 30, n: int = 12, family: str = "llama", **changes: Any) -> Setting:
        rng = np.random.default_rng(5)
        texts = dict.fromkeys(" ".join(rng.choice(WORDS, int(rng.integers(2, 6)))) for _ in range(items))
        every = tuple(IclItem(number, text, number % labels) for number, text in enumerate(texts))
        task = IclTask("made-up", "Review: {text}\nSentiment:{label}\n", LABELS[:labels], every, "made-up", 0)
        model = TextModel(*tiny_model(family, **changes), name="tiny", identity={})
        return prepared(model, task, draw(every, task.labels, shots=1, n=n, seeds=2, seed=0))

    return build
