"""Sites by name, and where they are: the captured activations against the block's own MLP computed anew, for every family."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from analyzers.errors import SubjectError
from analyzers.site_kinds import KINDS
from analyzers.sites import Polarity, Site
from analyzers.subject import Subject

Checkpoint = Callable[[str], Path]

# (inner layers from the MLP's input to its neurons, down-projection), by the names of that family's modules: a table for this test alone.
GATED = (lambda block, x: block.mlp.act_fn(block.mlp.gate_proj(x)) * block.mlp.up_proj(x), "mlp.down_proj", "mlp")
FAMILIES: dict[str, tuple[Callable[[Any, Tensor], Tensor], str, str]] = {
    "llama": GATED,
    "mistral": GATED,
    "qwen2": GATED,
    "qwen3": GATED,
    "gemma2": GATED,
    "phi": (lambda block, x: block.mlp.activation_fn(block.mlp.fc1(x)), "mlp.fc2", "mlp"),
    "gpt2": (lambda block, x: block.mlp.act(block.mlp.c_fc(x)), "mlp.c_proj", "mlp"),
    "gpt_neox": (lambda block, x: block.mlp.act(block.mlp.dense_h_to_4h(x)), "mlp.dense_4h_to_h", "mlp"),
    "opt": (lambda block, x: block.activation_fn(block.fc1(x)), "fc2", "fc1"),
    "bloom": (lambda block, x: block.mlp.gelu_impl(block.mlp.dense_h_to_4h(x)), "mlp.dense_4h_to_h", "mlp"),
    "falcon": (lambda block, x: block.mlp.act(block.mlp.dense_h_to_4h(x)), "mlp.dense_4h_to_h", "mlp"),
    "gptj": (lambda block, x: block.mlp.act(block.mlp.fc_in(x)), "mlp.fc_out", "mlp"),
    "gpt_neo": (lambda block, x: block.mlp.act(block.mlp.c_fc(x)), "mlp.c_proj", "mlp"),
}


def blocks_of(subject: Subject) -> list[Any]:
    return [module for name, module in subject.model.named_modules() if name.rsplit(".", 1)[-1].isdecimal()]


def captured(subject: Subject, ids: Tensor, mask: Tensor | None = None) -> list[Tensor]:
    seen: dict[int, Tensor] = {}
    with subject.capture(lambda layer, activations: seen.update({layer: activations.clone()})):
        subject.forward(ids, mask)
    return [seen[layer] for layer in range(subject.layers)]


@pytest.mark.parametrize("family", FAMILIES)
def test_captured_activations_are_those_of_the_block_s_own_mlp(family: str, tiny_checkpoint: Checkpoint) -> None:
    subject = Subject.load(str(tiny_checkpoint(family)), device="cpu", dtype="float32")
    inner, _, entrance = FAMILIES[family]
    ids = torch.randint(3, 400, (2, 7), generator=torch.Generator().manual_seed(1))
    entered: list[Tensor] = []
    blocks = blocks_of(subject)
    handles = [
        block.get_submodule(entrance).register_forward_pre_hook(lambda _module, args: entered.append(args[0].clone())) for block in blocks
    ]
    subject.forward(ids)
    for handle in handles:
        handle.remove()
    got = captured(subject, ids)
    assert len(got) == len(blocks) == 3
    for layer, (block, x) in enumerate(zip(blocks, entered, strict=True)):
        naive = inner(block, x).reshape(2, 7, -1)
        assert naive.shape[-1] == subject.neurons[layer]
        assert naive.std() > 1e-3
        torch.testing.assert_close(got[layer], naive)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_site_is_the_module_that_the_family_calls_its_down_projection(family: str, tiny_checkpoint: Checkpoint) -> None:
    subject = Subject.load(str(tiny_checkpoint(family)), device="cpu")
    assert subject.projections == [block.get_submodule(FAMILIES[family][1]) for block in blocks_of(subject)]


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "bloom"])
def test_as_many_neurons_as_hidden_dimensions_are_not_confused_with_attention(family: str, tiny_model: Callable[..., Any]) -> None:
    width = {"gpt2": "n_inner", "gptj": "n_inner", "opt": "ffn_dim", "falcon": "ffn_hidden_size"}.get(family, "intermediate_size")
    model, tokenizer = tiny_model(family, **{width: 32})
    subject = Subject(model, tokenizer, name=family, identity={})
    assert subject.neurons == (32, 32, 32)
    assert subject.projections == [block.get_submodule(FAMILIES[family][1]) for block in blocks_of(subject)]


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}),
        ("falcon", {"parallel_attn": False, "alibi": True}),
        ("gpt_neox", {"use_parallel_residual": False}),
        ("opt", {"do_layer_norm_before": False}),
        ("llama", {"num_hidden_layers": 1}),
        ("llama", {"intermediate_size": 16, "head_dim": 16}),
        ("qwen3", {"intermediate_size": 64}),
    ],
)
def test_other_arrangements_of_the_same_families(family: str, changes: dict[str, Any], tiny_model: Callable[..., Any]) -> None:
    model, tokenizer = tiny_model(family, **changes)
    subject = Subject(model, tokenizer, name=family, identity={})
    assert subject.projections == [block.get_submodule(FAMILIES[family][1]) for block in blocks_of(subject)]


@pytest.mark.parametrize("family", ["mixtral", "qwen2_moe"])
def test_a_mixture_of_experts_is_refused(family: str, tiny_checkpoint: Checkpoint) -> None:
    with pytest.raises(SubjectError, match="mixture of experts"):
        Subject.load(str(tiny_checkpoint(family)), device="cpu")


def test_a_mixture_of_experts_kept_as_a_list_is_refused(tiny_model: Callable[..., Any]) -> None:
    model, tokenizer = tiny_model("llama")
    block = model.model.layers[1]
    block.experts = torch.nn.ModuleList([torch.nn.Linear(32, 32) for _ in range(4)])
    with pytest.raises(SubjectError, match=r"block 1 .* mixture of experts"):
        Subject(model, tokenizer, name="listed", identity={})


def test_a_block_without_an_mlp_is_refused(tiny_model: Callable[..., Any]) -> None:
    model, tokenizer = tiny_model("llama")
    model.model.layers[2].mlp = torch.nn.Identity()
    with pytest.raises(SubjectError, match=r"block 2 .* no readable MLP"):
        Subject(model, tokenizer, name="headless", identity={})


def test_a_down_projection_that_is_never_called_is_refused(tiny_model: Callable[..., Any]) -> None:
    model, tokenizer = tiny_model("llama")
    mlp = model.model.layers[0].mlp
    mlp.forward = lambda x: torch.nn.functional.linear(mlp.up_proj(x), mlp.down_proj.weight)
    with pytest.raises(SubjectError, match="not called"):
        Subject(model, tokenizer, name="bypassing", identity={})


SIDES = {"mlp": "+-", "attn": "+", "resid": "+-", "direction": "+-", "random": "+-", "sae": "+"}


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from([(kind, side) for kind, sides in SIDES.items() for side in sides]))
def test_a_site_reads_back_what_it_writes(layer: int, index: int, what: tuple[str, Polarity]) -> None:
    kind, polarity = what
    site = Site(layer, index, polarity, kind)
    assert str(site) == f"L{layer}.{kind}.{index}" + "-" * (polarity == "-")
    assert Site.parse(str(site)) == site
    assert site.name in str(site)
    assert site.sign == (1 if polarity == "+" else -1)


def test_every_kind_of_site_is_tried_here() -> None:
    assert KINDS.all().keys() == SIDES.keys()
    assert {name for name, kind in KINDS.all().items() if kind.signed} == {name for name, sides in SIDES.items() if sides == "+-"}


NO_SITES = [
    "",
    "7.mlp.3",
    "L7.mlp",
    "L7.mlp.x",
    "L7.head.3",
    "L7.MLP.3",
    "L7.mlp.3+",
    "L-1.mlp.3",
    "L7.mlp.3--",
    "L7.mlp.\u0663",
    "L7.mlp.1e3",
]


@pytest.mark.parametrize("text", [*NO_SITES, "L7.mlp." + "9" * 5000])
def test_what_is_no_site_is_named_in_the_error(text: str) -> None:
    with pytest.raises(SubjectError, match="is not a site") as raised:
        Site.parse(text)
    assert repr(text) in str(raised.value)
    assert all(kind in str(raised.value) for kind in SIDES)


@pytest.mark.parametrize("kind", ["attn", "sae"])
def test_a_side_that_a_kind_does_not_have_is_refused(kind: str) -> None:
    with pytest.raises(SubjectError, match=rf"L7.{kind}.3-.*never negative; write L7.{kind}.3$"):
        Site.parse(f"L7.{kind}.3-")


def test_a_neuron_is_what_a_site_is_unless_it_says_otherwise() -> None:
    assert Site(7, 1306) == Site.parse("L7.mlp.1306")
    assert Site(7, 1306, "-") == Site.parse("L7.mlp.1306-")
    assert sorted([Site(1, 2), Site(1, 1, "-"), Site(0, 5), Site(1, 1)]) == [Site(0, 5), Site(1, 1), Site(1, 1, "-"), Site(1, 2)]


def test_a_name_is_read_without_loading_torch() -> None:
    code = "import sys; from analyzers.sites import Site; Site.parse('L4.attn.3'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
