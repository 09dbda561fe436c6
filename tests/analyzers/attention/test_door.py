"""The door to attention, against each family's own eager attention and against its own parts."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from analyzers.attention.door import Attended, attending, blocked, can_intervene
from analyzers.errors import SubjectError
from analyzers.padding import padded

Tiny = Callable[..., tuple[Any, Any]]

OPEN = ["llama", "mistral", "qwen2", "qwen3", "gemma2", "phi", "gpt2", "gpt_neox", "opt", "bert", "roberta", "albert", "distilbert"]
FIXED = ["gpt_neo", "gptj", "bloom", "falcon"]
TEXTS = [[11, 70, 90, 40, 30, 200, 80, 12, 13], [11, 50, 60]]


def left_padded() -> tuple[Tensor, Tensor]:
    ids, mask = padded(TEXTS)
    return ids.flip(1), mask.flip(1)


def eager(model: Any, ids: Tensor, mask: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    out = model(input_ids=ids, attention_mask=mask, output_attentions=True)
    model.set_attn_implementation(before)
    assert len(out.attentions) == 3
    return out.logits, out.attentions


def seen_by(model: Any, ids: Tensor, mask: Tensor, **functions: Any) -> tuple[Tensor, list[Attended]]:
    seen: list[Attended] = []
    with attending(model, seen=seen.append, **functions):
        logits: Tensor = model(input_ids=ids, attention_mask=mask).logits
    return logits, seen


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("batch", [padded(TEXTS), left_padded()], ids=["right", "left"])
@pytest.mark.parametrize("family", OPEN)
def test_attention_equals_eager_to_the_last_bit(family: str, batch: tuple[Tensor, Tensor], dtype: torch.dtype, tiny_model: Tiny) -> None:
    model = tiny_model(family)[0].to(dtype).eval()
    logits, attentions = eager(model, *batch)
    found, seen = seen_by(model, *batch)
    assert torch.equal(found, logits)
    assert [one.layer for one in seen] == [0, 1, 2]
    for one, expected in zip(seen, attentions, strict=True):
        assert torch.equal(one.probabilities, expected)
        assert torch.allclose(
            one.probabilities.float().sum(-1), torch.ones(expected.shape[:3]), atol=0.02 if dtype == torch.bfloat16 else 1e-5
        )


@pytest.mark.parametrize("family", OPEN)
def test_every_pass_in_a_context_begins_at_the_first_layer(family: str, tiny_model: Tiny) -> None:
    model = tiny_model(family)[0].eval()
    ids, mask = padded(TEXTS)
    layers: list[int] = []
    with attending(model, seen=lambda one: layers.append(one.layer)):
        for run in (model, model, model.base_model):
            run(input_ids=ids, attention_mask=mask)
    assert layers == 3 * [0, 1, 2]


@pytest.mark.parametrize("family", OPEN)
def test_probabilities_changed_to_themselves_change_nothing(family: str, tiny_model: Tiny) -> None:
    model = tiny_model(family)[0].eval()
    ids, mask = padded(TEXTS)
    plain = model(input_ids=ids, attention_mask=mask).logits
    same, _ = seen_by(model, ids, mask, changed=lambda _layer, probabilities: probabilities * 1.0)
    assert torch.allclose(same, plain, atol=1e-5)
    other, _ = seen_by(model, ids, mask, changed=lambda _layer, probabilities: probabilities.flip(1))
    assert not torch.allclose(other, plain, atol=1e-3)


@pytest.mark.parametrize("family", OPEN)
def test_a_blocked_key_gets_nothing_and_the_row_is_shared_out_anew(family: str, tiny_model: Tiny) -> None:
    model = tiny_model(family)[0].eval()
    ids, mask = torch.tensor(TEXTS[:1]), torch.ones(1, len(TEXTS[0]), dtype=torch.long)
    at = torch.zeros(len(TEXTS[0]), len(TEXTS[0]), dtype=torch.bool)
    at[5, 2] = True
    _, plain = seen_by(model, ids, mask)
    _, seen = seen_by(model, ids, mask, masked=lambda layer: blocked(at, torch.float32) if layer == 0 else None)
    row = plain[0].probabilities[0, :, 5].clone()
    row[:, 2] = 0
    assert torch.allclose(seen[0].probabilities[0, :, 5], row / row.sum(-1, keepdim=True), atol=1e-6)
    assert torch.equal(seen[0].probabilities[0, :, :5], plain[0].probabilities[0, :, :5])


@pytest.mark.parametrize("family", OPEN)
def test_attention_times_its_gradient_is_the_gradient_of_a_gate_of_ones(family: str, tiny_model: Tiny) -> None:
    model = tiny_model(family)[0].eval()
    ids, mask = padded(TEXTS)

    def loss(logits: Tensor) -> Tensor:
        return logits[:, 2].float().log_softmax(-1)[:, 7].sum()

    logits, seen = seen_by(model, ids, mask)
    grads = torch.autograd.grad(loss(logits), [one.probabilities for one in seen])
    gates = [torch.ones_like(one.probabilities, requires_grad=True) for one in seen]
    gated, _ = seen_by(model, ids, mask, changed=lambda layer, probabilities: gates[layer] * probabilities)
    through = torch.autograd.grad(loss(gated), gates)
    assert max(float(grad.abs().max()) for grad in through) > 1e-4
    for one, grad, gate in zip(seen, grads, through, strict=True):
        assert torch.allclose(one.probabilities * grad, gate, atol=1e-6)


@pytest.mark.parametrize("family", OPEN)
def test_values_and_probabilities_give_what_the_layer_found(family: str, tiny_model: Tiny) -> None:
    model = tiny_model(family)[0].eval()
    ids, mask = padded(TEXTS)
    # Whatever comes into an output projection is what the heads found, side by side.
    entering: list[Tensor] = []
    width = 16 if family in ("qwen3", "gemma2") else 8
    projections = [
        module
        for name, module in model.named_modules()
        if name.split(".")[-1] in ("o_proj", "c_proj", "dense", "out_proj", "out_lin")
        and any(part in name for part in ("attn", "attention"))
        and getattr(module, "in_features", getattr(module, "nx", 4 * width)) == 4 * width
    ]
    handles = [module.register_forward_pre_hook(lambda _module, args: entering.append(args[0])) for module in projections]
    _, seen = seen_by(model, ids, mask)
    for handle in handles:
        handle.remove()
    assert len(entering) == 3
    for one, found in zip(seen, entering, strict=True):
        together = (one.probabilities @ one.values).transpose(1, 2).reshape(*ids.shape, 4 * width)
        assert torch.allclose(together, found, atol=1e-6)


@pytest.mark.parametrize("family", [family for family in OPEN if family != "gemma2"])  # which caps its scores
def test_queries_and_keys_give_the_probabilities(family: str, tiny_model: Tiny) -> None:
    model = tiny_model(family)[0].eval()
    ids, mask = torch.tensor(TEXTS[:1]), torch.ones(1, len(TEXTS[0]), dtype=torch.long)
    _, seen = seen_by(model, ids, mask)
    assert len(seen) == 3
    for one in seen:
        heads, width = one.queries.shape[1], one.queries.shape[-1]
        group = heads // one.keys.shape[1]
        assert group == (2 if family in ("llama", "mistral", "qwen2", "qwen3") else 1)
        for head in range(heads):
            # OPT scales its queries before the layer attends.
            scores = one.queries[0, head] @ one.keys[0, head // group].T / (1 if family == "opt" else width**0.5)
            hidden = one.probabilities[0, head] == 0
            assert torch.allclose(scores.masked_fill(hidden, -torch.inf).softmax(-1), one.probabilities[0, head], atol=1e-6)
            assert hidden.sum() in (0, len(TEXTS[0]) * (len(TEXTS[0]) - 1) // 2)


def test_the_model_is_left_as_it_was_also_by_an_exception(tiny_model: Tiny) -> None:
    model = tiny_model("llama")[0].eval()
    ids, mask = padded(TEXTS)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    plain, implementation = model(input_ids=ids, attention_mask=mask).logits, model.config._attn_implementation
    with pytest.raises(ZeroDivisionError), attending(model, seen=lambda _one: 1 / 0):  # type: ignore[arg-type,return-value]
        model(input_ids=ids, attention_mask=mask)
    assert model.config._attn_implementation == implementation
    assert not model.base_model._forward_pre_hooks
    assert torch.equal(model(input_ids=ids, attention_mask=mask).logits, plain)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    with attending(model), pytest.raises(RuntimeError, match="do not nest"), attending(model):
        pass


def test_another_model_within_the_context_attends_as_ever(tiny_model: Tiny) -> None:
    model, other = tiny_model("llama")[0].eval(), tiny_model("gpt2")[0].eval()
    ids = torch.tensor(TEXTS[:1])
    plain = other(input_ids=ids).logits
    seen: list[Attended] = []
    with attending(model, seen=seen.append):
        assert torch.equal(other(input_ids=ids).logits, plain)
        assert not seen


@pytest.mark.parametrize("family", FIXED)
def test_a_family_with_attention_of_its_own_is_refused(family: str, tiny_model: Tiny) -> None:
    model = tiny_model(family)[0]
    assert not can_intervene(model)
    with pytest.raises(SubjectError, match="can be read, not masked or changed"), attending(model):
        pass
