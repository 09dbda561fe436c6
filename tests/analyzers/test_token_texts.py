"""Texts of token numbers, by a tokenizer without its model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analyzers.errors import AssetError, ExplicateError, SubjectError
from analyzers.token_texts import TokenTexts


def test_texts_are_exact_and_need_no_model(tiny_model: Callable[..., tuple[Any, Any]], tmp_path: Path) -> None:
    tokenizer = tiny_model("llama")[1]
    tokenizer.save_pretrained(tmp_path / "alone")
    texts = TokenTexts.load(str(tmp_path / "alone"))
    text = " The river rises in 1927,\nand\tfalls."
    ids = tokenizer.encode(text, add_special_tokens=False)
    found = texts.of(ids, Path("f"))
    assert "".join(found) == text
    assert len(found) == len(ids)


def test_a_model_s_folder_does_too(tiny_checkpoint: Callable[[str], Path]) -> None:
    assert len(TokenTexts.load(str(tiny_checkpoint("llama"))).of([5, 6], Path("f"))) == 2


def test_what_the_tokenizer_lacks_is_told(tiny_checkpoint: Callable[[str], Path], tmp_path: Path, workplace: Path) -> None:
    texts = TokenTexts.load(str(tiny_checkpoint("llama")))
    for number in (-1, 10_000):
        with pytest.raises(ExplicateError, match=f"'f' has token {number}, and the tokenizer"):
            texts.of([3, number], Path("f"))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "tokenizer.json").write_text("{}")
    with pytest.raises(SubjectError, match="no tokenizer that can be loaded"):
        TokenTexts.load(str(tmp_path / "broken"))
    with pytest.raises(AssetError, match="is not a folder"):
        TokenTexts.load("./nothing")
