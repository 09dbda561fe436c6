"""Which linear layers influence goes through, and by which curvature."""

from typing import Literal

KINDS = ("mlp", "attention", "all")
"""Linear layers of the blocks; the paper takes those of MLPs."""
Method = Literal["ekfac", "kfac", "diagonal", "identity"]
METHODS: tuple[Method, ...] = ("ekfac", "kfac", "diagonal", "identity")
