"""Sparse autoencoders: how a vector of the residual stream's width is encoded in latents, of which few are not zero."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from analyzers.places import Place

CHUNK = 1 << 25
"""Latents that are held at once while the largest are looked for: 128 MB."""


@dataclass(frozen=True, eq=False)
class SAE:
    """An autoencoder of one place in one layer: standard (ReLU), JumpReLU (arXiv 2407.14435) or top-k (arXiv 2406.04093)."""

    name: str
    """Where it was read."""
    layer: int
    place: Place
    encoder: Tensor
    """float32 [latent, hidden]"""
    encoder_bias: Tensor
    """float32 [latent]"""
    decoder: Tensor
    """float32 [latent, hidden]: what one unit of a latent adds to the reconstruction."""
    input_bias: Tensor
    """float32 [hidden], subtracted from what is encoded."""
    threshold: Tensor | None
    """float32 [latent]: a latent is zero that does not exceed it; None but for JumpReLU."""
    k: int | None
    """How many latents of a vector are kept; None but for top-k."""
    centred: bool
    """Whether it was trained on vectors whose mean over the coordinates was taken away."""
    fingerprint: str
    """SHA-256 of its files."""

    @classmethod
    def load(cls, path: Path | str, *, at: str = "") -> "SAE":
        """Read a folder in the layout of SAELens or of sparsify, never a pickle.

        at: the place it was trained on, `blocks.12.hook_resid_post` or `layers.12.mlp`, where neither its configuration nor the name
        of its folder says so. Raises AssetError for a folder, a setting or a tensor that is not as it should be.
        """
        from analyzers.sae_files import read_sae

        return read_sae(Path(path), at)

    @property
    def width(self) -> int:
        """How many latents there are."""
        return len(self.encoder)

    @property
    def hidden(self) -> int:
        """Width of what is encoded."""
        return self.encoder.shape[1]

    def to(self, device: torch.device) -> "SAE":
        """The same with its tensors there."""
        tensors = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **tensors)  # type: ignore[arg-type]  # each by its own name

    def encode(self, x: Tensor, latents: Sequence[int] | None = None) -> Tensor:
        """Activations float32 [..., latent] of some latents, by default of all, for vectors [..., hidden]."""
        x = x.float()
        if self.centred:
            x = x - x.mean(-1, keepdim=True)
        x = x - self.input_bias
        picked = list(range(self.width) if latents is None else latents)
        if self.k is not None:
            rows = torch.split(x.reshape(-1, self.hidden), max(1, CHUNK // self.width))
            return torch.cat([self._largest(part)[:, picked] for part in rows]).reshape(*x.shape[:-1], len(picked))
        before = x @ self.encoder[picked].T + self.encoder_bias[picked]
        return before.relu() if self.threshold is None else before.relu() * (before > self.threshold[picked])

    def _largest(self, x: Tensor) -> Tensor:
        """[vector, latent] with the k largest of all latents, and zeros."""
        assert self.k is not None
        found = (x @ self.encoder.T + self.encoder_bias).relu().topk(self.k, dim=-1)
        return torch.zeros(len(x), self.width, device=x.device).scatter_(-1, found.indices, found.values)
