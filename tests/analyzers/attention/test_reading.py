"""A text's attention against each family's own, value norms and gradients against changing one share of attention at a time."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from analyzers.attention.door import attending
from analyzers.attention.reading import gradient_attention, read_attention, value_norms
from analyzers.errors import SubjectError
from analyzers.text_model import TextModel

Tiny = Callable[..., tuple[Any, Any]]

OPEN = ["llama", "mistral", "qwen2", "qwen3", "gemma2", "phi", "gpt2", "gpt_neox", "opt", "bert", "roberta", "albert", "distilbert"]
FIXED = ["gpt_neo", "gptj", "bloom", "falcon"]
CAUSAL = [family for family in OPEN if family not in ("bert", "roberta", "albert", "distilbert")]
IDS = (11, 70, 90, 40)


def made(model: Any, tokenizer: Any) -> TextModel:
    return TextModel(model.requires_grad_(False), tokenizer, name="tiny", identity={})


def hooks_on(model: TextModel) -> int:
    return sum(len(module._forward_pre_hooks) + len(module._forward_hooks) for module in model.model.modules())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", [*OPEN, *FIXED])
def test_attention_is_the_familys_own(family: str, dtype: torch.dtype, tiny_model: Tiny) -> None:
    net, tokenizer = tiny_model(family, **({"attn_implementation": "eager"} if family == "falcon" else {}))
    model = made(net.to(dtype), tokenizer)
    found = read_attention(model, IDS)
    assert (found.shape, found.dtype) == ((3, 4, 4, 4), torch.float32)
    if family in OPEN:
        net.set_attn_implementation("eager")
    own = net(input_ids=torch.tensor([IDS]), attention_mask=torch.ones(1, 4, dtype=torch.long), output_attentions=True).attentions
    assert torch.equal(found, torch.cat(own).float())
    assert bool(found.triu(1).any()) == (family not in (*CAUSAL, *FIXED))
    assert not torch.allclose(found[0], found[1], atol=1e-3)


def test_a_model_that_tells_attention_it_does_not_compute_with_is_refused(tiny_model: Tiny, tiny_checkpoint: Callable[[str], Path]) -> None:
    # Beside its default kind of attention Falcon tells one without its causal mask.
    with pytest.raises(SubjectError, match=r"load it with TextModel\.load"):
        read_attention(made(*tiny_model("falcon")), IDS)
    loaded = TextModel.load(str(tiny_checkpoint("falcon")), device="cpu", dtype="float32")
    assert not read_attention(loaded, IDS).triu(1).any()


def projections(model: TextModel) -> list[tuple[Tensor, ...]]:
    """The list that what output projections write goes to, [layer] in every forward pass; they are found by their names."""
    written: list[tuple[Tensor, ...]] = []
    for name, module in model.model.named_modules():
        *_, last = name.split(".")
        inputs = getattr(module, "in_features", getattr(module, "nx", None))
        if last in ("o_proj", "c_proj", "dense", "out_proj", "out_lin") and ("attn" in name or "attention" in name) and inputs != 48:
            module.register_forward_hook(lambda _module, _args, output: written.append(output))
    return written


@pytest.mark.parametrize("family", OPEN)
def test_value_norms_are_what_one_share_of_attention_writes(family: str, tiny_model: Tiny) -> None:
    model = made(*tiny_model(family))
    attention, norms = read_attention(model, IDS), value_norms(model, IDS)
    assert (norms.shape, norms.dtype) == ((3, 4, 4, 4), torch.float32)
    written = projections(model)
    # One text for each share of attention, in which no other is left in that layer, and one in which none at all is.
    shares = [(head, query, key) for head in range(4) for query in range(4) for key in range(4)]
    only = torch.zeros(len(shares) + 1, 4, 4, 4)
    for number, place in enumerate(shares):
        only[(number, *place)] = 1
    for layer in range(3):
        written.clear()
        with torch.inference_mode(), attending(model.model, changed=lambda at, given, layer=layer: given * only if at == layer else None):  # type: ignore[misc]
            model.forward(torch.tensor([IDS] * len(only)))
        assert len(written) == 3
        for number, (head, query, key) in enumerate(shares):
            found = norms[layer, head, query, key]
            expected = torch.linalg.vector_norm(written[layer].reshape(len(only), 4, 32)[[number, -1], query].diff(dim=0))  # type: ignore[attr-defined]
            assert torch.isclose(found, expected, rtol=1e-3, atol=1e-5), (layer, head, query, key)
            assert bool(found > 0) == bool(attention[layer, head, query, key] > 0)


@pytest.mark.parametrize("family", ["llama", "gpt2", "bert"])
def test_value_norms_are_read_in_bfloat16(family: str, tiny_model: Tiny) -> None:
    net, tokenizer = tiny_model(family)
    exact = value_norms(made(net, tokenizer), IDS)
    rounded = value_norms(made(net.to(torch.bfloat16), tokenizer), IDS)
    assert not torch.equal(rounded, exact)
    assert float((rounded[0] - exact[0]).abs().max()) < 0.1 * float(exact[0].max())


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma2", "phi", "gpt2", "gpt_neox", "opt"])
def test_gradient_attention_is_what_each_share_raises_the_target_by(family: str, tiny_model: Tiny) -> None:
    net, tokenizer = tiny_model(family, **({"activation_function": "gelu"} if family == "opt" else {}))  # ReLU has no slope at its kink
    model = made(net.double(), tokenizer)
    ids, target, eps = (11, 70, 90), (40, 30), 2e-3  # most families round their softmax to float32
    whole = torch.tensor([*ids, target[0]])

    def told(layer: int, changes: Tensor) -> Tensor:
        with torch.inference_mode(), attending(model.model, changed=lambda at, given: given + changes if at == layer else None):
            logits = model.forward(whole.repeat(len(changes), 1)).logits
        return torch.stack([logits[:, at].log_softmax(-1)[:, token] for at, token in ((2, 40), (3, 30))]).sum(0)

    attention = read_attention(model, whole.tolist()).double()
    places = [(head, query, key) for head in range(4) for query in range(4) for key in range(query + 1)]
    changes = torch.zeros(len(places), 4, 4, 4, dtype=torch.float64)
    for number, place in enumerate(places):
        changes[(number, *place)] = eps
    expected = torch.zeros(3, 4, 4, dtype=torch.float64)
    for layer in range(3):
        slopes = (told(layer, changes) - told(layer, -changes)) / (2 * eps)
        for slope, (head, query, key) in zip(slopes.tolist(), places, strict=True):
            expected[layer, query, key] += max(slope * float(attention[layer, head, query, key]), 0) / 4
    found = gradient_attention(model, ids, target)
    assert (found.shape, found.dtype) == ((3, 4, 4), torch.float32)
    assert float(expected.max()) > 1e-3
    assert torch.allclose(found.double(), expected, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("family", CAUSAL)
def test_only_queries_that_lead_to_the_target_have_a_gradient_in_the_last_layer(family: str, tiny_model: Tiny) -> None:
    net, tokenizer = tiny_model(family)
    model = made(net.to(torch.bfloat16), tokenizer)
    found = gradient_attention(model, IDS, (30, 12, 13))
    assert found.shape == (3, 6, 6)
    assert not found[-1, :3].any()
    assert bool((found[-1, 3:].sum(-1) > 0).all())
    assert bool((found >= 0).all())
    assert not found.triu(1).any()


def test_reading_leaves_the_model_as_it_was_also_where_it_fails(tiny_model: Tiny) -> None:
    model = made(*tiny_model("llama"))
    before = (hooks_on(model), model.model.config._attn_implementation, model.forward(torch.tensor([IDS])).logits)
    read_attention(model, IDS)
    value_norms(model, IDS)
    gradient_attention(model, IDS, (30,))
    scaled = model.model.model.layers[1].self_attn.o_proj.register_forward_pre_hook(lambda _module, args: (args[0] * 2,))
    with pytest.raises(SubjectError, match="layer 1 of 'tiny' does not pass what its heads find straight into a linear layer"):
        value_norms(model, IDS)
    scaled.remove()
    after = (hooks_on(model), model.model.config._attn_implementation, model.forward(torch.tensor([IDS])).logits)
    assert before[:2] == after[:2]
    assert torch.equal(before[2], after[2])
    assert all(parameter.grad is None for parameter in model.model.parameters())


def test_attention_that_does_not_sum_to_one_is_refused(tiny_model: Tiny) -> None:
    from transformers import GptOssConfig, GptOssForCausalLM

    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
    net = GptOssForCausalLM(GptOssConfig(vocab_size=500, intermediate_size=16, num_local_experts=2, num_experts_per_tok=1, **shape))
    with pytest.raises(SubjectError, match="does not sum to 1 over what a token sees"):
        read_attention(made(net, tiny_model("llama")[1]), IDS)


def test_a_model_with_attention_in_some_layers_only_is_refused(tiny_model: Tiny) -> None:
    from transformers import Lfm2Config, Lfm2ForCausalLM

    shape = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 48}
    net = Lfm2ForCausalLM(Lfm2Config(vocab_size=500, layer_types=["conv", "full_attention", "conv"], **shape))
    model = made(net, tiny_model("llama")[1])
    with pytest.raises(SubjectError, match="attention of 1 of its 3 layers"):
        read_attention(model, IDS)
    with pytest.raises(SubjectError, match="1 of the 3 layers of 'tiny' have value norms"):
        value_norms(model, IDS)
    with pytest.raises(SubjectError, match="attention of 1 of its 3 layers"):
        gradient_attention(model, IDS, (30,))


def test_what_has_no_norms_or_no_gradient_is_refused(tiny_model: Tiny) -> None:
    for family in FIXED:
        model = made(*tiny_model(family))
        for refused in (lambda model=model: value_norms(model, IDS), lambda model=model: gradient_attention(model, IDS, (30,))):
            with pytest.raises(SubjectError, match="can be read, not masked or changed"):
                refused()
    with pytest.raises(SubjectError, match="'tiny' is an encoder"):
        gradient_attention(made(*tiny_model("bert")), IDS, (30,))
    net, tokenizer = tiny_model("gpt2")
    with pytest.raises(SubjectError, match="no head for language"):
        gradient_attention(made(net.base_model, tokenizer), IDS, (30,))
    for text, target in (((), (30,)), (IDS, ())):
        with pytest.raises(ValueError, match="each of at least one token"):
            gradient_attention(made(net, tokenizer), text, target)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["smollm2-135m", "minilm"])
def test_attention_of_the_real_models_is_their_own(name: str) -> None:
    model = TextModel.load(name, device="cpu", dtype="float32")
    ids = model.prompt("The keys to the cabinet are on the table.").ids
    found, norms = read_attention(model, ids), value_norms(model, ids)
    model.model.set_attn_implementation("eager")
    own = model.forward(torch.tensor([ids]), output_attentions=True).attentions
    assert torch.equal(found, torch.cat(own))
    assert norms.shape == found.shape
    assert bool((norms.sum(-1) > 0).all())
    if model.causal:
        target = model.continuation("The keys to the cabinet are on the table.", " They")
        assert float(gradient_attention(model, ids, target)[:, -1].sum()) > 0
