"""Methods that read attention: on heads that do what is planted in them, and against their formulas by another way through the model."""

from collections.abc import Callable, Sequence
from typing import Any

import networkx
import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from analyzers.saliency import SALIENCIES
from analyzers.text_model import TextModel

Tiny = Callable[..., tuple[Any, Any]]
Floats = npt.NDArray[np.float64]

IDS, TARGETS = (11, 70, 90, 40), [(30,), (30, 12, 7)]
FAMILIES = ["llama", "gpt2", "qwen2", "gpt_neox"]
METHODS = ["attention", "attention-flow", "attention-rollout", "attention-x-gradient", "value-norm"]


def found(method: str, model: TextModel, ids: Sequence[int], target: Sequence[int]) -> Floats:
    result = SALIENCIES.get(method)(model, ids, target)
    assert (result.values.shape, result.values.dtype, dict(result.facts)) == ((len(ids),), np.float64, {})
    return result.values


class Eager:
    """A model that computes attention by its own eager function, which is read as it comes out."""

    def __init__(self, family: str, tiny_model: Tiny, target: Sequence[int]) -> None:
        net, tokenizer = tiny_model(family)
        self.model = TextModel(net.requires_grad_(False), tokenizer, name="tiny", identity={})
        self.net, _ = tiny_model(family, attn_implementation="eager")
        output = self.net.eval()(input_ids=torch.tensor([[*IDS, *target]]), output_attentions=True)
        self.layers: list[Tensor] = list(output.attentions)
        """[1, head, query, key] each, within the graph"""
        logprobs = output.logits[0].log_softmax(-1)
        self.value = sum(logprobs[len(IDS) - 1 + at, token] for at, token in enumerate(target))
        self.queries = range(len(IDS) - 1, len(IDS) + len(target) - 1)

    @property
    def attention(self) -> Floats:
        """[layer, head, query, key] over the prompt and all of the target but its last token"""
        end = self.queries.stop
        return torch.cat(self.layers)[:, :, :end, :end].double().detach().numpy()

    def mean(self, matrix: Floats) -> Floats:
        return np.mean([matrix[query, : len(IDS)] for query in self.queries], axis=0)  # type: ignore[no-any-return]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("family", FAMILIES)
def test_attention_is_that_of_the_last_layer(family: str, target: tuple[int, ...], tiny_model: Tiny) -> None:
    eager = Eager(family, tiny_model, target)
    expected = eager.mean(sum(eager.attention[2, head] for head in range(4)) / 4)
    assert found("attention", eager.model, IDS, target) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("family", FAMILIES)
def test_rollout_is_the_sum_over_all_paths(family: str, target: tuple[int, ...], tiny_model: Tiny) -> None:
    eager = Eager(family, tiny_model, target)
    weights = eager.attention.mean(1) / 2 + np.eye(eager.queries.stop) / 2
    held = np.zeros(weights.shape[1:])
    for (query, third), share in np.ndenumerate(weights[2]):
        for second in range(third + 1):
            held[query] += share * weights[1, third, second] * weights[0, second]
    assert found("attention-rollout", eager.model, IDS, target) == pytest.approx(eager.mean(held), abs=1e-5)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_flow_is_that_of_networkx(family: str, target: tuple[int, ...], tiny_model: Tiny) -> None:
    eager = Eager(family, tiny_model, target)
    weights = eager.attention.mean(1) / 2 + np.eye(eager.queries.stop) / 2
    graph = networkx.DiGraph()
    for (layer, query, key), share in np.ndenumerate(weights):
        graph.add_edge((layer + 1, query), (layer, key), capacity=float(share))
    end = len(weights)
    expected = [np.mean([networkx.maximum_flow_value(graph, (end, query), (0, key)) for query in eager.queries]) for key in range(len(IDS))]
    assert found("attention-flow", eager.model, IDS, target) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("family", FAMILIES)
def test_attention_x_gradient_follows_attention_that_raises_the_target(family: str, target: tuple[int, ...], tiny_model: Tiny) -> None:
    eager = Eager(family, tiny_model, target)
    slopes = torch.autograd.grad(eager.value, eager.layers)
    end = eager.queries.stop
    relevance = np.eye(end)
    for weights, slope in zip(eager.layers, slopes, strict=True):
        raising = (weights * slope)[0, :, :end, :end].detach().double().clamp(min=0).mean(0).numpy()
        relevance = relevance + raising @ relevance
    for query in eager.queries:
        relevance[query, query] -= 1
    expected = eager.mean(relevance)
    assert expected.max() > 0.01
    assert found("attention-x-gradient", eager.model, IDS, target) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("target", TARGETS)
def test_value_norms_are_lengths_of_what_heads_write(target: tuple[int, ...], tiny_model: Tiny) -> None:
    eager = Eager("gpt2", tiny_model, target)
    read = torch.tensor([[*IDS, *target[:-1]]])
    expected = np.zeros((eager.queries.stop,) * 2)
    with torch.no_grad():
        states = eager.net(input_ids=read, output_hidden_states=True).hidden_states
        for layer, block in enumerate(eager.net.transformer.h):
            entering = block.ln_1(states[layer][0])
            for head in range(4):
                inner = slice(64 + 8 * head, 64 + 8 * (head + 1))  # behind all queries and keys
                values = entering @ block.attn.c_attn.weight[:, inner] + block.attn.c_attn.bias[inner]
                written = values @ block.attn.c_proj.weight[8 * head : 8 * (head + 1)]
                for (query, key), share in np.ndenumerate(eager.attention[layer, head]):
                    expected[query, key] += float((share * written[key]).norm())
    assert found("value-norm", eager.model, IDS, target) == pytest.approx(eager.mean(expected), rel=1e-4)


@pytest.mark.parametrize(("text", "target", "places"), [("abcda", "b", [2]), ("qwertyq", "w", [2]), ("xyabcdefa", "bc", [4, 5])])
def test_methods_point_at_what_planted_heads_copy(text: str, target: str, places: list[int], planted_model: TextModel) -> None:
    # Token 0 is <s>; what is copied stands right behind where the last token stood before.
    ids, said = planted_model.prompt(text).ids, planted_model.continuation(text, target)
    last = len(ids) - 1
    others = [place for place in range(last) if place not in places]

    def gap(values: Floats, rest: list[int]) -> float:
        return float(min(values[places]) - max(values[rest]))

    for method in ("attention", "attention-x-gradient", "gradient-x-input"):
        assert gap(SALIENCIES.get(method)(planted_model, ids, said).values, [*others, last]) > 1e-3
    # Besides, only the previous-token head writes: what stands before the last token, and with a second one to predict that token.
    norms = found("value-norm", planted_model, ids, said)
    before = list(range(last - 1, last - 1 + len(places)))
    assert norms[[*places, *before]] == pytest.approx(1 / len(places), abs=0.01)
    assert norms[[place for place in range(len(ids)) if place not in (*places, *before)]] == pytest.approx(0, abs=1e-3)
    # The last token decides what is looked for, the embeddings of what is neither looked for nor found do nothing.
    norm = SALIENCIES.get("gradient-norm")(planted_model, ids, said).values
    assert gap(norm, others) > 1e-3
    path = SALIENCIES.get("integrated-gradients")(planted_model, ids, said).values
    assert gap(path, others) > 1
    assert path[last] > max(path[others]) + 1


def test_rollout_and_flow_of_planted_heads_have_their_closed_form(planted_model: TextModel) -> None:
    ids, said = planted_model.prompt("abcda").ids, planted_model.continuation("abcda", "b")
    even = np.tril(np.ones((6, 6))) / np.arange(1, 7)[:, None]
    first, before, same, induction = np.eye(6)[[0] * 6], np.eye(6)[[0, 0, 1, 2, 3, 4]], even.copy(), even.copy()
    before[0], same[5], induction[5] = even[0], np.eye(6)[1], np.eye(6)[2]
    below = (even + first + before + same) / 8 + np.eye(6) / 2
    above = (3 * even + induction) / 8 + np.eye(6) / 2
    assert found("attention-rollout", planted_model, ids, said)[[2, 5]] == pytest.approx((above @ below)[5, [2, 5]], abs=0.02)
    assert found("attention", planted_model, ids, said) == pytest.approx(((3 * even + induction) / 4)[5], abs=1e-4)
    # From the last token at the end to itself at the beginning only its own edges lead.
    assert found("attention-flow", planted_model, ids, said)[5] == pytest.approx(min(above[5, 5], below[5, 5]), abs=1e-4)
