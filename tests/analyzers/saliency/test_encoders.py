"""Methods on encoders: what stands at the masks, against the model read by itself, its own attention and its own gradients."""

from collections.abc import Callable, Sequence
from typing import Any

import networkx
import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from analyzers.attention.reading import gradient_attention
from analyzers.errors import SubjectError
from analyzers.saliency import SALIENCIES
from analyzers.saliency.value import values_of
from analyzers.text_model import TextModel

Tiny = Callable[..., tuple[Any, Any]]
Floats = npt.NDArray[np.float64]

FAMILIES = ["bert", "roberta", "distilbert", "albert"]
TARGETS = ["the", "the river of"]
METHODS = [
    *("attention", "attention-flow", "attention-rollout", "attention-x-gradient", "value-norm"),
    *("gradient-norm", "gradient-x-input", "integrated-gradients"),
]


class Masked:
    """A tiny encoder with a text whose masks stand in its midst, and a second model that computes attention by its own eager function."""

    def __init__(self, family: str, target: str, masked_model: Tiny) -> None:
        net, tokenizer = masked_model(family)
        self.model = TextModel(net.requires_grad_(False), tokenizer, name="tiny", identity={"dtype": "float32"})
        n = len(tokenizer(f" {target}")["input_ids"]) - 2
        self.text = f"water runs in {tokenizer.mask_token * n} hills to this day"
        self.ids = self.model.prompt(self.text).ids
        self.target = self.model.continuation(self.text, target)
        self.places = [at for at, number in enumerate(self.ids) if number == tokenizer.mask_token_id]
        assert len(self.places) == len(self.target) == n
        self.net, _ = masked_model(family, attn_implementation="eager")
        self.net.eval()

    def value(self, ids: Sequence[int]) -> float:
        """Log-probability of the target at the masks of a text, by softmax of the model's own output."""
        with torch.no_grad():
            logits = self.net(input_ids=torch.tensor([list(ids)])).logits[0].double()
        at = [place for place, number in enumerate(ids) if number == self.model.tokenizer.mask_token_id]
        return float(sum(logits[place, token] - logits[place].exp().sum().log() for place, token in zip(at, self.target, strict=True)))

    def eager(self) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """(value, attention [1, head, query, key] of each layer within its graph, hidden states)"""
        output = self.net(input_ids=torch.tensor([self.ids]), output_attentions=True, output_hidden_states=True)
        logprobs = output.logits[0].log_softmax(-1)
        value = sum(logprobs[place, token] for place, token in zip(self.places, self.target, strict=True))
        return value, list(output.attentions), list(output.hidden_states)

    def mean(self, matrix: Any) -> Floats:
        return np.mean([np.asarray(matrix)[place] for place in self.places], axis=0)  # type: ignore[no-any-return]

    def found(self, method: str) -> Floats:
        return SALIENCIES.get(method)(self.model, self.ids, self.target).values


@pytest.fixture(params=[(family, target) for family in FAMILIES for target in TARGETS], ids=lambda each: f"{each[0]}-{each[1]}")
def masked(request: pytest.FixtureRequest, masked_model: Tiny) -> Masked:
    return Masked(*request.param, masked_model)


def test_values_are_those_of_a_softmax_at_the_masks(masked: Masked, monkeypatch: pytest.MonkeyPatch) -> None:
    first, last = masked.places[0], masked.places[-1]
    prompts = [
        masked.ids,
        masked.ids[:1] + masked.ids[first:],
        masked.ids[: last + 1],
        masked.ids[first : last + 1],
        (*masked.ids[:first], 70, 71, *masked.ids[first:]),
    ]
    expected = [masked.value(ids) for ids in prompts]
    assert np.ptp(expected) > 0.1
    assert values_of(masked.model, prompts, masked.target) == pytest.approx(expected, abs=1e-4)
    monkeypatch.setattr("analyzers.padding.like_lengths.__defaults__", (2 * len(prompts[-1]),))
    assert values_of(masked.model, prompts, masked.target) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_masks_stay_while_others_are_told(family: str, masked_model: Tiny) -> None:
    masked = Masked(family, "the river of", masked_model)
    assert len(masked.target) > 1
    other = (masked.target[0], *((token + 1) % 90 + 5 for token in masked.target[1:]))
    logits = masked.net(input_ids=torch.tensor([masked.ids])).logits[0].detach().double().log_softmax(-1)
    change = sum(
        float(logits[place, two] - logits[place, one]) for place, one, two in zip(masked.places, masked.target, other, strict=True)
    )
    values = [float(values_of(masked.model, [masked.ids], target)[0]) for target in (masked.target, other)]
    assert values[1] - values[0] == pytest.approx(change, abs=1e-4)


def test_gradient_attention_is_that_of_autograd(masked: Masked) -> None:
    value, layers, _ = masked.eager()
    slopes = torch.autograd.grad(value, layers)
    expected = torch.stack([(one * slope)[0].clamp(min=0).mean(0) for one, slope in zip(layers, slopes, strict=True)]).detach()
    found = gradient_attention(masked.model, masked.ids, masked.target)
    assert found.shape == expected.shape
    assert float(expected.max()) > 1e-3
    assert torch.allclose(found, expected, atol=1e-4)
    # In the last layer only the masks' own queries reach the target.
    others = [place for place in range(len(masked.ids)) if place not in masked.places]
    assert not found[-1, others].any()
    assert bool((found[-1, masked.places].sum(-1) > 0).all())
    relevance = np.eye(len(masked.ids))
    for layer in expected.double().numpy():
        relevance = relevance + layer @ relevance
    assert masked.found("attention-x-gradient") == pytest.approx(masked.mean(relevance - np.eye(len(masked.ids))), abs=1e-4)


def test_attention_is_read_at_the_masks(masked: Masked) -> None:
    _, layers, _ = masked.eager()
    weights = torch.cat(layers).detach().double().numpy()
    assert masked.found("attention") == pytest.approx(masked.mean(weights[-1].mean(0)), abs=1e-5)
    mixed = weights.mean(1) / 2 + np.eye(len(masked.ids)) / 2
    assert masked.found("attention-rollout") == pytest.approx(masked.mean(mixed[2] @ mixed[1] @ mixed[0]), abs=1e-5)
    graph = networkx.DiGraph()
    for (layer, query, key), share in np.ndenumerate(mixed):
        graph.add_edge((layer + 1, query), (layer, key), capacity=float(share))
    for key in (0, masked.places[0]):
        flows = [networkx.maximum_flow_value(graph, (3, query), (0, key)) for query in masked.places]
        assert masked.found("attention-flow")[key] == pytest.approx(np.mean(flows), abs=1e-5)


def test_value_norms_are_lengths_of_what_heads_write_to_the_masks(masked_model: Tiny) -> None:
    masked = Masked("bert", "the river of", masked_model)
    _, layers, states = masked.eager()
    expected = np.zeros((len(masked.ids),) * 2)
    with torch.no_grad():
        for number, block in enumerate(masked.net.bert.encoder.layer):
            values = block.attention.self.value(states[number][0])
            for head in range(4):
                inner = slice(8 * head, 8 * (head + 1))
                written = values[:, inner] @ block.attention.output.dense.weight[:, inner].T
                expected += layers[number][0, head].double().numpy() * written.norm(dim=-1).double().numpy()
    assert masked.found("value-norm") == pytest.approx(masked.mean(expected), rel=1e-4)


def test_gradients_are_those_of_autograd(masked: Masked) -> None:
    kept: list[Tensor] = []

    def keep(_module: Any, _args: Any, output: Tensor) -> Tensor:
        kept.append(output.detach().requires_grad_())
        return kept[-1]

    hook = masked.net.get_input_embeddings().register_forward_hook(keep)
    value, _, _ = masked.eager()
    hook.remove()
    (slopes,) = torch.autograd.grad(value, kept)
    assert float(slopes.abs().max()) > 1e-2
    assert masked.found("gradient-norm") == pytest.approx(slopes[0].norm(dim=-1).numpy(), rel=1e-3, abs=1e-5)
    assert masked.found("gradient-x-input") == pytest.approx((slopes * kept[0].detach())[0].sum(-1).numpy(), rel=1e-3, abs=1e-4)


def test_integrated_gradients_add_up_and_leave_masks_and_marks(masked: Masked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analyzers.saliency.integrated_gradients.WRONG", np.inf)
    found = SALIENCIES.get("integrated-gradients")(masked.model, masked.ids, masked.target)
    special = set(masked.model.tokenizer.all_special_ids)
    stays = [at for at, number in enumerate(masked.ids) if number in special]
    assert set(masked.places) < set(stays)
    assert not found.values[stays].any()
    assert np.count_nonzero(found.values) == len(masked.ids) - len(stays)
    change = masked.value(masked.ids) - found.facts["baseline"]
    assert found.values.sum() == pytest.approx(change, abs=0.02 * max(abs(change), np.abs(found.values).max()))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_token_of_the_prompt_has_a_value_and_the_model_stays(
    family: str, method: str, masked_model: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analyzers.saliency.integrated_gradients.WRONG", np.inf)
    masked = Masked(family, "the river", masked_model)
    net = masked.model.model
    before = (net.config._attn_implementation, net(input_ids=torch.tensor([masked.ids])).logits)
    found = masked.found(method)
    assert found.shape == (len(masked.ids),)
    assert np.ptp(found) > 1e-3
    assert (found == masked.found(method)).all()
    assert (net.config._attn_implementation, True) == (before[0], torch.equal(net(input_ids=torch.tensor([masked.ids])).logits, before[1]))
    without = masked.ids[: masked.places[0]] + masked.ids[masked.places[0] + 1 :]
    mask = masked.model.tokenizer.mask_token
    with pytest.raises(SubjectError, match=f"'tiny' is an encoder, .* write {mask}".replace("[", r"\[")):
        SALIENCIES.get(method)(masked.model, without, masked.target)


def test_a_prompt_without_masks_has_no_value(masked_model: Tiny) -> None:
    masked = Masked("bert", "the", masked_model)
    bare = [number for number in masked.ids if number != masked.model.tokenizer.mask_token_id]
    with pytest.raises(SubjectError, match="has 1 token, and the text has no masks"):
        values_of(masked.model, [masked.ids, bare], masked.target)
    with pytest.raises(ValueError, match="each of at least one token"):
        values_of(masked.model, [()], masked.target)
