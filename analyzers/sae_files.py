"""Reads sparse autoencoders in two layouts: cfg.json with sae_weights.safetensors (SAELens), or with sae.safetensors (sparsify)."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from analyzers.errors import AssetError
from analyzers.places import Place
from analyzers.sae import SAE

CONFIG = "cfg.json"
SAELENS = "sae_weights.safetensors"
SPARSIFY = "sae.safetensors"

_PLACES: dict[str, Place] = {"hook_resid_pre": "resid_pre", "hook_resid_post": "resid_post", "hook_mlp_out": "mlp_out"}
_HOOK_NAME = re.compile(rf"blocks\.(\d+)\.({'|'.join(_PLACES)})")
_HOOKPOINT = re.compile(r"(?:[A-Za-z_]+\.)*(?:layers|h)\.(\d+)(\.mlp)?")
"""A decoder block, or its MLP, by its path below the base model."""


def read_sae(folder: Path, at: str) -> SAE:
    """Read a folder in either layout; AssetError where something is not as it should be (`SAE.load`)."""
    files = [name for name in (SAELENS, SPARSIFY) if (folder / name).is_file()]
    if not (folder / CONFIG).is_file() or not files:
        raise AssetError(
            f"{str(folder)!r} holds no sparse autoencoder: it needs {CONFIG} and {SAELENS} (SAELens) or {SPARSIFY} (sparsify); "
            "other formats are not read"
        )
    path = folder / files[0]
    config = _Config(folder / CONFIG)
    return (_saelens if files[0] == SAELENS else _sparsify)(path, config, at)


class _Config:
    """cfg.json, asked one value at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, OSError) as error:
            raise AssetError(f"{str(path)!r} is not JSON: {error}; fetch it again") from error
        if not isinstance(content, dict):
            raise AssetError(f"{str(path)!r} holds no JSON object; fetch it again")
        more = content.get("metadata")
        self._content: Mapping[str, Any] = {**(more if isinstance(more, dict) else {}), **content}

    def get(self, *names: str) -> Any:
        """The value under the first of several names that is there, None if none is."""
        return next((self._content[name] for name in names if self._content.get(name) is not None), None)

    def count(self, *names: str) -> int:
        """A whole number above 0; AssetError if it is missing or anything else."""
        value = self.get(*names)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise AssetError(f"{str(self.path)!r}: {names[0]} is {value!r}, not a whole number above 0")
        return value

    def among(self, name: str, allowed: tuple[Any, ...], default: Any) -> Any:
        """A value out of those that can be read; AssetError for another."""
        value = self.get(name)
        value = default if value is None else value
        if value not in allowed:
            raise AssetError(
                f"{str(self.path)!r}: {name} {value!r} cannot be read; it must be one of {', '.join(map(repr, allowed))}: "
                "choose another autoencoder"
            )
        return value


def _saelens(path: Path, config: _Config, at: str) -> SAE:
    layer, place = _where(config, at or str(config.get("hook_name", "hook_point")))
    architecture = config.among("architecture", ("standard", "jumprelu", "topk"), "standard")
    activation = config.get("activation_fn", "activation_fn_str") or "relu"
    if activation not in ("relu", "topk"):
        raise AssetError(f"{str(config.path)!r}: activation_fn {activation!r} cannot be read; it must be one of 'relu', 'topk'")
    if activation == "topk" and architecture == "standard":
        architecture = "topk"
    config.among("normalize_activations", ("none", False), "none")
    config.among("reshape_activations", ("none",), "none")
    config.among("finetuning_scaling_factor", (False,), False)
    if config.get("hook_head_index") is not None:
        raise AssetError(f"{str(config.path)!r}: an autoencoder of a single attention head cannot be read; choose another")
    tensors = _Tensors(path)
    hidden = config.count("d_in")
    width = config.count("d_sae") if config.get("d_sae") is not None else tensors.columns("W_enc", hidden)
    encoder = tensors.read("W_enc", (hidden, width)).T.contiguous()
    encoder_bias = tensors.read("b_enc", (width,))
    decoder = tensors.read("W_dec", (width, hidden))
    bias = tensors.read("b_dec", (hidden,))
    if config.among("rescale_acts_by_decoder_norm", (True, False), False):
        # The same activations from a decoder whose rows have length 1.
        norms = decoder.norm(dim=1)
        if not norms.all():
            raise AssetError(f"{str(path)!r}: 'W_dec' has rows of length 0, by which rescale_acts_by_decoder_norm divides")
        encoder, encoder_bias, decoder = encoder * norms[:, None], encoder_bias * norms, decoder / norms[:, None]
    kwargs = config.get("model_from_pretrained_kwargs")
    applied = config.among("apply_b_dec_to_input", (True, False), True)
    return SAE(
        name=str(path.parent),
        layer=layer,
        place=place,
        encoder=encoder,
        encoder_bias=encoder_bias,
        decoder=decoder,
        input_bias=bias if applied else torch.zeros_like(bias),
        threshold=tensors.read("threshold", (width,)) if architecture == "jumprelu" else None,
        k=_k(config, width) if architecture == "topk" else None,
        centred=isinstance(kwargs, dict) and kwargs.get("center_writing_weights") is True,
        fingerprint=_fingerprint(config.path, path),
    )


def _sparsify(path: Path, config: _Config, at: str) -> SAE:
    layer, place = _where(config, at or str(config.get("hookpoint", "hook_name") or path.parent.name))
    config.among("activation", ("topk",), "topk")
    for setting in ("transcode", "skip_connection", "signed"):
        config.among(setting, (False,), False)
    tensors = _Tensors(path)
    hidden = config.count("d_in")
    width = config.count("num_latents") if config.get("num_latents") else hidden * config.count("expansion_factor")
    return SAE(
        name=str(path.parent),
        layer=layer,
        place=place,
        encoder=tensors.read("encoder.weight", (width, hidden)),
        encoder_bias=tensors.read("encoder.bias", (width,)),
        decoder=tensors.read("W_dec", (width, hidden)),
        input_bias=tensors.read("b_dec", (hidden,)),
        threshold=None,
        k=_k(config, width),
        centred=False,
        fingerprint=_fingerprint(config.path, path),
    )


def _k(config: _Config, width: int) -> int:
    kwargs = config.get("activation_fn_kwargs")
    k = config.count("k") if config.get("k") is not None or not isinstance(kwargs, dict) else kwargs.get("k")
    if not isinstance(k, int) or not 1 <= k <= width:
        raise AssetError(f"{str(config.path)!r}: k is {k!r}, not between 1 and the {width} latents")
    return k


def _where(config: _Config, name: str) -> tuple[int, Place]:
    if found := _HOOK_NAME.fullmatch(name):
        return int(found[1]), _PLACES[found[2]]
    if found := _HOOKPOINT.fullmatch(name):
        return int(found[1]), "mlp_out" if found[2] else "resid_post"
    raise AssetError(
        f"{str(config.path)!r} is of {name!r}, which cannot be read; places are blocks.<layer>.{{{', '.join(_PLACES)}}} "
        "and layers.<layer>, layers.<layer>.mlp"
    )


class _Tensors:
    """A safetensors file, asked one tensor at a time."""

    def __init__(self, path: Path) -> None:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        self._path = path
        try:
            self._tensors = load_file(path)
        except (SafetensorError, OSError) as error:
            raise AssetError(f"{str(path)!r} is damaged: {error}; fetch it again") from error

    def columns(self, name: str, rows: int) -> int:
        """Columns of a matrix of so many rows."""
        found = self._tensors.get(name)
        if found is None or found.ndim != 2:
            return self.read(name, (rows, 1)).shape[1]  # says what is wrong
        return found.shape[1]

    def read(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """float32 of that shape; AssetError for a tensor that is missing, of another shape or not finite."""
        found = self._tensors.get(name)
        wanted = " x ".join(map(str, shape))
        if found is None:
            raise AssetError(f"{str(self._path)!r} has no tensor {name!r} ({wanted}); it has {', '.join(sorted(self._tensors)) or 'none'}")
        if tuple(found.shape) != shape:
            raise AssetError(f"{str(self._path)!r}: {name!r} is {' x '.join(map(str, found.shape)) or 'a number'}, not {wanted}")
        if not found.is_floating_point() or not found.isfinite().all():
            raise AssetError(f"{str(self._path)!r}: {name!r} holds something that is no finite number; fetch it again")
        return found.float()


def _fingerprint(*paths: Path) -> str:
    whole = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()
