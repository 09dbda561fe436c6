"""Blocks for tokenizers of every kind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import ByT5Tokenizer

from analyzers.passes import open_blocks
from analyzers.subject import Subject


def test_a_tokenizer_that_runs_in_python_is_told_from_others_by_its_vocabulary(
    tiny_model: Callable[..., Any], tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXPLICATE_PASSES", str(tmp_path / "passes"))
    model, _ = tiny_model("llama")
    build: Any = ByT5Tokenizer

    def folder(**settings: int) -> Path:
        subject = Subject(model, build(**settings), name="bytes", identity={})
        blocks = open_blocks(subject, str(tiny_corpus), tokens=20_000, excerpt_tokens=32, seed=0)
        assert blocks.tokens > 10_000
        return blocks.folder

    assert folder() == folder() != folder(extra_ids=5)
