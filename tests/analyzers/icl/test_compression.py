"""What is kept of a context, against the whole one with the rest masked, in every family that can."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from analyzers.errors import SubjectError
from analyzers.icl.compression import CompressedContext, anchors, check_compressible, random_tokens, read_context
from analyzers.icl.prompts import Template, icl_prompt
from analyzers.text_model import TextModel

Tiny = Callable[..., tuple[Any, Any]]

FAMILIES = ["llama", "mistral", "qwen2", "qwen3", "gemma2", "phi", "gpt2", "gpt_neox", "opt"]
CONTEXT = [11, 70, 90, 40, 30, 200, 80, 12, 13, 55, 61, 300, 17, 18, 19, 210, 77]
QUERIES = [[50, 60, 21], [33], [90, 91, 92, 93, 12]]
KEPT = (0, 3, 4, 9, 15, 16)
REVIEWS = Template("Review: {text}\nSentiment:{label}\n", ("Negative", "Positive"))
SHOWN = [("the river rises in the hills", 1), ("slowly through", 0), ("it reaches the harbour of the town", 1)]


def made(tiny: tuple[Any, Any]) -> TextModel:
    return TextModel(*tiny, name="tiny", identity={})


def masked(model: TextModel, kept: tuple[int, ...], query: list[int]) -> Tensor:
    """The reference: the whole text at once, under a 4-D mask in which the query does not see what was dropped."""
    ids = [*CONTEXT, *query]
    seen = torch.ones(len(ids), len(ids), dtype=torch.bool).tril()
    seen[len(CONTEXT) :, [at for at in range(len(CONTEXT)) if at not in kept]] = False
    mask = torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)[None, None]
    places = torch.arange(len(ids))[None]
    with torch.no_grad():
        # Families with windows take one mask a kind of layer.
        both = {"full_attention": mask, "sliding_attention": mask}
        many = hasattr(model.model.config, "layer_types") and model.model.config.model_type in ("gemma2", "qwen2", "qwen3")
        output = model.model(input_ids=torch.tensor([ids]), attention_mask=both if many else mask, position_ids=places)
    logits: Tensor = output.logits[0, -1]
    return logits


@pytest.mark.parametrize("family", FAMILIES)
def test_a_compressed_context_answers_as_the_whole_one_with_the_rest_masked(family: str, tiny_model: Tiny) -> None:
    model = made(tiny_model(family))
    whole = read_context(model, CONTEXT)
    some = whole.keeping(KEPT)
    found = some.logits(model, QUERIES)
    for row, query in zip(found, QUERIES, strict=True):
        assert torch.allclose(row, masked(model, KEPT, query), atol=1e-4)
    # It is another thing than the whole context, and than the kept tokens as a text.
    assert (found - whole.logits(model, QUERIES)).abs().max() > 0.05
    text = read_context(model, [CONTEXT[at] for at in KEPT])
    assert (found - text.logits(model, QUERIES)).abs().max() > 0.05
    check_compressible(model, whole)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_whole_context_answers_as_the_text(family: str, tiny_model: Tiny) -> None:
    model = made(tiny_model(family))
    found = read_context(model, CONTEXT).logits(model, QUERIES)
    with torch.no_grad():
        for row, query in zip(found, QUERIES, strict=True):
            assert torch.allclose(row, model.forward(torch.tensor([[*CONTEXT, *query]])).logits[0, -1], atol=1e-4)


@given(kept=st.sets(st.integers(0, len(CONTEXT) - 1)), fewer=st.data())
@settings(max_examples=20, deadline=None)
def test_keeping_of_what_is_kept_is_keeping(kept: set[int], fewer: st.DataObject, tiny_model: Tiny) -> None:
    model = made(tiny_model("llama"))
    whole = read_context(model, CONTEXT)
    some = whole.keeping(sorted(kept))
    assert some.positions == tuple(sorted({0, *kept}))
    assert some.kept.ids == tuple(CONTEXT[at] for at in some.positions)
    assert some.bytes * len(CONTEXT) == whole.bytes * len(some.positions)
    assert whole.bytes == len(CONTEXT) * 3 * 2 * 2 * 8 * 4  # layers, keys and values, heads of keys, width, bytes of float32
    part = fewer.draw(st.sets(st.sampled_from(some.positions)))
    twice, once = some.keeping(sorted(part)), whole.keeping(sorted(part))
    assert twice.positions == once.positions
    for (keys, values), (other_keys, other_values) in zip(twice.kept.layers, once.kept.layers, strict=True):
        assert torch.equal(keys, other_keys)
        assert torch.equal(values, other_values)


def test_a_position_that_is_not_kept_is_refused(tiny_model: Tiny) -> None:
    some = read_context(made(tiny_model("llama")), CONTEXT).keeping([3, 5])
    with pytest.raises(ValueError, match=r"positions \[4\]"):
        some.keeping([3, 4])


def test_the_check_finds_a_model_that_places_a_query_behind_what_is_kept(tiny_model: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    model = made(tiny_model("llama"))
    whole = read_context(model, CONTEXT)
    keeping = CompressedContext.keeping

    def closed_up(self: CompressedContext, positions: range) -> CompressedContext:
        some = keeping(self, positions)
        return replace(some, length=len(some.positions))

    monkeypatch.setattr(CompressedContext, "keeping", closed_up)
    with pytest.raises(SubjectError, match="cannot be compressed"):
        check_compressible(model, whole)


def test_what_cannot_be_compressed_is_refused(tiny_model: Tiny) -> None:
    bloom = made(tiny_model("bloom"))
    with pytest.raises(SubjectError, match="can be read, not masked"):
        check_compressible(bloom, read_context(bloom, CONTEXT))
    with pytest.raises(SubjectError, match="is an encoder"):
        read_context(made(tiny_model("bert")), CONTEXT)
    with pytest.raises(SubjectError, match="takes 16; show fewer demonstrations"):
        read_context(made(tiny_model("llama", max_position_embeddings=16)), CONTEXT)
    windowed = made(tiny_model("mistral", sliding_window=20))
    context = read_context(windowed, CONTEXT)
    context.logits(windowed, [[5, 6]])
    with pytest.raises(SubjectError, match="sees at once in some layers 20"):
        context.logits(windowed, [[5, 6, 7, 8]])


def test_anchors_are_labels_and_formatting(tiny_model: Tiny) -> None:
    model = made(tiny_model("llama"))
    prompt = icl_prompt(model, REVIEWS, SHOWN, "the bank")
    kept = anchors(prompt)
    assert kept[0] == 0
    assert not {at for some in prompt.texts for at in some} & set(kept)
    said = "".join(model.tokens.text(prompt.ids[at]) for at in kept)
    expected = "".join(REVIEWS.query("") + REVIEWS.target(label) + REVIEWS.after for _, label in SHOWN)
    assert said.replace(" ", "").removeprefix("<s>") == expected.replace(" ", "")


@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_random_tokens_are_as_many_and_hold_no_label(seed: int, tiny_model: Tiny) -> None:
    prompt = icl_prompt(made(tiny_model("llama")), REVIEWS, SHOWN, "the bank")
    drawn = random_tokens(prompt, np.random.default_rng(seed))
    labels = {at for some in prompt.label_tokens for at in some}
    assert drawn[0] == 0
    assert not labels & set(drawn)
    kept = anchors(prompt)
    for place in prompt.demonstrations:
        inside = [at for at in place if at > 0]
        free = len([at for at in inside if at not in labels])
        assert len(set(drawn) & set(inside)) == min(free, len(set(kept) & set(inside)))
