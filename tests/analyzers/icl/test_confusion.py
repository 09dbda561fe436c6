"""Queries and keys of labels, against the attention that they give; distances along directions, against score differences."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.attention.door import Attended, attending
from analyzers.errors import SubjectError
from analyzers.icl.confusion import label_vectors, predicted_distances
from analyzers.icl.prompts import IclPrompt, Template, icl_prompt
from analyzers.text_model import TextModel

Tiny = Callable[..., tuple[Any, Any]]

REVIEWS = Template("Review: {text}\nSentiment:{label}\n", ("Negative", "Positive", "Mixed"))
SHOWN = [("the river rises", 1), ("slowly through", 0), ("it reaches the harbour", 2), ("north of the town", 1)]


def prompts_of(model: TextModel) -> list[IclPrompt]:
    return [icl_prompt(model, REVIEWS, SHOWN, query) for query in ("the bank", "runs", "in the hills north of the town", "a")]


def made(tiny: tuple[Any, Any]) -> TextModel:
    return TextModel(*tiny, name="tiny", identity={})


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "qwen3", "phi"])
def test_differences_of_scores_are_those_of_log_attention(family: str, tiny_model: Tiny) -> None:
    model = made(tiny_model(family, hidden_size=32))
    prompts = prompts_of(model)
    before = model.model.config._attn_implementation
    found = label_vectors(model, prompts)
    assert model.model.config._attn_implementation == before
    for number, prompt in enumerate(prompts):
        seen: list[Attended] = []
        with torch.no_grad(), attending(model.model, seen=seen.append):
            model.forward(torch.tensor([prompt.ids]))
        for layer, one in enumerate(seen):
            logs = one.probabilities[0, :, prompt.q].double().log()
            width = one.values.shape[-1]
            own = {label: [at for at, each in zip(prompt.labels, prompt.classes, strict=True) if each == label] for label in range(3)}
            # Keys of a class are the mean over its labels, and so are scores.
            scores = {label: logs[:, places].mean(1) for label, places in own.items()}
            query, keys = found.queries[number, layer].reshape(4, -1), found.keys[number, layer].reshape(3, 4, -1)
            for label in (0, 2):
                expected = (scores[1] - scores[label]).numpy()
                dot = ((keys[1] - keys[label]) * query).sum(-1) / np.sqrt(width)
                assert np.allclose(dot, expected, atol=1e-4)
    assert found.queries.std(0).max() > 1e-3
    assert np.allclose(found.keys, found.keys[:1], atol=1e-4)  # the context is the same


@given(seed=st.integers(0, 10_000), prompts=st.integers(3, 12), width=st.integers(2, 8), classes=st.integers(2, 5))
@settings(max_examples=50, deadline=None)
def test_all_directions_give_the_deviation_of_score_differences(seed: int, prompts: int, width: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    queries, keys = rng.normal(size=(prompts, width)), rng.normal(size=(classes, width))
    counts = rng.integers(1, 4, size=prompts).astype(np.float64)
    scores = np.repeat(queries, counts.astype(int), axis=0) @ keys.T
    expected = np.array([[(scores[:, a] - scores[:, b]).std() for b in range(classes)] for a in range(classes)])
    found = predicted_distances(queries, keys, directions=width, weights=counts)
    assert np.allclose(found, expected / expected.max(), atol=1e-8)
    # Fewer directions see less of every difference.
    few = predicted_distances(queries, keys, directions=1)
    assert few.max() == pytest.approx(1)
    assert np.allclose(few, few.T)
    assert np.allclose(np.diag(few), 0)


def test_keys_are_kept_of_the_prompts_asked_for(tiny_model: Tiny) -> None:
    model = made(tiny_model("llama"))
    prompts = prompts_of(model)
    every, some = label_vectors(model, prompts), label_vectors(model, prompts, keys_of=[3, 0])
    assert some.keys.shape[0] == 2
    assert np.array_equal(some.keys, every.keys[[3, 0]])
    assert np.array_equal(some.queries, every.queries)
    assert some.keys.dtype == some.queries.dtype == np.float32


def test_a_direction_in_which_queries_do_not_vary_tells_nothing_apart() -> None:
    queries = np.array([[1.0, 5.0, 0.1], [-1.0, 5.0, -0.1], [2.0, 5.0, 0.0]])
    keys = np.array([[0.0, 0.0, 0.0], [0.0, 9.0, 0.0], [1.0, 0.0, 0.0]])
    found = predicted_distances(queries, keys, directions=1)
    assert found[0, 1] == pytest.approx(0, abs=0.01)
    assert found[0, 2] == pytest.approx(1)
    assert not predicted_distances(queries[:1].repeat(3, 0), keys).any()


def test_what_has_no_vectors_is_refused(tiny_model: Tiny) -> None:
    bloom = made(tiny_model("bloom"))
    with pytest.raises(SubjectError, match="can be read, not masked or changed"):
        label_vectors(bloom, prompts_of(bloom))
    llama = made(tiny_model("llama"))
    with pytest.raises(ValueError, match="every class"):
        label_vectors(llama, [icl_prompt(llama, REVIEWS, SHOWN[:2], "a")])
