"""Sites of every kind against naive computations: what is read, what a unit of it adds, what changing it changes."""

import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from analyzers.directions import Directions
from analyzers.drawn_sites import draw_sites
from analyzers.errors import AssetError, ExplicateError, Failed, SubjectError
from analyzers.places import Place
from analyzers.sae import SAE
from analyzers.site_kinds import KINDS
from analyzers.sites import Site
from analyzers.subject import Subject

Checkpoint = Callable[[str], Path]

IDS = torch.tensor([[5, 90, 17, 300, 8], [8, 8, 41, 77, 120]])
# Attention module of a block and its output projection, by the names of that family's modules: a table for this test alone.
ATTENTION = {
    "llama": ("self_attn", "o_proj"),
    "mistral": ("self_attn", "o_proj"),
    "qwen2": ("self_attn", "o_proj"),
    "qwen3": ("self_attn", "o_proj"),
    "gemma2": ("self_attn", "o_proj"),
    "phi": ("self_attn", "dense"),
    "gpt2": ("attn", "c_proj"),
    "gpt_neox": ("attention", "dense"),
    "opt": ("self_attn", "out_proj"),
    "falcon": ("self_attention", "dense"),
    "bloom": ("self_attention", "dense"),
    "gptj": ("attn", "out_proj"),
    "gpt_neo": ("attn", "attention.out_proj"),
}


def made_sae(layer: int, place: Place, *, k: int | None = None, threshold: bool = False, hidden: int = 32, width: int = 40) -> SAE:
    draw = torch.Generator().manual_seed(layer)
    return SAE(
        name="made",
        layer=layer,
        place=place,
        encoder=torch.randn(width, hidden, generator=draw) / 4,
        encoder_bias=torch.randn(width, generator=draw) / 4,
        decoder=torch.randn(width, hidden, generator=draw),
        input_bias=torch.randn(hidden, generator=draw) / 4,
        threshold=torch.rand(width, generator=draw) / 2 if threshold else None,
        k=k,
        centred=False,
        fingerprint=f"{layer} {place}",
    )


def loaded(tiny_checkpoint: Checkpoint, family: str) -> Subject:
    subject = Subject.load(str(tiny_checkpoint(family)), device="cpu", dtype="float32")
    rows = torch.randn(4, 32, generator=torch.Generator().manual_seed(9))
    directions = Directions("made", {1: rows / rows.norm(dim=1, keepdim=True)}, "fingerprint")
    subject.attach(sae=made_sae(0, "resid_pre"))
    subject.attach(sae=made_sae(1, "resid_post", k=6), directions=directions)
    subject.attach(sae=made_sae(2, "mlp_out", threshold=True))
    return subject


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def subject(request: pytest.FixtureRequest, tiny_checkpoint: Checkpoint) -> Subject:
    return loaded(tiny_checkpoint, request.param)


def blocks_of(subject: Subject) -> list[Any]:
    return [module for name, module in subject.model.named_modules() if name.rsplit(".", 1)[-1].isdecimal()]


def parts_of(subject: Subject, layer: int) -> dict[str, Any]:
    """A block, its MLP and the down-projection, by the families' own names."""
    block = blocks_of(subject)[layer]
    down = block.mlp.c_proj if hasattr(block.mlp, "c_proj") else block.mlp.down_proj
    attention = block.attn.c_proj if hasattr(block, "attn") else block.self_attn.o_proj
    return {"block": block, "mlp": block.mlp, "down": down, "heads": attention}


@torch.no_grad()
def tapped(subject: Subject, module: nn.Module) -> tuple[Tensor, Tensor]:
    """First input and first output of a module."""
    seen: list[Tensor] = []

    def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        given = args[0] if args else kwargs["hidden_states"]
        seen.extend((given.clone(), (output[0] if isinstance(output, tuple) else output).clone()))

    handle = module.register_forward_hook(hook, with_kwargs=True)
    subject.model(IDS)
    handle.remove()
    return seen[0], seen[1]


def head_outputs(projection: nn.Module, z: Tensor, heads: int) -> list[Tensor]:
    """What each head adds: the projection of its part alone, without the bias."""
    width = z.shape[-1] // heads
    nothing = projection(torch.zeros_like(z))
    found = []
    for head in range(heads):
        alone = torch.zeros_like(z)
        alone[..., head * width : (head + 1) * width] = z[..., head * width : (head + 1) * width]
        found.append(projection(alone) - nothing)
    return found


@pytest.mark.parametrize("family", ATTENTION)
@torch.no_grad()
def test_heads_of_any_family_add_up_to_the_output_of_their_attention(family: str, tiny_checkpoint: Checkpoint) -> None:
    subject = Subject.load(str(tiny_checkpoint(family)), device="cpu", dtype="float32")
    name, inner = ATTENTION[family]
    for layer, block in enumerate(blocks_of(subject)):
        module = block.get_submodule(name)
        projection = module.get_submodule(inner)
        attention = subject.attentions[layer]
        assert attention.projection is projection
        assert attention.heads == KINDS.get("attn")().count(subject, layer) == 4
        z, _ = tapped(subject, projection)
        # Bloom adds the residual stream within its attention module.
        _, whole = tapped(subject, projection if family == "bloom" else module)
        bias = projection.bias if getattr(projection, "bias", None) is not None else 0
        ours = [attention.written(z, head) for head in range(4)]
        torch.testing.assert_close(sum(ours) + bias, whole)
        naive = head_outputs(projection, z, 4)
        for one, other in zip(ours, naive, strict=True):
            torch.testing.assert_close(one, other)
        sites = [Site(layer, head, kind="attn") for head in range(4)]
        expected = torch.stack([each.norm(dim=-1) for each in naive], dim=-1)
        assert expected.min() > 1e-3
        torch.testing.assert_close(subject.activations(IDS, sites), expected)


def test_attention_without_an_output_projection_is_refused_when_asked_for(tiny_model: Callable[..., Any]) -> None:
    model, tokenizer = tiny_model("llama")
    model.model.layers[1].self_attn.o_proj = nn.Identity()
    subject = Subject(model, tokenizer, name="headless", identity={})
    assert subject.activations(IDS, [Site(1, 0)]).shape == (2, 5, 1)
    with pytest.raises(SubjectError, match=r"'headless' has no readable attention heads.*block 1"):
        subject.check(Site(1, 0, kind="attn"))


@torch.no_grad()
def test_activations_of_all_kinds_are_the_naive_ones(subject: Subject) -> None:
    parts = [parts_of(subject, layer) for layer in range(3)]
    stream = [tapped(subject, each["block"]) for each in parts]
    saes = subject.saes
    latents = [
        naive_latents(saes[0], stream[0][0]),
        naive_latents(saes[1], stream[1][1]),
        naive_latents(saes[2], tapped(subject, parts[2]["mlp"])[1]),
    ]
    z, _ = tapped(subject, parts[2]["heads"])
    random = KINDS.get("random")().direction(subject, Site(2, 5, kind="random"))
    assert isinstance(random, Tensor)
    expected = {
        "L2.resid.17": stream[2][1][..., 17],
        "L0.resid.0-": stream[0][1][..., 0],
        "L1.mlp.40": tapped(subject, parts[1]["down"])[0][..., 40],
        "L1.direction.3-": (stream[1][1] * subject.directions[1][3]).sum(-1),
        "L2.random.5": (stream[2][1] * random).sum(-1),
        "L2.attn.3": head_outputs(parts[2]["heads"], z, 4)[3].norm(dim=-1),
        "L1.resid.1": stream[1][1][..., 1],
    }
    for layer, each in enumerate(latents):
        live = (each > 1e-3).any(0).any(0).nonzero()[:, 0].tolist()
        assert len(live) >= 5
        expected |= {f"L{layer}.sae.{latent}": each[..., latent] for latent in live}
    got = subject.activations(IDS, [Site.parse(name) for name in expected])
    assert got.dtype == torch.float32
    for column, (name, naive) in enumerate(expected.items()):
        assert naive.abs().max() > 1e-3, name
        torch.testing.assert_close(got[..., column], naive, msg=lambda text, name=name: f"{name}: {text}")


def naive_latents(sae: SAE, x: Tensor) -> Tensor:
    """Encoded one vector and one latent at a time, in float64."""
    out = torch.zeros(*x.shape[:-1], sae.width, dtype=torch.float64)
    for place in range(x[..., 0].numel()):
        vector = x.reshape(-1, x.shape[-1])[place].double()
        if sae.centred:
            vector = vector - vector.sum() / len(vector)
        before = [
            float(((vector - sae.input_bias.double()) * sae.encoder[latent].double()).sum() + sae.encoder_bias[latent].double())
            for latent in range(sae.width)
        ]
        least = sorted(before, reverse=True)[sae.k - 1] if sae.k is not None else -torch.inf
        for latent, value in enumerate(before):
            above = value > (0.0 if sae.threshold is None else max(0.0, float(sae.threshold[latent])))
            if above and value >= least:
                out.reshape(-1, sae.width)[place, latent] = value
    return out.float()


@contextmanager
def replaced(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Within the context the module's forward is forward(original, x, ...)."""
    original = module.forward
    module.forward = lambda x, *args, **kwargs: forward(original, x, *args, **kwargs)
    try:
        yield
    finally:
        module.forward = original


def on_output(change: Callable[[Tensor], Tensor]) -> Callable[..., Any]:
    def forward(original: Callable[..., Any], x: Tensor, *args: Any, **kwargs: Any) -> Any:
        out = original(x, *args, **kwargs)
        return (change(out[0]), *out[1:]) if isinstance(out, tuple) else change(out)

    return forward


def on_input(change: Callable[[Tensor], Tensor]) -> Callable[..., Any]:
    return lambda original, x, *args, **kwargs: original(change(x), *args, **kwargs)


def with_column(x: Tensor, column: int, values: Tensor) -> Tensor:
    return torch.cat((x[..., :column], values[..., None], x[..., column + 1 :]), dim=-1)


def moved_along(x: Tensor, direction: Tensor) -> Tensor:
    """The part along a unit direction becomes what `changed` makes of it, the rest stays."""
    along = x @ direction
    rest = x - along[..., None] * direction
    return rest + changed(along)[..., None] * direction


def changed(a: Tensor) -> Tensor:
    return 2 * a + 0.75


def reconstructed_anew(sae: SAE, latent: int, x: Tensor) -> Tensor:
    """The reconstruction from changed latents, plus what the autoencoder does not reconstruct."""
    latents = naive_latents(sae, x)
    error = x - (latents @ sae.decoder)
    return with_column(latents, latent, changed(latents[..., latent])) @ sae.decoder + error


def naive_patch(subject: Subject, site: Site) -> tuple[nn.Module, Callable[..., Any]]:
    parts = parts_of(subject, site.layer)
    i = site.index
    if site.kind == "mlp":
        return parts["down"], on_input(lambda x: with_column(x, i, changed(x[..., i])))
    if site.kind == "resid":
        return parts["block"], on_output(lambda x: with_column(x, i, changed(x[..., i])))
    if site.kind in ("direction", "random"):
        direction = KINDS.get(site.kind)().direction(subject, site)
        assert isinstance(direction, Tensor)
        return parts["block"], on_output(lambda x: moved_along(x, direction))
    if site.kind == "attn":

        def stretched(z: Tensor) -> Tensor:
            length = head_outputs(types_projection(parts["heads"]), z, 4)[i].norm(dim=-1)
            heads = list(z.split(z.shape[-1] // 4, dim=-1))
            heads[i] = heads[i] * (changed(length) / length)[..., None]
            return torch.cat(heads, dim=-1)

        return parts["heads"], on_input(stretched)
    sae = subject.saes[site.layer]
    if sae.place == "resid_pre":
        return parts["block"], on_input(lambda x: reconstructed_anew(sae, i, x))
    module = parts["mlp"] if sae.place == "mlp_out" else parts["block"]
    return module, on_output(lambda x: reconstructed_anew(sae, i, x))


def types_projection(module: nn.Module) -> nn.Module:
    """The same layer with the forward of its class, whatever stands in its place at the moment."""
    twin = object.__new__(type(module))
    twin.__dict__ = {**module.__dict__}
    twin.__dict__["forward"] = types.MethodType(type(module).forward, twin)
    return twin


PATCHED = [
    "L1.mlp.40",
    "L0.mlp.3-",
    "L1.resid.17",
    "L1.direction.2",
    "L1.random.5-",
    "L2.attn.3",
    "L0.attn.1",
    "L0.sae.7",
    "L1.sae.8",
    "L2.sae.9",
]


@pytest.mark.parametrize("name", PATCHED)
@torch.no_grad()
def test_a_patched_forward_pass_is_the_naive_one(name: str, subject: Subject) -> None:
    site = Site.parse(name)
    plain = subject.model(IDS).logits
    with subject.patching(site, changed):
        got = subject.model(IDS).logits
    module, forward = naive_patch(subject, site)
    with replaced(module, forward):
        expected = subject.model(IDS).logits
    assert (expected - plain).abs().max() > 1e-2
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=2e-4)
    torch.testing.assert_close(subject.model(IDS).logits, plain, rtol=0, atol=0)


@pytest.mark.parametrize("name", PATCHED)
@torch.no_grad()
def test_a_change_sees_the_raw_activation_in_float32_and_none_changes_nothing(name: str, subject: Subject) -> None:
    site, seen = Site.parse(name), list[Tensor]()
    plain = subject.model(IDS).logits
    with subject.patching(site, lambda a: seen.append(a) or a):  # type: ignore[func-returns-value]
        same = subject.model(IDS).logits
    (raw,) = seen
    torch.testing.assert_close(raw, subject.activations(IDS, [site])[..., 0])
    torch.testing.assert_close(same, plain)


@pytest.mark.parametrize("name", [name for name in PATCHED if "sae" not in name])
@torch.no_grad()
def test_what_is_read_while_patched_is_what_was_put_there(name: str, subject: Subject) -> None:
    site = Site.parse(name)
    wanted = torch.linspace(0.5, 3, IDS.numel()).reshape(IDS.shape)
    with subject.patching(site, lambda _: wanted):
        torch.testing.assert_close(subject.activations(IDS, [site])[..., 0], wanted)


@torch.no_grad()
def test_a_head_that_writes_nothing_cannot_be_stretched(tiny_model: Callable[..., Any]) -> None:
    model, tokenizer = tiny_model("llama")
    model.model.layers[0].self_attn.o_proj.weight[:, :8] = 0
    subject = Subject(model, tokenizer, name="x", identity={})
    plain = model(IDS).logits
    with subject.patching(Site(0, 0, kind="attn"), lambda a: a + 1):
        torch.testing.assert_close(model(IDS).logits, plain)


@torch.no_grad()
def finite_difference(subject: Subject, site: Site, module: nn.Module) -> Tensor:
    """[batch, pos, hidden] what the output of a module gains from one more unit of the site's activation."""
    _, before = tapped(subject, module)
    with subject.patching(site, lambda a: a + 1):
        _, after = tapped(subject, module)
    return after - before


@pytest.mark.parametrize("name", ["L1.mlp.40", "L2.mlp.0-", "L1.resid.17", "L1.direction.2", "L0.random.5", "L1.sae.8", "L2.sae.9"])
def test_a_direction_is_what_a_unit_adds_to_the_residual_stream(name: str, subject: Subject) -> None:
    site = Site.parse(name)
    direction = KINDS.get(site.kind)().direction(subject, site)
    assert isinstance(direction, Tensor)
    assert direction.norm() > 0.1
    difference = finite_difference(subject, site, blocks_of(subject)[site.layer])
    torch.testing.assert_close(difference, direction.expand_as(difference), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("family", ["falcon", "gptj", "gpt_neox", "phi", "qwen3", "opt", "bloom", "gpt_neo"])
def test_the_direction_of_a_neuron_in_other_families(family: str, tiny_checkpoint: Checkpoint) -> None:
    subject, site = Subject.load(str(tiny_checkpoint(family)), device="cpu", dtype="float32"), Site(1, 11)
    direction = KINDS.get("mlp")().direction(subject, site)
    assert isinstance(direction, Tensor)
    difference = finite_difference(subject, site, blocks_of(subject)[1])
    torch.testing.assert_close(difference, direction.expand_as(difference), rtol=1e-3, atol=1e-4)


def test_a_model_that_scales_what_its_mlp_writes(tiny_model: Callable[..., Any]) -> None:
    from transformers import GraniteConfig, GraniteForCausalLM

    _, tokenizer = tiny_model("llama")
    config = GraniteConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        residual_multiplier=0.25,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        subject = Subject(GraniteForCausalLM(config).requires_grad_(False), tokenizer, name="scaling", identity={})
    direction = KINDS.get("mlp")().direction(subject, Site(1, 11))
    assert isinstance(direction, Tensor)
    torch.testing.assert_close(direction, 0.25 * subject.model.model.layers[1].mlp.down_proj.weight[:, 11], rtol=1e-3, atol=1e-6)
    with pytest.raises(SubjectError, match=r"multiplies by 0\.25 what its MLP writes"):
        subject.attach(sae=made_sae(1, "mlp_out"))


@pytest.mark.parametrize(("family", "changes"), [("gemma2", {}), ("opt", {"do_layer_norm_before": False})])
def test_a_norm_behind_the_mlp_leaves_a_neuron_without_one_direction(
    family: str, changes: dict[str, Any], tiny_model: Callable[..., Any]
) -> None:
    model, tokenizer = tiny_model(family, **changes)
    subject = Subject(model.requires_grad_(False), tokenizer, name="norming", identity={})
    found = KINDS.get("mlp")().direction(subject, Site(1, 11))
    assert isinstance(found, Failed)
    assert "normalises" in found.reason
    with pytest.raises(SubjectError, match="norming normalises what its MLP writes"):
        subject.attach(sae=made_sae(1, "mlp_out"))
    subject.attach(sae=made_sae(1, "resid_post"))


def test_a_head_has_no_direction(subject: Subject) -> None:
    found = KINDS.get("attn")().direction(subject, Site(1, 2, kind="attn"))
    assert isinstance(found, Failed)
    assert "head 2" in found.reason


def test_random_directions_are_unit_vectors_that_differ_by_index_and_layer(subject: Subject) -> None:
    sites = [Site(layer, index, kind="random") for layer in range(3) for index in range(20)]
    found = [KINDS.get("random")().direction(subject, site) for site in sites]
    rows = torch.stack([each for each in found if isinstance(each, Tensor)])
    assert len(rows) == 60
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(60))
    assert (rows @ rows.T - torch.eye(60)).abs().max() < 0.8
    again = KINDS.get("random")().direction(subject, sites[30])
    assert isinstance(again, Tensor)
    assert torch.equal(again, rows[30])


@pytest.mark.parametrize("family", ["llama", "opt"])
def test_hooks_come_off_whatever_happens(family: str, tiny_checkpoint: Checkpoint) -> None:
    subject = loaded(tiny_checkpoint, family)

    def hooks() -> int:
        return sum(len(module._forward_pre_hooks) + len(module._forward_hooks) for module in subject.model.modules())

    def fails(*_args: object) -> Tensor:
        raise ZeroDivisionError

    sites = [Site.parse(name) for name in PATCHED]
    subject.activations(IDS, sites)
    assert hooks() == 0
    for site in sites:
        with pytest.raises(ZeroDivisionError), subject.reading([site], fails):
            subject.forward(IDS)
        with pytest.raises(ZeroDivisionError), subject.patching(site, fails):
            subject.forward(IDS)
        with pytest.raises(SubjectError), subject.reading([site, Site(9, 0)], fails):
            pass
        assert hooks() == 0


@pytest.mark.parametrize("name", ["L3.attn.0", "L2.attn.4", "L0.resid.32", "L1.direction.4", "L1.sae.40", "L3.random.0", "L4.sae.0"])
def test_a_site_out_of_range_is_named_with_the_range(name: str, subject: Subject) -> None:
    with pytest.raises(SubjectError, match=rf"'{name}'.* 0-\d+; choose L"):
        subject.check(Site.parse(name))


@pytest.mark.parametrize(
    ("name", "remedy"), [("L0.direction.0", "attach a file of directions"), ("L2.sae.0", "attach a sparse autoencoder")]
)
def test_a_layer_to_which_nothing_is_attached_says_what_to_do(name: str, remedy: str, tiny_checkpoint: Checkpoint) -> None:
    subject = Subject.load(str(tiny_checkpoint("llama")), device="cpu")
    with pytest.raises(SubjectError, match=remedy):
        subject.check(Site.parse(name))


def test_sides_and_kinds_that_there_are_not_are_refused(subject: Subject) -> None:
    with pytest.raises(SubjectError, match="never negative"):
        subject.check(Site(0, 0, "-", "attn"))
    with pytest.raises(SubjectError, match="no kind of site 'embedding'"):
        subject.activations(IDS, [Site(0, 0, kind="embedding")])


def test_what_is_attached_tells_in_the_identity_and_fits(tiny_checkpoint: Checkpoint) -> None:
    subject = Subject.load(str(tiny_checkpoint("llama")), device="cpu")
    before = dict(subject.identity)
    subject.attach(sae=made_sae(1, "resid_post"))
    one = dict(subject.identity)
    assert one.items() > before.items()
    assert any("1 resid_post" in value for value in one.values())
    subject.attach(directions=Directions("d", {2: torch.eye(32)[:3]}, "sum of the file"))
    assert "sum of the file" in subject.identity.values()
    subject.check(Site(2, 2, kind="direction"))
    with pytest.raises(SubjectError, match="already has the autoencoder 'made'"):
        subject.attach(sae=made_sae(1, "mlp_out"))
    with pytest.raises(SubjectError, match=r"'made' is of layer 3; .* has layers 0-2"):
        subject.attach(sae=made_sae(3, "resid_post"))
    with pytest.raises(SubjectError, match=r"hidden size 24; .* has 32"):
        subject.attach(sae=made_sae(0, "resid_post", hidden=24))
    with pytest.raises(SubjectError, match=r"hidden size 8; .* has 32"):
        subject.attach(directions=Directions("d", {0: torch.eye(8)}, ""))


def test_directions_are_read_with_their_lengths_taken_away(tmp_path: Path) -> None:
    rows = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    save_file({"L2": 7 * rows, "L0": rows[:1].to(torch.bfloat16)}, tmp_path / "probes.safetensors")
    found = Directions.load(tmp_path / "probes.safetensors")
    assert {layer: tuple(each.shape) for layer, each in found.rows.items()} == {0: (1, 32), 2: (3, 32)}
    torch.testing.assert_close(found.rows[2], torch.stack([row / row.square().sum().sqrt() for row in rows]))
    assert found.rows[0].dtype == torch.float32
    save_file({"L2": 7 * rows}, tmp_path / "fewer.safetensors")
    assert Directions.load(tmp_path / "fewer.safetensors").fingerprint != found.fingerprint


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"2": torch.eye(4)}, r"'2' \(4 x 4\) is no matrix"),
        # Another name of L2 would hide its rows.
        ({"L2": torch.eye(4), "L02": torch.eye(4)}, "'L02'"),
        ({"L2": torch.ones(4)}, r"'L2' \(4\) is no matrix"),
        ({"L2": torch.ones(2, 4, dtype=torch.int64)}, "is no matrix"),
        ({"L2": torch.zeros(2, 4)}, "of length 0"),
        ({"L2": torch.full((2, 4), torch.nan)}, "not finite"),
        ({}, "holds no directions"),
    ],
)
def test_a_file_of_directions_that_is_none_is_named(tensors: dict[str, Tensor], message: str, tmp_path: Path) -> None:
    save_file(tensors, tmp_path / "file.safetensors")
    with pytest.raises(AssetError, match=rf"file\.safetensors.*{message}"):
        Directions.load(tmp_path / "file.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"nonsense")
    for name in ("broken", "missing"):
        with pytest.raises(AssetError, match=rf"{name}\.safetensors' cannot be read"):
            Directions.load(tmp_path / f"{name}.safetensors")


def test_drawn_sites_are_seeded_different_and_of_layers_that_have_some(subject: Subject) -> None:
    heads = draw_sites(subject, "attn", [0, 2], 8, 3)
    assert heads == [Site(layer, head, kind="attn") for layer in (0, 2) for head in range(4)]
    latents = draw_sites(subject, "sae", [0, 1, 2], 30, 3)
    assert len(set(latents)) == 30
    assert latents == sorted(latents) == draw_sites(subject, "sae", [0, 1, 2], 30, 3)
    assert latents != draw_sites(subject, "sae", [0, 1, 2], 30, 4)
    assert {site.layer for site in latents} == {0, 1, 2}
    for site in [*latents, *draw_sites(subject, "direction", range(3), 4, 0), *draw_sites(subject, "random", range(3), 9, 0)]:
        subject.check(site)
    with pytest.raises(SubjectError, match="5 is more than the 4 directions"):
        draw_sites(subject, "direction", range(3), 5, 0)
    with pytest.raises(SubjectError, match=r"more than the 0 directions .*; layers 1 have some"):
        draw_sites(subject, "direction", [0], 1, 0)
    bare = subject.random_init(0)
    with pytest.raises(SubjectError, match=r"more than the 0 directions .* attach a file"):
        draw_sites(bare, "direction", [0], 1, 0)
    with pytest.raises(ExplicateError, match="no kind of site is called 'head'"):
        draw_sites(subject, "head", [0], 1, 0)


def test_neurons_are_drawn_uniformly(subject: Subject) -> None:
    drawn = [site for seed in range(300) for site in draw_sites(subject, "mlp", range(3), 3, seed)]
    for layer in range(3):
        assert 220 < sum(site.layer == layer for site in drawn) < 380
    assert len({(site.layer, site.index) for site in drawn}) > 135


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "opt"])
@torch.no_grad()
def test_a_randomly_initialised_twin_has_the_shapes_and_none_of_the_weights(family: str, tiny_checkpoint: Checkpoint) -> None:
    subject = Subject.load(str(tiny_checkpoint(family)), device="cpu", dtype="float32")
    before = {name: weight.clone() for name, weight in subject.model.state_dict().items()}
    state = torch.random.get_rng_state()
    twin, again, other = subject.random_init(1), subject.random_init(1), subject.random_init(2)
    assert torch.equal(state, torch.random.get_rng_state())
    weights, same, different = (each.model.state_dict() for each in (twin, again, other))
    assert {name: weight.shape for name, weight in weights.items()} == {name: weight.shape for name, weight in before.items()}
    matrices = [name for name, weight in before.items() if weight.ndim == 2]
    assert len(matrices) >= 7
    for name in matrices:
        assert torch.equal(weights[name], same[name])
        assert (weights[name] - different[name]).norm() > 0.5 * weights[name].norm()
        assert (weights[name] - before[name]).norm() > 0.5 * weights[name].norm()
    for name, weight in before.items():
        assert torch.equal(subject.model.state_dict()[name], weight)
    down = [name for name in matrices if "mlp" in name or "fc" in name]
    assert down
    assert all(0.1 < weights[name].std() / before[name].std() < 10 for name in down)
    assert (twin.dtype, twin.device, twin.neurons, twin.prefix) == (subject.dtype, subject.device, subject.neurons, subject.prefix)
    assert twin.encode("The river") == subject.encode("The river")
    assert not any(parameter.requires_grad for parameter in twin.model.parameters())
    assert twin.identity == again.identity != other.identity
    assert twin.identity != subject.identity
    assert twin.name != subject.name
    assert twin.activations(IDS, [Site(1, 3)]).std() > 0


def test_bfloat16_subjects_are_read_and_patched_in_every_kind(tiny_checkpoint: Checkpoint) -> None:
    subject = Subject.load(str(tiny_checkpoint("llama")), device="cpu", dtype="bfloat16")
    subject.attach(sae=made_sae(0, "resid_pre"))
    subject.attach(sae=made_sae(1, "resid_post", k=6), directions=Directions("made", {1: torch.eye(32)[:4]}, ""))
    subject.attach(sae=made_sae(2, "mlp_out", threshold=True))
    full = loaded(tiny_checkpoint, "llama")
    full.directions = subject.directions
    sites = [Site.parse(name) for name in PATCHED]
    low, high = (each.activations(IDS, sites) for each in (subject, full))
    assert ((low - high).norm(dim=(0, 1)) < 0.1 * high.norm(dim=(0, 1)) + 0.1).all()
    for site in sites:
        with subject.patching(site, changed):
            moved = subject.activations(IDS, [Site(2, 3, kind="resid")])
        assert moved.isfinite().all()
    direction = KINDS.get("mlp")().direction(subject, Site(1, 4))
    assert isinstance(direction, Tensor)
    torch.testing.assert_close(direction, subject.projections[1].weight[:, 4].float())
