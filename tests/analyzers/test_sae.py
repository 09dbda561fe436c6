"""Sparse autoencoders in both layouts, written here and read back, encoded by a naive formula; what is malformed is named."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from analyzers.errors import AssetError
from analyzers.places import Place
from analyzers.sae import SAE

HIDDEN, WIDTH = 6, 15

Tensors = dict[str, Tensor]
Config = dict[str, Any]


def drawn(seed: int = 0) -> Tensors:
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw)

    return {
        "W_enc": normal(HIDDEN, WIDTH),
        "b_enc": normal(WIDTH) / 2,
        "W_dec": normal(WIDTH, HIDDEN),
        "b_dec": normal(HIDDEN),
    }


def saelens(folder: Path, tensors: Mapping[str, Tensor], **changes: Any) -> Path:
    """As SAELens 6 saves it: what the autoencoder is at the top, where it was trained under metadata."""
    config: Config = {
        "d_in": HIDDEN,
        "d_sae": WIDTH,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {"sae_lens_version": "6.36.2", "model_name": "tiny", "hook_name": "blocks.2.hook_resid_post", "hook_head_index": None},
        "architecture": "standard",
    }
    return written(folder, {**config, **changes}, tensors, "sae_weights.safetensors")


def old_saelens(folder: Path, tensors: Mapping[str, Tensor], **changes: Any) -> Path:
    """As versions before 6 saved it: all at the top."""
    config: Config = {
        "model_name": "tiny",
        "hook_name": "blocks.1.hook_mlp_out",
        "hook_layer": 1,
        "hook_head_index": None,
        "architecture": "standard",
        "d_in": HIDDEN,
        "d_sae": WIDTH,
        "activation_fn_str": "relu",
        "activation_fn_kwargs": {},
        "apply_b_dec_to_input": True,
        "finetuning_scaling_factor": False,
        "normalize_activations": "none",
        "model_from_pretrained_kwargs": {},
    }
    return written(folder, {**config, **changes}, tensors, "sae_weights.safetensors")


def sparsify(folder: Path, tensors: Mapping[str, Tensor], **changes: Any) -> Path:
    """As sparsify saves it; the folder is called for the place."""
    config: Config = {
        "activation": "topk",
        "expansion_factor": 32,
        "normalize_decoder": True,
        "num_latents": WIDTH,
        "k": 4,
        "multi_topk": False,
        "skip_connection": False,
        "transcode": False,
        "d_in": HIDDEN,
    }
    own = {
        "encoder.weight": tensors["W_enc"].T.contiguous(),
        "encoder.bias": tensors["b_enc"],
        "W_dec": tensors["W_dec"],
        "b_dec": tensors["b_dec"],
    }
    return written(folder, {**config, **changes}, own, "sae.safetensors")


def written(folder: Path, config: Config, tensors: Mapping[str, Tensor], name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cfg.json").write_text(json.dumps(config))
    save_file(dict(tensors), folder / name)
    return folder


def naive(
    tensors: Mapping[str, Tensor],
    x: Tensor,
    *,
    bias: bool = True,
    k: int | None = None,
    threshold: Tensor | None = None,
    by_norm: bool = False,
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """[vector, latent] in float64, one latent at a time."""
    w, b_enc, b_dec, w_dec = (tensors[name].double().numpy() for name in ("W_enc", "b_enc", "b_dec", "W_dec"))
    out = np.zeros((len(x), w.shape[1]))
    for row, vector in enumerate(x.double().numpy()):
        entered = vector - b_dec if bias else vector
        before = np.array([float(entered @ w[:, latent]) + b_enc[latent] for latent in range(w.shape[1])])
        if by_norm:
            before = before * np.sqrt((w_dec**2).sum(1))
        for latent, value in enumerate(before):
            kept = k is None or int((before > value).sum()) < k
            above = threshold is None or value > float(threshold[latent])
            out[row, latent] = value if value > 0 and kept and above else 0.0
    return out


def check(sae: SAE, expected: np.ndarray[Any, Any], x: Tensor) -> None:
    assert (expected > 0).any()
    assert (expected == 0).any()
    np.testing.assert_allclose(sae.encode(x).numpy(), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(sae.encode(x, [7, 2, 7]).numpy(), expected[:, [7, 2, 7]], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(sae.encode(x.reshape(2, -1, HIDDEN))[1, 0].numpy(), expected[len(x) // 2], rtol=1e-4, atol=1e-5)


X = torch.randn(10, HIDDEN, generator=torch.Generator().manual_seed(99))


@pytest.mark.parametrize("layout", [saelens, old_saelens])
@pytest.mark.parametrize("bias", [True, False])
def test_standard(layout: Callable[..., Path], bias: bool, tmp_path: Path) -> None:
    tensors = drawn()
    sae = SAE.load(layout(tmp_path / "sae", tensors, apply_b_dec_to_input=bias))
    assert (sae.width, sae.hidden, sae.k, sae.threshold) == (WIDTH, HIDDEN, None, None)
    assert (sae.layer, sae.place) == ((2, "resid_post") if layout is saelens else (1, "mlp_out"))
    assert torch.equal(sae.decoder, tensors["W_dec"])
    check(sae, naive(tensors, X, bias=bias), X)


def test_jumprelu(tmp_path: Path) -> None:
    tensors = drawn(1)
    threshold = torch.rand(WIDTH, generator=torch.Generator().manual_seed(3)) * 2
    sae = SAE.load(saelens(tmp_path / "sae", {**tensors, "threshold": threshold}, architecture="jumprelu"))
    expected = naive(tensors, X, threshold=threshold)
    assert (expected != naive(tensors, X)).any()
    check(sae, expected, X)


@pytest.mark.parametrize(
    ("layout", "settings"),
    [
        (saelens, {"architecture": "topk", "k": 4}),
        (old_saelens, {"architecture": "topk", "activation_fn_str": "topk", "activation_fn_kwargs": {"k": 4}}),
        (old_saelens, {"architecture": "standard", "activation_fn_str": "topk", "activation_fn_kwargs": {"k": 4}}),
        (old_saelens, {"architecture": "topk", "activation_fn_str": "relu", "k": 4}),
    ],
)
def test_topk(layout: Callable[..., Path], settings: Config, tmp_path: Path) -> None:
    tensors = drawn(2)
    sae = SAE.load(layout(tmp_path / "sae", tensors, **settings))
    assert sae.k == 4
    expected = naive(tensors, X, k=4)
    assert (expected != naive(tensors, X)).any()
    check(sae, expected, X)


def test_topk_whose_decoder_norms_count(tmp_path: Path) -> None:
    tensors = drawn(3)
    sae = SAE.load(saelens(tmp_path / "sae", tensors, architecture="topk", k=3, rescale_acts_by_decoder_norm=True))
    expected = naive(tensors, X, k=3, by_norm=True)
    assert ((expected > 0) != (naive(tensors, X, k=3) > 0)).any()
    check(sae, expected, X)
    # What a unit adds has length 1, and the reconstruction stays what it was.
    norms = tensors["W_dec"].norm(dim=1)
    torch.testing.assert_close(sae.decoder.norm(dim=1), torch.ones(WIDTH))
    whole = torch.from_numpy(expected / norms.double().numpy()) @ tensors["W_dec"].double()
    torch.testing.assert_close(sae.encode(X) @ sae.decoder, whole.float(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "layer", "place"), [("layers.5", 5, "resid_post"), ("layers.11.mlp", 11, "mlp_out"), ("h.3", 3, "resid_post")]
)
def test_sparsify(name: str, layer: int, place: Place, tmp_path: Path) -> None:
    tensors = drawn(4)
    sae = SAE.load(sparsify(tmp_path / name, tensors))
    assert (sae.layer, sae.place, sae.k) == (layer, place, 4)
    check(sae, naive(tensors, X, k=4), X)


def test_sparsify_counts_its_latents_by_the_expansion_factor_where_it_does_not_say(tmp_path: Path) -> None:
    tensors = {name: tensor[..., :12] if name in ("W_enc", "b_enc") else tensor[:12] for name, tensor in drawn(4).items()}
    tensors["b_dec"] = drawn(4)["b_dec"]
    sae = SAE.load(str(sparsify(tmp_path / "layers.0", tensors, num_latents=0, expansion_factor=2)))
    assert sae.width == 12


def test_weights_that_write_centred_are_given_centred_vectors(tmp_path: Path) -> None:
    tensors = drawn(5)
    metadata = {"hook_name": "blocks.0.hook_resid_pre", "model_from_pretrained_kwargs": {"center_writing_weights": True}}
    sae = SAE.load(saelens(tmp_path / "sae", tensors, metadata=metadata))
    assert (sae.layer, sae.place) == (0, "resid_pre")
    check(sae, naive(tensors, X - X.mean(1, keepdim=True)), X)
    assert not np.allclose(sae.encode(X).numpy(), naive(tensors, X))


def test_all_is_float32_whatever_it_was(tmp_path: Path) -> None:
    tensors = {name: tensor.to(torch.bfloat16) for name, tensor in drawn().items()}
    sae = SAE.load(saelens(tmp_path / "sae", tensors))
    assert {each.dtype for each in (sae.encoder, sae.encoder_bias, sae.decoder, sae.input_bias)} == {torch.float32}
    check(sae, naive(tensors, X), X)


def test_the_place_can_be_given(tmp_path: Path) -> None:
    tensors = drawn()
    folder = sparsify(tmp_path / "my-autoencoder", tensors)
    with pytest.raises(AssetError, match=r"cfg\.json' is of 'my-autoencoder', which cannot be read; places are blocks"):
        SAE.load(folder)
    assert SAE.load(folder, at="layers.4.mlp").layer == 4
    assert SAE.load(folder, at="blocks.4.hook_mlp_out").place == "mlp_out"


def test_other_weights_or_settings_have_another_fingerprint(tmp_path: Path) -> None:
    found = {
        SAE.load(saelens(tmp_path / "a", drawn())).fingerprint,
        SAE.load(saelens(tmp_path / "b", drawn(1))).fingerprint,
        SAE.load(saelens(tmp_path / "c", drawn(), apply_b_dec_to_input=False)).fingerprint,
        SAE.load(saelens(tmp_path / "d", drawn())).fingerprint,
    }
    assert len(found) == 3


@pytest.mark.parametrize(
    ("layout", "settings", "message"),
    [
        (saelens, {"architecture": "gated"}, "architecture 'gated' cannot be read; it must be one of 'standard', 'jumprelu', 'topk'"),
        (saelens, {"normalize_activations": "layer_norm"}, "normalize_activations 'layer_norm' cannot be read"),
        (saelens, {"normalize_activations": "expected_average_only_in"}, "normalize_activations 'expected_average_only_in'"),
        (saelens, {"normalize_activations": "constant_norm_rescale"}, "normalize_activations 'constant_norm_rescale'"),
        (old_saelens, {"normalize_activations": True}, "normalize_activations True"),
        (saelens, {"reshape_activations": "hook_z"}, "reshape_activations 'hook_z'"),
        (old_saelens, {"hook_name": "blocks.1.attn.hook_z"}, r"'blocks\.1\.attn\.hook_z', which cannot be read"),
        (old_saelens, {"hook_name": None}, "which cannot be read"),
        (old_saelens, {"hook_head_index": 3}, "single attention head"),
        (old_saelens, {"finetuning_scaling_factor": True}, "finetuning_scaling_factor True"),
        (old_saelens, {"activation_fn_str": "tanh-relu"}, "activation_fn 'tanh-relu' cannot be read"),
        (saelens, {"d_in": "6"}, "d_in is '6', not a whole number"),
        (saelens, {"d_in": None}, "d_in is None"),
        (saelens, {"d_sae": -1}, "d_sae is -1"),
        (saelens, {"architecture": "topk"}, "k is None"),
        (saelens, {"architecture": "topk", "k": 16}, "k is 16, not between 1 and the 15 latents"),
        (old_saelens, {"architecture": "topk", "activation_fn_kwargs": {"k": "4"}}, "k is '4'"),
        (sparsify, {"activation": "groupmax"}, "activation 'groupmax' cannot be read"),
        (sparsify, {"transcode": True}, "transcode True"),
        (sparsify, {"skip_connection": True}, "skip_connection True"),
        (sparsify, {"k": 0}, "k is 0"),
    ],
)
def test_a_setting_that_cannot_be_honoured_is_refused(layout: Callable[..., Path], settings: Config, message: str, tmp_path: Path) -> None:
    with pytest.raises(AssetError, match=rf"layers\.3/cfg\.json.*{message}"):
        SAE.load(layout(tmp_path / "layers.3", drawn(), **settings))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"W_enc": None}, r"no tensor 'W_enc' \(6 x 15\); it has W_dec, b_dec, b_enc, threshold"),
        ({"threshold": None}, r"no tensor 'threshold' \(15\)"),
        ({"b_enc": torch.ones(14)}, "'b_enc' is 14, not 15"),
        ({"W_dec": torch.ones(6, 15)}, "'W_dec' is 6 x 15, not 15 x 6"),
        ({"b_dec": torch.ones(())}, "'b_dec' is a number, not 6"),
        ({"W_enc": torch.ones(6, 15, dtype=torch.int32)}, "'W_enc' holds something that is no finite number"),
        ({"b_enc": torch.full((15,), torch.inf)}, "'b_enc' holds something that is no finite number"),
    ],
)
def test_a_tensor_that_is_not_as_it_should_be_is_named(changes: dict[str, Tensor | None], message: str, tmp_path: Path) -> None:
    tensors: dict[str, Tensor | None] = {**drawn(), "threshold": torch.zeros(WIDTH), **changes}
    there = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    with pytest.raises(AssetError, match=rf"sae_weights\.safetensors'.*{message}"):
        SAE.load(saelens(tmp_path / "sae", there, architecture="jumprelu"))


def test_the_number_of_latents_is_that_of_the_encoder_where_it_is_not_said(tmp_path: Path) -> None:
    assert SAE.load(saelens(tmp_path / "sae", drawn(), d_sae=None)).width == WIDTH
    with pytest.raises(AssetError, match="no tensor 'W_enc'"):
        SAE.load(saelens(tmp_path / "without", {"b_enc": torch.zeros(3)}, d_sae=None))
    with pytest.raises(AssetError, match="'W_enc' is 5 x 15, not 6 x 15"):
        SAE.load(saelens(tmp_path / "wrong", {**drawn(), "W_enc": torch.ones(5, 15)}, d_sae=None))


def test_rows_of_length_zero_cannot_be_rescaled(tmp_path: Path) -> None:
    tensors = {**drawn(), "W_dec": torch.zeros(WIDTH, HIDDEN)}
    with pytest.raises(AssetError, match="'W_dec' has rows of length 0"):
        SAE.load(saelens(tmp_path / "sae", tensors, architecture="topk", k=3, rescale_acts_by_decoder_norm=True))


def test_folders_that_hold_no_autoencoder_are_named(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match=r"nowhere' holds no sparse autoencoder: it needs cfg\.json"):
        SAE.load(tmp_path / "nowhere")
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "cfg.json").write_text("{}")
    (pickled / "ae.pt").write_bytes(b"nonsense")
    with pytest.raises(AssetError, match="other formats are not read"):
        SAE.load(pickled)
    damaged = saelens(tmp_path / "damaged", drawn())
    (damaged / "sae_weights.safetensors").write_bytes(b"nonsense")
    with pytest.raises(AssetError, match=r"sae_weights\.safetensors' is damaged"):
        SAE.load(damaged)
    for text in ("{", "[1]", "\ud800".encode("utf-8", "surrogatepass").decode("latin-1")):
        (damaged / "cfg.json").write_text(text)
        with pytest.raises(AssetError, match=r"cfg\.json' (is not JSON|holds no JSON object)"):
            SAE.load(damaged)


@given(st.integers(0, 1000), st.integers(1, WIDTH), st.floats(0.1, 10))
def test_of_a_top_k_autoencoder_at_most_k_latents_are_there_and_none_is_louder(seed: int, k: int, scale: float) -> None:
    tensors = drawn(seed)
    encoder, bias = tensors["W_enc"].T.contiguous(), tensors["b_enc"]
    zero = torch.zeros(HIDDEN)
    sae = SAE("made", 0, "resid_post", encoder, bias, tensors["W_dec"], zero, None, k, False, "")
    found, all_of_them = sae.encode(scale * X), (scale * X @ tensors["W_enc"] + bias).relu()
    there = found > 0
    assert (there.sum(1) == (all_of_them > 0).sum(1).clamp(max=k)).all()
    torch.testing.assert_close(found[there], all_of_them[there])
    assert (all_of_them.where(~there, 0).amax(1) <= found.where(there, torch.inf).amin(1)).all()


def test_latents_are_the_same_however_few_are_computed_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sae = SAE.load(sparsify(tmp_path / "layers.0", drawn()))
    whole = sae.encode(X)
    monkeypatch.setattr("analyzers.sae.CHUNK", 40)
    torch.testing.assert_close(sae.encode(X), whole)
