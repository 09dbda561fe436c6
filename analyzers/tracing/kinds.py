"""What is put back in causal tracing, and what a token of a prompt is to its fact."""

from typing import Literal

Kind = Literal["residual", "mlp", "attention"]
KINDS: tuple[Kind, ...] = ("residual", "mlp", "attention")
"""What a block gives, and what its MLP and its attention add to that, before a norm that some families put behind them."""
CLASSES = ("first_subject", "middle_subject", "last_subject", "next", "further", "last")
"""A subject of one token is its own last one, and what stands last is only that."""
