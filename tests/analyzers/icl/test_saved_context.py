"""A compressed context in a file, against the same one in memory and against the whole prompt with the rest masked."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from analyzers.attention.door import attending, blocked
from analyzers.errors import AssetError, SubjectError
from analyzers.icl.compression import anchors
from analyzers.icl.prompts import Template, icl_prompt
from analyzers.icl.saved_context import SavedContext
from analyzers.text_model import TextModel

Tiny = Callable[..., tuple[Any, Any]]

REVIEWS = Template("Review: {text}\nSentiment:{label}\n", ("Negative", "Positive", "Mixed"))
SHOWN = [("the river rises in the hills", 1), ("slowly through", 0), ("it reaches the harbour", 2)]
TEXTS = ["the bank", "north of the town and runs"]


def made(tiny: tuple[Any, Any], name: str = "tiny") -> TextModel:
    return TextModel(*tiny, name=name, identity={"revision": "1"})


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_saved_answers_as_before_and_as_the_masked_prompt(
    family: str, dtype: torch.dtype, tiny_model: Tiny, tmp_path: Path
) -> None:
    model, tokenizer = tiny_model(family)
    read = made((model.to(dtype), tokenizer))
    saved = SavedContext.of(read, REVIEWS, SHOWN)
    path = tmp_path / "context.safetensors"
    saved.save(path)
    loaded = SavedContext.load(path, read)
    assert (loaded.text, loaded.template, loaded.model) == (saved.text, REVIEWS, read.identity)
    found = loaded.logits(read, TEXTS)
    assert torch.equal(found, saved.logits(read, TEXTS))
    answered = loaded.answer(read, TEXTS)
    assert torch.allclose(answered.sum(1), torch.ones(2))
    for row, chances, text in zip(found, answered, TEXTS, strict=True):
        prompt = icl_prompt(read, REVIEWS, SHOWN, text)
        at = torch.zeros(len(prompt), len(prompt), dtype=torch.bool)
        at[prompt.query.start :, [place for place in range(prompt.query.start) if place not in anchors(prompt)]] = True
        mask = blocked(at, dtype)
        with torch.no_grad(), attending(read.model, masked=lambda _layer, mask=mask: mask):  # type: ignore[misc]
            expected = read.forward(torch.tensor([prompt.ids])).logits[0, -1].float()
        tolerance = 1e-4 if dtype == torch.float32 else 0.1
        assert torch.allclose(row, expected, atol=tolerance)
        assert torch.allclose(chances, expected[list(prompt.class_tokens)].softmax(0), atol=tolerance)


def test_another_model_is_refused(tiny_model: Tiny, tmp_path: Path) -> None:
    saved = SavedContext.of(made(tiny_model("llama")), REVIEWS, SHOWN)
    with pytest.raises(SubjectError, match="was read by tiny, 1, float32 and cannot be used with other"):
        saved.answer(made(tiny_model("llama"), "other"), TEXTS)


def test_demonstrations_that_run_into_the_query_are_refused(tiny_model: Tiny) -> None:
    form = Template("{text} is the:{label} ", ("Negative", "Positive"))  # its last space is of the token of the query's first word
    with pytest.raises(SubjectError, match="end the template with a line break"):
        SavedContext.of(made(tiny_model("llama")), form, [("it", 0), ("a", 1)])


@pytest.mark.parametrize("content", [b"", b"no tensors at all", None])
def test_a_file_that_is_no_context_is_refused(content: bytes | None, tiny_model: Tiny, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "other.safetensors"
    if content is None:
        save_file({"keys.0": torch.zeros(1)}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(AssetError, match="is no context that was saved"):
        SavedContext.load(path, made(tiny_model("llama")))
