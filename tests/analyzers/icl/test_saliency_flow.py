"""Saliency against the attention that a model returns itself and against scaling it; its means against naive loops."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from analyzers.attention.door import attending
from analyzers.errors import Failed, SubjectError
from analyzers.icl.prompts import IclPrompt
from analyzers.icl.saliency_flow import attention_saliency, edges, random_others, saliency_flow
from analyzers.text_model import TextModel

Asked = tuple[TextModel, list[IclPrompt]]


def loss(logits: Tensor, prompt: IclPrompt, gold: int) -> Tensor:
    return -logits[list(prompt.class_tokens)].log_softmax(0)[gold]


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "gemma2"])
def test_saliency_is_attention_times_its_gradient(family: str, asked: Callable[[str], Asked]) -> None:
    """Against the attention that the family returns, within the graph, and the gradient that autograd gives of it."""
    model, prompts = asked(family)
    found = attention_saliency(model, prompts[1], 2)
    net = model.model.requires_grad_(True)
    net.set_attn_implementation("eager")
    output = net(input_ids=torch.tensor([prompts[1].ids]), output_attentions=True)
    gradients = torch.autograd.grad(loss(output.logits[0, -1], prompts[1], 2), output.attentions)
    for layer, (attention, gradient) in enumerate(zip(output.attentions, gradients, strict=True)):
        assert torch.allclose(found[layer], (attention * gradient)[0].detach(), atol=1e-6)
        assert found[layer].abs().max() > 1e-5


def test_saliency_is_what_scaling_one_share_of_attention_does(asked: Callable[[str], Asked]) -> None:
    # GPT-2 computes in double precision throughout.
    model, prompts = asked("gpt2")
    net, prompt = model.model.double(), prompts[1]
    model.dtype = torch.float64
    found = attention_saliency(model, prompt, 0)
    step = 1e-4

    def scaled(layer: int, head: int, query: int, key: int, factor: float) -> float:
        def change(at: int, probabilities: Tensor) -> Tensor:
            gate = torch.ones_like(probabilities)
            gate[0, head, query, key] = factor if at == layer else 1.0
            return probabilities * gate

        with torch.no_grad(), attending(net, changed=change):
            logits = model.forward(torch.tensor([prompt.ids])).logits[0, -1]
        return float(loss(logits, prompt, 0))

    for layer, head, query, key in [(0, 1, prompt.labels[1], 3), (1, 2, prompt.labels[0], 2), (2, 0, prompt.q, prompt.labels[3])]:
        slope = (scaled(layer, head, query, key, 1 + step) - scaled(layer, head, query, key, 1 - step)) / (2 * step)
        assert float(found[layer][head, query, key]) == pytest.approx(slope, rel=1e-3, abs=1e-9)


def test_a_model_that_cannot_be_changed_is_refused(asked: Callable[[str], Asked]) -> None:
    model, prompts = asked("bloom")
    with pytest.raises(SubjectError, match="not masked or changed"):
        attention_saliency(model, prompts[0], 0)


@st.composite
def planned(draw: st.DrawFn) -> tuple[IclPrompt, Tensor]:
    """A prompt of which only its labels' places count, and saliency [head, query, key] of a causal layer."""
    length = draw(st.integers(5, 9))
    labels = sorted(draw(st.sets(st.integers(1, length - 3), min_size=1, max_size=3)))
    prompt = IclPrompt(
        ids=(0,) * length,
        class_tokens=(0, 1),
        labels=tuple(labels),
        classes=(0,) * len(labels),
        label_tokens=tuple((at,) for at in labels),
        formatting=((),) * len(labels),
        texts=((),) * len(labels),
        demonstrations=(range(0, length - 2),) * len(labels),
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return prompt, torch.tensor(rng.normal(size=(2, length, length))).tril().float()


@given(planned(), st.booleans())
def test_means_are_those_of_naive_loops(plan: tuple[IclPrompt, Tensor], by_head: bool) -> None:
    prompt, saliency = plan
    sums = {"wp": [0.0, 0], "pq": [0.0, 0], "ww": [0.0, 0]}
    q, labels = prompt.q, prompt.labels
    for i in range(len(prompt)):
        for j in range(i):
            heads = [float(saliency[head, i, j]) for head in range(2)]
            value = sum(map(abs, heads)) if by_head else abs(sum(heads))
            kind = "wp" if i in labels else "pq" if i == q and j in labels else "ww"
            sums[kind][0] += value
            sums[kind][1] += 1
    found = saliency_flow([saliency], prompt, by_head=by_head)
    for kind, (total, count) in sums.items():
        assert getattr(found, kind)[0] == pytest.approx(total / count, rel=1e-5)
    # As many as the paper's code divides by: sum of p_k, C, and the rest of N (N + 1) / 2 pairs, N the index of q.
    counts = [int(mask.sum()) for mask in edges(prompt)]
    assert counts == [sum(labels), len(labels), q * (q + 1) // 2 - sum(labels) - len(labels)]
    shares = found.shares()
    assert not isinstance(shares, Failed)
    assert shares.sum(0) == pytest.approx(1)
    assert shares[1, 0] == pytest.approx(found.pq[0] / (found.wp[0] + found.pq[0] + found.ww[0]))


@given(planned(), st.data())
def test_other_positions_stand_for_labels_with_the_same_total(plan: tuple[IclPrompt, Tensor], data: st.DataObject) -> None:
    prompt, saliency = plan
    others = sorted(data.draw(st.sets(st.integers(1, prompt.q - 1), min_size=1)))
    own, found = saliency_flow([saliency], prompt), saliency_flow([saliency], prompt, at=others)
    summed = saliency.sum(0).abs().double().numpy()
    into = [summed[i, j] for i in others for j in range(i)]
    assert found.wp[0] == pytest.approx(np.mean(into))
    assert found.pq[0] == pytest.approx(np.mean([summed[prompt.q, j] for j in others]))
    shares, own_shares = found.shares(own), own.shares()
    assert not isinstance(shares, Failed)
    assert not isinstance(own_shares, Failed)
    assert own_shares[0, 0] - shares[0, 0] == pytest.approx((own.wp[0] - found.wp[0]) / (own.wp[0] + own.pq[0] + own.ww[0]))
    with pytest.raises(ValueError, match="no positions"):
        saliency_flow([saliency], prompt, at=[])


def test_random_others_are_one_of_each_demonstration_and_no_label(asked: Callable[[str], Asked]) -> None:
    _, prompts = asked("llama")
    prompt = prompts[0]
    rng, seen = np.random.default_rng(0), set()
    for _ in range(300):
        drawn = random_others(prompt, rng)
        assert [sum(at in own for at in drawn) for own in prompt.demonstrations] == [1] * len(prompt.labels)
        seen |= set(drawn)
    of_labels = {at for own in prompt.label_tokens for at in own}
    assert seen == {at for own in prompt.demonstrations for at in own} - of_labels - {0}


def test_a_layer_without_saliency_has_no_shares(asked: Callable[[str], Asked]) -> None:
    _, prompts = asked("llama")
    length = len(prompts[0])
    some, none = torch.ones(2, length, length).tril(), torch.zeros(2, length, length)
    assert saliency_flow([some, none], prompts[0]).shares() == Failed("flow", "no attention in layer 1 has a gradient")
