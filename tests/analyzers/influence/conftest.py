"""The tiny model whose influence is tested."""

from collections.abc import Callable
from pathlib import Path

import pytest

from analyzers.text_model import TextModel


@pytest.fixture
def model(tiny_checkpoint: Callable[[str], Path]) -> TextModel:
    return TextModel.load(str(tiny_checkpoint("llama")), dtype="float32", device="cpu")
