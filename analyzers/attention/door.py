"""The one door to a model's attention: seeing it, masking it and changing it, in every family whose attention function can be exchanged.

Within the door a layer attends by its family's own eager function, so all that comes out equals eager attention to the last bit,
whatever the family has of grouped queries, soft caps, windows and padding. A mask is added to the scores by that same function. Only
changed probabilities are multiplied with the values here.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.masking_utils import AttentionMaskInterface, eager_mask
from transformers.modeling_utils import AttentionInterface

from analyzers.errors import SubjectError
from analyzers.hooks import removed

NAME = "explicate"
"""Of the attention function, in the registry of transformers."""


@dataclass(frozen=True, eq=False)
class Attended:
    """How one layer attended in one forward pass, within the graph of that pass."""

    layer: int
    probabilities: Tensor
    """[batch, head, query, key]; each row sums to 1."""
    queries: Tensor
    """[batch, head, query, width], with their rotary positions."""
    keys: Tensor
    """[batch, group, key, width], with their rotary positions; those of a group of queries once."""
    values: Tensor
    """[batch, head, key, width], those of a group of queries repeated for each of its heads."""


Seen = Callable[[Attended], None]
Masked = Callable[[int], Tensor | None]
"""Of a layer: what is added to its scores before the softmax, to be broadcast to [batch, head, query, key]; None for nothing."""
Changed = Callable[[int, Tensor], Tensor | None]
"""Of a layer and its probabilities: those that take their place, not normalised again; None for the same."""


@dataclass(eq=False)
class _Door:
    seen: Seen | None
    masked: Masked | None
    changed: Changed | None
    layer: int = 0
    """The layer that attends next. Not every family's modules know their layer, and ALBERT's are one module."""


_OPEN: ContextVar[_Door | None] = ContextVar("_OPEN", default=None)


@contextmanager
def attending(model: Any, *, seen: Seen | None = None, masked: Masked | None = None, changed: Changed | None = None) -> Iterator[None]:
    """Within the context every forward pass of the model attends through these functions.

    When it ends, also by an exception, the model is as it was. seen gets every layer's attention before it is changed. Raises
    SubjectError for a model whose attention function cannot be exchanged; contexts do not nest.
    """
    if not can_intervene(model):
        raise SubjectError(
            f"{model.config.model_type} models compute attention inside their modules: it can be read, not masked or changed; "
            "choose a model whose family takes attention functions, such as llama, qwen, gemma, mistral, phi, gpt2, gpt_neox, opt or bert"
        )
    if _OPEN.get() is not None:
        raise RuntimeError("a model already attends through other functions; contexts do not nest")
    door = _Door(seen, masked, changed)
    before = model.config._attn_implementation
    token = _OPEN.set(door)
    try:
        model.set_attn_implementation(NAME)
        # With its head OPT does not run its base model as a module.
        with removed([each.register_forward_pre_hook(lambda *_: _first_layer(door)) for each in (model, model.base_model)]):
            yield
    finally:
        model.set_attn_implementation(before)
        _OPEN.reset(token)


def can_intervene(model: Any) -> bool:
    """Whether the model's family takes an attention function, and has an eager one of its own to compute with."""
    return bool(model._can_set_attn_implementation()) and hasattr(sys.modules[type(model).__module__], "eager_attention_forward")


def blocked(at: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask that is added to scores: the lowest number where `at` is true, of its shape. The rest of a row is shared out anew."""
    return torch.zeros(at.shape, dtype=dtype, device=at.device).masked_fill(at, torch.finfo(dtype).min)


def _first_layer(door: _Door) -> None:
    door.layer = 0


def _attend(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any) -> Any:
    door = _OPEN.get()
    if door is None:
        raise RuntimeError(f"attention {NAME!r} is only there within attending()")
    layer, door.layer = door.layer, door.layer + 1
    added = None if door.masked is None else door.masked(layer)
    if added is not None:
        attention_mask = added if attention_mask is None else attention_mask + added
    eager = sys.modules[type(module).__module__].eager_attention_forward
    output, probabilities = eager(module, query, key, value, attention_mask, **kwargs)
    if door.seen is None and door.changed is None:
        return output, probabilities
    values = value.repeat_interleave(query.shape[1] // value.shape[1], dim=1)
    if door.seen is not None:
        door.seen(Attended(layer, probabilities, query, key, values))
    new = None if door.changed is None else door.changed(layer, probabilities)
    if new is None:
        return output, probabilities
    return (new.to(values.dtype) @ values).transpose(1, 2).contiguous(), new


AttentionInterface.register(NAME, _attend)
AttentionMaskInterface.register(NAME, eager_mask)
